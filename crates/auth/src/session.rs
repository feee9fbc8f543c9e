use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use docstore_models::Identity;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, header::COOKIE};
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Reason, caller::person};

/// The cookie that a browser login leaves (contract, server §2.3).
pub const SESSION_COOKIE: &str = "ds_session";

/// How long a session lasts that does not say when it began (contract, server §2.3).
const WIRE_LIFE: TimeDelta = TimeDelta::hours(24);

/// Tells sessions apart, and says nothing about how to make one: SHA-256 of what the cookie's signature is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionDigest([u8; 32]);

impl SessionDigest {
    /// The bytes that are stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for SessionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A session whose signature is ours and whose time is not over. Whether it was ended before is for the
/// [`TokenStore`](crate::TokenStore) to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// Who logged in.
    pub identity: Identity,
    /// Which login.
    pub digest: SessionDigest,
    /// When that was.
    pub began_at: DateTime<Utc>,
    /// When it is over; it is good through the last second that it names.
    pub expires_at: DateTime<Utc>,
}

/// Signs and reads session cookies: base64url(JSON) `.` base64url(HMAC-SHA-256 over the first part).
pub(crate) struct Sessions {
    key: SecretSlice<u8>,
    life: Duration,
}

#[derive(Serialize, Deserialize)]
struct Session {
    email: String,
    exp: i64,
    /// When it began, in microseconds since 1970: no two logins of a person are alike, and the last one can be told from all
    /// before. Additive; one without it is of the contract's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<i64>,
}

impl Sessions {
    pub(crate) fn new(key: SecretSlice<u8>, life: Duration) -> Self {
        Self { key, life }
    }

    /// How long a session lasts.
    pub(crate) fn life(&self) -> Duration {
        self.life
    }

    /// The cookie's value for somebody who has just logged in.
    pub(crate) fn issue(&self, identity: &Identity, now: DateTime<Utc>) -> Option<String> {
        let life = i64::try_from(self.life.as_secs()).ok()?;
        let exp = now.timestamp().checked_add(life)?;
        let session = Session { email: identity.as_str().to_owned(), exp, began: Some(now.timestamp_micros()) };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&session).ok()?);
        let tag = URL_SAFE_NO_PAD.encode(self.mac(&payload)?.finalize().into_bytes());
        Some(format!("{payload}.{tag}"))
    }

    /// The session of a cookie's value.
    pub(crate) fn read(&self, value: &str, now: DateTime<Utc>) -> Result<LiveSession, Reason> {
        let (session, digest) = self.signed(value).ok_or(Reason::InvalidSession)?;
        if now.timestamp() > session.exp {
            return Err(Reason::Expired);
        }
        let identity = person(&session.email).ok_or(Reason::UnusableEmail)?;
        let moment = |seconds: Option<i64>| seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let expires_at = moment(session.exp.checked_add(1)).ok_or(Reason::InvalidSession)?;
        let began_at = match session.began {
            Some(micros) => DateTime::from_timestamp_micros(micros),
            None => moment(Some(session.exp)).and_then(|over| over.checked_sub_signed(WIRE_LIFE)),
        };
        Ok(LiveSession { identity, digest, began_at: began_at.ok_or(Reason::InvalidSession)?, expires_at })
    }

    fn signed(&self, value: &str) -> Option<(Session, SessionDigest)> {
        let (payload, tag) = value.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        // Compares in constant time.
        self.mac(payload)?.verify_slice(&tag).ok()?;
        let session = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        Some((session, SessionDigest(Sha256::digest(payload).into())))
    }

    fn mac(&self, payload: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret()).ok()?;
        mac.update(payload.as_bytes());
        Some(mac)
    }
}

/// The size of all cookies of a request, in bytes.
pub(crate) fn cookie_bytes(headers: &HeaderMap) -> usize {
    headers.get_all(COOKIE).iter().map(http::HeaderValue::len).sum()
}

/// The values of the cookies with this name, in the order sent. HTTP/2 may spread cookies over several headers.
pub(crate) fn cookies<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(move |pair| pair.trim().split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}
