//! Compiled policies, and the threads that they are evaluated in.
//!
//! What a policy means depends on its text alone. So the cache goes by the hash of the text: it is right on every replica
//! at once, nothing has to be told to it, and a commit that leaves the policies alone leaves it alone. Which texts count is
//! read from the rows of `main` each time.
//!
//! An evaluation has a thread of its own, with a stack for deeply nested values. The engine stops what runs too long. What
//! it cannot stop (`docstore_policy`) is given up on: the thread stays behind with its permit, and the policy is not run
//! again by this process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use docstore_database::contents::ContentHash;
use docstore_policy::{CompileError, Decision, EvaluationError, Input, Limits, Policy, PreparedInput, STACK_BYTES};
use tokio::sync::{OnceCell, Semaphore, oneshot};

use crate::{Error, Result, limits::reached};

/// How many compiled policies are kept: a hundred repos with ten each, in about 100 MB at worst.
const COMPILED_POLICIES_MAX: usize = 1_024;
/// How many evaluations run at once: they use a core each.
const EVALUATIONS_MAX: usize = 16;
/// How long an evaluation waits for its turn.
const EVALUATION_WAIT: Duration = Duration::from_secs(5);
/// How long all policies of one decision may take together: they run while `main` is locked.
const DECISION_TIME_MAX: Duration = Duration::from_secs(5);
/// When an evaluation is given up on that does not even stop: well after the engine should have stopped it.
const DECISION_GIVEN_UP: Duration = Duration::from_secs(10);

/// What a text turned out to be.
pub(crate) type Compiled = Result<Arc<CompiledPolicy>, CompileError>;

/// A policy that can be run.
#[derive(Debug)]
pub(crate) struct CompiledPolicy {
    pub(crate) policy: Policy,
    /// It did not stop once.
    stuck: AtomicBool,
}

type Key = (String, ContentHash);

struct Entry {
    cell: Arc<OnceCell<Compiled>>,
    used: u64,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    uses: u64,
}

/// The cache of one process.
pub(crate) struct PolicyCache {
    kept: Mutex<Kept>,
    turns: Arc<Semaphore>,
}

impl PolicyCache {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default(), turns: Arc::new(Semaphore::new(EVALUATIONS_MAX)) }
    }

    /// The place of a text by file and hash; whoever fills it first does so for all.
    pub(crate) fn place(&self, file: &str, hash: ContentHash) -> Arc<OnceCell<Compiled>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let used = kept.uses;
        if kept.entries.len() >= COMPILED_POLICIES_MAX
            && let Some(oldest) = kept.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
        {
            reached("compiled_policies");
            kept.entries.remove(&oldest);
        }
        let entry = kept.entries.entry((file.to_owned(), hash)).or_insert_with(|| Entry { cell: Arc::default(), used });
        entry.used = used;
        entry.cell.clone()
    }

    /// Lets policies decide about a document, one after the other.
    pub(crate) async fn decide(
        &self,
        policies: Vec<Arc<CompiledPolicy>>,
        input: Input,
        now: DateTime<Utc>,
    ) -> Result<Vec<Result<Decision, EvaluationError>>> {
        let input = PreparedInput::new(&input).map_err(|error| Error::Internal(Box::new(error)))?;
        self.decide_each(policies, vec![input], now).await.map(|mut all| all.pop().unwrap_or_default())
    }

    /// The same for several documents.
    pub(crate) async fn decide_each(
        &self,
        policies: Vec<Arc<CompiledPolicy>>,
        inputs: Vec<PreparedInput>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Vec<Result<Decision, EvaluationError>>>> {
        let busy = || Error::Unavailable("a turn to evaluate policies", "too many evaluations at once".into());
        let turn = tokio::time::timeout(EVALUATION_WAIT, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            reached("evaluations");
            return Err(busy());
        };
        let at = Arc::new(AtomicUsize::new(0));
        let (answer, answered) = oneshot::channel();
        let (thread_policies, thread_at) = (policies.clone(), at.clone());
        let thread = std::thread::Builder::new().name("policies".to_owned()).stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            let _turn = turn;
            let started = std::time::Instant::now();
            let decide = |input: &PreparedInput| {
                let one = |(index, policy): (usize, &Arc<CompiledPolicy>)| {
                    thread_at.store(index, Ordering::Relaxed);
                    policy.decide(input, now, DECISION_TIME_MAX.saturating_sub(started.elapsed()))
                };
                thread_policies.iter().enumerate().map(one).collect()
            };
            // Whoever asked may have gone.
            let _ = answer.send(inputs.iter().map(decide).collect());
        });
        spawned.map_err(|error| Error::Unavailable("a thread to evaluate policies", Box::new(error)))?;
        match tokio::time::timeout(DECISION_GIVEN_UP, answered).await {
            Ok(Ok(decisions)) => Ok(decisions),
            Ok(Err(_)) => Err(Error::Internal("the thread that evaluated policies has panicked".into())),
            Err(_) => {
                reached("evaluation_given_up");
                let stuck = policies.get(at.load(Ordering::Relaxed));
                if let Some(stuck) = stuck {
                    stuck.stuck.store(true, Ordering::Relaxed);
                    tracing::error!(file = stuck.policy.file(), "a policy does not stop; it is not run again");
                }
                Err(Error::PolicyFailed(format!(
                    "{}: it does not stop",
                    stuck.map_or("a policy", |stuck| stuck.policy.file())
                )))
            }
        }
    }
}

impl CompiledPolicy {
    /// Compiles a text, on another thread.
    pub(crate) async fn compile(file: String, source: String) -> Result<Compiled> {
        let compile = move || Policy::compile(&file, &source);
        let compiled = tokio::task::spawn_blocking(compile).await.map_err(|error| Error::Internal(Box::new(error)))?;
        Ok(compiled.map(|policy| Arc::new(Self { policy, stuck: AtomicBool::new(false) })))
    }

    fn decide(&self, input: &PreparedInput, now: DateTime<Utc>, time: Duration) -> Result<Decision, EvaluationError> {
        if self.stuck.load(Ordering::Relaxed) {
            return Err(EvaluationError {
                file: self.policy.file().to_owned(),
                name: self.policy.name().to_owned(),
                message: "it did not stop before, and is not run again".to_owned(),
            });
        }
        self.policy.decide(input, now, &Limits { time, ..Limits::default() })
    }
}
