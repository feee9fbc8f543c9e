//! What lists with long rows have in common: they are read in pages, bounded in rows and in bytes.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// How much of a list is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBounds {
    /// At most so many rows.
    pub rows: i64,
    /// No further row once the long texts of those before have so many bytes. So a page has at least one row if there is
    /// one, and the last one may go beyond.
    pub bytes: i64,
}

/// Where a list that goes by time and id goes on. The row itself may be gone by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// When the last row that was seen was made.
    pub created_at: DateTime<Utc>,
    /// Its id, for those of the same moment.
    pub id: Uuid,
}

impl Place {
    /// Both parts, as parameters of a query.
    pub(crate) fn parts(place: Option<Self>) -> (Option<DateTime<Utc>>, Option<Uuid>) {
        (place.map(|place| place.created_at), place.map(|place| place.id))
    }
}
