//! The server's side of one worker.

use std::{
    borrow::Cow,
    collections::HashSet,
    ffi::OsString,
    fmt, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use docstore_policy::{CompileError, Decision, EvaluationError};
use futures::{SinkExt, StreamExt};
use rustix::process::Signal;
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::protocol::{Answer, FRAME_BYTES_MAX, Facts, Key, Question};

/// This executable on Linux, also after another version was put in its place.
const THIS_EXECUTABLE: &str = "/proc/self/exe";
/// The argument that makes a server's executable a worker.
const ARGUMENT: &str = "policy-worker";
/// How long a worker that closed its connection may take to end before it is killed.
const END_WAIT: Duration = Duration::from_secs(1);
/// How much is kept of the last words of a worker: what Rust says when memory or the stack ends is shorter.
const LAST_WORDS_BYTES_MAX: usize = 4 * 1024;

/// Whether this process was started to be a worker: to be asked before anything else is done.
#[must_use]
pub fn is_asked_for() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|argument| argument == ARGUMENT) && arguments.next().is_none()
}

/// What is started as a worker.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    name: OsString,
}

impl Program {
    /// The executable of this process, whose `main` begins with [`is_asked_for`].
    #[must_use]
    pub fn this_executable() -> Self {
        let Ok(path) = std::env::current_exe() else { return Self::at(THIS_EXECUTABLE.into()) };
        let mut program = Self::at(path);
        if Path::new(THIS_EXECUTABLE).exists() {
            program.path = THIS_EXECUTABLE.into();
        }
        program
    }

    /// Another executable that does so.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        let name = path.file_name().unwrap_or_default().to_owned();
        Self { path, name }
    }
}

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It took too long, and was killed.
    Time,
    /// It wanted more memory than there is for it.
    Memory,
    /// Something is nested too deeply.
    Stack,
    /// Somebody else killed it, perhaps the system in want of memory.
    Killed,
    /// The engine has a defect.
    Failed,
}

impl End {
    /// The name on the metric.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Killed => "killed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "it was stopped because it took too long",
            Self::Memory => "it was stopped because it needs too much memory",
            Self::Stack => "it was stopped because its values or expressions are nested too deeply",
            Self::Killed => "it was interrupted: the process that evaluated it was killed",
            Self::Failed => "the engine failed",
        })
    }
}

/// The other side is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// What to decide.
pub(crate) struct Job<'a> {
    pub(crate) policies: Vec<(Key<'a>, &'a str)>,
    pub(crate) input: &'a serde_json::value::RawValue,
    pub(crate) now: chrono::DateTime<chrono::Utc>,
}

/// A process that evaluates policies. Dropped, it is killed.
pub(crate) struct Worker {
    child: Child,
    frames: Framed<UnixStream, LengthDelimitedCodec>,
    last_words: JoinHandle<Vec<u8>>,
    /// How many questions it was asked.
    pub(crate) questions: usize,
    /// The hashes of the texts that it has seen.
    pub(crate) seen: HashSet<[u8; 32]>,
    /// How often texts had been forgotten when it was last known to have none of those.
    pub(crate) forgotten: u64,
}

impl Worker {
    /// Starts one. It gets nothing of this process but its end of a pair of sockets.
    pub(crate) fn start(program: &Program, forgotten: u64) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = Command::new(&program.path)
            .arg0(&program.name)
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            // What a terminal sends to its foreground is for the server, which finishes what is in hand.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
        let last_words = tokio::spawn(keep_last_words(child.stderr.take()));
        Ok(Self {
            child,
            frames: Framed::new(UnixStream::from_std(ours)?, codec),
            last_words,
            questions: 0,
            seen: HashSet::new(),
            forgotten,
        })
    }

    /// Whether a text is a policy.
    pub(crate) async fn compile(
        &mut self,
        key: &Key<'_>,
        source: &str,
        time: Duration,
    ) -> Result<Result<Facts, CompileError>, Gone> {
        self.questions += 1;
        self.seen.insert(key.hash);
        let question =
            Question::Compile { key: key.clone(), source: Cow::Borrowed(source), milliseconds: milliseconds(time) };
        self.ask(&question).await?;
        match self.answer().await? {
            Answer::Compiled(compiled) => Ok(compiled),
            _ => Err(Gone),
        }
    }

    /// Lets policies decide, one after the other. Those that have decided when it ends are in `decided`.
    pub(crate) async fn decide(
        &mut self,
        job: &Job<'_>,
        time: Duration,
        decided: &mut Vec<Result<Decision, EvaluationError>>,
    ) -> Result<(), Gone> {
        self.questions += 1;
        self.seen.extend(job.policies.iter().map(|(key, _)| key.hash));
        let policies = job.policies.iter().map(|(key, _)| key.clone()).collect();
        let question = Question::Decide { policies, input: job.input, now: job.now, milliseconds: milliseconds(time) };
        self.ask(&question).await?;
        while decided.len() < job.policies.len() {
            match self.answer().await? {
                Answer::Decided(decision) => decided.push(decision),
                Answer::Missing(places) => {
                    for (_, source) in places.iter().filter_map(|&place| job.policies.get(place)) {
                        self.ask(&Question::Source(Cow::Borrowed(source))).await?;
                    }
                }
                Answer::Compiled(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    async fn ask(&mut self, question: &Question<'_>) -> Result<(), Gone> {
        let frame = serde_json::to_vec(question).map_err(|_| Gone)?;
        self.frames.send(Bytes::from(frame)).await.map_err(|_| Gone)
    }

    async fn answer(&mut self) -> Result<Answer, Gone> {
        let frame = self.frames.next().await.and_then(Result::ok).ok_or(Gone)?;
        serde_json::from_slice(&frame).map_err(|_| Gone)
    }

    /// Kills it.
    pub(crate) async fn kill(mut self) -> End {
        if let Err(error) = self.child.kill().await {
            tracing::error!(error = &error as &(dyn std::error::Error + 'static), "a policy worker cannot be killed");
        }
        End::Time
    }

    /// Says why it is gone.
    pub(crate) async fn gone(mut self) -> End {
        let Ok(Ok(status)) = tokio::time::timeout(END_WAIT, self.child.wait()).await else {
            // It closed its connection and lives on: that is no worker.
            self.kill().await;
            return End::Failed;
        };
        let words = self.last_words.await.unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let end = why(status, &words);
        if end == End::Failed {
            tracing::error!(%status, words = words.trim(), "a policy worker failed");
        }
        end
    }
}

/// Why a process ended, by its status and by what Rust says in such a case.
fn why(status: ExitStatus, words: &str) -> End {
    let by = |signal: Signal| status.signal() == Some(signal.as_raw());
    if by(Signal::XCPU) {
        End::Time
    } else if by(Signal::KILL) || by(Signal::TERM) || by(Signal::INT) {
        End::Killed
    } else if words.contains("memory allocation of") || words.contains("capacity overflow") {
        End::Memory
    } else if words.contains("has overflowed its stack") {
        End::Stack
    } else {
        End::Failed
    }
}

/// Reads what a worker says to the end, so that it is never kept waiting, and keeps the last of it.
async fn keep_last_words(stderr: Option<ChildStderr>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stderr) = stderr else { return kept };
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut piece).await {
        kept.extend_from_slice(piece.get(..count).unwrap_or_default());
        kept.drain(..kept.len().saturating_sub(LAST_WORDS_BYTES_MAX));
    }
    kept
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
