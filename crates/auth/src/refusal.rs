use docstore_models::ErrorCode;

/// The credential that was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// None was sent.
    None,
    /// The assertion of Identity-Aware Proxy.
    Iap,
    /// A bearer token.
    Bearer,
    /// An API token.
    Token,
    /// The session cookie.
    Session,
}

impl Credential {
    /// The word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Iap => "iap",
            Self::Bearer => "bearer",
            Self::Token => "token",
            Self::Session => "session",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// Why a request was refused. It goes to the log and the metrics; the caller learns only the status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word for logs and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// No credential that this server looks at.
    MissingToken = "missing_token";
    /// The bearer is no JSON Web Token that can be read, or more than one was sent.
    InvalidIdToken = "invalid_id_token";
    /// The IAP assertion is no JSON Web Token that can be read, or more than one was sent.
    InvalidJwt = "invalid_jwt";
    /// The session cookie is malformed, or its signature is not ours.
    InvalidSession = "invalid_session";
    /// The credential is larger than the limit; it was not decoded.
    TooLarge = "too_large";
    /// The issuer is not one that this server trusts for this kind of credential.
    UnknownIssuer = "unknown_issuer";
    /// A job token, on an endpoint or a server that does not take them.
    JobTokenNotAccepted = "job_token_not_accepted";
    /// The algorithm is not RS256 or ES256, or not the one that the key is for.
    WrongAlgorithm = "wrong_algorithm";
    /// The token names no key, or none that its issuer publishes.
    UnknownKey = "unknown_key";
    /// The signature does not verify.
    BadSignature = "bad_signature";
    /// The token is meant for somebody else.
    WrongAudience = "wrong_audience";
    /// The credential has expired, or does not say when it does.
    Expired = "expired";
    /// The credential is from the future.
    NotYetValid = "not_yet_valid";
    /// The token does not answer the login that was begun.
    WrongNonce = "wrong_nonce";
    /// The issuer does not vouch for the e-mail address.
    UnverifiedEmail = "unverified_email";
    /// There is no e-mail address, or it cannot be an identity.
    UnusableEmail = "unusable_email";
    /// The issuer's keys could not be fetched and none are cached: nobody's fault who asks.
    KeysUnavailable = "keys_unavailable";
    /// An API token that nobody was given, or that is not whole.
    InvalidToken = "invalid_token";
    /// An API token, or the agent that it stands for, was revoked.
    Revoked = "revoked";
    /// A session that was ended before its time.
    SessionEnded = "session_ended";
    /// The API tokens, or the sessions, could not be looked up: nobody's fault who asks.
    TokensUnavailable = "tokens_unavailable";
    /// An API token whose scope does not hold what the request does.
    OutOfScope = "out_of_scope";
    /// An API token, where only a login will do.
    LoginNeeded = "login_needed";
    /// A browser sent a write on behalf of another site.
    CrossSiteWrite = "cross_site_write";
}

impl Reason {
    /// The sentence of the answer.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Reason::KeysUnavailable => "the identity provider cannot be reached; try again",
            Reason::TokensUnavailable => "the API tokens and sessions cannot be looked up; try again",
            Reason::OutOfScope => "forbidden: the scope of the API token does not hold this",
            Reason::LoginNeeded => "forbidden: this takes a login, not an API token",
            Reason::CrossSiteWrite => "a browser may not send this request from another site",
            _ => "unauthenticated",
        }
    }
}

/// A request that is not let in, with the reason for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("auth failed: {} ({})", reason.as_str(), credential.as_str())]
pub struct Refusal {
    reason: Reason,
    credential: Credential,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, credential: Credential) -> Self {
        Self { reason, credential }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What was judged.
    #[must_use]
    pub fn credential(&self) -> Credential {
        self.credential
    }

    /// The code of the answer, and with it the status: 401; 503 when what decides could not be asked, 403 when the caller is
    /// known but may not do this in this way.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self.reason {
            Reason::KeysUnavailable | Reason::TokensUnavailable => ErrorCode::ServiceUnavailable,
            Reason::CrossSiteWrite | Reason::OutOfScope | Reason::LoginNeeded => ErrorCode::Forbidden,
            _ => ErrorCode::Unauthorized,
        }
    }

    /// The sentence of the answer. It is the same for every wrong credential (contract, server §2.1).
    #[must_use]
    pub fn message(&self) -> &'static str {
        self.reason.message()
    }

    /// Writes the one log line of this refusal (contract, server §1.5) and counts it.
    ///
    /// [`crate::Authenticator::authenticate`] has done so already; whoever gets a refusal from
    /// [`crate::cross_site_write_refusal`] calls it.
    pub fn log(&self) {
        note(self.reason.as_str(), self.credential.as_str());
    }
}

/// Writes the log line of one refusal and counts it. Neither holds anything that the caller sent.
pub(crate) fn note(reason: &'static str, credential: &'static str) {
    if reason == Reason::TooLarge.as_str() {
        metrics::counter!("docstore_limit_reached_total", "limit" => "auth_credential_bytes").increment(1);
    }
    metrics::counter!("docstore_auth_refusals_total", "reason" => reason, "credential" => credential).increment(1);
    tracing::warn!(reason, credential, "auth failed");
}
