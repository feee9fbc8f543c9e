//! Proposals. What changes one that exists locks its row first; what depends on its branch locks the branch before that.

use chrono::{DateTime, Utc};
use docstore_models::{Proposal, ProposalState};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    Result,
    branches::LockedBranch,
    error::timestamp,
    lists::{PageBounds, Place},
};

struct RawProposal {
    id: Uuid,
    branch: String,
    base_branch: String,
    title: String,
    description: Option<String>,
    author: String,
    state: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl RawProposal {
    fn into_wire(self, repo: &str) -> Proposal {
        Proposal {
            id: self.id,
            repo: repo.to_owned(),
            branch: self.branch,
            base_branch: self.base_branch,
            title: self.title,
            description: self.description,
            author: self.author,
            state: self.state.parse().unwrap_or(ProposalState::Closed),
            created_at: timestamp(self.created_at),
            updated_at: timestamp(self.updated_at),
        }
    }
}

/// What policies and merges need to know of the open proposal of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenProposal {
    /// The id.
    pub id: Uuid,
    /// What it is meant for.
    pub base_branch: String,
    /// Its title.
    pub title: String,
    /// Who opened it.
    pub author: String,
    /// Always open.
    pub state: ProposalState,
}

/// The open proposal of a branch; there is at most one.
///
/// # Errors
/// When the database cannot answer.
pub async fn open_proposal(executor: impl PgExecutor<'_>, branch_id: i64) -> Result<Option<OpenProposal>> {
    let row = sqlx::query!(
        r#"
        SELECT p.id, base.name AS base_branch, p.title, p.author
        FROM proposals p
        JOIN branches base ON base.id = p.base_branch_id
        WHERE p.branch_id = $1 AND p.state = 'open'
        "#,
        branch_id,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| OpenProposal {
        id: row.id,
        base_branch: row.base_branch,
        title: row.title,
        author: row.author,
        state: ProposalState::Open,
    }))
}

/// A proposal to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewProposal<'a> {
    /// What it is meant for.
    pub base_branch_id: i64,
    /// One line.
    pub title: &'a str,
    /// What it is about.
    pub description: Option<&'a str>,
    /// Who opens it.
    pub author: &'a str,
}

/// Opens a proposal for a locked branch. A second open one violates `proposals_one_open`.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn create_proposal(
    executor: impl PgExecutor<'_>,
    branch: &LockedBranch,
    proposal: NewProposal<'_>,
) -> Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query!(
        r#"
        INSERT INTO proposals (id, repo_id, branch_id, base_branch_id, title, description, author)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        id,
        branch.repo_id,
        branch.branch.id,
        proposal.base_branch_id,
        proposal.title,
        proposal.description,
        proposal.author,
    )
    .execute(executor)
    .await?;
    Ok(id)
}

/// One proposal.
///
/// # Errors
/// When the database cannot answer.
pub async fn proposal(executor: impl PgExecutor<'_>, repo_id: i64, repo: &str, id: Uuid) -> Result<Option<Proposal>> {
    let row = sqlx::query_as!(
        RawProposal,
        r#"
        SELECT
            p.id, b.name AS branch, base.name AS base_branch, p.title, p.description, p.author, p.state,
            p.created_at, p.updated_at
        FROM proposals p
        JOIN branches b ON b.id = p.branch_id
        JOIN branches base ON base.id = p.base_branch_id
        WHERE p.repo_id = $1 AND p.id = $2
        "#,
        repo_id,
        id,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.into_wire(repo)))
}

/// Locks a proposal of a repo that is held until the transaction ends, and answers it as it is then.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_proposal(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    id: Uuid,
) -> Result<Option<Proposal>> {
    let row = sqlx::query_as!(
        RawProposal,
        r#"
        SELECT
            p.id, b.name AS branch, base.name AS base_branch, p.title, p.description, p.author, p.state,
            p.created_at, p.updated_at
        FROM proposals p
        JOIN branches b ON b.id = p.branch_id
        JOIN branches base ON base.id = p.base_branch_id
        WHERE p.repo_id = $1 AND p.id = $2
        FOR NO KEY UPDATE OF p
        "#,
        repo_id,
        id,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.into_wire(repo)))
}

/// Which proposals to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProposalFilter<'a> {
    /// Only those in this state.
    pub state: Option<ProposalState>,
    /// Only those of this branch.
    pub branch: Option<&'a str>,
    /// Only those older than the one here.
    pub after: Option<Place>,
}

/// Where the list of proposals goes on behind one of them; `None` when there is no such proposal.
///
/// # Errors
/// When the database cannot answer.
pub async fn place_of_proposal(executor: impl PgExecutor<'_>, repo_id: i64, id: Uuid) -> Result<Option<Place>> {
    let row =
        sqlx::query_as!(Place, "SELECT created_at, id FROM proposals WHERE repo_id = $1 AND id = $2", repo_id, id)
            .fetch_optional(executor)
            .await?;
    Ok(row)
}

/// A page of proposals, newest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_proposals(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    filter: ProposalFilter<'_>,
    page: PageBounds,
) -> Result<Vec<Proposal>> {
    let (created_at, id) = Place::parts(filter.after);
    let rows = sqlx::query_as!(
        RawProposal,
        r#"
        SELECT id, branch, base_branch, title, description, author, state, created_at, updated_at
        FROM (
            SELECT
                p.*, b.name AS branch, base.name AS base_branch,
                sum(coalesce(octet_length(p.description), 0)) OVER (
                    ORDER BY p.created_at DESC, p.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM proposals p
            JOIN branches b ON b.id = p.branch_id
            JOIN branches base ON base.id = p.base_branch_id
            WHERE p.repo_id = $1
                AND ($2::text IS NULL OR p.state = $2)
                AND ($3::text IS NULL OR b.name = $3)
                -- The first page is no case of its own, so that an index can be walked from the place on.
                AND (p.created_at, p.id) < (
                    coalesce($4::timestamptz, 'infinity'), coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                )
            ORDER BY p.created_at DESC, p.id DESC
            LIMIT $6
        ) page
        WHERE coalesce(bytes_before, 0) < $7::bigint
        ORDER BY created_at DESC, id DESC
        "#,
        repo_id,
        filter.state.map(ProposalState::as_str),
        filter.branch,
        created_at,
        id,
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_wire(repo)).collect())
}

/// Changes the texts of a locked proposal. Answers when, which is later than any change before.
///
/// # Errors
/// When the database cannot answer.
pub async fn update_proposal(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    title: &str,
    description: Option<&str>,
) -> Result<DateTime<Utc>> {
    let row = sqlx::query!(
        r#"
        UPDATE proposals
        SET title = $2,
            description = $3,
            updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
        WHERE id = $1
        RETURNING updated_at
        "#,
        id,
        title,
        description,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.updated_at)
}

/// Brings a locked proposal into another state. A second open one of a branch violates `proposals_one_open`.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn set_state(executor: impl PgExecutor<'_>, id: Uuid, state: ProposalState) -> Result<()> {
    sqlx::query!(
        r#"
        UPDATE proposals
        SET state = $2, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
        WHERE id = $1
        "#,
        id,
        state.as_str(),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Ends the open proposal of a locked branch, if it has one: its id and what it was meant for.
///
/// # Errors
/// When the database cannot answer.
pub async fn end_open_proposal(
    executor: impl PgExecutor<'_>,
    branch: &LockedBranch,
    state: ProposalState,
) -> Result<Option<(Uuid, String)>> {
    let row = sqlx::query!(
        r#"
        UPDATE proposals p
        SET state = $2, updated_at = greatest(clock_timestamp(), p.updated_at + interval '1 microsecond')
        FROM branches base
        WHERE p.branch_id = $1 AND p.state = 'open' AND base.id = p.base_branch_id
        RETURNING p.id, base.name AS base_branch
        "#,
        branch.branch.id,
        state.as_str(),
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| (row.id, row.base_branch)))
}
