//! A stage for transcripts: a server in memory, a folder per person, and a terminal that keeps what is printed.

mod model;
mod server;
mod terminal;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use ds::{Context, Exit};
use tempfile::TempDir;

pub(crate) use model::{Generation, Model};
pub(crate) use server::Server;
pub(crate) use terminal::Terminal;

/// What one call of `ds` printed and ended with.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) stdout_bytes: Vec<u8>,
}

impl Output {
    /// What somebody at a terminal sees: output, talk, and the exit code if it is not 0.
    pub(crate) fn seen(&self) -> String {
        let mut seen = format!("{}{}", self.stdout, self.stderr);
        if self.exit != Exit::Success {
            seen.push_str(&format!("[exit {}]\n", self.exit.code()));
        }
        seen
    }
}

/// A server and a place for workspaces.
pub(crate) struct Stage {
    pub(crate) server: Server,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::of(Generation::New).await
    }

    pub(crate) async fn of(generation: Generation) -> Self {
        Self { server: Server::start(generation).await, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn model(&self) -> Arc<Mutex<Model>> {
        self.server.model()
    }

    /// Somebody's folder, empty at first. The name is also the author.
    pub(crate) fn person(&self, name: &str) -> Person<'_> {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        Person { stage: self, name: name.to_owned(), folder }
    }

    /// Somebody with a workspace of the default repo.
    pub(crate) async fn workspace(&self, name: &str) -> Person<'_> {
        let person = self.person(name);
        person.ok(&["init", &self.server.url(), "--author", name]).await;
        person
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Replaces what differs from run to run.
    pub(crate) fn stable(&self, text: &str) -> String {
        let text = text
            .replace(&self.server.url(), "http://SERVER")
            .replace(&self.folder.path().display().to_string(), "/FOLDER");
        // The name of a backup folder is the time.
        match text.split_once(".ds/backup/2") {
            Some((before, after)) => {
                let rest = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(after.len());
                format!("{before}.ds/backup/TIME{}", &after[rest..])
            }
            None => text,
        }
    }
}

/// Somebody at a terminal, in a folder.
pub(crate) struct Person<'s> {
    stage: &'s Stage,
    name: String,
    folder: PathBuf,
}

impl Person<'_> {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn context(&self) -> (Context, ds::Captured) {
        let (mut context, captured) = Context::for_test(&self.folder, &self.stage.home());
        context.environment.insert("USER".to_owned(), self.name.clone());
        (context, captured)
    }

    /// Runs `ds` with these arguments.
    pub(crate) async fn ds(&self, arguments: &[&str]) -> Output {
        self.ds_with(arguments, |_| {}).await
    }

    pub(crate) async fn ds_with(&self, arguments: &[&str], prepare: impl FnOnce(&mut Context)) -> Output {
        let (mut context, captured) = self.context();
        prepare(&mut context);
        let line = std::iter::once("ds").chain(arguments.iter().copied()).map(OsString::from);
        let exit = ds::run(&mut context, line).await;
        Output {
            exit,
            stdout: self.stage.stable(&captured.stdout()),
            stderr: self.stage.stable(&captured.stderr()),
            stdout_bytes: captured.stdout_bytes(),
        }
    }

    /// Runs `ds` and expects it to work.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.ds(arguments).await;
        assert_eq!(output.exit, Exit::Success, "ds {arguments:?} failed:\n{}", output.seen());
        output.seen()
    }

    /// Runs `ds` and expects it not to work.
    pub(crate) async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.ds(arguments).await;
        assert_ne!(output.exit, Exit::Success, "ds {arguments:?} worked:\n{}", output.seen());
        output.seen()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.folder.join(path)).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        let path = self.folder.join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.folder.join(path)).is_ok()
    }

    /// All files but those of `.ds/`, as `path` or `path -> target`.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        list(&self.folder, &self.folder, &mut files);
        files.sort();
        files
    }

    pub(crate) fn state(&self) -> serde_json::Value {
        serde_json::from_str(&self.read(".ds/state.json")).unwrap()
    }

    pub(crate) fn config(&self) -> serde_json::Value {
        serde_json::from_str(&self.read(".ds/config.json")).unwrap()
    }
}

fn list(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if path != root.join(".ds") {
                list(root, &path, files);
            }
            continue;
        }
        let name = path.strip_prefix(root).unwrap().display().to_string();
        match fs::read_link(&path) {
            Ok(target) => files.push(format!("{name} -> {}", target.display())),
            Err(_) => files.push(name),
        }
    }
}
