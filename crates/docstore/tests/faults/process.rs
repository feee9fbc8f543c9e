//! The real server as a process of its own, to be killed and measured.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use docstore_test_support::{ADMIN, Person};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;
use tokio::net::unix::pipe;

use crate::{output::Output, support::in_time};

/// What a server process is started with.
#[derive(Clone)]
pub(crate) struct ServerSettings(BTreeMap<String, String>);

impl ServerSettings {
    pub(crate) fn new(database_url: &str, blobs: &Path) -> Self {
        let settings = [
            ("DATABASE_URL", database_url),
            ("LISTEN_ADDRESS", "127.0.0.1"),
            ("PORT", "0"),
            ("DEV_IDENTITY", ADMIN),
            ("BOOTSTRAP_ADMIN", ADMIN),
            ("DOCSTORE_BLOB_LOCAL_DIR", &blobs.display().to_string()),
            ("DOCSTORE_BLOB_THRESHOLD_BYTES", "4096"),
            ("DOCSTORE_DATABASE_CONNECTIONS", "12"),
        ];
        Self(settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// A server process. It is killed when this is dropped.
pub(crate) struct ServerProcess {
    settings: ServerSettings,
    child: Child,
    output: Output,
    /// Where it is, for clients that live longer than it does.
    pub(crate) address: Arc<Mutex<String>>,
}

impl ServerProcess {
    pub(crate) async fn start(settings: ServerSettings) -> Self {
        let (child, output) = spawn(&settings);
        let process = Self { settings, child, output, address: Arc::default() };
        process.wait_until_it_listens().await;
        process
    }

    /// Starts it again after it was killed.
    pub(crate) async fn start_again(&mut self) {
        (self.child, self.output) = spawn(&self.settings);
        self.wait_until_it_listens().await;
    }

    async fn wait_until_it_listens(&self) {
        let listening = |lines: &[String]| {
            let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter(|line| line["msg"] == "listening").find_map(|line| line["address"].as_str().map(str::to_owned))
        };
        let address = self.output.until("the server listens", listening).await;
        *self.address.lock().unwrap() = format!("http://{address}");
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its number in the system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> String {
        self.address.lock().unwrap().clone()
    }

    /// The global admin.
    pub(crate) fn admin(&self) -> Person {
        Person::new(&self.url(), ADMIN)
    }

    /// A file of `/proc` about the process.
    pub(crate) fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }

    /// What it has logged since it was started last.
    pub(crate) fn log(&self) -> Vec<String> {
        self.output.lines()
    }

    /// Waits until what it has logged tells something.
    pub(crate) async fn logged<T>(&self, what: &str, told: impl Fn(&[String]) -> Option<T>) -> T {
        self.output.until(what, told).await
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a process has ended. It is opened before the future is first polled, so that its number cannot be another's.
pub(crate) fn end_of(process: Pid) -> impl Future<Output = ()> {
    let process = pidfd_open(process, PidfdFlags::NONBLOCK).unwrap();
    // It is no pipe, but can be waited for like one, and tokio has no safe way to wait for any descriptor.
    let process = pipe::Receiver::from_owned_fd_unchecked(process).unwrap();
    async move {
        in_time("the process has ended", process.readable()).await.unwrap();
    }
}

fn spawn(settings: &ServerSettings) -> (Child, Output) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_docstore"))
        // Also the variables of the tests themselves, which the server would refuse.
        .env_clear()
        .envs(&settings.0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = Output::of(&mut child);
    (child, output)
}
