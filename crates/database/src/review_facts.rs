//! What was said about a branch and who wrote it: what a decision about a merge is made of, in two statements.

use docstore_models::{CheckState, PrincipalKind, ReviewStatus};
use serde::Deserialize;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use crate::{Result, branches::BranchRow};

/// The most reviewers of one head, and as many of earlier ones, that a decision looks at: a policy counts them within its
/// instructions. With more there is no decision, since the one who is left out may have rejected the change.
pub const REVIEWERS_MAX: usize = 1000;
/// The most checks of one head that a decision looks at, for the same reason.
pub const CHECKS_MAX: usize = 1000;
/// The most authors, as many pushers and as many co-authors, of one branch: nobody is forgotten, or nobody may merge.
pub const CONTRIBUTORS_MAX: usize = 1000;
/// The most bytes of lines that may name co-authors: a message may be one line of a megabyte, and all are read at once.
pub const CO_AUTHORED_BYTES_MAX: usize = 4 << 20;

/// A review.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReviewFact {
    /// The review.
    pub id: Uuid,
    /// Who reviewed.
    pub reviewer: String,
    /// What the reviewer is.
    pub reviewer_kind: PrincipalKind,
    /// The person for whom an agent reviewed.
    pub on_behalf_of: Option<String>,
    /// What the reviewer said.
    pub status: ReviewStatus,
    /// The head of the branch that was reviewed.
    pub sequence: i64,
    /// Its base.
    pub base_sequence: i64,
    /// What the branch changed, in hex.
    pub change_digest: Option<String>,
}

/// The latest attempt of a check.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CheckFact {
    /// The name.
    pub check_name: String,
    /// How it stands.
    pub state: CheckState,
    /// The commit.
    pub sequence: i64,
    /// Which attempt.
    pub attempt: i16,
    /// Who said so.
    pub reporter: String,
    /// Why.
    pub reason: Option<String>,
}

/// Who had a part in the commits of a branch since its last rebase, each once, bytewise: all, or more than
/// [`CONTRIBUTORS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitPeople {
    /// Who wrote them.
    pub authors: Vec<String>,
    /// Who brought them.
    pub pushers: Vec<String>,
    /// The lines of their messages that may name co-authors, each once: all, or more than [`CO_AUTHORED_BYTES_MAX`] of them.
    pub co_author_lines: Vec<String>,
    /// Who brought the last one.
    pub last_pusher: Option<String>,
}

/// Everything that was said about a branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewFacts {
    /// The last review of the head by each reviewer, newest first: all, or more than [`REVIEWERS_MAX`].
    pub at_head: Vec<ReviewFact>,
    /// The latest earlier review of each reviewer who has not reviewed the head, by reviewer, in the same way.
    pub earlier: Vec<ReviewFact>,
    /// The latest attempt of each check at the head, by name: all, or more than [`CHECKS_MAX`].
    pub checks: Vec<CheckFact>,
    /// Who wrote it.
    pub people: CommitPeople,
}

/// So many rows tell that there are more than the bound.
fn one_more(bound: usize) -> i64 {
    i64::try_from(bound).unwrap_or(i64::MAX).saturating_add(1)
}

/// What was said about a branch at its head and before, and who wrote it.
///
/// # Errors
/// When the database cannot answer.
pub async fn review_facts(executor: impl PgExecutor<'_>, branch: &BranchRow) -> Result<ReviewFacts> {
    let row = sqlx::query!(
        r#"
        SELECT
            (
                SELECT coalesce(json_agg(to_json(found) ORDER BY found.created_at DESC, found.id DESC), '[]')
                FROM (
                    SELECT DISTINCT ON (reviewer)
                        id, reviewer, reviewer_kind, on_behalf_of, status, sequence, base_sequence,
                        encode(change_digest, 'hex') AS change_digest, created_at
                    FROM reviews
                    WHERE branch_id = $1 AND sequence = $2
                    ORDER BY reviewer, created_at DESC, id DESC
                    LIMIT $4
                ) found
            ) AS "at_head!: Json<Vec<ReviewFact>>",
            (
                SELECT coalesce(json_agg(to_json(found) ORDER BY found.reviewer), '[]')
                FROM (
                    SELECT DISTINCT ON (r.reviewer)
                        r.id, r.reviewer, r.reviewer_kind, r.on_behalf_of, r.status, r.sequence, r.base_sequence,
                        encode(r.change_digest, 'hex') AS change_digest
                    FROM reviews r
                    WHERE r.branch_id = $1
                        AND r.sequence <> $2
                        AND NOT EXISTS (
                            SELECT 1 FROM reviews newer
                            WHERE newer.branch_id = $1 AND newer.sequence = $2 AND newer.reviewer = r.reviewer
                        )
                    ORDER BY r.reviewer, r.created_at DESC, r.id DESC
                    LIMIT $4
                ) found
            ) AS "earlier!: Json<Vec<ReviewFact>>",
            (
                SELECT coalesce(json_agg(to_json(found) ORDER BY found.check_name), '[]')
                FROM (
                    SELECT DISTINCT ON (check_name) check_name, state, sequence, attempt, reporter, reason
                    FROM check_runs
                    WHERE branch_id = $1 AND sequence = $2
                    ORDER BY check_name, attempt DESC
                    LIMIT $5
                ) found
            ) AS "checks!: Json<Vec<CheckFact>>",
            ARRAY(
                SELECT DISTINCT author FROM commits WHERE branch_id = $1 AND sequence > $3 ORDER BY 1 LIMIT $6
            ) AS "authors!: Vec<String>",
            ARRAY(
                SELECT DISTINCT coalesce(pushed_by, author) FROM commits
                WHERE branch_id = $1 AND sequence > $3
                ORDER BY 1
                LIMIT $6
            ) AS "pushers!: Vec<String>",
            ARRAY(
                -- The lines of the messages, not the messages: those may have a megabyte each.
                SELECT line
                FROM (
                    SELECT line, sum(octet_length(line)) OVER (ORDER BY line) - octet_length(line) AS bytes_before
                    FROM (
                        SELECT DISTINCT found[1] COLLATE "C" AS line
                        FROM commits
                        CROSS JOIN LATERAL regexp_matches(message, '[^\n]*co-authored-by:[^\n]*', 'gi') found
                        WHERE branch_id = $1 AND sequence > $3 AND message ILIKE '%co-authored-by:%'
                    ) lines
                ) named
                WHERE bytes_before <= $7::bigint
            ) AS "co_author_lines!: Vec<String>",
            (
                SELECT coalesce(pushed_by, author) FROM commits
                WHERE branch_id = $1 AND sequence > $3
                ORDER BY sequence DESC
                LIMIT 1
            ) AS last_pusher
        "#,
        branch.id,
        branch.head_sequence,
        branch.floor_sequence,
        one_more(REVIEWERS_MAX),
        one_more(CHECKS_MAX),
        one_more(CONTRIBUTORS_MAX),
        CO_AUTHORED_BYTES_MAX as i64,
    )
    .fetch_one(executor)
    .await?;
    Ok(ReviewFacts {
        at_head: row.at_head.0,
        earlier: row.earlier.0,
        checks: row.checks.0,
        people: CommitPeople {
            authors: row.authors,
            pushers: row.pushers,
            co_author_lines: row.co_author_lines,
            last_pusher: row.last_pusher,
        },
    })
}

/// Who had a part in the commits of a branch since its last rebase.
///
/// # Errors
/// When the database cannot answer.
pub async fn commit_people(executor: impl PgExecutor<'_>, branch: &BranchRow) -> Result<CommitPeople> {
    let row = sqlx::query!(
        r#"
        SELECT
            ARRAY(
                SELECT DISTINCT author FROM commits WHERE branch_id = $1 AND sequence > $2 ORDER BY 1 LIMIT $3
            ) AS "authors!: Vec<String>",
            ARRAY(
                SELECT DISTINCT coalesce(pushed_by, author) FROM commits
                WHERE branch_id = $1 AND sequence > $2
                ORDER BY 1
                LIMIT $3
            ) AS "pushers!: Vec<String>",
            ARRAY(
                -- The lines of the messages, not the messages: those may have a megabyte each.
                SELECT line
                FROM (
                    SELECT line, sum(octet_length(line)) OVER (ORDER BY line) - octet_length(line) AS bytes_before
                    FROM (
                        SELECT DISTINCT found[1] COLLATE "C" AS line
                        FROM commits
                        CROSS JOIN LATERAL regexp_matches(message, '[^\n]*co-authored-by:[^\n]*', 'gi') found
                        WHERE branch_id = $1 AND sequence > $2 AND message ILIKE '%co-authored-by:%'
                    ) lines
                ) named
                WHERE bytes_before <= $4::bigint
            ) AS "co_author_lines!: Vec<String>",
            (
                SELECT coalesce(pushed_by, author) FROM commits
                WHERE branch_id = $1 AND sequence > $2
                ORDER BY sequence DESC
                LIMIT 1
            ) AS last_pusher
        "#,
        branch.id,
        branch.floor_sequence,
        one_more(CONTRIBUTORS_MAX),
        CO_AUTHORED_BYTES_MAX as i64,
    )
    .fetch_one(executor)
    .await?;
    Ok(CommitPeople {
        authors: row.authors,
        pushers: row.pushers,
        co_author_lines: row.co_author_lines,
        last_pusher: row.last_pusher,
    })
}

/// Which of the paths given last changed on `main` after one sequence and up to another, and when. The cost is that of the
/// paths, not of what `main` has changed.
///
/// # Errors
/// When the database cannot answer.
pub async fn moved_on_main(
    executor: impl PgExecutor<'_>,
    main_id: i64,
    after_sequence: i64,
    upto_sequence: i64,
    paths: &[&str],
) -> Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"
        SELECT wanted.path AS "path!", last.sequence AS "sequence!"
        FROM unnest($4::text[]) AS wanted (path)
        CROSS JOIN LATERAL (
            SELECT f.sequence FROM file_changes f
            WHERE f.branch_id = $1 AND f.path = wanted.path COLLATE "C" AND f.sequence <= $3
            ORDER BY f.sequence DESC
            LIMIT 1
        ) last
        WHERE last.sequence > $2
        ORDER BY wanted.path COLLATE "C"
        "#,
        main_id,
        after_sequence,
        upto_sequence,
        paths as &[&str],
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (row.path, row.sequence)).collect())
}
