use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use docstore_models::Identity;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Reason,
    caller::person,
    keys::{KEY_ID_BYTES_MAX, KeySet},
    remote::{Miss, Remote},
};

/// A JSON Web Token (RFC 7519, compact form) of which nothing is believed yet.
pub(crate) struct Unverified<'t> {
    header: Header,
    payload: Vec<u8>,
    message: &'t str,
    signature: &'t str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// What a verified token says. Unknown claims are not looked at; a claim given twice makes the token unreadable.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    /// Seconds since 1970; RFC 7519 §2 allows a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    email: Option<String>,
    email_verified: Option<Value>,
    nonce: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn includes(&self, wanted: &str) -> bool {
        match self {
            Self::One(audience) => audience == wanted,
            Self::Several(audiences) => audiences.iter().any(|audience| audience == wanted),
        }
    }
}

/// What a token of one issuer must say.
pub(crate) struct Rules<'r> {
    /// The spellings of the issuer.
    pub(crate) issuers: &'r [String],
    /// The token must be meant for one of these; `None` takes any, which only an explicit switch may ask for.
    pub(crate) audiences: Option<&'r [String]>,
    /// Whether the issuer must vouch for the address (`email_verified` is JSON true).
    pub(crate) email_verified: bool,
    /// The value that a login was begun with.
    pub(crate) nonce: Option<&'r str>,
    /// The difference between clocks that is put up with.
    pub(crate) leeway: Duration,
}

impl<'t> Unverified<'t> {
    /// Takes a token apart; `None` when it is none.
    pub(crate) fn parse(token: &'t str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        if signature.is_empty() {
            return None;
        }
        // A further part would leave a dot in the payload, which is no base64url.
        let header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        Some(Self { header, payload, message, signature })
    }

    /// The issuer that the token claims, for choosing whose keys to try and for nothing else.
    pub(crate) fn claimed_issuer(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        serde_json::from_slice::<Issuer>(&self.payload).ok().map(|claims| claims.iss)
    }

    /// Verifies the token with the keys of one issuer and returns the person it speaks of, and when it is over.
    ///
    /// `unreadable` is the reason when a verified token cannot be read after all.
    pub(crate) async fn verify(
        &self,
        keys: &Arc<Remote<KeySet>>,
        rules: &Rules<'_>,
        now: DateTime<Utc>,
        unreadable: Reason,
    ) -> Result<(Identity, Option<DateTime<Utc>>), Reason> {
        // Before any key is fetched: what can never verify must not cost an outward call.
        if !matches!(self.header.alg.as_str(), "RS256" | "ES256") {
            return Err(Reason::WrongAlgorithm);
        }
        // RFC 7515 §4.1.11: an extension that must be understood, and we understand none.
        if self.header.crit.is_some() {
            return Err(unreadable);
        }
        let kid = self.header.kid.as_deref().filter(|kid| !kid.is_empty() && kid.len() <= KEY_ID_BYTES_MAX);
        let kid = kid.ok_or(Reason::UnknownKey)?;
        let key = keys.find(|keys| keys.find(kid)).await.map_err(|miss| match miss {
            Miss::Unknown => Reason::UnknownKey,
            Miss::Unavailable => Reason::KeysUnavailable,
        })?;
        if self.header.alg != key.algorithm_name() {
            return Err(Reason::WrongAlgorithm);
        }
        if !key.verifies(self.message.as_bytes(), self.signature) {
            return Err(Reason::BadSignature);
        }
        let claims: Claims = serde_json::from_slice(&self.payload).map_err(|_| unreadable)?;
        claims.judge(rules, now)
    }
}

impl Claims {
    fn judge(&self, rules: &Rules<'_>, now: DateTime<Utc>) -> Result<(Identity, Option<DateTime<Utc>>), Reason> {
        if !self.iss.as_ref().is_some_and(|issuer| rules.issuers.contains(issuer)) {
            return Err(Reason::UnknownIssuer);
        }
        if let Some(wanted) = rules.audiences {
            let audience = self.aud.as_ref().ok_or(Reason::WrongAudience)?;
            if !wanted.iter().any(|wanted| audience.includes(wanted)) {
                return Err(Reason::WrongAudience);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "exact for the next 285 million years")]
        let now = now.timestamp() as f64;
        let leeway = rules.leeway.as_secs_f64();
        // A token that does not say when it expires has expired (contract, server §2.2).
        let Some(over) = self.exp.map(|expiry| expiry + leeway).filter(|over| now <= *over) else {
            return Err(Reason::Expired);
        };
        if [self.nbf, self.iat].into_iter().flatten().any(|start| start > now + leeway) {
            return Err(Reason::NotYetValid);
        }
        if rules.nonce.is_some() && self.nonce.as_deref() != rules.nonce {
            return Err(Reason::WrongNonce);
        }
        if rules.email_verified && self.email_verified != Some(Value::Bool(true)) {
            return Err(Reason::UnverifiedEmail);
        }
        let identity = self.email.as_deref().and_then(person).ok_or(Reason::UnusableEmail)?;
        #[expect(clippy::cast_possible_truncation, reason = "what is beyond the calendar is no date")]
        let over = DateTime::from_timestamp(over.ceil() as i64, 0);
        Ok((identity, over))
    }
}
