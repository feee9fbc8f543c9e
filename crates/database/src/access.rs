//! Who may do what in a repo: the facts, not the decision.

use docstore_models::{FileMode, OrgRole, Role, Timestamp};
use sqlx::PgExecutor;

use crate::{Result, contents::stored_bytes, error::timestamp, trees::FileRow};

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

/// The facts about a live repo and an identity.
///
/// # Errors
/// When the database cannot answer.
pub async fn repo_facts(executor: impl PgExecutor<'_>, repo: &str, identity: &str) -> Result<Option<RepoFacts>> {
    let row = sqlx::query!(
        r#"
        SELECT
            r.id, r.org_id, r.name, r.created_at, r.created_by,
            own.role::text AS "explicit_role?",
            m.role::text AS "org_role?",
            EXISTS (SELECT 1 FROM roles a WHERE a.repo_id = r.id AND a.role = 'admin') AS "has_admin!"
        FROM repos r
        LEFT JOIN roles own ON own.repo_id = r.id AND own.identity = $2
        LEFT JOIN org_members m ON m.org_id = r.org_id AND m.identity = $2
        WHERE r.name = $1 AND r.deleted_at IS NULL
        "#,
        repo,
        identity,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| RepoFacts {
        repo_id: row.id,
        org_id: row.org_id,
        name: row.name,
        created_at: timestamp(row.created_at),
        created_by: row.created_by,
        explicit_role: row.explicit_role.and_then(|role| role.parse().ok()),
        org_role: row.org_role.and_then(|role| role.parse().ok()),
        has_admin: row.has_admin,
    }))
}

/// The facts about a live repo and an identity, and one file at the head of a branch of it: the most frequent read of all
/// in one round trip. The file is for the caller to give away only when the facts allow it.
///
/// # Errors
/// When the database cannot answer.
pub async fn repo_facts_and_file(
    executor: impl PgExecutor<'_>,
    repo: &str,
    identity: &str,
    branch: &str,
    path: &str,
) -> Result<Option<(RepoFacts, Option<FileRow>)>> {
    let row = sqlx::query!(
        r#"
        SELECT
            r.id, r.org_id, r.name, r.created_at, r.created_by,
            own.role::text AS "explicit_role?",
            m.role::text AS "org_role?",
            EXISTS (SELECT 1 FROM roles a WHERE a.repo_id = r.id AND a.role = 'admin') AS "has_admin!",
            f.version_id AS "version_id?", f.content_hash AS "content_hash?", f.size AS "size?", f.blob_key AS "blob_key?",
            f.bytes AS "bytes?", f.content_type AS "content_type?", f.mode AS "mode?"
        FROM repos r
        LEFT JOIN roles own ON own.repo_id = r.id AND own.identity = $2
        LEFT JOIN org_members m ON m.org_id = r.org_id AND m.identity = $2
        LEFT JOIN LATERAL (
            SELECT
                c.version_id, c.content_hash, c.size, c.blob_key, stored.bytes, found.content_type, found.mode
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
                    WHERE b.name <> 'main'
                        AND main.repo_id = b.repo_id
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
            WHERE b.repo_id = r.id AND b.name = $3 AND b.deleted_at IS NULL
        ) f ON true
        WHERE r.name = $1 AND r.deleted_at IS NULL
        "#,
        repo,
        identity,
        branch,
        path,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| {
        let file = match (row.version_id, row.content_hash, row.size, row.mode) {
            (Some(version_id), Some(hash), Some(size), Some(mode)) => Some(FileRow {
                version_id,
                hash: hash.as_slice().try_into().unwrap_or_default(),
                size,
                content_type: row.content_type,
                mode: FileMode::from_i32(mode),
                bytes: stored_bytes(row.blob_key, row.bytes),
                settled: false,
            }),
            _ => None,
        };
        let facts = RepoFacts {
            repo_id: row.id,
            org_id: row.org_id,
            name: row.name,
            created_at: timestamp(row.created_at),
            created_by: row.created_by,
            explicit_role: row.explicit_role.and_then(|role| role.parse().ok()),
            org_role: row.org_role.and_then(|role| role.parse().ok()),
            has_admin: row.has_admin,
        };
        (facts, file)
    }))
}
