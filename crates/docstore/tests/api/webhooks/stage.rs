//! Operations without a server, on a clock that stands still, so that each step of delivering is the test's own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use docstore_auth::{Caller, Via};
use docstore_blobs::BlobStore;
use docstore_database::{
    Pool, begin, commit,
    event_log::{NewEvent, lock_sequencer, log_events, sequence_events},
    testing::{TableWatch, TestDatabase},
};
use docstore_models::{CreateSubscriptionRequest, Identity, RedeliverRequest, Subscription};
use docstore_operations::{Limits, Operations, Parts, SubscriptionOwner, Webhooks};
use docstore_policy_worker::{Bounds, Evaluator};
use docstore_secrets::{Keeper, KeyPlace};
use docstore_settings::Environment;
use docstore_test_support::{ADMIN, policy_worker};
use docstore_webhooks::{Addresses, Sender, Settings};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};
use uuid::Uuid;

/// How long a receiver may take here: a test that has one hang waits so long.
const TIMEOUT: Duration = Duration::from_millis(400);

/// The stage.
pub(crate) struct Stage {
    pub(crate) operations: Operations,
    pub(crate) pool: Pool,
    pub(crate) repo_id: i64,
    now: Arc<Mutex<DateTime<Utc>>>,
    _blobs: TempDir,
    _database: TestDatabase,
}

/// Settings of a sender that may call this machine.
pub(crate) fn settings() -> Settings {
    Settings { timeout: TIMEOUT, concurrent_max: 8, allowed_networks: vec!["127.0.0.0/8".parse().unwrap()] }
}

/// The loop of a server that delivers by itself.
pub(crate) struct Loop {
    announce: watch::Sender<i64>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Loop {
    /// Has it look at what has come.
    pub(crate) fn announce(&self) {
        self.announce.send_modify(|position| *position += 1);
    }

    /// Ends it, when all it has sent is answered and recorded.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Sender::new(&settings()).unwrap()).await
    }

    pub(crate) async fn with_addresses(addresses: Addresses) -> Self {
        Self::with(Sender::with_addresses(&settings(), addresses).unwrap()).await
    }

    /// One whose sender waits longer for an answer.
    pub(crate) async fn with_timeout(timeout: Duration) -> Self {
        Self::with(Sender::new(&Settings { timeout, ..settings() }).unwrap()).await
    }

    async fn with(webhooks: Sender) -> Self {
        let database = TestDatabase::create().await;
        let blobs = TempDir::new().unwrap();
        let pool = database.pool().await;
        let now = Arc::new(Mutex::new("2030-01-01T00:00:00Z".parse().unwrap()));
        let operations = Self::operations_of(&pool, &blobs, webhooks, now.clone()).await;
        let repo_id =
            sqlx::query_scalar("SELECT id FROM repos WHERE name = 'default/default'").fetch_one(&pool).await.unwrap();
        // What is written by the database's own clock lies before that of the test.
        Self { operations, pool, repo_id, now, _blobs: blobs, _database: database }
    }

    async fn operations_of(
        pool: &Pool,
        blobs: &TempDir,
        webhooks: Sender,
        now: Arc<Mutex<DateTime<Utc>>>,
    ) -> Operations {
        let environment = Environment::from_iter([("DOCSTORE_BLOB_LOCAL_DIR", blobs.path().display().to_string())]);
        let key = KeyPlace::File { path: blobs.path().join("key"), create: true };
        let keys = docstore_secrets::Settings { current: Some(key), old: Vec::new(), endpoint: None, anonymous: true };
        let secrets = Keeper::open(&keys).await.unwrap().map(Arc::new);
        let blobs = docstore_blobs::Settings::from_environment(&environment).unwrap();
        Operations::new(Parts {
            evaluator: Evaluator::new(policy_worker(), Bounds::default()),
            pool: pool.clone(),
            blobs: BlobStore::open(blobs).await.unwrap(),
            limits: Limits::default(),
            global_admin: Some(Identity::parse(ADMIN).unwrap()),
            clock: Arc::new(move || *now.lock().unwrap()),
            on_commit: Arc::new(|| {}),
            secrets,
            webhooks: Webhooks::new(webhooks, settings().concurrent_max),
            random: docstore_auth::system_random(),
        })
    }

    /// Waits until a query about the turns of the subscriptions says so.
    pub(crate) async fn until(&self, query: &str) {
        TableWatch::on(&self.pool, "delivery_turns").await.until(query).await;
    }

    /// Starts the loop of a server.
    pub(crate) fn start_loop(&self) -> Loop {
        let (announce, announced) = watch::channel(0);
        let (stop, stopped) = oneshot::channel();
        let operations = self.operations.clone();
        let task = tokio::spawn(async move {
            operations.deliver_webhooks(announced, async { drop(stopped.await) }).await;
        });
        Loop { announce, stop, task }
    }

    /// Another process on the same database and clock.
    pub(crate) async fn replica(&self) -> Operations {
        let now = self.now.clone();
        Self::operations_of(&self.pool, &self._blobs, Sender::new(&settings()).unwrap(), now).await
    }

    pub(crate) fn advance(&self, seconds: i64) {
        *self.now.lock().unwrap() += TimeDelta::seconds(seconds);
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap()
    }

    pub(crate) fn admin() -> Caller {
        Caller::for_test(Identity::parse(ADMIN).unwrap(), Via::Development)
    }

    /// Subscribes to a repo, without waiting for the event that tells of it.
    pub(crate) async fn subscribe(&self, who: &str, url: &str, secret: Option<&str>) -> Subscription {
        self.subscribe_to("default/default", who, url, secret).await
    }

    /// Subscribes to another repo.
    pub(crate) async fn subscribe_to(&self, repo: &str, who: &str, url: &str, secret: Option<&str>) -> Subscription {
        let mut config = json!({"url": url});
        if let Some(secret) = secret {
            config["secret"] = json!(secret);
        }
        let request = CreateSubscriptionRequest {
            repo: Some(repo.to_owned()),
            event_types: Some(vec!["com.docstore.test".to_owned()]),
            backend: "webhook".to_owned(),
            config: Some(config),
        };
        let caller = Caller::for_test(Identity::parse(who).unwrap(), Via::Development);
        self.operations.create_subscription(&caller, None, request).await.unwrap()
    }

    pub(crate) async fn owner(&self, id: Uuid) -> SubscriptionOwner {
        self.operations.subscription_owner(&Self::admin(), id).await.unwrap()
    }

    pub(crate) async fn subscription(&self, id: Uuid) -> Subscription {
        self.owner(id).await.subscription().clone()
    }

    pub(crate) fn event(&self, n: i64) -> NewEvent {
        let id = Uuid::now_v7();
        // Spelt as no serialiser of ours would: what is stored is what is sent.
        let payload = format!(
            r#"{{"specversion":"1.0", "type":"com.docstore.test","source":"/repos/default/default","id":"{id}","time":"2030-01-01T00:00:00Z","datacontenttype":"application/json","data":{{"n":{n},"text":"<é>"}}}}"#
        );
        NewEvent {
            event_id: id,
            subject: "default/default".to_owned(),
            repo_id: Some(self.repo_id),
            event_type: "com.docstore.test".to_owned(),
            payload,
        }
    }

    /// Logs events, each in a transaction of its own, and gives them positions.
    pub(crate) async fn log(&self, numbers: impl IntoIterator<Item = i64>) {
        for n in numbers {
            log_events(&self.pool, &[self.event(n)]).await.unwrap();
        }
        self.sequence().await;
    }

    /// Gives positions to what is committed.
    pub(crate) async fn sequence(&self) {
        let mut transaction = begin(&self.pool).await.unwrap();
        lock_sequencer(&mut *transaction).await.unwrap();
        sequence_events(&mut *transaction, 10_000).await.unwrap();
        commit(transaction).await.unwrap();
    }

    /// Delivers what is due and says how many attempts that took.
    pub(crate) async fn deliver(&self) -> usize {
        self.operations.deliver_due().await.unwrap()
    }

    pub(crate) async fn redeliver(&self, id: Uuid, delivery: Option<Uuid>, since: Option<DateTime<Utc>>) -> i64 {
        let request = RedeliverRequest { delivery, since: since.map(Into::into) };
        self.operations.redeliver(&self.owner(id).await, None, &request).await.unwrap().queued
    }
}
