//! API tokens: made, listed, revoked, and looked up for every request that brings one. Those of agents come with `agents`.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use docstore_auth::{
    Caller, Ended, FoundToken, LiveSession, Lookup, Scope, TokenDigest, TokenStore, TokensUnavailable, new_token,
};
use docstore_database::{
    counts::{Counted, lock_count},
    sessions::session_ended,
    tokens::{self, NewToken, OfOwner, TokenFacts, known_actions, known_patterns},
};
use docstore_models::{
    Action, BranchPattern, CreateTokenRequest, CreatedToken, ErrorCode, EventData, Identity, PrincipalKind, Timestamp,
    Token, TokenScope,
};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, Operations, Result,
    changes::check_text,
    limits::reached,
    write::{Begun, Write},
};

/// For how many days a token is good when nobody says: a quarter, after which somebody should look at it again.
const TOKEN_DAYS_DEFAULT: i64 = 90;

/// The longest name of a token, in bytes: it is one column of a list.
const TOKEN_NAME_BYTES_MAX: usize = 100;

/// The most repos and the most patterns in one scope: both are looked at in every request of the token.
const SCOPE_ENTRIES_MAX: usize = 100;

/// The most tokens that are good at a time for one owner, agents included. Whoever needs more forgets to revoke.
const TOKENS_PER_OWNER_MAX: i64 = 500;

/// How many tokens or agents a page has when nobody says.
const TOKENS_PAGE: i64 = 100;

/// The last use of a token is noted at most so often.
const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// The most tokens of which a process remembers that their use was noted; it forgets none that matters before there are as
/// many in use within a minute.
const USES_REMEMBERED_MAX: usize = 100_000;

/// A scope as the request names it, checked, and as it is stored.
pub(crate) struct CheckedScope {
    pub(crate) wire: TokenScope,
    repo_ids: Option<Vec<i64>>,
    actions: Vec<String>,
    branches: Option<Vec<String>>,
}

impl Operations {
    /// Makes a token of the caller. Its text is told here and nowhere else: neither the database nor the answer that is kept
    /// under the idempotency key has it.
    ///
    /// # Errors
    /// A request that makes no sense, `FORBIDDEN` for repos that the caller may not enter, or `CONFLICT` when there are too many.
    pub async fn create_token(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        request: &CreateTokenRequest,
    ) -> Result<CreatedToken> {
        let owner = person(caller)?;
        if request.name.is_empty() {
            return Err(Error::bad_request("name is required"));
        }
        check_text("name", &request.name, TOKEN_NAME_BYTES_MAX)?;
        if request.name.chars().any(char::is_control) {
            return Err(Error::bad_request("name holds a control character"));
        }
        let days = within(
            "token_days",
            "expires_in_days",
            request.expires_in_days.unwrap_or(TOKEN_DAYS_DEFAULT.min(self.limits().token_days_max)),
            self.limits().token_days_max,
        )?;
        let scope = self.check_scope(caller, &request.actions, &request.repos, &request.branches).await?;
        let mut write = match self.begin::<Token>(caller, key).await? {
            Begun::Before(token) => return Ok(CreatedToken { secret: None, token }),
            Begun::Now(write) => write,
        };
        let now = self.now();
        let expires_at = now + TimeDelta::days(days);
        let (secret, digest) = new_token(&self.inner.random);
        let token = Token {
            id: Uuid::now_v7(),
            name: request.name.clone(),
            owner: owner.clone(),
            scope: scope.wire.clone(),
            created_at: Timestamp::from(now),
            expires_at: Timestamp::from(expires_at),
            last_used_at: None,
            revoked_at: None,
        };
        let row = row(token.id, &token.name, owner, None, &digest, &scope, now, expires_at);
        self.store_token(&mut write, &row).await?;
        let event = EventData::TokenCreated {
            token_id: token.id,
            name: token.name.clone(),
            scope: scope.wire,
            expires_at: token.expires_at,
            created_by: owner.clone(),
        };
        write.note(None, &event)?;
        let token = self.finish(write, token).await?;
        Ok(CreatedToken { secret: Some(secret.expose_secret().to_owned()), token })
    }

    /// The caller's tokens, oldest first, one page; for the global admin somebody else's as well, or everybody's.
    ///
    /// # Errors
    /// `FORBIDDEN` for whose they are not.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        owner: Whose<'_>,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<Vec<Token>> {
        let which = self.of_owner(caller, owner, after, limit)?;
        Ok(tokens::list_tokens(self.pool(), which).await?)
    }

    /// Revokes a token of the caller, or for the global admin anybody's. From then on no request gets in with it.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn revoke_token(&self, caller: &Caller, key: Option<&IdempotencyKey>, token_id: Uuid) -> Result<()> {
        let owner = self.whose_to_revoke(caller);
        let mut write = crate::write::begin!(self, caller, key);
        let revoked = tokens::revoke_token(&mut *write.transaction, token_id, owner, self.now()).await?;
        let revoked = revoked.ok_or_else(|| Error::refused(ErrorCode::NotFound, "token not found"))?;
        if revoked.was_good {
            let event = EventData::TokenRevoked {
                token_id,
                name: revoked.name,
                owner: Identity::parse(revoked.owner)?,
                revoked_by: caller.identity().clone(),
            };
            write.note(None, &event)?;
        }
        self.finish(write, ()).await
    }

    pub(crate) async fn store_token(&self, write: &mut Write, row: &NewToken<'_>) -> Result<()> {
        lock_count(&mut *write.transaction, Counted::Tokens(row.owner)).await?;
        if tokens::count_tokens(&mut *write.transaction, row.owner, row.now).await? >= TOKENS_PER_OWNER_MAX {
            reached("tokens_per_owner");
            return Err(Error::refused(
                ErrorCode::Conflict,
                format!("you have {TOKENS_PER_OWNER_MAX} tokens; revoke those that you do not use"),
            ));
        }
        Ok(tokens::create_token(&mut *write.transaction, row).await?)
    }

    pub(crate) async fn check_scope(
        &self,
        caller: &Caller,
        actions: &[String],
        repos: &Option<Vec<String>>,
        branches: &Option<Vec<String>>,
    ) -> Result<CheckedScope> {
        let mut parsed: Vec<Action> =
            actions.iter().map(|word| word.parse().map_err(Error::bad_request)).collect::<Result<_>>()?;
        if parsed.is_empty() {
            parsed.push(Action::Read);
        }
        parsed.sort_unstable();
        parsed.dedup();
        for (what, list) in [("repos", repos), ("branches", branches)] {
            let count = list.as_ref().map(Vec::len);
            if count.is_some_and(|count| count == 0 || count > SCOPE_ENTRIES_MAX) {
                return Err(Error::bad_request(format!(
                    "{what} must hold 1 to {SCOPE_ENTRIES_MAX} entries; leave it out for all"
                )));
            }
        }
        let patterns: Option<Vec<BranchPattern>> = branches
            .as_ref()
            .map(|patterns| patterns.iter().map(|pattern| BranchPattern::parse(pattern.as_str())).collect())
            .transpose()?;
        // Whoever grants roles can have any branch written.
        if patterns.is_some() && parsed.contains(&Action::Admin) {
            return Err(Error::bad_request("the action 'admin' goes with all branches only"));
        }
        let mut named: Option<Vec<(String, i64)>> = None;
        for repo in repos.iter().flatten() {
            let access = self.access(caller, repo).await.map_err(|error| match error {
                Error::Refused { .. } => {
                    Error::refused(ErrorCode::Forbidden, format!("forbidden: no access to repo '{repo}'"))
                }
                other => other,
            })?;
            named.get_or_insert_default().push((access.repo().to_owned(), access.repo_id()));
        }
        if let Some(named) = &mut named {
            named.sort_unstable();
            named.dedup();
        }
        let repo_ids = named.as_ref().map(|named| named.iter().map(|(_, id)| *id).collect());
        let names = named.map(|named| named.into_iter().map(|(name, _)| name).collect());
        Ok(CheckedScope {
            repo_ids,
            actions: parsed.iter().map(ToString::to_string).collect(),
            branches: patterns.as_ref().map(|patterns| patterns.iter().map(ToString::to_string).collect()),
            wire: TokenScope { actions: parsed, repos: names, branches: patterns },
        })
    }

    pub(crate) fn of_owner<'a>(
        &self,
        caller: &'a Caller,
        owner: Whose<'a>,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<OfOwner<'a>> {
        let own = caller.identity().as_str();
        let owner = match owner {
            Whose::Own => Some(own),
            Whose::Of(other) if other == own => Some(own),
            Whose::Of(other) => self.global_admin(caller).map(|_| Some(other))?,
            Whose::All => self.global_admin(caller).map(|_| None)?,
        };
        Ok(OfOwner { owner, after, limit: self.limits().page(limit, TOKENS_PAGE) })
    }

    /// Whose a token or agent must be for the caller to revoke it.
    pub(crate) fn whose_to_revoke<'a>(&self, caller: &'a Caller) -> Option<&'a str> {
        (!self.is_global_admin(caller.rights_of())).then(|| caller.identity().as_str())
    }
}

/// Whose tokens or agents to list.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// The caller's.
    Own,
    /// Those of somebody.
    Of(&'a str),
    /// Everybody's.
    All,
}

/// Only people have tokens and agents.
pub(crate) fn person(caller: &Caller) -> Result<&Identity> {
    if caller.kind() == PrincipalKind::Person {
        Ok(caller.identity())
    } else {
        Err(Error::refused(ErrorCode::Forbidden, "forbidden: only people have tokens and agents"))
    }
}

/// A length of life, if it is within the bound, which is counted under this name.
pub(crate) fn within(limit: &'static str, field: &str, asked: i64, max: i64) -> Result<i64> {
    if (1..=max).contains(&asked) {
        Ok(asked)
    } else {
        if asked > max {
            reached(limit);
        }
        Err(Error::bad_request(format!("{field} must be between 1 and {max}")))
    }
}

#[expect(clippy::too_many_arguments, reason = "the columns of a row")]
pub(crate) fn row<'a>(
    token_id: Uuid,
    name: &'a str,
    owner: &'a Identity,
    agent_id: Option<Uuid>,
    digest: &'a TokenDigest,
    scope: &'a CheckedScope,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> NewToken<'a> {
    NewToken {
        token_id,
        name,
        owner: owner.as_str(),
        agent_id,
        digest: digest.as_bytes(),
        repos: scope.repo_ids.as_deref(),
        branches: scope.branches.as_deref(),
        actions: &scope.actions,
        now,
        expires_at,
    }
}

/// The stored tokens, for whoever authenticates requests.
#[derive(Clone)]
pub struct StoredTokens {
    operations: Operations,
    noted: Arc<Mutex<HashMap<Uuid, DateTime<Utc>>>>,
}

impl StoredTokens {
    /// The tokens in the database of these operations.
    #[must_use]
    pub fn new(operations: Operations) -> Self {
        Self { operations, noted: Arc::default() }
    }

    /// Whether this process is to note the use of a token now.
    fn is_to_be_noted(&self, token: &FoundToken, now: DateTime<Utc>) -> bool {
        let is_fresh = |noted: &DateTime<Utc>| now - *noted < USE_NOTED_EVERY;
        if token.last_used_at.as_ref().is_some_and(is_fresh) {
            return false;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&token.token_id).is_some_and(is_fresh) {
            return false;
        }
        if noted.len() >= USES_REMEMBERED_MAX {
            noted.retain(|_, noted| is_fresh(noted));
        }
        if noted.len() >= USES_REMEMBERED_MAX {
            return false;
        }
        noted.insert(token.token_id, now);
        true
    }
}

impl TokenStore for StoredTokens {
    fn session_ended<'a>(&'a self, session: &'a LiveSession) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move {
            let (digest, identity) = (session.digest.as_bytes(), session.identity.as_str());
            session_ended(self.operations.pool(), digest, identity, session.began_at).await.map_err(|error| {
                tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "sessions cannot be looked up");
                TokensUnavailable
            })
        })
    }

    fn find<'a>(&'a self, digest: &'a TokenDigest) -> Lookup<'a> {
        Box::pin(async move {
            let facts = tokens::token_facts(self.operations.pool(), digest.as_bytes()).await.map_err(|error| {
                tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "tokens cannot be looked up");
                TokensUnavailable
            })?;
            Ok(facts.and_then(found))
        })
    }

    /// Beside the request, so that it waits for nothing; at most once a minute, so that a busy token is no busy row. What
    /// fails is left to the next use.
    fn used(&self, token: &FoundToken, now: DateTime<Utc>) {
        if !self.is_to_be_noted(token, now) {
            return;
        }
        let (pool, token_id) = (self.operations.pool().clone(), token.token_id);
        tokio::spawn(async move {
            if let Err(error) = tokens::note_token_use(&pool, token_id, now).await {
                tracing::debug!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "the use of a token was not noted"
                );
            }
        });
    }
}

fn found(facts: TokenFacts) -> Option<FoundToken> {
    Some(FoundToken {
        token_id: facts.token_id,
        digest: facts.digest,
        identity: Identity::parse(facts.identity).ok()?,
        expires_at: facts.expires_at,
        last_used_at: facts.last_used_at,
        revoked: facts.revoked,
        scope: Scope {
            repos: (!facts.all_repos).then_some(facts.repos),
            branches: facts.branches.map(known_patterns),
            actions: known_actions(&facts.actions),
        },
    })
}
