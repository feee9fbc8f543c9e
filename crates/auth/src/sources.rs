use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Tells the time. Handed in, so that expiry can be tested to the second.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Fills a buffer with unpredictable bytes. Handed in, so that a login can be replayed in a test.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The clock of the machine.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock that is handed in")]
pub fn system_clock() -> Clock {
    Arc::new(Utc::now)
}

/// The cryptographically secure generator of this process, seeded by the operating system.
#[must_use]
pub fn system_random() -> Random {
    Arc::new(|buffer| rand::fill(buffer))
}
