//! What is cleared away in the background. Each step takes no input, may run twice and on several servers at once, and
//! leaves what fails to the next round.

use docstore_database::{contents, idempotency, purge};

use crate::{Operations, Result, changes::UNNAMED_BLOB_HOURS, reads::parse_key};

/// How many rows one step takes: a step is one short transaction.
const STEP_ROWS: i64 = 200;

/// How long the answer of a write is kept for a client that sends it again.
const ANSWERS_KEPT_HOURS: i32 = 24;

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Uploads that were looked at.
    pub uploads_expired: i64,
    /// Blobs that were deleted.
    pub blobs_deleted: usize,
    /// Deleted repos whose rows were removed.
    pub repos_cleared: usize,
    /// Stored answers that were forgotten.
    pub answers_forgotten: u64,
}

impl Maintenance {
    /// Whether there may be more to do at once.
    #[must_use]
    pub fn found_work(&self) -> bool {
        *self != Self::default()
    }
}

impl Operations {
    /// One round of clearing away.
    ///
    /// # Errors
    /// When database or blob store do not answer; what was done until then stays done.
    pub async fn maintain(&self) -> Result<Maintenance> {
        let mut done = Maintenance::default();

        let mut transaction = docstore_database::begin(self.pool()).await?;
        done.uploads_expired = contents::expire_uploads(&mut transaction, UNNAMED_BLOB_HOURS, STEP_ROWS).await?;
        docstore_database::commit(transaction).await?;

        let mut transaction = docstore_database::begin(self.pool()).await?;
        if let Some(repo_id) = purge::deleted_repo_with_rows(&mut transaction).await? {
            purge::clear_deleted_repo(&mut transaction, repo_id).await?;
            done.repos_cleared = 1;
        }
        docstore_database::commit(transaction).await?;

        // The row goes after the blob: a crash in between deletes the blob again, which does no harm.
        let mut transaction = docstore_database::begin(self.pool()).await?;
        let due = contents::due_blob_deletions(&mut transaction, STEP_ROWS).await?;
        for key in &due {
            self.blobs().delete(&parse_key(key)?).await?;
        }
        contents::finish_blob_deletions(&mut *transaction, &due).await?;
        docstore_database::commit(transaction).await?;
        done.blobs_deleted = due.len();

        done.answers_forgotten = idempotency::forget_answers(self.pool(), ANSWERS_KEPT_HOURS, STEP_ROWS).await?;
        Ok(done)
    }
}
