//! A receiver of webhooks on a port of its own, which behaves as badly as a test wants.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How long a test waits for what must come. Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a receiver does with one request, after it has read it.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers with a status and no body.
    Status(u16),
    /// Reads and never answers.
    Hang,
    /// Answers 200, but not before it is told to ([`Receiver::release`]).
    Hold,
    /// Closes the connection without an answer, with a reset.
    Reset,
    /// Answers 200 and a body that does not end.
    Endless,
    /// Answers one byte of the head at a time, and never comes to its end.
    Trickle,
    /// Sends the client elsewhere.
    Redirect(String),
}

/// What came.
#[derive(Clone, Debug)]
pub struct Received {
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The exact text.
    pub body: String,
}

impl Received {
    /// A header, if it came.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A header that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.header(name).map(|text| text.parse().expect("the header is a number"))
    }

    /// The body as JSON.
    #[must_use]
    pub fn event(&self) -> Value {
        serde_json::from_str(&self.body).expect("an event is JSON")
    }
}

struct State {
    received: Vec<Received>,
    script: VecDeque<Behaviour>,
    usual: Behaviour,
}

/// The receiver. It ends with the test.
pub struct Receiver {
    url: String,
    state: Arc<Mutex<State>>,
    count: watch::Receiver<usize>,
    released: watch::Sender<usize>,
}

impl Receiver {
    /// One that behaves in one way, unless the script says otherwise.
    pub async fn start(usual: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}/hook", listener.local_addr().expect("a bound port has an address"));
        let state = Arc::new(Mutex::new(State { received: Vec::new(), script: VecDeque::new(), usual }));
        let (counter, count) = watch::channel(0);
        let counter = Arc::new(counter);
        let (released, releases) = watch::channel(0);
        tokio::spawn({
            let state = state.clone();
            async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else { return };
                    let (state, counter, releases) = (state.clone(), counter.clone(), releases.clone());
                    tokio::spawn(async move { serve(stream, &state, &counter, releases).await });
                }
            }
        });
        Self { url, state, count, released }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it does with the next requests, one after the other.
    pub fn next(&self, script: impl IntoIterator<Item = Behaviour>) {
        lock(&self.state).script.extend(script);
    }

    /// What it does from now on, unless the script says otherwise.
    pub fn usually(&self, behaviour: Behaviour) {
        lock(&self.state).usual = behaviour;
    }

    /// Lets whoever is held so far have the answer.
    pub fn release(&self) {
        let came = lock(&self.state).received.len();
        self.released.send_replace(came);
    }

    /// What came so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// Waits until so many requests have come.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut counted = self.count.clone();
        let waiting = counted.wait_for(|came| *came >= count);
        tokio::time::timeout(PATIENCE, waiting).await.expect("the webhooks come").expect("the receiver lives");
        self.received()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    mut stream: TcpStream,
    state: &Mutex<State>,
    counter: &watch::Sender<usize>,
    mut releases: watch::Receiver<usize>,
) {
    while let Some(request) = read_request(&mut stream).await {
        let (number, behaviour) = {
            let mut state = lock(state);
            state.received.push(request);
            let next = state.script.pop_front();
            (state.received.len(), next.unwrap_or_else(|| state.usual.clone()))
        };
        counter.send_modify(|count| *count += 1);
        let answer = match behaviour {
            Behaviour::Status(status) => format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"),
            Behaviour::Redirect(to) => format!("HTTP/1.1 301 x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"),
            Behaviour::Hang => return std::future::pending().await,
            Behaviour::Hold => {
                if releases.wait_for(|released| *released >= number).await.is_err() {
                    return;
                }
                "HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n".to_owned()
            }
            Behaviour::Reset => {
                // With unsent zero linger the kernel resets instead of closing.
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return;
            }
            Behaviour::Endless => {
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
                if stream.write_all(head).await.is_err() {
                    return;
                }
                while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
                return;
            }
            Behaviour::Trickle => {
                if stream.write_all(b"HTTP/1.1 200 OK\r\nX-Padding: ").await.is_err() {
                    return;
                }
                // Its pace is what it shows the server; no test waits for it.
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(head)) = request.parse(&bytes) {
            assert_eq!(request.method, Some("POST"));
            let headers: BTreeMap<String, String> = request
                .headers
                .iter()
                .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
                .collect();
            let length: usize = headers.get("content-length")?.parse().ok()?;
            if bytes.len() >= head + length {
                let body = String::from_utf8_lossy(&bytes[head..head + length]).into_owned();
                return Some(Received { headers, body });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
