//! The event log in pages, for catching up.

use docstore_database::event_log::{self, PageLimit, ReplayedEvent};
use docstore_models::{EventPage, PositionedEvent};

use crate::{Error, GlobalAdmin, Operations, Reader, Result};

/// How many events a page has when nobody says.
const EVENTS_PAGE: i64 = 100;

/// The most events of one page.
const EVENTS_PAGE_MAX: i64 = 1000;

/// The most bytes of events of one page: what a process holds for one reader.
const EVENTS_PAGE_BYTES_MAX: i64 = 1024 * 1024;

/// What a page of the log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPageQuery {
    /// Events behind this position.
    pub after: i64,
    /// The most events.
    pub limit: Option<i64>,
    /// Full type names; empty for all.
    pub types: Vec<String>,
}

impl EventPageQuery {
    fn types(&self) -> Option<&[String]> {
        (!self.types.is_empty()).then_some(self.types.as_slice())
    }
}

impl Operations {
    /// A page of a repo's events, oldest first.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn repo_event_page(&self, reader: &Reader, query: &EventPageQuery) -> Result<EventPage> {
        let up_to = event_log::last_position(self.pool()).await?;
        let rows =
            event_log::replay_repo(self.pool(), reader.repo_id(), query.types(), query.after, up_to, page_limit());
        page(rows.await?, query, up_to)
    }

    /// A page of all events, or of those of one subject, oldest first.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn event_page(
        &self,
        _admin: &GlobalAdmin,
        subject: Option<&str>,
        query: &EventPageQuery,
    ) -> Result<EventPage> {
        let up_to = event_log::last_position(self.pool()).await?;
        let rows = event_log::replay_log(self.pool(), subject, query.types(), query.after, up_to, page_limit());
        page(rows.await?, query, up_to)
    }
}

fn page_limit() -> PageLimit {
    PageLimit { rows_max: EVENTS_PAGE_MAX, bytes_max: EVENTS_PAGE_BYTES_MAX }
}

/// Takes as many of the rows as were asked for. Rows of other types were looked at, so the next page begins behind them.
fn page(rows: Vec<ReplayedEvent>, query: &EventPageQuery, up_to: i64) -> Result<EventPage> {
    let limit = usize::try_from(query.limit.unwrap_or(EVENTS_PAGE).min(EVENTS_PAGE_MAX)).unwrap_or(usize::MAX);
    if rows.is_empty() {
        return Ok(EventPage { events: Vec::new(), next_after: up_to.max(query.after), more: false });
    }
    let mut page = EventPage { events: Vec::new(), next_after: query.after, more: false };
    for row in rows {
        if let Some(payload) = row.payload {
            if page.events.len() == limit {
                break;
            }
            let event = serde_json::from_str(&payload).map_err(|error| Error::Internal(Box::new(error)))?;
            page.events.push(PositionedEvent { position: row.position, event });
        }
        page.next_after = row.position;
    }
    page.more = page.next_after < up_to;
    Ok(page)
}
