use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use docstore_models::{CreateTokenRequest, CreatedToken, ErrorCode, TokenList};
use docstore_operations::Whose;
use docstore_service::Json;

use crate::{
    api::refusals::{Forbidden, NotFound, OfBody, OfChange, Ordinary},
    error::{ApiError, ApiResult},
    extract::{Authenticated, JsonBody, NoBody, Params, needs::LOGIN},
    state::AppState,
};

/// Whose tokens or agents are asked for.
pub(crate) fn whose(params: &Params) -> Whose<'_> {
    match params.text("owner") {
        Some(owner) => Whose::Of(owner),
        None if params.switch("all") => Whose::All,
        None => Whose::Own,
    }
}

/// Make an API token of the caller. Takes a login; no API token makes another one.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = CreateTokenRequest,
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Sent again, the same request has one effect; the secret is told the first time only")),
    responses((status = 201, body = CreatedToken), Ordinary, Forbidden, OfBody, OfChange))]
pub(crate) async fn create_token(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<LOGIN>,
    body: JsonBody<CreateTokenRequest>,
) -> ApiResult<Response> {
    let created = state.operations.create_token(&caller, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(created)).into_response())
}

/// List the caller's API tokens, oldest first; those of others for the global admin.
#[utoipa::path(get, path = "/tokens", tag = "tokens",
    params(("owner" = Option<String>, Query, description = "Those of somebody else"),
        ("all" = Option<bool>, Query, description = "Those of everybody"),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent"),
        ("after" = Option<String>, Query, description = "The id of the last one seen")),
    responses((status = 200, body = TokenList), Ordinary, Forbidden))]
pub(crate) async fn list_tokens(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<LOGIN>,
    params: Params,
) -> ApiResult<Json<TokenList>> {
    let tokens = state.operations.list_tokens(&caller, whose(&params), params.cursor()?, params.limit()?).await?;
    Ok(Json(TokenList { tokens }))
}

/// Revoke an API token: its owner, and the global admin. It opens nothing from then on.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn revoke_token(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<LOGIN>,
    Path(id): Path<String>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    let id = id.parse().map_err(|_| ApiError::new(ErrorCode::NotFound, "token not found"))?;
    state.operations.revoke_token(&caller, body.key.as_ref(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}
