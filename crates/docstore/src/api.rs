//! The description of the API, generated from the handlers.

use std::sync::OnceLock;

use docstore_models::ErrorBody;
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        SecurityRequirement,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// What a read may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the variants are documentation")]
pub(crate) enum ReadErrors {
    /// The request makes no sense as it is.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// No credential, or one that does not verify.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The caller may not do this, or may not know whether it exists.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// Nothing is there.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// Too many at once from one caller.
    #[response(status = 429)]
    TooMany(ErrorBody),
    /// A defect of the server, or stored bytes that do not match their hash.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Something that the server depends on is away; try again.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// What a write with a body may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the variants are documentation")]
pub(crate) enum WriteErrors {
    /// The request makes no sense as it is.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// No credential, or one that does not verify.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The caller may not do this, or may not know whether it exists.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// Nothing is there.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The body did not arrive in time.
    #[response(status = 408)]
    Timeout(ErrorBody),
    /// The state does not allow it.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body, or something in it, is larger than the limit.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// A defect of the server.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Something that the server depends on is away; `OUTCOME_UNKNOWN` when the write may have happened.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// What a write without a body may be refused with: the same.
pub(crate) type DeleteErrors = WriteErrors;

/// What a conditional write may be refused with besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the variants are documentation")]
pub(crate) enum PreconditionErrors {
    /// The `If-Match` tag is not the current one.
    #[response(status = 412)]
    Failed(ErrorBody),
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "DocStore",
        description = "Version control on a server: repos, branches, commits, merges and diffs over HTTP."
    ),
    modifiers(&Security),
    tags(
        (name = "orgs"), (name = "repos"), (name = "files"), (name = "commits"), (name = "branches"),
        (name = "roles"), (name = "releases"), (name = "events"), (name = "login"), (name = "operation")
    )
)]
pub(crate) struct Api;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let schemes = [
            (
                "bearer",
                SecurityScheme::Http(
                    HttpBuilder::new()
                        .scheme(HttpAuthScheme::Bearer)
                        .bearer_format("JWT")
                        .description(Some("An OpenID Connect id token"))
                        .build(),
                ),
            ),
            (
                "session",
                SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                    "ds_session",
                    "The session of a browser login",
                ))),
            ),
            (
                "iap",
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                    "X-Goog-IAP-JWT-Assertion",
                    "The assertion of Identity-Aware Proxy",
                ))),
            ),
        ];
        let components = openapi.components.get_or_insert_default();
        for (name, scheme) in schemes {
            components.add_security_scheme(name, scheme);
        }
        // Any one of them will do; operations that need none say so.
        openapi.security = Some(
            ["bearer", "session", "iap"]
                .into_iter()
                .map(|name| SecurityRequirement::new::<_, [&str; 0], &str>(name, []))
                .collect(),
        );
    }
}

/// The document as JSON; made once.
pub(crate) fn document_json() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| crate::router::document().to_pretty_json().unwrap_or_default())
}
