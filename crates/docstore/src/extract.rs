//! What handlers ask for: the caller, the right in the repo, the body, the parameters.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts},
};
use docstore_auth::{Caller, Need, Reason, cross_site_write_refusal};
use docstore_models::{Action, ErrorCode};
use docstore_operations::{Access, Admin, IdempotencyKey, IfMatch, Maintainer, Reader, Writer};
use docstore_service::{RequestFacts, check_declared_length, limit_reached, read_body, wipe_body};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::{
    error::{ApiError, refused, unreadable},
    lenient,
    state::AppState,
};

/// What a route needs an API token's scope to hold, as the parameter of the extractors below: `RepoReader<ISSUES>`. Without
/// one a handler does not compile. What reads takes [`needs::READ`], whatever it reads; what no token may do, such as making
/// tokens, takes [`needs::LOGIN`].
pub(crate) mod needs {
    use docstore_models::Action;

    pub(crate) const READ: u8 = Action::Read as u8;
    pub(crate) const CONTENTS: u8 = Action::Contents as u8;
    pub(crate) const MERGE: u8 = Action::Merge as u8;
    pub(crate) const PROPOSALS: u8 = Action::Proposals as u8;
    pub(crate) const REVIEWS: u8 = Action::Reviews as u8;
    pub(crate) const CHECKS: u8 = Action::Checks as u8;
    pub(crate) const ISSUES: u8 = Action::Issues as u8;
    pub(crate) const RELEASES: u8 = Action::Releases as u8;
    pub(crate) const WEBHOOKS: u8 = Action::Webhooks as u8;
    pub(crate) const SECRETS: u8 = Action::Secrets as u8;
    pub(crate) const ADMIN: u8 = Action::Admin as u8;
    /// No API token is good for it.
    pub(crate) const LOGIN: u8 = u8::MAX;
}

/// The need behind one of the numbers of [`needs`].
fn need(number: u8) -> Need {
    Action::ALL.iter().find(|action| **action as u8 == number).map_or(Need::Login, |action| Need::Action(*action))
}

/// Who is asking, with a credential that is good for what the route needs.
async fn authenticate(parts: &Parts, state: &AppState, need: Need) -> Result<Caller, ApiError> {
    let caller = state.authenticator.authenticate(&parts.headers, need).await.map_err(refused)?;
    if let Some(facts) = RequestFacts::current() {
        facts.set_identity(caller.identity().as_str());
    }
    if caller.via().is_ambient()
        && let Some(refusal) = cross_site_write_refusal(&parts.method, &parts.headers)
    {
        refusal.log();
        return Err(refused(refusal));
    }
    Ok(caller)
}

/// Somebody whose identity was verified, with whatever credential: for telling them who they are.
pub(crate) struct Anybody(pub(crate) Caller);

impl FromRequestParts<AppState> for Anybody {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        authenticate(parts, state, Need::Nothing).await.map(Self)
    }
}

/// Somebody whose identity was verified, for what is about the whole server or an org: a token must be for all repos and
/// branches.
pub(crate) struct Authenticated<const NEED: u8>(pub(crate) Caller);

impl<const NEED: u8> FromRequestParts<AppState> for Authenticated<NEED> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = authenticate(parts, state, need(NEED)).await?;
        if caller.covers_everything() {
            Ok(Self(caller))
        } else {
            Err(ApiError::new(ErrorCode::Forbidden, Reason::OutOfScope.message()))
        }
    }
}

/// Somebody whose identity was verified, for what is about one repo. The operation looks up what they are there, and
/// whether a token is for that repo.
pub(crate) struct RepoCaller<const NEED: u8>(pub(crate) Caller);

impl<const NEED: u8> FromRequestParts<AppState> for RepoCaller<NEED> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        authenticate(parts, state, need(NEED)).await.map(Self)
    }
}

/// A caller who has a role in the repo of the path, whichever.
async fn repo_access(parts: &mut Parts, state: &AppState, need: Need) -> Result<Access, ApiError> {
    let repo = repo_of_path(parts, state).await?;
    let caller = authenticate(parts, state, need).await?;
    let access = state.operations.access(&caller, &repo).await?;
    parts.extensions.insert(AboutRepo(access.repo_id()));
    Ok(access)
}

/// The id of the repo that a request is about, once it was looked up: extractors of bodies come later.
#[derive(Clone, Copy)]
struct AboutRepo(i64);

/// The full name of the repo in the path.
async fn repo_of_path(parts: &mut Parts, state: &AppState) -> Result<String, ApiError> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "not found"))?;
    let repo = params
        .iter()
        .find_map(|(name, value)| (name == "repo").then(|| value.to_owned()))
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "not found"))?;
    if let Some(facts) = RequestFacts::current() {
        facts.set_repo(repo.clone());
    }
    Ok(repo)
}

/// The full name of the repo in the path, whether it exists or not.
pub(crate) struct RepoName(pub(crate) String);

impl FromRequestParts<AppState> for RepoName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        repo_of_path(parts, state).await.map(Self)
    }
}

/// The request token of a CI job, if the request carries one (contract, server §2.6). It is opaque: every other bearer is an
/// API token, which says so, or a JWT, which has dots.
pub(crate) fn request_token(headers: &HeaderMap) -> Option<&str> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    (!token.contains('.') && !token.starts_with(docstore_auth::TOKEN_PREFIX)).then_some(token)
}

/// What the path names inside the repo: a branch, a file, an identity, a release, a hash, a number.
pub(crate) struct PathName(pub(crate) String);

impl FromRequestParts<AppState> for PathName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let not_found = || ApiError::new(ErrorCode::NotFound, "not found");
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| not_found())?;
        let name = params.iter().find_map(|(name, value)| (name != "repo").then(|| value.to_owned()));
        name.map(Self).ok_or_else(not_found)
    }
}

macro_rules! repo_extractor {
    ($(#[$doc:meta])* $name:ident, $proof:ty) => {
        $(#[$doc])*
        pub(crate) struct $name<const NEED: u8>(pub(crate) $proof);

        impl<const NEED: u8> FromRequestParts<AppState> for $name<NEED> {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
                Ok(Self(repo_access(parts, state, need(NEED)).await?.try_into()?))
            }
        }
    };
}

repo_extractor!(
    /// A caller who may read the repo.
    RepoReader,
    Reader
);
repo_extractor!(
    /// A caller who may write to branches of the repo.
    RepoWriter,
    Writer
);
repo_extractor!(
    /// A caller who may move `main`.
    RepoMaintainer,
    Maintainer
);
repo_extractor!(
    /// A caller who administers the repo.
    RepoAdmin,
    Admin
);

/// The query parameters.
pub(crate) struct Params(Vec<(String, String)>);

impl FromRequestParts<AppState> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let params: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        // PostgreSQL cannot compare with a NUL, and no name of ours has one.
        match params.iter().find(|(_, value)| value.contains('\0')) {
            Some((name, _)) => Err(ApiError::bad_request(format!("invalid '{name}' parameter"))),
            None => Ok(Self(params)),
        }
    }
}

impl Params {
    /// The first value of a parameter, if it is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name)
            .map(|text| text.parse().map_err(|_| ApiError::bad_request(format!("invalid '{name}' parameter"))))
            .transpose()
    }

    /// A page size: at least 1.
    pub(crate) fn limit(&self) -> Result<Option<i64>, ApiError> {
        match self.integer("limit")? {
            Some(limit) if limit < 1 => Err(ApiError::bad_request("invalid 'limit' parameter")),
            other => Ok(other),
        }
    }

    /// Behind which row of a list a page starts, for lists that go by id.
    pub(crate) fn cursor(&self) -> Result<Option<Uuid>, ApiError> {
        let parsed =
            self.text("after").map(|id| Uuid::try_parse(id).map_err(|_| docstore_operations::Error::invalid_cursor()));
        Ok(parsed.transpose()?)
    }

    /// A switch: only `true` turns it on, as in the contract.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The branch; `main` when absent.
    pub(crate) fn branch(&self) -> String {
        self.text("branch").unwrap_or(docstore_models::MAIN_BRANCH).to_owned()
    }
}

/// The longest idempotency key; a UUID has 36 characters.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// The header of the IETF draft `draft-ietf-httpapi-idempotency-key-header`.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The idempotency key of a request, if it has one. The hash is over the path as routed, which is equal for all spellings
/// of one path, and over what the body says.
fn idempotency_key(parts: &Parts, said: &[u8]) -> Result<Option<IdempotencyKey>, ApiError> {
    let Parts { method, uri, headers, extensions, .. } = parts;
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim();
    // The draft writes the key as a quoted string; most clients send it bare.
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        limit_reached("idempotency_key_bytes");
    }
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::bad_request("Idempotency-Key must have 1 to 255 visible ASCII characters"));
    }
    let mut hasher = Sha256::new();
    hasher.update(method.as_str());
    hasher.update([0]);
    hasher.update(uri.path());
    hasher.update([0]);
    hasher.update(uri.query().unwrap_or_default());
    hasher.update([0]);
    hasher.update(said);
    let repo_id = extensions.get::<AboutRepo>().map(|repo| repo.0);
    Ok(Some(IdempotencyKey { key: key.to_owned(), request_hash: hasher.finalize().to_vec(), repo_id }))
}

/// How long a request waits for memory for its body.
const BODY_MEMORY_WAIT: Duration = Duration::from_secs(5);

/// The length of the body in bytes, if the request says so.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

/// Reads a whole body of at most so many bytes, within the memory that bodies may take and the time that one of its declared
/// size may. Rights were looked at before, but for small commits, so that time is also how long they may outlast a revocation.
async fn whole_body(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<(bytes::Bytes, OwnedSemaphorePermit), ApiError> {
    check_declared_length(headers, limit as u64).map_err(unreadable)?;
    let declared = declared_length(headers);
    let busy = || ApiError::new(ErrorCode::ServiceUnavailable, "the server has no memory for another body; try again");
    let permit =
        state.body_memory.take(declared.unwrap_or(limit).min(limit), BODY_MEMORY_WAIT).await.ok_or_else(busy)?;
    let within = state.limits.body_deadline(declared.unwrap_or(limit).min(limit));
    let bytes = read_body(body, limit, within).await.map_err(unreadable)?;
    Ok((bytes, permit))
}

/// A JSON body of a write, with the request's idempotency key. The memory of the body is given back with this value.
pub(crate) struct JsonOf<T, const LARGE: bool> {
    pub(crate) value: T,
    pub(crate) key: Option<IdempotencyKey>,
    _memory: OwnedSemaphorePermit,
}

/// A JSON body of ordinary size.
pub(crate) type JsonBody<T> = JsonOf<T, false>;

/// A JSON body that may carry contents of files.
pub(crate) type LargeJsonBody<T> = JsonOf<T, true>;

impl<T: DeserializeOwned, const LARGE: bool> FromRequest<AppState> for JsonOf<T, LARGE> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let limit = if LARGE { state.limits.content_body_bytes_max } else { state.limits.body_bytes_max };
        let (parts, body) = request.into_parts();
        let (bytes, memory) = whole_body(state, &parts.headers, body, limit).await?;
        let value = read_json(&bytes, state)?;
        let key = idempotency_key(&parts, &bytes)?;
        // Secrets come in small bodies.
        if !LARGE {
            wipe_body(bytes);
        }
        Ok(Self { value, key, _memory: memory })
    }
}

/// A request that may hold a secret.
pub(crate) trait HoldsSecret: Clone + Serialize {
    /// The same without it.
    fn without_secret(&self) -> Self;
}

/// A JSON body with a secret in it. What is kept under its idempotency key is a hash of everything else: of the whole, it
/// would tell whoever reads the database whether a guess is right.
pub(crate) struct SecretJsonBody<T> {
    pub(crate) value: T,
    pub(crate) key: Option<IdempotencyKey>,
    _memory: OwnedSemaphorePermit,
}

impl<T: DeserializeOwned + HoldsSecret> FromRequest<AppState> for SecretJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let (bytes, memory) = whole_body(state, &parts.headers, body, state.limits.body_bytes_max).await?;
        let value: T = read_json(&bytes, state)?;
        wipe_body(bytes);
        let said = serde_json::to_vec(&value.without_secret())
            .map_err(|error| docstore_operations::Error::Internal(Box::new(error)))?;
        Ok(Self { key: idempotency_key(&parts, &said)?, value, _memory: memory })
    }
}

fn read_json<T: DeserializeOwned>(bytes: &[u8], state: &AppState) -> Result<T, ApiError> {
    lenient::from_slice(bytes, state.limits.json_depth_max).map_err(|why| {
        if matches!(why, lenient::Unreadable::TooDeep(_)) {
            limit_reached("json_depth");
        }
        ApiError::bad_request(why.to_string())
    })
}

/// A JSON body that may be absent, which is the same as an empty object.
pub(crate) struct OptionalJsonBody<T> {
    pub(crate) value: T,
    pub(crate) key: Option<IdempotencyKey>,
}

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let (bytes, _memory) = whole_body(state, &parts.headers, body, state.limits.body_bytes_max).await?;
        let value = if bytes.trim_ascii().is_empty() { T::default() } else { read_json(&bytes, state)? };
        let key = idempotency_key(&parts, &bytes)?;
        Ok(Self { value, key })
    }
}

/// A write whose body, if there is one, does not matter.
pub(crate) struct NoBody {
    pub(crate) key: Option<IdempotencyKey>,
}

impl FromRequest<AppState> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let (bytes, _memory) = whole_body(state, &parts.headers, body, state.limits.body_bytes_max).await?;
        let key = idempotency_key(&parts, &bytes)?;
        Ok(Self { key })
    }
}

/// The condition of an `If-Match` header (contract, server §4.7): absent passes, `*` asks for existence, everything else
/// must be the one current tag, byte for byte.
pub(crate) struct Condition(pub(crate) Option<IfMatch>);

impl FromRequestParts<AppState> for Condition {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ApiError> {
        Ok(Self(parts.headers.get(header::IF_MATCH).map(|value| match value.as_bytes() {
            b"*" => IfMatch::Any,
            other => IfMatch::Tag(String::from_utf8_lossy(other).into_owned()),
        })))
    }
}
