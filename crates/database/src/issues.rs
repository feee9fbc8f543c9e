//! Issues and the counter of their numbers. Their comments and refs are in `issue_comments` and `issue_refs`.

use chrono::{DateTime, Utc};
use docstore_models::{CloseReason, Issue, IssueState, RefType};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{Result, error::timestamp, lists::PageBounds};

struct RawIssue {
    id: Uuid,
    number: i64,
    title: String,
    body: Option<String>,
    author: String,
    state: String,
    close_reason: Option<String>,
    closed_by: Option<String>,
    labels: Vec<String>,
    closed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl RawIssue {
    fn into_wire(self, repo: &str) -> Issue {
        Issue {
            id: self.id,
            repo: repo.to_owned(),
            number: self.number,
            title: self.title,
            body: self.body,
            author: self.author,
            state: self.state.parse().unwrap_or(IssueState::Closed),
            close_reason: self.close_reason.and_then(|reason| reason.parse().ok()),
            closed_by: self.closed_by,
            labels: self.labels,
            closed_at: self.closed_at.map(timestamp),
            created_at: timestamp(self.created_at),
            updated_at: timestamp(self.updated_at),
        }
    }
}

/// Draws the next number of a repo. Whoever asks next waits until this transaction ends, and gets the same number when it
/// comes to nothing.
///
/// # Errors
/// When the database cannot answer.
pub async fn draw_number(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<i64> {
    let row = sqlx::query!(
        r#"
        INSERT INTO issue_counters AS counter (repo_id, last) VALUES ($1, 1)
        ON CONFLICT (repo_id) DO UPDATE SET last = counter.last + 1
        RETURNING last
        "#,
        repo_id,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.last)
}

/// An issue to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewIssue<'a> {
    /// Its number.
    pub number: i64,
    /// One line.
    pub title: &'a str,
    /// What it is about.
    pub body: Option<&'a str>,
    /// Its labels.
    pub labels: &'a [String],
    /// Who opens it.
    pub author: &'a str,
}

/// Opens an issue.
///
/// # Errors
/// When the database cannot answer.
pub async fn create_issue(executor: impl PgExecutor<'_>, repo_id: i64, issue: NewIssue<'_>) -> Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO issues (id, repo_id, number, title, body, labels, author) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        id,
        repo_id,
        issue.number,
        issue.title,
        issue.body,
        issue.labels,
        issue.author,
    )
    .execute(executor)
    .await?;
    Ok(id)
}

/// One issue.
///
/// # Errors
/// When the database cannot answer.
pub async fn issue(executor: impl PgExecutor<'_>, repo_id: i64, repo: &str, number: i64) -> Result<Option<Issue>> {
    let row = sqlx::query_as!(
        RawIssue,
        r#"
        SELECT
            id, number, title, body, author, state, close_reason, closed_by, labels, closed_at, created_at, updated_at
        FROM issues
        WHERE repo_id = $1 AND number = $2
        "#,
        repo_id,
        number,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.into_wire(repo)))
}

/// Locks an issue of a repo that is held until the transaction ends, and answers it as it is then.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_issue(executor: impl PgExecutor<'_>, repo_id: i64, repo: &str, number: i64) -> Result<Option<Issue>> {
    let row = sqlx::query_as!(
        RawIssue,
        r#"
        SELECT
            id, number, title, body, author, state, close_reason, closed_by, labels, closed_at, created_at, updated_at
        FROM issues
        WHERE repo_id = $1 AND number = $2
        FOR NO KEY UPDATE
        "#,
        repo_id,
        number,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.into_wire(repo)))
}

/// Which issues to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct IssueFilter<'a> {
    /// Only those in this state.
    pub state: Option<IssueState>,
    /// Only those that this identity opened.
    pub author: Option<&'a str>,
    /// Only those that have this label.
    pub label: Option<&'a str>,
    /// Only those with a lower number.
    pub after: Option<i64>,
}

/// A page of issues, newest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_issues(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    filter: IssueFilter<'_>,
    page: PageBounds,
) -> Result<Vec<Issue>> {
    let rows = sqlx::query_as!(
        RawIssue,
        r#"
        -- One walk through an index for each state that is wanted, by the rarest of what is asked for; those for other
        -- questions than this one are not begun.
        WITH states AS (
            SELECT state FROM unnest(ARRAY['open', 'closed']) AS all_states (state) WHERE $2::text IS NULL OR state = $2
        ),
        found AS (
            SELECT labelled.number
            FROM states
            CROSS JOIN LATERAL (
                SELECT l.number
                FROM issue_labels l
                WHERE $4::text IS NOT NULL
                    AND l.repo_id = $1 AND l.label = $4 AND l.state = states.state AND l.number < $5
                    AND ($3::text IS NULL OR (SELECT i.author FROM issues i WHERE i.id = l.issue_id) = $3)
                ORDER BY l.number DESC
                LIMIT $6
            ) labelled
            UNION ALL
            SELECT written.number
            FROM states
            CROSS JOIN LATERAL (
                SELECT i.number
                FROM issues i
                WHERE $4::text IS NULL AND $3::text IS NOT NULL
                    AND i.repo_id = $1 AND i.author = $3 AND i.state = states.state AND i.number < $5
                ORDER BY i.number DESC
                LIMIT $6
            ) written
            UNION ALL
            SELECT rest.number
            FROM states
            CROSS JOIN LATERAL (
                SELECT i.number
                FROM issues i
                WHERE $4::text IS NULL AND $3::text IS NULL
                    AND i.repo_id = $1 AND i.state = states.state AND i.number < $5
                ORDER BY i.number DESC
                LIMIT $6
            ) rest
        ),
        page AS (
            SELECT number FROM found ORDER BY number DESC LIMIT $6
        )
        SELECT
            id, number, title, body, author, state, close_reason, closed_by, labels, closed_at, created_at, updated_at
        FROM (
            SELECT
                i.*,
                sum(coalesce(octet_length(i.body), 0))
                    OVER (ORDER BY i.number DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM page
            JOIN issues i ON i.repo_id = $1 AND i.number = page.number
        ) sized
        WHERE coalesce(bytes_before, 0) < $7::bigint
        ORDER BY number DESC
        "#,
        repo_id,
        filter.state.map(IssueState::as_str),
        filter.author,
        filter.label,
        filter.after.unwrap_or(i64::MAX),
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_wire(repo)).collect())
}

/// A page of the issues that are tied to something, by number, behind the number given.
///
/// # Errors
/// When the database cannot answer.
pub async fn issues_tied_to(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    target: (RefType, &str),
    after: Option<i64>,
    page: PageBounds,
) -> Result<Vec<Issue>> {
    let (ref_type, ref_id) = target;
    let rows = sqlx::query_as!(
        RawIssue,
        r#"
        SELECT
            id, number, title, body, author, state, close_reason, closed_by, labels, closed_at, created_at, updated_at
        FROM (
            SELECT
                i.*,
                sum(coalesce(octet_length(i.body), 0))
                    OVER (ORDER BY i.number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM issue_refs r
            JOIN issues i ON i.id = r.issue_id
            WHERE r.repo_id = $1 AND r.ref_type = $2 AND r.ref_id = $3 AND i.number > $4
            ORDER BY i.number
            LIMIT $5
        ) page
        WHERE coalesce(bytes_before, 0) < $6::bigint
        ORDER BY number
        "#,
        repo_id,
        ref_type.as_str(),
        ref_id,
        after.unwrap_or(0),
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_wire(repo)).collect())
}

/// Changes the texts and labels of a locked issue and answers it as it is now.
///
/// # Errors
/// When the database cannot answer.
pub async fn update_issue(executor: impl PgExecutor<'_>, issue: &Issue) -> Result<Issue> {
    let row = sqlx::query!(
        r#"
        UPDATE issues
        SET title = $2, body = $3, labels = $4, updated_at = clock_timestamp()
        WHERE id = $1
        RETURNING updated_at
        "#,
        issue.id,
        issue.title,
        issue.body,
        &issue.labels,
    )
    .fetch_one(executor)
    .await?;
    Ok(Issue { updated_at: timestamp(row.updated_at), ..issue.clone() })
}

/// Closes a locked issue and answers it as it is now.
///
/// # Errors
/// When the database cannot answer.
pub async fn close_issue(
    executor: impl PgExecutor<'_>,
    issue: Issue,
    reason: CloseReason,
    closed_by: &str,
) -> Result<Issue> {
    let row = sqlx::query!(
        r#"
        -- One reading of the clock for both.
        UPDATE issues
        SET state = 'closed', close_reason = $2, closed_by = $3, closed_at = clock.now, updated_at = clock.now
        FROM (SELECT clock_timestamp() AS now) clock
        WHERE id = $1
        RETURNING updated_at
        "#,
        issue.id,
        reason.as_str(),
        closed_by,
    )
    .fetch_one(executor)
    .await?;
    let now = timestamp(row.updated_at);
    Ok(Issue {
        state: IssueState::Closed,
        close_reason: Some(reason),
        closed_by: Some(closed_by.to_owned()),
        closed_at: Some(now),
        updated_at: now,
        ..issue
    })
}

/// Opens a locked issue again, forgets why, when and by whom it was closed, and answers it as it is now.
///
/// # Errors
/// When the database cannot answer.
pub async fn reopen_issue(executor: impl PgExecutor<'_>, issue: Issue) -> Result<Issue> {
    let row = sqlx::query!(
        r#"
        UPDATE issues
        SET state = 'open', close_reason = NULL, closed_by = NULL, closed_at = NULL, updated_at = clock_timestamp()
        WHERE id = $1
        RETURNING updated_at
        "#,
        issue.id,
    )
    .fetch_one(executor)
    .await?;
    Ok(Issue {
        state: IssueState::Open,
        close_reason: None,
        closed_by: None,
        closed_at: None,
        updated_at: timestamp(row.updated_at),
        ..issue
    })
}
