//! git over HTTP as git itself serves it: `git http-backend` (its manual page; CGI, RFC 3875) behind the smallest server
//! that can run it.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

/// The head of a CGI answer is a few lines.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What is read from git at once.
const PIECE_BYTES: usize = 64 * 1024;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A server of the repositories in a folder. Stops when dropped.
pub(crate) struct GitServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl GitServer {
    pub(crate) async fn start(root: &Path) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let root = root.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let root = root.clone();
                // Without it the last bytes of each answer would wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(root.clone(), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, task })
    }

    /// The URL of a repository.
    pub(crate) fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(root: PathBuf, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(run(&root, request).await.unwrap_or_else(|error| {
        let body = Full::new(Bytes::from(format!("{error:#}\n"))).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

async fn run(root: &Path, request: Request<Incoming>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let header = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut git = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", header(CONTENT_ENCODING))
        .env("GIT_PROTOCOL", header(HeaderName::from_static("git-protocol")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("git http-backend")?;
    let mut input = git.stdin.take().context("no input")?;
    // What a clone asks for is small.
    let body = body.collect().await?.to_bytes();
    input.write_all(&body).await?;
    drop(input);
    let mut output = git.stdout.take().context("no output")?;
    let (status, headers, rest) = read_head(&mut output).await?;
    let mut response = Response::new(stream_output(git, output, rest));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Reads up to the empty line, and gives back what came after it.
async fn read_head(output: &mut ChildStdout) -> Result<(StatusCode, HeaderMap, Bytes)> {
    let mut read = BytesMut::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let count = output.read_buf(&mut read).await?;
        anyhow::ensure!(count > 0 && read.len() < HEAD_BYTES_MAX, "git http-backend gave no head");
    };
    let rest = read.split_off(end + 4).freeze();
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    for line in String::from_utf8_lossy(&read[..end]).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            status = value.split(' ').next().unwrap_or_default().parse()?;
        } else {
            headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    Ok((status, headers, rest))
}

fn stream_output(git: Child, output: ChildStdout, rest: Bytes) -> Body {
    let state = (git, output, (!rest.is_empty()).then_some(rest));
    let frames = stream::try_unfold(state, |(mut git, mut output, rest)| async move {
        if let Some(rest) = rest {
            return Ok(Some((Frame::data(rest), (git, output, None))));
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        if output.read_buf(&mut piece).await? == 0 {
            git.wait().await?;
            return Ok(None);
        }
        Ok(Some((Frame::data(piece.freeze()), (git, output, None))))
    });
    StreamBody::new(frames).boxed_unsync()
}
