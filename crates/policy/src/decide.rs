//! Running a policy.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use docstore_models::{PolicyResult, Requirement, RequirementKind};
use regorus::{
    Value,
    rvm::{
        RegoVM,
        vm::{ExecutionMode, ExecutionState, SuspendReason, VmError},
    },
    utils::limits::ExecutionTimerConfig,
};
use serde::{Deserialize, Serialize};

use crate::{
    Input, Policy,
    guard::{self, TooLarge},
};

/// The stack of a thread that evaluates policies. Comparing, writing or dropping a value takes a frame per level. What
/// people write has a few; a policy that means to can nest hundreds of thousands, and ends the process.
pub const STACK_BYTES: usize = 64 * 1024 * 1024;

/// How many requirements of one policy are passed on; nobody reads more.
const REQUIREMENTS_MAX: usize = 100;
/// How large the requirements of one policy may be, spelled out.
const REQUIREMENTS_SIZE_MAX: usize = 64 * 1024;
/// How long a reason may be; the rest is cut off.
const REASON_BYTES_MAX: usize = 4 * 1024;
/// How many instructions each rule of a decision may take. A policy that looks at each of ten thousand changed paths takes a
/// few hundred thousand.
const INSTRUCTIONS_MAX: usize = 1_000_000;
/// How long one policy may take (contract, server §6).
const EVALUATION_TIME_MAX: Duration = Duration::from_secs(5);
/// After how many instructions the clock is looked at.
const CLOCK_EVERY: NonZeroU32 = NonZeroU32::new(1_024).unwrap();

/// What is reported when a policy fails and has no reason of its own.
const NO_REASON: &str = "policy denied";

/// What an evaluation may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instructions of each rule that is asked for.
    pub instructions: usize,
    /// Time for the whole policy.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { instructions: INSTRUCTIONS_MAX, time: EVALUATION_TIME_MAX }
    }
}

/// Why a policy came to no decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{file}: {message}")]
pub struct EvaluationError {
    /// The policy's file.
    pub file: String,
    /// The policy's name.
    pub name: String,
    /// What went wrong.
    pub message: String,
}

/// A document in the engine's form, to be judged by many policies.
#[derive(Clone, Debug)]
pub struct PreparedInput(Value);

impl PreparedInput {
    /// Takes in a document.
    ///
    /// # Errors
    /// When it cannot be serialised, which its types rule out.
    pub fn new(input: &Input) -> Result<Self, serde_json::Error> {
        Self::from_text(&serde_json::to_string(input)?)
    }

    /// Takes in a document as JSON text.
    ///
    /// # Errors
    /// When the engine cannot read it.
    pub fn from_text(input: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(input).map(Self)
    }
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The verdict as the wire shows it.
    pub result: PolicyResult,
    /// What is missing, in the policy's words; empty when it passes or does not say.
    pub requirements: Vec<Requirement>,
}

impl Policy {
    /// Lets the policy decide.
    ///
    /// # Errors
    /// When a limit stops it, or the rules contradict each other.
    pub fn decide(
        &self,
        input: &PreparedInput,
        now: DateTime<Utc>,
        limits: &Limits,
    ) -> Result<Decision, EvaluationError> {
        // It measures how long this takes; no policy sees it.
        let started = Instant::now();
        let rule = |name: &str| {
            let left = limits.time.saturating_sub(started.elapsed());
            self.rule(name, input, now, limits.instructions, left)
        };
        let pass = rule("allow")? == Value::Bool(true);
        let mut decision = Decision {
            result: PolicyResult {
                name: self.name.clone(),
                pass,
                reason: String::new(),
                file: Some(self.file.clone()),
                org: false,
                shadow: self.shadow || rule("shadow")? == Value::Bool(true),
                overridable: false,
            },
            requirements: Vec::new(),
        };
        if pass {
            return Ok(decision);
        }
        decision.result.reason = match rule("reason")? {
            Value::String(reason) if !reason.is_empty() => cut(&reason, REASON_BYTES_MAX),
            _ => NO_REASON.to_owned(),
        };
        decision.result.overridable = rule("allow_override")? == Value::Bool(true);
        decision.requirements = self.requirements(&rule("requirements")?);
        Ok(decision)
    }

    /// The value of one rule; undefined when the policy does not have it.
    fn rule(
        &self,
        name: &str,
        input: &PreparedInput,
        now: DateTime<Utc>,
        instructions: usize,
        time: Duration,
    ) -> Result<Value, EvaluationError> {
        if !self.rules.contains(&name) {
            return Ok(Value::Undefined);
        }
        let mut machine = RegoVM::new_with_policy(self.compiled.clone());
        machine.load_program(self.program.clone());
        machine.set_max_instructions(instructions);
        machine.set_execution_timer_config(Some(ExecutionTimerConfig { limit: time, check_interval: CLOCK_EVERY }));
        machine.set_execution_mode(ExecutionMode::Suspendable);
        machine.set_input(input.0.clone());
        let failed = |error: VmError| self.failed(name, &explain(&error));
        let mut value = machine.execute_entry_point_by_name(&format!("{}.{name}", self.package)).map_err(failed)?;
        // It stops for each guarded built-in.
        loop {
            let (function, arguments) = match machine.execution_state() {
                ExecutionState::Suspended { reason: SuspendReason::HostAwait { argument, identifier, .. }, .. } => {
                    (identifier.clone(), argument.clone())
                }
                ExecutionState::Suspended { .. } => return Err(self.failed(name, "it stopped half way")),
                _ => return Ok(value),
            };
            let (Value::String(function), Value::Array(arguments)) = (function, arguments) else {
                return Err(self.failed(name, "it called something that is not there"));
            };
            let arguments: Vec<Value> = arguments.iter().cloned().collect();
            let answer = guard::call(&function, &arguments, now)
                .map_err(|TooLarge| self.failed(name, &format!("`{function}` would make more than memory allows")))?;
            value = machine.resume(Some(answer)).map_err(|error| self.failed(name, &explain(&error)))?;
        }
    }

    fn failed(&self, rule: &str, message: &str) -> EvaluationError {
        EvaluationError {
            file: self.file.clone(),
            name: self.name.clone(),
            message: format!("rule `{rule}`: {message}"),
        }
    }

    /// What the policy says is missing. Only what has the right shape is taken: a helpful extra never fails a decision.
    fn requirements(&self, value: &Value) -> Vec<Requirement> {
        let items: Vec<&Value> = match value {
            Value::Set(items) => items.iter().collect(),
            Value::Array(items) => items.iter().collect(),
            _ => return Vec::new(),
        };
        if guard::size_of(value, REQUIREMENTS_SIZE_MAX).is_err() {
            return Vec::new();
        }
        items.into_iter().filter_map(|item| self.requirement(item)).take(REQUIREMENTS_MAX).collect()
    }

    fn requirement(&self, value: &Value) -> Option<Requirement> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Who {
            One(String),
            Many(Vec<String>),
        }

        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            kind: Option<RequirementKind>,
            what: String,
            #[serde(default)]
            who: Option<Who>,
            #[serde(default)]
            command: Option<String>,
        }

        let said = match value {
            Value::String(what) => Said { kind: None, what: what.to_string(), who: None, command: None },
            other => serde_json::from_str(&other.to_json_str().ok()?).ok()?,
        };
        Some(Requirement {
            kind: said.kind.filter(|kind| *kind != RequirementKind::Unknown).unwrap_or(RequirementKind::Policy),
            what: said.what,
            who: match said.who {
                None => Vec::new(),
                Some(Who::One(who)) => vec![who],
                Some(Who::Many(who)) => who,
            },
            command: said.command.filter(|command| !command.is_empty()),
            policy: Some(self.name.clone()),
        })
    }
}

fn explain(error: &VmError) -> String {
    match error {
        VmError::InstructionLimitExceeded { limit, .. } => {
            format!("it was stopped after {limit} instructions; does it loop over too much?")
        }
        VmError::RegexSizeLimitExceeded { limit, .. } => {
            format!("a regular expression is too large: compiled it may take at most {} KiB", limit / 1024)
        }
        VmError::TimeLimitExceeded { .. } => "it was stopped because it took too long".to_owned(),
        // The first line; what follows quotes the byte code.
        other => cut(other.to_string().lines().next().unwrap_or("it failed"), REASON_BYTES_MAX),
    }
}

/// The first bytes of a text, whole characters of it.
fn cut(text: &str, bytes: usize) -> String {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default().to_owned()
}
