//! The server's side of all workers.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use docstore_policy::{CompileError, Decision, EvaluationError, Input};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use crate::{
    Program, Tenant,
    observe::{observe_decision, observe_end, observe_start, reached},
    process::{End, Job, Worker},
    protocol::{FRAME_BYTES_MAX, Key},
    turns::{Turn, Turns},
    worker::NO_TIME_LEFT,
};

/// How many workers run at once, whatever the machine has: each may take memory.
const WORKERS_MAX: usize = 16;
/// How many run at once on the smallest machine, so that one that does not end leaves room for others.
const WORKERS_MIN: usize = 4;
/// How many workers are kept while they have nothing to do. What comes one after the other needs one.
const IDLE_WORKERS_MAX: usize = 4;
/// After how many questions a worker is replaced, so that no memory is lost for long.
const QUESTIONS_MAX: usize = 1_000;
/// How long an evaluation waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// How long all policies of one decision may take together, since `main` is locked meanwhile; and how long compiling a
/// policy may take.
const TIME_MAX: Duration = Duration::from_secs(5);
/// How much later a worker is killed: the engine stops most of what takes too long, and says so better.
const KILL_PAUSE: Duration = Duration::from_millis(500);
/// How long a policy is not run again that a worker had to be given up for: otherwise each request could cost as much.
const STOPPED_PAUSE: Duration = Duration::from_secs(30);
/// How many such policies are remembered.
const STOPPED_MAX: usize = 1_024;
/// How much the key of a policy takes in a question beside its path, of which each byte may need an escape.
const KEY_BYTES_MAX: usize = 256;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Too many evaluations are going on.
    #[error("too many evaluations at once")]
    Busy,
    /// No process can be started.
    #[error("no process can be started")]
    CannotStart(#[source] io::Error),
    /// Compiling was stopped. That may have been the machine, so it is nothing to remember.
    #[error("{0}")]
    Stopped(CompileError),
}

/// A text that has been found to be a policy. Its file and the hash of its text say which it is.
#[derive(Clone, Debug)]
pub struct CheckedPolicy {
    file: String,
    hash: [u8; 32],
    source: String,
    name: String,
    shadow: bool,
    reads_time: bool,
}

impl CheckedPolicy {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The hash of its text.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Whether its place says that it is only tried out.
    #[must_use]
    pub fn is_in_shadow(&self) -> bool {
        self.shadow
    }

    /// Whether it asks for the time: the same document may be judged otherwise later.
    #[must_use]
    pub fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// How long its text is.
    #[must_use]
    pub fn source_bytes(&self) -> usize {
        self.source.len()
    }

    fn failed(&self, message: impl Into<String>) -> EvaluationError {
        EvaluationError { file: self.file.clone(), name: self.name.clone(), message: message.into() }
    }

    fn with_key(&self) -> (Key<'_>, &str) {
        (Key { file: Cow::Borrowed(&self.file), hash: self.hash }, &self.source)
    }
}

/// What one policy says, or why it came to no decision.
pub type Decided = Result<Decision, EvaluationError>;

/// The policies of one decision on their way.
struct Round<'a> {
    policies: &'a [Arc<CheckedPolicy>],
    decided: Vec<Option<Decided>>,
    /// In which order they are asked: those that are only tried out come last, so that none of them takes the time of one
    /// that counts.
    order: Vec<usize>,
}

impl<'a> Round<'a> {
    fn new(policies: &'a [Arc<CheckedPolicy>]) -> Self {
        let mut order: Vec<usize> = (0..policies.len()).collect();
        order.sort_by_key(|&place| policies.get(place).is_some_and(|policy| policy.shadow));
        Self { policies, decided: vec![None; policies.len()], order }
    }

    fn open_places(&self) -> impl Iterator<Item = usize> {
        self.order.iter().copied().filter(|&place| matches!(self.decided.get(place), Some(None)))
    }

    /// The policies that have not decided yet, in the order in which they are asked.
    fn open(&self) -> impl Iterator<Item = &'a CheckedPolicy> {
        self.open_places().filter_map(|place| self.policies.get(place).map(Arc::as_ref))
    }

    fn next(&self) -> Option<&'a CheckedPolicy> {
        self.open().next()
    }

    fn decide(&mut self, place: usize, decided: Decided) {
        if let Some(slot) = self.decided.get_mut(place) {
            *slot = Some(decided);
        }
    }

    fn decide_next(&mut self, decided: Decided) {
        let next = self.open_places().next();
        if let Some(place) = next {
            self.decide(place, decided);
        }
    }

    /// All that are open come to no decision.
    fn fail(&mut self, message: &str) {
        while let Some(policy) = self.next() {
            self.decide_next(Err(policy.failed(message)));
        }
    }

    fn finish(mut self) -> Vec<Decided> {
        self.fail("it was not asked");
        self.decided.into_iter().flatten().collect()
    }
}

/// A document in the form in which workers get it.
#[derive(Clone, Debug)]
pub struct Document(Box<RawValue>);

impl Document {
    /// Of a document.
    ///
    /// # Errors
    /// When it cannot be serialised, which its types rule out.
    pub fn new(input: &Input) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(input).map(Self)
    }

    /// Of a document as it was stored.
    ///
    /// # Errors
    /// The same.
    pub fn of_stored(input: &serde_json::Value) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(input).map(Self)
    }
}

/// Compiles and evaluates policies in workers. Cheap to clone; the workers end with the last clone.
#[derive(Clone)]
pub struct Evaluator(Arc<Inner>);

struct Inner {
    program: Program,
    time: Duration,
    turns: Turns,
    idle: Mutex<Idle>,
    stopped: Mutex<HashMap<StoppedPolicy, (Instant, End)>>,
}

/// Workers that have nothing to do.
#[derive(Default)]
struct Idle {
    workers: Vec<Worker>,
    /// How often texts had to be forgotten. A worker that was busy then is not kept.
    forgotten: u64,
}

/// On whose behalf, its file, and the hash of its text.
type StoppedPolicy = (Tenant, String, [u8; 32]);

/// What all evaluations of a server may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many may run at once; at most a quarter of them are for one tenant.
    pub at_once: usize,
    /// How long the policies of one decision may take together, and compiling one.
    pub time: Duration,
}

impl Default for Bounds {
    /// Twice as many at once as there are processors.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { at_once: (2 * processors).clamp(WORKERS_MIN, WORKERS_MAX), time: TIME_MAX }
    }
}

impl Evaluator {
    /// Workers of a program. None is started before there is something to do.
    #[must_use]
    pub fn new(program: Program, bounds: Bounds) -> Self {
        let (turns, time, idle, stopped) =
            (Turns::new(bounds.at_once), bounds.time, Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { program, time, turns, idle, stopped }))
    }

    /// Finds out whether a text is a policy. The hash is that of the text.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn compile(
        &self,
        tenant: Tenant,
        file: String,
        source: String,
        hash: [u8; 32],
    ) -> Result<Result<CheckedPolicy, CompileError>, Failure> {
        let _turn = self.turn(tenant).await?;
        let key = Key { file: Cow::Borrowed(&file), hash };
        let mut must_be_new = false;
        let end = loop {
            let mut worker = self.worker(must_be_new)?;
            let is_new = worker.questions == 0;
            match timeout(self.0.time + KILL_PAUSE, worker.compile(&key, &source, self.0.time)).await {
                Ok(Ok(compiled)) => {
                    self.give_back(worker);
                    return Ok(compiled.map(|facts| CheckedPolicy {
                        name: facts.name,
                        shadow: facts.shadow,
                        reads_time: facts.reads_time,
                        file,
                        hash,
                        source,
                    }));
                }
                Err(_) => break worker.kill().await,
                Ok(Err(_)) => {
                    let end = worker.gone().await;
                    if is_new || end == End::Time {
                        break end;
                    }
                    observe_end(&end);
                    must_be_new = true;
                }
            }
        };
        observe_end(&end);
        tracing::warn!(file, reason = end.as_str(), "compiling a policy was stopped");
        Err(Failure::Stopped(CompileError { file, line: None, message: format!("compiling it: {end}") }))
    }

    /// Lets policies decide about a document, one after the other, those that are only tried out last. The answers are in
    /// the order of the policies.
    ///
    /// # Errors
    /// [`Failure`]. A policy that is stopped is no failure of all: it came to no decision.
    pub async fn decide(
        &self,
        tenant: Tenant,
        policies: &[Arc<CheckedPolicy>],
        input: &Document,
        now: DateTime<Utc>,
    ) -> Result<Vec<Decided>, Failure> {
        let mut round = Round::new(policies);
        self.leave_out_stopped(tenant, &mut round);
        let keys: usize = policies.iter().map(|policy| 2 * policy.file.len() + KEY_BYTES_MAX).sum();
        if input.0.get().len() + keys > FRAME_BYTES_MAX {
            reached("policy_document");
            round.fail("the document is too large to be judged");
        }
        if round.next().is_some() {
            let _turn = self.turn(tenant).await?;
            let started = Instant::now();
            // Perhaps while this one waited.
            self.leave_out_stopped(tenant, &mut round);
            self.run(tenant, &mut round, input, now).await?;
            observe_decision(started.elapsed());
        }
        Ok(round.finish())
    }

    async fn run(
        &self,
        tenant: Tenant,
        round: &mut Round<'_>,
        input: &Document,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + self.0.time;
        let mut must_be_new = false;
        while round.next().is_some() {
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                round.fail(NO_TIME_LEFT);
                break;
            }
            let mut worker = self.worker(must_be_new)?;
            let is_new = worker.questions == 0;
            let job = Job { policies: round.open().map(CheckedPolicy::with_key).collect(), input: &input.0, now };
            let mut decided = Vec::new();
            let outcome = timeout(time + KILL_PAUSE, worker.decide(&job, time, &mut decided)).await;
            for decision in decided {
                round.decide_next(decision);
            }
            let end = match outcome {
                Ok(Ok(())) => {
                    self.give_back(worker);
                    continue;
                }
                Ok(Err(_)) => worker.gone().await,
                Err(_) => worker.kill().await,
            };
            observe_end(&end);
            // What others have left in a worker is not this policy's fault: it gets a second chance in a new one.
            if end != End::Time && !is_new {
                must_be_new = true;
                continue;
            }
            let Some(policy) = round.next() else { break };
            tracing::warn!(file = policy.file, reason = end.as_str(), ?tenant, "a policy was stopped");
            round.decide_next(Err(policy.failed(end.to_string())));
            self.remember_stopped(tenant, policy, end);
        }
        Ok(())
    }

    async fn turn(&self, tenant: Tenant) -> Result<Turn, Failure> {
        match self.0.turns.take(tenant, TURN_WAIT).await {
            Some(turn) => Ok(turn),
            None => {
                reached("evaluations");
                Err(Failure::Busy)
            }
        }
    }

    /// The worker that was used last, since it knows most; or a new one.
    fn worker(&self, must_be_new: bool) -> Result<Worker, Failure> {
        let forgotten = {
            let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if !must_be_new && let Some(worker) = idle.workers.pop() {
                return Ok(worker);
            }
            idle.forgotten
        };
        observe_start();
        Worker::start(&self.0.program, forgotten).map_err(Failure::CannotStart)
    }

    fn give_back(&self, worker: Worker) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if worker.questions < QUESTIONS_MAX
            && idle.workers.len() < IDLE_WORKERS_MAX
            && worker.forgotten == idle.forgotten
        {
            idle.workers.push(worker);
        }
    }

    /// The hashes of the texts that workers may keep, beside those that are busy.
    #[must_use]
    pub fn kept(&self) -> HashSet<[u8; 32]> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.workers.iter().flat_map(|worker| worker.seen.iter().copied()).collect()
    }

    /// Forgets texts: workers that may keep one of them end, and with them their memory; a busy one when it is done.
    pub fn forget(&self, hashes: &[[u8; 32]]) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.forgotten += 1;
        let forgotten = idle.forgotten;
        idle.workers.retain_mut(|worker| {
            worker.forgotten = forgotten;
            !hashes.iter().any(|hash| worker.seen.contains(hash))
        });
    }

    /// Does not ask policies that were stopped a moment ago.
    fn leave_out_stopped(&self, tenant: Tenant, round: &mut Round<'_>) {
        for (place, policy) in round.policies.iter().enumerate() {
            if let Some(error) = self.stopped_before(tenant, policy) {
                round.decide(place, Err(error));
            }
        }
    }

    fn stopped_before(&self, tenant: Tenant, policy: &CheckedPolicy) -> Option<EvaluationError> {
        let mut stopped = self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant, policy.file.clone(), policy.hash);
        let (at, end) = stopped.get(&key)?;
        let left = STOPPED_PAUSE.saturating_sub(at.elapsed());
        if left.is_zero() {
            stopped.remove(&key);
            return None;
        }
        Some(policy.failed(format!("{end}; it is run again in {} s at the earliest", left.as_secs() + 1)))
    }

    fn remember_stopped(&self, tenant: Tenant, policy: &CheckedPolicy, end: End) {
        // That was somebody else.
        if end == End::Killed {
            return;
        }
        let mut stopped = self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if stopped.len() >= STOPPED_MAX {
            stopped.retain(|_, (at, _)| at.elapsed() < STOPPED_PAUSE);
        }
        if stopped.len() < STOPPED_MAX {
            stopped.insert((tenant, policy.file.clone(), policy.hash), (Instant::now(), end));
        }
    }
}
