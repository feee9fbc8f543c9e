//! What is learnt about a request while it is handled.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, HeaderName};

/// The header that carries the request id, in and out.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// A caller's own id is taken up to this length; a UUID has 36.
const MAX_REQUEST_ID_BYTES: usize = 64;

tokio::task_local! {
    pub(crate) static CURRENT: RequestFacts;
}

/// The facts of one request that its log line, metrics and refusals need, filled in by whoever learns them first.
///
/// It is an extension of the request, and [`Self::current`] finds it from anywhere below the handler. Cloning gives
/// another handle to the same facts.
#[derive(Clone, Debug)]
pub struct RequestFacts(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    request_id: String,
    route: OnceLock<Cow<'static, str>>,
    identity: OnceLock<String>,
    repo: OnceLock<String>,
    shown_path: OnceLock<String>,
}

impl RequestFacts {
    pub(crate) fn new(request_id: String) -> Self {
        Self(Arc::new(Facts {
            request_id,
            route: OnceLock::new(),
            identity: OnceLock::new(),
            repo: OnceLock::new(),
            shown_path: OnceLock::new(),
        }))
    }

    /// The facts of the request whose handler is running or whose answer is being made, if [`crate::observe`] wraps it.
    ///
    /// Not to be found in spawned tasks: take a clone along.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The id under which the log has the request.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// Notes the route's template, such as `/repos/{repo}/-/tree`, for metrics and traces. The first one stays.
    ///
    /// It becomes a label, so it must come from a fixed set and never from the request's own text. A router with
    /// wild cards calls this; otherwise the matched path is used.
    pub fn set_route(&self, template: impl Into<Cow<'static, str>>) {
        let _ = self.0.route.set(template.into());
    }

    /// Notes who the caller is, once that is verified. The first one stays.
    pub fn set_identity(&self, identity: impl Into<String>) {
        let _ = self.0.identity.set(identity.into());
    }

    /// Notes the full name of the repo that the request is about. The first one stays.
    pub fn set_repo(&self, repo: impl Into<String>) {
        let _ = self.0.repo.set(repo.into());
    }

    /// Notes what logs and traces shall show in place of the path, which holds something that nobody else may know. The first
    /// one stays.
    pub fn set_shown_path(&self, path: impl Into<String>) {
        let _ = self.0.shown_path.set(path.into());
    }

    /// What to show in place of the path, if not the path itself.
    pub(crate) fn shown_path(&self) -> Option<&str> {
        self.0.shown_path.get().map(String::as_str)
    }

    /// The route's template, or `unmatched`.
    #[must_use]
    pub fn route(&self) -> &str {
        self.0.route.get().map_or("unmatched", |route| route)
    }

    /// The caller; empty when unknown.
    #[must_use]
    pub fn identity(&self) -> &str {
        self.0.identity.get().map_or("", String::as_str)
    }

    /// The repo; empty when there is none.
    #[must_use]
    pub fn repo(&self) -> &str {
        self.0.repo.get().map_or("", String::as_str)
    }
}

/// The caller's own request id, if it is short and tame enough to go into logs and headers as it is.
pub(crate) fn request_id_of(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(REQUEST_ID_HEADER).iter();
    let id = values.next()?.to_str().ok()?;
    let tame = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let good = values.next().is_none() && (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(tame);
    good.then_some(id)
}

/// A new request id: a UUID of version 7, so that ids sort by time.
pub(crate) fn new_request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
