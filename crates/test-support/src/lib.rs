//! The test app: the whole server, through its real socket, on a real PostgreSQL with a database of its own; and people
//! who call it.
//!
//! Tests wait on conditions and drain queues; nobody here waits for time to pass or tries again.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod receiver;

use docstore::{Server, Settings, policy_worker::Program};
use docstore_database::{Pool, testing::TestDatabase};
use docstore_service::{Outcome, Shutdown};
use docstore_settings::Environment;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;

pub use receiver::{Behaviour, Received, Receiver};

/// The development identity of the test app, who is also the global admin.
pub const ADMIN: &str = "admin@example.com";

/// The executable of the server, which cargo builds for the tests of its package, beside the folder of theirs.
#[must_use]
pub fn policy_worker() -> Program {
    let tests = std::env::current_exe().expect("the system knows what runs");
    let folder = tests.parent().and_then(std::path::Path::parent).expect("cargo puts tests into a folder of a folder");
    Program::at(folder.join(format!("docstore{}", std::env::consts::EXE_SUFFIX)))
}

/// A running server on a database of its own.
pub struct TestApp {
    server: Option<Server>,
    shutdown: Shutdown,
    base_url: String,
    environment: Environment,
    blobs: TempDir,
    _keys: TempDir,
    // Dropped last: the server uses it.
    database: TestDatabase,
}

impl TestApp {
    /// Starts a server whose development identity and global admin is [`ADMIN`].
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with settings on top; an empty value takes a default away.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        let database = TestDatabase::create().await;
        let blobs = TempDir::new().expect("a temporary folder can be made");
        let keys = TempDir::new().expect("a temporary folder can be made");
        let key = keys.path().join("test-key");
        std::fs::write(&key, [7; 32]).expect("a key can be written");
        let mut all = vec![
            ("DATABASE_URL", database.settings().url.expose_secret().to_owned()),
            ("LISTEN_ADDRESS", "127.0.0.1".to_owned()),
            ("PORT", "0".to_owned()),
            ("DEV_IDENTITY", ADMIN.to_owned()),
            ("BOOTSTRAP_ADMIN", ADMIN.to_owned()),
            ("DOCSTORE_BLOB_LOCAL_DIR", blobs.path().display().to_string()),
            ("DOCSTORE_BLOB_THRESHOLD_BYTES", "4096".to_owned()),
            ("DOCSTORE_DATABASE_CONNECTIONS", "8".to_owned()),
            ("ARCHIVE_HMAC_SECRET", "dGVzdA==".to_owned()),
            ("DOCSTORE_SECRETS_KEY_FILE", key.display().to_string()),
            // Also for servers without a development identity: receivers of webhooks are on this machine.
            ("DOCSTORE_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8".to_owned()),
        ];
        for (name, value) in variables {
            all.retain(|(known, _)| known != name);
            all.push((name, (*value).to_owned()));
        }
        let environment = Environment::from_iter(all);
        let mut app = Self {
            server: None,
            shutdown: Shutdown::new(),
            base_url: String::new(),
            environment,
            blobs,
            _keys: keys,
            database,
        };
        app.start_server().await;
        app
    }

    /// The settings of a server, but that policies are evaluated by the executable of the server: that of the tests is none.
    fn settings(&self) -> Settings {
        let mut settings = Settings::from_environment(&self.environment).expect("the test settings are valid");
        settings.policy_worker = policy_worker();
        settings
    }

    async fn start_server(&mut self) {
        let settings = self.settings();
        self.shutdown = Shutdown::new();
        let server = Server::start(settings, self.shutdown.clone()).await.expect("the test server starts");
        self.base_url = format!("http://{}", server.address());
        self.server = Some(server);
    }

    /// Starts one more server on the same database and blobs, as a second replica.
    pub async fn second_server(&self) -> Replica {
        let shutdown = Shutdown::new();
        let server = Server::start(self.settings(), shutdown.clone()).await.expect("a second server starts");
        Replica { base_url: format!("http://{}", server.address()), shutdown, server }
    }

    /// Stops the server and starts it again on the same database.
    pub async fn restart(&mut self) {
        assert_eq!(self.stop().await, Outcome::Clean, "the server stops in order");
        self.start_server().await;
    }

    /// Stops the server and says how that went.
    pub async fn stop(&mut self) -> Outcome {
        self.shutdown.begin();
        match self.server.take() {
            Some(server) => server.finished().await,
            None => panic!("the server was stopped before"),
        }
    }

    /// Where the server is, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// A pool on the server's database.
    pub async fn pool(&self) -> Pool {
        self.database.pool().await
    }

    /// The server's database.
    #[must_use]
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// The folder of the server's blobs.
    #[must_use]
    pub fn blobs(&self) -> &std::path::Path {
        self.blobs.path()
    }

    /// The global admin.
    #[must_use]
    pub fn admin(&self) -> Person {
        self.person(ADMIN)
    }

    /// Somebody who calls the server; the identity must look like an e-mail address.
    #[must_use]
    pub fn person(&self, identity: &str) -> Person {
        Person::new(&self.base_url, identity)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// A second server on the database of a [`TestApp`].
pub struct Replica {
    base_url: String,
    shutdown: Shutdown,
    server: Server,
}

impl Replica {
    /// Somebody who calls this replica.
    #[must_use]
    pub fn person(&self, identity: &str) -> Person {
        Person::new(&self.base_url, identity)
    }

    /// Where the replica is.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Stops it.
    pub async fn stop(self) -> Outcome {
        self.shutdown.begin();
        self.server.finished().await
    }
}

/// Somebody who calls a server.
#[derive(Clone)]
pub struct Person {
    http: reqwest::Client,
    base_url: String,
    identity: String,
    token: Option<String>,
}

impl Person {
    /// Somebody who calls the server at a URL in development mode.
    #[must_use]
    pub fn new(base_url: &str, identity: &str) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("an HTTP client can be made");
        Self { http, base_url: base_url.to_owned(), identity: identity.to_owned(), token: None }
    }

    /// The same connection with a bearer token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// A request, to be completed and sent by the test.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request =
            self.http.request(method, format!("{}{path}", self.base_url)).header("X-DocStore-Identity", &self.identity);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request with a JSON body, or with none for `null`.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.request(method, path);
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        Answer::of(request).await
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &Value::Null).await
    }

    /// `POST`.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body).await
    }

    /// `PUT`.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, body).await
    }

    /// `PATCH`.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, body).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &Value::Null).await
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Sends a request and reads the whole answer.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("the answer is complete");
        Self { status, headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text))
    }

    /// The body as JSON, of an answer that must have this status.
    #[must_use]
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Status and body on one line, without the request id: for snapshots.
    #[must_use]
    pub fn summary(&self) -> String {
        let body = match serde_json::from_str::<Value>(&self.text) {
            Ok(mut body) => {
                if let Some(object) = body.as_object_mut() {
                    object.remove("request_id");
                }
                body.to_string()
            }
            Err(_) => self.text.trim_end().to_owned(),
        };
        format!("{} {body}", self.status.as_u16())
    }
}
