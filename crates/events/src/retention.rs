use std::time::Duration;

use docstore_database::{
    begin, commit,
    event_log::{delete_events_older_than, try_lock_retention},
};
use tokio::time::sleep;

use crate::{
    health::{Health, VisitError, visit},
    hub::Shared,
    observe,
};

/// How often old events are looked for (contract, server §8.3).
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The most events deleted in one transaction, so that its locks are short and its statement stays within its limit.
const BATCH_EVENTS_MAX: i64 = 1000;

/// How long events are kept, in days.
#[derive(Clone, Copy)]
pub(crate) struct Keep {
    /// Those of the audit trail.
    pub(crate) audit_days: i32,
    /// The others.
    pub(crate) days: i32,
}

/// Deletes old events, at the start and every hour, until the hub is closed.
pub(crate) async fn retain(shared: &Shared, keep: Keep) {
    let health = Health::new("retention");
    loop {
        match visit(delete_once(shared, keep)).await {
            Ok(deleted) => {
                health.worked();
                if deleted >= BATCH_EVENTS_MAX.unsigned_abs() {
                    continue;
                }
                sleep(INTERVAL).await;
            }
            Err(error) => sleep(health.failed(&error)).await,
        }
    }
}

/// One batch of each kind; none while another process is at it.
async fn delete_once(shared: &Shared, keep: Keep) -> Result<u64, VisitError> {
    let mut transaction = begin(&shared.pool).await?;
    let mut deleted = 0;
    if try_lock_retention(&mut *transaction).await? {
        for (audit, days) in [(false, keep.days), (true, keep.audit_days)] {
            deleted += delete_events_older_than(&mut *transaction, audit, days, BATCH_EVENTS_MAX).await?;
        }
    }
    commit(transaction).await?;
    observe::deleted(deleted);
    Ok(deleted)
}
