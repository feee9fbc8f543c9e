//! Evaluators with short limits, policies, and a look at processes.

use std::{
    fs,
    ops::Deref,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::DateTime;
use docstore_policy::{CompileError, EvaluationError, Input};
use docstore_policy_worker::{Bounds, CheckedPolicy, Document, Evaluator, Failure, Program, Tenant};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sha2::{Digest, Sha256};
use tokio::net::unix::pipe;

pub(crate) const REPO: Tenant = Tenant::Repo(1);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const GOOD: &str = "allow if input.actor == \"alice\"";

/// An evaluator whose workers have a name of their own, so that tests that run beside each other can tell theirs.
pub(crate) struct Stage {
    evaluator: Evaluator,
    program: PathBuf,
}

/// Evaluations that may take so many milliseconds.
pub(crate) fn evaluator(milliseconds: u64) -> Stage {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("worker-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    symlink(env!("CARGO_BIN_EXE_docstore-policy-worker"), &program).unwrap();
    let bounds = Bounds { at_once: 8, time: Duration::from_millis(milliseconds) };
    Stage { evaluator: Evaluator::new(Program::at(program.clone()), bounds), program }
}

impl Deref for Stage {
    type Target = Evaluator;

    fn deref(&self) -> &Evaluator {
        &self.evaluator
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.program);
    }
}

impl Stage {
    /// The name of the workers.
    fn name(&self) -> String {
        self.program.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The workers that have not ended.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        workers(&self.name())
    }

    /// Waits until a worker is in the middle of something, and tells which.
    pub(crate) async fn busy_worker(&self) -> Pid {
        let busy = || self.workers().into_iter().find(|worker| used(*worker) > 10);
        until("a worker is busy", || busy().is_some()).await;
        busy().unwrap()
    }
}

/// Compiles the body of a policy.
pub(crate) async fn compile_at(
    evaluator: &Evaluator,
    file: &str,
    body: &str,
) -> Result<Result<Arc<CheckedPolicy>, CompileError>, Failure> {
    let source = format!("package docstore.test\n\nimport rego.v1\n\n{body}\n");
    let hash = Sha256::digest(&source).into();
    Ok(evaluator.compile(REPO, file.to_owned(), source, hash).await?.map(Arc::new))
}

pub(crate) async fn compile(evaluator: &Evaluator, body: &str) -> Arc<CheckedPolicy> {
    compile_at(evaluator, "test.rego", body).await.unwrap().unwrap()
}

/// What one policy says about a change by Alice.
pub(crate) async fn decide(evaluator: &Evaluator, policy: &Arc<CheckedPolicy>) -> Result<bool, EvaluationError> {
    decide_for(evaluator, REPO, policy).await
}

pub(crate) async fn decide_for(
    evaluator: &Evaluator,
    tenant: Tenant,
    policy: &Arc<CheckedPolicy>,
) -> Result<bool, EvaluationError> {
    let policies = [policy.clone()];
    let mut said = evaluator.decide(tenant, &policies, &document(), DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(said.len(), 1);
    said.remove(0).map(|decision| decision.result.pass)
}

pub(crate) fn document() -> Document {
    Document::new(&Input { actor: "alice".to_owned(), ..Input::default() }).unwrap()
}

/// Two values that are equal and share their parts so often that comparing them never ends; then what is done with them.
pub(crate) fn shared(end: &str) -> String {
    let doubled = |name: &str| -> String {
        (1..=60).map(|level| format!("{name}{level} := [{name}{0}, {name}{0}]\n", level - 1)).collect()
    };
    format!("a0 := [1]\nb0 := [1]\n{}{}{end}", doubled("a"), doubled("b"))
}

/// The processes of a name that have not ended.
fn workers(name: &str) -> Vec<Pid> {
    let command = format!("{name}\0policy-worker\0");
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    processes
        .filter(|process| fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|line| line == command))
        .filter_map(|process| Pid::from_raw(process.parse().ok()?))
        .collect()
}

/// How long a process has used the processor, in hundredths of a second.
fn used(worker: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_nonzero())).unwrap_or_default();
    let facts = stat.rsplit(')').next().unwrap_or_default();
    facts.split_whitespace().nth(11).and_then(|ticks| ticks.parse().ok()).unwrap_or_default()
}

/// Waits until a process has ended. It is opened before the future is first polled, so that its number cannot be another's.
pub(crate) fn end_of(process: Pid) -> impl Future<Output = ()> {
    let process = pidfd_open(process, PidfdFlags::NONBLOCK).unwrap();
    // It is no pipe, but can be waited for like one, and tokio has no safe way to wait for any descriptor.
    let process = pipe::Receiver::from_owned_fd_unchecked(process).unwrap();
    async move {
        let ended = tokio::time::timeout(PATIENCE, process.readable()).await;
        ended.expect("it ends").unwrap();
    }
}

/// Looks again and again until something is so: that a process has begun, or has computed for a while, the kernel tells
/// nobody but its parent.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}
