use docstore_models::{
    AddIssueRefRequest, AddIssueRefResponse, CloseIssueRequest, CreateIssueRequest, CreateIssueResponse, Issue,
    IssueComment, IssueCommentList, IssueCommentRequest, IssueCommentResponse, IssueList, IssueRef, IssueRefList,
    IssueState, RefType, UpdateIssueRequest,
};
use uuid::Uuid;

use crate::{Error, RepoClient, transport::Call};

/// Which issues to list. By default the open ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueQuery {
    /// Only those in this state; without one the server lists the open ones.
    pub state: Option<IssueState>,
    /// Whatever their state.
    pub all: bool,
    /// Only those that this identity opened.
    pub author: Option<String>,
    /// Only those that have this label.
    pub label: Option<String>,
    /// At most so many; all when absent.
    pub limit: Option<u32>,
    /// Only those below this number.
    pub after: Option<i64>,
}

impl RepoClient {
    /// Opens an issue.
    ///
    /// # Errors
    /// As every call.
    pub async fn create_issue(&self, request: &CreateIssueRequest) -> Result<CreateIssueResponse, Error> {
        self.client.fetch(Call::post(self.path("issues")).json(request)?).await
    }

    /// Issues, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn issues(&self, query: &IssueQuery) -> Result<Vec<Issue>, Error> {
        let state = if query.all { Some("all") } else { query.state.map(IssueState::as_str) };
        let call = Call::get(self.path("issues"))
            .query_some("state", state)
            .query_some("author", query.author.as_deref())
            .query_some("label", query.label.as_deref());
        let list = |list: IssueList| list.issues;
        self.client.pages(call, query.limit, query.after, list, |issue| issue.number).await
    }

    /// One issue.
    ///
    /// # Errors
    /// 404 `ISSUE_NOT_FOUND`; otherwise as every call.
    pub async fn issue(&self, number: i64) -> Result<Issue, Error> {
        self.client.fetch(Call::get(self.issue_path(number, ""))).await
    }

    /// Changes title, body and labels.
    ///
    /// # Errors
    /// 404 `ISSUE_NOT_FOUND`; otherwise as every call.
    pub async fn update_issue(&self, number: i64, request: &UpdateIssueRequest) -> Result<Issue, Error> {
        self.client.fetch(Call::patch(self.issue_path(number, "")).json(request)?).await
    }

    /// Closes an issue.
    ///
    /// # Errors
    /// 404 `ISSUE_NOT_FOUND`, 409 when it is closed; otherwise as every call.
    pub async fn close_issue(&self, number: i64, request: &CloseIssueRequest) -> Result<Issue, Error> {
        self.client.fetch(Call::post(self.issue_path(number, "/close")).json(request)?).await
    }

    /// Opens a closed issue again.
    ///
    /// # Errors
    /// 404 `ISSUE_NOT_FOUND`, 409 when it is open; otherwise as every call.
    pub async fn reopen_issue(&self, number: i64) -> Result<Issue, Error> {
        self.client.fetch(Call::post(self.issue_path(number, "/reopen")).json(&())?).await
    }

    /// The comments on an issue, oldest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn issue_comments(&self, number: i64) -> Result<Vec<IssueComment>, Error> {
        let call = Call::get(self.issue_path(number, "/comments"));
        let list = |list: IssueCommentList| list.comments;
        self.client.pages(call, None, None, list, |comment| comment.id).await
    }

    /// Comments on an issue.
    ///
    /// # Errors
    /// 404 `ISSUE_NOT_FOUND`; otherwise as every call.
    pub async fn create_issue_comment(&self, number: i64, body: &str) -> Result<IssueCommentResponse, Error> {
        let request = IssueCommentRequest { body: body.to_owned() };
        self.client.fetch(Call::post(self.issue_path(number, "/comments")).json(&request)?).await
    }

    /// Replaces the text of a comment.
    ///
    /// # Errors
    /// 404 `COMMENT_NOT_FOUND`; otherwise as every call.
    pub async fn update_issue_comment(&self, number: i64, id: Uuid, body: &str) -> Result<IssueComment, Error> {
        let request = IssueCommentRequest { body: body.to_owned() };
        self.client.fetch(Call::patch(self.issue_path(number, &format!("/comments/{id}"))).json(&request)?).await
    }

    /// Deletes a comment.
    ///
    /// # Errors
    /// 404 `COMMENT_NOT_FOUND`; otherwise as every call.
    pub async fn delete_issue_comment(&self, number: i64, id: Uuid) -> Result<(), Error> {
        self.client.run(Call::delete(self.issue_path(number, &format!("/comments/{id}")))).await
    }

    /// What an issue is tied to, oldest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn issue_refs(&self, number: i64) -> Result<Vec<IssueRef>, Error> {
        let call = Call::get(self.issue_path(number, "/refs"));
        self.client.pages(call, None, None, |list: IssueRefList| list.refs, |one| one.id).await
    }

    /// Ties an issue to a proposal or a commit.
    ///
    /// # Errors
    /// 404 when there is no such issue, 409 when it is tied to it already; otherwise as every call.
    pub async fn create_issue_ref(
        &self,
        number: i64,
        ref_type: RefType,
        ref_id: &str,
    ) -> Result<AddIssueRefResponse, Error> {
        let request = AddIssueRefRequest { ref_type: ref_type.as_str().to_owned(), ref_id: ref_id.to_owned() };
        self.client.fetch(Call::post(self.issue_path(number, "/refs")).json(&request)?).await
    }

    /// The issues that are tied to a commit, by number.
    ///
    /// # Errors
    /// As every call.
    pub async fn commit_issues(&self, sequence: i64) -> Result<Vec<Issue>, Error> {
        let call = Call::get(self.path(&format!("commit/{sequence}/issues")));
        self.client.pages(call, None, None, |list: IssueList| list.issues, |issue| issue.number).await
    }

    fn issue_path(&self, number: i64, rest: &str) -> String {
        self.path(&format!("issues/{number}{rest}"))
    }
}
