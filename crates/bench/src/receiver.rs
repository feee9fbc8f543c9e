//! Receivers of webhooks: one that checks everything, and one that accepts and never answers.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Empty};
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::Sha256;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use crate::lines::streams::sequence_of;

/// What a signature begins with, in `X-DocStore-Signature`.
const SIGNATURE_PREFIX: &str = "sha256=";

/// What signs a body.
pub(crate) fn signature(secret: &str, body: &[u8]) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).context("a secret that cannot sign")?;
    mac.update(body);
    Ok(format!("{SIGNATURE_PREFIX}{}", hex::encode(mac.finalize().into_bytes())))
}

/// A delivery that arrived, and whatever was wrong with it.
pub(crate) struct Received {
    /// The commit that it tells of.
    pub(crate) sequence: i64,
    /// When it had been checked.
    pub(crate) at: Instant,
    /// It came before.
    pub(crate) again: bool,
}

/// What one subscription got last.
#[derive(Clone, Copy, Default)]
struct Last {
    position: Option<i64>,
    sequence: i64,
}

type Arrivals = mpsc::UnboundedSender<Result<Received>>;

struct Checks {
    /// By the path of the URL.
    secrets: HashMap<String, String>,
    last: Mutex<HashMap<String, Last>>,
    arrivals: Arrivals,
}

impl Checks {
    /// Signature, order, and the chain of positions.
    fn check(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Received> {
        let secret = self.secrets.get(path).with_context(|| format!("{path}: nobody subscribed with this"))?;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let signed = header("x-docstore-signature").with_context(|| format!("{path}: not signed"))?;
        ensure!(signed == signature(secret, body)?, "{path}: a wrong signature");
        let sequence = sequence_of(body).with_context(|| format!("{path}: no commit in it"))?;
        let number = |name: &str| header(name).and_then(|text| text.parse::<i64>().ok());
        let (position, previous) = (number("x-docstore-sequence"), number("x-docstore-previous-sequence"));
        let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.entry(path.to_owned()).or_default();
        // At least once: the same one may come again, but nothing that is older than it.
        let again = sequence == last.sequence;
        if !again {
            ensure!(sequence > last.sequence, "{path}: commit {sequence} came after {}", last.sequence);
            ensure!(previous == last.position, "{path}: {position:?} follows {previous:?}, not {:?}", last.position);
        }
        *last = Last { position, sequence };
        Ok(Received { sequence, at: Instant::now(), again })
    }
}

/// A running receiver; it ends when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Receiver {
    /// One that checks the deliveries to these paths, with their secrets, and tells of each.
    pub(crate) async fn start(secrets: HashMap<String, String>, arrivals: Arrivals) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let checks = Arc::new(Checks { secrets, last: Mutex::default(), arrivals });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Without it nothing changes but the figures.
                let _ = stream.set_nodelay(true);
                let checks = checks.clone();
                let service = service_fn(move |request| answer(checks.clone(), request));
                tokio::spawn(
                    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self { address, task })
    }

    /// One that accepts, reads nothing and answers nothing.
    pub(crate) async fn start_dead() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                held.push(stream);
            }
        });
        Ok(Self { address, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(checks: Arc<Checks>, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let received = match body.collect().await {
        Ok(body) => checks.check(parts.uri.path(), &parts.headers, &body.to_bytes()),
        Err(error) => Err(error.into()),
    };
    let status = if received.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST };
    let _ = checks.arrivals.send(received);
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_wrong_with_a_delivery_is_noticed() {
        let secrets = HashMap::from([("/1".to_owned(), "secret".to_owned())]);
        let checks = Checks { secrets, last: Mutex::default(), arrivals: mpsc::unbounded_channel().0 };
        let send = |sequence: i64, position: &'static str, previous: Option<&'static str>, secret: &str| {
            let body = format!("{{\"data\":{{\"sequence\":{sequence}}}}}");
            let signature = signature(secret, body.as_bytes()).unwrap();
            let mut pairs = vec![("x-docstore-signature", signature.as_str()), ("x-docstore-sequence", position)];
            pairs.extend(previous.map(|previous| ("x-docstore-previous-sequence", previous)));
            checks.check("/1", &headers(&pairs), body.as_bytes()).map(|received| received.again)
        };
        assert!(!send(5, "50", None, "secret").unwrap());
        assert!(send(5, "50", None, "secret").unwrap(), "again");
        assert!(!send(7, "70", Some("50"), "secret").unwrap());
        assert!(send(9, "90", Some("80"), "secret").is_err(), "a gap");
        assert!(send(6, "60", Some("50"), "secret").is_err(), "out of order");
        assert!(send(8, "80", Some("70"), "another").is_err(), "a wrong signature");
        assert!(!send(8, "80", Some("70"), "secret").unwrap());
    }
}
