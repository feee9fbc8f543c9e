use std::sync::Arc;

use chrono::{DateTime, Utc};
use docstore_models::{AGENT_PREFIX, Identity, JOB_PREFIX, PrincipalKind};

use crate::{FoundToken, LiveSession, SessionDigest};

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// Not at all: the development identity, or the one that a client asked for in development.
    Development,
    /// The assertion of Identity-Aware Proxy.
    Iap,
    /// An OpenID Connect id token as a bearer.
    IdToken,
    /// The session cookie of a browser login.
    Session,
    /// An API token.
    Token,
    /// A part of the server itself, such as a background job.
    System,
}

impl Via {
    /// The word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Iap => "iap",
            Self::IdToken => "id_token",
            Self::Session => "session",
            Self::Token => "token",
            Self::System => "system",
        }
    }

    /// Whether a browser attaches this credential by itself, also to a request that another site's page makes.
    ///
    /// Writes by such callers go through [`crate::cross_site_write_refusal`]. IAP keeps a cookie of its own in the
    /// browser, and in development any page that the developer visits can reach the server on loopback.
    #[must_use]
    pub fn is_ambient(self) -> bool {
        matches!(self, Self::Development | Self::Iap | Self::Session)
    }
}

/// A name that no part of the server may act under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a system actor's name is an identity without '@' and ':'")]
pub struct NotASystemName;

/// Somebody whose identity was verified. Having one is the proof: outside this crate it cannot be made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    via: Via,
    on_behalf_of: Option<Identity>,
    token: Option<Arc<FoundToken>>,
    expires_at: Option<DateTime<Utc>>,
    session: Option<SessionDigest>,
}

impl Caller {
    pub(crate) fn verified(identity: Identity, via: Via) -> Self {
        let on_behalf_of = identity.agent_owner();
        Self { identity, via, on_behalf_of, token: None, expires_at: None, session: None }
    }

    /// Whom a token stands for. Its scope holds the action of this request.
    pub(crate) fn with_token(token: FoundToken) -> Self {
        let caller = Self::verified(token.identity.clone(), Via::Token);
        Self { expires_at: Some(token.expires_at), token: Some(Arc::new(token)), ..caller }
    }

    /// Whoever logged in with a browser.
    pub(crate) fn with_session(session: &LiveSession) -> Self {
        let caller = Self::verified(session.identity.clone(), Via::Session);
        Self { expires_at: Some(session.expires_at), session: Some(session.digest), ..caller }
    }

    /// The same with the moment at which what proved it is over.
    pub(crate) fn until(self, expires_at: Option<DateTime<Utc>>) -> Self {
        Self { expires_at, ..self }
    }

    /// A part of the server that acts on its own account, such as `system` or `auto-merge`.
    ///
    /// # Errors
    /// When the name is no identity, or could be taken for a person (`@`) or a job (`:`).
    pub fn system(name: &str) -> Result<Self, NotASystemName> {
        let plain = !name.contains(['@', ':']);
        let identity = plain.then(|| Identity::parse(name).ok()).flatten().ok_or(NotASystemName)?;
        Ok(Self::verified(identity, Via::System))
    }

    /// A caller that nobody verified, for the tests of other crates.
    #[cfg(any(test, feature = "test-support"))]
    #[must_use]
    pub fn for_test(identity: Identity, via: Via) -> Self {
        Self::verified(identity, via)
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How that was proved.
    #[must_use]
    pub fn via(&self) -> Via {
        self.via
    }

    /// When what was sent is over, if it says so: from then on the caller has to prove it again.
    #[must_use]
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    /// The browser session that was sent, if it was one.
    #[must_use]
    pub fn session(&self) -> Option<SessionDigest> {
        self.session
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        match self.via {
            Via::System => PrincipalKind::System,
            _ => self.identity.kind(),
        }
    }

    /// The person for whom an agent acts; nobody else acts for somebody.
    #[must_use]
    pub fn on_behalf_of(&self) -> Option<&Identity> {
        self.on_behalf_of.as_ref()
    }

    /// The token that was sent, if it was one.
    #[must_use]
    pub fn token(&self) -> Option<&FoundToken> {
        self.token.as_deref()
    }

    /// Whether the credential is good for a repo. Whether the caller has a role there is another question.
    #[must_use]
    pub fn covers_repo(&self, repo_id: i64) -> bool {
        self.token().is_none_or(|token| token.scope.repos.as_ref().is_none_or(|repos| repos.contains(&repo_id)))
    }

    /// Whether the credential is good for writing a branch.
    #[must_use]
    pub fn covers_branch(&self, branch: &str) -> bool {
        self.token().is_none_or(|token| {
            let patterns = token.scope.branches.as_ref();
            patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(branch)))
        })
    }

    /// Whether the credential is good for every repo and branch, so also for what is about none.
    #[must_use]
    pub fn covers_everything(&self) -> bool {
        self.token().is_none_or(|token| token.scope.repos.is_none() && token.scope.branches.is_none())
    }

    /// Whose roles count: those of an agent's owner, everybody else's own.
    #[must_use]
    pub fn rights_of(&self) -> &Identity {
        self.on_behalf_of.as_ref().unwrap_or(&self.identity)
    }
}

/// Reads the e-mail address of a person as an identity.
///
/// It must look like an address and not like a job (`ci-job:<id>`) or an agent (`agent:<name>/<owner>`), so that no
/// provider, whatever its claims hold, can make somebody a job, an agent or a system actor.
pub(crate) fn person(email: &str) -> Option<Identity> {
    let reserved = [JOB_PREFIX, AGENT_PREFIX].iter().any(|prefix| email.starts_with(prefix));
    let plausible = email.contains('@') && !reserved && !email.contains(char::is_whitespace);
    plausible.then(|| Identity::parse(email).ok()).flatten()
}
