//! The places of delivery, and who may have them.
//!
//! A place is held for as long as a receiver takes, so whoever has many that are slow could take all. Those whose receivers
//! fail or are slow have at most half of the places; so has each org, and of those half again for its own bad ones. What is
//! free goes to the orgs in turn (`take_turns`), so many subscriptions are worth no more than one.

use std::{collections::HashMap, future::Future};

use docstore_database::delivery_turns::TurnBounds;
use tokio::task::{Id, JoinError, JoinSet};
use uuid::Uuid;

use crate::Result;

/// A receiver that takes longer on average is slow: a quick one answers in a fraction of it from anywhere on earth, and ten
/// times as long is the time-out.
const QUICK_MILLISECONDS_MAX: i32 = 1000;

/// A turn that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) subscription_id: Uuid,
    pub(crate) holder: Uuid,
    /// The org whose places it takes; 0 when it is about all repos.
    pub(crate) org_id: i64,
    /// Its receiver fails or is slow.
    pub(crate) held_back: bool,
}

/// How places are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// All there are.
    places: usize,
    /// The most that go to those whose receivers fail or are slow.
    held_back: usize,
    /// The most that go to one org.
    org: usize,
    /// The most of one org that go to its own ones that fail or are slow.
    org_held_back: usize,
}

impl Shares {
    pub(crate) fn of(places: usize) -> Self {
        let half = |of: usize| (of / 2).max(1);
        Self { places, held_back: half(places), org: half(places), org_held_back: half(half(places)) }
    }

    /// What is left beside the turns that are under way.
    pub(crate) fn bounds<'a>(self, busy: impl Iterator<Item = &'a Turn> + Clone) -> TurnBounds {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let held_back = busy.clone().filter(|turn| turn.held_back).count();
        TurnBounds {
            free: number(self.places.saturating_sub(busy.clone().count())),
            held_back_free: number(self.held_back.saturating_sub(held_back)),
            org_max: number(self.org),
            org_held_back_max: number(self.org_held_back),
            slow_ms: QUICK_MILLISECONDS_MAX,
            busy_orgs: busy.clone().map(|turn| turn.org_id).collect(),
            busy_held_back: busy.map(|turn| turn.held_back).collect(),
        }
    }

    /// Whether somebody may be waiting for a place. Below the smallest share nobody is.
    pub(crate) fn crowded(self, busy: usize) -> bool {
        busy >= self.org_held_back
    }
}

/// The turns that are under way, by their tasks: a turn ends with its task, however that ends.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) tasks: JoinSet<Result<usize>>,
    pub(crate) busy: HashMap<Id, Turn>,
}

impl Running {
    pub(crate) fn spawn(&mut self, turn: Turn, task: impl Future<Output = Result<usize>> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.busy.insert(id, turn);
    }

    pub(crate) fn ended(&mut self, ended: std::result::Result<(Id, Result<usize>), JoinError>) {
        let id = match ended {
            Ok((id, _)) => id,
            Err(error) => {
                tracing::error!(error = &error as &(dyn std::error::Error + 'static), "delivering a webhook panicked");
                error.id()
            }
        };
        self.busy.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(org_id: i64, held_back: bool) -> Turn {
        Turn { subscription_id: Uuid::nil(), holder: Uuid::nil(), org_id, held_back }
    }

    #[tokio::test]
    async fn a_turn_that_ends_badly_leaves_the_places_of_others() {
        let mut turns = Running::default();
        let left = |turns: &Running| turns.busy.values().map(|turn| (turn.org_id, turn.held_back)).collect::<Vec<_>>();
        turns.spawn(turn(1, true), std::future::pending());
        turns.spawn(turn(2, false), async { Err(crate::Error::bad_request("the database is away")) });
        let ended = turns.tasks.join_next_with_id().await.unwrap();
        turns.ended(ended);
        assert_eq!(left(&turns), [(1, true)], "the one that fails is still at it");
        turns.spawn(turn(3, true), async { Err(crate::Error::bad_request("the database is away")) });
        let ended = turns.tasks.join_next_with_id().await.unwrap();
        turns.ended(ended);
        assert_eq!(left(&turns), [(1, true)]);
        turns.tasks.abort_all();
        let ended = turns.tasks.join_next_with_id().await.unwrap();
        turns.ended(ended);
        assert_eq!((turns.tasks.len(), turns.busy.len()), (0, 0));
    }

    #[test]
    fn nobody_has_all_places() {
        let shares = Shares::of(64);
        assert_eq!((shares.held_back, shares.org, shares.org_held_back), (32, 32, 16));
        let busy = [turn(1, false), turn(1, true), turn(2, true)];
        let left = shares.bounds(busy.iter());
        assert_eq!((left.free, left.held_back_free), (61, 30));
        assert_eq!((left.busy_orgs, left.busy_held_back), (vec![1, 1, 2], vec![false, true, true]));
        // However few there are, everybody gets one.
        assert_eq!(Shares::of(2), Shares { places: 2, held_back: 1, org: 1, org_held_back: 1 });
    }
}
