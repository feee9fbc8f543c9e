//! What policies decided, as it is kept: for whoever asks, and to try other policies on.

use chrono::{DateTime, Utc};
use docstore_models::{PolicyResult, Verdict, VerdictOutcome};
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use crate::{Result, error::timestamp};

/// A decision to keep.
#[derive(Clone, Debug)]
pub struct NewVerdict<'a> {
    /// The repo.
    pub repo_id: i64,
    /// The branch that it is about; `main` for what moves it directly.
    pub branch_id: i64,
    /// `merge`, `commit` or `import`.
    pub action: &'a str,
    /// Who.
    pub actor: &'a str,
    /// On whose behalf.
    pub on_behalf_of: Option<&'a str>,
    /// How it ended.
    pub outcome: VerdictOutcome,
    /// The head that was judged.
    pub head_sequence: i64,
    /// The commit on `main` that came of it.
    pub sequence: Option<i64>,
    /// Why an admin went ahead.
    pub override_reason: Option<&'a str>,
    /// What each policy said.
    pub results: &'a [PolicyResult],
    /// The document, unless it is too large.
    pub input: Option<&'a serde_json::Value>,
    /// Whether it is to be kept also when the newest decision about the branch was the same.
    pub even_if_repeated: bool,
}

/// Keeps a decision.
///
/// # Errors
/// When the database cannot answer.
pub async fn store_verdict(executor: impl PgExecutor<'_>, verdict: &NewVerdict<'_>) -> Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO policy_verdicts (
            id, repo_id, branch_id, action, actor, on_behalf_of, outcome, head_sequence, sequence, override_reason,
            results, input
        )
        SELECT
            $1::uuid, $2::bigint, $3::bigint, $4::text, $5::text, $6::text, $7::text, $8::bigint, $9::bigint, $10::text,
            $11::jsonb, $12::jsonb
        WHERE $13::boolean OR NOT EXISTS (
            SELECT FROM (
                SELECT * FROM policy_verdicts v WHERE v.branch_id = $3 ORDER BY v.id DESC LIMIT 1
            ) newest
            WHERE newest.action = $4
                AND newest.actor = $5
                AND newest.on_behalf_of IS NOT DISTINCT FROM $6
                AND newest.outcome = $7
                AND newest.head_sequence = $8
                AND newest.results = $11
                AND newest.input IS NOT DISTINCT FROM $12
        )
        "#,
        Uuid::now_v7(),
        verdict.repo_id,
        verdict.branch_id,
        verdict.action,
        verdict.actor,
        verdict.on_behalf_of,
        verdict.outcome.as_str(),
        verdict.head_sequence,
        verdict.sequence,
        verdict.override_reason,
        Json(verdict.results) as _,
        verdict.input,
        verdict.even_if_repeated,
    )
    .execute(executor)
    .await?;
    Ok(())
}

struct RawVerdict {
    id: Uuid,
    action: String,
    branch: String,
    actor: String,
    on_behalf_of: Option<String>,
    outcome: String,
    head_sequence: i64,
    sequence: Option<i64>,
    override_reason: Option<String>,
    results: Json<Vec<PolicyResult>>,
    created_at: DateTime<Utc>,
}

impl From<RawVerdict> for Verdict {
    fn from(row: RawVerdict) -> Self {
        Self {
            id: row.id,
            action: row.action,
            branch: row.branch,
            actor: row.actor,
            on_behalf_of: row.on_behalf_of,
            // The column has a check.
            outcome: row.outcome.parse().unwrap_or(VerdictOutcome::Denied),
            head_sequence: row.head_sequence,
            sequence: row.sequence,
            override_reason: row.override_reason,
            policies: row.results.0,
            created_at: timestamp(row.created_at),
        }
    }
}

/// Which decisions to list.
#[derive(Clone, Debug, Default)]
pub struct VerdictFilter<'a> {
    /// Only those about this branch.
    pub branch: Option<&'a str>,
    /// Only those that ended so.
    pub outcome: Option<VerdictOutcome>,
    /// Only those before this one.
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

/// Decisions, newest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_verdicts(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    filter: &VerdictFilter<'_>,
) -> Result<Vec<Verdict>> {
    let rows = sqlx::query_as!(
        RawVerdict,
        r#"
        SELECT
            v.id, v.action, b.name AS branch, v.actor, v.on_behalf_of, v.outcome, v.head_sequence, v.sequence,
            v.override_reason, v.results AS "results: Json<Vec<PolicyResult>>", v.created_at
        FROM policy_verdicts v
        JOIN branches b ON b.id = v.branch_id
        WHERE v.repo_id = $1
            AND ($2::text IS NULL OR b.name = $2)
            AND ($3::text IS NULL OR v.outcome = $3)
            AND v.id < coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY v.id DESC
        LIMIT $5
        "#,
        repo_id,
        filter.branch,
        filter.outcome.map(VerdictOutcome::as_str),
        filter.after,
        filter.limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(Verdict::from).collect())
}

/// The newest decision about a branch.
///
/// # Errors
/// When the database cannot answer.
pub async fn newest_verdict(executor: impl PgExecutor<'_>, branch_id: i64) -> Result<Option<Verdict>> {
    let row = sqlx::query_as!(
        RawVerdict,
        r#"
        SELECT
            v.id, v.action, b.name AS branch, v.actor, v.on_behalf_of, v.outcome, v.head_sequence, v.sequence,
            v.override_reason, v.results AS "results: Json<Vec<PolicyResult>>", v.created_at
        FROM policy_verdicts v
        JOIN branches b ON b.id = v.branch_id
        WHERE v.branch_id = $1
        ORDER BY v.id DESC
        LIMIT 1
        "#,
        branch_id,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(Verdict::from))
}

/// A decision with the document that it was made by.
#[derive(Clone, Debug)]
pub struct StoredInput {
    /// The decision.
    pub id: Uuid,
    /// `merge`, `commit` or `import`.
    pub action: String,
    /// The branch that it was about.
    pub branch: String,
    /// Who tried.
    pub actor: String,
    /// How it ended.
    pub outcome: VerdictOutcome,
    /// The document.
    pub input: serde_json::Value,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Decisions whose document was kept, newest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn stored_inputs(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<StoredInput>> {
    let rows = sqlx::query!(
        r#"
        SELECT v.id, v.action, b.name AS branch, v.actor, v.outcome, v.input AS "input!", v.created_at
        FROM policy_verdicts v
        JOIN branches b ON b.id = v.branch_id
        WHERE v.repo_id = $1 AND v.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND v.input IS NOT NULL
        ORDER BY v.id DESC
        LIMIT $3
        "#,
        repo_id,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StoredInput {
            id: row.id,
            action: row.action,
            branch: row.branch,
            actor: row.actor,
            outcome: row.outcome.parse().unwrap_or(VerdictOutcome::Denied),
            input: row.input,
            created_at: row.created_at,
        })
        .collect())
}

/// How many decisions have no document, among those before one and not before another.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_without_input(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    before: Option<Uuid>,
    not_before: Option<Uuid>,
) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!" FROM policy_verdicts
        WHERE repo_id = $1
            AND input IS NULL
            AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
            AND id >= coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
        "#,
        repo_id,
        before,
        not_before,
    )
    .fetch_one(executor)
    .await?)
}

/// Forgets refusals that are older than so many days, and what was carried out that is older than so many, at most so many
/// rows.
///
/// # Errors
/// When the database cannot answer.
pub async fn forget_verdicts(
    executor: impl PgExecutor<'_>,
    refused_days: i32,
    carried_out_days: i32,
    limit: i64,
) -> Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM policy_verdicts
        WHERE id = ANY (ARRAY(
            SELECT v.id FROM policy_verdicts v
            WHERE v.created_at < now() - make_interval(days => least($1::integer, $2::integer))
                AND v.created_at
                    < now() - make_interval(days => CASE WHEN v.outcome = 'denied' THEN $1::integer ELSE $2::integer END)
            ORDER BY v.created_at
            LIMIT $3
        ))
        "#,
        refused_days,
        carried_out_days,
        limit,
    )
    .execute(executor)
    .await?;
    Ok(deleted.rows_affected())
}
