//! Branches.

use docstore_database::{
    auto_merge,
    branches::{self, BranchFilter, LockedBranch, lock_branch},
    repos::hold_repo,
};
use docstore_models::{
    Branch, BranchName, BranchStatus, CreateBranchRequest, CreateBranchResponse, ErrorCode, EventData, MAIN_BRANCH,
    UpdateBranchResponse,
};
use sha2::{Digest, Sha256};

use crate::{
    Access, Error, IdempotencyKey, Maintainer, Operations, Reader, Result, Writer,
    auto_merge::AUTO_MERGES_PER_REPO_MAX,
    limits::reached,
    proposals::abandon_proposal,
    write::{Write, begin},
};

/// Which branches to list.
#[derive(Clone, Debug, Default)]
pub struct BranchQuery {
    /// Only those in this status.
    pub status: Option<BranchStatus>,
    /// Only drafts.
    pub only_drafts: bool,
    /// Drafts as well.
    pub include_drafts: bool,
    /// Only names behind this one.
    pub after: String,
    /// At most so many; all when absent.
    pub limit: Option<i64>,
}

/// The tag of a branch at its head (contract, server §4.7), without quotes.
#[must_use]
pub fn branch_etag(branch: &Branch) -> String {
    hex::encode(Sha256::digest(format!("{}:{}:{}", branch.repo, branch.name, branch.head_sequence)))
}

/// The condition of an `If-Match` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: it exists.
    Any,
    /// It has exactly this tag, as it came, quotes included.
    Tag(String),
}

impl Operations {
    /// Creates a branch at the head of `main`.
    ///
    /// # Errors
    /// A name that cannot be used, or `BRANCH_EXISTS`, also for merged and abandoned branches.
    pub async fn create_branch(
        &self,
        maintainer: &Maintainer,
        key: Option<&IdempotencyKey>,
        request: &CreateBranchRequest,
    ) -> Result<CreateBranchResponse> {
        if request.name.is_empty() {
            return Err(Error::bad_request("name is required"));
        }
        if request.name == MAIN_BRANCH {
            return Err(Error::bad_request("cannot create branch named 'main'"));
        }
        let name = BranchName::parse(request.name.clone())?;
        maintainer.check_branch(name.as_str())?;
        let repo_id = maintainer.repo_id();
        let mut write = begin!(self, maintainer.caller(), key);
        hold_repo(&mut *write.transaction, repo_id).await?;
        let created = branches::create_branch(
            &mut *write.transaction,
            repo_id,
            name.as_str(),
            request.draft,
            maintainer.identity(),
        )
        .await;
        let base_sequence = match created {
            Err(error) if error.is_constraint("branches_live_name") => {
                return Err(Error::refused(ErrorCode::BranchExists, "branch already exists"));
            }
            other => other?.ok_or_else(|| Error::refused(ErrorCode::RepoNotFound, "repo not found"))?,
        };
        let event = EventData::BranchCreated {
            repo: maintainer.repo().to_owned(),
            branch: name.as_str().to_owned(),
            base_sequence,
            created_by: maintainer.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        self.finish(write, CreateBranchResponse { name: name.into(), base_sequence, draft: request.draft }).await
    }

    /// The branches by name: all, or one page.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_branches(&self, reader: &Reader, query: &BranchQuery) -> Result<Vec<Branch>> {
        let draft = match (query.only_drafts, query.include_drafts) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        };
        let filter = BranchFilter {
            status: query.status,
            draft,
            after: &query.after,
            limit: query.limit.map(|limit| self.limits().page(Some(limit), limit)),
        };
        let rows = branches::list_branches(self.pool(), reader.repo_id(), &filter).await?;
        Ok(rows.iter().map(|row| row.to_wire(reader.repo())).collect())
    }

    /// One branch.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`.
    pub async fn branch(&self, reader: &Reader, name: &str) -> Result<Branch> {
        let row = branches::branch(self.pool(), reader.repo_id(), name).await?.ok_or_else(Error::branch_not_found)?;
        Ok(row.to_wire(reader.repo()))
    }

    /// Sets or clears the draft flag.
    ///
    /// # Errors
    /// On `main`; `BRANCH_NOT_FOUND`; `PRECONDITION_FAILED`.
    pub async fn set_draft(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        name: &str,
        draft: bool,
        if_match: Option<&IfMatch>,
    ) -> Result<UpdateBranchResponse> {
        if name == MAIN_BRANCH {
            return Err(Error::bad_request("cannot modify branch 'main'"));
        }
        let mut write = begin!(self, writer.caller(), key);
        let locked = lock_for_change(&mut write, writer, name, if_match).await?;
        if locked.branch.draft != draft {
            branches::set_draft(&mut *write.transaction, &locked, draft).await?;
            let event = EventData::BranchDraftUpdated {
                repo: writer.repo().to_owned(),
                branch: name.to_owned(),
                draft,
                updated_by: writer.identity().to_owned(),
            };
            write.note(Some(writer.repo_id()), &event)?;
        }
        self.finish(write, UpdateBranchResponse { name: name.to_owned(), draft }).await
    }

    /// Abandons a branch, and closes its open proposal. It stays readable until it is purged.
    ///
    /// # Errors
    /// On `main`; `BRANCH_NOT_FOUND`; `BRANCH_NOT_ACTIVE`; `PRECONDITION_FAILED`.
    pub async fn delete_branch(
        &self,
        maintainer: &Maintainer,
        key: Option<&IdempotencyKey>,
        name: &str,
        if_match: Option<&IfMatch>,
    ) -> Result<()> {
        if name == MAIN_BRANCH {
            return Err(Error::bad_request("cannot delete branch 'main'"));
        }
        let mut write = begin!(self, maintainer.caller(), key);
        let locked = lock_for_change(&mut write, maintainer, name, if_match).await?;
        if locked.branch.status != BranchStatus::Active {
            return Err(Error::refused(ErrorCode::BranchNotActive, "branch is already merged or abandoned"));
        }
        branches::set_status(&mut *write.transaction, &locked, BranchStatus::Abandoned).await?;
        abandon_proposal(&mut write, maintainer.repo(), &locked, maintainer.identity()).await?;
        let event = EventData::BranchAbandoned {
            repo: maintainer.repo().to_owned(),
            branch: name.to_owned(),
            abandoned_by: maintainer.identity().to_owned(),
        };
        write.note(Some(maintainer.repo_id()), &event)?;
        self.finish(write, ()).await
    }

    /// Sets or clears the flag to merge by itself.
    ///
    /// # Errors
    /// On `main`; `BRANCH_NOT_FOUND`; `PRECONDITION_FAILED`; `CONFLICT` when too many wait already.
    pub async fn set_auto_merge(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        name: &str,
        enable: bool,
        if_match: Option<&IfMatch>,
    ) -> Result<()> {
        if name == MAIN_BRANCH {
            let verb = if enable { "enable" } else { "disable" };
            return Err(Error::bad_request(format!("cannot {verb} auto-merge on branch 'main'")));
        }
        if enable {
            // It comes to a merge, which writes main.
            writer.check_branch(MAIN_BRANCH)?;
        }
        let mut write = begin!(self, writer.caller(), key);
        let locked = lock_for_change(&mut write, writer, name, if_match).await?;
        // Whoever asks again takes it over: it happens on their behalf.
        let asked_by = auto_merge::asked_by(&mut *write.transaction, locked.branch.id).await?;
        let asks = enable.then(|| writer.identity());
        if enable && !locked.branch.auto_merge {
            let waiting = auto_merge::count_wishes(&mut *write.transaction, writer.repo_id()).await?;
            if waiting >= AUTO_MERGES_PER_REPO_MAX {
                reached("auto_merges");
                return Err(Error::refused(
                    ErrorCode::Conflict,
                    format!(
                        "{AUTO_MERGES_PER_REPO_MAX} branches of the repo wait to merge by themselves already; take a wish \
                         back first, with ds auto-merge disable"
                    ),
                ));
            }
        }
        if locked.branch.auto_merge != enable || asked_by.as_deref() != asks {
            auto_merge::set_auto_merge(&mut *write.transaction, &locked, asks).await?;
        }
        if locked.branch.auto_merge != enable {
            let (repo, branch, who) = (writer.repo().to_owned(), name.to_owned(), writer.identity().to_owned());
            let event = if enable {
                EventData::BranchAutomergeEnabled { repo, branch, enabled_by: who }
            } else {
                EventData::BranchAutomergeDisabled { repo, branch, disabled_by: who }
            };
            write.note(Some(writer.repo_id()), &event)?;
        }
        self.finish(write, ()).await
    }
}

/// Locks a branch that the caller is going to write. The one way to such a lock, so that no token writes a branch that its
/// scope does not hold.
///
/// # Errors
/// `FORBIDDEN` for a token for other branches, or `BRANCH_NOT_FOUND`.
pub(crate) async fn lock_to_write(
    write: &mut Write,
    access: &Access,
    name: &str,
    draw_sequence: bool,
) -> Result<LockedBranch> {
    access.check_branch(name)?;
    lock_branch(&mut write.transaction, access.repo_id(), name, draw_sequence)
        .await?
        .ok_or_else(Error::branch_not_found)
}

/// Refuses when a condition asks for another tag than the current one of something that exists.
pub(crate) fn check_condition(if_match: Option<&IfMatch>, etag: &str) -> Result<()> {
    match if_match {
        Some(IfMatch::Tag(tag)) if *tag != format!("\"{etag}\"") => {
            Err(Error::refused(ErrorCode::PreconditionFailed, "ETag mismatch"))
        }
        _ => Ok(()),
    }
}

/// Locks a branch and checks the condition under the lock.
async fn lock_for_change(
    write: &mut Write,
    access: &Access,
    name: &str,
    if_match: Option<&IfMatch>,
) -> Result<LockedBranch> {
    let locked = lock_to_write(write, access, name, false).await?;
    check_condition(if_match, &branch_etag(&locked.branch.to_wire(access.repo())))?;
    Ok(locked)
}
