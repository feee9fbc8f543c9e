use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use docstore_models::{AgentList, CreateAgentRequest, CreatedAgent, ErrorCode};
use docstore_service::Json;

use crate::{
    api::refusals::{Forbidden, NotFound, OfBody, OfChange, Ordinary},
    error::{ApiError, ApiResult},
    extract::{Authenticated, JsonBody, NoBody, Params, needs::LOGIN},
    handlers::tokens::whose,
    state::AppState,
};

/// Make an agent of the caller, with its token. Takes a login.
#[utoipa::path(post, path = "/agents", tag = "agents", request_body = CreateAgentRequest,
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Sent again, the same request has one effect; the secret is told the first time only")),
    responses((status = 201, body = CreatedAgent), Ordinary, Forbidden, OfBody, OfChange))]
pub(crate) async fn create_agent(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<LOGIN>,
    body: JsonBody<CreateAgentRequest>,
) -> ApiResult<Response> {
    let created = state.operations.create_agent(&caller, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(created)).into_response())
}

/// List the caller's agents, oldest first; those of others for the global admin.
#[utoipa::path(get, path = "/agents", tag = "agents",
    params(("owner" = Option<String>, Query, description = "Those of somebody else"),
        ("all" = Option<bool>, Query, description = "Those of everybody"),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent"),
        ("after" = Option<String>, Query, description = "The id of the last one seen")),
    responses((status = 200, body = AgentList), Ordinary, Forbidden))]
pub(crate) async fn list_agents(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<LOGIN>,
    params: Params,
) -> ApiResult<Json<AgentList>> {
    let agents = state.operations.list_agents(&caller, whose(&params), params.cursor()?, params.limit()?).await?;
    Ok(Json(AgentList { agents }))
}

/// Revoke an agent: its owner, and the global admin. What it did stays.
#[utoipa::path(delete, path = "/agents/{id}", tag = "agents",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn revoke_agent(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<LOGIN>,
    Path(id): Path<String>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    let id = id.parse().map_err(|_| ApiError::new(ErrorCode::NotFound, "agent not found"))?;
    state.operations.revoke_agent(&caller, body.key.as_ref(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}
