//! The worker's side: a process that evaluates policies, and can be killed at any instant.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use docstore_policy::{CompileError, EvaluationError, Limits, Policy, PreparedInput, STACK_BYTES};

use crate::{
    confine::{close_inherited, confine, grant_processor},
    protocol::{Answer, FRAME_BYTES_MAX, Facts, Key, Question},
};

/// How many compiled policies a worker keeps, and how long their texts may be together. Compiled they take at most about a
/// hundred times as much.
const COMPILED_POLICIES_MAX: usize = 128;
const COMPILED_SOURCE_BYTES_MAX: usize = 1024 * 1024;

/// Why a policy was not evaluated whose turn came too late.
pub(crate) const NO_TIME_LEFT: &str = "no time was left for it: the policies before it took too long";

/// How a worker ends whose thread has panicked, as Rust programs do.
const PANICKED: i32 = 101;

/// Is a worker until the other end of standard input, a socket, is closed.
///
/// One thread evaluates. This one reads, so that a worker notices in the middle of an evaluation that its server is gone,
/// however that ended.
#[must_use]
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("policy worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    close_inherited();
    let mut questions = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let answers = questions.try_clone()?;
    let (asked, jobs) = sync_channel(1);
    thread::Builder::new().name("policies".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let _end = EndProcess;
        if let Err(error) = (Evaluation { jobs, answers, kept: Vec::new(), uses: 0 }).run() {
            eprintln!("policy worker: {error}");
        }
    })?;
    confine()?;
    while let Some(frame) = read_frame(&mut questions)? {
        if asked.send(frame).is_err() {
            break;
        }
    }
    Ok(())
}

/// Ends the process with its thread: a worker that cannot evaluate is none.
struct EndProcess;

impl Drop for EndProcess {
    fn drop(&mut self) {
        std::process::exit(PANICKED);
    }
}

/// The next frame; none at the end.
fn read_frame(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(Some(frame))
}

struct Kept {
    file: String,
    hash: [u8; 32],
    source_bytes: usize,
    policy: Policy,
    used: u64,
}

struct Evaluation {
    jobs: Receiver<Vec<u8>>,
    answers: UnixStream,
    kept: Vec<Kept>,
    uses: u64,
}

impl Evaluation {
    /// Answers question after question. Ends when the other side speaks another language, or is gone.
    fn run(mut self) -> io::Result<()> {
        while let Some(frame) = self.next() {
            match serde_json::from_slice(&frame)? {
                Question::Compile { key, source, milliseconds } => {
                    grant_processor(milliseconds)?;
                    let compiled = self.compile(&key, &source);
                    let facts = |policy: Policy| Facts {
                        name: policy.name().to_owned(),
                        shadow: policy.is_in_shadow(),
                        reads_time: policy.reads_time(),
                    };
                    self.answer(&Answer::Compiled(compiled.map(facts)))?;
                }
                Question::Decide { policies, input, now, milliseconds } => {
                    grant_processor(milliseconds)?;
                    // It measures how long this takes; no policy sees it.
                    let started = Instant::now();
                    let time = Duration::from_millis(milliseconds);
                    let policies = self.policies(&policies)?;
                    let input = PreparedInput::from_text(input.get())?;
                    for policy in policies {
                        let decided = policy.and_then(|policy| {
                            let left = time.saturating_sub(started.elapsed());
                            if left.is_zero() {
                                return Err(EvaluationError {
                                    file: policy.file().to_owned(),
                                    name: policy.name().to_owned(),
                                    message: NO_TIME_LEFT.to_owned(),
                                });
                            }
                            policy.decide(&input, now, &Limits { time: left, ..Limits::default() })
                        });
                        self.answer(&Answer::Decided(decided))?;
                    }
                }
                Question::Source(_) => return Err(io::Error::other("a text came that was not asked for")),
            }
        }
        Ok(())
    }

    /// Policies by their keys; the texts of those that are not known any more are asked for.
    fn policies(&mut self, keys: &[Key<'_>]) -> io::Result<Vec<Result<Policy, EvaluationError>>> {
        let mut found: Vec<Option<Result<Policy, EvaluationError>>> =
            keys.iter().map(|key| self.kept(key).map(Ok)).collect();
        let missing: Vec<usize> =
            found.iter().enumerate().filter(|(_, found)| found.is_none()).map(|(place, _)| place).collect();
        if !missing.is_empty() {
            self.answer(&Answer::Missing(missing))?;
            for (place, key) in found.iter_mut().zip(keys).filter(|(found, _)| found.is_none()) {
                let frame = self.next().ok_or(io::ErrorKind::UnexpectedEof)?;
                let Question::Source(source) = serde_json::from_slice(&frame)? else {
                    return Err(io::Error::other("a text was asked for"));
                };
                let failed = |error: CompileError| EvaluationError {
                    file: error.file.clone(),
                    name: String::new(),
                    message: error.to_string(),
                };
                *place = Some(self.compile(key, &source).map_err(failed));
            }
        }
        found.into_iter().map(|found| found.ok_or_else(|| io::Error::other("a text is missing"))).collect()
    }

    fn kept(&mut self, key: &Key<'_>) -> Option<Policy> {
        self.uses += 1;
        let kept = self.kept.iter_mut().find(|kept| kept.hash == key.hash && kept.file == key.file)?;
        kept.used = self.uses;
        Some(kept.policy.clone())
    }

    fn compile(&mut self, key: &Key<'_>, source: &str) -> Result<Policy, CompileError> {
        let policy = Policy::compile(&key.file, source)?;
        self.uses += 1;
        self.kept.retain(|kept| kept.hash != key.hash || kept.file != key.file);
        self.kept.push(Kept {
            file: key.file.clone().into_owned(),
            hash: key.hash,
            source_bytes: source.len(),
            policy: policy.clone(),
            used: self.uses,
        });
        while self.kept.len() > COMPILED_POLICIES_MAX
            || self.kept.iter().map(|kept| kept.source_bytes).sum::<usize>() > COMPILED_SOURCE_BYTES_MAX
        {
            let oldest = self.kept.iter().enumerate().min_by_key(|(_, kept)| kept.used);
            let Some((oldest, _)) = oldest else { break };
            self.kept.swap_remove(oldest);
        }
        Ok(policy)
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        self.jobs.recv().ok()
    }

    fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let mut frame = vec![0; 4];
        serde_json::to_writer(&mut frame, answer)?;
        let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
        if let Some(head) = frame.first_chunk_mut() {
            *head = length.to_be_bytes();
        }
        self.answers.write_all(&frame)
    }
}
