use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use docstore_service::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::refusals::Unavailable,
    error::{ApiError, ApiResult},
    state::AppState,
};

/// A state in one word.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the process runs. Does not touch the database.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether the process can serve: the database and the blob store answer.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()),
    responses((status = 200, body = Health), Unavailable))]
pub(crate) async fn readyz(State(state): State<AppState>) -> ApiResult<Json<Health>> {
    state.operations.check_ready().await?;
    Ok(Json(Health { status: "ok" }))
}

/// Metrics for Prometheus, as text.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(crate) async fn metrics() -> Response {
    docstore_service::telemetry::metrics_response()
}

/// What discovery says about logging in.
#[derive(Serialize, ToSchema)]
pub(crate) struct Discovery {
    /// `{"type":"none"}`, `{"type":"oauth","client_id"}` or `{"type":"iap","client_id"}`.
    #[schema(value_type = Object)]
    auth: serde_json::Value,
}

/// How clients log in here.
#[utoipa::path(get, path = "/.well-known/ds-config", tag = "operation", security(()),
    responses((status = 200, body = Discovery)))]
pub(crate) async fn ds_config(State(state): State<AppState>) -> ApiResult<Response> {
    Ok(Json(state.authenticator.discovery()).into_response())
}

/// The root: people are shown the API, programs are told where it is.
pub(crate) async fn index(headers: HeaderMap) -> Response {
    if wants_html(&headers) {
        return Redirect::temporary("/docs/").into_response();
    }
    Json(serde_json::json!({
        "name": "docstore",
        "version": env!("CARGO_PKG_VERSION"),
        "openapi": "/openapi.json",
        "docs": "/docs/",
    }))
    .into_response()
}

/// The description of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", security(()),
    responses((status = 200, content_type = "application/json", body = Object)))]
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], crate::api::document_json()).into_response()
}

pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Nothing is here.
pub(crate) async fn not_found() -> ApiError {
    ApiError::new(docstore_models::ErrorCode::NotFound, "not found")
}

/// Something is here, but not for this method.
pub(crate) async fn method_not_allowed() -> ApiError {
    ApiError::new(docstore_models::ErrorCode::MethodNotAllowed, "method not allowed")
}

/// The answer to a path that is not text.
pub(crate) fn malformed_path() -> Response {
    ApiError::bad_request("the path is not valid UTF-8, or holds a NUL, or has too many segments").into_response()
}

/// The answer to a path with empty, `.` or `..` segments.
pub(crate) fn clean_redirect(location: &str) -> Response {
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    if let Ok(location) = location.parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
