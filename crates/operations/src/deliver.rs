//! Sending what the outbox holds (contract, server §8.5).
//!
//! # Theory
//!
//! A subscription is delivered to by one process at a time, which holds its **turn** in the database until a time; so what it
//! gets is in the order of the log, and a process that dies loses the turn when it runs out. Subscriptions are independent:
//! each turn is a task of its own, and **places are shared** ([`Shares`]): those whose receivers failed last time or are slow
//! have at most half, so that a hundred dead receivers do not make a living one wait; so has each org, and of those half
//! again for its own bad ones. What is free goes to the orgs in turn. While others may be waiting a turn ends after a second,
//! which is after one answer of a slow receiver.
//!
//! The delivery at the front is tried again after 1, 2, 4 … seconds, and what is behind it waits. After
//! [`ATTEMPTS_MAX`] attempts it is given up and the subscription is suspended, which its creator can undo. So does the loss
//! of the creator's right: whoever may no longer read a repo is no longer told of it.
//!
//! The loop is woken when events get their positions and when somebody resumes or redelivers; a poll is the guarantee.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use docstore_database::{
    access::has_role,
    agents::agent_lives,
    deliveries::{self, Attempt, BatchBounds, DueDelivery, Target, Verdict},
    delivery_turns::{self, TakenTurn},
    event_log::log_events,
    signing_secrets::{StoredSigningSecret, signing_secrets},
    subscriptions::suspend_subscription,
};
use docstore_models::{EventData, Identity};
use docstore_webhooks::{Message, Place, Sender, Sent};
use futures::future::join_all;
use secrecy::SecretString;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    Operations, Result,
    deliveries::PINGS_MAX,
    places::{Running, Shares, Turn},
    write::envelope,
};

/// After so many attempts a delivery is given up (contract, server §8.5).
const ATTEMPTS_MAX: i32 = 10;

/// The longest pause between two attempts (contract, server §8.5).
const RETRY_SECONDS_MAX: i64 = 3600;

/// How long a turn is held without a word: much longer than one attempt and its record can take.
const TURN_SECONDS: i64 = 90;

/// After how long a turn ends although there is more to send, so that others get a place.
const TURN_PAUSE: Duration = Duration::from_secs(30);

/// The same while others may be waiting for a place: some dozens of deliveries to a quick receiver.
const CROWDED_TURN_PAUSE: Duration = Duration::from_secs(1);

/// The deliveries read at a time.
const BATCH_DELIVERIES_MAX: i64 = 50;

/// The bytes of events read at a time, for each subscription that is being delivered to.
const BATCH_BYTES_MAX: i64 = 256 * 1024;

/// The most deliveries that get their positions in one statement.
const PLACED_ROWS_MAX: i64 = 10_000;

const BATCH: BatchBounds =
    BatchBounds { placed_rows_max: PLACED_ROWS_MAX, rows_max: BATCH_DELIVERIES_MAX, bytes_max: BATCH_BYTES_MAX };

/// How often the outbox is looked at without having been told.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How long the loop gathers after each look, so that many events share one.
const GATHERING_PAUSE: Duration = Duration::from_millis(10);

/// The loop rests so many times as long as a look took: looking costs what waits, and no more than a fifth of a connection.
const LOOK_REST_TIMES: u32 = 4;

/// The pause of a subscription whose secret cannot be opened: the key is away, or not configured. Nothing is lost by it,
/// and nothing is sent unsigned.
const UNSIGNED_PAUSE_SECONDS: i64 = 30;

/// The pause after the database failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// What sends webhooks, and how many at a time.
#[derive(Debug)]
pub struct Webhooks {
    pub(crate) sender: Sender,
    pub(crate) pings: Semaphore,
    concurrent_max: usize,
    /// Somebody asked for deliveries that no event announces.
    wanted: Notify,
    /// A share of the places is taken, so that somebody may be waiting.
    crowded: AtomicBool,
}

impl Webhooks {
    /// Delivers to at most so many subscriptions at a time.
    #[must_use]
    pub fn new(sender: Sender, concurrent_max: usize) -> Self {
        Self {
            sender,
            pings: Semaphore::new(PINGS_MAX),
            concurrent_max,
            wanted: Notify::new(),
            crowded: AtomicBool::new(false),
        }
    }

    /// Has the outbox looked at, for what no event announces.
    pub(crate) fn wake(&self) {
        self.wanted.notify_one();
    }
}

/// What signs during a turn, the newest first: as it is stored, and opened.
#[derive(Default)]
struct Signing {
    stored: Vec<StoredSigningSecret>,
    opened: Vec<SecretString>,
}

impl Operations {
    /// Delivers until shutdown, and then lets every attempt that is under way end. `announced` changes when events may have
    /// got positions.
    pub async fn deliver_webhooks(&self, mut announced: watch::Receiver<i64>, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        let mut turns = Running::default();
        tokio::pin!(shutdown);
        loop {
            let begun = Instant::now();
            let pause = match self.take_turns(turns.busy.values()).await {
                Ok(taken) => {
                    let found_none = taken.is_empty();
                    for turn in taken {
                        let (this, stopping) = (self.clone(), stopping.clone());
                        turns.spawn(turn, async move { this.take_turn(turn, &stopping).await });
                    }
                    if found_none { self.until_next_turn().await } else { POLL_INTERVAL }
                }
                Err(error) => {
                    log_failure(&error);
                    FAILURE_PAUSE
                }
            };
            let rest = GATHERING_PAUSE.max(begun.elapsed().saturating_mul(LOOK_REST_TIMES)).min(POLL_INTERVAL);
            tokio::select! {
                () = &mut shutdown => break,
                () = sleep(rest) => {}
            }
            tokio::select! {
                () = &mut shutdown => break,
                // Without a sender nobody announces any more; then the poll is left.
                Ok(()) = announced.changed() => {}
                () = self.webhooks().wanted.notified() => {}
                Some(ended) = turns.tasks.join_next_with_id() => turns.ended(ended),
                () = sleep(pause) => {}
            }
            while let Some(ended) = turns.tasks.try_join_next_with_id() {
                turns.ended(ended);
            }
        }
        stop.send_replace(true);
        while turns.tasks.join_next().await.is_some() {}
    }

    /// Delivers what is due now, and says how many attempts that took.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn deliver_due(&self) -> Result<usize> {
        let (_stop, stopping) = watch::channel(false);
        let mut tried = 0;
        loop {
            let taken = self.take_turns([].iter()).await?;
            let ended = join_all(taken.into_iter().map(|turn| self.take_turn(turn, &stopping))).await;
            let round: usize = ended.into_iter().sum::<Result<usize>>()?;
            if round == 0 {
                return Ok(tried);
            }
            tried += round;
        }
    }

    /// Takes as many turns as there are places beside those that are under way.
    async fn take_turns<'a>(&self, busy: impl Iterator<Item = &'a Turn> + Clone) -> Result<Vec<Turn>> {
        let shares = Shares::of(self.webhooks().concurrent_max);
        let (holder, now) = (Uuid::now_v7(), self.now());
        let bounds = shares.bounds(busy.clone());
        let taken = if bounds.free == 0 {
            Vec::new()
        } else {
            delivery_turns::take_turns(self.pool(), holder, now, turn_end(now), &bounds).await?
        };
        self.webhooks().crowded.store(shares.crowded(busy.count() + taken.len()), Ordering::Relaxed);
        let turn =
            |TakenTurn { subscription_id, org_id, held_back }| Turn { subscription_id, holder, org_id, held_back };
        Ok(taken.into_iter().map(turn).collect())
    }

    async fn until_next_turn(&self) -> Duration {
        let now = self.now();
        match delivery_turns::next_turn(self.pool(), now).await {
            Ok(Some(next)) => (next - now).to_std().unwrap_or_default().min(POLL_INTERVAL),
            Ok(None) => POLL_INTERVAL,
            Err(error) => {
                log_failure(&error.into());
                FAILURE_PAUSE
            }
        }
    }

    /// Delivers to one subscription until there is no more, something fails, or it took long enough. Says how many
    /// deliveries were tried.
    async fn take_turn(&self, turn: Turn, stopping: &watch::Receiver<bool>) -> Result<usize> {
        let mut tried = 0;
        let ended = self.deliver_in_order(turn, stopping, &mut tried).await;
        match ended {
            Ok(()) => Ok(tried),
            Err(error) => {
                log_failure(&error);
                // If this fails as well, the turn runs out by itself.
                let again = self.now() + TimeDelta::seconds(1);
                let _ = delivery_turns::give_back_turn(self.pool(), turn.subscription_id, turn.holder, again).await;
                Err(error)
            }
        }
    }

    async fn deliver_in_order(&self, turn: Turn, stopping: &watch::Receiver<bool>, tried: &mut usize) -> Result<()> {
        let Turn { subscription_id, holder, .. } = turn;
        let begun = self.now();
        let mut signing = Signing::default();
        loop {
            let Some(target) = deliveries::target(self.pool(), subscription_id).await? else {
                return Ok(());
            };
            if !self.may_still_be_told(subscription_id, &target).await? {
                let reason = format!("{} may no longer read what this is about", target.created_by);
                return self.suspend(turn, &target, &reason, None).await;
            }
            let batch = deliveries::next_deliveries(self.pool(), subscription_id, holder, BATCH).await?;
            let Some(last) = batch.len().checked_sub(1) else {
                delivery_turns::give_back_turn(self.pool(), subscription_id, holder, self.now()).await?;
                return Ok(());
            };
            if let Err(error) = self.refresh(&mut signing, subscription_id).await {
                tracing::warn!(
                    subscription = %subscription_id,
                    error = &error as &(dyn std::error::Error + 'static),
                    "webhooks cannot be signed and wait"
                );
                let again = self.now() + TimeDelta::seconds(UNSIGNED_PAUSE_SECONDS);
                delivery_turns::give_back_turn(self.pool(), subscription_id, holder, again).await?;
                return Ok(());
            }
            // Then the turn ends with the last one: whatever has come meanwhile is found with the turns that are due.
            let is_all = is_all(&batch);
            for (index, due) in batch.iter().enumerate() {
                if *stopping.borrow() || self.took_enough(begun) {
                    delivery_turns::give_back_turn(self.pool(), subscription_id, holder, self.now()).await?;
                    return Ok(());
                }
                *tried += 1;
                let ends_turn = is_all && index == last;
                if !self.attempt(turn, &target, &signing.opened, due, ends_turn).await? {
                    return Ok(());
                }
            }
        }
    }

    /// Whether a turn that began then lasts long enough, since others may be waiting.
    fn took_enough(&self, begun: DateTime<Utc>) -> bool {
        let crowded = self.webhooks().crowded.load(Ordering::Relaxed);
        let longest = if crowded { CROWDED_TURN_PAUSE } else { TURN_PAUSE };
        (self.now() - begun).to_std().is_ok_and(|took| took > longest)
    }

    /// Sees to it that what signs now is open. It is opened once in a turn, unless it changes.
    async fn refresh(&self, signing: &mut Signing, subscription_id: Uuid) -> Result<()> {
        let stored = signing_secrets(self.pool(), subscription_id, self.now()).await?;
        if stored != signing.stored {
            *signing = Signing { opened: self.open_signing_secrets(&stored).await?, stored };
        }
        Ok(())
    }

    /// Sends one delivery and records what came of it. `false` when the turn is over.
    async fn attempt(
        &self,
        turn: Turn,
        target: &Target,
        secrets: &[SecretString],
        due: &DueDelivery,
        ends_turn: bool,
    ) -> Result<bool> {
        let started_at = self.now();
        let place = Place {
            id: due.id,
            position: due.position,
            previous_position: due.previous_position,
            attempt: due.attempts.saturating_add(1),
        };
        let message = Message {
            url: &target.url,
            secrets,
            event_id: due.event_id,
            timestamp: started_at.timestamp(),
            body: &due.payload,
            delivery: Some(place),
        };
        let sent = self.webhooks().sender.send(message).await;
        metrics::histogram!("docstore_webhook_attempt_seconds").record(sent.duration.as_secs_f64());
        let now = self.now();
        let Some(error) = &sent.error else {
            metrics::counter!("docstore_webhook_attempts_total", "outcome" => "delivered").increment(1);
            let verdict = Verdict::Delivered { held_until: (!ends_turn).then(|| turn_end(now)) };
            let held = self.record(turn, due, started_at, &sent, verdict, now).await?;
            return Ok(held && !ends_turn);
        };
        tracing::debug!(subscription = %turn.subscription_id, delivery = %due.id, error, "a webhook was not delivered");
        if place.attempt >= ATTEMPTS_MAX {
            metrics::counter!("docstore_webhook_attempts_total", "outcome" => "dead").increment(1);
            let reason = format!("a delivery failed {ATTEMPTS_MAX} times: {error}");
            self.suspend(turn, target, &reason, Some((due, started_at, &sent))).await?;
            return Ok(false);
        }
        metrics::counter!("docstore_webhook_attempts_total", "outcome" => "failed").increment(1);
        let verdict = Verdict::Again { at: now + retry_delay(due.attempts) };
        self.record(turn, due, started_at, &sent, verdict, now).await?;
        Ok(false)
    }

    async fn record(
        &self,
        turn: Turn,
        due: &DueDelivery,
        started_at: DateTime<Utc>,
        sent: &Sent,
        verdict: Verdict,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let attempt = attempt_of(started_at, now, sent);
        let held =
            deliveries::record_attempt(self.pool(), turn.subscription_id, turn.holder, due.id, attempt, verdict, now);
        Ok(held.await?)
    }

    /// Stops a subscription, with the delivery that was given up for it if there is one, in one transaction.
    async fn suspend(
        &self,
        turn: Turn,
        target: &Target,
        reason: &str,
        given_up: Option<(&DueDelivery, DateTime<Utc>, &Sent)>,
    ) -> Result<()> {
        let Turn { subscription_id, holder, .. } = turn;
        let now = self.now();
        let mut transaction = docstore_database::begin(self.pool()).await?;
        // The subscription before its turn: whoever resumes or deletes it locks in this order.
        let suspended = suspend_subscription(&mut *transaction, subscription_id, reason, now).await?;
        if let Some((due, started_at, sent)) = given_up {
            let attempt = attempt_of(started_at, now, sent);
            let recorded = deliveries::record_attempt(
                &mut *transaction,
                subscription_id,
                holder,
                due.id,
                attempt,
                Verdict::Dead,
                now,
            );
            // The turn was lost: whoever has it decides.
            if !recorded.await? {
                return Ok(());
            }
        } else {
            delivery_turns::give_back_turn(&mut *transaction, subscription_id, holder, now).await?;
        }
        if suspended {
            let event = EventData::SubscriptionSuspended {
                repo: target.repo.clone(),
                subscription_id,
                reason: reason.to_owned(),
            };
            log_events(&mut *transaction, &[envelope(now, target.repo_id, &event)?]).await?;
            tracing::warn!(subscription = %subscription_id, reason, "a subscription was suspended");
            metrics::counter!("docstore_webhook_suspensions_total").increment(1);
        }
        docstore_database::commit(transaction).await?;
        self.commit_happened();
        Ok(())
    }

    /// Whether a subscription's creator may read what it is about; of an agent, whether it is still there and its owner may.
    async fn may_still_be_told(&self, subscription_id: Uuid, target: &Target) -> Result<bool> {
        let Ok(creator) = Identity::parse(target.created_by.as_str()) else { return Ok(false) };
        // Ids go by time: an agent that got the name later did not subscribe.
        if creator.agent_owner().is_some()
            && !agent_lives(self.pool(), creator.as_str(), Some(subscription_id), self.now()).await?
        {
            return Ok(false);
        }
        let rights_of = creator.agent_owner().unwrap_or(creator);
        if self.is_global_admin(&rights_of) {
            return Ok(true);
        }
        match target.repo_id {
            Some(repo_id) => Ok(has_role(self.pool(), repo_id, rights_of.as_str()).await?),
            None => Ok(false),
        }
    }
}

/// A clock that was set back took no time.
fn milliseconds(took: TimeDelta) -> i64 {
    took.num_milliseconds().max(0)
}

fn attempt_of(started_at: DateTime<Utc>, ended_at: DateTime<Utc>, sent: &Sent) -> Attempt<'_> {
    Attempt {
        started_at,
        duration_ms: milliseconds(ended_at - started_at),
        status: sent.status.map(i32::from),
        error: sent.error.as_deref(),
    }
}

/// Whether a batch holds everything that there was, as far as its bounds tell.
fn is_all(batch: &[DueDelivery]) -> bool {
    let bytes: usize = batch.iter().map(|due| due.payload.len()).sum();
    let below = |number: usize, bound: i64| i64::try_from(number).is_ok_and(|number| number < bound);
    below(batch.len(), BATCH_DELIVERIES_MAX) && below(bytes, BATCH_BYTES_MAX)
}

fn turn_end(now: DateTime<Utc>) -> DateTime<Utc> {
    now + TimeDelta::seconds(TURN_SECONDS)
}

/// 1 s after the first failure, then twice as long each time (contract, server §8.5).
fn retry_delay(attempts_before: i32) -> TimeDelta {
    let doublings = u32::try_from(attempts_before).unwrap_or(0).min(20);
    TimeDelta::seconds((1_i64 << doublings).min(RETRY_SECONDS_MAX))
}

fn log_failure(error: &crate::Error) {
    tracing::warn!(error = error as &(dyn std::error::Error + 'static), "webhooks are held up, trying again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_an_hour() {
        let seconds: Vec<i64> = (0..14).map(|attempts| retry_delay(attempts).num_seconds()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
        assert_eq!(retry_delay(i32::MAX).num_seconds(), RETRY_SECONDS_MAX);
    }
}
