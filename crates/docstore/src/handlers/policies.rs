use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use docstore_models::{
    AgentContext, MergeStatus, OrgPolicy, OrgPolicyList, ReplayRequest, ReplayResponse, SetOrgPolicyRequest,
    VerdictList, VerdictOutcome, Why,
};
use docstore_operations::VerdictQuery;
use docstore_service::Json;

use crate::{
    api::refusals::{Forbidden, InRepo, NotFound, OfBody, OfChange, Ordinary},
    error::{ApiError, ApiResult},
    extract::{
        Authenticated, JsonBody, LargeJsonBody, NoBody, Params, PathName, RepoMaintainer, RepoReader,
        needs::{ADMIN, MERGE, READ},
    },
    state::AppState,
};

/// Whether the policies let the caller merge a branch. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/branch/{branch}/status", tag = "policies",
    params(("repo" = String, Path), ("branch" = String, Path)),
    responses((status = 200, body = MergeStatus), Ordinary, InRepo))]
pub(crate) async fn merge_status(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(branch): PathName,
) -> ApiResult<Json<MergeStatus>> {
    Ok(Json(state.operations.merge_status(&reader, &branch).await?))
}

/// Everything about a branch at once. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/branch/{branch}/agent-context", tag = "policies",
    params(("repo" = String, Path), ("branch" = String, Path)),
    responses((status = 200, body = AgentContext), Ordinary, InRepo))]
pub(crate) async fn agent_context(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(branch): PathName,
) -> ApiResult<Json<AgentContext>> {
    Ok(Json(state.operations.agent_context(&reader, &branch).await?))
}

/// Why the caller cannot merge a branch, and what to do about it. Readers. Additive.
#[utoipa::path(get, path = "/repos/{repo}/-/branch/{branch}/why", tag = "policies",
    params(("repo" = String, Path), ("branch" = String, Path)),
    responses((status = 200, body = Why), Ordinary, InRepo))]
pub(crate) async fn why(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(branch): PathName,
) -> ApiResult<Json<Why>> {
    Ok(Json(state.operations.why(&reader, &branch).await?))
}

/// List what the policies decided, newest first. Readers. Additive.
#[utoipa::path(get, path = "/repos/{repo}/-/policies/verdicts", tag = "policies",
    params(("repo" = String, Path),
        ("branch" = Option<String>, Query, description = "Only those about this branch"),
        ("outcome" = Option<VerdictOutcome>, Query, description = "Only those that ended so"),
        ("limit" = Option<i64>, Query, description = "At most so many; 50 when absent"),
        ("after" = Option<String>, Query, description = "Only those before this one")),
    responses((status = 200, body = VerdictList), Ordinary, InRepo))]
pub(crate) async fn list_verdicts(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Json<VerdictList>> {
    let after = params.text("after").map(str::parse).transpose();
    let query = VerdictQuery {
        branch: params.text("branch").map(str::to_owned),
        outcome: params.text("outcome").map(str::parse).transpose().map_err(ApiError::bad_request)?,
        after: after.map_err(|_| ApiError::bad_request("invalid 'after' parameter"))?,
        limit: params.limit()?,
    };
    Ok(Json(VerdictList { verdicts: state.operations.list_verdicts(&reader, &query).await? }))
}

/// Try policies on past decisions. Changes nothing. Maintainers. Additive.
#[utoipa::path(post, path = "/repos/{repo}/-/policies/replay", tag = "policies", request_body = ReplayRequest,
    params(("repo" = String, Path)),
    responses((status = 200, body = ReplayResponse), Ordinary, InRepo, OfBody))]
pub(crate) async fn replay_policies(
    State(state): State<AppState>,
    RepoMaintainer(maintainer): RepoMaintainer<MERGE>,
    body: LargeJsonBody<ReplayRequest>,
) -> ApiResult<Json<ReplayResponse>> {
    Ok(Json(state.operations.replay_policies(&maintainer, body.value).await?))
}

/// List the policies of an org, by name. Members. Additive.
#[utoipa::path(get, path = "/orgs/{org}/policies", tag = "policies",
    params(("org" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; 20 when absent, and at most"),
        ("after" = Option<String>, Query, description = "The last name seen")),
    responses((status = 200, body = OrgPolicyList), Ordinary, Forbidden, NotFound))]
pub(crate) async fn list_org_policies(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    Path(org): Path<String>,
    params: Params,
) -> ApiResult<Json<OrgPolicyList>> {
    let reader = state.operations.org_reader(&caller, &org).await?;
    let (after, limit) = (params.text("after").unwrap_or_default(), params.limit()?);
    Ok(Json(state.operations.list_org_policies(&reader, after, limit).await?))
}

/// Set a policy that judges every repo of an org. Owners of the org, and the global admin. Additive.
#[utoipa::path(put, path = "/orgs/{org}/policies/{name}", tag = "policies", request_body = SetOrgPolicyRequest,
    params(("org" = String, Path), ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = OrgPolicy), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn set_org_policy(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    Path((org, name)): Path<(String, String)>,
    body: JsonBody<SetOrgPolicyRequest>,
) -> ApiResult<Json<OrgPolicy>> {
    let owner = state.operations.org_owner(&caller, &org).await?;
    Ok(Json(state.operations.set_org_policy(&owner, body.key.as_ref(), &name, &body.value).await?))
}

/// Delete a policy of an org. Owners of the org, and the global admin. Additive.
#[utoipa::path(delete, path = "/orgs/{org}/policies/{name}", tag = "policies",
    params(("org" = String, Path), ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn delete_org_policy(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    Path((org, name)): Path<(String, String)>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    let owner = state.operations.org_owner(&caller, &org).await?;
    state.operations.delete_org_policy(&owner, body.key.as_ref(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
