use std::{error::Error, fmt, time::Duration};

use reqwest::{RequestBuilder, redirect};
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use crate::{Addresses, NotAllowed, Settings, Signatures};

/// The longest error text that is kept of one attempt, in bytes: enough for a cause and its cause.
const ERROR_BYTES_MAX: usize = 300;

/// How long a connection to a receiver is kept for the next delivery.
const IDLE_CONNECTION_SECONDS_MAX: u64 = 30;

/// What the connection says of itself.
const USER_AGENT: &str = concat!("docstore-webhook/", env!("CARGO_PKG_VERSION"));

/// One webhook.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Where to, as the subscription says.
    pub url: &'a str,
    /// The secret, and during a rotation the one before it.
    pub secrets: &'a [SecretString],
    /// The id of the event: the same however often it is sent.
    pub event_id: Uuid,
    /// Seconds since 1970.
    pub timestamp: i64,
    /// The exact bytes.
    pub body: &'a str,
    /// The delivery, if it is in the outbox.
    pub delivery: Option<Place>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The id of the delivery.
    pub id: Uuid,
    /// The event's position in the log.
    pub position: i64,
    /// The position of the delivery before it to the same subscription, if it is known.
    pub previous_position: Option<i64>,
    /// The first attempt is 1.
    pub attempt: i32,
}

/// What came of sending a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it counts as not delivered; `None` when it was.
    pub error: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// Why there is no sender.
#[derive(Debug, thiserror::Error)]
#[error("TLS for webhooks cannot be set up")]
pub struct CannotSetUp(#[from] reqwest::Error);

/// Sends webhooks. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Sender {
    http: reqwest::Client,
    addresses: Addresses,
    timeout: Duration,
}

impl Sender {
    /// A sender that calls public addresses, and those that the settings allow.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: &Settings) -> Result<Self, CannotSetUp> {
        Self::with_addresses(settings, Addresses::new(&settings.allowed_networks))
    }

    /// The same with other addresses.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn with_addresses(settings: &Settings, addresses: Addresses) -> Result<Self, CannotSetUp> {
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .timeout(settings.timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Nothing of the body is read.
            .no_gzip()
            .no_zstd()
            .pool_idle_timeout(Duration::from_secs(IDLE_CONNECTION_SECONDS_MAX))
            // Many subscriptions may go to one host, each on a connection of its own while it sends.
            .pool_max_idle_per_host(settings.concurrent_max)
            .dns_resolver(std::sync::Arc::new(addresses.clone()))
            .build()?;
        Ok(Self { http, addresses, timeout: settings.timeout })
    }

    /// Which addresses it calls.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Sends one message, once. Takes no longer than the time-out.
    pub async fn send(&self, message: Message<'_>) -> Sent {
        let begun = Instant::now();
        let answered = match self.request(message) {
            // What the client bounds by itself is bounded here again, so that no defect there holds up a subscription.
            Ok(request) => match tokio::time::timeout(self.timeout, request.send()).await {
                Ok(answered) => answered.map_err(|error| self.reason(error)),
                Err(_) => Err(self.too_slow()),
            },
            Err(reason) => Err(reason),
        };
        let duration = begun.elapsed();
        // The answer is dropped here, and with it the connection, unless the body was empty.
        match answered.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Sent { status: Some(status.as_u16()), error: None, duration },
            Ok(status) => {
                let why = if status.is_redirection() { "; redirects are not followed" } else { "" };
                Sent {
                    status: Some(status.as_u16()),
                    error: Some(format!("status {}{why}", status.as_u16())),
                    duration,
                }
            }
            Err(reason) => Sent { status: None, error: Some(reason), duration },
        }
    }

    fn request(&self, message: Message<'_>) -> Result<RequestBuilder, String> {
        let url = Url::parse(message.url).map_err(|_| "the URL cannot be read".to_owned())?;
        self.addresses.check(&url).map_err(|error| error.to_string())?;
        let id = message.event_id.to_string();
        let signatures = Signatures::of(message.secrets, &id, message.timestamp, message.body.as_bytes());
        let mut headers = vec![
            ("content-type", "application/cloudevents+json".to_owned()),
            ("webhook-id", id),
            ("webhook-timestamp", message.timestamp.to_string()),
        ];
        let signed = [
            ("x-docstore-signature", signatures.wire),
            ("x-docstore-signature-previous", signatures.wire_previous),
            ("webhook-signature", signatures.standard),
        ];
        headers.extend(signed.into_iter().filter_map(|(name, value)| Some((name, value?))));
        if let Some(place) = message.delivery {
            headers.push(("x-docstore-delivery", place.id.to_string()));
            headers.push(("x-docstore-attempt", place.attempt.to_string()));
            headers.push(("x-docstore-sequence", place.position.to_string()));
            if let Some(previous) = place.previous_position {
                headers.push(("x-docstore-previous-sequence", previous.to_string()));
            }
        }
        let request = self.http.post(url).body(message.body.to_owned());
        Ok(headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)))
    }

    fn too_slow(&self) -> String {
        format!("no answer within {} s", self.timeout.as_secs_f64())
    }

    /// Why there was no answer, for the owner of the subscription.
    fn reason(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return self.too_slow();
        }
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            if inner.is::<NotAllowed>() {
                return inner.to_string();
            }
            let text = inner.to_string();
            if !reason.contains(&text) {
                reason.push_str(": ");
                reason.push_str(&text);
            }
            cause = inner.source();
        }
        reason.truncate(reason.floor_char_boundary(ERROR_BYTES_MAX));
        reason
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("addresses", &self.addresses).field("timeout", &self.timeout).finish()
    }
}
