//! Comments on issues, and what issues are tied to.

use docstore_database::{issue_comments, issue_refs, issues, lists::Place, repos::hold_repo};
use docstore_models::{
    AddIssueRefRequest, AddIssueRefResponse, ErrorCode, EventData, IssueComment, IssueCommentResponse, IssueRef,
    RefType,
};
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, List, Operations, Reader, Result, Writer,
    access::require_author,
    changes::check_text,
    issues::issue_not_found,
    limits::reached,
    lists::Paging,
    mentions::mentioned_in_issue,
    write::{Write, begin},
};

/// The longest thing in bytes that an issue is tied to; ids and numbers are shorter.
pub(crate) const REF_ID_BYTES_MAX: usize = 255;

fn comment_not_found() -> Error {
    Error::refused(ErrorCode::CommentNotFound, "comment not found")
}

impl Operations {
    /// Adds a comment to an issue.
    ///
    /// # Errors
    /// `ISSUE_NOT_FOUND`, or a body that cannot be used.
    pub async fn create_issue_comment(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        number: i64,
        body: &str,
    ) -> Result<IssueCommentResponse> {
        self.check_comment(body)?;
        let repo_id = writer.repo_id();
        let mut write = begin!(self, writer.caller(), key);
        hold_repo(&mut *write.transaction, repo_id).await?;
        let issue = issues::issue(&mut *write.transaction, repo_id, writer.repo(), number)
            .await?
            .ok_or_else(issue_not_found)?;
        let id =
            issue_comments::create_comment(&mut *write.transaction, repo_id, issue.id, body, writer.identity()).await?;
        issue_refs::tie_issue(&mut *write.transaction, repo_id, issue.id, &mentioned_in_issue(body)).await?;
        let event = EventData::IssueCommentCreated {
            repo: writer.repo().to_owned(),
            issue_id: issue.id,
            number,
            comment_id: id,
            author: writer.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        self.finish(write, IssueCommentResponse { id }).await
    }

    /// The comments on an issue, oldest first: all, or one page. An issue that is not there has none.
    ///
    /// # Errors
    /// A cursor that is no comment on this issue.
    pub async fn list_issue_comments(
        &self,
        reader: &Reader,
        number: i64,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<List<IssueComment>> {
        let (pool, repo_id, repo) = (self.pool().clone(), reader.repo_id(), reader.repo().to_owned());
        let after = match after {
            None => None,
            Some(id) => {
                let place = issue_comments::place_of_comment(&pool, repo_id, number, id).await?;
                Some(place.ok_or_else(Error::invalid_cursor)?)
            }
        };
        let paging = Paging {
            after,
            limit: self.limits().optional_page(limit),
            page_rows: None,
            place: |comment: &IssueComment| Place { created_at: comment.created_at.to_utc(), id: comment.id },
            bytes: |comment| comment.body.len(),
        };
        Ok(paging.read(move |after, page| {
            let (pool, repo) = (pool.clone(), repo.clone());
            async move { Ok(issue_comments::list_comments(&pool, repo_id, &repo, number, after, page).await?) }
        }))
    }

    /// Replaces the text of a comment.
    ///
    /// # Errors
    /// `COMMENT_NOT_FOUND`, `FORBIDDEN` for those who are neither author nor maintainer.
    pub async fn update_issue_comment(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        number: i64,
        id: Uuid,
        body: &str,
    ) -> Result<IssueComment> {
        self.check_comment(body)?;
        let mut write = begin!(self, writer.caller(), key);
        let comment = lock_for_change(&mut write, writer, number, id).await?;
        let issue_id = comment.issue_id;
        let comment = issue_comments::update_comment(&mut *write.transaction, comment, body).await?;
        issue_refs::tie_issue(&mut *write.transaction, writer.repo_id(), issue_id, &mentioned_in_issue(body)).await?;
        let event = EventData::IssueCommentUpdated {
            repo: writer.repo().to_owned(),
            issue_id,
            number,
            comment_id: id,
            updated_by: writer.identity().to_owned(),
        };
        write.note(Some(writer.repo_id()), &event)?;
        self.finish(write, comment).await
    }

    /// Deletes a comment.
    ///
    /// # Errors
    /// As [`Operations::update_issue_comment`].
    pub async fn delete_issue_comment(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        number: i64,
        id: Uuid,
    ) -> Result<()> {
        let mut write = begin!(self, writer.caller(), key);
        let comment = lock_for_change(&mut write, writer, number, id).await?;
        issue_comments::delete_comment(&mut *write.transaction, id).await?;
        let event = EventData::IssueCommentDeleted {
            repo: writer.repo().to_owned(),
            issue_id: comment.issue_id,
            number,
            comment_id: id,
            deleted_by: writer.identity().to_owned(),
        };
        write.note(Some(writer.repo_id()), &event)?;
        self.finish(write, ()).await
    }

    /// What an issue is tied to, oldest first: all, or one page. An issue that is not there is tied to nothing.
    ///
    /// # Errors
    /// A cursor that is no ref of this issue.
    pub async fn list_issue_refs(
        &self,
        reader: &Reader,
        number: i64,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<Vec<IssueRef>> {
        let limit = self.limits().optional_page(limit);
        let mut connection = self.pool().acquire().await?;
        let page =
            issue_refs::list_refs(&mut connection, reader.repo_id(), reader.repo(), number, after, limit).await?;
        connection.done();
        page.ok_or_else(Error::invalid_cursor)
    }

    /// Ties an issue to a proposal or a commit. Whether that exists is not checked.
    ///
    /// # Errors
    /// A type or target that cannot be used, `NOT_FOUND`, or `CONFLICT` when it is tied to it already.
    pub async fn create_issue_ref(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        number: i64,
        request: &AddIssueRefRequest,
    ) -> Result<AddIssueRefResponse> {
        let ref_type: RefType = request.ref_type.parse().map_err(Error::bad_request)?;
        let ref_id = usable_ref_id(ref_type, &request.ref_id)?;
        let repo_id = writer.repo_id();
        let mut write = begin!(self, writer.caller(), key);
        hold_repo(&mut *write.transaction, repo_id).await?;
        // The contract's code for this one place is the general one.
        let issue = issues::issue(&mut *write.transaction, repo_id, writer.repo(), number)
            .await?
            .ok_or_else(|| Error::refused(ErrorCode::NotFound, "issue not found"))?;
        let created = issue_refs::create_ref(&mut *write.transaction, repo_id, issue.id, ref_type, &ref_id).await;
        let id = match created {
            Err(error) if error.is_constraint("issue_refs_once") => {
                return Err(Error::refused(ErrorCode::Conflict, "ref already exists"));
            }
            other => other?,
        };
        let event =
            EventData::IssueRefAdded { repo: writer.repo().to_owned(), issue_id: issue.id, number, ref_type, ref_id };
        write.note(Some(repo_id), &event)?;
        self.finish(write, AddIssueRefResponse { id }).await
    }

    fn check_comment(&self, body: &str) -> Result<()> {
        if body.is_empty() {
            return Err(Error::bad_request("body is required"));
        }
        check_text("body", body, self.limits().message_bytes_max)
    }
}

/// Locks a comment and lets in author and maintainers only.
async fn lock_for_change(write: &mut Write, writer: &Writer, number: i64, id: Uuid) -> Result<IssueComment> {
    hold_repo(&mut *write.transaction, writer.repo_id()).await?;
    let comment = issue_comments::lock_comment(&mut *write.transaction, writer.repo_id(), writer.repo(), number, id)
        .await?
        .ok_or_else(comment_not_found)?;
    require_author(writer, &comment.author, "comment")?;
    Ok(comment)
}

/// The one spelling under which a target is found again. The contract takes any text.
fn usable_ref_id(ref_type: RefType, text: &str) -> Result<String> {
    if text.is_empty() {
        return Err(Error::bad_request("ref_id is required"));
    }
    if text.len() > REF_ID_BYTES_MAX {
        reached("ref_id_bytes");
        return Err(Error::bad_request(format!("ref_id is longer than {REF_ID_BYTES_MAX} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::bad_request("ref_id holds a control character"));
    }
    let canonical = match ref_type {
        RefType::Proposal => Uuid::try_parse(text).map(|id| id.to_string()).ok(),
        RefType::Commit => text.parse::<i64>().map(|sequence| sequence.to_string()).ok(),
    };
    Ok(canonical.unwrap_or_else(|| text.to_owned()))
}
