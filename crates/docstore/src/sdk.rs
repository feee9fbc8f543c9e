//! The one place where the answer depends on the client: the Go SDK expects some lists inside an object, where every
//! other client expects a bare array (contract, server §10.2).

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use docstore_service::Json;
use serde::Serialize;

/// Whether the client is the Go SDK.
pub(crate) fn is_go_sdk(headers: &HeaderMap) -> bool {
    headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.starts_with("docstore-go-sdk/"))
}

/// A list as the client expects it: in an object under the key given, or bare.
pub(crate) fn list_for<T: Serialize>(go_sdk: bool, key: &'static str, list: Vec<T>) -> Response {
    let response = if go_sdk {
        Json(std::collections::BTreeMap::from([(key, list)])).into_response()
    } else {
        Json(list).into_response()
    };
    varied(response)
}

/// Tells caches that the answer depends on the client.
pub(crate) fn varied(mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("user-agent"));
    response
}
