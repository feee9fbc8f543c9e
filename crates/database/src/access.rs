//! Who may do what in a repo: the facts, not the decision.

use chrono::{DateTime, Utc};
use docstore_models::{FileMode, OrgRole, Role, Timestamp};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    Result,
    contents::{hash_of, stored_bytes},
    error::timestamp,
    trees::FileRow,
};

/// What the database knows about a repo and one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoFacts {
    /// The repo.
    pub repo_id: i64,
    /// Its org.
    pub org_id: i64,
    /// The full name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
    /// The identity's own role.
    pub explicit_role: Option<Role>,
    /// What the identity is in the repo's org.
    pub org_role: Option<OrgRole>,
    /// Whether anybody is an explicit admin.
    pub has_admin: bool,
}

/// Makes the facts of a row that has the columns of the SQL function `repo_facts`.
macro_rules! facts_of {
    ($row:expr) => {
        RepoFacts {
            repo_id: $row.repo_id,
            org_id: $row.org_id,
            name: $row.name.clone(),
            created_at: timestamp($row.created_at),
            created_by: $row.created_by.clone(),
            explicit_role: $row.explicit_role.as_deref().and_then(|role| role.parse().ok()),
            org_role: $row.org_role.as_deref().and_then(|role| role.parse().ok()),
            has_admin: $row.has_admin,
        }
    };
}
pub(crate) use facts_of;

/// A question for the facts about a repo and an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsQuestion {
    /// The full name of the repo.
    pub repo: String,
    /// Who.
    pub identity: String,
}

/// The facts about a live repo and an identity.
///
/// # Errors
/// When the database cannot answer.
pub async fn repo_facts(executor: impl PgExecutor<'_>, repo: &str, identity: &str) -> Result<Option<RepoFacts>> {
    let question = FactsQuestion { repo: repo.to_owned(), identity: identity.to_owned() };
    Ok(all_repo_facts(executor, &[question]).await?.pop().flatten())
}

/// The facts about live repos and identities, in the order of the questions.
///
/// # Errors
/// When the database cannot answer.
pub async fn all_repo_facts(
    executor: impl PgExecutor<'_>,
    questions: &[FactsQuestion],
) -> Result<Vec<Option<RepoFacts>>> {
    let repos: Vec<&str> = questions.iter().map(|question| question.repo.as_str()).collect();
    let identities: Vec<&str> = questions.iter().map(|question| question.identity.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT
            asked.place AS "place!", r.repo_id AS "repo_id!", r.org_id AS "org_id!", r.name AS "name!",
            r.created_at AS "created_at!", r.created_by AS "created_by!", r.explicit_role::text, r.org_role::text,
            r.has_admin AS "has_admin!"
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (repo, identity, place)
        CROSS JOIN LATERAL repo_facts(asked.repo, asked.identity) r
        "#,
        &repos as &[&str],
        &identities as &[&str],
    )
    .fetch_all(executor)
    .await?;
    Ok(in_order(questions.len(), rows.into_iter().map(|row| (row.place, facts_of!(row)))))
}

/// Answers in the order of their questions, by the places that an ordinality gave them.
pub(crate) fn in_order<T>(questions: usize, answers: impl Iterator<Item = (i64, T)>) -> Vec<Option<T>> {
    let mut ordered: Vec<Option<T>> = (0..questions).map(|_| None).collect();
    for (place, answer) in answers {
        if let Some(slot) = usize::try_from(place - 1).ok().and_then(|index| ordered.get_mut(index)) {
            *slot = Some(answer);
        }
    }
    ordered
}

/// The facts about the live repos in which an identity is something, by name: its own role, a membership in the org, or,
/// for whoever may enter repos without an admin, those. Only these repos, if some are given.
///
/// # Errors
/// When the database cannot answer.
pub async fn facts_of_identity(
    executor: impl PgExecutor<'_>,
    identity: &str,
    without_admin: bool,
    only: Option<&[i64]>,
    after: &str,
    limit: i64,
) -> Result<Vec<RepoFacts>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            r.id AS repo_id, r.org_id, r.name, r.created_at, r.created_by,
            (SELECT own.role::text FROM roles own WHERE own.repo_id = r.id AND own.identity = $1) AS "explicit_role?",
            (SELECT m.role::text FROM org_members m WHERE m.org_id = r.org_id AND m.identity = $1) AS "org_role?",
            EXISTS (SELECT 1 FROM roles a WHERE a.repo_id = r.id AND a.role = 'admin') AS "has_admin!"
        FROM repos r
        -- By the identity, not by going through every repo there is; an array, since for a join they would be read as soon as
        -- many are thought to come of the last part.
        WHERE r.id = ANY (ARRAY(
                SELECT repo_id FROM roles WHERE identity = $1
                UNION
                SELECT o.id
                FROM org_members m
                JOIN repos o ON o.org_id = m.org_id AND o.deleted_at IS NULL
                WHERE m.identity = $1
                UNION
                SELECT o.id FROM repos o
                WHERE $2 AND NOT EXISTS (SELECT 1 FROM roles a WHERE a.repo_id = o.id AND a.role = 'admin')
            ))
            AND r.deleted_at IS NULL
            AND r.name > $4
            AND ($3::bigint[] IS NULL OR r.id = ANY ($3))
        ORDER BY r.name
        LIMIT $5
        "#,
        identity,
        without_admin,
        only,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| facts_of!(row)).collect())
}

/// The facts and a file, if there is one.
struct RawFacts {
    place: i64,
    repo_id: i64,
    org_id: i64,
    name: String,
    created_at: DateTime<Utc>,
    created_by: String,
    explicit_role: Option<String>,
    org_role: Option<String>,
    has_admin: bool,
    version_id: Option<Uuid>,
    content_hash: Option<Vec<u8>>,
    size: Option<i64>,
    blob_key: Option<String>,
    bytes: Option<Vec<u8>>,
    content_type: Option<String>,
    mode: Option<i32>,
    obliterated: Option<bool>,
}

impl RawFacts {
    fn split(self) -> FactsAndFile {
        let facts = facts_of!(self);
        let file = match (self.version_id, self.content_hash, self.size, self.mode) {
            (Some(version_id), Some(hash), Some(size), Some(mode)) => Some(FileRow {
                version_id,
                hash: hash_of(&hash),
                size,
                content_type: self.content_type,
                mode: FileMode::from_i32(mode),
                bytes: stored_bytes(self.obliterated == Some(true), self.blob_key, self.bytes),
                settled: false,
            }),
            _ => None,
        };
        (facts, file)
    }
}

/// The facts about a live repo and an identity, and a file at the head of a branch of it, if it is there. The file is for
/// the caller to give away only when the facts allow it.
pub type FactsAndFile = (RepoFacts, Option<FileRow>);

/// A question for the facts about a repo and an identity, and for a file of its `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MainFileQuestion {
    /// Where, and who.
    pub facts: FactsQuestion,
    /// The path.
    pub path: String,
}

/// Facts and files at the head of `main`, in the order of the questions: the most frequent read of all, and the right to
/// it, in one round trip.
///
/// # Errors
/// When the database cannot answer.
pub async fn facts_and_main_files(
    executor: impl PgExecutor<'_>,
    questions: &[MainFileQuestion],
) -> Result<Vec<Option<FactsAndFile>>> {
    let repos: Vec<&str> = questions.iter().map(|question| question.facts.repo.as_str()).collect();
    let identities: Vec<&str> = questions.iter().map(|question| question.facts.identity.as_str()).collect();
    let paths: Vec<&str> = questions.iter().map(|question| question.path.as_str()).collect();
    let rows = sqlx::query_as!(
        RawFacts,
        r#"
        SELECT
            asked.place AS "place!", r.repo_id AS "repo_id!", r.org_id AS "org_id!", r.name AS "name!",
            r.created_at AS "created_at!", r.created_by AS "created_by!", r.explicit_role::text, r.org_role::text,
            r.has_admin AS "has_admin!", f.version_id AS "version_id?", f.content_hash AS "content_hash?",
            f.size AS "size?", f.blob_key AS "blob_key?", f.bytes AS "bytes?", f.content_type AS "content_type?",
            f.mode AS "mode?", f.obliterated AS "obliterated?"
        FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS asked (repo, identity, path, place)
        CROSS JOIN LATERAL repo_facts(asked.repo, asked.identity) r
        LEFT JOIN LATERAL (
            SELECT
                c.version_id, c.content_hash, c.size, c.blob_key, c.obliterated, stored.bytes, present.content_type,
                present.mode
            FROM branches m
            JOIN file_changes present
                ON present.branch_id = m.id
                AND present.superseded_by IS NULL
                AND present.content_id IS NOT NULL
            JOIN contents c ON c.id = present.content_id
            LEFT JOIN content_bytes stored ON stored.content_id = c.id
            WHERE m.repo_id = r.repo_id AND m.name = 'main' AND m.deleted_at IS NULL AND present.path = asked.path COLLATE "C"
        ) f ON true
        "#,
        &repos as &[&str],
        &identities as &[&str],
        &paths as &[&str],
    )
    .fetch_all(executor)
    .await?;
    Ok(in_order(questions.len(), rows.into_iter().map(|row| (row.place, row.split()))))
}

/// The facts about a live repo and an identity, and a file at the head of a branch, which need not be `main`.
///
/// # Errors
/// When the database cannot answer.
pub async fn facts_and_file(
    executor: impl PgExecutor<'_>,
    repo: &str,
    identity: &str,
    branch: &str,
    path: &str,
) -> Result<Option<FactsAndFile>> {
    let row = sqlx::query_as!(
        RawFacts,
        r#"
        SELECT
            1::bigint AS "place!", r.repo_id AS "repo_id!", r.org_id AS "org_id!", r.name AS "name!", r.created_at AS "created_at!",
            r.created_by AS "created_by!", r.explicit_role::text, r.org_role::text, r.has_admin AS "has_admin!",
            f.version_id AS "version_id?", f.content_hash AS "content_hash?", f.size AS "size?",
            f.blob_key AS "blob_key?", f.bytes AS "bytes?", f.content_type AS "content_type?", f.mode AS "mode?",
            f.obliterated AS "obliterated?"
        FROM repo_facts($1, $2) r
        LEFT JOIN LATERAL (
            SELECT
                c.version_id, c.content_hash, c.size, c.blob_key, c.obliterated, stored.bytes, found.content_type,
                found.mode
            FROM branches b
            CROSS JOIN LATERAL (
                (
                    SELECT top.content_id, top.content_type, top.mode, 1 AS layer
                    FROM file_changes top
                    WHERE top.branch_id = b.id AND top.path = $4 AND top.sequence > b.floor_sequence
                    ORDER BY top.sequence DESC
                    LIMIT 1
                )
                UNION ALL
                (
                    SELECT under.content_id, under.content_type, under.mode, 2 AS layer
                    FROM branches main
                    JOIN file_changes under ON under.branch_id = main.id
                    WHERE main.repo_id = b.repo_id
                        AND main.name = 'main'
                        AND main.deleted_at IS NULL
                        AND under.path = $4
                        AND under.sequence <= b.base_sequence
                    ORDER BY under.sequence DESC
                    LIMIT 1
                )
                ORDER BY layer
                LIMIT 1
            ) found
            JOIN contents c ON c.id = found.content_id
            LEFT JOIN content_bytes stored ON stored.content_id = c.id
            WHERE b.repo_id = r.repo_id AND b.name = $3 AND b.deleted_at IS NULL
        ) f ON true
        "#,
        repo,
        identity,
        branch,
        path,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(RawFacts::split))
}

/// What an identity has in a repo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Who.
    pub identity: String,
    /// The identity's own role.
    pub explicit_role: Option<Role>,
    /// What the identity is in the repo's org.
    pub org_role: Option<OrgRole>,
    /// Whether anybody is an explicit admin of the repo.
    pub has_admin: bool,
}

/// What some identities have in a repo.
///
/// # Errors
/// When the database cannot answer.
pub async fn grants_of(executor: impl PgExecutor<'_>, repo_id: i64, identities: &[&str]) -> Result<Vec<Grants>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            wanted.identity AS "identity!",
            own.role::text AS "explicit_role?",
            m.role::text AS "org_role?",
            EXISTS (SELECT 1 FROM roles a WHERE a.repo_id = $1 AND a.role = 'admin') AS "has_admin!"
        FROM repos r
        CROSS JOIN unnest($2::text[]) AS wanted (identity)
        LEFT JOIN roles own ON own.repo_id = r.id AND own.identity = wanted.identity COLLATE "C"
        LEFT JOIN org_members m ON m.org_id = r.org_id AND m.identity = wanted.identity COLLATE "C"
        WHERE r.id = $1
        "#,
        repo_id,
        identities as &[&str],
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Grants {
            identity: row.identity,
            explicit_role: row.explicit_role.as_deref().and_then(|role| role.parse().ok()),
            org_role: row.org_role.as_deref().and_then(|role| role.parse().ok()),
            has_admin: row.has_admin,
        })
        .collect())
}

/// Whether an identity has any role in a live repo, of its own or by its org.
///
/// # Errors
/// When the database cannot answer.
pub async fn has_role(executor: impl PgExecutor<'_>, repo_id: i64, identity: &str) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM repos r
            WHERE r.id = $1
                AND r.deleted_at IS NULL
                AND (
                    EXISTS (SELECT FROM roles own WHERE own.repo_id = r.id AND own.identity = $2)
                    OR EXISTS (SELECT FROM org_members m WHERE m.org_id = r.org_id AND m.identity = $2)
                )
        ) AS "has!"
        "#,
        repo_id,
        identity,
    )
    .fetch_one(executor)
    .await?)
}
