use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use docstore_models::{
    AddIssueRefRequest, AddIssueRefResponse, ErrorCode, IssueComment, IssueCommentList, IssueCommentRequest,
    IssueCommentResponse, IssueRefList,
};
use docstore_service::Json;
use uuid::Uuid;

use super::issues::issue_number;
use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::{ApiError, ApiResult},
    extract::{
        JsonBody, NoBody, Params, PathName, RepoReader, RepoWriter,
        needs::{ISSUES, READ},
    },
    respond::json_list,
    state::AppState,
};

/// Comment on an issue. Writers.
#[utoipa::path(post, path = "/repos/{repo}/-/issues/{number}/comments", tag = "issues",
    request_body = IssueCommentRequest,
    params(("repo" = String, Path), ("number" = i64, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = IssueCommentResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn create_issue_comment(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<ISSUES>,
    PathName(number): PathName,
    body: JsonBody<IssueCommentRequest>,
) -> ApiResult<(StatusCode, Json<IssueCommentResponse>)> {
    let number = issue_number(&number)?;
    let created = state.operations.create_issue_comment(&writer, body.key.as_ref(), number, &body.value.body).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the comments on an issue, oldest first. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/issues/{number}/comments", tag = "issues",
    params(("repo" = String, Path), ("number" = i64, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "The id of the last comment seen")),
    responses((status = 200, body = IssueCommentList), Ordinary, InRepo))]
pub(crate) async fn list_issue_comments(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(number): PathName,
    params: Params,
) -> ApiResult<Response> {
    let number = issue_number(&number)?;
    let (after, limit) = (params.cursor()?, params.limit()?);
    let comments = state.operations.list_issue_comments(&reader, number, after, limit).await?;
    json_list("comments", comments).await
}

/// Replace the text of a comment. Its author, and maintainers.
#[utoipa::path(patch, path = "/repos/{repo}/-/issues/{number}/comments/{comment}", tag = "issues",
    request_body = IssueCommentRequest,
    params(("repo" = String, Path), ("number" = i64, Path), ("comment" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = IssueComment), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn update_issue_comment(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<ISSUES>,
    Path((_repo, number, id)): Path<(String, String, String)>,
    body: JsonBody<IssueCommentRequest>,
) -> ApiResult<Json<IssueComment>> {
    let (number, id) = (issue_number(&number)?, comment_id(&id)?);
    let (key, text) = (body.key.as_ref(), &body.value.body);
    Ok(Json(state.operations.update_issue_comment(&writer, key, number, id, text).await?))
}

/// Delete a comment. Its author, and maintainers.
#[utoipa::path(delete, path = "/repos/{repo}/-/issues/{number}/comments/{comment}", tag = "issues",
    params(("repo" = String, Path), ("number" = i64, Path), ("comment" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn delete_issue_comment(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<ISSUES>,
    Path((_repo, number, id)): Path<(String, String, String)>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    let (number, id) = (issue_number(&number)?, comment_id(&id)?);
    state.operations.delete_issue_comment(&writer, body.key.as_ref(), number, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tie an issue to a proposal or a commit. Writers.
#[utoipa::path(post, path = "/repos/{repo}/-/issues/{number}/refs", tag = "issues", request_body = AddIssueRefRequest,
    params(("repo" = String, Path), ("number" = i64, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = AddIssueRefResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn create_issue_ref(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<ISSUES>,
    PathName(number): PathName,
    body: JsonBody<AddIssueRefRequest>,
) -> ApiResult<(StatusCode, Json<AddIssueRefResponse>)> {
    let number = issue_number(&number)?;
    let created = state.operations.create_issue_ref(&writer, body.key.as_ref(), number, &body.value).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List what an issue is tied to, oldest first. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/issues/{number}/refs", tag = "issues",
    params(("repo" = String, Path), ("number" = i64, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "The id of the last ref seen")),
    responses((status = 200, body = IssueRefList), Ordinary, InRepo))]
pub(crate) async fn list_issue_refs(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(number): PathName,
    params: Params,
) -> ApiResult<Json<IssueRefList>> {
    let number = issue_number(&number)?;
    let (after, limit) = (params.cursor()?, params.limit()?);
    Ok(Json(IssueRefList { refs: state.operations.list_issue_refs(&reader, number, after, limit).await? }))
}

/// What is no id is the id of no comment.
fn comment_id(text: &str) -> ApiResult<Uuid> {
    Uuid::try_parse(text).map_err(|_| ApiError::new(ErrorCode::CommentNotFound, "comment not found"))
}
