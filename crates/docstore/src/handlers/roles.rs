use axum::{extract::State, http::StatusCode};
use docstore_models::{RoleAssignment, RoleList, SetRoleRequest};
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{JsonBody, NoBody, Params, PathName, RepoAdmin},
    state::AppState,
};

/// List the explicit roles of a repo, by identity. Admins.
#[utoipa::path(get, path = "/repos/{repo}/-/roles", tag = "roles",
    params(("repo" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "Only identities behind this one")),
    responses((status = 200, body = RoleList), Ordinary, InRepo))]
pub(crate) async fn list_roles(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin,
    params: Params,
) -> ApiResult<Json<RoleList>> {
    let after = params.text("after").unwrap_or_default();
    Ok(Json(RoleList { roles: state.operations.list_roles(&admin, after, params.limit()?).await? }))
}

/// Give an identity a role, or change it. Admins.
#[utoipa::path(put, path = "/repos/{repo}/-/roles/{identity}", tag = "roles", request_body = SetRoleRequest,
    params(("repo" = String, Path), ("identity" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = RoleAssignment), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn set_role(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin,
    PathName(identity): PathName,
    body: JsonBody<SetRoleRequest>,
) -> ApiResult<Json<RoleAssignment>> {
    Ok(Json(state.operations.set_role(&admin, body.key.as_ref(), &identity, &body.value.role).await?))
}

/// Take an identity's explicit role away. Admins.
#[utoipa::path(delete, path = "/repos/{repo}/-/roles/{identity}", tag = "roles",
    params(("repo" = String, Path), ("identity" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn delete_role(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin,
    PathName(identity): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.delete_role(&admin, body.key.as_ref(), &identity).await?;
    Ok(StatusCode::NO_CONTENT)
}
