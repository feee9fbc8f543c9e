//! CI jobs, as far as their request tokens open something here.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::Result;

/// A claimed job whose request token was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobToken {
    /// The job.
    pub job_id: Uuid,
    /// Its repo.
    pub repo_id: i64,
    /// The repo's org.
    pub org_id: i64,
    /// Its branch.
    pub branch_id: i64,
    /// The repo's full name.
    pub repo: String,
    /// The name of its branch.
    pub branch: String,
    /// The commit it runs on.
    pub sequence: i64,
    /// What started it.
    pub trigger_type: Option<String>,
    /// The proposal that started it, as the scheduler wrote it.
    pub trigger_proposal_id: Option<String>,
}

/// The job that holds a request token, while the token is valid (contract, server §2.6).
///
/// # Errors
/// When the database cannot answer.
pub async fn job_of_request_token(executor: impl PgExecutor<'_>, token_hash: &str) -> Result<Option<JobToken>> {
    let row = sqlx::query!(
        r#"
        SELECT
            j.id, j.repo_id, r.org_id, j.branch_id, r.name AS repo, b.name AS branch, j.sequence, j.trigger_type,
            j.trigger_proposal_id
        FROM ci_jobs j
        JOIN repos r ON r.id = j.repo_id AND r.deleted_at IS NULL
        JOIN branches b ON b.id = j.branch_id AND b.deleted_at IS NULL
        WHERE j.request_token = $1 AND j.request_token_exp > now() AND j.status = 'claimed'
        "#,
        token_hash,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| JobToken {
        job_id: row.id,
        repo_id: row.repo_id,
        org_id: row.org_id,
        branch_id: row.branch_id,
        repo: row.repo,
        branch: row.branch,
        sequence: row.sequence,
        trigger_type: row.trigger_type,
        trigger_proposal_id: row.trigger_proposal_id,
    }))
}
