//! What issues are tied to.

use chrono::{DateTime, Utc};
use docstore_models::{IssueRef, RefType};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Result, error::timestamp};

struct RawRef {
    id: Uuid,
    issue_id: Uuid,
    ref_type: String,
    ref_id: String,
    created_at: DateTime<Utc>,
}

/// Ties an issue to something. A second time violates `issue_refs_once`.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn create_ref(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    issue_id: Uuid,
    ref_type: RefType,
    ref_id: &str,
) -> Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO issue_refs (id, issue_id, repo_id, ref_type, ref_id) VALUES ($1, $2, $3, $4, $5)",
        id,
        issue_id,
        repo_id,
        ref_type.as_str(),
        ref_id,
    )
    .execute(executor)
    .await?;
    Ok(id)
}

/// Ties an issue to what a text mentions, as far as it is not tied to it yet.
///
/// # Errors
/// When the database cannot answer.
pub async fn tie_issue(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    issue_id: Uuid,
    targets: &[(RefType, String)],
) -> Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = targets.iter().map(|_| Uuid::now_v7()).collect();
    let types: Vec<&str> = targets.iter().map(|(ref_type, _)| ref_type.as_str()).collect();
    let targets: Vec<&str> = targets.iter().map(|(_, ref_id)| ref_id.as_str()).collect();
    sqlx::query!(
        r#"
        INSERT INTO issue_refs (id, issue_id, repo_id, ref_type, ref_id)
        SELECT new.id, $1, $2, new.ref_type, new.ref_id
        FROM unnest($3::uuid[], $4::text[], $5::text[]) AS new (id, ref_type, ref_id)
        -- In one order, so that two who tie the same do not wait for each other in a circle.
        ORDER BY new.ref_type, new.ref_id COLLATE "C"
        ON CONFLICT (issue_id, ref_type, ref_id) DO NOTHING
        "#,
        issue_id,
        repo_id,
        &ids,
        &types as &[&str],
        &targets as &[&str],
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Ties issues to a proposal, as far as they exist and are not tied to it yet.
///
/// # Errors
/// When the database cannot answer.
pub async fn tie_issues_to_proposal(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    numbers: &[i64],
    proposal_id: Uuid,
) -> Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = numbers.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query!(
        r#"
        INSERT INTO issue_refs (id, issue_id, repo_id, ref_type, ref_id)
        SELECT mentioned.id, i.id, i.repo_id, 'proposal', $4
        FROM unnest($2::uuid[], $3::bigint[]) AS mentioned (id, number)
        JOIN issues i ON i.repo_id = $1 AND i.number = mentioned.number
        ORDER BY i.number
        ON CONFLICT (issue_id, ref_type, ref_id) DO NOTHING
        "#,
        repo_id,
        &ids,
        numbers,
        proposal_id.to_string(),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// What an issue is tied to, oldest first, behind the ref given; nothing when there is no such issue. `None` when there is
/// no such ref to start after.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_refs(
    connection: &mut PgConnection,
    repo_id: i64,
    repo: &str,
    number: i64,
    after: Option<Uuid>,
    limit: Option<i64>,
) -> Result<Option<Vec<IssueRef>>> {
    let after = match after {
        None => None,
        Some(id) => {
            let row = sqlx::query!(
                r#"
                SELECT r.created_at
                FROM issue_refs r
                JOIN issues i ON i.id = r.issue_id
                WHERE i.repo_id = $1 AND i.number = $2 AND r.id = $3
                "#,
                repo_id,
                number,
                id,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(row) = row else { return Ok(None) };
            Some((row.created_at, id))
        }
    };
    let rows = sqlx::query_as!(
        RawRef,
        r#"
        SELECT r.id, r.issue_id, r.ref_type, r.ref_id, r.created_at
        FROM issues i
        JOIN issue_refs r ON r.issue_id = i.id
        WHERE i.repo_id = $1
            AND i.number = $2
            AND ($3::timestamptz IS NULL OR (r.created_at, r.id) > ($3, $4::uuid))
        ORDER BY r.created_at, r.id
        LIMIT $5
        "#,
        repo_id,
        number,
        after.map(|(created_at, _)| created_at),
        after.map(|(_, id)| id),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(Some(
        rows.into_iter()
            .filter_map(|row| {
                Some(IssueRef {
                    id: row.id,
                    issue_id: row.issue_id,
                    repo: repo.to_owned(),
                    ref_type: row.ref_type.parse().ok()?,
                    ref_id: row.ref_id,
                    created_at: timestamp(row.created_at),
                })
            })
            .collect(),
    ))
}
