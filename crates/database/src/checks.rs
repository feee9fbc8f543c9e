//! Check runs.

use chrono::{DateTime, Utc};
use docstore_models::{CheckRun, CheckState};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{Result, branches::LockedBranch, error::timestamp};

/// What is reported about a check.
#[derive(Clone, Debug)]
pub struct CheckReport<'a> {
    /// The id, if it is the first report of this attempt.
    pub id: Uuid,
    /// The commit.
    pub sequence: i64,
    /// The name.
    pub check_name: &'a str,
    /// Which attempt.
    pub attempt: i16,
    /// How it stands.
    pub state: CheckState,
    /// Why.
    pub reason: Option<&'a str>,
    /// Who says so.
    pub reporter: &'a str,
    /// Where the log is; none keeps what is known.
    pub log_url: Option<&'a str>,
    /// Anything else; none keeps what is known.
    pub metadata: Option<&'a serde_json::Value>,
}

/// Stores a report: of an attempt that is known already it changes how it stands, and keeps id and time. Answers the id.
///
/// # Errors
/// When the database cannot answer.
pub async fn report_check(
    executor: impl PgExecutor<'_>,
    locked: &LockedBranch,
    report: &CheckReport<'_>,
) -> Result<Uuid> {
    let row = sqlx::query!(
        r#"
        INSERT INTO check_runs (
            id, repo_id, branch_id, sequence, check_name, attempt, state, reason, reporter, log_url, metadata, created_at,
            updated_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
        ON CONFLICT (branch_id, check_name, sequence, attempt) DO UPDATE
        SET state = excluded.state,
            reason = excluded.reason,
            reporter = excluded.reporter,
            log_url = coalesce(excluded.log_url, check_runs.log_url),
            metadata = coalesce(excluded.metadata, check_runs.metadata),
            updated_at = excluded.updated_at
        RETURNING id
        "#,
        report.id,
        locked.repo_id,
        locked.branch.id,
        report.sequence,
        report.check_name,
        report.attempt,
        report.state.as_str(),
        report.reason,
        report.reporter,
        report.log_url,
        report.metadata,
        locked.now,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.id)
}

/// What is known about a check of a commit before another report of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaidBefore {
    /// The highest attempt.
    pub latest: Option<i16>,
    /// The highest attempt that a CI job reported.
    pub of_jobs: Option<i16>,
    /// Whether a job that is newer than the one asked for has said how the attempt ended.
    pub ended_by_newer_job: bool,
}

/// What was said about a check of a commit, and about one attempt of it, before `job` or somebody else speaks.
///
/// # Errors
/// When the database cannot answer.
pub async fn said_before(
    executor: impl PgExecutor<'_>,
    locked: &LockedBranch,
    sequence: i64,
    check_name: &str,
    attempt: i16,
    job: Option<Uuid>,
) -> Result<SaidBefore> {
    let row = sqlx::query!(
        r#"
        SELECT
            max(c.attempt) AS latest,
            max(c.attempt) FILTER (WHERE c.reporter LIKE 'ci-job:%') AS of_jobs,
            coalesce(
                bool_or(
                    c.attempt = $4
                    AND c.state IN ('passed', 'failed', 'not_applicable')
                    AND theirs.created_at > mine.created_at
                ),
                false
            ) AS "ended_by_newer_job!"
        FROM check_runs c
        LEFT JOIN ci_jobs theirs
            ON theirs.id = CASE WHEN c.reporter ~ '^ci-job:[0-9a-f-]{36}$' THEN substr(c.reporter, 8)::uuid END
        LEFT JOIN ci_jobs mine ON mine.id = $5
        WHERE c.branch_id = $1 AND c.sequence = $2 AND c.check_name = $3
        "#,
        locked.branch.id,
        sequence,
        check_name,
        attempt,
        job,
    )
    .fetch_one(executor)
    .await?;
    Ok(SaidBefore { latest: row.latest, of_jobs: row.of_jobs, ended_by_newer_job: row.ended_by_newer_job })
}

/// How many checks a commit has, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_names(executor: impl PgExecutor<'_>, locked: &LockedBranch, sequence: i64) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT count(DISTINCT check_name) AS "count!" FROM check_runs WHERE branch_id = $1 AND sequence = $2
        "#,
        locked.branch.id,
        sequence,
    )
    .fetch_one(executor)
    .await?)
}

/// Takes away the attempts above one that people reported: a job speaks about the check for the first time, and what it says
/// must not stand below theirs. What they said stays in the log of events.
///
/// # Errors
/// When the database cannot answer.
pub async fn drop_attempts_of_people(
    executor: impl PgExecutor<'_>,
    locked: &LockedBranch,
    sequence: i64,
    check_name: &str,
    above: i16,
) -> Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM check_runs
        WHERE branch_id = $1 AND sequence = $2 AND check_name = $3 AND attempt > $4 AND reporter <> 'system'
        "#,
        locked.branch.id,
        sequence,
        check_name,
        above,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Whether a sequence is a commit of a branch, or where it stands.
///
/// # Errors
/// When the database cannot answer.
pub async fn is_on_branch(executor: impl PgExecutor<'_>, locked: &LockedBranch, sequence: i64) -> Result<bool> {
    if sequence == locked.branch.head_sequence {
        return Ok(true);
    }
    let row = sqlx::query!(
        r#"SELECT EXISTS (SELECT 1 FROM commits WHERE branch_id = $1 AND sequence = $2) AS "exists!""#,
        locked.branch.id,
        sequence,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.exists)
}

struct RawCheck {
    id: Uuid,
    sequence: i64,
    check_name: String,
    attempt: i16,
    state: String,
    reason: Option<String>,
    reporter: String,
    log_url: Option<String>,
    metadata: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl RawCheck {
    fn into_wire(self, repo: &str, branch: &str) -> CheckRun {
        // The table's own check lets nothing else in; what cannot be read must not pass.
        let state = self.state.parse().unwrap_or(CheckState::Failed);
        CheckRun {
            id: self.id,
            repo: repo.to_owned(),
            branch: branch.to_owned(),
            sequence: self.sequence,
            check_name: self.check_name,
            status: state.status(),
            reporter: self.reporter,
            log_url: self.log_url,
            created_at: timestamp(self.created_at),
            attempt: self.attempt,
            metadata: self.metadata,
            state: state.beyond_status(),
            reason: self.reason,
            updated_at: (self.updated_at != self.created_at).then(|| timestamp(self.updated_at)),
        }
    }
}

/// A page of the latest run of each check of a branch, or of those at one sequence, by name: the newest commit that has one counts,
/// and there the highest attempt. On an unknown branch there are none. The cost is that of the names, however often they
/// ran.
///
/// # Errors
/// When the database cannot answer.
pub async fn latest_checks(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    branch: &str,
    at: Option<i64>,
    after: &str,
    limit: i64,
) -> Result<Vec<CheckRun>> {
    let rows = sqlx::query_as!(
        RawCheck,
        r#"
        WITH RECURSIVE branch AS (
            SELECT id FROM branches WHERE repo_id = $1 AND name = $2 AND deleted_at IS NULL
        ),
        -- From one name to the next in the index, without reading the runs in between.
        names AS (
            (
                SELECT c.check_name
                FROM branch JOIN check_runs c ON c.branch_id = branch.id
                WHERE c.check_name > $4
                ORDER BY c.check_name
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT c.check_name
                FROM branch JOIN check_runs c ON c.branch_id = branch.id
                WHERE c.check_name > names.check_name
                ORDER BY c.check_name
                LIMIT 1
            )
            FROM names
            WHERE names.check_name IS NOT NULL
        )
        SELECT
            c.id AS "id!", c.sequence AS "sequence!", c.check_name AS "check_name!", c.attempt AS "attempt!",
            c.state AS "state!", c.reason, c.reporter AS "reporter!", c.log_url, c.metadata,
            c.created_at AS "created_at!", c.updated_at AS "updated_at!"
        FROM names
        CROSS JOIN branch
        CROSS JOIN LATERAL (
            SELECT * FROM check_runs latest
            WHERE latest.branch_id = branch.id
                AND latest.check_name = names.check_name
                AND ($3::bigint IS NULL OR latest.sequence = $3)
            ORDER BY latest.sequence DESC, latest.attempt DESC
            LIMIT 1
        ) c
        ORDER BY c.check_name
        LIMIT $5
        "#,
        repo_id,
        branch,
        at,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_wire(repo, branch)).collect())
}

/// Where the history of checks goes on behind a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunPlace {
    /// The commit of the last run that was seen.
    pub sequence: i64,
    /// When it was first reported.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// Where the history of checks goes on behind a run; `None` when there is no such run.
///
/// # Errors
/// When the database cannot answer.
pub async fn place_of_run(executor: impl PgExecutor<'_>, repo_id: i64, id: Uuid) -> Result<Option<RunPlace>> {
    let row = sqlx::query_as!(
        RunPlace,
        "SELECT sequence, created_at, id FROM check_runs WHERE repo_id = $1 AND id = $2",
        repo_id,
        id
    )
    .fetch_optional(executor)
    .await?;
    Ok(row)
}

/// A page of the attempts of every check of a branch, or of those at one sequence: newest commit first, there the newest
/// first. On an unknown branch there are none.
///
/// # Errors
/// When the database cannot answer.
pub async fn check_history(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    branch: &str,
    at: Option<i64>,
    after: Option<RunPlace>,
    limit: i64,
) -> Result<Vec<CheckRun>> {
    let rows = sqlx::query_as!(
        RawCheck,
        r#"
        SELECT
            c.id, c.sequence, c.check_name, c.attempt, c.state, c.reason, c.reporter, c.log_url, c.metadata,
            c.created_at, c.updated_at
        FROM branches b
        JOIN check_runs c ON c.branch_id = b.id
        WHERE b.repo_id = $1
            AND b.name = $2
            AND b.deleted_at IS NULL
            AND ($3::bigint IS NULL OR c.sequence = $3)
            AND (c.sequence, c.created_at, c.id) < (
                coalesce($4, 9223372036854775807), coalesce($5::timestamptz, 'infinity'),
                coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
            )
        ORDER BY c.sequence DESC, c.created_at DESC, c.id DESC
        LIMIT $7
        "#,
        repo_id,
        branch,
        at,
        after.map(|place| place.sequence),
        after.map(|place| place.created_at),
        after.map(|place| place.id),
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_wire(repo, branch)).collect())
}

/// Where a check stands at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestAttempt {
    /// The name.
    pub check_name: String,
    /// The highest attempt.
    pub attempt: i16,
    /// How that one stands.
    pub state: CheckState,
}

/// The highest attempt of each check at a commit, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn latest_attempts(
    executor: impl PgExecutor<'_>,
    branch_id: i64,
    sequence: i64,
) -> Result<Vec<LatestAttempt>> {
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT ON (check_name) check_name, attempt, state
        FROM check_runs
        WHERE branch_id = $1 AND sequence = $2
        ORDER BY check_name, attempt DESC
        "#,
        branch_id,
        sequence,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LatestAttempt {
            check_name: row.check_name,
            attempt: row.attempt,
            state: row.state.parse().unwrap_or(CheckState::Failed),
        })
        .collect())
}

/// Begins one more attempt of each of the checks given: pending, by `system`.
///
/// # Errors
/// When the database cannot answer.
pub async fn retry_checks(
    executor: impl PgExecutor<'_>,
    locked: &LockedBranch,
    sequence: i64,
    attempt: i16,
    names: &[String],
) -> Result<()> {
    let ids: Vec<Uuid> = names.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query!(
        r#"
        INSERT INTO check_runs (
            id, repo_id, branch_id, sequence, check_name, attempt, state, reporter, created_at, updated_at
        )
        SELECT n.id, $1, $2, $3, n.check_name, $4, 'pending', 'system', $5, $5
        FROM unnest($6::uuid[], $7::text[]) AS n (id, check_name)
        "#,
        locked.repo_id,
        locked.branch.id,
        sequence,
        attempt,
        locked.now,
        &ids,
        names,
    )
    .execute(executor)
    .await?;
    Ok(())
}
