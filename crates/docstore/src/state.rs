//! What handlers work with.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::extract::FromRef;
use docstore_auth::Authenticator;
use docstore_events::EventHub;
use docstore_operations::{ArchiveSigner, Operations};
use docstore_service::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::HttpLimits;

/// The state of the server; cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) operations: Operations,
    pub(crate) authenticator: Authenticator,
    pub(crate) hub: EventHub,
    pub(crate) signer: Option<ArchiveSigner>,
    pub(crate) limits: HttpLimits,
    pub(crate) shutdown: Shutdown,
    pub(crate) body_memory: BodyMemory,
    pub(crate) streams: StreamCounts,
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

/// How many streams each caller has open.
#[derive(Clone, Default)]
pub(crate) struct StreamCounts(Arc<Mutex<HashMap<String, usize>>>);

impl StreamCounts {
    /// Opens one more stream for a caller, if the limit allows.
    pub(crate) fn open(&self, identity: &str, max: usize) -> Option<OpenStream> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(identity.to_owned()).or_default();
        if *count >= max {
            docstore_service::limit_reached("streams_per_caller");
            return None;
        }
        *count += 1;
        Some(OpenStream { counts: self.clone(), identity: identity.to_owned() })
    }
}

/// One open stream; counts until it is dropped.
pub(crate) struct OpenStream {
    counts: StreamCounts,
    identity: String,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BodyMemory, StreamCounts};

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

    #[test]
    fn a_caller_has_so_many_streams_and_no_more() {
        let counts = StreamCounts::default();
        let first = counts.open("a", 2).unwrap();
        let _second = counts.open("a", 2).unwrap();
        assert!(counts.open("a", 2).is_none());
        assert!(counts.open("b", 2).is_some(), "callers do not share a limit");
        drop(first);
        assert!(counts.open("a", 2).is_some());
    }
}
