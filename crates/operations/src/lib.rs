//! What DocStore does.
//!
//! Everything that changes state goes through here, whoever asks: API, page or background loop. An operation checks
//! what depends on the request, owns the transaction, and writes the change and its events together. Who may ask is in
//! the types: an operation takes a [`Reader`], [`Writer`], [`Maintainer`] or [`Admin`] of a repo, and only the check of
//! the caller's role makes one.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod access;
mod agents;
mod archive;
mod auto_merge;
mod branches;
mod changes;
mod checks;
mod commit;
mod contents;
mod deliver;
mod deliveries;
mod error;
mod event_pages;
mod gate;
mod group_commit;
mod import;
mod issue_comments;
mod issues;
mod limits;
mod lists;
mod maintenance;
mod mentions;
mod merge;
mod obliterations;
mod org_members;
mod orgs;
mod owners;
mod places;
mod policies;
mod policy_cache;
mod policy_input;
mod policy_set;
mod presign;
mod proposals;
mod purge;
mod questions;
mod reads;
mod rebase;
mod releases;
mod repos;
mod required_checks;
mod review_comments;
mod review_state;
mod reviews;
mod roles;
mod sealing;
mod secrets;
mod sessions;
mod subscriptions;
mod together;
mod tokens;
mod whoami;
mod why;
mod write;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use docstore_auth::Random;
use docstore_blobs::BlobStore;
use docstore_database::Pool;
use docstore_models::Identity;
use docstore_policy_worker::Evaluator;
use docstore_secrets::Keeper;
use group_commit::{CommitGroups, commit_groups};
use policy_cache::PolicyCache;
use questions::Questions;

pub use access::{Access, Admin, GlobalAdmin, Maintainer, OrgOwner, OrgReader, Reader, Writer};
pub use archive::ArchiveEntry;
pub use auto_merge::AutoMerges;
pub use branches::{BranchQuery, IfMatch, branch_etag};
pub use changes::{ChangedBytes, FileChange};
pub use checks::{CheckQuery, JobReporter};
pub use commit::CommitChange;
pub use contents::Upload;
pub use deliver::Webhooks;
pub use error::{Damage, Error, Result};
pub use event_pages::EventPageQuery;
pub use gate::Denial;
pub use import::ImportChange;
pub use issues::IssueQuery;
pub use limits::{Limits, VARIABLES as LIMIT_VARIABLES};
pub use lists::List;
pub use maintenance::Maintenance;
pub use obliterations::{ObliterationTarget, PlaceCursor};
pub use policies::VerdictQuery;
pub use presign::{ArchiveSigner, SignedArchive, VARIABLES as ARCHIVE_VARIABLES};
pub use proposals::{ProposalQuery, proposal_etag};
pub use reads::{ContentStream, FileBytes, FileRead, PinnedTree, ReadPoint, TreePage};
pub use rebase::RebaseChange;
pub use review_comments::CommentQuery;
pub use review_state::{CarriedReview, Contributors, ReviewState};
pub use reviews::ReviewQuery;
pub use secrets::RevealingJob;
pub use subscriptions::{SubscriptionOwner, SubscriptionRemover};
pub use tokens::{StoredTokens, Whose};
pub use write::IdempotencyKey;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Is called after each commit that may have logged events, so that they get their positions at once.
pub type OnCommit = Arc<dyn Fn() + Send + Sync>;

/// What the operations work with. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    inner: Arc<Inner>,
    pool: Pool,
}

struct Inner {
    blobs: BlobStore,
    limits: Limits,
    global_admin: Option<Identity>,
    clock: Clock,
    random: Random,
    on_commit: OnCommit,
    commit_groups: Arc<CommitGroups>,
    questions: Questions,
    policies: PolicyCache,
    evaluator: Evaluator,
    webhooks: Webhooks,
    secrets: Option<Arc<Keeper>>,
}

/// What [`Operations`] are made of.
pub struct Parts {
    /// The database.
    pub pool: Pool,
    /// Where large contents are.
    pub blobs: BlobStore,
    /// The bounds.
    pub limits: Limits,
    /// Who may do everything that nobody else may: `BOOTSTRAP_ADMIN`.
    pub global_admin: Option<Identity>,
    /// The time for events and expiries. Commits take the database's.
    pub clock: Clock,
    /// Where tokens come from.
    pub random: Random,
    /// What to call after a commit.
    pub on_commit: OnCommit,
    /// What compiles and evaluates policies.
    pub evaluator: Evaluator,
    /// What sends webhooks.
    pub webhooks: Webhooks,
    /// What seals and opens secrets; without it there are none.
    pub secrets: Option<Arc<Keeper>>,
}

impl Operations {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { pool, blobs, limits, global_admin, clock, random, on_commit, evaluator, webhooks, secrets } = parts;
        Self {
            pool,
            inner: Arc::new(Inner {
                blobs,
                limits,
                global_admin,
                clock,
                random,
                on_commit,
                webhooks,
                secrets,
                commit_groups: commit_groups(),
                questions: Questions::default(),
                policies: PolicyCache::default(),
                evaluator,
            }),
        }
    }

    /// The same for what goes on behind the requests: see [`Pool::in_background`].
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), pool: self.pool.in_background() }
    }

    /// The bounds in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.inner.blobs
    }

    pub(crate) fn commit_groups(&self) -> &Arc<CommitGroups> {
        &self.inner.commit_groups
    }

    pub(crate) fn questions(&self) -> &Questions {
        &self.inner.questions
    }

    pub(crate) fn policy_cache(&self) -> &PolicyCache {
        &self.inner.policies
    }

    pub(crate) fn evaluator(&self) -> &Evaluator {
        &self.inner.evaluator
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.inner.clock)()
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.inner.webhooks
    }

    /// Tells that a transaction may have logged events.
    pub(crate) fn commit_happened(&self) {
        (self.inner.on_commit)();
    }

    /// Whether the database and the blob store answer.
    ///
    /// # Errors
    /// Says which does not.
    pub async fn check_ready(&self) -> Result<()> {
        docstore_database::ping(self.pool()).await?;
        self.blobs().check().await?;
        Ok(())
    }
}
