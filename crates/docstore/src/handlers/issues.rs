use axum::{extract::State, http::StatusCode, response::Response};
use docstore_models::{
    CloseIssueRequest, CreateIssueRequest, CreateIssueResponse, Issue, IssueList, IssueState, UpdateIssueRequest,
};
use docstore_operations::IssueQuery;
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::{ApiError, ApiResult},
    extract::{
        JsonBody, NoBody, OptionalJsonBody, Params, PathName, RepoReader, RepoWriter,
        needs::{ISSUES, READ},
    },
    respond::json_list,
    state::AppState,
};

/// Open an issue. Writers.
#[utoipa::path(post, path = "/repos/{repo}/-/issues", tag = "issues", request_body = CreateIssueRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = CreateIssueResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn create_issue(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<ISSUES>,
    body: JsonBody<CreateIssueRequest>,
) -> ApiResult<(StatusCode, Json<CreateIssueResponse>)> {
    let created = state.operations.create_issue(&writer, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the issues, newest first. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/issues", tag = "issues",
    params(("repo" = String, Path),
        ("state" = Option<String>, Query, description = "`open`, `closed` or `all`; `open` when absent"),
        ("author" = Option<String>, Query, description = "Only those that this identity opened"),
        ("label" = Option<String>, Query, description = "Only those that have this label"),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<i64>, Query, description = "Only numbers below this one")),
    responses((status = 200, body = IssueList), Ordinary, InRepo))]
pub(crate) async fn list_issues(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Response> {
    let query = IssueQuery {
        state: match params.text("state") {
            None => Some(IssueState::Open),
            Some("all") => None,
            Some(state) => Some(state.parse().map_err(ApiError::bad_request)?),
        },
        author: params.text("author").map(str::to_owned),
        label: params.text("label").map(str::to_owned),
        after: params.integer("after")?,
        limit: params.limit()?,
    };
    json_list("issues", state.operations.list_issues(&reader, query)).await
}

/// Get an issue. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/issues/{number}", tag = "issues",
    params(("repo" = String, Path), ("number" = i64, Path)),
    responses((status = 200, body = Issue), Ordinary, InRepo))]
pub(crate) async fn get_issue(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(number): PathName,
) -> ApiResult<Json<Issue>> {
    Ok(Json(state.operations.issue(&reader, issue_number(&number)?).await?))
}

/// Change title, body and labels of an issue. Its author, and maintainers.
#[utoipa::path(patch, path = "/repos/{repo}/-/issues/{number}", tag = "issues", request_body = UpdateIssueRequest,
    params(("repo" = String, Path), ("number" = i64, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = Issue), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn update_issue(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<ISSUES>,
    PathName(number): PathName,
    body: JsonBody<UpdateIssueRequest>,
) -> ApiResult<Json<Issue>> {
    let number = issue_number(&number)?;
    Ok(Json(state.operations.update_issue(&writer, body.key.as_ref(), number, &body.value).await?))
}

/// Close an issue. Its author, and maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/issues/{number}/close", tag = "issues",
    request_body = Option<CloseIssueRequest>,
    params(("repo" = String, Path), ("number" = i64, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = Issue), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn close_issue(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<ISSUES>,
    PathName(number): PathName,
    body: OptionalJsonBody<CloseIssueRequest>,
) -> ApiResult<Json<Issue>> {
    let number = issue_number(&number)?;
    let reason = body.value.reason.as_deref();
    Ok(Json(state.operations.close_issue(&writer, body.key.as_ref(), number, reason).await?))
}

/// Open a closed issue again. Its author, and maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/issues/{number}/reopen", tag = "issues",
    params(("repo" = String, Path), ("number" = i64, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = Issue), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn reopen_issue(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<ISSUES>,
    PathName(number): PathName,
    body: NoBody,
) -> ApiResult<Json<Issue>> {
    let number = issue_number(&number)?;
    Ok(Json(state.operations.reopen_issue(&writer, body.key.as_ref(), number).await?))
}

/// List the issues that are tied to a commit, by number. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/commit/{sequence}/issues", tag = "issues",
    params(("repo" = String, Path), ("sequence" = i64, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<i64>, Query, description = "Only numbers behind this one")),
    responses((status = 200, body = IssueList), Ordinary, InRepo))]
pub(crate) async fn list_commit_issues(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(sequence): PathName,
    params: Params,
) -> ApiResult<Response> {
    let sequence = sequence.parse().map_err(|_| ApiError::bad_request("invalid sequence number"))?;
    let (after, limit) = (params.integer("after")?, params.limit()?);
    json_list("issues", state.operations.list_commit_issues(&reader, sequence, after, limit)).await
}

/// The number of an issue in a path.
pub(super) fn issue_number(text: &str) -> ApiResult<i64> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(ApiError::bad_request("invalid issue number")),
    }
}
