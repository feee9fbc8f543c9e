//! What handlers work with.

use std::{ops::Deref, sync::Arc};

use axum::extract::FromRef;
use docstore_auth::Authenticator;
use docstore_events::EventHub;
use docstore_operations::{ArchiveSigner, Operations};
use docstore_service::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{settings::HttpLimits, streams::OpenStreams};

/// The state of the server. axum clones it for each request and once more on the way, so it is one pointer.
#[derive(Clone)]
pub(crate) struct AppState(Arc<State>);

impl AppState {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(state))
    }
}

impl Deref for AppState {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// What [`AppState`] points to.
pub(crate) struct State {
    pub(crate) operations: Operations,
    pub(crate) authenticator: Authenticator,
    pub(crate) hub: EventHub,
    pub(crate) signer: Option<ArchiveSigner>,
    pub(crate) limits: HttpLimits,
    pub(crate) shutdown: Shutdown,
    pub(crate) body_memory: BodyMemory,
    pub(crate) streams: OpenStreams,
}

impl FromRef<AppState> for Operations {
    fn from_ref(state: &AppState) -> Self {
        state.operations.clone()
    }
}

/// The unit in which memory for bodies is handed out.
const MEMORY_UNIT: usize = 1024;

/// The memory that request bodies may take, all requests together: who comes when it is used up waits.
#[derive(Clone)]
pub(crate) struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / MEMORY_UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Takes memory for a body of so many bytes; gives it back when the permit is dropped. Nothing when it takes too long.
    pub(crate) async fn take(&self, bytes: usize, wait: std::time::Duration) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).ok()?;
        match tokio::time::timeout(wait, Arc::clone(&self.0).acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Some(permit),
            _ => {
                docstore_service::limit_reached("body_memory");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::BodyMemory;

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_memory_and_not_for_ever() {
        let memory = BodyMemory::new(10 * 1024);
        let wait = Duration::from_secs(5);
        let held = memory.take(9 * 1024, wait).await.unwrap();
        assert!(memory.take(1, wait).await.is_some());
        assert!(memory.take(2 * 1024, wait).await.is_none());
        let (waited, ()) = tokio::join!(memory.take(2 * 1024, wait), async { drop(held) });
        assert!(waited.is_some());
    }
}
