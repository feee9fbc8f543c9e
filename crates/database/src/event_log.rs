//! The event log (migration 2): written with the change, given positions afterwards, read in the order of positions.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::Result;

/// An event to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The id of the CloudEvent.
    pub event_id: Uuid,
    /// The full name of a repo, or `/orgs/<org>`.
    pub subject: String,
    /// The repo, if it is one.
    pub repo_id: Option<i64>,
    /// The full type.
    pub event_type: String,
    /// The envelope, as it is sent.
    pub payload: String,
}

#[derive(Default)]
pub(crate) struct EventColumns<'a> {
    pub(crate) event_id: Vec<Uuid>,
    pub(crate) subject: Vec<&'a str>,
    pub(crate) repo_id: Vec<Option<i64>>,
    pub(crate) event_type: Vec<&'a str>,
    pub(crate) payload: Vec<&'a str>,
}

impl<'a> From<&'a [NewEvent]> for EventColumns<'a> {
    fn from(events: &'a [NewEvent]) -> Self {
        let mut columns = Self::default();
        for event in events {
            columns.event_id.push(event.event_id);
            columns.subject.push(&event.subject);
            columns.repo_id.push(event.repo_id);
            columns.event_type.push(&event.event_type);
            columns.payload.push(&event.payload);
        }
        columns
    }
}

/// Logs events in the transaction of what they tell of.
///
/// # Errors
/// When the database cannot answer.
pub async fn log_events(executor: impl PgExecutor<'_>, events: &[NewEvent]) -> Result<()> {
    let events = EventColumns::from(events);
    sqlx::query!(
        r#"
        INSERT INTO event_log (event_id, subject, repo_id, type, payload)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[])
        "#,
        &events.event_id,
        &events.subject as &[&str],
        &events.repo_id as &[Option<i64>],
        &events.event_type as &[&str],
        &events.payload as &[&str],
    )
    .execute(executor)
    .await?;
    Ok(())
}
