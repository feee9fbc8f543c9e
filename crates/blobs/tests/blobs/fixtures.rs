//! Stores of all kinds, and what lies behind their backs.

use std::{convert::Infallible, ops::Range};

use bytes::Bytes;
use docstore_blobs::{
    BlobKey, BlobStore, Gcs, GetError, PutError, Settings, Store, Stored,
    testing::{GcsStandIn, local_settings},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use uuid::Uuid;

/// Names a real emulator for the suite, such as `http://127.0.0.1:4443`.
const EMULATOR: &str = "DOCSTORE_TEST_GCS_ENDPOINT";

pub(crate) const FRAME: usize = 256 * 1024;
pub(crate) const NO_LIMIT: u64 = u64::MAX;

/// A store and the place where it keeps things.
pub(crate) struct Fixture {
    pub(crate) store: BlobStore,
    pub(crate) place: Place,
}

pub(crate) enum Place {
    Disk(TempDir),
    StandIn(GcsStandIn),
    Emulator { api: String, bucket: String },
}

impl Fixture {
    pub(crate) async fn local() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(local_settings(directory.path())).await.unwrap();
        Self { store, place: Place::Disk(directory) }
    }

    pub(crate) async fn stand_in() -> Self {
        let stand_in = GcsStandIn::start().await;
        let store = BlobStore::open(stand_in.settings()).await.unwrap();
        Self { store, place: Place::StandIn(stand_in) }
    }

    /// A fresh bucket of the emulator, if the environment names one.
    pub(crate) async fn emulator() -> Option<Self> {
        let endpoint = std::env::var(EMULATOR).ok().filter(|endpoint| !endpoint.is_empty())?;
        let bucket = format!("docstore-{}", Uuid::new_v4());
        let created = reqwest::Client::new()
            .post(format!("{endpoint}/storage/v1/b"))
            .json(&serde_json::json!({ "name": bucket }))
            .send();
        created.await.unwrap().error_for_status().unwrap();
        let store = Gcs { bucket: bucket.clone(), endpoint: Some(endpoint.clone()), anonymous: true };
        let settings = Settings { store: Store::Gcs(store), ..local_settings("") };
        let store = BlobStore::open(settings).await.unwrap();
        Some(Self { store, place: Place::Emulator { api: endpoint, bucket } })
    }

    pub(crate) async fn put(&self, content: &Bytes) -> (BlobKey, Stored) {
        let key = self.store.new_key(1);
        let stored = sendable(self.store.put(&key, portions(content, 100_000), NO_LIMIT, None)).await.unwrap();
        (key, stored)
    }

    /// What is really stored under a key.
    pub(crate) async fn raw(&self, key: &BlobKey) -> Vec<u8> {
        match &self.place {
            Place::Disk(directory) => std::fs::read(directory.path().join(key.as_str())).unwrap(),
            Place::StandIn(stand_in) => stand_in.object(key.as_str()).unwrap(),
            Place::Emulator { api, bucket } => {
                let name = key.as_str().replace('/', "%2F");
                let url = format!("{api}/storage/v1/b/{bucket}/o/{name}?alt=media");
                reqwest::get(url).await.unwrap().error_for_status().unwrap().bytes().await.unwrap().to_vec()
            }
        }
    }

    /// Replaces what is stored under a key behind the store's back.
    pub(crate) async fn replace(&self, key: &BlobKey, bytes: &[u8]) {
        match &self.place {
            Place::Disk(directory) => std::fs::write(directory.path().join(key.as_str()), bytes).unwrap(),
            Place::StandIn(stand_in) => stand_in.replace(key.as_str(), bytes),
            Place::Emulator { api, bucket } => {
                let name = key.as_str().replace('/', "%2F");
                let url = format!("{api}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}");
                let sent = reqwest::Client::new().post(url).body(bytes.to_vec()).send().await;
                sent.unwrap().error_for_status().unwrap();
            }
        }
    }

    /// The names of everything that is stored, finished or not, once what was given up has been cleared away.
    pub(crate) async fn everything(&self) -> Vec<String> {
        match &self.place {
            Place::Disk(directory) => files_below(directory),
            Place::StandIn(stand_in) => {
                stand_in.wait_for_no_uploads().await;
                stand_in.objects()
            }
            Place::Emulator { api, bucket } => {
                let list = reqwest::get(format!("{api}/storage/v1/b/{bucket}/o")).await.unwrap();
                let list: serde_json::Value = list.error_for_status().unwrap().json().await.unwrap();
                let items = list["items"].as_array().cloned().unwrap_or_default();
                items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
            }
        }
    }
}

pub(crate) fn files_below(directory: &TempDir) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![directory.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(directory.path()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Compiles only if the value may go to another thread, as all that a server awaits must.
fn sendable<T: Send>(value: T) -> T {
    value
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Bytes that compress well.
pub(crate) fn text(length: usize) -> Bytes {
    let mut bytes: Vec<u8> =
        (0..).flat_map(|line: u32| format!("line {line} of a text\n").into_bytes()).take(length).collect();
    bytes.shrink_to_fit();
    bytes.into()
}

/// The content as a client would send it.
pub(crate) fn portions(content: &Bytes, length: usize) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let content = content.clone();
    let starts = (0..content.len()).step_by(length);
    stream::iter(starts.map(move |start| Ok(content.slice(start..content.len().min(start + length)))))
}

/// What a reader gets: the bytes that were handed out, and how it ended.
pub(crate) async fn read(
    store: &BlobStore,
    key: &BlobKey,
    expected: &Stored,
    range: Option<Range<u64>>,
) -> (Vec<u8>, Result<(), GetError>) {
    let mut bytes = Vec::new();
    let mut stream = match sendable(store.get(key, expected, range)).await {
        Ok(stream) => stream,
        Err(error) => return (bytes, Err(error)),
    };
    let length = stream.length();
    loop {
        match stream.try_next().await {
            Ok(Some(portion)) => bytes.extend_from_slice(&portion),
            Ok(None) => break,
            Err(error) => {
                assert!((bytes.len() as u64) < length, "a complete answer before the error");
                assert!(stream.next().await.is_none(), "a portion after the error");
                return (bytes, Err(error));
            }
        }
    }
    assert_eq!(bytes.len() as u64, length);
    (bytes, Ok(()))
}

pub(crate) fn put_outcome(result: &Result<Stored, PutError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(PutError::TooLarge { .. }) => "too large",
        Err(PutError::HashMismatch { .. }) => "hash mismatch",
        Err(PutError::Source(_)) => "source",
        Err(PutError::Unavailable(_)) => "unavailable",
    }
}
