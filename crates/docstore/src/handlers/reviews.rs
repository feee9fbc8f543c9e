use axum::{extract::State, http::StatusCode, response::Response};
use docstore_models::{
    CreateCommentRequest, CreateCommentResponse, CreateReviewRequest, CreateReviewResponse, Review, ReviewComment,
    UpdateCommentRequest,
};
use docstore_operations::{CommentQuery, ReviewQuery};
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{
        JsonBody, NoBody, Params, PathName, RepoReader, RepoWriter,
        needs::{READ, REVIEWS},
    },
    respond::json_array,
    state::AppState,
};

/// Review a branch as it is now, alone or with comments that are sent together. Writers; nobody approves what they wrote,
/// pushed or are named in as a co-author, also after a rebase.
#[utoipa::path(post, path = "/repos/{repo}/-/review", tag = "reviews", request_body = CreateReviewRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = CreateReviewResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn create_review(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<REVIEWS>,
    body: JsonBody<CreateReviewRequest>,
) -> ApiResult<(StatusCode, Json<CreateReviewResponse>)> {
    let created = state.operations.create_review(&writer, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the reviews of a branch, newest first. Those of an earlier sequence are stale. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/branch/{branch}/reviews", tag = "reviews",
    params(("repo" = String, Path), ("branch" = String, Path),
        ("at" = Option<i64>, Query, description = "Only those of exactly this sequence"),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "The id of the last review seen")),
    responses((status = 200, body = Vec<Review>), Ordinary, InRepo))]
pub(crate) async fn list_reviews(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(branch): PathName,
    params: Params,
) -> ApiResult<Response> {
    let query = ReviewQuery { at: params.integer("at")?, after: params.cursor()?, limit: params.limit()? };
    json_array(state.operations.list_reviews(&reader, &branch, query).await?.rows()).await
}

/// Comment on a file of a branch, on lines of it, or reply in a thread. Writers.
#[utoipa::path(post, path = "/repos/{repo}/-/comment", tag = "reviews", request_body = CreateCommentRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = CreateCommentResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn create_comment(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<REVIEWS>,
    body: JsonBody<CreateCommentRequest>,
) -> ApiResult<(StatusCode, Json<CreateCommentResponse>)> {
    let created = state.operations.create_comment(&writer, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the comments on a branch, oldest first. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/branch/{branch}/comments", tag = "reviews",
    params(("repo" = String, Path), ("branch" = String, Path),
        ("path" = Option<String>, Query, description = "Only those on this file"),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "The id of the last comment seen")),
    responses((status = 200, body = Vec<ReviewComment>), Ordinary, InRepo))]
pub(crate) async fn list_comments(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(branch): PathName,
    params: Params,
) -> ApiResult<Response> {
    let path = params.text("path").map(str::to_owned);
    let query = CommentQuery { path, after: params.cursor()?, limit: params.limit()? };
    json_array(state.operations.list_comments(&reader, &branch, query).await?.rows()).await
}

/// Resolve the thread of a comment, or open it again; answers the first comment of the thread. Writers.
#[utoipa::path(patch, path = "/repos/{repo}/-/comment/{id}", tag = "reviews", request_body = UpdateCommentRequest,
    params(("repo" = String, Path), ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = ReviewComment), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn update_comment(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<REVIEWS>,
    PathName(id): PathName,
    body: JsonBody<UpdateCommentRequest>,
) -> ApiResult<Json<ReviewComment>> {
    Ok(Json(state.operations.update_comment(&writer, body.key.as_ref(), &id, &body.value).await?))
}

/// Delete a comment; replies to it stay. Its author, and maintainers.
#[utoipa::path(delete, path = "/repos/{repo}/-/comment/{id}", tag = "reviews",
    params(("repo" = String, Path), ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn delete_comment(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<REVIEWS>,
    PathName(id): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.delete_comment(&writer, body.key.as_ref(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
