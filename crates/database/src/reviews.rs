//! Reviews.

use chrono::{DateTime, Utc};
use docstore_models::{PrincipalKind, Review, ReviewStatus};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Result, branches::LockedBranch, error::timestamp};

/// A review to store.
#[derive(Clone, Debug)]
pub struct NewReview<'a> {
    /// The id.
    pub id: Uuid,
    /// What the branch changes; none on `main`.
    pub change_digest: Option<[u8; 32]>,
    /// Who reviews.
    pub reviewer: &'a str,
    /// What the reviewer is.
    pub reviewer_kind: PrincipalKind,
    /// The person for whom an agent reviews.
    pub on_behalf_of: Option<&'a str>,
    /// What the reviewer says.
    pub status: ReviewStatus,
    /// In words.
    pub body: Option<&'a str>,
}

/// Stores a review of a branch as it is under the lock.
///
/// # Errors
/// When the database cannot answer.
pub async fn create_review(executor: impl PgExecutor<'_>, locked: &LockedBranch, review: &NewReview<'_>) -> Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO reviews (
            id, repo_id, branch_id, sequence, base_sequence, change_digest, reviewer, reviewer_kind, on_behalf_of,
            status, body, created_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        "#,
        review.id,
        locked.repo_id,
        locked.branch.id,
        locked.branch.head_sequence,
        locked.branch.base_sequence,
        review.change_digest.as_ref().map(<[u8; 32]>::as_slice),
        review.reviewer,
        review.reviewer_kind.as_str(),
        review.on_behalf_of,
        review.status.as_str(),
        review.body,
        locked.now,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Which reviews to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReviewFilter {
    /// Only those of the branch as it was at this sequence.
    pub at: Option<i64>,
    /// Only those older than this one.
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: Option<i64>,
}

/// The reviews of a branch, newest first; of an unknown branch there are none. `None` when there is no such review to
/// start after.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_reviews(
    connection: &mut PgConnection,
    repo_id: i64,
    repo: &str,
    branch: &str,
    filter: ReviewFilter,
) -> Result<Option<Vec<Review>>> {
    let mut after: Option<DateTime<Utc>> = None;
    if let Some(id) = filter.after {
        let row = sqlx::query!("SELECT created_at FROM reviews WHERE repo_id = $1 AND id = $2", repo_id, id)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        after = Some(row.created_at);
    }
    let rows = sqlx::query!(
        r#"
        SELECT
            r.id, r.sequence, r.base_sequence, r.change_digest, r.reviewer, r.reviewer_kind, r.on_behalf_of, r.status,
            r.body, r.created_at
        FROM branches b
        JOIN reviews r ON r.branch_id = b.id
        WHERE b.repo_id = $1
            AND b.name = $2
            AND b.deleted_at IS NULL
            AND ($3::bigint IS NULL OR r.sequence = $3)
            AND ($4::timestamptz IS NULL OR (r.created_at, r.id) < ($4, $5::uuid))
        ORDER BY r.created_at DESC, r.id DESC
        LIMIT $6
        "#,
        repo_id,
        branch,
        filter.at,
        after,
        filter.after,
        filter.limit,
    )
    .fetch_all(connection)
    .await?;
    let reviews = rows.into_iter().map(|row| Review {
        id: row.id,
        repo: repo.to_owned(),
        branch: branch.to_owned(),
        reviewer: row.reviewer,
        sequence: row.sequence,
        // The table's own check lets nothing else in; what cannot be read must not approve.
        status: row.status.parse().unwrap_or(ReviewStatus::Dismissed),
        body: row.body,
        created_at: timestamp(row.created_at),
        base_sequence: row.base_sequence,
        change_digest: row.change_digest.map(hex::encode),
        reviewer_kind: row.reviewer_kind.parse().ok(),
        on_behalf_of: row.on_behalf_of,
    });
    Ok(Some(reviews.collect()))
}

/// Whether a review is one of a branch.
///
/// # Errors
/// When the database cannot answer.
pub async fn review_exists(executor: impl PgExecutor<'_>, branch_id: i64, id: Uuid) -> Result<bool> {
    let row = sqlx::query!(
        r#"SELECT EXISTS (SELECT 1 FROM reviews WHERE branch_id = $1 AND id = $2) AS "exists!""#,
        branch_id,
        id,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.exists)
}
