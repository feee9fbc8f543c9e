use std::{error::Error, net::IpAddr, time::Duration};

use reqwest::{Client, Response, StatusCode, redirect::Policy};
use url::{Host, Url};

/// The largest document that an issuer may send: Google's key set is about 2 KiB, a discovery document 3 KiB.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// How long a connection may take; the whole request has its own, settable time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a document of an issuer could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No answer, or it broke off.
    #[error("the request failed: {}", innermost(.0))]
    Request(#[from] reqwest::Error),
    /// Not what was asked for.
    #[error("the answer has status {0}")]
    Status(StatusCode),
    /// More than [`DOCUMENT_BYTES_MAX`].
    #[error("the answer is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    /// Not the document that it should be.
    #[error("the answer cannot be used: {0}")]
    Malformed(String),
    /// The discovery document that names the address could not be had; it has a log line of its own.
    #[error("the discovery document cannot be had")]
    NoDiscovery,
}

/// The last cause, which is the one that says something ("connection refused").
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The client for all outward calls of this crate: no redirects, since an issuer's addresses are configured or
/// discovered and a redirect could lead anywhere, and a timeout on everything.
pub(crate) fn client(timeout: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(concat!("docstore/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .build()
}

/// Fetches a document with status 200.
pub(crate) async fn get(client: &Client, url: Url) -> Result<Vec<u8>, FetchError> {
    let response = client.get(url).send().await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    body(response).await
}

/// Reads a body up to the limit.
pub(crate) async fn body(mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > DOCUMENT_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whether keys and tokens may travel this way: `https`, or `http` on loopback or where the operator allows it.
pub(crate) fn is_safe_way(url: &Url, plain_http: bool) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => plain_http || is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
