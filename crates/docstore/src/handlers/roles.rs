use axum::{extract::State, http::StatusCode};
use docstore_models::{RoleAssignment, RoleList, SetRoleRequest};
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{JsonBody, NoBody, Params, PathName, RepoAdmin, RepoCaller, RepoName, needs::ADMIN},
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
    RepoAdmin(admin): RepoAdmin<ADMIN>,
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
    RepoCaller(caller): RepoCaller<ADMIN>,
    RepoName(repo): RepoName,
    PathName(identity): PathName,
    body: JsonBody<SetRoleRequest>,
) -> ApiResult<Json<RoleAssignment>> {
    // An admin who has stepped down is none any more, and may still ask whether it worked.
    if let Some(answer) = state.operations.answered(&caller, body.key.as_ref()).await? {
        return Ok(Json(answer));
    }
    let admin = state.operations.access(&caller, &repo).await?.try_into()?;
    Ok(Json(state.operations.set_role(&admin, body.key.as_ref(), &identity, &body.value.role).await?))
}

/// Take an identity's explicit role away. Admins.
#[utoipa::path(delete, path = "/repos/{repo}/-/roles/{identity}", tag = "roles",
    params(("repo" = String, Path), ("identity" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn delete_role(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<ADMIN>,
    RepoName(repo): RepoName,
    PathName(identity): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    // An admin who has left is none any more, and may still ask whether it worked.
    if state.operations.was_done(&caller, body.key.as_ref()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let admin = state.operations.access(&caller, &repo).await?.try_into()?;
    state.operations.delete_role(&admin, body.key.as_ref(), &identity).await?;
    Ok(StatusCode::NO_CONTENT)
}
