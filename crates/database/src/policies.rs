//! Policies: those of orgs, and the files of `main` that judge what comes to it.

use docstore_models::OrgPolicy;
use sqlx::PgExecutor;

use crate::{
    Result,
    contents::{ContentHash, hash_of},
    error::timestamp,
};

/// A file at the head of `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MainFile {
    /// Where it is.
    pub path: String,
    /// Its content, inside.
    pub content_id: i64,
    /// The hash of its content.
    pub hash: ContentHash,
    /// The length of its content in bytes.
    pub size: i64,
    /// Whether the bytes were obliterated.
    pub obliterated: bool,
}

/// The policies that judge what comes to `main`.
#[derive(Clone, Debug, Default)]
pub struct PoliciesInForce {
    /// Those of the org, by name: the name and the text.
    pub of_org: Vec<(String, String)>,
    /// Those at the head of `main`, by path.
    pub of_main: Vec<MainFile>,
}

/// The policies of an org, if one is given, and those at the head of `main`, of these at most so many: one question, since
/// it is asked while `main` is locked.
///
/// # Errors
/// When the database cannot answer.
pub async fn policies_in_force(
    executor: impl PgExecutor<'_>,
    org_id: Option<i64>,
    main_id: i64,
    limit: i64,
) -> Result<PoliciesInForce> {
    let rows = sqlx::query!(
        r#"
        SELECT
            name AS "name!", source, NULL::bigint AS content_id, NULL::bytea AS content_hash, NULL::bigint AS size,
            NULL::boolean AS obliterated
        FROM org_policies
        WHERE org_id = $1
        UNION ALL
        (
            SELECT f.path, NULL, c.id, c.content_hash, c.size, c.obliterated
            FROM file_changes f
            JOIN contents c ON c.id = f.content_id
            WHERE f.branch_id = $2
                AND f.superseded_by IS NULL
                AND f.content_id IS NOT NULL
                -- The character after the slash is 0.
                AND f.path > '.docstore/policy/'
                AND f.path < '.docstore/policy0'
                AND f.path LIKE '%.rego'
            ORDER BY f.path
            LIMIT $3
        )
        ORDER BY 1
        "#,
        org_id,
        main_id,
        limit,
    )
    .fetch_all(executor)
    .await?;
    let mut policies = PoliciesInForce::default();
    for row in rows {
        match (row.source, row.content_id, row.content_hash, row.size, row.obliterated) {
            (Some(source), ..) => policies.of_org.push((row.name, source)),
            (None, Some(content_id), Some(hash), Some(size), Some(obliterated)) => {
                policies.of_main.push(MainFile { path: row.name, content_id, hash: hash_of(&hash), size, obliterated });
            }
            _ => {}
        }
    }
    Ok(policies)
}

/// Those of the paths that are files at the head of `main`. The cost is that of the paths.
///
/// # Errors
/// When the database cannot answer.
pub async fn files_of_main(executor: impl PgExecutor<'_>, main_id: i64, paths: &[String]) -> Result<Vec<MainFile>> {
    let rows = sqlx::query!(
        r#"
        SELECT f.path, c.id, c.content_hash, c.size, c.obliterated
        FROM unnest($2::text[]) AS wanted (path)
        JOIN file_changes f
            ON f.branch_id = $1
            AND f.path = wanted.path COLLATE "C"
            AND f.superseded_by IS NULL
            AND f.content_id IS NOT NULL
        JOIN contents c ON c.id = f.content_id
        "#,
        main_id,
        paths,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| MainFile {
            path: row.path,
            content_id: row.id,
            hash: hash_of(&row.content_hash),
            size: row.size,
            obliterated: row.obliterated,
        })
        .collect())
}

/// The policies of an org, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn org_policies(executor: impl PgExecutor<'_>, org_id: i64) -> Result<Vec<OrgPolicy>> {
    let rows = sqlx::query!(
        "SELECT name, source, updated_by, updated_at FROM org_policies WHERE org_id = $1 ORDER BY name",
        org_id,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| OrgPolicy {
            name: row.name,
            source: row.source,
            updated_by: row.updated_by,
            updated_at: timestamp(row.updated_at),
        })
        .collect())
}

/// A page of the policies of an org, by name, behind the one given.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_org_policies(
    executor: impl PgExecutor<'_>,
    org_id: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<OrgPolicy>> {
    let rows = sqlx::query!(
        r#"
        SELECT name, source, updated_by, updated_at
        FROM org_policies
        WHERE org_id = $1 AND name > $2
        ORDER BY name
        LIMIT $3
        "#,
        org_id,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    let policy = |name, source, updated_by, updated_at| OrgPolicy { name, source, updated_by, updated_at };
    Ok(rows.into_iter().map(|row| policy(row.name, row.source, row.updated_by, timestamp(row.updated_at))).collect())
}

/// Sets a policy of a locked org.
///
/// # Errors
/// When the database cannot answer.
pub async fn set_org_policy(
    executor: impl PgExecutor<'_>,
    org_id: i64,
    name: &str,
    source: &str,
    updated_by: &str,
) -> Result<OrgPolicy> {
    let row = sqlx::query!(
        r#"
        INSERT INTO org_policies (org_id, name, source, updated_by)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT ON CONSTRAINT org_policies_key
            DO UPDATE SET source = excluded.source, updated_by = excluded.updated_by, updated_at = now()
        RETURNING updated_at
        "#,
        org_id,
        name,
        source,
        updated_by,
    )
    .fetch_one(executor)
    .await?;
    Ok(OrgPolicy {
        name: name.to_owned(),
        source: source.to_owned(),
        updated_by: updated_by.to_owned(),
        updated_at: timestamp(row.updated_at),
    })
}

/// Deletes a policy of an org; answers whether it was there.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_org_policy(executor: impl PgExecutor<'_>, org_id: i64, name: &str) -> Result<bool> {
    let deleted = sqlx::query!("DELETE FROM org_policies WHERE org_id = $1 AND name = $2", org_id, name)
        .execute(executor)
        .await?
        .rows_affected();
    Ok(deleted > 0)
}
