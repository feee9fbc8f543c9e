use axum::extract::State;
use docstore_models::{MergeRequest, MergeResponse, RebaseRequest, RebaseResponse};
use docstore_operations::{FileChange, RebaseChange};
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::{ApiError, ApiResult},
    extract::{
        JsonBody, LargeJsonBody, RepoMaintainer, RepoReader,
        needs::{CONTENTS, MERGE},
    },
    state::AppState,
};

/// Merge a branch into `main`. Maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/merge", tag = "branches", request_body = MergeRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = MergeResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn merge(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<MERGE>,
    body: Result<JsonBody<MergeRequest>, ApiError>,
) -> ApiResult<Json<MergeResponse>> {
    // The right goes before the body; what the body names is explained to those who lack it.
    let branch = body.as_ref().ok().map(|body| body.value.branch.as_str());
    let maintainer = state.operations.maintainer_to_merge(reader, branch).await?;
    let body = body?;
    Ok(Json(state.operations.merge(&maintainer, body.key.as_ref(), &body.value).await?))
}

/// Rebase a branch onto the head of `main`. Maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/rebase", tag = "branches", request_body = RebaseRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = RebaseResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn rebase(
    State(state): State<AppState>,
    RepoMaintainer(maintainer): RepoMaintainer<CONTENTS>,
    body: LargeJsonBody<RebaseRequest>,
) -> ApiResult<Json<RebaseResponse>> {
    let RebaseRequest { branch, expected_head, resolutions, expected_main_head } = body.value;
    let resolutions = resolutions.into_iter().map(FileChange::from_request).collect::<Result<_, _>>()?;
    let change = RebaseChange { branch, expected_head, expected_main_head, resolutions };
    Ok(Json(state.operations.rebase(&maintainer, body.key.as_ref(), change).await?))
}
