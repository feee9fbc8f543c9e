//! The event streams that are open, and how they end when their callers' rights do.
//!
//! A stream is opened once and then asks nobody. So what takes a right away ends it: each of those changes is an event,
//! and every process follows such events in its own hub ([`OpenStreams::watch`]). What an event may have changed is
//! asked again, once for each caller and repo that it concerns; an idle stream costs no query. A credential that says when it
//! ends takes the stream with it. The client sees a clean end, comes back, and is judged like anybody.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use docstore_auth::Caller;
use docstore_events::{Event, EventHub};
use docstore_operations::Operations;
use docstore_service::Shutdown;
use futures::StreamExt;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The events by which somebody may lose the right to read.
const RIGHTS_EVENTS: [&str; 7] = [
    "com.docstore.agent.revoked",
    "com.docstore.org.deleted",
    "com.docstore.org.member.removed",
    "com.docstore.repo.deleted",
    "com.docstore.role.changed",
    "com.docstore.session.ended",
    "com.docstore.token.revoked",
];

/// A repo that a stream is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamedRepo {
    pub(crate) id: i64,
    /// Its full name, which another one may take.
    pub(crate) name: String,
}

/// The streams of this process.
#[derive(Clone, Default)]
pub(crate) struct OpenStreams(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    counts: HashMap<String, usize>,
    streams: HashMap<u64, Entry>,
    next_id: u64,
}

struct Entry {
    caller: Caller,
    /// None for the streams of the global admin.
    repo: Option<StreamedRepo>,
    end: CancellationToken,
}

/// An event of [`RIGHTS_EVENTS`], as far as it matters here.
#[derive(Deserialize)]
struct Change {
    r#type: String,
    data: ChangeData,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ChangeData {
    repo: Option<String>,
    org: Option<String>,
    identity: Option<String>,
    token_id: Option<Uuid>,
    agent: Option<String>,
    session: Option<String>,
}

/// What a change means for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    /// The credential is worth nothing now.
    End,
    /// The caller may have lost the repo.
    Ask,
}

impl Change {
    fn concerns(&self, repo: &StreamedRepo) -> bool {
        let in_org = |org: &String| repo.name.strip_prefix(org.as_str()).is_some_and(|rest| rest.starts_with('/'));
        self.data.repo.as_ref() == Some(&repo.name) || self.data.org.as_ref().is_some_and(in_org)
    }

    fn meaning(&self, entry: &Entry, operations: &Operations) -> Meaning {
        let caller = &entry.caller;
        let ends = match self.r#type.as_str() {
            "com.docstore.token.revoked" => {
                caller.token().is_some_and(|token| Some(token.token_id) == self.data.token_id)
            }
            "com.docstore.session.ended" => caller.session().is_some_and(|session| {
                self.data.identity.as_deref() == Some(caller.identity().as_str())
                    && self.data.session.as_ref().is_none_or(|ended| *ended == session.to_string())
            }),
            "com.docstore.agent.revoked" => self.data.agent.as_deref() == Some(caller.identity().as_str()),
            _ => false,
        };
        if ends {
            return Meaning::End;
        }
        if !entry.repo.as_ref().is_some_and(|repo| self.concerns(repo)) {
            return Meaning::Nothing;
        }
        let rights_of = caller.rights_of();
        // The global admin's right hangs on what others have.
        let asks = match self.data.identity.as_deref() {
            Some(identity) => rights_of.as_str() == identity || operations.is_global_admin(rights_of),
            None => true,
        };
        if asks { Meaning::Ask } else { Meaning::Nothing }
    }
}

impl OpenStreams {
    /// Opens one more stream for a caller, if the limit allows. Whoever opens one asks for the caller's rights after this:
    /// what was taken away before it is told to nobody.
    pub(crate) fn open(&self, caller: &Caller, repo: Option<StreamedRepo>, max: usize) -> Option<OpenStream> {
        let identity = caller.identity().as_str();
        let mut open = self.lock();
        let count = open.counts.entry(identity.to_owned()).or_default();
        if *count >= max {
            docstore_service::limit_reached("streams_per_caller");
            return None;
        }
        *count += 1;
        let id = open.next_id;
        open.next_id += 1;
        let end = CancellationToken::new();
        open.streams.insert(id, Entry { caller: caller.clone(), repo, end: end.clone() });
        Some(OpenStream { streams: self.clone(), identity: identity.to_owned(), id, end })
    }

    /// Ends streams whose callers lose their rights, until shutdown. What happened while nobody watched is not known, so
    /// those that are open when this begins end.
    pub(crate) async fn watch(&self, hub: EventHub, operations: Operations, shutdown: Shutdown) {
        let mut events = hub.follow(&RIGHTS_EVENTS);
        self.end_where(|_| true);
        loop {
            let event = tokio::select! {
                () = shutdown.wait() => return,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            self.judge(&operations, &event).await;
        }
    }

    async fn judge(&self, operations: &Operations, event: &Event) {
        let Ok(change) = serde_json::from_str::<Change>(event.payload()) else {
            tracing::error!(position = event.position(), "an event about rights cannot be read; all streams end");
            self.end_where(|_| true);
            return;
        };
        // Each caller once, however many streams they have.
        let mut asked: BTreeMap<(String, StreamedRepo), Caller> = BTreeMap::new();
        self.end_where(|entry| match change.meaning(entry, operations) {
            Meaning::End => true,
            Meaning::Nothing => false,
            Meaning::Ask => {
                if let Some(repo) = &entry.repo {
                    let rights_of = entry.caller.rights_of().as_str().to_owned();
                    asked.entry((rights_of, repo.clone())).or_insert_with(|| entry.caller.clone());
                }
                false
            }
        });
        // A repo that is gone is gone for everybody: one question.
        let mut gone: Option<StreamedRepo> = None;
        for ((rights_of, repo), caller) in asked {
            if gone.as_ref() == Some(&repo) {
                continue;
            }
            let may = match operations.still_reads(&caller, &repo.name, repo.id).await {
                Ok(may) => may,
                // A client that comes back is judged when the database answers.
                Err(error) => {
                    let error = &error as &(dyn std::error::Error + 'static);
                    tracing::warn!(error, "rights cannot be looked at; the streams that hang on them end");
                    None
                }
            };
            match may {
                Some(true) => {}
                Some(false) => self.end_where(|entry| {
                    entry.repo.as_ref() == Some(&repo) && entry.caller.rights_of().as_str() == rights_of
                }),
                None => {
                    self.end_where(|entry| entry.repo.as_ref() == Some(&repo));
                    gone = Some(repo);
                }
            }
        }
    }

    fn end_where(&self, mut ends: impl FnMut(&Entry) -> bool) {
        let open = self.lock();
        for entry in open.streams.values() {
            if ends(entry) {
                tracing::info!(identity = entry.caller.identity().as_str(), "an event stream ends with its right");
                entry.end.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream; counts until it is dropped.
pub(crate) struct OpenStream {
    streams: OpenStreams,
    identity: String,
    id: u64,
    end: CancellationToken,
}

impl OpenStream {
    /// Waits until the caller may not have the stream any more: a right was taken away, or the credential is over after
    /// the time that it had left.
    pub(crate) fn ended(&self, time_left: Option<Duration>) -> impl Future<Output = ()> + Send + 'static {
        let end = self.end.clone();
        async move {
            match time_left {
                Some(time_left) => {
                    tokio::select! {
                        () = end.cancelled() => {}
                        () = tokio::time::sleep(time_left) => {}
                    }
                }
                None => end.cancelled().await,
            }
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        open.streams.remove(&self.id);
        if let Some(count) = open.counts.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                open.counts.remove(&self.identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use docstore_auth::{Caller, Via};
    use docstore_models::Identity;

    use super::OpenStreams;

    fn caller(name: &str) -> Caller {
        Caller::for_test(Identity::parse(name).unwrap(), Via::Development)
    }

    #[test]
    fn a_caller_has_so_many_streams_and_no_more() {
        let streams = OpenStreams::default();
        let (a, b) = (caller("a@example.com"), caller("b@example.com"));
        let first = streams.open(&a, None, 2).unwrap();
        let _second = streams.open(&a, None, 2).unwrap();
        assert!(streams.open(&a, None, 2).is_none());
        assert!(streams.open(&b, None, 2).is_some(), "callers do not share a limit");
        drop(first);
        assert!(streams.open(&a, None, 2).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_credential_or_before() {
        let streams = OpenStreams::default();
        let open = streams.open(&caller("a@example.com"), None, 2).unwrap();
        let begun = tokio::time::Instant::now();
        open.ended(Some(Duration::from_secs(60))).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
        streams.end_where(|_| true);
        open.ended(Some(Duration::from_secs(60))).await;
        open.ended(None).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
    }
}
