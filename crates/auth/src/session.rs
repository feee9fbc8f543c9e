use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use docstore_models::Identity;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, header::COOKIE};
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{Reason, caller::person};

/// The cookie that a browser login leaves (contract, server §2.3).
pub const SESSION_COOKIE: &str = "ds_session";

/// Signs and reads session cookies: base64url(JSON) `.` base64url(HMAC-SHA-256 over the first part).
pub(crate) struct Sessions {
    key: SecretSlice<u8>,
    life: Duration,
}

#[derive(Serialize, Deserialize)]
struct Session {
    email: String,
    exp: i64,
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
        let session = Session { email: identity.as_str().to_owned(), exp: now.timestamp().checked_add(life)? };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&session).ok()?);
        let tag = URL_SAFE_NO_PAD.encode(self.mac(&payload)?.finalize().into_bytes());
        Some(format!("{payload}.{tag}"))
    }

    /// Whose session a cookie's value is, and when it is over.
    pub(crate) fn read(&self, value: &str, now: DateTime<Utc>) -> Result<(Identity, Option<DateTime<Utc>>), Reason> {
        self.signed(value).ok_or(Reason::InvalidSession).and_then(|session| {
            if now.timestamp() > session.exp {
                return Err(Reason::Expired);
            }
            let identity = person(&session.email).ok_or(Reason::UnusableEmail)?;
            // It is good through its last second.
            Ok((identity, session.exp.checked_add(1).and_then(|over| DateTime::from_timestamp(over, 0))))
        })
    }

    fn signed(&self, value: &str) -> Option<Session> {
        let (payload, tag) = value.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        // Compares in constant time.
        self.mac(payload)?.verify_slice(&tag).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
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
