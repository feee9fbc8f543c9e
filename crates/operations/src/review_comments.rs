//! Comments on the files of a branch, and the threads that they form.
//!
//! A thread is its first comment and the replies to it; that first one says whether the thread is resolved.

use std::collections::HashMap;

use docstore_database::{
    branches::{LockedBranch, lock_branch},
    lists::Place,
    review_comments::{self, CommentFilter, Commented, NewComment, Thread},
    reviews::review_exists,
};
use docstore_models::{
    CommentDraft, CommentSide, CreateCommentRequest, CreateCommentResponse, ErrorCode, EventData, ReviewComment,
    UpdateCommentRequest,
};
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, Limits, List, Operations, Reader, Result, Writer,
    access::require_author,
    changes::check_text,
    lists::Paging,
    write::{Write, begin},
};

/// Which comments to list.
#[derive(Clone, Debug, Default)]
pub struct CommentQuery {
    /// Only those on this file.
    pub path: Option<String>,
    /// Only those newer than this one.
    pub after: Option<Uuid>,
    /// At most so many; all when absent.
    pub limit: Option<i64>,
}

fn comment_not_found() -> Error {
    Error::refused(ErrorCode::CommentNotFound, "comment not found")
}

/// A comment as it came in, checked as far as no database is needed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    body: String,
    lines: Option<(i32, i32)>,
    side: Option<CommentSide>,
    about: About,
}

#[derive(Clone, Debug)]
enum About {
    File { path: String, version_id: Uuid },
    Thread(Uuid),
}

impl Draft {
    /// Checks a comment as it came in.
    pub(crate) fn from_request(request: &CommentDraft, limits: &Limits) -> Result<Self> {
        let thread = request.in_reply_to.as_deref().filter(|id| !id.is_empty());
        if thread.is_none() && request.path.is_empty() {
            return Err(Error::bad_request("path is required"));
        }
        if thread.is_none() && request.version_id.is_empty() {
            return Err(Error::bad_request("version_id is required"));
        }
        if request.body.is_empty() {
            return Err(Error::bad_request("body is required"));
        }
        check_text("body", &request.body, limits.message_bytes_max)?;
        let about = match thread {
            Some(id) => About::Thread(parse_id("in_reply_to", id)?),
            None => {
                check_text("path", &request.path, docstore_models::MAX_PATH_BYTES)?;
                let version_id = parse_id("version_id", &request.version_id)?;
                About::File { path: request.path.clone(), version_id }
            }
        };
        let lines = match (request.start_line, request.end_line) {
            (None, None) => None,
            (Some(start), end) if start >= 1 && end.is_none_or(|end| end >= start) => {
                Some((start, end.unwrap_or(start)))
            }
            _ => return Err(Error::bad_request("lines must be 1 <= start_line <= end_line")),
        };
        let side = request.side.as_deref().filter(|side| !side.is_empty()).map(str::parse).transpose();
        Ok(Self { body: request.body.clone(), lines, side: side.map_err(Error::bad_request)?, about })
    }
}

fn parse_id(what: &str, text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Error::bad_request(format!("{what} is not a UUID")))
}

impl Operations {
    /// Comments on a file of a branch, or replies in a thread.
    ///
    /// # Errors
    /// A request that makes no sense, `BRANCH_NOT_FOUND`, a content that the path never had or a review that is none of the
    /// branch, and `COMMENT_NOT_FOUND` for a reply to nothing.
    pub async fn create_comment(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        request: &CreateCommentRequest,
    ) -> Result<CreateCommentResponse> {
        if request.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        writer.check_branch(&request.branch)?;
        let draft = Draft::from_request(&request.draft(), self.limits())?;
        let review_id = request.review_id.as_deref().filter(|id| !id.is_empty());
        let review_id = review_id.map(|id| parse_id("review_id", id)).transpose()?;
        let mut write = begin!(self, writer.caller(), key);
        let locked = lock_branch(&mut write.transaction, writer.repo_id(), &request.branch, false)
            .await?
            .ok_or_else(Error::branch_not_found)?;
        if let Some(id) = review_id
            && !review_exists(&mut *write.transaction, locked.branch.id, id).await?
        {
            return Err(Error::bad_request("review_id is not a review of the branch"));
        }
        let ids = self.store_comments(&mut write, writer, &locked, review_id, vec![draft]).await?;
        let id = ids.first().copied().unwrap_or_default();
        self.finish(write, CreateCommentResponse { id, sequence: locked.branch.head_sequence }).await
    }

    /// Stores comments on a locked branch with their events, and answers their ids.
    pub(crate) async fn store_comments(
        &self,
        write: &mut Write,
        writer: &Writer,
        locked: &LockedBranch,
        review_id: Option<Uuid>,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Uuid>> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let comments = resolve_drafts(write, locked, drafts).await?;
        let kind = writer.caller().kind();
        let identity = writer.identity();
        let transaction = &mut *write.transaction;
        review_comments::create_comments(transaction, locked, review_id, identity, kind, &comments).await?;
        for comment in &comments {
            let event = EventData::ReviewCommentCreated {
                repo: writer.repo().to_owned(),
                branch: locked.branch.name.clone(),
                sequence: locked.branch.head_sequence,
                comment_id: comment.id,
                path: comment.path.clone(),
                author: identity.to_owned(),
                review_id,
                in_reply_to: comment.in_reply_to,
            };
            write.note(Some(locked.repo_id), &event)?;
        }
        Ok(comments.into_iter().map(|comment| comment.id).collect())
    }

    /// The comments on a branch, oldest first; on an unknown branch there are none.
    ///
    /// # Errors
    /// A cursor that is no comment of the repo.
    pub async fn list_comments(
        &self,
        reader: &Reader,
        branch: &str,
        query: CommentQuery,
    ) -> Result<List<ReviewComment>> {
        let (pool, repo_id) = (self.pool().clone(), reader.repo_id());
        let after = match query.after {
            None => None,
            Some(id) => {
                let place = review_comments::place_of_comment(&pool, repo_id, id).await?;
                Some(place.ok_or_else(Error::invalid_cursor)?)
            }
        };
        let paging = Paging {
            after,
            limit: self.limits().optional_page(query.limit),
            page_rows: None,
            place: |comment: &ReviewComment| Place { created_at: comment.created_at.to_utc(), id: comment.id },
            bytes: |comment| comment.body.len(),
        };
        let (branch, path) = (branch.to_owned(), query.path);
        Ok(paging.read(move |after, page| {
            let (pool, branch, path) = (pool.clone(), branch.clone(), path.clone());
            async move {
                let filter = CommentFilter { path: path.as_deref(), after };
                Ok(review_comments::list_comments(&pool, repo_id, &branch, filter, page).await?)
            }
        }))
    }

    /// Deletes a comment: its author may, and maintainers. Replies to it stay.
    ///
    /// # Errors
    /// `COMMENT_NOT_FOUND`, or `FORBIDDEN`.
    pub async fn delete_comment(&self, writer: &Writer, key: Option<&IdempotencyKey>, id: &str) -> Result<()> {
        let id = parse_id("comment id", id)?;
        let mut write = begin!(self, writer.caller(), key);
        let (locked, comment) = lock_comment(&mut write, writer, id, false).await?;
        require_author(writer, &comment.author, "comment")?;
        review_comments::delete_comment(&mut write.transaction, &locked, id).await?;
        let event = EventData::ReviewCommentDeleted {
            repo: writer.repo().to_owned(),
            branch: comment.branch,
            comment_id: id,
            path: comment.path,
            deleted_by: writer.identity().to_owned(),
        };
        write.note(Some(writer.repo_id()), &event)?;
        self.finish(write, ()).await
    }

    /// Resolves the thread of a comment, or opens it again. Any writer may. Answers its first comment.
    ///
    /// # Errors
    /// `COMMENT_NOT_FOUND`.
    pub async fn update_comment(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        id: &str,
        request: &UpdateCommentRequest,
    ) -> Result<ReviewComment> {
        let id = parse_id("comment id", id)?;
        let resolved = request.resolved.ok_or_else(|| Error::bad_request("resolved is required"))?;
        let mut write = begin!(self, writer.caller(), key);
        let (locked, mut first) = lock_comment(&mut write, writer, id, true).await?;
        if first.resolved_at.is_some() != resolved {
            let id = first.id;
            let by = resolved.then_some((locked.now, writer.identity()));
            review_comments::resolve_thread(&mut *write.transaction, &locked, id, by).await?;
            first.resolved_at = by.map(|(now, _)| now.into());
            first.resolved_by = by.map(|(_, identity)| identity.to_owned());
            let (repo, branch, path) = (writer.repo().to_owned(), first.branch.clone(), first.path.clone());
            let who = writer.identity().to_owned();
            let event = match resolved {
                true => EventData::ReviewCommentResolved { repo, branch, comment_id: id, path, resolved_by: who },
                false => EventData::ReviewCommentReopened { repo, branch, comment_id: id, path, reopened_by: who },
            };
            write.note(Some(writer.repo_id()), &event)?;
        }
        self.finish(write, first).await
    }
}

/// Locks the branch of a comment, so that its threads stay as they are, and finds the comment or the first one of its
/// thread.
async fn lock_comment(
    write: &mut Write,
    writer: &Writer,
    id: Uuid,
    first_of_thread: bool,
) -> Result<(LockedBranch, ReviewComment)> {
    let branch = review_comments::branch_of_comment(&mut *write.transaction, writer.repo_id(), id)
        .await?
        .ok_or_else(comment_not_found)?;
    writer.check_branch(&branch)?;
    let locked =
        lock_branch(&mut write.transaction, writer.repo_id(), &branch, false).await?.ok_or_else(comment_not_found)?;
    let comment = review_comments::comment(&mut *write.transaction, &locked, id, first_of_thread)
        .await?
        .ok_or_else(comment_not_found)?;
    Ok((locked, comment))
}

/// Finds the threads that drafts reply in, and checks that the others are about something that is or was there.
async fn resolve_drafts(write: &mut Write, locked: &LockedBranch, drafts: Vec<Draft>) -> Result<Vec<NewComment>> {
    let asked: Vec<Uuid> = drafts
        .iter()
        .filter_map(|draft| match draft.about {
            About::Thread(id) => Some(id),
            About::File { .. } => None,
        })
        .collect();
    let mut threads: HashMap<Uuid, Thread> = HashMap::new();
    if !asked.is_empty() {
        let found = review_comments::threads(&mut *write.transaction, locked, &asked).await?;
        threads.extend(found.into_iter().map(|thread| (thread.comment_id, thread)));
    }
    // What a reply has from its thread was checked when that began.
    let by_line: Vec<bool> = drafts.iter().map(|draft| draft.lines.is_some()).collect();
    let mut comments = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let id = Uuid::now_v7();
        comments.push(match draft.about {
            About::File { path, version_id } => NewComment {
                id,
                path,
                version_id,
                body: draft.body,
                lines: draft.lines,
                side: draft.side,
                in_reply_to: None,
            },
            About::Thread(asked) => {
                let thread = threads.get(&asked).ok_or_else(comment_not_found)?;
                NewComment {
                    id,
                    path: thread.path.clone(),
                    version_id: thread.version_id,
                    body: draft.body,
                    lines: draft.lines.or(thread.lines),
                    side: draft.side.or(thread.side),
                    in_reply_to: Some(thread.first_id),
                }
            }
        });
    }
    let commented: Vec<Commented<'_>> = comments
        .iter()
        .zip(by_line)
        .map(|(comment, by_line)| Commented { path: &comment.path, version_id: comment.version_id, by_line })
        .collect();
    let is_checked = |(comment, one): (&NewComment, &Commented<'_>)| comment.in_reply_to.is_none() || one.by_line;
    if comments.iter().zip(&commented).any(is_checked) {
        let lines = review_comments::commented_lines(&mut *write.transaction, locked, &commented).await?;
        for ((comment, commented), lines) in comments.iter().zip(&commented).zip(lines) {
            check_lines(comment, commented.by_line, lines)?;
        }
    }
    Ok(comments)
}

/// Checks that a comment is about a content that its path has or had, and about lines of it. Of a thread that was so when it
/// began.
fn check_lines(comment: &NewComment, by_line: bool, lines: Option<i64>) -> Result<()> {
    let path = &comment.path;
    match (lines, comment.lines.filter(|_| by_line)) {
        (None, _) if comment.in_reply_to.is_none() => {
            Err(Error::bad_request(format!("version_id is not a content of '{path}'")))
        }
        (Some(number), Some((_, end))) if i64::from(end) > number => {
            let plural = if number == 1 { "" } else { "s" };
            Err(Error::bad_request(format!("line {end} is not in '{path}', which has {number} line{plural}")))
        }
        _ => Ok(()),
    }
}
