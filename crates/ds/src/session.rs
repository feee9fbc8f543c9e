use std::{
    fmt::Display,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use docstore_client::{Client, RepoClient};
use serde::Serialize;

use crate::{
    Context, Failure,
    auth::{self, Tokens},
    cli::GlobalOptions,
    failure::Denied,
    output::{Paint, Progress, Table, printable},
    workspace::Workspace,
};

/// One run of one command: the context, the global options, and what was found out on the way.
pub(crate) struct Session<'c> {
    pub(crate) context: &'c mut Context,
    pub(crate) options: GlobalOptions,
    write_error: Option<io::Error>,
    /// The server and the identity of the last client made, for error messages.
    contact: Option<(String, Option<String>)>,
    /// The requests made, for those who asked with `-v`.
    requests: Arc<Mutex<Vec<String>>>,
}

impl<'c> Session<'c> {
    pub(crate) fn new(context: &'c mut Context, options: GlobalOptions) -> Self {
        Self { context, options, write_error: None, contact: None, requests: Arc::default() }
    }

    /// Where the command runs: `-C`, or the current directory.
    pub(crate) fn directory(&self) -> PathBuf {
        match &self.options.directory {
            Some(directory) => self.context.directory.join(directory),
            None => self.context.directory.clone(),
        }
    }

    /// The workspace around the directory.
    pub(crate) fn workspace(&self) -> Result<Workspace, Failure> {
        Workspace::open(&self.directory())
    }

    /// The workspace, for a command that changes it: nobody else may at the same time.
    pub(crate) fn locked_workspace(&mut self) -> Result<Workspace, Failure> {
        let mut workspace = Workspace::open_locked(&self.directory())?;
        if let Some(note) = crate::sync::finish_interrupted(&mut workspace, (self.context.now)())? {
            self.warn(note);
        }
        Ok(workspace)
    }

    /// The same while it is on a branch. Finishing what was interrupted, or somebody else, may have led to another one.
    pub(crate) fn locked_workspace_on(&mut self, branch: &str) -> Result<Workspace, Failure> {
        let workspace = self.locked_workspace()?;
        if workspace.branch() == branch {
            return Ok(workspace);
        }
        Err(Failure::conflict(format!("the workspace is on '{}' now", workspace.branch()))
            .hint("look where you are with `ds status`, then try again"))
    }

    /// A client of a server, with the token that goes with it.
    pub(crate) fn client(&mut self, remote: &str, identity: Option<&str>) -> Result<Client, Failure> {
        let mut builder = Client::builder(remote)
            .user_agent(concat!("ds/", env!("CARGO_PKG_VERSION")))
            .retries(self.context.retries)
            .tokens(Arc::new(Tokens::new(self.context, remote)));
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        if self.options.verbose > 0 {
            let requests = self.requests.clone();
            builder = builder.observer(move |attempt| {
                let outcome = match attempt.outcome {
                    Ok(status) => status.to_string(),
                    Err(reason) => reason.to_owned(),
                };
                if let Ok(mut requests) = requests.lock() {
                    requests.push(format!("{} {}: {outcome}", attempt.method, attempt.path));
                }
            });
        }
        self.contact = Some((remote.to_owned(), identity.map(str::to_owned)));
        Ok(builder.build()?)
    }

    /// A client of the workspace's repo.
    pub(crate) fn repo(&mut self, workspace: &Workspace) -> Result<RepoClient, Failure> {
        let config = workspace.config();
        let client = self.client(&config.remote, Some(&config.author))?;
        Ok(client.repo(config.repo()))
    }

    /// A client for a command about the server rather than a workspace.
    pub(crate) fn server(&mut self) -> Result<Client, Failure> {
        let workspace = self.workspace();
        if let Some(remote) = self.options.remote.clone() {
            let author = workspace.ok().map(|workspace| workspace.config().author.clone());
            return self.client(&remote, author.as_deref());
        }
        match (workspace, self.context.default_remote.clone()) {
            (Ok(workspace), _) => {
                let config = workspace.config().clone();
                self.client(&config.remote, Some(&config.author))
            }
            (Err(_), Some(remote)) => self.client(&remote, None),
            (Err(failure), None) => Err(failure.hint("or name a server with --remote <url>")),
        }
    }

    /// One line of data.
    pub(crate) fn print(&mut self, line: impl Display) {
        self.write_out(format!("{line}\n").as_bytes());
    }

    /// One line that tells how it went; `-q` keeps it back.
    pub(crate) fn say(&mut self, line: impl Display) {
        if !self.options.quiet {
            self.print(line);
        }
    }

    /// One line of talk that a person should see and a program should not read.
    pub(crate) fn warn(&mut self, line: impl Display) {
        self.talk(format_args!("{}{line}", Paint::Yellow.on(self.talk_has_colour(), "warning: ")));
    }

    /// One line of talk for those who asked for more with `-v`.
    pub(crate) fn detail(&mut self, line: impl Display) {
        if self.options.verbose > 0 {
            self.talk(line);
        }
    }

    pub(crate) fn print_table(&mut self, table: &Table) {
        for line in table.lines() {
            self.print(line);
        }
    }

    pub(crate) fn print_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
        self.print(text);
        Ok(())
    }

    /// Bytes of data as they are.
    pub(crate) fn write_out(&mut self, bytes: &[u8]) {
        if self.write_error.is_none()
            && let Err(error) = self.context.stdout.write_all(bytes)
        {
            self.write_error = Some(error);
        }
    }

    /// Whether whoever reads standard output has gone, so that there is no point in going on.
    pub(crate) fn output_is_closed(&self) -> bool {
        self.write_error.is_some()
    }

    fn talk(&mut self, line: impl Display) {
        // Nobody can be told that telling failed.
        let _ = writeln!(self.context.stderr, "{line}");
    }

    /// Shows what was printed so far, before a wait.
    pub(crate) fn flush(&mut self) {
        if let Err(error) = self.context.stdout.flush() {
            self.write_error.get_or_insert(error);
        }
    }

    /// Tells of the requests that were made.
    pub(crate) fn report_requests(&mut self) {
        let requests = self.requests.lock().map(|mut requests| std::mem::take(&mut *requests)).unwrap_or_default();
        for request in requests {
            self.talk(request);
        }
    }

    /// Flushes, and says whether all output was written. Output into a closed pipe is not an error.
    pub(crate) fn finish_output(&mut self) -> Result<(), Failure> {
        let flushed = self.context.stdout.flush();
        match self.write_error.take().or(flushed.err()) {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("cannot write output: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Prints why the command failed and what to do about it.
    pub(crate) fn report(&mut self, failure: &Failure) {
        let colour = self.talk_has_colour();
        self.talk(format_args!("{}{}", Paint::Red.on(colour, "error: "), failure.message()));
        let mut hints = failure.hints().to_vec();
        if let Some(Denied { status, by_server }) = failure.denied
            && let Some((server, identity)) = self.contact.clone()
        {
            let signed_in = auth::signed_in_as(self.context, &server);
            hints.push(match (status, signed_in, identity) {
                (403, Some(email), _) => {
                    format!("status 403: {email}, as you are signed in to {server}, may not do this")
                }
                // A server that looks at credentials would have asked for one.
                (403, None, Some(identity)) if by_server => format!("status 403: {identity} may not do this"),
                (403, None, None) if by_server => {
                    "status 403: whom the server takes you for may not do this; `ds whoami` tells".to_owned()
                }
                _ => format!("status {status}: sign in with `ds login {server}`"),
            });
        }
        for hint in hints {
            self.talk(format_args!("{}{hint}", Paint::Cyan.on(colour, "hint: ")));
        }
    }

    /// Whether standard output may be coloured.
    pub(crate) fn has_colour(&self) -> bool {
        self.context.terminals.stdout && self.context.variable("NO_COLOR").is_none()
    }

    fn talk_has_colour(&self) -> bool {
        self.context.terminals.stderr && self.context.variable("NO_COLOR").is_none()
    }

    pub(crate) fn progress(&self, what: &str, total: u64) -> Progress {
        if self.context.terminals.stderr && !self.options.quiet {
            Progress::shown(what, total)
        } else {
            Progress::hidden()
        }
    }

    /// Whether somebody is there to be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.context.terminals.stdin
    }

    /// Asks before something that cannot be taken back. Without a terminal nobody can be asked, and scripts of old never
    /// were: then it goes ahead.
    pub(crate) fn confirm(&mut self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes || !self.context.terminals.stdin {
            return Ok(());
        }
        let _ = write!(self.context.stderr, "{question} [y/N] ");
        let _ = self.context.stderr.flush();
        let mut answer = String::new();
        // A short answer; what else is typed ahead stays where it is.
        BufReader::with_capacity(1, (&mut self.context.stdin).take(64))
            .read_line(&mut answer)
            .map_err(|error| Failure::new(format!("cannot read your answer: {error}")))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new("not confirmed; nothing was changed").hint("use --yes to skip the question")),
        }
    }

    /// A path as typed, relative to where it was typed, as a path of the workspace.
    pub(crate) fn workspace_path(&self, workspace: &Workspace, typed: &str) -> Result<String, Failure> {
        workspace.relative_path(&self.directory(), Path::new(typed)).ok_or_else(|| {
            Failure::usage(format!(
                "'{}' is not a path inside the workspace {}",
                printable(typed),
                workspace.root().display()
            ))
        })
    }
}
