//! Browser logins: noted, and ended before their time.

use docstore_auth::{Caller, LiveSession, Via};
use docstore_database::sessions;
use docstore_models::{EventData, Identity, PrincipalKind};

use crate::{Error, IdempotencyKey, Operations, Result, write::begin};

impl Operations {
    /// Notes that somebody logged in, before they are let in.
    ///
    /// # Errors
    /// When the database cannot answer; then they are not.
    pub async fn note_login(&self, identity: &Identity, via: Via) -> Result<()> {
        let mut write = self.begin_unkeyed(identity.as_str()).await?;
        write.note(None, &EventData::LoginSucceeded { identity: identity.clone(), via: via.as_str() })?;
        self.finish(write, ()).await
    }

    /// Ends a session: from then on nobody gets in with its cookie, wherever it may be kept. Whoever has the cookie may.
    ///
    /// # Errors
    /// When the database cannot answer; then it has not ended.
    pub async fn end_session(&self, session: &LiveSession) -> Result<()> {
        let identity = &session.identity;
        let mut write = self.begin_unkeyed(identity.as_str()).await?;
        let digest = session.digest.as_bytes();
        if sessions::end_session(&mut *write.transaction, digest, session.expires_at).await? {
            let event = EventData::SessionEnded {
                identity: identity.clone(),
                session: Some(session.digest.to_string()),
                ended_by: identity.clone(),
            };
            write.note(None, &event)?;
        }
        self.finish(write, ()).await
    }

    /// Ends all sessions of the caller that began up to now, or for the global admin somebody else's. API tokens are not
    /// touched.
    ///
    /// # Errors
    /// An identity that is none, or no person's; `FORBIDDEN` for whose they are not.
    pub async fn end_sessions(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        identity: Option<&str>,
    ) -> Result<()> {
        let identity = match identity {
            None => caller.identity().clone(),
            Some(identity) => Identity::parse(identity)?,
        };
        if identity != *caller.identity() {
            self.global_admin(caller)?;
        }
        if identity.kind() != PrincipalKind::Person {
            return Err(Error::bad_request("only people log in with a browser"));
        }
        let mut write = begin!(self, caller, key);
        sessions::end_sessions(&mut *write.transaction, identity.as_str(), self.now()).await?;
        let event = EventData::SessionEnded { identity, session: None, ended_by: caller.identity().clone() };
        write.note(None, &event)?;
        self.finish(write, ()).await
    }
}
