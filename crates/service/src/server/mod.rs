//! The server loop.
//!
//! `axum::serve` has no time-outs for heads, no caps and no deadline for its drain; upstream keeps it that small on
//! purpose. This loop accepts, gives each connection a slot or turns it away, and drains at shutdown.

mod admission;
mod connection;
mod listener;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use axum::Router;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use listener::{Listener, bind};

use crate::{Limits, Settings, Shutdown, limit_reached, tasks::duration_ms};
use admission::Admission;
use connection::{Connection, Drain};

/// The pause after the first failed accept; it doubles up to [`ACCEPT_PAUSE_MAX`].
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);

/// Failing accepts (no file descriptor left, most often) are tried again at least this often.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How a server or a set of loops ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Everything in hand was finished.
    Clean,
    /// The grace ran out.
    Cut {
        /// How many connections or loops were cut.
        unfinished: usize,
    },
}

impl Outcome {
    /// 0 when everything was finished, else 1 (contract, server §1.4).
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Clean => ExitCode::SUCCESS,
            Self::Cut { .. } => ExitCode::FAILURE,
        }
    }

    /// Clean only if both are.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Clean, Self::Clean) => Self::Clean,
            (one, other) => Self::Cut { unfinished: one.unfinished() + other.unfinished() },
        }
    }

    fn unfinished(self) -> usize {
        match self {
            Self::Clean => 0,
            Self::Cut { unfinished } => unfinished,
        }
    }
}

/// Serves HTTP/1.1 until shutdown, then finishes what is in hand within the grace.
///
/// Every request carries `axum::extract::ConnectInfo<SocketAddr>` with the peer's address. Streams must end by
/// themselves when the same [`Shutdown`] is set off; those that do not are cut when the grace ends.
pub async fn serve<L: Listener>(mut listener: L, router: Router, settings: &Settings, shutdown: Shutdown) -> Outcome {
    let limits = settings.limits;
    let mut server = Server {
        router,
        limits,
        admission: Admission::new(&limits),
        connections: TaskTracker::new(),
        drain: Drain { soon: CancellationToken::new(), now: CancellationToken::new() },
    };
    listener::raise_open_file_limit(limits.max_connections);
    server.accept_until(&mut listener, &shutdown).await;
    tracing::info!(connections = server.connections.len(), "shutting down");
    // From here on the system refuses new connections, so that clients go elsewhere at once.
    drop(listener);
    server.finish().await
}

struct Server {
    router: Router,
    limits: Limits,
    admission: Admission,
    connections: TaskTracker,
    drain: Drain,
}

impl Server {
    async fn accept_until<L: Listener>(&mut self, listener: &mut L, shutdown: &Shutdown) {
        let mut pause = ACCEPT_PAUSE_MIN;
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.wait() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((io, peer)) => {
                    pause = ACCEPT_PAUSE_MIN;
                    self.admit(io, peer);
                }
                Err(error) if listener::is_of_one_connection(&error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended before it began");
                }
                Err(error) => {
                    metrics::counter!("docstore_accept_errors_total").increment(1);
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        pause_ms = duration_ms(pause),
                        "cannot accept connections, trying again"
                    );
                    tokio::select! {
                        () = shutdown.wait() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }

    /// Gives the connection a slot, or turns it away without holding up the next one.
    fn admit<IO>(&self, io: IO, peer: SocketAddr)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self.admission.admit(peer.ip()) {
            Ok(slot) => {
                let connection =
                    Connection { router: self.router.clone(), limits: self.limits, peer, drain: self.drain.clone() };
                self.connections.spawn(async move {
                    connection.run(io).await;
                    drop(slot);
                });
            }
            Err(surplus) => {
                limit_reached(surplus.limit());
                if let Some(permit) = self.admission.may_explain() {
                    // A flood is in the metric; the log has as many lines of it as there are explanations.
                    tracing::warn!(peer = %peer, limit = surplus.limit(), "connection turned away");
                    self.connections.spawn(async move {
                        surplus.explain(io).await;
                        drop(permit);
                    });
                }
            }
        }
    }

    async fn finish(self) -> Outcome {
        self.connections.close();
        self.drain.soon.cancel();
        if timeout(self.limits.shutdown_grace, self.connections.wait()).await.is_ok() {
            tracing::info!("stopped");
            return Outcome::Clean;
        }
        let unfinished = self.connections.len();
        limit_reached("shutdown_grace");
        tracing::error!(connections = unfinished, grace_ms = duration_ms(self.limits.shutdown_grace), "shutdown error");
        self.drain.now.cancel();
        self.connections.wait().await;
        Outcome::Cut { unfinished }
    }
}
