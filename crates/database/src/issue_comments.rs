//! Comments on issues.

use chrono::{DateTime, Utc};
use docstore_models::IssueComment;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    Result,
    error::timestamp,
    lists::{PageBounds, Place},
};

struct RawComment {
    id: Uuid,
    issue_id: Uuid,
    body: String,
    author: String,
    created_at: DateTime<Utc>,
    edited_at: Option<DateTime<Utc>>,
}

impl RawComment {
    fn into_wire(self, repo: &str) -> IssueComment {
        IssueComment {
            id: self.id,
            issue_id: self.issue_id,
            repo: repo.to_owned(),
            body: self.body,
            author: self.author,
            created_at: timestamp(self.created_at),
            edited_at: self.edited_at.map(timestamp),
        }
    }
}

/// Adds a comment to an issue.
///
/// # Errors
/// When the database cannot answer.
pub async fn create_comment(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    issue_id: Uuid,
    body: &str,
    author: &str,
) -> Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO issue_comments (id, issue_id, repo_id, body, author) VALUES ($1, $2, $3, $4, $5)",
        id,
        issue_id,
        repo_id,
        body,
        author,
    )
    .execute(executor)
    .await?;
    Ok(id)
}

/// Where the list of an issue's comments goes on behind one of them; `None` when there is no such comment.
///
/// # Errors
/// When the database cannot answer.
pub async fn place_of_comment(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    number: i64,
    id: Uuid,
) -> Result<Option<Place>> {
    let row = sqlx::query_as!(
        Place,
        r#"
        SELECT c.created_at, c.id
        FROM issue_comments c
        JOIN issues i ON i.id = c.issue_id
        WHERE i.repo_id = $1 AND i.number = $2 AND c.id = $3
        "#,
        repo_id,
        number,
        id,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row)
}

/// A page of the comments on an issue, oldest first; none when there is no such issue.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_comments(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    number: i64,
    after: Option<Place>,
    page: PageBounds,
) -> Result<Vec<IssueComment>> {
    let (created_at, id) = Place::parts(after);
    let rows = sqlx::query_as!(
        RawComment,
        r#"
        SELECT id, issue_id, body, author, created_at, edited_at
        FROM (
            SELECT
                c.*,
                sum(octet_length(c.body)) OVER (
                    ORDER BY c.created_at, c.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM issue_comments c
            WHERE c.issue_id = (SELECT i.id FROM issues i WHERE i.repo_id = $1 AND i.number = $2)
                -- Without a case for the first page, which would leave the index all comments to walk through.
                AND (c.created_at, c.id) > (
                    coalesce($3::timestamptz, '-infinity'),
                    coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')
                )
            ORDER BY c.created_at, c.id
            LIMIT $5
        ) page
        WHERE coalesce(bytes_before, 0) < $6::bigint
        ORDER BY created_at, id
        "#,
        repo_id,
        number,
        created_at,
        id,
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_wire(repo)).collect())
}

/// Locks a comment on an issue of a repo that is held until the transaction ends, and answers it as it is then.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_comment(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    number: i64,
    id: Uuid,
) -> Result<Option<IssueComment>> {
    let row = sqlx::query_as!(
        RawComment,
        r#"
        SELECT c.id, c.issue_id, c.body, c.author, c.created_at, c.edited_at
        FROM issue_comments c
        JOIN issues i ON i.id = c.issue_id
        WHERE i.repo_id = $1 AND i.number = $2 AND c.id = $3
        FOR NO KEY UPDATE OF c
        "#,
        repo_id,
        number,
        id,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.into_wire(repo)))
}

/// Replaces the text of a locked comment and answers it as it is now.
///
/// # Errors
/// When the database cannot answer.
pub async fn update_comment(executor: impl PgExecutor<'_>, comment: IssueComment, body: &str) -> Result<IssueComment> {
    let row = sqlx::query!(
        r#"
        UPDATE issue_comments SET body = $2, edited_at = clock_timestamp() WHERE id = $1
        RETURNING edited_at AS "edited_at!"
        "#,
        comment.id,
        body,
    )
    .fetch_one(executor)
    .await?;
    Ok(IssueComment { body: body.to_owned(), edited_at: Some(timestamp(row.edited_at)), ..comment })
}

/// Deletes a locked comment.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_comment(executor: impl PgExecutor<'_>, id: Uuid) -> Result<()> {
    sqlx::query!("DELETE FROM issue_comments WHERE id = $1", id).execute(executor).await?;
    Ok(())
}
