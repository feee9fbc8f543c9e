//! Keeps a development server on loopback to itself.
//!
//! There, whoever reaches the server is the developer. Other machines cannot reach it, but a page in the developer's
//! browser can, once the name of its own site leads to 127.0.0.1 (DNS rebinding): to the browser it is then one site
//! with the server, so that no rule about other sites holds it back. What it cannot choose is the name in `Host`.

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use docstore_models::ErrorCode;

use crate::error::ApiError;

/// Wraps all routes of a router. Only where both hold, the development identity and an address on loopback, anything is
/// refused.
pub(crate) fn keep_to_loopback(router: Router, is_development: bool, address: SocketAddr) -> Router {
    if is_development && address.ip().to_canonical().is_loopback() {
        router.layer(middleware::from_fn(refuse_foreign_host))
    } else {
        router
    }
}

async fn refuse_foreign_host(request: Request, next: Next) -> Response {
    if names_loopback(request.headers()) {
        return next.run(request).await;
    }
    tracing::warn!(reason = "foreign_host", "access denied");
    ApiError::new(
        ErrorCode::Forbidden,
        "this development server answers to localhost only; with LISTEN_ADDRESS it listens elsewhere",
    )
    .into_response()
}

/// Whether `Host` is a name of this machine that no name server can give to another site. No browser leaves `Host` out.
fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn status(is_development: bool, address: &str, host: Option<&str>) -> StatusCode {
        let router = Router::new().route("/", get(async || "hello"));
        let router = keep_to_loopback(router, is_development, address.parse().unwrap());
        let request = host.into_iter().fold(Request::get("/"), |request, host| request.header(header::HOST, host));
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_rebound_name_gets_nothing() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "notlocalhost",
            "[2001:db8::1]:80",
            "a b",
        ] {
            assert_eq!(status(true, "127.0.0.1:8080", Some(host)).await, StatusCode::FORBIDDEN, "{host}");
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_are_served() {
        for host in ["localhost", "LocalHost:8080", "app.localhost:1", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080"] {
            assert_eq!(status(true, "127.0.0.1:8080", Some(host)).await, StatusCode::OK, "{host}");
        }
        assert_eq!(status(true, "[::1]:8080", None).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn it_is_about_development_on_loopback_alone() {
        assert_eq!(status(false, "127.0.0.1:8080", Some("docs.example.com")).await, StatusCode::OK);
        assert_eq!(status(true, "0.0.0.0:8080", Some("docstore:8080")).await, StatusCode::OK);
    }
}
