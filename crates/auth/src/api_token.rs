//! API tokens: what they look like, and what the one that was found says.

use std::{fmt, pin::Pin, sync::Arc};

use chrono::{DateTime, Utc};
use docstore_models::{Action, BranchPattern, Identity};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::{LiveSession, Random};

/// What every API token begins with, so that people and secret scanners know one when they see it.
pub const TOKEN_PREFIX: &str = "dst_";

/// The unpredictable bytes of a token: nobody guesses one of 2^256.
const SECRET_BYTES: usize = 32;

/// The bytes of the checksum. A scanner tells a token from a look-alike without asking, and mistyped ones cost no query.
const CHECKSUM_BYTES: usize = 4;

/// A token's text has this form: the prefix, then 72 hexadecimal digits: 64 for the secret and 8 for the first four bytes
/// of the SHA-256 of everything before them.
pub const TOKEN_PATTERN: &str = "^dst_[0-9a-f]{72}$";

/// What is stored of a token: the SHA-256 of its text. The text is as unpredictable as a key, so a plain hash cannot be
/// turned round, and looking it up in an index tells nobody anything about the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The bytes that are stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads a bearer as an API token: nothing when it does not have the form of one, or its checksum is wrong.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(TOKEN_PREFIX)?;
        let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 2 * (SECRET_BYTES + CHECKSUM_BYTES) || !digits.bytes().all(plain) {
            return None;
        }
        let (body, sum) = text.split_at(text.len() - 2 * CHECKSUM_BYTES);
        bool::from(checksum(body).as_bytes().ct_eq(sum.as_bytes())).then(|| Self(Sha256::digest(text).into()))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

fn checksum(body: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(body));
    digits.truncate(2 * CHECKSUM_BYTES);
    digits
}

/// Makes a token: its text, which is shown once, and what is stored of it.
#[must_use]
pub fn new_token(random: &Random) -> (SecretString, TokenDigest) {
    let mut secret = [0; SECRET_BYTES];
    random(&mut secret);
    let body = format!("{TOKEN_PREFIX}{}", hex::encode(secret));
    let text = format!("{body}{}", checksum(&body));
    let digest = TokenDigest(Sha256::digest(&text).into());
    (text.into(), digest)
}

/// What a token may be used for. The rights are those of its owner, cut by this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Only these repos, by their inner ids; `None` for whatever the owner may enter.
    pub repos: Option<Vec<i64>>,
    /// Only branches that one of these matches may be written; `None` for all.
    pub branches: Option<Vec<BranchPattern>>,
    /// Only routes of these actions.
    pub actions: Vec<Action>,
}

/// A token that was found by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundToken {
    /// Its id on the wire.
    pub token_id: Uuid,
    /// What was found: compared with what was looked for.
    pub digest: Vec<u8>,
    /// Whom it stands for: a person or an agent.
    pub identity: Identity,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was used last, as far as that was noted.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Whether it, or the agent, was revoked.
    pub revoked: bool,
    /// What it may be used for.
    pub scope: Scope,
}

/// The tokens, or the sessions, could not be looked at.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the tokens and sessions cannot be looked up")]
pub struct TokensUnavailable;

/// A pending look at the tokens.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Option<FoundToken>, TokensUnavailable>> + Send + 'a>>;

/// Whether a session was ended before its time.
pub type Ended = Result<bool, TokensUnavailable>;

/// Where tokens are kept, and what is known of sessions. What it answers is never cached, so that a revoked token, or a
/// session that was ended, is over at once.
pub trait TokenStore: Send + Sync {
    /// The token with this digest, whether it is still good or not.
    fn find<'a>(&'a self, digest: &'a TokenDigest) -> Lookup<'a>;

    /// Whether a session was ended before its time.
    fn session_ended<'a>(&'a self, session: &'a LiveSession) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;

    /// Notes that a token was used. Must return at once.
    fn used(&self, token: &FoundToken, now: DateTime<Utc>);
}

/// A store that is shared by all requests.
pub type Tokens = Arc<dyn TokenStore>;

impl FoundToken {
    /// Whether this is the token that was looked for, in a time that says nothing about how much of it agrees.
    pub(crate) fn is(&self, digest: &TokenDigest) -> bool {
        self.digest.as_slice().ct_eq(digest.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::{TOKEN_PREFIX, TokenDigest, new_token};
    use crate::testing::counting_random;

    #[test]
    fn a_token_is_known_by_its_form_and_checksum() {
        let (text, digest) = new_token(&counting_random());
        let text = text.expose_secret();
        assert_eq!((text.len(), text.starts_with(TOKEN_PREFIX)), (76, true));
        assert_eq!(TokenDigest::of(text), Some(digest));
        let mut damaged = text.to_owned();
        damaged.replace_range(10..11, if &text[10..11] == "0" { "1" } else { "0" });
        for other in ["", "dst_", "dst_00", &damaged, &text.to_uppercase(), &text[..75], &format!("{text}0")] {
            assert_eq!(TokenDigest::of(other), None, "{other}");
        }
    }

    #[test]
    fn tokens_differ() {
        let random = counting_random();
        assert_ne!(new_token(&random).1, new_token(&random).1);
    }

    #[test]
    fn the_form_of_a_token_is_fixed_for_ever() {
        // The checksum was computed apart from this code (Python's hashlib).
        assert!(TokenDigest::of(&format!("dst_{}e0c3b83a", "0".repeat(64))).is_some());
    }
}
