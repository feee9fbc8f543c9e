//! Who is asking: identities, tokens, sessions and their verification.
//!
//! A request can carry several kinds of credential: the assertion that Identity-Aware Proxy (IAP) puts in front of a
//! deployment, an OpenID Connect id token or an API token as a bearer, the session cookie of a browser login, or nothing at
//! all in development. [`Authenticator::authenticate`] turns the headers of one request into a [`Caller`] or a [`Refusal`],
//! and it is the only place where that happens.
//!
//! # How a token is judged
//!
//! One function looks at the *unverified* issuer of a token and picks the verifier from it; from then on only the
//! keys of that issuer count. The algorithm comes from the key as its issuer published it (RSA means RS256, P-256
//! means ES256) and the token's own `alg` must agree, so `none`, or an HMAC keyed with a public key, cannot be
//! expressed. `kid` is required. Times are compared with the clock that was handed in.
//!
//! # What an API token may do
//!
//! A token stands for its owner, or for an agent of its owner, and has a [`Scope`]. Whoever authenticates a request has to
//! say what the request is about to do ([`Need`]), and gets no [`Caller`] when the scope does not hold it; which repos and
//! branches the scope holds, the caller is asked where they are known ([`Caller::covers_repo`],
//! [`Caller::covers_branch`]). Tokens are looked up through [`TokenStore`], since this crate knows no database.
//!
//! # Where keys come from
//!
//! A key set is fetched when it is first needed and then kept ([`CacheLimits`]): one fetch at a time, again on
//! an unknown `kid` but never more often than the minimum interval, and the last good set serves while its issuer is
//! away. When there is nothing to verify with, the refusal says so ([`Reason::KeysUnavailable`]) and the server
//! answers 503, because the caller did nothing wrong.
//!
//! # What is deliberately absent
//!
//! No web framework: [`Login`] and [`cross_site_write_refusal`] take and return plain `http` types. No job or request
//! tokens yet: the issuer of job tokens is recognised, and its tokens are refused with a reason of their own, so that
//! they are never tried with another issuer's keys. No authorisation: that is the business of the operations.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod api_token;
mod authenticator;
mod caller;
mod cross_site;
mod discovery;
mod fetch;
mod keys;
mod login;
mod provider;
mod redirect;
mod refusal;
mod remote;
mod session;
mod settings;
mod sources;
mod token;

#[cfg(any(test, feature = "test-support"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use api_token::{
    Ended, FoundToken, Lookup, Scope, TOKEN_PATTERN, TOKEN_PREFIX, TokenDigest, TokenStore, Tokens, TokensUnavailable,
    new_token,
};
pub use authenticator::{Authenticator, CannotStart, IAP_ASSERTION_HEADER, IDENTITY_HEADER, Need};
pub use caller::{Caller, NotASystemName, Via};
pub use cross_site::cross_site_write_refusal;
pub use discovery::{DsConfig, DsConfigAuth};
pub use login::{LoggedIn, Login, LoginFailure, Origin, Redirect, login_location};
pub use redirect::safe_redirect;
pub use refusal::{Credential, Reason, Refusal};
pub use remote::CacheLimits;
pub use session::{LiveSession, SESSION_COOKIE, SessionDigest};
pub use settings::{Settings, VARIABLES};
pub use sources::{Clock, Random, system_clock, system_random};
