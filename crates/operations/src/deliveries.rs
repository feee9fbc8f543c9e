//! What became of deliveries, and sending them again.

use docstore_database::{deliveries, outbox, signing_secrets::signing_secrets};
use docstore_models::{
    CloudEvent, Delivery, DeliveryDetail, DeliveryState, ErrorCode, EventData, PingResult, RedeliverRequest,
    RedeliverResult,
};
use docstore_webhooks::Message;
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, Operations, Result, SubscriptionOwner,
    subscriptions::{storable, subscription_not_found},
    write::{begin, envelope},
};

/// How many deliveries a page has when nobody says.
const DELIVERIES_PAGE: i64 = 100;

/// The most attempts that are shown of one delivery, the newest ones: ten, and as many again for each redelivery.
const ATTEMPTS_SHOWN_MAX: i64 = 100;

/// The most deliveries that one request queues: one statement.
const REDELIVERIES_MAX: i64 = 10_000;

/// The most pings that this process sends at a time: each holds a request while the receiver thinks.
pub(crate) const PINGS_MAX: usize = 16;

impl Operations {
    /// One page of a subscription's deliveries, newest first.
    ///
    /// # Errors
    /// A cursor that is no delivery of this subscription.
    pub async fn list_deliveries(
        &self,
        owner: &SubscriptionOwner,
        state: Option<DeliveryState>,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<Vec<Delivery>> {
        let limit = self.limits().page(limit, DELIVERIES_PAGE);
        let mut connection = self.pool().acquire().await?;
        let page = outbox::list_deliveries(&mut connection, owner.id(), state, after, limit).await?;
        connection.done();
        page.ok_or_else(|| Error::bad_request("invalid pagination cursor"))
    }

    /// One delivery with its attempts and its event.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delivery(&self, owner: &SubscriptionOwner, id: Uuid) -> Result<DeliveryDetail> {
        let mut connection = self.pool().acquire().await?;
        let found = outbox::delivery(&mut connection, owner.id(), id, ATTEMPTS_SHOWN_MAX).await?;
        connection.done();
        let (delivery, history, payload) = found.ok_or_else(delivery_not_found)?;
        let event: CloudEvent = serde_json::from_str(&payload).map_err(|error| Error::Internal(Box::new(error)))?;
        Ok(DeliveryDetail { delivery, history, event })
    }

    /// Queues one delivery again, or everything since a time. They are sent in the order of the log, before what waits
    /// behind them.
    ///
    /// # Errors
    /// A request that cannot be used; `NOT_FOUND` when there is no such delivery.
    pub async fn redeliver(
        &self,
        owner: &SubscriptionOwner,
        key: Option<&IdempotencyKey>,
        request: &RedeliverRequest,
    ) -> Result<RedeliverResult> {
        let mut write = begin!(self, &owner.caller, key);
        let now = self.now();
        let result = match (request.delivery, request.since) {
            (Some(id), None) => {
                if !outbox::redeliver(&mut *write.transaction, owner.id(), id, now).await? {
                    return Err(delivery_not_found());
                }
                RedeliverResult { queued: 1, more: false }
            }
            (None, Some(since)) => {
                let since = storable(since.to_utc());
                let queued =
                    outbox::redeliver_since(&mut *write.transaction, owner.id(), since, now, REDELIVERIES_MAX).await?;
                RedeliverResult { queued, more: queued == REDELIVERIES_MAX }
            }
            _ => return Err(Error::bad_request("exactly one of delivery and since is required")),
        };
        let result = self.finish(write, result).await?;
        self.webhooks().wake();
        Ok(result)
    }

    /// Sends an event to the receiver at once, past the queue, and tells what it answered. It is not in the log, and works
    /// while the subscription is suspended.
    ///
    /// # Errors
    /// `SUBSCRIPTION_NOT_FOUND`; `TOO_MANY_REQUESTS` while too many pings wait for their receivers.
    pub async fn ping_subscription(&self, owner: &SubscriptionOwner) -> Result<PingResult> {
        let Ok(_permit) = self.webhooks().pings.try_acquire() else {
            crate::limits::reached("pings");
            return Err(Error::refused(
                ErrorCode::TooManyRequests,
                "too many pings wait for their receivers; try again",
            ));
        };
        let now = self.now();
        let target = deliveries::target(self.pool(), owner.id()).await?.ok_or_else(subscription_not_found)?;
        let stored = signing_secrets(self.pool(), owner.id(), now).await?;
        let secrets = self.open_signing_secrets(&stored).await?;
        let data = EventData::SubscriptionPinged {
            repo: target.repo.clone(),
            subscription_id: owner.id(),
            pinged_by: owner.caller.identity().as_str().to_owned(),
        };
        let event = envelope(now, target.repo_id, &data)?;
        let message = Message {
            url: &target.url,
            secrets: &secrets,
            event_id: event.event_id,
            timestamp: now.timestamp(),
            body: &event.payload,
            delivery: None,
        };
        let sent = self.webhooks().sender.send(message).await;
        Ok(PingResult {
            delivered: sent.error.is_none(),
            status: sent.status,
            error: sent.error,
            duration_ms: i64::try_from(sent.duration.as_millis()).unwrap_or(i64::MAX),
        })
    }
}

fn delivery_not_found() -> Error {
    Error::refused(ErrorCode::NotFound, "delivery not found")
}
