//! What the byte stream of a connection and the service on top of it tell each other.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::Refusal;

/// The requests of one connection, numbered from 1 in the order in which they came.
///
/// The byte stream counts heads as it hands them to hyper; hyper calls the service once for each, in order, or closes
/// the connection. So both sides agree on the numbers without a mark in the bytes that a client could forge.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    begun: AtomicU64,
    served: AtomicU64,
    finished: AtomicU64,
    refused: OnceLock<(u64, Refusal)>,
    /// Whether an answer ended since somebody asked.
    answered: AtomicBool,
}

impl Exchange {
    /// A head goes to hyper.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A made-up head goes to hyper in place of one that is refused. It is the last.
    pub(super) fn begin_refused(&self, refusal: Refusal) {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let _ = self.refused.set((number, refusal));
    }

    /// Whether any head was complete.
    pub(super) fn any_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// Whether a request waits for its answer or for the rest of it. Whoever drives the connection goes on when that changes:
    /// see [`Self::take_answered`].
    pub(super) fn in_flight(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > self.finished.load(Ordering::Relaxed)
    }

    /// Whether an answer ended since this was asked last. hyper does not read again after an answer while its last read is
    /// pending, so the byte stream would not learn that it waits for the client again: the connection has to be polled once more.
    /// That is left to its task, which knows when it has polled it. A waker would send the task through the scheduler after
    /// each answer, which wakes another thread for it.
    pub(crate) fn take_answered(&self) -> bool {
        self.answered.swap(false, Ordering::Relaxed)
    }

    /// The service is called. The request counts as in flight until the guard is dropped.
    pub(crate) fn serve(self: &Arc<Self>) -> (RequestGuard, Option<Refusal>) {
        let number = self.served.fetch_add(1, Ordering::Relaxed) + 1;
        let refusal = self.refused.get().filter(|(refused, _)| *refused == number).map(|(_, refusal)| *refusal);
        (RequestGuard(self.clone()), refusal)
    }
}

/// Held while a request is answered, by the task of its connection.
#[derive(Debug)]
pub(crate) struct RequestGuard(Arc<Exchange>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
        self.0.answered.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Exchange {
    pub(super) fn begun_for_test(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn refused_for_test(&self) -> Option<Refusal> {
        self.refused.get().map(|(_, refusal)| *refusal)
    }
}
