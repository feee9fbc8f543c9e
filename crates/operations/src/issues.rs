//! Issues.

use docstore_database::{
    issue_refs,
    issues::{self, IssueFilter, NewIssue},
    repos::hold_repo,
};
use docstore_models::{
    CloseReason, CreateIssueRequest, CreateIssueResponse, ErrorCode, EventData, Issue, IssueState, RefType,
    UpdateIssueRequest,
};

use crate::{
    Error, IdempotencyKey, List, Operations, Reader, Result, Writer,
    access::require_author,
    changes::{check_text, check_title},
    limits::reached,
    lists::{Paging, length},
    mentions::mentioned_in_issue,
    write::{Write, begin},
};

/// The most labels of an issue: they are shown in one line each time that it is listed.
pub(crate) const ISSUE_LABELS_MAX: usize = 100;

/// The longest label in bytes: it is one word or a few.
pub(crate) const LABEL_BYTES_MAX: usize = 100;

/// Which issues to list.
#[derive(Clone, Debug, Default)]
pub struct IssueQuery {
    /// Only those in this state.
    pub state: Option<IssueState>,
    /// Only those that this identity opened.
    pub author: Option<String>,
    /// Only those that have this label.
    pub label: Option<String>,
    /// Only those with a lower number.
    pub after: Option<i64>,
    /// At most so many; all when absent.
    pub limit: Option<i64>,
}

pub(crate) fn issue_not_found() -> Error {
    Error::refused(ErrorCode::IssueNotFound, "issue not found")
}

impl Operations {
    /// Opens an issue. Its number is the next of the repo; numbers have no gaps.
    ///
    /// # Errors
    /// A title, body or label that cannot be used.
    pub async fn create_issue(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        request: &CreateIssueRequest,
    ) -> Result<CreateIssueResponse> {
        if request.title.is_empty() {
            return Err(Error::bad_request("title is required"));
        }
        check_title(&request.title)?;
        let body = request.body.as_deref().filter(|body| !body.is_empty());
        if let Some(body) = body {
            check_text("body", body, self.limits().message_bytes_max)?;
        }
        let labels = usable_labels(&request.labels)?;
        let repo_id = writer.repo_id();
        let mut write = begin!(self, writer.caller(), key);
        hold_repo(&mut *write.transaction, repo_id).await?;
        check_repo(&mut write, repo_id).await?;
        let number = issues::draw_number(&mut *write.transaction, repo_id).await?;
        let issue = NewIssue { number, title: &request.title, body, labels: &labels, author: writer.identity() };
        let id = issues::create_issue(&mut *write.transaction, repo_id, issue).await?;
        let mentioned = body.map(mentioned_in_issue).unwrap_or_default();
        issue_refs::tie_issue(&mut *write.transaction, repo_id, id, &mentioned).await?;
        let event = EventData::IssueOpened {
            repo: writer.repo().to_owned(),
            issue_id: id,
            number,
            author: writer.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        self.finish(write, CreateIssueResponse { id, number }).await
    }

    /// The issues, newest first: all, or one page.
    #[must_use]
    pub fn list_issues(&self, reader: &Reader, query: IssueQuery) -> List<Issue> {
        let limit = self.limits().optional_page(query.limit);
        let (pool, repo_id, repo) = (self.pool().clone(), reader.repo_id(), reader.repo().to_owned());
        let paging = Paging {
            after: query.after,
            limit,
            page_rows: None,
            place: |issue: &Issue| issue.number,
            bytes: |issue| length(issue.body.as_ref()),
        };
        paging.read(move |after, page| {
            let (pool, repo, query) = (pool.clone(), repo.clone(), query.clone());
            async move {
                let filter = IssueFilter {
                    state: query.state,
                    author: query.author.as_deref(),
                    label: query.label.as_deref(),
                    after,
                };
                Ok(issues::list_issues(&pool, repo_id, &repo, filter, page).await?)
            }
        })
    }

    /// One issue.
    ///
    /// # Errors
    /// `ISSUE_NOT_FOUND`.
    pub async fn issue(&self, reader: &Reader, number: i64) -> Result<Issue> {
        issues::issue(self.pool(), reader.repo_id(), reader.repo(), number).await?.ok_or_else(issue_not_found)
    }

    /// The issues that are tied to a commit, by number: all, or one page. Whether there is such a commit does not matter.
    #[must_use]
    pub fn list_commit_issues(
        &self,
        reader: &Reader,
        sequence: i64,
        after: Option<i64>,
        limit: Option<i64>,
    ) -> List<Issue> {
        self.issues_tied_to(reader, (RefType::Commit, sequence.to_string()), after, limit)
    }

    /// The issues that are tied to something, by number.
    pub(crate) fn issues_tied_to(
        &self,
        reader: &Reader,
        target: (RefType, String),
        after: Option<i64>,
        limit: Option<i64>,
    ) -> List<Issue> {
        let limit = self.limits().optional_page(limit);
        let (pool, repo_id, repo) = (self.pool().clone(), reader.repo_id(), reader.repo().to_owned());
        let paging = Paging {
            after,
            limit,
            page_rows: None,
            place: |issue: &Issue| issue.number,
            bytes: |issue| length(issue.body.as_ref()),
        };
        paging.read(move |after, page| {
            let (pool, repo, (ref_type, ref_id)) = (pool.clone(), repo.clone(), target.clone());
            async move { Ok(issues::issues_tied_to(&pool, repo_id, &repo, (ref_type, &ref_id), after, page).await?) }
        })
    }

    /// Changes title, body and labels. What stays as it was changes nothing.
    ///
    /// # Errors
    /// `ISSUE_NOT_FOUND`, `FORBIDDEN` for those who are neither author nor maintainer.
    pub async fn update_issue(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        number: i64,
        request: &UpdateIssueRequest,
    ) -> Result<Issue> {
        if let Some(title) = &request.title {
            check_title(title)?;
        }
        if let Some(body) = &request.body {
            check_text("body", body, self.limits().message_bytes_max)?;
        }
        let labels = request.labels.as_deref().map(usable_labels).transpose()?;
        let mut write = begin!(self, writer.caller(), key);
        let before = lock_for_change(&mut write, writer, number).await?;
        let body = match &request.body {
            None => before.body.clone(),
            Some(body) => Some(body.clone()).filter(|body| !body.is_empty()),
        };
        let mut issue = Issue {
            title: request.title.clone().unwrap_or_else(|| before.title.clone()),
            body,
            labels: labels.unwrap_or_else(|| before.labels.clone()),
            ..before.clone()
        };
        if issue != before {
            issue = issues::update_issue(&mut *write.transaction, &issue).await?;
            let mentioned = issue.body.as_deref().map(mentioned_in_issue).unwrap_or_default();
            issue_refs::tie_issue(&mut *write.transaction, writer.repo_id(), issue.id, &mentioned).await?;
            let event = EventData::IssueUpdated {
                repo: writer.repo().to_owned(),
                issue_id: issue.id,
                number,
                updated_by: writer.identity().to_owned(),
            };
            write.note(Some(writer.repo_id()), &event)?;
        }
        self.finish(write, issue).await
    }

    /// Closes an issue.
    ///
    /// # Errors
    /// A reason that is none; as [`Operations::update_issue`]; `CONFLICT` when it is closed.
    pub async fn close_issue(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        number: i64,
        reason: Option<&str>,
    ) -> Result<Issue> {
        let reason: CloseReason = match reason {
            None | Some("") => CloseReason::Completed,
            Some(reason) => reason.parse().map_err(Error::bad_request)?,
        };
        let mut write = begin!(self, writer.caller(), key);
        let issue = lock_for_change(&mut write, writer, number).await?;
        if issue.state == IssueState::Closed {
            return Err(Error::refused(ErrorCode::Conflict, "conflict: issue is already closed"));
        }
        let issue = issues::close_issue(&mut *write.transaction, issue, reason, writer.identity()).await?;
        let event = EventData::IssueClosed {
            repo: writer.repo().to_owned(),
            issue_id: issue.id,
            number,
            reason,
            closed_by: writer.identity().to_owned(),
        };
        write.note(Some(writer.repo_id()), &event)?;
        self.finish(write, issue).await
    }

    /// Opens a closed issue again.
    ///
    /// # Errors
    /// As [`Operations::update_issue`]; `CONFLICT` when it is open.
    pub async fn reopen_issue(&self, writer: &Writer, key: Option<&IdempotencyKey>, number: i64) -> Result<Issue> {
        let mut write = begin!(self, writer.caller(), key);
        let issue = lock_for_change(&mut write, writer, number).await?;
        if issue.state == IssueState::Open {
            return Err(Error::refused(ErrorCode::Conflict, "conflict: issue is already open"));
        }
        let issue = issues::reopen_issue(&mut *write.transaction, issue).await?;
        let event = EventData::IssueReopened {
            repo: writer.repo().to_owned(),
            issue_id: issue.id,
            number,
            reopened_by: writer.identity().to_owned(),
        };
        write.note(Some(writer.repo_id()), &event)?;
        self.finish(write, issue).await
    }
}

/// Locks an issue and lets in author and maintainers only.
async fn lock_for_change(write: &mut Write, writer: &Writer, number: i64) -> Result<Issue> {
    hold_repo(&mut *write.transaction, writer.repo_id()).await?;
    let issue = issues::lock_issue(&mut *write.transaction, writer.repo_id(), writer.repo(), number)
        .await?
        .ok_or_else(issue_not_found)?;
    require_author(writer, &issue.author, "issue")?;
    Ok(issue)
}

/// Refuses when a repo that is held has gone before: nothing of an issue refers to anything that would show it.
async fn check_repo(write: &mut Write, repo_id: i64) -> Result<()> {
    if docstore_database::repos::is_live(&mut *write.transaction, repo_id).await? {
        return Ok(());
    }
    Err(Error::refused(ErrorCode::RepoNotFound, "repo not found"))
}

/// The labels, each once, in the order given.
fn usable_labels(labels: &[String]) -> Result<Vec<String>> {
    let mut usable: Vec<String> = Vec::new();
    for label in labels {
        if label.trim().is_empty() || label.chars().any(char::is_control) {
            return Err(Error::bad_request("a label is empty or holds a control character"));
        }
        if label.len() > LABEL_BYTES_MAX {
            reached("label_bytes");
            return Err(Error::bad_request(format!("a label is longer than {LABEL_BYTES_MAX} bytes")));
        }
        if usable.contains(label) {
            continue;
        }
        if usable.len() == ISSUE_LABELS_MAX {
            reached("issue_labels");
            return Err(Error::bad_request(format!("an issue has at most {ISSUE_LABELS_MAX} labels")));
        }
        usable.push(label.clone());
    }
    Ok(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_count_once_and_have_bounds() {
        let labels = |labels: &[&str]| usable_labels(&labels.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(labels(&["b", "a", "b"]).unwrap(), ["b", "a"]);
        assert_eq!(labels(&[]).unwrap(), [] as [&str; 0]);
        for bad in ["", " ", "a\nb", &"x".repeat(LABEL_BYTES_MAX + 1)] {
            assert!(labels(&[bad]).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=ISSUE_LABELS_MAX).map(|n| n.to_string()).collect();
        assert!(usable_labels(&many).is_err());
        assert!(usable_labels(&many[1..]).is_ok());
    }
}
