//! Operations on a database and a blob store of the test's own.

use std::sync::Arc;

use docstore_auth::{Caller, Via};
use docstore_blobs::BlobStore;
use docstore_database::Pool;
use docstore_models::Identity;
use docstore_operations::{Limits, Operations, Parts, Webhooks};
use docstore_policy_worker::{Bounds, Evaluator, Program};

/// The global admin.
pub(crate) const ADMIN: &str = "admin@example.com";

/// Operations over a pool; nobody writes a policy, a webhook or a secret there.
pub(crate) async fn operations(pool: Pool, blobs: &tempfile::TempDir) -> Operations {
    let settings = docstore_blobs::Settings {
        store: docstore_blobs::Store::Local(docstore_blobs::Local { directory: blobs.path().to_owned() }),
        threshold_bytes: None,
        timeout: std::time::Duration::from_secs(10),
        uploads_max: 1,
    };
    let webhooks = docstore_webhooks::Settings {
        timeout: std::time::Duration::from_secs(10),
        concurrent_max: 1,
        allowed_networks: Vec::new(),
    };
    Operations::new(Parts {
        evaluator: Evaluator::new(Program::this_executable(), Bounds::default()),
        webhooks: Webhooks::new(docstore_webhooks::Sender::new(&webhooks).unwrap(), webhooks.concurrent_max),
        secrets: None,
        pool,
        blobs: BlobStore::open(settings).await.unwrap(),
        limits: Limits::default(),
        global_admin: Some(Identity::parse(ADMIN).unwrap()),
        clock: docstore_auth::system_clock(),
        random: docstore_auth::system_random(),
        on_commit: Arc::new(|| {}),
    })
}

/// Somebody who came in through the development door.
pub(crate) fn caller(name: &str) -> Caller {
    Caller::for_test(Identity::parse(name).unwrap(), Via::Development)
}
