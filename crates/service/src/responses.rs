//! Refusals in the one envelope (contract, server §0.2).

use axum::response::Response;
use docstore_models::{ErrorBody, ErrorCode};
use http::StatusCode;

use crate::{
    RequestFacts,
    wire_json::{json_response, wire_json},
};

/// A refusal: the code's status, and `{"code":"...","error":"...","request_id":"..."}`.
///
/// Without a request id the one of the request that is being handled is used, if [`crate::observe`] wraps the router.
#[must_use]
pub fn error_response(code: ErrorCode, message: &str, request_id: Option<&str>) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error_response_with_status(status, code, message, request_id)
}

/// A refusal whose status is not the code's own, such as 431, for which the contract has no code.
pub(crate) fn error_response_with_status(
    status: StatusCode,
    code: ErrorCode,
    message: &str,
    request_id: Option<&str>,
) -> Response {
    let request_id =
        request_id.map(str::to_owned).or_else(|| RequestFacts::current().map(|facts| facts.request_id().to_owned()));
    let body = ErrorBody {
        code,
        error: message.to_owned(),
        request_id,
        conflicts: Vec::new(),
        policies: Vec::new(),
        requirements: Vec::new(),
        missing: Vec::new(),
        obliterated: Vec::new(),
        head_sequence: None,
    };
    // Strings and numbers always serialise; an empty body would still carry the status.
    json_response(status, wire_json(&body).unwrap_or_default())
}

/// The answer to a defect of ours: the story goes to the log, the client gets the id under which it is there.
#[must_use]
pub fn internal_error(error: &(dyn std::error::Error + 'static)) -> Response {
    tracing::error!(error, "internal error");
    error_response(ErrorCode::InternalError, "internal server error", None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_envelope() {
        let response = error_response(ErrorCode::RepoNotFound, "repo not found", Some("r-1"));
        assert_eq!(response.status(), 404);
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        insta::assert_snapshot!(
            std::str::from_utf8(&body).unwrap(),
            @r#"{"code":"REPO_NOT_FOUND","error":"repo not found","request_id":"r-1"}"#
        );
    }
}
