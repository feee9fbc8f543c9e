//! Refusals as answers. The sentence is for people, the code for programs; the inside story of a 500 goes to the log.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use docstore_auth::Refusal;
use docstore_models::{ErrorBody, ErrorCode};
use docstore_operations::Error;
use docstore_service::{BodyError, Json, RequestFacts};

/// After how many seconds a client may try again what failed because something was away.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Error);

/// What handlers return.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Error::refused(code, message))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self(Error::bad_request(message))
    }
}

impl<E: Into<Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// A caller who is not let in.
pub(crate) fn refused(refusal: Refusal) -> ApiError {
    ApiError::new(refusal.code(), refusal.message())
}

/// A body that could not be read.
pub(crate) fn unreadable(error: BodyError) -> ApiError {
    ApiError::new(error.code(), error.to_string())
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.0.code();
        // Whatever limit or rule refused, it shows here under the code that the client got.
        metrics::counter!("docstore_refusals_total", "code" => code.as_str()).increment(1);
        let message = self.0.to_string();
        let (error, requirements) = match self.0 {
            Error::Explained(error, requirements) => (*error, requirements),
            other => (other, Vec::new()),
        };
        let mut body = ErrorBody {
            code,
            error: message,
            request_id: RequestFacts::current().map(|facts| facts.request_id().to_owned()),
            conflicts: Vec::new(),
            policies: Vec::new(),
            requirements,
            missing: Vec::new(),
            obliterated: Vec::new(),
            head_sequence: None,
        };
        match error {
            Error::Conflicts(conflicts) => body.conflicts = conflicts,
            Error::ContentMissing(missing) => body.missing = missing,
            Error::ContentObliterated(mark) => body.obliterated = vec![*mark],
            Error::ContentRefused { obliterated, .. } => body.obliterated = obliterated,
            Error::HeadMoved { head_sequence, .. } => body.head_sequence = Some(head_sequence),
            Error::Unavailable(what, cause) => {
                tracing::warn!(what, error = &*cause as &(dyn std::error::Error + 'static), "dependency unavailable");
            }
            Error::OutcomeUnknown(cause) => {
                tracing::error!(error = &*cause as &(dyn std::error::Error + 'static), "outcome of a commit unknown");
                body.error.push_str("; send the same request again with the same Idempotency-Key to find out");
            }
            Error::Internal(cause) => {
                tracing::error!(error = &*cause as &(dyn std::error::Error + 'static), "internal error");
            }
            Error::Corrupt(damage) => {
                tracing::error!(error = &damage as &(dyn std::error::Error + 'static), "stored content is damaged");
            }
            Error::PolicyDenied(denial) => {
                body.policies = denial.policies;
                body.requirements = denial.requirements;
            }
            Error::PolicyFailed(why) => tracing::warn!(why, "a policy came to no decision"),
            Error::Refused { .. } | Error::Explained(..) => {}
        }
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}
