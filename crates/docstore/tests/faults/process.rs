//! The real server as a process of its own, to be killed and measured.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use docstore_test_support::{ADMIN, Person};
use serde_json::Value;

use crate::support::until;

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
    log: Arc<Mutex<Vec<String>>>,
    /// Where it is, for clients that live longer than it does.
    pub(crate) address: Arc<Mutex<String>>,
}

impl ServerProcess {
    pub(crate) async fn start(settings: ServerSettings) -> Self {
        let log = Arc::default();
        let child = spawn(&settings, &log);
        let mut process = Self { settings, child, log, address: Arc::default() };
        process.wait_until_it_listens().await;
        process
    }

    /// Starts it again after it was killed.
    pub(crate) async fn start_again(&mut self) {
        self.log.lock().unwrap().clear();
        self.child = spawn(&self.settings, &self.log);
        self.wait_until_it_listens().await;
    }

    async fn wait_until_it_listens(&mut self) {
        let log = Arc::clone(&self.log);
        let address = until("the server listens", || {
            assert!(self.child.try_wait().unwrap().is_none(), "the server ended: {:#?}", log.lock().unwrap());
            let lines = log.lock().unwrap();
            let listening = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let address = listening
                .filter(|line| line["msg"] == "listening")
                .find_map(|line| line["address"].as_str().map(str::to_owned));
            std::future::ready(address)
        })
        .await;
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
        self.log.lock().unwrap().clone()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(settings: &ServerSettings, log: &Arc<Mutex<Vec<String>>>) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_docstore"))
        // Also the variables of the tests themselves, which the server would refuse.
        .env_clear()
        .envs(&settings.0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    keep_lines(BufReader::new(stdout), log);
    keep_lines(BufReader::new(stderr), log);
    child
}

/// Reads what a process writes until it ends, so that it never waits for a reader.
fn keep_lines(reader: impl BufRead + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}
