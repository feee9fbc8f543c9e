use std::{sync::Arc, time::Duration};

use docstore_database::{
    begin, commit,
    event_log::{SequencedBatch, has_unsequenced_events, lock_sequencer, sequence_events},
};
use tokio::{sync::Notify, time::sleep};

use crate::{
    health::{Health, VisitError, visit},
    hub::Shared,
    loops::GATHERING_PAUSE,
    observe,
};

/// The most events in one transaction. Bounds how long its locks are held, and what is lost when it fails.
const BATCH_EVENTS_MAX: i64 = 1000;

/// Tells the sequencer of this process that a transaction with events was committed. Cheap; cloning gives another handle
/// to the same sequencer, and one that nobody listens to can be had with `default`.
///
/// Without it events are found all the same, a little later ([`crate::Settings::sequence_interval`]).
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Call this after each commit of a transaction that logged events, also when its outcome is not known. Many calls
    /// before the sequencer comes to them are one.
    pub fn commit_happened(&self) {
        self.0.notify_one();
    }
}

/// Gives positions until the hub is closed.
pub(crate) async fn sequence(shared: &Shared, wake: &Wake, interval: Duration) {
    let health = Health::new("sequencer");
    // What a process left behind that died, perhaps the one before this, is looked for first.
    let mut is_told = false;
    loop {
        match visit(sequence_once(shared, is_told)).await {
            Ok(batch) => {
                health.worked();
                if let Some(batch) = batch {
                    observe::sequenced(batch);
                    shared.announce(batch.last);
                    if batch.count == BATCH_EVENTS_MAX {
                        continue;
                    }
                    sleep(GATHERING_PAUSE).await;
                }
            }
            Err(error) => {
                sleep(health.failed(&error)).await;
                // Whatever the reason for this try was, it is still there.
                continue;
            }
        }
        is_told = tokio::select! {
            () = wake.0.notified() => true,
            () = sleep(interval) => false,
        };
    }
}

/// One batch. When it was told of a commit it does not look first but waits for its turn: the run of another process may
/// have begun too early to see that commit.
async fn sequence_once(shared: &Shared, is_told: bool) -> Result<Option<SequencedBatch>, VisitError> {
    if !is_told && !has_unsequenced_events(&shared.pool).await? {
        return Ok(None);
    }
    let mut transaction = begin(&shared.pool).await?;
    lock_sequencer(&mut *transaction).await?;
    let batch = sequence_events(&mut *transaction, BATCH_EVENTS_MAX).await?;
    commit(transaction).await?;
    Ok(batch)
}
