use docstore_models::{
    CreateCommentRequest, CreateCommentResponse, CreateReviewRequest, CreateReviewResponse, Review, ReviewComment,
    UpdateCommentRequest,
};
use uuid::Uuid;

use crate::{Error, RepoClient, paths::segment, transport::Call};

impl RepoClient {
    /// The reviews of a branch, newest first; with a sequence those of exactly that one.
    ///
    /// # Errors
    /// As every call.
    pub async fn reviews(&self, branch: &str, at: Option<i64>) -> Result<Vec<Review>, Error> {
        let call = Call::get(self.branch_path(branch, "/reviews")).query_some("at", at);
        self.client.pages(call, None, None, |reviews| reviews, |review: &Review| review.id).await
    }

    /// Reviews a branch as it is now.
    ///
    /// # Errors
    /// 403 when the caller approves what they had a part in, 409 `HEAD_MOVED`; otherwise as every call.
    pub async fn create_review(&self, request: &CreateReviewRequest) -> Result<CreateReviewResponse, Error> {
        self.client.fetch(Call::post(self.path("review")).json(request)?).await
    }

    /// The comments on a branch, oldest first; with a path those on that file.
    ///
    /// # Errors
    /// As every call.
    pub async fn comments(&self, branch: &str, path: Option<&str>) -> Result<Vec<ReviewComment>, Error> {
        let call = Call::get(self.branch_path(branch, "/comments")).query_some("path", path);
        self.client.pages(call, None, None, |comments| comments, |comment: &ReviewComment| comment.id).await
    }

    /// Comments on a file of a branch, or replies in a thread.
    ///
    /// # Errors
    /// 404 for a branch or a thread that is not there; otherwise as every call.
    pub async fn create_comment(&self, request: &CreateCommentRequest) -> Result<CreateCommentResponse, Error> {
        self.client.fetch(Call::post(self.path("comment")).json(request)?).await
    }

    /// Resolves the thread of a comment, or opens it again; answers its first comment. Additive.
    ///
    /// # Errors
    /// 404 `COMMENT_NOT_FOUND`; otherwise as every call.
    pub async fn resolve_comment(&self, id: Uuid, resolved: bool) -> Result<ReviewComment, Error> {
        let body = UpdateCommentRequest { resolved: Some(resolved) };
        self.client.fetch(Call::patch(self.comment_path(id)).json(&body)?).await
    }

    /// Deletes a comment; replies to it stay.
    ///
    /// # Errors
    /// 404 `COMMENT_NOT_FOUND`, 403 for somebody else's; otherwise as every call.
    pub async fn delete_comment(&self, id: Uuid) -> Result<(), Error> {
        self.client.run(Call::delete(self.comment_path(id))).await
    }

    fn comment_path(&self, id: Uuid) -> String {
        self.path(&format!("comment/{}", segment(&id.to_string())))
    }
}
