//! Subscriptions (contract, server §4.15): who is told of events by HTTP.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use docstore_auth::Caller;
use docstore_database::{
    access::has_role,
    branches,
    counts::{Counted, lock_count},
    repos::hold_repo,
    signing_secrets::{add_signing_secret, rotate_signing_secret, signing_secrets},
    subscriptions::{self, NewSubscription, StoredSubscription, SubscriptionChange},
};
use docstore_models::{
    CreateSubscriptionRequest, ErrorCode, EventData, MAIN_BRANCH, Role, SecretText, Subscription,
    UpdateSubscriptionRequest, person_behind,
};
use docstore_secrets::Zeroizing;
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, Operations, Result,
    limits::reached,
    write::{Begun, begin},
};

/// The most subscriptions of one repo, and of the server as a whole: every event is a row for each that it matches.
const SUBSCRIPTIONS_PER_REPO_MAX: i64 = 100;

/// The longest URL; what browsers and proxies take.
const WEBHOOK_URL_BYTES_MAX: usize = 2048;

/// The most that a config holds, the URL and the secret included.
const WEBHOOK_CONFIG_BYTES_MAX: usize = 8192;

/// The most event types of one subscription: there are fewer types than this.
const EVENT_TYPES_MAX: usize = 100;

/// The longest name of an event type.
const EVENT_TYPE_BYTES_MAX: usize = 255;

/// How long the secret before a new one signs as well, unless the request says otherwise: a day for everybody who receives.
const PREVIOUS_SECRET_SECONDS: i64 = 24 * 60 * 60;

/// The longest that two secrets sign: one that leaked must not do so for ever.
const PREVIOUS_SECRET_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;

/// Proof that the caller may look after a subscription: its creator or the person behind it, as long as they may read what
/// it is about, or the global admin.
#[derive(Clone, Debug)]
pub struct SubscriptionOwner {
    pub(crate) caller: Caller,
    pub(crate) stored: StoredSubscription,
}

/// Proof that the caller may end a subscription: whoever may look after it, whoever created it and may read no more, and
/// the admins of its repo.
#[derive(Clone, Debug)]
pub struct SubscriptionRemover(SubscriptionOwner);

impl SubscriptionOwner {
    pub(crate) fn id(&self) -> Uuid {
        self.stored.shown.id
    }

    /// The subscription, with its secret masked.
    #[must_use]
    pub fn subscription(&self) -> &Subscription {
        &self.stored.shown
    }
}

pub(crate) fn subscription_not_found() -> Error {
    Error::refused(ErrorCode::SubscriptionNotFound, "subscription not found")
}

fn not_creator(caller: &Caller, id: Uuid) -> Error {
    tracing::info!(identity = caller.identity().as_str(), subscription = %id, "access denied");
    Error::refused(ErrorCode::Forbidden, "forbidden: not subscription creator")
}

fn no_access() -> Error {
    Error::refused(ErrorCode::Forbidden, "forbidden: no access to repo")
}

/// Whether the caller's credential is good for a repo, or for everything.
fn covers(caller: &Caller, repo_id: Option<i64>) -> bool {
    repo_id.map_or_else(|| caller.covers_everything(), |repo_id| caller.covers_repo(repo_id))
}

/// What a config says.
struct Config {
    /// Everything but the secret.
    shown: BTreeMap<String, String>,
    secret: Option<Zeroizing<String>>,
}

impl Operations {
    /// Creates a subscription: to one repo for whoever has a role in it, to everything for the global admin.
    ///
    /// # Errors
    /// A request that cannot be used, in the contract's order; then `FORBIDDEN`; `CONFLICT` when there are too many.
    pub async fn create_subscription(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        request: CreateSubscriptionRequest,
    ) -> Result<Subscription> {
        if request.backend.is_empty() {
            return Err(Error::bad_request("backend is required"));
        }
        if request.backend != "webhook" {
            return Err(Error::bad_request("only backend='webhook' is supported"));
        }
        let config = self.read_config(request.config)?;
        if let Some(types) = &request.event_types {
            check_event_types(types)?;
        }
        let repo_id = self.subscribable(caller, request.repo.as_deref()).await?;
        let id = Uuid::now_v7();
        // The key service is asked before the transaction: nobody waits for it with a connection in hand.
        let secret = match &config.secret {
            Some(secret) => Some(self.seal_signing_secret(id, secret).await?),
            None => None,
        };
        let key = key.map(|key| key.of_repo(repo_id));
        let mut write = match self.begin::<Subscription>(caller, key.as_ref()).await? {
            Begun::Now(write) => write,
            Begun::Before(answer) => {
                self.check_same_secret(answer.id, config.secret.as_deref().map(String::as_str)).await?;
                return Ok(answer);
            }
        };
        if let Some(repo_id) = repo_id {
            hold_repo(&mut *write.transaction, repo_id).await?;
            // Deleted while we waited.
            if branches::branch(&mut *write.transaction, repo_id, MAIN_BRANCH).await?.is_none() {
                return Err(no_access());
            }
        }
        lock_count(&mut *write.transaction, Counted::Subscriptions(repo_id)).await?;
        if subscriptions::count_subscriptions(&mut *write.transaction, repo_id).await? >= SUBSCRIPTIONS_PER_REPO_MAX {
            reached("subscriptions_per_repo");
            return Err(Error::refused(
                ErrorCode::Conflict,
                format!("there are {SUBSCRIPTIONS_PER_REPO_MAX} such subscriptions already; delete one first"),
            ));
        }
        let new = NewSubscription {
            id,
            repo_id,
            event_types: request.event_types.as_deref(),
            config: &config.shown,
            created_by: caller.identity().as_str(),
        };
        subscriptions::create_subscription(&mut *write.transaction, &new).await?;
        if let Some(secret) = &secret {
            add_signing_secret(&mut *write.transaction, secret).await?;
        }
        let stored = subscriptions::subscription(&mut *write.transaction, id, self.now())
            .await?
            .ok_or_else(subscription_not_found)?;
        let event = EventData::SubscriptionCreated {
            repo: request.repo.clone(),
            subscription_id: id,
            created_by: caller.identity().as_str().to_owned(),
        };
        write.note(repo_id, &event)?;
        self.finish(write, stored.shown).await
    }

    /// The subscriptions that the caller may look after, oldest first: all, or one page.
    ///
    /// # Errors
    /// A cursor that is no such subscription.
    pub async fn list_subscriptions(
        &self,
        caller: &Caller,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<Vec<Subscription>> {
        if let Some(after) = after {
            let known = self.subscription_of(caller, after).await;
            if !known.is_ok_and(|(_, is_owner)| is_owner) {
                return Err(Error::bad_request("invalid pagination cursor"));
            }
        }
        let person = (!self.is_global_admin(caller.rights_of())).then(|| caller.rights_of().as_str());
        // An agent sees what it made itself; its owner sees that too.
        let created_by = person.and(caller.identity().agent_owner()).map(|_| caller.identity().as_str());
        let repos = caller.token().and_then(|token| token.scope.repos.as_deref());
        let whose = subscriptions::Whose { person, created_by, repos };
        let limit = limit.map(|limit| self.limits().page(Some(limit), limit));
        Ok(subscriptions::list_subscriptions(self.pool(), whose, after, limit, self.now()).await?)
    }

    /// Lets somebody in who may look after a subscription.
    ///
    /// # Errors
    /// `SUBSCRIPTION_NOT_FOUND`, then `FORBIDDEN`.
    pub async fn subscription_owner(&self, caller: &Caller, id: Uuid) -> Result<SubscriptionOwner> {
        let (owner, is_owner) = self.subscription_of(caller, id).await?;
        if !is_owner {
            return Err(not_creator(caller, id));
        }
        let rights_of = caller.rights_of();
        // What was sent, and what would be sent again, asks for the right that creating it does, now.
        let may_be_told = self.is_global_admin(rights_of)
            || match owner.stored.repo_id {
                Some(repo_id) => has_role(self.pool(), repo_id, rights_of.as_str()).await?,
                None => false,
            };
        if may_be_told {
            return Ok(owner);
        }
        tracing::info!(identity = caller.identity().as_str(), subscription = %id, "access denied");
        Err(no_access())
    }

    /// Lets somebody in who may end a subscription.
    ///
    /// # Errors
    /// `SUBSCRIPTION_NOT_FOUND`, then `FORBIDDEN`.
    pub async fn subscription_remover(&self, caller: &Caller, id: Uuid) -> Result<SubscriptionRemover> {
        let (owner, is_owner) = self.subscription_of(caller, id).await?;
        if is_owner || self.administers(caller, &owner.stored).await? {
            return Ok(SubscriptionRemover(owner));
        }
        Err(not_creator(caller, id))
    }

    /// Whether a person administers the repo that a subscription is about. Their agents do not look after other people's.
    async fn administers(&self, caller: &Caller, stored: &StoredSubscription) -> Result<bool> {
        let Some(repo) = stored.shown.repo.as_deref().filter(|_| caller.identity().agent_owner().is_none()) else {
            return Ok(false);
        };
        match self.access(caller, repo).await {
            Ok(access) => Ok(Some(access.repo_id()) == stored.repo_id && access.role() >= Role::Admin),
            Err(error) if error.code() == ErrorCode::Forbidden => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A subscription, and whether it is the caller's: made by them or by an agent of theirs, or the caller is the global
    /// admin; and the credential is good for it.
    async fn subscription_of(&self, caller: &Caller, id: Uuid) -> Result<(SubscriptionOwner, bool)> {
        let stored =
            subscriptions::subscription(self.pool(), id, self.now()).await?.ok_or_else(subscription_not_found)?;
        let (identity, created_by) = (caller.identity().as_str(), stored.shown.created_by.as_str());
        let is_theirs = created_by == identity || person_behind(created_by) == identity;
        let is_owner = (is_theirs || self.is_global_admin(caller.rights_of())) && covers(caller, stored.repo_id);
        Ok((SubscriptionOwner { caller: caller.clone(), stored }, is_owner))
    }

    /// Changes where a subscription's deliveries go, what they are about, or what signs them.
    ///
    /// # Errors
    /// A request that cannot be used.
    pub async fn update_subscription(
        &self,
        owner: &SubscriptionOwner,
        key: Option<&IdempotencyKey>,
        request: &UpdateSubscriptionRequest,
    ) -> Result<Subscription> {
        if let Some(url) = &request.url {
            self.check_url(url)?;
        }
        if let Some(types) = &request.event_types {
            if request.all_event_types {
                return Err(Error::bad_request("event_types and all_event_types exclude each other"));
            }
            check_event_types(types)?;
        }
        let event_types = if request.all_event_types { Some(None) } else { request.event_types.as_deref().map(Some) };
        let seconds = request.previous_secret_seconds.unwrap_or(PREVIOUS_SECRET_SECONDS);
        if !(0..=PREVIOUS_SECRET_SECONDS_MAX).contains(&seconds) {
            return Err(Error::bad_request(format!(
                "previous_secret_seconds must be between 0 and {PREVIOUS_SECRET_SECONDS_MAX}"
            )));
        }
        let secret = match request.secret.as_ref().map(SecretText::expose) {
            Some("") => return Err(Error::bad_request("secret is empty")),
            Some(secret) if secret.len() > WEBHOOK_CONFIG_BYTES_MAX => {
                return Err(Error::bad_request(format!("secret is longer than {WEBHOOK_CONFIG_BYTES_MAX} bytes")));
            }
            Some(secret) => Some(self.seal_signing_secret(owner.id(), secret).await?),
            None => None,
        };
        let mut write = match self.begin::<Subscription>(&owner.caller, key).await? {
            Begun::Now(write) => write,
            Begun::Before(answer) => {
                self.check_same_secret(answer.id, request.secret.as_ref().map(SecretText::expose)).await?;
                return Ok(answer);
            }
        };
        let change = SubscriptionChange { url: request.url.as_deref(), event_types };
        if !subscriptions::update_subscription(&mut *write.transaction, owner.id(), &change).await? {
            return Err(subscription_not_found());
        }
        if let Some(secret) = &secret {
            let previous_until = self.now() + TimeDelta::seconds(seconds);
            rotate_signing_secret(&mut write.transaction, secret, previous_until).await?;
        }
        let stored = subscriptions::subscription(&mut *write.transaction, owner.id(), self.now())
            .await?
            .ok_or_else(subscription_not_found)?;
        let event = EventData::SubscriptionUpdated {
            repo: stored.shown.repo.clone(),
            subscription_id: owner.id(),
            updated_by: owner.caller.identity().as_str().to_owned(),
        };
        write.note(stored.repo_id, &event)?;
        self.finish(write, stored.shown).await
    }

    /// Refuses a request that was sent before with another secret. The hash of a request is kept without its secret, since
    /// weak ones could be found by trying; what is kept of the secret is sealed.
    async fn check_same_secret(&self, id: Uuid, secret: Option<&str>) -> Result<()> {
        let Some(secret) = secret else { return Ok(()) };
        let stored = signing_secrets(self.pool(), id, self.now()).await?;
        // Deleted since: there is nothing that it could have changed.
        if stored.is_empty() {
            return Ok(());
        }
        let opened = self.open_signing_secrets(&stored).await?;
        if opened.iter().any(|one| one.expose_secret() == secret) { Ok(()) } else { Err(Error::key_reused()) }
    }

    /// Deletes a subscription with everything that waits for it.
    ///
    /// # Errors
    /// `SUBSCRIPTION_NOT_FOUND` when somebody else was faster.
    pub async fn delete_subscription(
        &self,
        SubscriptionRemover(owner): &SubscriptionRemover,
        key: Option<&IdempotencyKey>,
    ) -> Result<()> {
        let mut write = begin!(self, &owner.caller, key);
        if !subscriptions::delete_subscription(&mut write.transaction, owner.id()).await? {
            return Err(subscription_not_found());
        }
        let event = EventData::SubscriptionDeleted {
            repo: owner.stored.shown.repo.clone(),
            subscription_id: owner.id(),
            deleted_by: owner.caller.identity().as_str().to_owned(),
        };
        write.note(owner.stored.repo_id, &event)?;
        self.finish(write, ()).await
    }

    /// Lets a suspended subscription go on: what waits is sent, what was given up stays given up.
    ///
    /// # Errors
    /// `SUBSCRIPTION_NOT_FOUND` when it was deleted meanwhile.
    pub async fn resume_subscription(&self, owner: &SubscriptionOwner, key: Option<&IdempotencyKey>) -> Result<()> {
        let mut write = begin!(self, &owner.caller, key);
        if !subscriptions::resume_subscription(&mut *write.transaction, owner.id(), self.now()).await? {
            return Err(subscription_not_found());
        }
        if owner.stored.shown.suspended_at.is_some() {
            let event = EventData::SubscriptionResumed {
                repo: owner.stored.shown.repo.clone(),
                subscription_id: owner.id(),
                resumed_by: owner.caller.identity().as_str().to_owned(),
            };
            write.note(owner.stored.repo_id, &event)?;
        }
        self.finish(write, ()).await?;
        self.webhooks().wake();
        Ok(())
    }

    /// Whether a caller may subscribe to a repo, or to everything, and the repo inside.
    async fn subscribable(&self, caller: &Caller, repo: Option<&str>) -> Result<Option<i64>> {
        let global_admin = self.is_global_admin(caller.rights_of());
        let Some(repo) = repo else {
            if global_admin && covers(caller, None) {
                return Ok(None);
            }
            return Err(Error::refused(
                ErrorCode::Forbidden,
                "forbidden: global admin required for global subscriptions",
            ));
        };
        if global_admin {
            let facts = self.facts(caller, repo).await?;
            let facts = facts.ok_or_else(|| Error::refused(ErrorCode::RepoNotFound, "repo not found"))?;
            return if covers(caller, Some(facts.repo_id)) { Ok(Some(facts.repo_id)) } else { Err(no_access()) };
        }
        match self.access(caller, repo).await {
            Ok(access) => Ok(Some(access.repo_id())),
            Err(error) if error.code() == ErrorCode::Forbidden => Err(no_access()),
            Err(error) => Err(error),
        }
    }

    fn read_config(&self, config: Option<Value>) -> Result<Config> {
        let config = config.ok_or_else(|| Error::bad_request("config is required"))?;
        let not_an_object = || Error::bad_request("config must be a JSON object");
        let mut shown = BTreeMap::new();
        let Value::Object(config) = config else { return Err(not_an_object()) };
        for (name, value) in config {
            let Value::String(text) = value else { return Err(not_an_object()) };
            shown.insert(name, text);
        }
        match shown.get("url") {
            None => return Err(Error::bad_request("config.url is required for webhook backend")),
            Some(url) if url.is_empty() => {
                return Err(Error::bad_request("config.url is required for webhook backend"));
            }
            Some(url) => self.check_url(url)?,
        }
        if shown.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>() > WEBHOOK_CONFIG_BYTES_MAX {
            reached("webhook_config_bytes");
            return Err(Error::bad_request(format!("config is longer than {WEBHOOK_CONFIG_BYTES_MAX} bytes")));
        }
        let secret = shown.remove("secret").filter(|secret| !secret.is_empty()).map(Zeroizing::new);
        Ok(Config { shown, secret })
    }

    fn check_url(&self, text: &str) -> Result<()> {
        let invalid = || Error::bad_request("config.url must be a valid http or https URL");
        if text.len() > WEBHOOK_URL_BYTES_MAX {
            return Err(Error::bad_request(format!("config.url is longer than {WEBHOOK_URL_BYTES_MAX} bytes")));
        }
        let url = Url::parse(text).map_err(|_| invalid())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(invalid());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::bad_request("config.url must not carry credentials; use config.secret"));
        }
        self.webhooks()
            .sender
            .addresses()
            .check(&url)
            .map_err(|error| Error::bad_request(format!("config.url: {error}")))
    }
}

fn check_event_types(types: &[String]) -> Result<()> {
    // The original stored an empty list, which matched nothing: surely not what somebody wants who subscribes.
    if types.is_empty() {
        return Err(Error::bad_request("event_types is empty; leave it out for all events"));
    }
    if types.len() > EVENT_TYPES_MAX {
        return Err(Error::bad_request(format!("event_types holds more than {EVENT_TYPES_MAX} types")));
    }
    if types.iter().any(|name| name.is_empty() || name.len() > EVENT_TYPE_BYTES_MAX) {
        return Err(Error::bad_request(format!("event_types must have 1 to {EVENT_TYPE_BYTES_MAX} bytes each")));
    }
    Ok(())
}

/// A moment as PostgreSQL can hold it; what lies before it is the beginning.
pub(crate) fn storable(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.max(DateTime::UNIX_EPOCH)
}
