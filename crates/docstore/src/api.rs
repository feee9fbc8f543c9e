//! The description of the API, generated from the handlers.

pub(crate) mod refusals;
pub(crate) mod shapes;

use std::sync::OnceLock;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        RefOr, SecurityRequirement,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "DocStore",
        description = "Version control on a server: repos, branches, commits, merges and diffs over HTTP.\n\n\
            Besides what each operation lists, the connection itself may answer any request, before it is looked at, with \
            400 (malformed HTTP), 408, 414 or 431 (a head that is too slow or too long), 405 (with `Allow`), 429 or 503 \
            (too many connections), and paths with empty or dotted segments are redirected with 307."
    ),
    components(schemas(refusals::Envelope)),
    modifiers(&Security),
    tags(
        (name = "orgs"), (name = "repos"), (name = "files"), (name = "commits"), (name = "branches"),
        (name = "reviews"), (name = "checks"), (name = "proposals"), (name = "issues"), (name = "policies"),
        (name = "roles"), (name = "releases"), (name = "events"), (name = "subscriptions"),
        (name = "secrets"), (name = "login"), (name = "tokens"),
        (name = "agents"), (name = "audit"), (name = "operation")
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
                        .description(Some(
                            "An OpenID Connect id token, or an API token: `dst_` and 72 hexadecimal digits",
                        ))
                        .build(),
                ),
            ),
            (
                "request_token",
                SecurityScheme::Http(
                    HttpBuilder::new()
                        .scheme(HttpAuthScheme::Bearer)
                        .bearer_format("opaque")
                        .description(Some("The token that the worker of a CI job was given"))
                        .build(),
                ),
            ),
            (
                "signature",
                SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description(
                    "sig",
                    "The signature of a presigned archive URL",
                ))),
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

/// Gives every response the description that OpenAPI asks for.
pub(crate) fn describe_responses(openapi: &mut utoipa::openapi::OpenApi) {
    for item in openapi.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch, &mut item.head];
        for operation in operations.into_iter().flatten() {
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    let status = status.parse().ok().and_then(|status| axum::http::StatusCode::from_u16(status).ok());
                    let reason = status.and_then(|status| status.canonical_reason()).unwrap_or("The answer");
                    reason.clone_into(&mut response.description);
                }
            }
        }
    }
}

/// The document as JSON; made once.
pub(crate) fn document_json() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| crate::router::document().to_pretty_json().unwrap_or_default())
}
