use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Utc};
use docstore_client::RetryPolicy;

/// Which of the three streams are a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Questions can be asked.
    pub stdin: bool,
    /// Output is read by a person.
    pub stdout: bool,
    /// Progress can be shown.
    pub stderr: bool,
}

/// Opens an address in the user's browser.
pub type OpenBrowser = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;
/// Lets the user edit a file with the given editor command.
pub type Edit = Arc<dyn Fn(&str, &Path) -> io::Result<()> + Send + Sync>;

/// Starts a pager; what is written goes through it until it is dropped, which waits for the reader.
pub type StartPager = Arc<dyn Fn(&str) -> io::Result<Box<dyn Write + Send>> + Send + Sync>;

/// Everything that `ds` knows of the world outside its arguments and the file system. Handed in, so that a test is a
/// function call and many can run at once.
pub struct Context {
    /// Where the command runs.
    pub directory: PathBuf,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// What is typed.
    pub stdin: Box<dyn Read + Send>,
    /// Data.
    pub stdout: Box<dyn Write + Send>,
    /// Talk.
    pub stderr: Box<dyn Write + Send>,
    /// Which of them are a terminal.
    pub terminals: Terminals,
    /// The time.
    pub now: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// The browser.
    pub open_browser: OpenBrowser,
    /// The editor.
    pub edit: Edit,
    /// The pager, for long output on a terminal.
    pub start_pager: StartPager,
    /// The server when no workspace names one.
    pub default_remote: Option<String>,
    /// How often to try to reach the server.
    pub retries: RetryPolicy,
}

impl Context {
    /// The world of this process.
    ///
    /// # Errors
    /// When the current directory is gone.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that is handed in")]
    pub fn from_process() -> io::Result<Self> {
        Ok(Self {
            directory: std::env::current_dir()?,
            // What is not UTF-8 cannot be a value that `ds` reads.
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            terminals: Terminals {
                stdin: io::stdin().is_terminal(),
                stdout: io::stdout().is_terminal(),
                stderr: io::stderr().is_terminal(),
            },
            stdin: Box::new(io::stdin()),
            stdout: Box::new(io::BufWriter::with_capacity(64 * 1024, io::stdout())),
            stderr: Box::new(io::stderr()),
            now: Arc::new(Utc::now),
            open_browser: Arc::new(open_browser),
            edit: Arc::new(run_editor),
            start_pager: Arc::new(start_pager),
            default_remote: option_env!("DS_DEFAULT_REMOTE").filter(|url| !url.is_empty()).map(str::to_owned),
            retries: RetryPolicy::default(),
        })
    }

    /// A world for tests: this directory, an environment with only `HOME` and `USER`, and output that is kept.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a test that cares about the time brings its own clock")]
    pub fn for_test(directory: &Path, home: &Path) -> (Self, Captured) {
        let captured = Captured::default();
        let environment = BTreeMap::from([
            ("HOME".to_owned(), home.display().to_string()),
            ("USER".to_owned(), "alice@example.com".to_owned()),
        ]);
        let context = Self {
            directory: directory.to_owned(),
            environment,
            stdin: Box::new(io::empty()),
            stdout: Box::new(captured.stdout.clone()),
            stderr: Box::new(captured.stderr.clone()),
            terminals: Terminals::default(),
            now: Arc::new(Utc::now),
            open_browser: Arc::new(|_| Err(io::Error::other("no browser in a test"))),
            edit: Arc::new(|_, _| Err(io::Error::other("no editor in a test"))),
            start_pager: Arc::new(|_| Err(io::Error::other("no pager in a test"))),
            default_remote: None,
            retries: RetryPolicy {
                attempts_max: 2,
                delay_first: std::time::Duration::ZERO,
                delay_max: std::time::Duration::ZERO,
            },
        };
        (context, captured)
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// What a command wrote in a test.
#[derive(Clone, Default)]
pub struct Captured {
    stdout: Buffer,
    stderr: Buffer,
}

impl Captured {
    /// The bytes on standard output.
    #[must_use]
    pub fn stdout_bytes(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// Standard output as text.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.bytes()).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().map(|bytes| bytes.clone()).unwrap_or_default()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut all) = self.0.lock() {
            all.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_browser(address: &str) -> io::Result<()> {
    let (program, arguments): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("cmd", &["/c", "start", ""])
    } else {
        ("xdg-open", &[])
    };
    std::process::Command::new(program)
        .args(arguments)
        .arg(address)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .map(drop)
}

/// Runs the editor through the shell, as git does, so that `EDITOR="code --wait"` works.
fn run_editor(editor: &str, file: &Path) -> io::Result<()> {
    let status = if cfg!(windows) {
        std::process::Command::new("cmd").args(["/c", editor]).arg(file).status()?
    } else {
        std::process::Command::new("sh").args(["-c", &format!("{editor} \"$@\""), editor]).arg(file).status()?
    };
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{editor} ended with {status}"))) }
}

/// Runs the pager through the shell, as git does.
fn start_pager(pager: &str) -> io::Result<Box<dyn Write + Send>> {
    let mut command = std::process::Command::new(if cfg!(windows) { "cmd" } else { "sh" });
    command.args([if cfg!(windows) { "/c" } else { "-c" }, pager]).stdin(std::process::Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Quit when it fits on the screen, keep colours, leave the screen as it is.
        command.env("LESS", "FRX");
    }
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    Ok(Box::new(Pager { child, stdin: stdin.map(io::BufWriter::new) }))
}

struct Pager {
    child: std::process::Child,
    stdin: Option<io::BufWriter<std::process::ChildStdin>>,
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdin.as_mut().map_or(Ok(bytes.len()), |stdin| stdin.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        // The end of its input, then whatever the reader still wants to look at.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
