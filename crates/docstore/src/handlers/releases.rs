use axum::{extract::State, http::StatusCode, response::Response};
use docstore_models::{CreateReleaseRequest, Release, ReleaseList};
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{
        JsonBody, NoBody, Params, PathName, RepoAdmin, RepoMaintainer, RepoReader,
        needs::{READ, RELEASES},
    },
    respond::json_list,
    state::AppState,
};

/// Name a sequence for ever. Maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/releases", tag = "releases", request_body = CreateReleaseRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = Release), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn create_release(
    State(state): State<AppState>,
    RepoMaintainer(maintainer): RepoMaintainer<RELEASES>,
    body: JsonBody<CreateReleaseRequest>,
) -> ApiResult<(StatusCode, Json<Release>)> {
    let release = state.operations.create_release(&maintainer, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(release)))
}

/// List the releases, newest first. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/releases", tag = "releases",
    params(("repo" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent"),
        ("after" = Option<String>, Query, description = "The id of the last release seen")),
    responses((status = 200, body = ReleaseList), Ordinary, InRepo))]
pub(crate) async fn list_releases(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Response> {
    let releases = state.operations.list_releases(&reader, params.cursor()?, params.limit()?).await?;
    json_list("releases", releases).await
}

/// Get a release. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/releases/{name}", tag = "releases",
    params(("repo" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Release), Ordinary, InRepo))]
pub(crate) async fn get_release(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(name): PathName,
) -> ApiResult<Json<Release>> {
    Ok(Json(state.operations.release(&reader, &name).await?))
}

/// Delete a release. Admins.
#[utoipa::path(delete, path = "/repos/{repo}/-/releases/{name}", tag = "releases",
    params(("repo" = String, Path), ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn delete_release(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin<RELEASES>,
    PathName(name): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.delete_release(&admin, body.key.as_ref(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
