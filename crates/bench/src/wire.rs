//! A connection to the server: one keep-alive HTTP/1.1 connection per client, nothing pooled, nothing retried, and driven
//! by whoever waits for its answer rather than by a task of its own, as the floor's connections are, so that the generator
//! takes as little as it can of the cores that it shares with what it measures.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::http1::{self, Connection, SendRequest},
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, time::timeout};
use url::Url;

use crate::Arguments;

/// The longest that one answer may take, its body included; 1 GiB over loopback takes seconds.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(300);

/// A request body.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// Where the server is and how to get in.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: String,
    host: HeaderValue,
    prefix: String,
    authorization: Option<HeaderValue>,
    /// Who it is, for a server in development that takes everybody's word for it.
    identity: Option<HeaderValue>,
}

impl Target {
    pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Self> {
        let url: &Url = &arguments.url;
        ensure!(url.scheme() == "http", "only http is spoken here; put a proxy before a server that speaks https");
        let host = url.host_str().context("the URL has no host")?;
        let port = url.port_or_known_default().unwrap_or(80);
        let authorization = arguments.token.as_deref().map(bearer).transpose()?;
        Ok(Self {
            address: format!("{host}:{port}"),
            host: HeaderValue::try_from(format!("{host}:{port}"))?,
            prefix: url.path().trim_end_matches('/').to_owned(),
            authorization,
            identity: None,
        })
    }

    /// The same server for somebody else: by their token, or by their name alone in development.
    pub(crate) fn of(&self, identity: &str, token: Option<&str>) -> Result<Self> {
        Ok(Self {
            authorization: token.map(bearer).transpose()?,
            identity: Some(HeaderValue::try_from(identity).context("the identity is not text")?),
            ..self.clone()
        })
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Wire> {
        let stream =
            TcpStream::connect(&self.address).await.with_context(|| format!("cannot reach {}", self.address))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Wire { target: self.clone(), sender, connection: Box::pin(connection) })
    }

    /// Opens several connections.
    pub(crate) async fn connect_many(&self, count: usize) -> Result<Vec<Wire>> {
        let mut wires = Vec::with_capacity(count);
        for _ in 0..count {
            wires.push(self.connect().await?);
        }
        Ok(wires)
    }
}

fn bearer(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).context("the token is not text")?;
    value.set_sensitive(true);
    Ok(value)
}

type Driver = Pin<Box<Connection<TokioIo<TcpStream>, RequestBody>>>;

/// One open connection.
pub(crate) struct Wire {
    target: Target,
    sender: SendRequest<RequestBody>,
    connection: Driver,
}

/// Waits for what comes over a connection, and lets the connection go on meanwhile.
async fn drive<T>(connection: &mut Driver, work: impl Future<Output = hyper::Result<T>>) -> Result<T> {
    let mut work = pin!(work);
    let mut ended = false;
    let driven = poll_fn(|context| {
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done.map_err(Into::into));
            }
            if ended {
                return Poll::Ready(Err(anyhow!("the server closed the connection")));
            }
            match connection.as_mut().poll(context) {
                // What was received last is still to be looked at.
                Poll::Ready(Ok(())) => ended = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return work.as_mut().poll(context).map_err(Into::into),
            }
        }
    });
    timeout(ANSWER_SECONDS_MAX, driven).await?
}

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> RequestBody {
    Full::new(bytes).boxed_unsync()
}

impl Wire {
    /// Sends a request and waits for the head of the answer.
    async fn send(&mut self, method: Method, path: &str, body: RequestBody) -> Result<Response<Incoming>> {
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.prefix))
            .header(HOST, self.target.host.clone());
        if let Some(authorization) = &self.target.authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(identity) = &self.target.identity {
            builder = builder.header("x-docstore-identity", identity.clone());
        }
        let size = body.size_hint().exact();
        if size != Some(0) {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        if let Some(size) = size {
            builder = builder.header(CONTENT_LENGTH, size);
        }
        let request = builder.body(body)?;
        let Self { sender, connection, .. } = self;
        drive(connection, sender.ready()).await?;
        drive(connection, sender.send_request(request)).await
    }

    /// Sends the connection's last request and waits for the head of the answer; its body is the caller's to read, at
    /// their pace.
    pub(crate) async fn open(mut self, method: Method, path: &str, body: RequestBody) -> Result<Response<Incoming>> {
        let response = self.send(method, path, body).await?;
        // A broken connection shows in the body.
        tokio::spawn(self.connection);
        Ok(response)
    }

    /// Sends a request, demands a success, and reads the answer.
    pub(crate) async fn answer(&mut self, method: Method, path: &str, body: RequestBody) -> Result<Bytes> {
        let response = self.send(method.clone(), path, body).await?;
        let status = response.status();
        let bytes = drive(&mut self.connection, response.into_body().collect()).await?.to_bytes();
        demand(status, &bytes, &method, path)?;
        Ok(bytes)
    }

    /// Reads an answer without keeping it, and says how long it is.
    pub(crate) async fn count_bytes(&mut self, path: &str) -> Result<u64> {
        let response = self.send(Method::GET, path, full(Bytes::new())).await?;
        let status = response.status();
        let mut body = response.into_body();
        let (mut count, mut start) = (0, BytesMut::new());
        while let Some(frame) = drive(&mut self.connection, body.frame().map(Option::transpose)).await? {
            if let Ok(data) = frame.into_data() {
                count += data.len() as u64;
                if !status.is_success() {
                    start.extend_from_slice(&data);
                }
            }
        }
        demand(status, &start, &Method::GET, path)?;
        Ok(count)
    }

    /// `GET`, as bytes.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.answer(Method::GET, path, full(Bytes::new())).await
    }

    /// `POST` of JSON that is there already.
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) -> Result<Bytes> {
        self.answer(Method::POST, path, full(body)).await
    }

    /// `PUT` of a value.
    pub(crate) async fn put_json(&mut self, path: &str, body: &impl Serialize) -> Result<()> {
        self.answer(Method::PUT, path, full(json(body)?)).await.map(|_| ())
    }

    /// `POST` of a value, and its answer as one.
    pub(crate) async fn post_json<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T> {
        let bytes = self.post(path, json(body)?).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("POST {path} gave something else than expected"))
    }
}

fn demand(status: StatusCode, body: &[u8], method: &Method, path: &str) -> Result<()> {
    if status.is_success() {
        return Ok(());
    }
    bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
}

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Bytes> {
    Ok(Bytes::from(serde_json::to_vec(value)?))
}

/// Bytes as the wire's base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
