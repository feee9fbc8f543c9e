//! What is cleared away in the background. Each step takes no input, may run twice and on several servers at once, and
//! leaves what fails to the next round.

use docstore_database::{
    contents, idempotency, outbox, purge, sessions::forget_ended_sessions, signing_secrets, tokens, verdicts,
};

use crate::{Operations, Result, changes::UNNAMED_BLOB_HOURS, reads::parse_key};

/// How many rows one step takes: a step is one short transaction.
const STEP_ROWS: i64 = 200;

/// How many rows of a deleted repo one step takes: about a second's work, far below the limit of a statement.
const REPO_STEP_ROWS: i64 = 20_000;

/// How long the answer of a write is kept for a client that sends it again.
const ANSWERS_KEPT_HOURS: i32 = 24;

/// How long refusals by policies are kept: long enough to try a new policy on them.
const REFUSALS_KEPT_DAYS: i32 = 30;
/// How long decisions are kept by which something moved `main`.
const VERDICTS_KEPT_DAYS: i32 = 400;
/// How long a token or agent is told after its end, for whoever wonders what it was. Events tell longer.
const ENDED_TOKENS_KEPT_DAYS: i32 = 90;

/// The longest life of a session that can be set, in days: after it nobody asks whether one was ended.
const SESSION_DAYS_MAX: i32 = 31;

/// How long delivered webhooks are remembered (contract, server §8.5).
const DELIVERED_KEPT_DAYS: i32 = 7;

/// How long all others are: as long as events themselves are kept by default. Of suspended subscriptions too.
const UNDELIVERED_KEPT_DAYS: i32 = 30;

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Uploads that were looked at.
    pub uploads_expired: i64,
    /// Blobs that were deleted.
    pub blobs_deleted: usize,
    /// Deleted repos of which rows were removed.
    pub repos_cleared: usize,
    /// Stored answers that were forgotten.
    pub answers_forgotten: u64,
    /// Decisions of policies that were forgotten.
    pub verdicts_forgotten: u64,
    /// Tokens and agents that ended long ago and were forgotten.
    pub tokens_forgotten: u64,
    /// Webhooks, delivered or given up, that were forgotten.
    pub deliveries_forgotten: u64,
    /// Sessions that were ended and would be over by now.
    pub sessions_forgotten: i64,
    /// Secrets of webhooks that no longer sign and were forgotten.
    pub signing_secrets_forgotten: u64,
}

impl Maintenance {
    /// Whether there may be more to do at once.
    #[must_use]
    pub fn found_work(&self) -> bool {
        *self != Self::default()
    }
}

impl Operations {
    /// One round of clearing away. A step that fails keeps none of the others from being taken.
    ///
    /// # Errors
    /// The first failure, after all steps were tried; what was done stays done.
    pub async fn maintain(&self) -> Result<Maintenance> {
        let mut done = Maintenance::default();
        let uploads = self.expire_uploads().await.map(|count| done.uploads_expired = count);
        let repos = self.clear_deleted_repos().await.map(|count| done.repos_cleared = count);
        let blobs = self.delete_due_blobs().await.map(|count| done.blobs_deleted = count);
        let answers = idempotency::forget_answers(self.pool(), ANSWERS_KEPT_HOURS, STEP_ROWS).await;
        let answers = answers.map(|count| done.answers_forgotten = count);
        let verdicts = verdicts::forget_verdicts(self.pool(), REFUSALS_KEPT_DAYS, VERDICTS_KEPT_DAYS, STEP_ROWS).await;
        let verdicts = verdicts.map(|count| done.verdicts_forgotten = count);
        let tokens = self.forget_ended_tokens().await.map(|count| done.tokens_forgotten = count);
        let deliveries =
            outbox::forget_deliveries(self.pool(), self.now(), DELIVERED_KEPT_DAYS, UNDELIVERED_KEPT_DAYS, STEP_ROWS);
        let deliveries = deliveries.await.map(|count| done.deliveries_forgotten = count);
        let signing = signing_secrets::forget_signing_secrets(self.pool(), self.now()).await;
        let signing = signing.map(|count| done.signing_secrets_forgotten = count);
        let sessions = forget_ended_sessions(self.pool(), self.now(), SESSION_DAYS_MAX, STEP_ROWS).await;
        let sessions = sessions.map(|count| done.sessions_forgotten = count);
        let policies = self.forget_obliterated_policies().await;
        uploads.and(repos).and(blobs).and(tokens).and(policies)?;
        answers?;
        verdicts?;
        deliveries?;
        signing?;
        sessions?;
        Ok(done)
    }

    async fn expire_uploads(&self) -> Result<i64> {
        let mut transaction = docstore_database::begin(self.pool()).await?;
        let expired = contents::expire_uploads(&mut transaction, UNNAMED_BLOB_HOURS, STEP_ROWS).await?;
        docstore_database::commit(transaction).await?;
        Ok(expired)
    }

    /// Clears a part of one deleted repo: a step is short however large the repo was.
    async fn clear_deleted_repos(&self) -> Result<usize> {
        let mut transaction = docstore_database::begin(self.pool()).await?;
        let Some(repo_id) = purge::deleted_repo_with_rows(&mut transaction).await? else { return Ok(0) };
        purge::clear_deleted_repo(&mut transaction, repo_id, REPO_STEP_ROWS).await?;
        docstore_database::commit(transaction).await?;
        Ok(1)
    }

    async fn forget_ended_tokens(&self) -> Result<u64> {
        let mut transaction = docstore_database::begin(self.pool()).await?;
        let forgotten = tokens::forget_ended(&mut transaction, self.now(), ENDED_TOKENS_KEPT_DAYS, STEP_ROWS).await?;
        docstore_database::commit(transaction).await?;
        Ok(forgotten)
    }

    async fn delete_due_blobs(&self) -> Result<usize> {
        // The row goes after the blob: a crash in between deletes the blob again, which does no harm.
        let mut transaction = docstore_database::begin(self.pool()).await?;
        let due = contents::due_blob_deletions(&mut transaction, STEP_ROWS).await?;
        for key in &due {
            self.blobs().delete(&parse_key(key)?).await?;
        }
        contents::finish_blob_deletions(&mut *transaction, &due).await?;
        docstore_database::commit(transaction).await?;
        Ok(due.len())
    }
}
