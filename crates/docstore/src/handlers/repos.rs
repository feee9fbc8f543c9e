use axum::{extract::State, http::StatusCode};
use docstore_models::{CreateRepoRequest, PurgeRequest, PurgeResponse, Repo, RepoList};
use docstore_service::Json;

use crate::{
    api::refusals::{Forbidden, InRepo, NotFound, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{
        Authenticated, JsonBody, NoBody, Params, RepoAdmin, RepoCaller, RepoName,
        needs::{ADMIN, READ},
    },
    state::AppState,
};

/// Create a repo. The caller becomes its admin. Members of the org may.
#[utoipa::path(post, path = "/repos", tag = "repos", request_body = CreateRepoRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = Repo), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn create_repo(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    body: JsonBody<CreateRepoRequest>,
) -> ApiResult<(StatusCode, Json<Repo>)> {
    let repo = state.operations.create_repo(&caller, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(repo)))
}

/// List the repos, by name.
#[utoipa::path(get, path = "/repos", tag = "repos",
    params(("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "Only names behind this one")),
    responses((status = 200, body = RepoList), Ordinary, Forbidden))]
pub(crate) async fn list_repos(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    params: Params,
) -> ApiResult<Json<RepoList>> {
    let after = params.text("after").unwrap_or_default();
    Ok(Json(RepoList { repos: state.operations.list_repos(&caller, after, params.limit()?).await? }))
}

/// Get a repo.
#[utoipa::path(get, path = "/repos/{repo}", tag = "repos",
    params(("repo" = String, Path, description = "The full name; slashes may be sent as they are")),
    responses((status = 200, body = Repo), Ordinary, Forbidden, NotFound))]
pub(crate) async fn get_repo(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<READ>,
    RepoName(repo): RepoName,
) -> ApiResult<Json<Repo>> {
    Ok(Json(state.operations.repo(&caller, &repo).await?))
}

/// Delete a repo. Its admins, and the global admin.
#[utoipa::path(delete, path = "/repos/{repo}", tag = "repos",
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn delete_repo(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<ADMIN>,
    RepoName(repo): RepoName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    if state.operations.was_done(&caller, body.key.as_ref()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let admin = state.operations.repo_deleter(&caller, &repo).await?;
    state.operations.delete_repo(&admin, body.key.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete merged and abandoned branches of a certain age, and what nothing points at afterwards. Admins.
#[utoipa::path(post, path = "/repos/{repo}/-/purge", tag = "repos", request_body = PurgeRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = PurgeResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn purge(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin<ADMIN>,
    body: JsonBody<PurgeRequest>,
) -> ApiResult<Json<PurgeResponse>> {
    Ok(Json(state.operations.purge(&admin, body.key.as_ref(), &body.value).await?))
}
