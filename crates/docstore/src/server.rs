//! The server put together, for the binary, the all-in-one and the tests alike.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use docstore_auth::{Authenticator, Via, system_clock, system_random};
use docstore_blobs::BlobStore;
use docstore_events::Events;
use docstore_operations::{Operations, Parts, StoredTokens, Webhooks};
use docstore_policy_worker::{Bounds, Evaluator};
use docstore_secrets::Keeper;
use docstore_service::{Observer, Outcome, Shutdown, Tasks, bind, observe, serve};
use docstore_webhooks::Sender;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use crate::{
    own_host::keep_to_loopback,
    router::router,
    settings::Settings,
    state::{AppState, BodyMemory, State},
    streams::OpenStreams,
};

/// Why a server cannot start; prints as one line that names what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The schema cannot be brought up to date.
    #[error("the database cannot be migrated")]
    Migrate(#[from] docstore_database::MigrateError),
    /// The database does not answer.
    #[error("the database cannot be reached")]
    Database(#[from] docstore_database::Error),
    /// The blob store cannot be opened.
    #[error("the blob store cannot be opened")]
    Blobs(#[from] docstore_blobs::OpenError),
    /// A key of secrets cannot be used.
    #[error("secrets cannot be encrypted")]
    Secrets(#[from] docstore_secrets::OpenError),
    /// Webhooks cannot be sent.
    #[error("webhooks cannot be sent")]
    Webhooks(#[from] docstore_webhooks::CannotSetUp),
    /// Callers could not be verified.
    #[error("the authenticator cannot start")]
    Auth(#[from] docstore_auth::CannotStart),
    /// The port cannot be listened on.
    #[error("cannot listen")]
    Listen(#[from] std::io::Error),
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    served: JoinHandle<Outcome>,
}

impl Server {
    /// Brings the schema up to date, opens everything, and serves until shutdown.
    ///
    /// # Errors
    /// Says what cannot be reached or opened; nothing listens then.
    pub async fn start(settings: Settings, shutdown: Shutdown) -> Result<Self, StartError> {
        docstore_blobs::describe_metrics();
        docstore_events::describe_metrics();
        docstore_policy_worker::describe_metrics();
        docstore_database::migrate(&settings.database).await?;
        let pool = docstore_database::connect(&settings.database).await?;
        let blobs = BlobStore::open(settings.blobs.clone()).await?;
        let events = Events::start(pool.in_background(), &settings.events, shutdown.wait_owned()).await?;
        let wake = events.wake.clone();
        let committed = Arc::new(Notify::new());
        let commits = committed.clone();
        let operations = Operations::new(Parts {
            pool,
            blobs,
            limits: settings.limits.clone(),
            global_admin: settings.bootstrap_admin.clone(),
            clock: system_clock(),
            random: system_random(),
            on_commit: Arc::new(move || {
                wake.commit_happened();
                commits.notify_one();
            }),
            secrets: Keeper::open(&settings.secrets).await?.map(Arc::new),
            evaluator: Evaluator::new(settings.policy_worker.clone(), Bounds::default()),
            webhooks: Webhooks::new(Sender::new(&settings.webhooks)?, settings.webhooks.concurrent_max),
        });
        // What could not be counted does no harm: it is said at the next start.
        if let Err(error) = operations.report_signing_secrets().await {
            tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "secrets of webhooks were not counted"
            );
        }
        let authenticator = Authenticator::new(
            settings.auth.clone(),
            system_clock(),
            system_random(),
            Some(Arc::new(StoredTokens::new(operations.clone()))),
        )?;
        let streams = OpenStreams::default();
        let state = AppState::new(State {
            authenticator: authenticator.clone(),
            hub: events.hub.clone(),
            signer: settings.signer.clone(),
            limits: settings.http,
            shutdown: shutdown.clone(),
            body_memory: BodyMemory::new(settings.http.body_memory_bytes),
            streams: streams.clone(),
            operations: operations.clone(),
        });
        let listener = bind(&settings.service).await?;
        let address = listener.local_addr()?;
        say_who_may_come(&authenticator, address);
        let router = keep_to_loopback(router(state), settings.auth.is_development(), address);
        let router = observe(router, Observer::default());
        let mut tasks = Tasks::new(shutdown.clone());
        let interval = settings.maintenance_interval;
        let operations = operations.in_background();
        let merging = operations.clone();
        tasks.spawn("webhooks", {
            let (operations, hub) = (operations.clone(), events.hub.clone());
            move |shutdown| {
                let (operations, announced) = (operations.clone(), hub.announced());
                async move { operations.deliver_webhooks(announced, shutdown.wait_owned()).await }
            }
        });
        tasks.spawn("stream rights", {
            let (operations, hub) = (operations.clone(), events.hub.clone());
            move |shutdown| {
                let (streams, operations, hub) = (streams.clone(), operations.clone(), hub.clone());
                async move { streams.watch(hub, operations, shutdown).await }
            }
        });
        tasks.spawn("maintenance", move |shutdown| maintain(operations.clone(), interval, shutdown));
        let woken = committed.clone();
        tasks.spawn("auto-merge", move |shutdown| {
            let (merging, woken) = (merging.clone(), woken.clone());
            async move { merging.merge_by_itself_until(&woken, shutdown.wait_owned()).await }
        });
        let served = tokio::spawn(serve_until(listener, router, settings, shutdown, tasks, events));
        Ok(Self { address, served })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until everything has ended after shutdown.
    pub async fn finished(self) -> Outcome {
        self.served.await.unwrap_or(Outcome::Cut { unfinished: 1 })
    }
}

async fn serve_until(
    listener: TcpListener,
    router: axum::Router,
    settings: Settings,
    shutdown: Shutdown,
    tasks: Tasks,
    events: Events,
) -> Outcome {
    let grace = settings.service.limits.shutdown_grace;
    let served = serve(listener, router, &settings.service, shutdown).await;
    let outcome = served.and(tasks.finish(grace).await);
    events.finished().await;
    // Both have logged how they ended.
    outcome
}

/// Tells the operator who can come in, and when that is too many or too few.
fn say_who_may_come(authenticator: &Authenticator, address: SocketAddr) {
    let methods = authenticator.methods();
    let names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    tracing::info!(methods = names.join(","), "ways to sign in");
    if methods.contains(&Via::Development) && !address.ip().to_canonical().is_loopback() {
        tracing::warn!(
            %address,
            "DEV_IDENTITY is set and the address is not loopback: whoever reaches this server is the development identity"
        );
    }
    if methods.is_empty() {
        tracing::warn!("nobody can sign in: none of OAUTH_CLIENT_ID, IAP_AUDIENCE and DEV_IDENTITY is set");
    }
}

/// Clears away what is no longer wanted, round after round.
async fn maintain(operations: Operations, interval: Duration, shutdown: Shutdown) {
    loop {
        let more = match operations.maintain().await {
            Ok(done) => {
                if done.found_work() {
                    tracing::debug!(?done, "cleared away");
                }
                done.found_work()
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "clearing away failed, trying again later"
                );
                false
            }
        };
        if more && !shutdown.is_begun() {
            continue;
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}
