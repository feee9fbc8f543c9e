//! Proposals. A branch has at most one that is open; it ends with the branch.

use docstore_database::{
    branches::{self, LockedBranch},
    issue_refs,
    lists::Place,
    proposals::{self, NewProposal, ProposalFilter},
    repos::hold_repo,
};
use docstore_models::{
    BranchStatus, CreateProposalRequest, CreateProposalResponse, ErrorCode, EventData, Issue, MAIN_BRANCH, Proposal,
    ProposalState, RefType, Timestamp, UpdateProposalRequest,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, IfMatch, List, Operations, Reader, Result, Writer,
    access::require_author,
    branches::{check_condition, lock_to_write},
    changes::{check_text, check_title},
    lists::{Paging, length},
    mentions::mentioned_in_proposal,
    write::{Write, begin},
};

/// Which proposals to list.
#[derive(Clone, Debug, Default)]
pub struct ProposalQuery {
    /// Only those in this state.
    pub state: Option<ProposalState>,
    /// Only those of this branch.
    pub branch: Option<String>,
    /// Only those behind this one.
    pub after: Option<Uuid>,
    /// At most so many; all when absent.
    pub limit: Option<i64>,
}

/// The tag of a proposal (contract, server §4.11), without quotes.
#[must_use]
pub fn proposal_etag(proposal: &Proposal) -> String {
    let nanoseconds = i128::from(proposal.updated_at.to_utc().timestamp_micros()) * 1000;
    hex::encode(Sha256::digest(format!("{}:{nanoseconds}", proposal.id)))
}

fn proposal_not_found() -> Error {
    Error::refused(ErrorCode::ProposalNotFound, "proposal not found")
}

fn conflict(message: &str) -> Error {
    Error::refused(ErrorCode::Conflict, message)
}

impl Operations {
    /// Opens a proposal for an active branch.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, also for the base; `BRANCH_NOT_ACTIVE`; `PROPOSAL_EXISTS`.
    pub async fn create_proposal(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        request: &CreateProposalRequest,
    ) -> Result<CreateProposalResponse> {
        if request.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        if request.title.is_empty() {
            return Err(Error::bad_request("title is required"));
        }
        if request.branch == MAIN_BRANCH {
            return Err(Error::bad_request("cannot open a proposal for branch 'main'"));
        }
        let base = request.base_branch.as_deref().filter(|base| !base.is_empty()).unwrap_or(MAIN_BRANCH);
        if base == request.branch {
            return Err(Error::bad_request("base_branch must be another branch"));
        }
        check_title(&request.title)?;
        let description = request.description.as_deref().filter(|text| !text.is_empty());
        if let Some(description) = description {
            check_text("description", description, self.limits().message_bytes_max)?;
        }
        let repo_id = writer.repo_id();
        let mut write = begin!(self, writer.caller(), key);
        let branch = lock_to_write(&mut write, writer, &request.branch, false).await?;
        check_active(&branch)?;
        let base = branches::branch(&mut *write.transaction, repo_id, base)
            .await?
            .ok_or_else(|| Error::refused(ErrorCode::BranchNotFound, "base branch not found"))?;
        let proposal =
            NewProposal { base_branch_id: base.id, title: &request.title, description, author: writer.identity() };
        let id = proposals::create_proposal(&mut *write.transaction, &branch, proposal).await.map_err(one_open)?;
        tie_mentioned(&mut write, repo_id, id, description).await?;
        let event = EventData::ProposalOpened {
            repo: writer.repo().to_owned(),
            branch: request.branch.clone(),
            base_branch: base.name,
            proposal_id: id,
            author: writer.identity().to_owned(),
            sequence: branch.branch.head_sequence,
        };
        write.note(Some(repo_id), &event)?;
        self.finish(write, CreateProposalResponse { id }).await
    }

    /// The proposals, newest first: all, or one page.
    ///
    /// # Errors
    /// A cursor that is no proposal of this repo.
    pub async fn list_proposals(&self, reader: &Reader, query: ProposalQuery) -> Result<List<Proposal>> {
        let (pool, repo_id, repo) = (self.pool().clone(), reader.repo_id(), reader.repo().to_owned());
        let after = match query.after {
            None => None,
            Some(id) => {
                Some(proposals::place_of_proposal(&pool, repo_id, id).await?.ok_or_else(Error::invalid_cursor)?)
            }
        };
        let paging = Paging {
            after,
            limit: self.limits().optional_page(query.limit),
            page_rows: None,
            place: |proposal: &Proposal| Place { created_at: proposal.created_at.to_utc(), id: proposal.id },
            bytes: |proposal| length(proposal.description.as_ref()),
        };
        Ok(paging.read(move |after, page| {
            let (pool, repo, query) = (pool.clone(), repo.clone(), query.clone());
            async move {
                let filter = ProposalFilter { state: query.state, branch: query.branch.as_deref(), after };
                Ok(proposals::list_proposals(&pool, repo_id, &repo, filter, page).await?)
            }
        }))
    }

    /// One proposal.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_FOUND`.
    pub async fn proposal(&self, reader: &Reader, id: Uuid) -> Result<Proposal> {
        proposals::proposal(self.pool(), reader.repo_id(), reader.repo(), id).await?.ok_or_else(proposal_not_found)
    }

    /// Changes title and description, whatever state the proposal is in. What stays as it was changes nothing.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_FOUND`, `PRECONDITION_FAILED`, `FORBIDDEN` for those who are neither author nor maintainer.
    pub async fn update_proposal(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        id: Uuid,
        request: &UpdateProposalRequest,
        if_match: Option<&IfMatch>,
    ) -> Result<Proposal> {
        if let Some(title) = &request.title {
            check_title(title)?;
        }
        if let Some(description) = &request.description {
            check_text("description", description, self.limits().message_bytes_max)?;
        }
        let mut write = begin!(self, writer.caller(), key);
        hold_repo(&mut *write.transaction, writer.repo_id()).await?;
        let before = lock_for_change(&mut write, writer, id, if_match).await?;
        let description = match &request.description {
            None => before.description.clone(),
            Some(description) => Some(description.clone()).filter(|text| !text.is_empty()),
        };
        let title = request.title.clone().unwrap_or_else(|| before.title.clone());
        let mut proposal = Proposal { title, description, ..before.clone() };
        if proposal != before {
            let (title, description) = (proposal.title.as_str(), proposal.description.as_deref());
            let updated_at = proposals::update_proposal(&mut *write.transaction, id, title, description).await?;
            tie_mentioned(&mut write, writer.repo_id(), id, description).await?;
            proposal.updated_at = Timestamp::from(updated_at);
            let event = EventData::ProposalUpdated {
                repo: writer.repo().to_owned(),
                branch: proposal.branch.clone(),
                proposal_id: id,
                updated_by: writer.identity().to_owned(),
            };
            write.note(Some(writer.repo_id()), &event)?;
        }
        self.finish(write, proposal).await
    }

    /// Gives a proposal up.
    ///
    /// # Errors
    /// As [`Operations::update_proposal`]; `CONFLICT` when it is not open.
    pub async fn close_proposal(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        id: Uuid,
        if_match: Option<&IfMatch>,
    ) -> Result<()> {
        let mut write = begin!(self, writer.caller(), key);
        hold_repo(&mut *write.transaction, writer.repo_id()).await?;
        let proposal = lock_for_change(&mut write, writer, id, if_match).await?;
        match proposal.state {
            ProposalState::Open => {}
            ProposalState::Closed => return Err(conflict("conflict: proposal is already closed")),
            ProposalState::Merged => return Err(conflict("conflict: proposal is already merged")),
        }
        proposals::set_state(&mut *write.transaction, id, ProposalState::Closed).await?;
        note_closed(&mut write, writer.repo_id(), writer.repo(), &proposal.branch, id, writer.identity())?;
        self.finish(write, ()).await
    }

    /// Opens a closed proposal again.
    ///
    /// # Errors
    /// As [`Operations::update_proposal`]; `CONFLICT` when it is not closed; `BRANCH_NOT_ACTIVE`; `PROPOSAL_EXISTS`.
    pub async fn reopen_proposal(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        id: Uuid,
        if_match: Option<&IfMatch>,
    ) -> Result<Proposal> {
        let (repo_id, repo) = (writer.repo_id(), writer.repo());
        let mut write = begin!(self, writer.caller(), key);
        let named =
            proposals::proposal(&mut *write.transaction, repo_id, repo, id).await?.ok_or_else(proposal_not_found)?;
        // The branch before the proposal, like whoever merges it. If it was purged, its proposals went with it, and the
        // next statement sees that.
        let branch = lock_to_write(&mut write, writer, &named.branch, false).await?;
        let proposal = lock_for_change(&mut write, writer, id, if_match).await?;
        match proposal.state {
            ProposalState::Closed => {}
            ProposalState::Open => return Err(conflict("conflict: proposal is already open")),
            ProposalState::Merged => return Err(conflict("conflict: proposal is already merged")),
        }
        check_active(&branch)?;
        proposals::set_state(&mut *write.transaction, id, ProposalState::Open).await.map_err(one_open)?;
        let event = EventData::ProposalReopened {
            repo: repo.to_owned(),
            branch: proposal.branch,
            base_branch: proposal.base_branch,
            proposal_id: id,
            sequence: branch.branch.head_sequence,
            reopened_by: writer.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        let now =
            proposals::proposal(&mut *write.transaction, repo_id, repo, id).await?.ok_or_else(proposal_not_found)?;
        self.finish(write, now).await
    }

    /// The issues that are tied to a proposal, by number: all, or one page. Whether there is such a proposal does not matter.
    #[must_use]
    pub fn list_proposal_issues(
        &self,
        reader: &Reader,
        id: &str,
        after: Option<i64>,
        limit: Option<i64>,
    ) -> List<Issue> {
        // An id has several spellings; refs have one of them.
        let id = Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |id| id.to_string());
        self.issues_tied_to(reader, (RefType::Proposal, id), after, limit)
    }
}

/// Marks the open proposal of a branch as merged, if it has one, in the transaction that merges the branch. Its event comes
/// before that of the branch.
pub(crate) async fn merge_proposal(write: &mut Write, repo: &str, branch: &LockedBranch) -> Result<()> {
    let merged = proposals::end_open_proposal(&mut *write.transaction, branch, ProposalState::Merged).await?;
    let Some((proposal_id, base_branch)) = merged else { return Ok(()) };
    let event = EventData::ProposalMerged {
        repo: repo.to_owned(),
        branch: branch.branch.name.clone(),
        base_branch,
        proposal_id,
    };
    write.note(Some(branch.repo_id), &event)
}

/// Closes the open proposal of a branch, if it has one, in the transaction that abandons the branch.
pub(crate) async fn abandon_proposal(write: &mut Write, repo: &str, branch: &LockedBranch, by: &str) -> Result<()> {
    let closed = proposals::end_open_proposal(&mut *write.transaction, branch, ProposalState::Closed).await?;
    let Some((id, _)) = closed else { return Ok(()) };
    note_closed(write, branch.repo_id, repo, &branch.branch.name, id, by)
}

fn note_closed(write: &mut Write, repo_id: i64, repo: &str, branch: &str, id: Uuid, by: &str) -> Result<()> {
    let event = EventData::ProposalClosed {
        repo: repo.to_owned(),
        branch: branch.to_owned(),
        proposal_id: id,
        closed_by: by.to_owned(),
    };
    write.note(Some(repo_id), &event)
}

/// Locks a proposal, checks the condition under the lock, and lets in author and maintainers only, with a credential for its
/// branch.
async fn lock_for_change(write: &mut Write, writer: &Writer, id: Uuid, if_match: Option<&IfMatch>) -> Result<Proposal> {
    let proposal = proposals::lock_proposal(&mut *write.transaction, writer.repo_id(), writer.repo(), id)
        .await?
        .ok_or_else(proposal_not_found)?;
    check_condition(if_match, &proposal_etag(&proposal))?;
    require_author(writer, &proposal.author, "proposal")?;
    writer.check_branch(&proposal.branch)?;
    Ok(proposal)
}

fn check_active(branch: &LockedBranch) -> Result<()> {
    if branch.branch.status == BranchStatus::Active {
        return Ok(());
    }
    Err(Error::refused(ErrorCode::BranchNotActive, "branch is not active"))
}

fn one_open(error: docstore_database::Error) -> Error {
    if error.is_constraint("proposals_one_open") {
        return Error::refused(ErrorCode::ProposalExists, "branch already has an open proposal");
    }
    error.into()
}

async fn tie_mentioned(write: &mut Write, repo_id: i64, id: Uuid, description: Option<&str>) -> Result<()> {
    let numbers = description.map(mentioned_in_proposal).unwrap_or_default();
    Ok(issue_refs::tie_issues_to_proposal(&mut *write.transaction, repo_id, &numbers, id).await?)
}
