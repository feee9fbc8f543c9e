//! What is measured, a file per subject.

pub(crate) mod client;
pub(crate) mod commits;
pub(crate) mod large;
pub(crate) mod policies;
pub(crate) mod prepare;
pub(crate) mod reads;
pub(crate) mod streams;
pub(crate) mod webhooks;

use std::time::Duration;

use crate::{
    measure::{Amount, Sample},
    report::{Aim, Line},
};

/// Server and floor are measured in turns, so many times each, so that what else the machine does in the meantime
/// strikes both.
pub(crate) const ROUNDS: usize = 3;

/// No round takes longer, however slow the server.
pub(crate) const ROUND_TIME_MAX: Duration = Duration::from_secs(10);

/// So many operations in each round.
pub(crate) fn amount(operations: usize) -> Amount {
    Amount { operations, time_max: ROUND_TIME_MAX }
}

/// Operations per second with their latencies.
pub(crate) fn rate_text(sample: &Sample) -> String {
    format!(
        "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms ({} in all)",
        sample.rate(),
        sample.percentile(50.0),
        sample.percentile(99.0),
        sample.count()
    )
}

/// Latencies alone.
pub(crate) fn time_text(sample: &Sample) -> String {
    format!("p50 {:.2} ms, p99 {:.2} ms ({} in all)", sample.percentile(50.0), sample.percentile(99.0), sample.count())
}

/// A server's sample and that of the floor.
#[derive(Default)]
pub(crate) struct Pair {
    pub(crate) server: Sample,
    pub(crate) floor: Option<Sample>,
}

impl Pair {
    pub(crate) fn add_server(&mut self, sample: Sample) {
        self.server = std::mem::take(&mut self.server).join(sample);
    }

    pub(crate) fn add_floor(&mut self, sample: Sample) {
        self.floor = Some(match self.floor.take() {
            None => sample,
            Some(before) => before.join(sample),
        });
    }

    /// The part of the floor's rate.
    pub(crate) fn part_of_rate(&self) -> Option<f64> {
        self.floor.as_ref().map(|floor| self.server.rate() / floor.rate())
    }

    /// The part of the floor's speed, by the medians.
    pub(crate) fn part_of_speed(&self) -> Option<f64> {
        self.floor.as_ref().map(|floor| floor.percentile(50.0) / self.server.percentile(50.0))
    }

    /// A line about rates.
    pub(crate) fn rate_line(&self, name: &str, work: String, history: &str, least_part: f64) -> Line {
        let part = self.part_of_rate();
        Line {
            name: name.to_owned(),
            work,
            history: history.to_owned(),
            measured: rate_text(&self.server),
            floor: self.floor.as_ref().map(rate_text),
            part_of_floor: part,
            aim: Aim::part(part, least_part),
        }
    }

    /// A line about times.
    pub(crate) fn time_line(&self, name: &str, work: String, history: &str, aim: Option<Aim>) -> Line {
        Line {
            name: name.to_owned(),
            work,
            history: history.to_owned(),
            measured: time_text(&self.server),
            floor: self.floor.as_ref().map(time_text),
            part_of_floor: self.part_of_speed(),
            aim,
        }
    }
}
