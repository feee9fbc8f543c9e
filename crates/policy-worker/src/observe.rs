//! What an operator sees of the workers.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::process::End;

const STARTED: &str = "docstore_policy_workers_started_total";
const ENDED: &str = "docstore_policy_workers_stopped_total";
const SECONDS: &str = "docstore_policy_decision_seconds";

/// Tells the installed recorder what the metrics of this crate mean.
pub fn describe_metrics() {
    describe_counter!(STARTED, "Processes started to evaluate policies");
    describe_counter!(ENDED, "Processes that ended in the middle of an evaluation, by reason");
    describe_histogram!(SECONDS, Unit::Seconds, "Duration of decisions by policies, all policies of one together");
}

pub(crate) fn observe_start() {
    counter!(STARTED).increment(1);
}

/// A worker ended in the middle of something. Its limits are limits like others.
pub(crate) fn observe_end(end: &End) {
    counter!(ENDED, "reason" => end.as_str()).increment(1);
    match end {
        End::Time => reached("policy_time"),
        End::Memory => reached("policy_memory"),
        End::Stack => reached("policy_stack"),
        End::Killed | End::Failed => {}
    }
}

pub(crate) fn observe_decision(took: Duration) {
    histogram!(SECONDS).record(took.as_secs_f64());
}

/// Counts that a limit was reached, beside those of connections and bodies.
pub(crate) fn reached(limit: &'static str) {
    counter!("docstore_limit_reached_total", "limit" => limit).increment(1);
}
