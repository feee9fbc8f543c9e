//! Subscriptions: who is told of events by HTTP, and what became of each delivery (contract, server §4.15).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{CloudEvent, SecretText, Timestamp};

/// What stands in place of a secret wherever a subscription is shown.
pub const MASKED_SECRET: &str = "********";

/// Somebody who is told of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subscription {
    /// The id.
    pub id: Uuid,
    /// The full name of the repo; absent for all events of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Full event types; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<String>>,
    /// Always `webhook`.
    pub backend: String,
    /// `url` and whatever else was sent; a `secret` is masked.
    pub config: BTreeMap<String, String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it, and may change it.
    pub created_by: String,
    /// Since when nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<Timestamp>,
    /// How often it was suspended since it was resumed last.
    pub failure_count: i32,
    /// Why it is suspended. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_reason: Option<String>,
    /// Until when the secret before this one signs as well. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_until: Option<Timestamp>,
}

/// `GET /subscriptions`: oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubscriptionList {
    /// Those that the caller may change: the own ones, or all for the global admin.
    pub subscriptions: Vec<Subscription>,
}

/// Body of `POST /subscriptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateSubscriptionRequest {
    /// The full name of a repo; absent for all events of the server, which only the global admin may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Full event types; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<String>>,
    /// `webhook`.
    pub backend: String,
    /// An object of texts: `url`, and `secret` if deliveries shall be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, String>>))]
    pub config: Option<serde_json::Value>,
}

/// Body of `PATCH /subscriptions/{id}`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateSubscriptionRequest {
    /// Where to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Full event types from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<String>>,
    /// All event types from now on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_event_types: bool,
    /// The new secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub secret: Option<SecretText>,
    /// How long the old secret signs beside the new one; a day when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_secret_seconds: Option<i64>,
}

/// What a receiver answered to a ping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PingResult {
    /// Whether the receiver took it.
    pub delivered: bool,
    /// The status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
}

/// What became of a delivery so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeliveryState {
    /// It waits for its turn or for another attempt.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It was tried too often, and given up.
    Dead,
}

/// One event on its way to one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delivery {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// The id of the event.
    pub event_id: Uuid,
    /// The full type of the event.
    pub event_type: String,
    /// The event's place in the log, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// The place of the delivery before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_position: Option<i64>,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried since it was queued or redelivered.
    pub attempts: i32,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When the receiver took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// When it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_at: Option<Timestamp>,
    /// Before when it is not tried again; while it is pending and failed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// `GET /subscriptions/{id}/deliveries`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveryList {
    /// One page of deliveries.
    pub deliveries: Vec<Delivery>,
}

/// One attempt at a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveryAttempt {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `GET /subscriptions/{id}/deliveries/{delivery}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveryDetail {
    /// The delivery.
    pub delivery: Delivery,
    /// What was tried, oldest first.
    pub history: Vec<DeliveryAttempt>,
    /// What is sent.
    pub event: CloudEvent,
}

/// Body of `POST /subscriptions/{id}/redeliver`: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RedeliverRequest {
    /// One delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Uuid>,
    /// Every event since this time that the subscription is about, also those of while it was suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// What `POST /subscriptions/{id}/redeliver` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RedeliverResult {
    /// How many deliveries were queued, oldest first.
    pub queued: i64,
    /// Whether there are more than one request queues.
    pub more: bool,
}

/// One event of a page of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PositionedEvent {
    /// Its place in the log.
    pub position: i64,
    /// The event.
    pub event: CloudEvent,
}

/// `GET events/log`: a page of the log, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventPage {
    /// The events that pass the filter; perhaps none, though there is more.
    pub events: Vec<PositionedEvent>,
    /// What to send as `after` for the next page.
    pub next_after: i64,
    /// Whether there is more behind it now.
    pub more: bool,
}
