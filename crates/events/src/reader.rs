use std::{task::Waker, time::Duration};

use docstore_database::event_log::{PageLimit, PositionListener, read_events};
use tokio::time::sleep;

use crate::{
    health::{Health, VisitError, visit},
    hub::Shared,
    loops::GATHERING_PAUSE,
    observe,
};

/// One page of the reader: large enough to catch up quickly, small enough to hold in memory beside the ring.
const PAGE: PageLimit = PageLimit { rows_max: 500, bytes_max: 1024 * 1024 };

/// Reads the log into the ring until the hub is closed.
pub(crate) async fn read(shared: &Shared, interval: Duration) {
    let health = Health::new("reader");
    let mut announced = shared.announced.subscribe();
    let mut was_told = true;
    loop {
        let announced_before = *announced.borrow();
        match read_to_the_end(shared).await {
            Ok(count) => {
                health.worked();
                if count > 0 && !was_told {
                    shared.deafness_suspected.notify_one();
                }
            }
            Err(error) => {
                sleep(health.failed(&error)).await;
                continue;
            }
        }
        sleep(GATHERING_PAUSE).await;
        // What was announced before it was read, or was read already, is no news. What is announced and cannot be read
        // is no position of ours.
        let announced_now = *announced.borrow_and_update();
        if announced_now != announced_before && announced_now > shared.ring().head() {
            announced.mark_changed();
        }
        was_told = tokio::select! {
            // The sender lives as long as the hub.
            _ = announced.changed() => true,
            () = shared.deaf_until_now.notified() => true,
            () = sleep(interval) => false,
        };
    }
}

/// Reads what there is behind the head, and says how much it was.
async fn read_to_the_end(shared: &Shared) -> Result<usize, VisitError> {
    let mut count = 0;
    loop {
        let after = shared.ring().head();
        let page = visit(async { Ok(read_events(&shared.pool, after, PAGE).await?) }).await?;
        let Some(oldest_seconds) = page.iter().map(|event| event.age_seconds).reduce(f64::max) else {
            return Ok(count);
        };
        count += page.len();
        let bytes: usize = page.iter().map(|event| event.payload.len()).sum();
        let is_last = within(page.len(), PAGE.rows_max) && within(bytes, PAGE.bytes_max);
        let woken = {
            let mut ring = shared.ring();
            let woken = ring.append(page);
            observe::read(ring.head(), oldest_seconds, ring.len(), ring.bytes());
            woken
        };
        woken.into_iter().for_each(Waker::wake);
        if is_last {
            return Ok(count);
        }
    }
}

/// Whether a page ended before this limit of it.
fn within(count: usize, limit: i64) -> bool {
    i64::try_from(count).is_ok_and(|count| count < limit)
}

/// Listens for positions until the hub is closed, on a connection of its own.
pub(crate) async fn listen(shared: &Shared) {
    let health = Health::new("listener");
    loop {
        let lost = listen_once(shared, &health).await;
        match lost {
            Ok(()) => tracing::info!("events came that nobody announced, listening on another connection"),
            Err(error) => sleep(health.failed(&error)).await,
        }
    }
}

/// Returns when the connection may be dead without knowing it.
async fn listen_once(shared: &Shared, health: &Health) -> Result<(), VisitError> {
    let mut listener = visit(async { Ok(PositionListener::connect(&shared.pool).await?) }).await?;
    health.worked();
    shared.deaf_until_now.notify_one();
    loop {
        tokio::select! {
            position = listener.next() => shared.announce(position?),
            () = shared.deafness_suspected.notified() => return Ok(()),
        }
    }
}
