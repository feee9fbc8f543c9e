//! A PostgreSQL of the test's own, to be killed: durable as in production, and reached through a socket in its folder, so
//! that no port is taken.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use docstore_database::Pool;
use secrecy::SecretString;
use tempfile::TempDir;

use crate::output::Output;

/// Who runs it. PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// The server. It ends when this is dropped.
pub(crate) struct PrivatePostgres {
    binaries: PathBuf,
    owner: Option<Owner>,
    postmaster: Child,
    output: Output,
    folder: TempDir,
}

impl PrivatePostgres {
    pub(crate) async fn start() -> Self {
        let (binaries, owner) = (binaries(), owner());
        let folder = tempfile::Builder::new().prefix("docstore-crash.").tempdir().unwrap();
        if let Some(Owner { uid, gid }) = owner {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = command(&binaries, "initdb", owner);
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"]);
        let made = initdb.arg(folder.path().join("data")).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let (postmaster, output) = spawn(&binaries, owner, folder.path());
        let postgres = Self { binaries, owner, postmaster, output, folder };
        postgres.wait_until_it_answers().await;
        postgres
    }

    async fn wait_until_it_answers(&self) {
        let ready = |lines: &[String]| {
            lines.iter().any(|line| line.ends_with("database system is ready to accept connections")).then_some(())
        };
        self.output.until("PostgreSQL answers", ready).await;
    }

    /// Where the database is.
    pub(crate) fn url(&self) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@localhost/postgres?host={socket}")
    }

    /// A pool of a few connections.
    pub(crate) async fn pool(&self) -> Pool {
        let settings = docstore_database::Settings {
            url: SecretString::from(self.url()),
            connections_max: 4,
            acquire_timeout: std::time::Duration::from_secs(20),
            statement_timeout: std::time::Duration::from_secs(30),
        };
        docstore_database::connect(&settings).await.unwrap()
    }

    /// `kill -9` of the postmaster. The processes of its connections notice, and are gone when this returns.
    pub(crate) async fn kill(&mut self) {
        self.postmaster.kill().unwrap();
        self.postmaster.wait().unwrap();
        self.output.ended().await;
    }

    /// `pg_ctl stop -m immediate`: all processes are told to end at once, as in a crash.
    pub(crate) fn stop_immediately(&mut self) {
        let mut stop = command(&self.binaries, "pg_ctl", self.owner);
        let stopped =
            stop.args(["stop", "-m", "immediate", "-D"]).arg(self.folder.path().join("data")).output().unwrap();
        assert!(stopped.status.success(), "pg_ctl: {}", String::from_utf8_lossy(&stopped.stderr));
        self.postmaster.wait().unwrap();
    }

    /// Starts it again; it recovers what was committed.
    pub(crate) async fn start_again(&mut self) {
        (self.postmaster, self.output) = spawn(&self.binaries, self.owner, self.folder.path());
        self.wait_until_it_answers().await;
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let mut stop = command(&self.binaries, "pg_ctl", self.owner);
        let _ = stop.args(["stop", "-m", "immediate", "-D"]).arg(self.folder.path().join("data")).output();
        let _ = self.postmaster.kill();
        let _ = self.postmaster.wait();
    }
}

fn spawn(binaries: &Path, owner: Option<Owner>, folder: &Path) -> (Child, Output) {
    let mut postmaster = command(binaries, "postgres", owner)
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-c", "listen_addresses=", "-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "max_connections=60"])
        .arg("-c")
        .arg(format!("unix_socket_directories={}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = Output::of(&mut postmaster);
    (postmaster, output)
}

fn command(binaries: &Path, name: &str, owner: Option<Owner>) -> Command {
    let mut command = Command::new(binaries.join(name));
    command.stdin(Stdio::null()).current_dir("/");
    if let Some(Owner { uid, gid }) = owner {
        command.uid(uid).gid(gid);
    }
    command
}

/// Where `initdb`, `postgres` and `pg_ctl` are.
fn binaries() -> PathBuf {
    if let Some(folder) = std::env::var_os("DOCSTORE_TEST_PG_BIN") {
        return folder.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|version| {
        let version = version.ok()?;
        Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin")))
    });
    versions.max().expect("set DOCSTORE_TEST_PG_BIN to the folder of initdb and postgres").1
}

/// Whom to run PostgreSQL as, when the tests run as root.
fn owner() -> Option<Owner> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let number = |name: &str| Some(std::env::var(name).ok()?.parse().unwrap());
    if let (Some(uid), Some(gid)) = (number("DOCSTORE_TEST_PG_UID"), number("DOCSTORE_TEST_PG_GID")) {
        return Some(Owner { uid, gid });
    }
    let people = fs::read_to_string("/etc/passwd").unwrap();
    let line = people.lines().find(|line| line.starts_with("postgres:"));
    let fields: Vec<&str> = line.expect("tests that run as root need a user postgres").split(':').collect();
    Some(Owner { uid: fields[2].parse().unwrap(), gid: fields[3].parse().unwrap() })
}
