//! Agents: principals of their own, each with an owner, some hours to live and one token.

use chrono::TimeDelta;
use docstore_auth::{Caller, new_token};
use docstore_database::{agents, auto_merge::note_wishes_of_agent};
use docstore_models::{Action, Agent, CreateAgentRequest, CreatedAgent, ErrorCode, EventData, Identity, Timestamp};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, Operations, Result, Whose,
    tokens::{person, row, within},
    write::{Begun, begin},
};

/// For how many hours an agent lives when nobody says: a working day.
const AGENT_HOURS_DEFAULT: i64 = 8;

/// What no agent may do: grant rights, take history away, and see or set what opens other doors.
const NOT_FOR_AGENTS: [Action; 2] = [Action::Admin, Action::Secrets];

impl Operations {
    /// Makes an agent of the caller, with its token.
    ///
    /// # Errors
    /// A request that makes no sense; `FORBIDDEN` for repos that the caller may not enter; `CONFLICT` while the caller has
    /// an agent of that name, or too many.
    pub async fn create_agent(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        request: &CreateAgentRequest,
    ) -> Result<CreatedAgent> {
        let owner = person(caller)?;
        let identity = Identity::of_agent(&request.name, owner)?;
        let hours = within(
            "agent_hours",
            "expires_in_hours",
            request.expires_in_hours.unwrap_or(AGENT_HOURS_DEFAULT.min(self.limits().agent_hours_max)),
            self.limits().agent_hours_max,
        )?;
        let scope = self.check_scope(caller, &request.actions, &request.repos, &request.branches).await?;
        if let Some(action) = scope.wire.actions.iter().find(|action| NOT_FOR_AGENTS.contains(action)) {
            return Err(Error::bad_request(format!("an agent may not have the action '{action}'")));
        }
        let mut write = match self.begin::<Agent>(caller, key).await? {
            Begun::Before(agent) => return Ok(CreatedAgent { secret: None, agent }),
            Begun::Now(write) => write,
        };
        let now = self.now();
        let expires_at = now + TimeDelta::hours(hours);
        let (secret, digest) = new_token(&self.inner.random);
        let agent = Agent {
            id: Uuid::now_v7(),
            identity: identity.clone(),
            name: request.name.clone(),
            owner: owner.clone(),
            scope: scope.wire.clone(),
            created_at: Timestamp::from(now),
            expires_at: Timestamp::from(expires_at),
            last_used_at: None,
            revoked_at: None,
        };
        let created =
            agents::create_agent(&mut write.transaction, agent.id, identity.as_str(), owner.as_str(), now, expires_at)
                .await;
        match created {
            Err(error) if error.is_constraint("agents_live_identity") => {
                return Err(Error::refused(
                    ErrorCode::Conflict,
                    format!("you have an agent '{}' already; revoke it or choose another name", request.name),
                ));
            }
            other => other?,
        }
        let row = row(Uuid::now_v7(), &agent.name, owner, Some(agent.id), &digest, &scope, now, expires_at);
        self.store_token(&mut write, &row).await?;
        let event = EventData::AgentCreated {
            agent_id: agent.id,
            agent: identity,
            scope: scope.wire,
            expires_at: agent.expires_at,
            created_by: owner.clone(),
        };
        write.note(None, &event)?;
        let agent = self.finish(write, agent).await?;
        Ok(CreatedAgent { secret: Some(secret.expose_secret().to_owned()), agent })
    }

    /// The caller's agents, oldest first, one page; for the global admin somebody else's as well, or everybody's.
    ///
    /// # Errors
    /// `FORBIDDEN` for whose they are not.
    pub async fn list_agents(
        &self,
        caller: &Caller,
        owner: Whose<'_>,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<Vec<Agent>> {
        let which = self.of_owner(caller, owner, after, limit)?;
        Ok(agents::list_agents(self.pool(), which).await?)
    }

    /// Revokes an agent of the caller, or for the global admin anybody's. What it did stays, under its name.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn revoke_agent(&self, caller: &Caller, key: Option<&IdempotencyKey>, agent_id: Uuid) -> Result<()> {
        let owner = self.whose_to_revoke(caller);
        let mut write = begin!(self, caller, key);
        let revoked = agents::revoke_agent(&mut *write.transaction, agent_id, owner, self.now()).await?;
        let revoked = revoked.ok_or_else(|| Error::refused(ErrorCode::NotFound, "agent not found"))?;
        if revoked.was_good {
            // What it wished ends with it.
            note_wishes_of_agent(&mut *write.transaction, agent_id).await?;
            let event = EventData::AgentRevoked {
                agent_id,
                agent: Identity::parse(revoked.identity)?,
                owner: Identity::parse(revoked.owner)?,
                revoked_by: caller.identity().clone(),
            };
            write.note(None, &event)?;
        }
        self.finish(write, ()).await
    }
}
