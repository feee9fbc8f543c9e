//! Bounds on how many rows somebody may have. Whoever would add one takes the lock of that count, then counts, then adds:
//! otherwise all who count at one moment find room for the last.

use sqlx::PgExecutor;

use crate::Result;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted<'a> {
    /// The subscriptions to a repo; of `None` those to everything.
    Subscriptions(Option<i64>),
    /// The secrets of a repo.
    Secrets(i64),
    /// The tokens of a person, agents included.
    Tokens(&'a str),
}

/// Waits until nobody else is adding to a count, until the transaction ends. It is taken after the lock of the repo, and a
/// transaction takes one of its kind.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_count(executor: impl PgExecutor<'_>, counted: Counted<'_>) -> Result<()> {
    let (kind, whose) = match counted {
        Counted::Subscriptions(None) => (1, String::new()),
        Counted::Subscriptions(Some(repo_id)) => (1, repo_id.to_string()),
        Counted::Secrets(repo_id) => (2, repo_id.to_string()),
        Counted::Tokens(owner) => (3, owner.to_owned()),
    };
    // Two that have the same hash wait for each other, and nothing else follows from it.
    sqlx::query!("SELECT pg_advisory_xact_lock($1, hashtext($2))::text AS locked", kind, whose)
        .fetch_one(executor)
        .await?;
    Ok(())
}
