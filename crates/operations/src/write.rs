//! The frame of every change: one transaction for the change, its events, and the answer that a repeated request gets.

use chrono::{DateTime, SecondsFormat, Utc};
use docstore_auth::Caller;
use docstore_database::{
    Transaction,
    event_log::{NewEvent, log_events},
    idempotency::{UsedKey, claim_key, store_answer, stored_answer},
};
use docstore_models::{CloudEvent, EventData};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{Error, Operations, Result};

/// A key that the client chose for one write, and the hash of that write: sent again, it has one effect and gets the
/// same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key; unique per identity.
    pub key: String,
    /// SHA-256 of method, path and body, without the secrets in it.
    pub request_hash: Vec<u8>,
    /// The repo that the request is about, if it is known by its id: the answer goes with it.
    pub repo_id: Option<i64>,
}

impl IdempotencyKey {
    /// The key as the database knows it.
    pub(crate) fn used_by<'a>(&'a self, identity: &'a str) -> UsedKey<'a> {
        UsedKey { identity, key: &self.key, request_hash: &self.request_hash }
    }

    /// The key of a request that turned out to be about a repo, or about none.
    pub(crate) fn of_repo(&self, repo_id: Option<i64>) -> Self {
        Self { repo_id, ..self.clone() }
    }
}

/// A write that has begun.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it comes back, and nearly always is a write")]
pub(crate) enum Begun<T> {
    /// The same request was answered before; this is the answer.
    Before(T),
    /// It is new.
    Now(Write),
}

/// The transaction of one write.
pub(crate) struct Write {
    pub(crate) transaction: Transaction,
    pub(crate) identity: String,
    key: Option<IdempotencyKey>,
    /// Noted so far, to be logged with the change.
    pub(crate) events: Vec<NewEvent>,
    now: DateTime<Utc>,
}

impl Operations {
    /// Begins a write.
    pub(crate) async fn begin<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
    ) -> Result<Begun<T>> {
        let mut transaction = docstore_database::begin(self.pool()).await?;
        let identity = caller.identity().as_str().to_owned();
        if let Some(key) = key
            && let Some(stored) = claim_key(&mut transaction, key.repo_id, key.used_by(&identity)).await?
        {
            if stored.request_hash != key.request_hash {
                return Err(Error::key_reused());
            }
            let answer = serde_json::from_str(&stored.answer).map_err(|error| Error::Internal(Box::new(error)))?;
            return Ok(Begun::Before(answer));
        }
        Ok(Begun::Now(Write { transaction, identity, key: key.cloned(), events: Vec::new(), now: self.now() }))
    }

    /// Begins a write that may be repeated without a key, by somebody who is no caller, such as a CI job.
    pub(crate) async fn begin_unkeyed(&self, identity: &str) -> Result<Write> {
        let transaction = docstore_database::begin(self.pool()).await?;
        Ok(Write { transaction, identity: identity.to_owned(), key: None, events: Vec::new(), now: self.now() })
    }

    /// Whether the same request, under the same key, was done before by the same caller. For writes that take away what
    /// they are checked against: sent again they would find nothing to check.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn was_done(&self, caller: &Caller, key: Option<&IdempotencyKey>) -> Result<bool> {
        Ok(self.answered::<()>(caller, key).await?.is_some())
    }

    /// The same for writes that have an answer.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn answered<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<T>> {
        let Some(key) = key else { return Ok(None) };
        let stored = stored_answer(self.pool(), caller.identity().as_str(), &key.key).await?;
        stored
            .filter(|stored| stored.request_hash == key.request_hash)
            .map(|stored| serde_json::from_str(&stored.answer).map_err(|error| Error::Internal(Box::new(error))))
            .transpose()
    }

    /// Commits a write with its events and its answer.
    pub(crate) async fn finish<T: Serialize>(&self, mut write: Write, answer: T) -> Result<T> {
        if !write.events.is_empty() {
            log_events(&mut *write.transaction, &write.events).await?;
        }
        if let Some(key) = &write.key {
            let text = serde_json::to_string(&answer).map_err(|error| Error::Internal(Box::new(error)))?;
            store_answer(&mut *write.transaction, key.used_by(&write.identity), &text).await?;
        }
        let committed = docstore_database::commit(write.transaction).await;
        // Also when it is not known, since it may have happened.
        self.commit_happened();
        committed?;
        Ok(answer)
    }
}

impl Write {
    /// Notes an event, to be logged with the change.
    pub(crate) fn note(&mut self, repo_id: Option<i64>, data: &EventData) -> Result<()> {
        self.events.push(envelope(self.now, repo_id, data)?);
        Ok(())
    }
}

/// Makes the log row of an event: a CloudEvents envelope in the contract's order of keys (server §8.1).
pub(crate) fn envelope(now: DateTime<Utc>, repo_id: Option<i64>, data: &EventData) -> Result<NewEvent> {
    let event_id = Uuid::now_v7();
    let internal = |error: serde_json::Error| Error::Internal(Box::new(error));
    let event = CloudEvent {
        specversion: "1.0".to_owned(),
        r#type: data.event_type().to_owned(),
        source: data.source(),
        id: event_id,
        time: now.to_rfc3339_opts(SecondsFormat::Nanos, true),
        datacontenttype: "application/json".to_owned(),
        data: serde_json::value::to_raw_value(data).map_err(internal)?,
    };
    Ok(NewEvent {
        event_id,
        subject: data.subject(),
        repo_id,
        event_type: event.r#type.clone(),
        payload: serde_json::to_string(&event).map_err(internal)?,
    })
}

/// Begins a write, or returns the answer that the same request got before.
macro_rules! begin {
    ($operations:expr, $caller:expr, $key:expr) => {
        match $operations.begin($caller, $key).await? {
            $crate::write::Begun::Before(answer) => return Ok(answer),
            $crate::write::Begun::Now(write) => write,
        }
    };
}
pub(crate) use begin;
