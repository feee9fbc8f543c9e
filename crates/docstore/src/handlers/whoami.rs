use axum::extract::State;
use docstore_models::{AuditPage, RightList, Whoami};
use docstore_service::Json;

use crate::{
    api::refusals::{Forbidden, InRepo, OfCaller, Ordinary},
    error::ApiResult,
    extract::{Anybody, Authenticated, Params, RepoAdmin, needs::ADMIN},
    state::AppState,
};

/// Who the caller is, with whatever credential, and what a token is good for.
#[utoipa::path(get, path = "/whoami", tag = "operation", responses((status = 200, body = Whoami), OfCaller))]
pub(crate) async fn whoami(State(state): State<AppState>, Anybody(caller): Anybody) -> ApiResult<Json<Whoami>> {
    Ok(Json(state.operations.whoami(&caller).await?))
}

/// The repos in which the caller has a role, by name, with what gives it and what a token cuts off.
#[utoipa::path(get, path = "/whoami/rights", tag = "operation",
    params(("limit" = Option<i64>, Query, description = "At most so many; 100 when absent"),
        ("after" = Option<String>, Query, description = "Only repos behind this name")),
    responses((status = 200, body = RightList), Ordinary))]
pub(crate) async fn list_rights(
    State(state): State<AppState>,
    Anybody(caller): Anybody,
    params: Params,
) -> ApiResult<Json<RightList>> {
    let after = params.text("after").unwrap_or_default();
    Ok(Json(RightList { rights: state.operations.list_rights(&caller, after, params.limit()?).await? }))
}

/// The audit trail of the server, newest first: logins, tokens, agents, roles, members, overrides. The global admin.
#[utoipa::path(get, path = "/audit", tag = "audit",
    params(("limit" = Option<i64>, Query, description = "At most so many; 100 when absent, 1000 at most"),
        ("after" = Option<i64>, Query, description = "The position of the last event seen")),
    responses((status = 200, body = AuditPage), Ordinary, Forbidden))]
pub(crate) async fn audit(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    params: Params,
) -> ApiResult<Json<AuditPage>> {
    let admin = state.operations.global_admin(&caller)?;
    Ok(Json(state.operations.audit(&admin, params.integer("after")?, params.limit()?).await?))
}

/// The audit trail of a repo, newest first. Admins.
#[utoipa::path(get, path = "/repos/{repo}/-/audit", tag = "audit",
    params(("repo" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent, 1000 at most"),
        ("after" = Option<i64>, Query, description = "The position of the last event seen")),
    responses((status = 200, body = AuditPage), Ordinary, InRepo))]
pub(crate) async fn repo_audit(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin<ADMIN>,
    params: Params,
) -> ApiResult<Json<AuditPage>> {
    Ok(Json(state.operations.repo_audit(&admin, params.integer("after")?, params.limit()?).await?))
}
