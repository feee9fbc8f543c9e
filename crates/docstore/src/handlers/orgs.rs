use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use docstore_models::{CreateOrgRequest, Org, OrgList, RepoList};
use docstore_service::Json;

use crate::{
    api::refusals::{Forbidden, NotFound, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{
        Authenticated, JsonBody, NoBody, Params,
        needs::{ADMIN, READ},
    },
    state::AppState,
};

/// Create an org. The caller becomes its owner.
#[utoipa::path(post, path = "/orgs", tag = "orgs", request_body = CreateOrgRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = Org), Ordinary, Forbidden, OfBody, OfChange))]
pub(crate) async fn create_org(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    body: JsonBody<CreateOrgRequest>,
) -> ApiResult<(StatusCode, Json<Org>)> {
    let org = state.operations.create_org(&caller, body.key.as_ref(), &body.value.name).await?;
    Ok((StatusCode::CREATED, Json(org)))
}

/// List the orgs, by name.
#[utoipa::path(get, path = "/orgs", tag = "orgs",
    params(("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "Only names behind this one")),
    responses((status = 200, body = OrgList), Ordinary, Forbidden))]
pub(crate) async fn list_orgs(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    params: Params,
) -> ApiResult<Json<OrgList>> {
    let after = params.text("after").unwrap_or_default();
    Ok(Json(OrgList { orgs: state.operations.list_orgs(&caller, after, params.limit()?).await? }))
}

/// Get an org.
#[utoipa::path(get, path = "/orgs/{org}", tag = "orgs", params(("org" = String, Path)),
    responses((status = 200, body = Org), Ordinary, Forbidden, NotFound))]
pub(crate) async fn get_org(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    Path(org): Path<String>,
) -> ApiResult<Json<Org>> {
    Ok(Json(state.operations.org(&caller, &org).await?))
}

/// Delete an org that has no repos. Owners of the org, and the global admin.
#[utoipa::path(delete, path = "/orgs/{org}", tag = "orgs",
    params(("org" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn delete_org(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    Path(org): Path<String>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    if state.operations.was_done(&caller, body.key.as_ref()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let owner = state.operations.org_owner(&caller, &org).await?;
    state.operations.delete_org(&owner, body.key.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the repos of an org, by name.
#[utoipa::path(get, path = "/orgs/{org}/repos", tag = "orgs",
    params(("org" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "Only names behind this one")),
    responses((status = 200, body = RepoList), Ordinary, Forbidden, NotFound))]
pub(crate) async fn list_org_repos(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    Path(org): Path<String>,
    params: Params,
) -> ApiResult<Json<RepoList>> {
    let after = params.text("after").unwrap_or_default();
    Ok(Json(RepoList { repos: state.operations.list_org_repos(&caller, &org, after, params.limit()?).await? }))
}
