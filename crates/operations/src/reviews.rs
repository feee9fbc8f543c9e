//! Reviews of branches, alone or with comments.

use docstore_database::{
    branch_changes::latest_changes,
    branches::{LockedBranch, lock_branch},
    lists::Place,
    reviews::{self, NewReview, ReviewFilter},
};
use docstore_models::{
    CreateReviewRequest, CreateReviewResponse, ErrorCode, EventData, MAIN_BRANCH, REVIEW_COMMENTS_MAX, Review,
    ReviewStatus,
};
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, List, Operations, Reader, Result, Writer,
    changes::{check_text, expect_head},
    limits::reached,
    lists::{Paging, length},
    review_comments::Draft,
    review_state::{TOO_MANY_CONTRIBUTORS, contributors, digest_of},
    write::{Write, begin},
};

/// Which reviews to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReviewQuery {
    /// Only those of the branch as it was at this sequence.
    pub at: Option<i64>,
    /// Only those older than this one.
    pub after: Option<Uuid>,
    /// At most so many; all when absent.
    pub limit: Option<i64>,
}

impl Operations {
    /// Reviews a branch as it is now, with the comments that belong to it, all or nothing. The review keeps the digest of
    /// what it saw.
    ///
    /// # Errors
    /// A request that makes no sense, `BRANCH_NOT_FOUND`, `HEAD_MOVED`, or `FORBIDDEN` when somebody approves what they had
    /// a part in. Of comments, as of [`Operations::create_comment`].
    pub async fn create_review(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        request: &CreateReviewRequest,
    ) -> Result<CreateReviewResponse> {
        if request.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        if request.status.is_empty() {
            return Err(Error::bad_request("status is required"));
        }
        writer.check_branch(&request.branch)?;
        let status: ReviewStatus = request.status.parse().map_err(Error::bad_request)?;
        let body = request.body.as_deref().filter(|body| !body.is_empty());
        if let Some(body) = body {
            check_text("body", body, self.limits().message_bytes_max)?;
        }
        if request.comments.len() > REVIEW_COMMENTS_MAX {
            reached("review_comments");
            return Err(Error::refused(
                ErrorCode::PayloadTooLarge,
                format!("one review may hold at most {REVIEW_COMMENTS_MAX} comments"),
            ));
        }
        let drafts = (request.comments.iter().enumerate())
            .map(|(index, comment)| {
                Draft::from_request(comment, self.limits())
                    .map_err(|error| Error::refused(error.code(), format!("comments[{index}]: {error}")))
            })
            .collect::<Result<Vec<_>>>()?;

        let mut write = begin!(self, writer.caller(), key);
        let locked = lock_branch(&mut write.transaction, writer.repo_id(), &request.branch, false)
            .await?
            .ok_or_else(Error::branch_not_found)?;
        expect_head(&locked, request.expected_head)?;
        if status == ReviewStatus::Approved {
            refuse_own_work(&mut write, &locked, writer.identity()).await?;
        }
        // What main changes is everything that it holds: there is nothing to compare it with later.
        let change_digest = match request.branch.as_str() {
            MAIN_BRANCH => None,
            _ => Some(digest_of(
                &latest_changes(&mut *write.transaction, locked.branch.id, locked.branch.floor_sequence).await?,
            )),
        };
        let caller = writer.caller();
        let review = NewReview {
            id: Uuid::now_v7(),
            change_digest,
            reviewer: writer.identity(),
            reviewer_kind: caller.kind(),
            on_behalf_of: caller.on_behalf_of().map(docstore_models::Identity::as_str),
            status,
            body,
        };
        reviews::create_review(&mut *write.transaction, &locked, &review).await?;
        let event = EventData::ReviewSubmitted {
            repo: writer.repo().to_owned(),
            branch: request.branch.clone(),
            sequence: locked.branch.head_sequence,
            reviewer: writer.identity().to_owned(),
            status,
            review_id: review.id,
            comment_count: i64::try_from(drafts.len()).unwrap_or(i64::MAX),
        };
        write.note(Some(writer.repo_id()), &event)?;
        let comment_ids = self.store_comments(&mut write, writer, &locked, Some(review.id), drafts).await?;
        let answer = CreateReviewResponse { id: review.id, sequence: locked.branch.head_sequence, comment_ids };
        self.finish(write, answer).await
    }

    /// The reviews of a branch, newest first; of an unknown branch there are none.
    ///
    /// # Errors
    /// A cursor that is no review of the repo.
    pub async fn list_reviews(&self, reader: &Reader, branch: &str, query: ReviewQuery) -> Result<List<Review>> {
        let (pool, repo_id, repo) = (self.pool().clone(), reader.repo_id(), reader.repo().to_owned());
        let after = match query.after {
            None => None,
            Some(id) => Some(reviews::place_of_review(&pool, repo_id, id).await?.ok_or_else(Error::invalid_cursor)?),
        };
        let paging = Paging {
            after,
            limit: self.limits().optional_page(query.limit),
            page_rows: None,
            place: |review: &Review| Place { created_at: review.created_at.to_utc(), id: review.id },
            bytes: |review| length(review.body.as_ref()),
        };
        let branch = branch.to_owned();
        Ok(paging.read(move |after, page| {
            let (pool, repo, branch) = (pool.clone(), repo.clone(), branch.clone());
            let filter = ReviewFilter { at: query.at, after };
            async move { Ok(reviews::list_reviews(&pool, repo_id, &repo, &branch, filter, page).await?) }
        }))
    }
}

/// Nobody approves what they wrote, brought or are named in, nor what somebody did for them.
async fn refuse_own_work(write: &mut Write, locked: &LockedBranch, identity: &str) -> Result<()> {
    let contributors = contributors(&mut write.transaction, &locked.branch).await?;
    if contributors.too_many {
        return Err(Error::refused(ErrorCode::Conflict, TOO_MANY_CONTRIBUTORS));
    }
    if contributors.include(identity) {
        return Err(Error::refused(ErrorCode::Forbidden, "reviewer cannot approve their own commits"));
    }
    Ok(())
}
