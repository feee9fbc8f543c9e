use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use docstore_models::{
    CreateInviteRequest, CreateInviteResponse, OrgInviteList, OrgMember, OrgMemberList, SetMemberRequest,
};
use docstore_service::Json;

use crate::{
    api::refusals::{Forbidden, Gone, NotFound, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{
        Authenticated, JsonBody, NoBody, Params,
        needs::{ADMIN, LOGIN, READ},
    },
    state::AppState,
};

/// List the members of an org, by identity. Members of the org, and the global admin.
#[utoipa::path(get, path = "/orgs/{org}/members", tag = "orgs",
    params(("org" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "Only identities behind this one")),
    responses((status = 200, body = OrgMemberList), Ordinary, Forbidden, NotFound))]
pub(crate) async fn list_members(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    Path(org): Path<String>,
    params: Params,
) -> ApiResult<Json<OrgMemberList>> {
    let org = state.operations.org_reader(&caller, &org).await?;
    let (after, limit) = (params.text("after").unwrap_or_default(), params.limit()?);
    Ok(Json(OrgMemberList { members: state.operations.list_members(&org, after, limit).await? }))
}

/// Make somebody a member or owner of an org, or change which. Owners of the org, and the global admin.
#[utoipa::path(post, path = "/orgs/{org}/members/{identity}", tag = "orgs", request_body = SetMemberRequest,
    params(("org" = String, Path), ("identity" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = OrgMember), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn set_member(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    Path((org, identity)): Path<(String, String)>,
    body: JsonBody<SetMemberRequest>,
) -> ApiResult<Json<OrgMember>> {
    // An owner who has stepped down is none any more, and may still ask whether it worked.
    if let Some(answer) = state.operations.answered(&caller, body.key.as_ref()).await? {
        return Ok(Json(answer));
    }
    let owner = state.operations.org_owner(&caller, &org).await?;
    Ok(Json(state.operations.set_member(&owner, body.key.as_ref(), &identity, &body.value.role).await?))
}

/// Remove somebody from an org. Owners of the org, and the global admin.
#[utoipa::path(delete, path = "/orgs/{org}/members/{identity}", tag = "orgs",
    params(("org" = String, Path), ("identity" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn delete_member(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    Path((org, identity)): Path<(String, String)>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    // An owner who has left is none any more, and may still ask whether it worked.
    if state.operations.was_done(&caller, body.key.as_ref()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let owner = state.operations.org_owner(&caller, &org).await?;
    state.operations.delete_member(&owner, body.key.as_ref(), &identity).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Invite somebody into an org. The answer is the only time that the token is shown; sent again with its key, the same request
/// is answered with a new token of the same invitation. Owners of the org, and the global admin.
#[utoipa::path(post, path = "/orgs/{org}/invites", tag = "orgs", request_body = CreateInviteRequest,
    params(("org" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = CreateInviteResponse), Ordinary, Forbidden, NotFound, OfBody, OfChange, Gone))]
pub(crate) async fn create_invite(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    Path(org): Path<String>,
    body: JsonBody<CreateInviteRequest>,
) -> ApiResult<(StatusCode, Json<CreateInviteResponse>)> {
    let owner = state.operations.org_owner(&caller, &org).await?;
    let created = state.operations.create_invite(&owner, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the invitations into an org that can still be accepted, oldest first. Owners of the org, and the global admin.
#[utoipa::path(get, path = "/orgs/{org}/invites", tag = "orgs",
    params(("org" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "The id of the last invitation seen")),
    responses((status = 200, body = OrgInviteList), Ordinary, Forbidden, NotFound))]
pub(crate) async fn list_invites(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    Path(org): Path<String>,
    params: Params,
) -> ApiResult<Json<OrgInviteList>> {
    let owner = state.operations.org_owner(&caller, &org).await?;
    let (after, limit) = (params.cursor()?, params.limit()?);
    Ok(Json(OrgInviteList { invites: state.operations.list_invites(&owner, after, limit).await? }))
}

/// Accept an invitation by its token. Whoever it is for.
#[utoipa::path(post, path = "/orgs/{org}/invites/{invite}/accept", tag = "orgs",
    params(("org" = String, Path), ("invite" = String, Path, description = "The token"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange, Gone))]
pub(crate) async fn accept_invite(
    State(state): State<AppState>,
    // For persons: no token of somebody makes them a member of more.
    Authenticated(caller): Authenticated<LOGIN>,
    Path((org, token)): Path<(String, String)>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.accept_invite(&caller, body.key.as_ref(), &org, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take an invitation back. Owners of the org, and the global admin.
#[utoipa::path(delete, path = "/orgs/{org}/invites/{invite}", tag = "orgs",
    params(("org" = String, Path), ("invite" = String, Path, description = "The id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn delete_invite(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<ADMIN>,
    Path((org, id)): Path<(String, String)>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    let owner = state.operations.org_owner(&caller, &org).await?;
    state.operations.delete_invite(&owner, body.key.as_ref(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
