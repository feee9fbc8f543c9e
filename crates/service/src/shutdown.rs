//! One signal that everything in a process listens to.

use std::{future::Future, io};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Says when to stop. Cloning gives another handle to the same signal.
///
/// Streams and loops wait for it beside their own work and come to a clean end; [`crate::serve`] stops accepting
/// and drains.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// One that only [`Self::begin`] sets off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGINT or SIGTERM sets off.
    ///
    /// # Errors
    /// When the process cannot listen to signals.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn on_signal() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = Self::new();
        let begun = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = begun.wait() => {}
            }
            begun.begin();
        });
        Ok(shutdown)
    }

    /// Sets it off. A second time changes nothing.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether it was set off.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is set off. Safe to drop at any point.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + '_ {
        self.0.cancelled()
    }

    /// The same as a future that borrows nothing, such as `StreamExt::take_until` wants.
    pub fn wait_owned(&self) -> WaitForCancellationFutureOwned {
        self.0.clone().cancelled_owned()
    }
}
