//! The event log (migration 2): written with the change, given positions afterwards, read in the order of positions.
//!
//! **Invariant: a reader that has seen position n never misses a lower one.** Ids are drawn inside concurrent
//! transactions, so a lower id may become visible after a higher one; positions cannot. [`lock_sequencer`] lets one
//! transaction at a time give positions, [`sequence_events`] gives them only to rows that are committed already, and the
//! lock is released after that transaction became visible, so the next one continues behind everything it gave. Hence
//! every snapshot holds the positions up to some number, and none above it; [`read_events`] and the replays go by
//! position alone.

use sqlx::{PgExecutor, postgres::PgListener};
use uuid::Uuid;

use crate::{Error, Pool, Result};

/// The advisory lock of the transaction that gives positions. Locks of this kind are per database.
const SEQUENCER_LOCK: i64 = 7302;

/// The advisory lock of the transaction that deletes old events.
const RETENTION_LOCK: i64 = 7303;

/// How long a process may sit inside its sequencing transaction without a word. Nobody else can give positions
/// meanwhile, so a process that was stopped or cut off loses the lock sooner than an ordinary transaction would.
const SEQUENCER_IDLE_MS_MAX: &str = "5000";

/// Where a sequencing transaction says how far positions go now. The names of channels are per database.
const CHANNEL: &str = "event_log";

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
    pub(crate) audit: Vec<bool>,
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
            columns.audit.push(docstore_models::is_audit_type(&event.event_type));
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
        INSERT INTO event_log (event_id, subject, repo_id, type, payload, audit)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[])
        "#,
        &events.event_id,
        &events.subject as &[&str],
        &events.repo_id as &[Option<i64>],
        &events.event_type as &[&str],
        &events.payload as &[&str],
        &events.audit,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Waits until no other transaction gives positions, and keeps others from it until this transaction ends.
///
/// A statement of its own, on purpose: the next one takes its snapshot after the wait, and so sees the positions that
/// were given and the events that were committed meanwhile.
///
/// # Errors
/// When the database cannot answer, or the wait took longer than a statement may.
pub async fn lock_sequencer(executor: impl PgExecutor<'_>) -> Result<()> {
    sqlx::query!(
        "SELECT set_config('idle_in_transaction_session_timeout', $2, true), pg_advisory_xact_lock($1)::text AS locked",
        SEQUENCER_LOCK,
        SEQUENCER_IDLE_MS_MAX,
    )
    .fetch_one(executor)
    .await?;
    Ok(())
}

/// What one run of [`sequence_events`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequencedBatch {
    /// The highest position that was given.
    pub last: i64,
    /// How many events got one.
    pub count: i64,
    /// How long the oldest of them had waited since its transaction began.
    pub waited_seconds: f64,
}

/// Gives positions to committed events in the order of their ids, and notifies the listeners of all processes when
/// this transaction commits. Writes nothing when there is nothing to do. Needs [`lock_sequencer`] before it, in the
/// same transaction.
///
/// The only place that notifies: transactions with a notification commit one at a time, which here they do anyway.
///
/// # Errors
/// When the database cannot answer.
pub async fn sequence_events(executor: impl PgExecutor<'_>, limit: i64) -> Result<Option<SequencedBatch>> {
    let row = sqlx::query!(
        r#"
        WITH batch AS (
            SELECT id, created_at, row_number() OVER (ORDER BY id) AS place
            FROM (SELECT id, created_at FROM event_log WHERE position IS NULL ORDER BY id LIMIT $1) unsequenced
        ),
        total AS (
            SELECT count(*) AS count, min(created_at) AS oldest FROM batch
        ),
        -- A row, not a sequence: when this rolls back, the next run gives the same numbers.
        counter AS (
            UPDATE event_position SET last = event_position.last + total.count
            FROM total
            WHERE total.count > 0
            RETURNING event_position.last, total.count, total.oldest
        ),
        numbered AS (
            UPDATE event_log SET position = counter.last - counter.count + batch.place
            FROM batch, counter
            WHERE event_log.id = batch.id
        )
        SELECT
            last AS "last!", count AS "count!",
            extract(epoch FROM clock_timestamp() - oldest)::float8 AS "waited_seconds!",
            pg_notify($2, last::text)::text AS notified
        FROM counter
        "#,
        limit,
        CHANNEL,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| SequencedBatch { last: row.last, count: row.count, waited_seconds: row.waited_seconds.max(0.0) }))
}

/// Whether committed events wait for positions: a look into an index that is empty when all is well.
///
/// # Errors
/// When the database cannot answer.
pub async fn has_unsequenced_events(executor: impl PgExecutor<'_>) -> Result<bool> {
    Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM event_log WHERE position IS NULL) AS "any!""#)
        .fetch_one(executor)
        .await?)
}

/// The highest position that was given so far; 0 before the first.
///
/// # Errors
/// When the database cannot answer.
pub async fn last_position(executor: impl PgExecutor<'_>) -> Result<i64> {
    Ok(sqlx::query_scalar!("SELECT last FROM event_position").fetch_one(executor).await?)
}

/// An event with its place in the order of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    /// The place: without gaps when it is given, though old rows are deleted.
    pub position: i64,
    /// The repo, if it happened to one.
    pub repo_id: Option<i64>,
    /// The full name of a repo, or `/orgs/<org>`.
    pub subject: String,
    /// The full type.
    pub event_type: String,
    /// The envelope, as it is sent.
    pub payload: String,
    /// How long ago the transaction of the event began.
    pub age_seconds: f64,
}

/// How much one page may hold. At least one row is read, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// The most rows.
    pub rows_max: i64,
    /// The most bytes of payload.
    pub bytes_max: i64,
}

/// The next page of events after a position, in order. Fewer rows than the limit say nothing about the end: the page
/// may have been full by its bytes. An empty page is the end.
///
/// By the module's invariant, whoever reads from the position of the last row on misses nothing.
///
/// # Errors
/// When the database cannot answer.
pub async fn read_events(executor: impl PgExecutor<'_>, after: i64, limit: PageLimit) -> Result<Vec<LoggedEvent>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            p.position AS "position!", p.repo_id, p.subject, p.type AS event_type, p.payload,
            extract(epoch FROM clock_timestamp() - p.created_at)::float8 AS "age_seconds!"
        FROM (
            SELECT *, sum(octet_length(payload)) OVER (ORDER BY position) - octet_length(payload) AS bytes_before
            FROM (SELECT * FROM event_log WHERE position > $1 ORDER BY position LIMIT $2) next
        ) p
        WHERE p.bytes_before < $3
        ORDER BY p.position
        "#,
        after,
        limit.rows_max,
        limit.bytes_max,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LoggedEvent {
            position: row.position,
            repo_id: row.repo_id,
            subject: row.subject,
            event_type: row.event_type,
            payload: row.payload,
            age_seconds: row.age_seconds.max(0.0),
        })
        .collect())
}

/// One row that a replay looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedEvent {
    /// Its place in the order of the log.
    pub position: i64,
    /// The full type.
    pub event_type: String,
    /// The envelope, if the row is among those that were asked for.
    pub payload: Option<String>,
}

/// A page of one repo's events after one position and up to another, both as [`read_events`] counts them. Rows of
/// other types come without their payload, so that the caller knows how far the page went, and a page costs the same
/// however rare the types are. An empty page is the end.
///
/// # Errors
/// When the database cannot answer.
pub async fn replay_repo(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    types: Option<&[String]>,
    after: i64,
    up_to: i64,
    limit: PageLimit,
) -> Result<Vec<ReplayedEvent>> {
    Ok(sqlx::query_as!(
        ReplayedEvent,
        r#"
        SELECT p.position AS "position!", p.type AS event_type, CASE WHEN p.wanted THEN p.payload END AS payload
        FROM (
            SELECT
                *, sum(CASE WHEN wanted THEN octet_length(payload) ELSE 0 END) OVER (ORDER BY position)
                    - CASE WHEN wanted THEN octet_length(payload) ELSE 0 END AS bytes_before
            FROM (
                SELECT position, type, payload, ($2::text[] IS NULL OR type = ANY ($2)) AS wanted
                FROM event_log
                WHERE repo_id = $1 AND position > $3 AND position <= $4
                ORDER BY position
                LIMIT $5
            ) next
        ) p
        WHERE p.bytes_before < $6
        ORDER BY p.position
        "#,
        repo_id,
        types as Option<&[String]>,
        after,
        up_to,
        limit.rows_max,
        limit.bytes_max,
    )
    .fetch_all(executor)
    .await?)
}

/// The same over the whole log, or over the events of one subject.
///
/// # Errors
/// When the database cannot answer.
pub async fn replay_log(
    executor: impl PgExecutor<'_>,
    subject: Option<&str>,
    types: Option<&[String]>,
    after: i64,
    up_to: i64,
    limit: PageLimit,
) -> Result<Vec<ReplayedEvent>> {
    Ok(sqlx::query_as!(
        ReplayedEvent,
        r#"
        SELECT p.position AS "position!", p.type AS event_type, CASE WHEN p.wanted THEN p.payload END AS payload
        FROM (
            SELECT
                *, sum(CASE WHEN wanted THEN octet_length(payload) ELSE 0 END) OVER (ORDER BY position)
                    - CASE WHEN wanted THEN octet_length(payload) ELSE 0 END AS bytes_before
            FROM (
                SELECT
                    position, type, payload,
                    ($1::text IS NULL OR subject = $1) AND ($2::text[] IS NULL OR type = ANY ($2)) AS wanted
                FROM event_log
                WHERE position > $3 AND position <= $4
                ORDER BY position
                LIMIT $5
            ) next
        ) p
        WHERE p.bytes_before < $6
        ORDER BY p.position
        "#,
        subject,
        types as Option<&[String]>,
        after,
        up_to,
        limit.rows_max,
        limit.bytes_max,
    )
    .fetch_all(executor)
    .await?)
}

/// Lets this transaction delete old events, unless another one is at it: then `false`, at once.
///
/// # Errors
/// When the database cannot answer.
pub async fn try_lock_retention(executor: impl PgExecutor<'_>) -> Result<bool> {
    Ok(sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "locked!""#, RETENTION_LOCK)
        .fetch_one(executor)
        .await?)
}

/// A page of the audit trail, newest first: the whole of it, or what happened to one repo, before a position. What has no
/// position yet is not told.
///
/// # Errors
/// When the database cannot answer.
pub async fn audit_page(
    executor: impl PgExecutor<'_>,
    repo_id: Option<i64>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, String)>> {
    let before = before.unwrap_or(i64::MAX);
    // Two questions: a plan for both would go through what happened everywhere.
    let rows = if let Some(repo_id) = repo_id {
        sqlx::query_as!(
            AuditedRow,
            r#"
            SELECT position AS "position!", payload
            FROM event_log
            -- Rows are compared, so that the index of the repo alone gives the order.
            WHERE audit AND (repo_id, position) < ($1, $2) AND repo_id >= $1
            ORDER BY repo_id DESC, position DESC
            LIMIT $3
            "#,
            repo_id,
            before,
            limit,
        )
        .fetch_all(executor)
        .await?
    } else {
        sqlx::query_as!(
            AuditedRow,
            r#"
            SELECT position AS "position!", payload
            FROM event_log
            WHERE audit AND position < $1
            ORDER BY position DESC
            LIMIT $2
            "#,
            before,
            limit,
        )
        .fetch_all(executor)
        .await?
    };
    Ok(rows.into_iter().map(|row| (row.position, row.payload)).collect())
}

struct AuditedRow {
    position: i64,
    payload: String,
}

/// Deletes events older than an age by the clock of the database, either those of the audit trail or the others, oldest
/// first, and says how many. Spares those that have no position yet and those with a delivery that may still happen.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_events_older_than(
    executor: impl PgExecutor<'_>,
    audit: bool,
    days: i32,
    limit: i64,
) -> Result<u64> {
    Ok(sqlx::query!(
        r#"
        DELETE FROM event_log
        WHERE id IN (
            SELECT e.id
            FROM event_log e
            WHERE e.audit = $3
                AND e.created_at < now() - make_interval(days => $1)
                AND e.position IS NOT NULL
                AND NOT EXISTS (
                    SELECT FROM event_outbox o
                    WHERE o.event_log_id = e.id AND o.delivered_at IS NULL AND o.dead_at IS NULL
                )
            ORDER BY e.created_at
            LIMIT $2
        )
        "#,
        days,
        limit,
        audit,
    )
    .execute(executor)
    .await?
    .rows_affected())
}

/// A connection that hears of given positions. A hint only: what is said while nobody is connected is lost.
#[derive(Debug)]
pub struct PositionListener(PgListener);

impl PositionListener {
    /// Takes a connection of the pool for itself and listens. What is committed after this returns is heard.
    ///
    /// # Errors
    /// When no connection can be had.
    pub async fn connect(pool: &Pool) -> Result<Self> {
        let mut listener = PgListener::connect_with(pool.sqlx()).await?;
        // After a loss the caller connects anew, and reads what it did not hear.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// Waits for the next position. Safe to drop at any point.
    ///
    /// # Errors
    /// When the connection is lost; this listener is of no more use then.
    pub async fn next(&mut self) -> Result<i64> {
        match self.0.try_recv().await? {
            // Whoever else notifies on this channel, there may be something to read.
            Some(notification) => Ok(notification.payload().parse().unwrap_or(i64::MAX)),
            None => Err(Error::Unavailable(sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into()))),
        }
    }
}
