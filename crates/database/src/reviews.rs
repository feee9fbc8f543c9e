//! Reviews.

use docstore_models::{PrincipalKind, Review, ReviewStatus};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    Result,
    branches::LockedBranch,
    error::timestamp,
    lists::{PageBounds, Place},
};

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
    /// Only those older than the one here.
    pub after: Option<Place>,
}

/// Where the list of reviews goes on behind one of them; `None` when there is no such review.
///
/// # Errors
/// When the database cannot answer.
pub async fn place_of_review(executor: impl PgExecutor<'_>, repo_id: i64, id: Uuid) -> Result<Option<Place>> {
    let row = sqlx::query_as!(Place, "SELECT created_at, id FROM reviews WHERE repo_id = $1 AND id = $2", repo_id, id)
        .fetch_optional(executor)
        .await?;
    Ok(row)
}

/// A page of the reviews of a branch, newest first; of an unknown branch there are none.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_reviews(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    branch: &str,
    filter: ReviewFilter,
    page: PageBounds,
) -> Result<Vec<Review>> {
    let (created_at, id) = Place::parts(filter.after);
    let rows = sqlx::query!(
        r#"
        SELECT
            id, sequence, base_sequence, change_digest, reviewer, reviewer_kind, on_behalf_of, status, body, created_at
        FROM (
            SELECT
                r.*,
                sum(coalesce(octet_length(r.body), 0)) OVER (
                    ORDER BY r.created_at DESC, r.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM branches b
            JOIN reviews r ON r.branch_id = b.id
            WHERE b.repo_id = $1
                AND b.name = $2
                AND b.deleted_at IS NULL
                AND ($3::bigint IS NULL OR r.sequence = $3)
                -- As for proposals.
                AND (r.created_at, r.id) < (
                    coalesce($4::timestamptz, 'infinity'), coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                )
            ORDER BY r.created_at DESC, r.id DESC
            LIMIT $6
        ) page
        WHERE coalesce(bytes_before, 0) < $7::bigint
        ORDER BY created_at DESC, id DESC
        "#,
        repo_id,
        branch,
        filter.at,
        created_at,
        id,
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
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
    Ok(reviews.collect())
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
