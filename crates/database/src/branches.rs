//! Branches: their rows, and the lock that everything which moves a branch takes first.

use chrono::{DateTime, Utc};
use docstore_models::{Branch, BranchStatus};
use sqlx::{PgConnection, PgExecutor};

use crate::{Result, repos::REPO_LOCKS};

/// A branch as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchRow {
    /// The id.
    pub id: i64,
    /// The name.
    pub name: String,
    /// The last commit, or the base.
    pub head_sequence: i64,
    /// The head of `main` that it starts from.
    pub base_sequence: i64,
    /// Own changes up to here are no longer part of the tree.
    pub floor_sequence: i64,
    /// The chain hash of the last commit.
    pub head_hash: Option<Vec<u8>>,
    /// Where it is in its life.
    pub status: BranchStatus,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether it merges by itself.
    pub auto_merge: bool,
}

impl BranchRow {
    /// As the wire shows it.
    #[must_use]
    pub fn to_wire(&self, repo: &str) -> Branch {
        Branch {
            repo: repo.to_owned(),
            name: self.name.clone(),
            head_sequence: self.head_sequence,
            base_sequence: self.base_sequence,
            status: self.status,
            draft: self.draft,
            auto_merge: self.auto_merge,
        }
    }
}

struct RawBranch {
    id: i64,
    name: String,
    head_sequence: i64,
    base_sequence: i64,
    floor_sequence: i64,
    head_hash: Option<Vec<u8>>,
    status: String,
    draft: bool,
    auto_merge: bool,
}

impl From<RawBranch> for BranchRow {
    fn from(raw: RawBranch) -> Self {
        Self {
            id: raw.id,
            name: raw.name,
            head_sequence: raw.head_sequence,
            base_sequence: raw.base_sequence,
            floor_sequence: raw.floor_sequence,
            head_hash: raw.head_hash,
            status: raw.status.parse().unwrap_or(BranchStatus::Abandoned),
            draft: raw.draft,
            auto_merge: raw.auto_merge,
        }
    }
}

/// A branch by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn branch(executor: impl PgExecutor<'_>, repo_id: i64, name: &str) -> Result<Option<BranchRow>> {
    let row = sqlx::query_as!(
        RawBranch,
        r#"
        SELECT
            id, name, head_sequence, base_sequence, floor_sequence, head_hash, status::text AS "status!",
            draft, auto_merge
        FROM branches
        WHERE repo_id = $1 AND name = $2 AND deleted_at IS NULL
        "#,
        repo_id,
        name,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(BranchRow::from))
}

/// Which branches to list.
#[derive(Clone, Debug, Default)]
pub struct BranchFilter<'a> {
    /// Only those in this status.
    pub status: Option<BranchStatus>,
    /// `Some(true)`: only drafts; `Some(false)`: no drafts; `None`: both.
    pub draft: Option<bool>,
    /// Only names behind this one.
    pub after: &'a str,
    /// At most so many.
    pub limit: Option<i64>,
}

/// Branches by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_branches(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    filter: &BranchFilter<'_>,
) -> Result<Vec<BranchRow>> {
    let rows = sqlx::query_as!(
        RawBranch,
        r#"
        SELECT
            id, name, head_sequence, base_sequence, floor_sequence, head_hash, status::text AS "status!",
            draft, auto_merge
        FROM branches
        WHERE repo_id = $1
            AND deleted_at IS NULL
            AND ($2::text IS NULL OR status = $2::text::branch_status)
            AND ($3::boolean IS NULL OR draft = $3)
            AND name > $4
        ORDER BY name
        LIMIT $5
        "#,
        repo_id,
        filter.status.map(BranchStatus::as_str),
        filter.draft,
        filter.after,
        filter.limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(BranchRow::from).collect())
}

/// A branch that is locked until the transaction ends, and the time of the lock.
///
/// Holding one is the proof that the branch cannot move; what appends commits asks for it.
#[derive(Clone, Debug)]
pub struct LockedBranch {
    /// The repo.
    pub repo_id: i64,
    /// The branch as it is now.
    pub branch: BranchRow,
    /// The database's clock after the lock was taken: it rises along the branch, so commits carry it.
    pub now: DateTime<Utc>,
    /// A number for one new commit, drawn under the lock, if one was asked for.
    pub next_sequence: Option<i64>,
    /// The id of `main` of the repo.
    pub main_id: i64,
    /// Whether it is `main` and known to be judged by no policy, neither of the repo nor of its org. When it is not, policies
    /// have to be asked for.
    pub ungoverned: bool,
}

/// A row of [`LockedBranch`], but for the repo.
struct RawLocked {
    id: i64,
    name: String,
    head_sequence: i64,
    base_sequence: i64,
    floor_sequence: i64,
    head_hash: Option<Vec<u8>>,
    status: String,
    draft: bool,
    auto_merge: bool,
    now: DateTime<Utc>,
    next_sequence: Option<i64>,
    main_id: i64,
    ungoverned: bool,
}

impl RawLocked {
    fn of_repo(self, repo_id: i64) -> LockedBranch {
        let Self { now, next_sequence, main_id, ungoverned, .. } = self;
        let branch = RawBranch {
            id: self.id,
            name: self.name,
            head_sequence: self.head_sequence,
            base_sequence: self.base_sequence,
            floor_sequence: self.floor_sequence,
            head_hash: self.head_hash,
            status: self.status,
            draft: self.draft,
            auto_merge: self.auto_merge,
        };
        LockedBranch { repo_id, now, next_sequence, main_id, ungoverned, branch: branch.into() }
    }
}

/// A statement that locks the branches which its last part selects. The clock is read, and with the first argument a number
/// for one commit is drawn, in an outer query, that is, after the wait for the lock; `ungoverned` is found out there as well.
macro_rules! locking {
    ($branches:literal, ungoverned: $ungoverned:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            RawLocked,
            r#"
            SELECT
                locked.id, locked.name, locked.head_sequence, locked.base_sequence, locked.floor_sequence,
                locked.head_hash, locked.status::text AS "status!", locked.draft, locked.auto_merge,
                clock_timestamp() AS "now!",
                CASE WHEN $1 THEN nextval('commit_sequence') END AS next_sequence,
                CASE locked.name WHEN 'main' THEN locked.id
                    ELSE (SELECT id FROM branches WHERE repo_id = $2 AND name = 'main' AND deleted_at IS NULL)
                END AS "main_id!",
            "# + $ungoverned + r#" AS "ungoverned!"
            FROM (
            "# + $branches + ") locked",
            $($argument),+
        )
    };
}

/// Locks a branch, and keeps its repo from being removed. Whoever needs several locks `main` first. With `draw_sequence` it
/// comes with a number for one commit.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_branch(
    connection: &mut PgConnection,
    repo_id: i64,
    name: &str,
    draw_sequence: bool,
) -> Result<Option<LockedBranch>> {
    let row = locking!(
        r#"
        SELECT * FROM branches
        WHERE repo_id = $2
            AND name = $3
            AND deleted_at IS NULL
            -- A lock is never null; it is taken before that of the row, which then looks again whether the branch is
            -- still there.
            AND pg_advisory_xact_lock_shared($4::bigint + repo_id) IS NOT NULL
        FOR NO KEY UPDATE
        "#,
        ungoverned: r#"
        CASE WHEN locked.name = 'main' THEN
            -- What is looked at here was so when the statement began. Of the repo nothing has changed since if the head has
            -- not moved while the lock was waited for; of the org it must not be long ago.
            locked.head_sequence = (SELECT seen.head_sequence FROM branches seen WHERE seen.id = locked.id)
            AND clock_timestamp() < statement_timestamp() + interval '10 ms'
            AND NOT EXISTS (SELECT FROM repos r JOIN org_policies o ON o.org_id = r.org_id WHERE r.id = $2)
            -- As in `policies_in_force`.
            AND NOT EXISTS (
                SELECT FROM file_changes f
                WHERE f.branch_id = locked.id
                    AND f.superseded_by IS NULL
                    AND f.content_id IS NOT NULL
                    AND f.path > '.docstore/policy/'
                    AND f.path < '.docstore/policy0'
                    AND f.path LIKE '%.rego'
            )
        ELSE false END
        "#,
        draw_sequence,
        repo_id,
        name,
        REPO_LOCKS,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.of_repo(repo_id)))
}

/// Locks those of the branches that nobody else has locked, as [`lock_branch`] does, but without waiting for any; in no
/// order, each with a number for one commit. None is locked while the repo is being removed.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_free_branches(
    connection: &mut PgConnection,
    repo_id: i64,
    names: &[&str],
) -> Result<Vec<LockedBranch>> {
    let rows = locking!(
        r#"
        SELECT b.*
        FROM unnest($3::text[]) AS wanted (name)
        JOIN branches b ON b.repo_id = $2 AND b.name = wanted.name COLLATE "C" AND b.deleted_at IS NULL
        WHERE pg_try_advisory_xact_lock_shared($4::bigint + b.repo_id)
        FOR NO KEY UPDATE OF b SKIP LOCKED
        "#,
        ungoverned: "false",
        true,
        repo_id,
        names as &[&str],
        REPO_LOCKS,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.of_repo(repo_id)).collect())
}

/// Creates a branch at the head of `main` of a repo that is held. A taken name violates `branches_live_name`. Answers its base, or nothing
/// when the repo has gone.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn create_branch(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    name: &str,
    draft: bool,
    created_by: &str,
) -> Result<Option<i64>> {
    let row = sqlx::query!(
        r#"
        INSERT INTO branches (repo_id, name, head_sequence, base_sequence, floor_sequence, draft, created_by)
        SELECT m.repo_id, $2, m.head_sequence, m.head_sequence, m.head_sequence, $3, $4
        FROM branches m
        WHERE m.repo_id = $1 AND m.name = 'main' AND m.deleted_at IS NULL
        RETURNING base_sequence
        "#,
        repo_id,
        name,
        draft,
        created_by,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.base_sequence))
}

/// Ends a branch.
///
/// # Errors
/// When the database cannot answer.
pub async fn set_status(executor: impl PgExecutor<'_>, locked: &LockedBranch, status: BranchStatus) -> Result<()> {
    sqlx::query!(
        "UPDATE branches SET status = $2::text::branch_status WHERE id = $1",
        locked.branch.id,
        status.as_str(),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Sets the draft flag.
///
/// # Errors
/// When the database cannot answer.
pub async fn set_draft(executor: impl PgExecutor<'_>, locked: &LockedBranch, draft: bool) -> Result<()> {
    sqlx::query!("UPDATE branches SET draft = $2 WHERE id = $1", locked.branch.id, draft).execute(executor).await?;
    Ok(())
}

/// Moves a branch without commits of its own to a new base.
///
/// # Errors
/// When the database cannot answer.
pub async fn move_empty_branch(executor: impl PgExecutor<'_>, locked: &LockedBranch, base: i64) -> Result<()> {
    sqlx::query!(
        r#"
        UPDATE branches
        SET base_sequence = $2, head_sequence = $2, floor_sequence = greatest(floor_sequence, head_sequence, $2)
        WHERE id = $1
        "#,
        locked.branch.id,
        base,
    )
    .execute(executor)
    .await?;
    Ok(())
}
