use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use docstore_models::{Branch, CreateBranchRequest, CreateBranchResponse, UpdateBranchRequest, UpdateBranchResponse};
use docstore_operations::{BranchQuery, branch_etag};
use docstore_service::Json;

use crate::{
    api::{
        refusals::{InRepo, OfBody, OfChange, OfCondition, Ordinary},
        shapes::BranchesAnswer,
    },
    error::{ApiError, ApiResult},
    extract::{
        Condition, JsonBody, NoBody, Params, PathName, RepoMaintainer, RepoReader, RepoWriter,
        needs::{CONTENTS, MERGE, READ},
    },
    respond::{Caching, tag},
    sdk::{is_go_sdk, list_for},
    state::AppState,
};

/// Create a branch at the head of `main`. Maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/branch", tag = "branches", request_body = CreateBranchRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = CreateBranchResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn create_branch(
    State(state): State<AppState>,
    RepoMaintainer(maintainer): RepoMaintainer<CONTENTS>,
    body: JsonBody<CreateBranchRequest>,
) -> ApiResult<(StatusCode, Json<CreateBranchResponse>)> {
    let created = state.operations.create_branch(&maintainer, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the branches, by name. Drafts only when asked for. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/branches", tag = "branches",
    params(("repo" = String, Path),
        ("status" = Option<String>, Query, description = "`active`, `merged` or `abandoned`; all when absent"),
        ("draft" = Option<bool>, Query, description = "`true`: only drafts"),
        ("include_draft" = Option<bool>, Query, description = "`true`: drafts as well"),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "Only names behind this one")),
    responses((status = 200, body = BranchesAnswer), Ordinary, InRepo))]
pub(crate) async fn list_branches(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    headers: HeaderMap,
    params: Params,
) -> ApiResult<Response> {
    let query = BranchQuery {
        status: params.text("status").map(str::parse).transpose().map_err(ApiError::bad_request)?,
        only_drafts: params.switch("draft"),
        include_drafts: params.switch("include_draft"),
        after: params.text("after").unwrap_or_default().to_owned(),
        limit: params.limit()?,
    };
    let branches = state.operations.list_branches(&reader, &query).await?;
    Ok(list_for(is_go_sdk(&headers), "branches", branches))
}

/// Get a branch. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/branch/{branch}", tag = "branches",
    params(("repo" = String, Path), ("branch" = String, Path)),
    responses((status = 200, body = Branch, headers(("ETag" = String))), Ordinary, InRepo))]
pub(crate) async fn get_branch(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(branch): PathName,
) -> ApiResult<Response> {
    let branch = state.operations.branch(&reader, &branch).await?;
    // For `If-Match` only: this tag of the contract stays the same when a flag or the base changes, so an
    // `If-None-Match` with it must not be answered with 304.
    let etag = branch_etag(&branch);
    let mut response = Json(branch).into_response();
    tag(&mut response, &etag, Caching::Revalidate);
    Ok(response)
}

/// Set or clear the draft flag of a branch. Writers.
#[utoipa::path(patch, path = "/repos/{repo}/-/branch/{branch}", tag = "branches", request_body = UpdateBranchRequest,
    params(("repo" = String, Path), ("branch" = String, Path),
        ("If-Match" = Option<String>, Header, description = "412 when the head has moved"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = UpdateBranchResponse), Ordinary, InRepo, OfBody, OfChange, OfCondition))]
pub(crate) async fn update_branch(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<CONTENTS>,
    Condition(condition): Condition,
    PathName(branch): PathName,
    body: JsonBody<UpdateBranchRequest>,
) -> ApiResult<Json<UpdateBranchResponse>> {
    let draft = body.value.draft;
    Ok(Json(state.operations.set_draft(&writer, body.key.as_ref(), &branch, draft, condition.as_ref()).await?))
}

/// Abandon a branch. It stays readable until it is purged. Maintainers.
#[utoipa::path(delete, path = "/repos/{repo}/-/branch/{branch}", tag = "branches",
    params(("repo" = String, Path), ("branch" = String, Path),
        ("If-Match" = Option<String>, Header, description = "412 when the head has moved"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange, OfCondition))]
pub(crate) async fn delete_branch(
    State(state): State<AppState>,
    RepoMaintainer(maintainer): RepoMaintainer<CONTENTS>,
    Condition(condition): Condition,
    PathName(branch): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.delete_branch(&maintainer, body.key.as_ref(), &branch, condition.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask for a branch to be merged by itself as soon as that is allowed. Writers.
#[utoipa::path(post, path = "/repos/{repo}/-/branch/{branch}/auto-merge", tag = "branches",
    params(("repo" = String, Path), ("branch" = String, Path),
        ("If-Match" = Option<String>, Header, description = "412 when the head has moved"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange, OfCondition))]
pub(crate) async fn enable_auto_merge(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<MERGE>,
    Condition(condition): Condition,
    PathName(branch): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.set_auto_merge(&writer, body.key.as_ref(), &branch, true, condition.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take back the wish to merge by itself. Writers.
#[utoipa::path(delete, path = "/repos/{repo}/-/branch/{branch}/auto-merge", tag = "branches",
    params(("repo" = String, Path), ("branch" = String, Path),
        ("If-Match" = Option<String>, Header, description = "412 when the head has moved"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange, OfCondition))]
pub(crate) async fn disable_auto_merge(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<MERGE>,
    Condition(condition): Condition,
    PathName(branch): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.set_auto_merge(&writer, body.key.as_ref(), &branch, false, condition.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
