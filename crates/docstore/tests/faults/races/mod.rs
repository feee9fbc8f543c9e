//! Requests that meet: one wins, the others are told why, and nothing is lost, doubled or left half done.

mod branches;
mod commits;
mod contents;
mod locks;
mod reads;
mod removal;
mod repeats;

use std::sync::Arc;

use docstore_blobs::BlobStore;
use docstore_models::Identity;
use docstore_operations::{Clock, Limits, Operations, Parts, Webhooks};
use docstore_policy_worker::{Bounds, Evaluator};
use docstore_settings::Environment;
use docstore_test_support::{ADMIN, Answer, TestApp, policy_worker};
use docstore_webhooks::Sender;
use tokio::sync::Barrier;

use crate::{
    invariants,
    support::{Repo, outcome_of},
};

/// How often a race of two is run: each time the scheduler may let the other one win.
const ROUNDS: usize = 12;

/// Starts all of them at one moment, each in a task of its own, and waits for their results in the order given.
async fn all_at_once<F, T>(contestants: impl IntoIterator<Item = F>) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let contestants: Vec<F> = contestants.into_iter().collect();
    let start = Arc::new(Barrier::new(contestants.len()));
    let tasks: Vec<_> = contestants
        .into_iter()
        .map(|contestant| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                contestant.await
            })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

/// Two requests at one moment.
async fn both<A, B>(one: A, other: B) -> (Answer, Answer)
where
    A: Future<Output = Answer> + Send + 'static,
    B: Future<Output = Answer> + Send + 'static,
{
    let start = Arc::new(Barrier::new(2));
    let also = Arc::clone(&start);
    let one = tokio::spawn(async move {
        start.wait().await;
        one.await
    });
    let other = tokio::spawn(async move {
        also.wait().await;
        other.await
    });
    (one.await.unwrap(), other.await.unwrap())
}

/// What two requests came to, in words.
fn outcomes((one, other): &(Answer, Answer)) -> (String, String) {
    (outcome_of(one), outcome_of(other))
}

async fn app_and_repo() -> (TestApp, Repo) {
    let app = TestApp::start().await;
    let repo = Repo::create(app.admin(), "race").await;
    (app, repo)
}

/// Chains and rows are whole.
async fn check(app: &TestApp, repo: &Repo) {
    repo.verified_chains().await;
    invariants::check(&app.pool().await, app.blobs()).await;
}

/// The operations of a server of their own, for what the test wants to call when it wants: clearing away, or a stream
/// that waits for its reader.
async fn operations(app: &TestApp) -> Operations {
    operations_at(app, docstore_auth::system_clock()).await
}

/// The same by a clock of the test's own.
pub(crate) async fn operations_at(app: &TestApp, clock: Clock) -> Operations {
    let environment = Environment::from_iter([("DOCSTORE_BLOB_LOCAL_DIR", app.blobs().display().to_string())]);
    let blobs = docstore_blobs::Settings::from_environment(&environment).unwrap();
    let webhooks = docstore_webhooks::Settings::from_environment(&environment, true).unwrap();
    Operations::new(Parts {
        evaluator: Evaluator::new(policy_worker(), Bounds::default()),
        pool: app.pool().await,
        blobs: BlobStore::open(blobs).await.unwrap(),
        limits: Limits::default(),
        global_admin: Some(Identity::parse(ADMIN).unwrap()),
        clock,
        random: docstore_auth::system_random(),
        on_commit: Arc::new(|| {}),
        secrets: None,
        webhooks: Webhooks::new(Sender::new(&webhooks).unwrap(), webhooks.concurrent_max),
    })
}
