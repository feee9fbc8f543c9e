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

/// Deletes old events, at the start and every hour, until the hub is closed.
pub(crate) async fn retain(shared: &Shared, days: i32) {
    let health = Health::new("retention");
    loop {
        match visit(delete_once(shared, days)).await {
            Ok(deleted) => {
                health.worked();
                if deleted == BATCH_EVENTS_MAX.unsigned_abs() {
                    continue;
                }
                sleep(INTERVAL).await;
            }
            Err(error) => sleep(health.failed(&error)).await,
        }
    }
}

/// One batch; none while another process is at it.
async fn delete_once(shared: &Shared, days: i32) -> Result<u64, VisitError> {
    let mut transaction = begin(&shared.pool).await?;
    let mut deleted = 0;
    if try_lock_retention(&mut *transaction).await? {
        deleted = delete_events_older_than(&mut *transaction, days, BATCH_EVENTS_MAX).await?;
    }
    commit(transaction).await?;
    observe::deleted(deleted);
    Ok(deleted)
}
