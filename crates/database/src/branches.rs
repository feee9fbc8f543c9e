//! Branches: their rows, and the lock that everything which moves a branch takes first.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use docstore_models::{Branch, BranchStatus};
use sqlx::{PgConnection, PgExecutor};

use crate::{
    Connection, Pool, Result,
    access::{RepoFacts, facts_of, in_order},
    append::Surroundings,
    connections::Attempts,
    error::timestamp,
    idempotency::UsedKey,
    repos::REPO_LOCKS,
};

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
    /// Whether a commit was ever made on the branch: each has a hash.
    pub(crate) fn has_commits(&self) -> bool {
        self.head_hash.is_some()
    }

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

/// A branch as somebody saw it, and what a commit behind its head needs.
#[derive(Clone, Debug)]
pub struct SeenBranch {
    /// The repo.
    pub repo_id: i64,
    /// The branch.
    pub branch: BranchRow,
    /// The database's clock after the branch was seen: it rises along the branch, so commits carry it.
    pub now: DateTime<Utc>,
    /// A number for one new commit, drawn after the branch was seen, if one was asked for.
    pub sequence: Option<i64>,
    /// The id of `main` of the repo.
    pub main_id: i64,
}

/// A branch that is locked until the transaction ends, seen under the lock.
///
/// Holding one is the proof that the branch cannot move; what appends commits in a transaction asks for it.
#[derive(Clone, Debug)]
pub struct LockedBranch(SeenBranch);

impl Deref for LockedBranch {
    type Target = SeenBranch;

    fn deref(&self) -> &SeenBranch {
        &self.0
    }
}

/// A row of [`SeenBranch`], but for the repo.
struct RawSeen {
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
    sequence: Option<i64>,
    main_id: i64,
}

impl RawSeen {
    fn of_repo(self, repo_id: i64) -> SeenBranch {
        let Self { now, sequence, main_id, .. } = self;
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
        SeenBranch { repo_id, now, sequence, main_id, branch: branch.into() }
    }
}

/// Locks a branch, and keeps its repo from being removed. Whoever needs several locks `main` first. With `draw_sequence` it
/// comes with a number for one commit. The clock is read and the number drawn in an outer query, that is, after the wait for the
/// lock.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_branch(
    connection: &mut PgConnection,
    repo_id: i64,
    name: &str,
    draw_sequence: bool,
) -> Result<Option<LockedBranch>> {
    let row = sqlx::query_as!(
        RawSeen,
        r#"
        SELECT
            locked.id, locked.name, locked.head_sequence, locked.base_sequence, locked.floor_sequence,
            locked.head_hash, locked.status::text AS "status!", locked.draft, locked.auto_merge,
            clock_timestamp() AS "now!",
            CASE WHEN $3 THEN nextval('commit_sequence') END AS sequence,
            CASE locked.name WHEN 'main' THEN locked.id
                ELSE (SELECT id FROM branches WHERE repo_id = $1 AND name = 'main' AND deleted_at IS NULL)
            END AS "main_id!"
        FROM (
            SELECT * FROM branches
            WHERE repo_id = $1
                AND name = $2
                AND deleted_at IS NULL
                -- A lock is never null; it is taken before that of the row, which then looks again whether the branch is
                -- still there.
                AND pg_advisory_xact_lock_shared($4::bigint + repo_id) IS NOT NULL
            FOR NO KEY UPDATE
        ) locked
        "#,
        repo_id,
        name,
        draw_sequence,
        REPO_LOCKS,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| LockedBranch(row.of_repo(repo_id))))
}

/// A small commit that somebody wants to make.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whose rights they have.
    pub rights_of: &'a str,
    /// Whether they have a right without a role (the global admin).
    pub needs_no_role: bool,
    /// On which branch.
    pub branch: &'a str,
    /// The paths at which there is a file after it.
    pub created: &'a [&'a str],
    /// Under which key.
    pub key: Option<UsedKey<'a>>,
}

/// What was seen for a small commit.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What the database knows about the repo and whoever gives the right.
    pub facts: RepoFacts,
    /// The branch, with a number for the commit, if nothing is against it.
    pub branch: Option<SeenBranch>,
}

/// Looks at what small commits to a repo need, without a lock, for [`append_unmoved`](crate::append::append_unmoved): who may do
/// what, the branches, and all that is against a commit and does not go away by itself. That is a caller without a role; a branch
/// that is not there, not active or merges by itself; a policy that judges what comes to `main`; a key that was used before; and
/// a path that may be a file and a directory at once, which [`files_in_the_way`](crate::commits::files_in_the_way) knows.
///
/// Answers in the order of the commits, nothing where the repo does not exist, and with the connection, which is alive.
///
/// # Errors
/// When the database cannot answer.
pub async fn look_at_branches(
    pool: &Pool,
    repo: &str,
    wanted: &[Wanted<'_>],
) -> Result<(Connection, Vec<Option<Looked>>)> {
    let mut rights_of = Vec::with_capacity(wanted.len());
    let mut needs_no_role = Vec::with_capacity(wanted.len());
    let mut names = Vec::with_capacity(wanted.len());
    let mut users = Vec::with_capacity(wanted.len());
    let mut keys = Vec::with_capacity(wanted.len());
    let mut around = Surroundings::default();
    for (place, wanted) in (1..).zip(wanted) {
        rights_of.push(wanted.rights_of);
        needs_no_role.push(wanted.needs_no_role);
        names.push(wanted.branch);
        users.push(wanted.key.map(|key| key.identity));
        keys.push(wanted.key.map(|key| key.key));
        around.push(place, wanted.created);
    }
    let mut attempts = Attempts::new(pool);
    let (connection, rows) = loop {
        let mut connection = attempts.connection().await?;
        let rows = sqlx::query!(
            r#"
            SELECT
                asked.place AS "place!", r.repo_id AS "repo_id!", r.org_id AS "org_id!", r.name AS "name!",
                r.created_at AS "created_at!", r.created_by AS "created_by!", r.explicit_role::text, r.org_role::text,
                r.has_admin AS "has_admin!", b.id AS "id?", b.name AS "branch?", b.head_sequence AS "head_sequence?",
                b.base_sequence AS "base_sequence?", b.floor_sequence AS "floor_sequence?", b.head_hash,
                b.draft AS "draft?", main.id AS "main_id?", clock_timestamp() AS "now!",
                CASE WHEN NOT anything.against THEN nextval('commit_sequence') END AS sequence
            FROM unnest($2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY
                AS asked (rights_of, needs_no_role, branch, identity, key, place)
            CROSS JOIN LATERAL repo_facts($1, asked.rights_of) r
            LEFT JOIN branches b
                ON b.repo_id = r.repo_id
                AND b.name = asked.branch COLLATE "C"
                AND b.deleted_at IS NULL
                AND b.status = 'active'
                AND NOT b.auto_merge
            LEFT JOIN branches main ON main.repo_id = r.repo_id AND main.name = 'main' AND main.deleted_at IS NULL
            CROSS JOIN LATERAL (
                SELECT
                    b.id IS NULL
                    OR NOT asked.needs_no_role AND r.explicit_role IS NULL AND r.org_role IS NULL
                    OR EXISTS (
                        SELECT FROM idempotency_keys k
                        WHERE k.identity = asked.identity COLLATE "C" AND k.key = asked.key COLLATE "C"
                    )
                    OR EXISTS (
                        SELECT FROM unnest($7::integer[], $8::text[], $9::text[]) AS around (place, low, high)
                        CROSS JOIN LATERAL (
                            (
                                SELECT FROM file_changes f
                                WHERE f.branch_id = b.id
                                    AND f.path >= around.low COLLATE "C"
                                    AND f.path <= around.high COLLATE "C"
                                ORDER BY f.path
                                LIMIT 1
                            )
                            UNION ALL
                            (
                                SELECT FROM file_changes f
                                WHERE f.branch_id = main.id
                                    AND main.id <> b.id
                                    AND f.path >= around.low COLLATE "C"
                                    AND f.path <= around.high COLLATE "C"
                                ORDER BY f.path
                                LIMIT 1
                            )
                        ) found
                        WHERE around.place = asked.place
                    )
                    OR b.id = main.id AND (
                        EXISTS (SELECT FROM org_policies o WHERE o.org_id = r.org_id)
                        -- As in `policies_in_force`.
                        OR EXISTS (
                            SELECT FROM file_changes f
                            WHERE f.branch_id = b.id
                                AND f.superseded_by IS NULL
                                AND f.content_id IS NOT NULL
                                AND f.path > '.docstore/policy/'
                                AND f.path < '.docstore/policy0'
                                AND f.path LIKE '%.rego'
                        )
                    ) AS against
                -- Once, though two columns ask.
                OFFSET 0
            ) anything
            "#,
            repo,
            &rights_of as &[&str],
            &needs_no_role,
            &names as &[&str],
            &users as &[Option<&str>],
            &keys as &[Option<&str>],
            &around.place,
            &around.low,
            &around.high,
        )
        .fetch_all(&mut *connection)
        .await;
        match rows {
            Ok(rows) => break (connection, rows),
            Err(error) => attempts.failed(error)?,
        }
    };
    let looked = rows.into_iter().map(|row| {
        let facts = facts_of!(row);
        let branch = match (row.sequence, row.id, row.branch, row.main_id) {
            (Some(sequence), Some(id), Some(name), Some(main_id)) => Some(SeenBranch {
                repo_id: row.repo_id,
                branch: BranchRow {
                    id,
                    name,
                    head_sequence: row.head_sequence.unwrap_or_default(),
                    base_sequence: row.base_sequence.unwrap_or_default(),
                    floor_sequence: row.floor_sequence.unwrap_or_default(),
                    head_hash: row.head_hash,
                    status: BranchStatus::Active,
                    draft: row.draft.unwrap_or_default(),
                    auto_merge: false,
                },
                now: row.now,
                sequence: Some(sequence),
                main_id,
            }),
            _ => None,
        };
        (row.place, Looked { facts, branch })
    });
    let looked = in_order(wanted.len(), looked);
    Ok((connection, looked))
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
