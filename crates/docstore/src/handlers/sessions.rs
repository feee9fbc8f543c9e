//! Browser sessions, for those whose they are. They begin in `login.rs`.

use axum::{extract::State, http::StatusCode};

use crate::{
    api::refusals::{Forbidden, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{Authenticated, NoBody, Params, needs::LOGIN},
    state::AppState,
};

/// End all browser sessions of the caller; those of somebody else for the global admin. Their cookies are good for nothing
/// from then on, and their streams end. API tokens stay. Additive.
#[utoipa::path(delete, path = "/sessions", tag = "login",
    params(("identity" = Option<String>, Query, description = "Those of somebody else"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, OfBody, OfChange))]
pub(crate) async fn end_sessions(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<LOGIN>,
    params: Params,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.end_sessions(&caller, body.key.as_ref(), params.text("identity")).await?;
    Ok(StatusCode::NO_CONTENT)
}
