//! A server on loopback, and clients that speak bytes.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use docstore_service::{Limits, Outcome, Settings, Shutdown, bind, serve};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

/// A server that runs until it is stopped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) outcome: JoinHandle<Outcome>,
}

/// Short where a test waits for it, long where it must not interfere.
pub(crate) fn short(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits { shutdown_grace: Duration::from_secs(60), ..Limits::default() };
    change(&mut limits);
    limits
}

/// What a test waits for when it waits for a time-out.
pub(crate) const SHORT: Duration = Duration::from_millis(100);

impl Server {
    pub(crate) async fn start(router: Router, limits: Limits) -> Self {
        let settings = Settings { port: 0, listen_address: Some([127, 0, 0, 1].into()), limits, ..Settings::default() };
        let listener = bind(&settings).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let signal = shutdown.clone();
        let outcome = tokio::spawn(async move { serve(listener, router, &settings, signal).await });
        Self { address, shutdown, outcome }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and returns everything that comes until the server closes.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        rest_of(&mut stream).await
    }

    pub(crate) async fn stop(self) -> Outcome {
        self.shutdown.begin();
        self.outcome.await.unwrap()
    }
}

/// Everything until the other side closes; a reset counts as closing.
pub(crate) async fn rest_of(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// One answer with a `Content-Length`, head and body.
pub(crate) async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = head(stream).await;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse::<usize>().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head.push_str(&String::from_utf8(body).unwrap());
    head
}

/// Bytes up to the first empty line.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    until(stream, "\r\n\r\n").await
}

/// Bytes up to and with a text.
pub(crate) async fn until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(text.as_bytes()) {
        let Ok(byte) = stream.read_u8().await else {
            panic!("closed after {:?}", String::from_utf8_lossy(&all));
        };
        all.push(byte);
    }
    String::from_utf8(all).unwrap()
}

/// The answers in a run of bytes, each as status and body.
pub(crate) fn answers(bytes: &str) -> Vec<(u16, String)> {
    let mut rest = bytes;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
        answers.push((status, after[..length].to_owned()));
        rest = &after[length..];
    }
    answers
}
