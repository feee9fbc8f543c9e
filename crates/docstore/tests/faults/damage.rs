//! Blobs that are damaged where they lie: they are never an answer, the log names them, and everything else goes on.

use std::{fmt, path::PathBuf};

use docstore_database::{Pool, testing::TestDatabase};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    process::{ServerProcess, ServerSettings},
    support::{Repo, file, noise, sha256_hex},
};

/// What the blob store verifies at a time: it is known before an answer begins whether the first of them is right.
const FRAME_BYTES: usize = 256 * 1024;

/// Two frames and a half.
const FILE_BYTES: usize = 640 * 1024;

/// What may happen to a file on a disk.
#[derive(Clone, Copy, Debug)]
enum Harm {
    FlippedAt(usize),
    /// So many bytes before the end: in the index, or in the footer behind it.
    FlippedBeforeEnd(usize),
    TruncatedTo(usize),
    TruncatedBy(usize),
    Removed,
    /// The whole blob of another content of the same size.
    Exchanged,
}

impl Harm {
    const ALL: [Self; 11] = [
        Self::FlippedAt(0),
        Self::FlippedAt(FRAME_BYTES + 7),
        Self::FlippedAt(FILE_BYTES - 1),
        Self::FlippedBeforeEnd(100),
        Self::FlippedBeforeEnd(1),
        Self::TruncatedTo(0),
        Self::TruncatedTo(FRAME_BYTES),
        Self::TruncatedTo(FILE_BYTES),
        Self::TruncatedBy(1),
        Self::Removed,
        Self::Exchanged,
    ];

    /// Whether it shows only after the answer has begun.
    fn shows_late(self) -> bool {
        matches!(self, Self::FlippedAt(place) if place >= FRAME_BYTES)
    }

    fn befall(self, blob: &PathBuf, other: &[u8]) {
        let mut bytes = std::fs::read(blob).unwrap();
        let length = bytes.len();
        match self {
            Self::FlippedAt(place) => bytes[place] ^= 1,
            Self::FlippedBeforeEnd(place) => bytes[length - place] ^= 1,
            Self::TruncatedTo(length) => bytes.truncate(length),
            Self::TruncatedBy(count) => bytes.truncate(length - count),
            Self::Exchanged => bytes = other.to_vec(),
            Self::Removed => return std::fs::remove_file(blob).unwrap(),
        }
        std::fs::write(blob, bytes).unwrap();
    }
}

/// How an answer ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// With status and code.
    Refused(u16, String),
    /// In the middle, after these bytes.
    Broken(Vec<u8>),
    /// Complete.
    Whole(Vec<u8>),
}

impl fmt::Debug for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status, code) => write!(formatter, "refused: {status} {code}"),
            Self::Broken(came) => write!(formatter, "broken after {} bytes", came.len()),
            Self::Whole(came) => write!(formatter, "whole: {} bytes", came.len()),
        }
    }
}

async fn end_of(request: RequestBuilder) -> Ended {
    // An answer may break before its first byte was sent.
    let Ok(mut answer) = request.send().await else { return Ended::Broken(Vec::new()) };
    let status = answer.status();
    let mut bytes = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) if status.is_success() => return Ended::Whole(bytes),
            Ok(None) => {
                let body: Value = serde_json::from_slice(&bytes).unwrap();
                return Ended::Refused(status.as_u16(), body["code"].as_str().unwrap().to_owned());
            }
            Err(_) => return Ended::Broken(bytes),
        }
    }
}

/// A server, and a repo with two files in the blob store and one in the database.
struct Scene {
    server: ServerProcess,
    repo: Repo,
    /// What the file `harmed` should be.
    bytes: Vec<u8>,
    /// The blob of `harmed`, by its key, and as a file.
    key: String,
    blob: PathBuf,
    /// How often a reader met the damage.
    met: usize,
}

impl Scene {
    async fn raw(&self, path: &str) -> Ended {
        self.get(&format!("file/{path}?format=raw")).await
    }

    async fn get(&self, endpoint: &str) -> Ended {
        end_of(self.repo.person.request(Method::GET, &self.repo.path(endpoint))).await
    }

    /// An archive of chosen files, which is how `ds` fetches what it lacks.
    async fn chosen(&self, paths: &[&str]) -> Ended {
        let body = json!({"branch": "main", "paths": paths}).to_string();
        end_of(self.repo.person.request(Method::POST, &self.repo.path("archive")).body(body)).await
    }

    /// How many lines of the log name the blob.
    fn lines(&self) -> usize {
        self.lines_of(&self.server.log())
    }

    fn lines_of(&self, log: &[String]) -> usize {
        log.iter().filter(|line| line.contains(&self.key)).count()
    }

    /// Everybody who meets the damage gets an error, and nothing that is wrong.
    async fn check_harmed(&mut self, harm: Harm) {
        let (raw, json) = (self.raw("harmed").await, self.get("file/harmed").await);
        if harm.shows_late() {
            let Ended::Broken(came) = &raw else { panic!("{harm:?}: {raw:?}") };
            assert!(self.bytes.starts_with(came) && came.len() < self.bytes.len(), "{harm:?}: wrong bytes");
            assert!(matches!(json, Ended::Broken(_)), "{harm:?}: {json:?}");
        } else {
            let refused = Ended::Refused(500, "CONTENT_CORRUPT".to_owned());
            assert_eq!(raw, refused, "{harm:?}");
            assert_eq!(json, refused, "{harm:?}");
        }
        for archive in [self.get("archive?branch=main").await, self.chosen(&["harmed", "whole"]).await] {
            let Ended::Broken(came) = &archive else { panic!("{harm:?}: {archive:?}") };
            // What came of the file, behind a header, is right.
            let body = came.get(512..).unwrap_or_default();
            assert!(self.bytes.starts_with(body) && body.len() < self.bytes.len(), "{harm:?}: wrong bytes");
        }
        self.met += 4;
        let named = |log: &[String]| (self.lines_of(log) >= self.met).then_some(());
        self.server.logged("the log names the blob", named).await;
    }

    async fn check_others(&self, whole: &[u8]) {
        assert_eq!(self.raw("whole").await, Ended::Whole(whole.to_vec()));
        assert_eq!(self.raw("small").await, Ended::Whole(b"small".to_vec()));
        assert!(matches!(self.chosen(&["whole", "small"]).await, Ended::Whole(tar) if tar.len() > whole.len()));
        assert_eq!(self.repo.person.get("/readyz").await.status, 200);
    }
}

/// Where the bytes of a file are, as a key.
async fn key_of(pool: &Pool, bytes: &[u8]) -> String {
    let query = "SELECT blob_key FROM contents WHERE encode(content_hash, 'hex') = $1";
    sqlx::query_scalar(query).bind(sha256_hex(bytes)).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_never_an_answer() {
    let database = TestDatabase::create().await;
    let (blobs, pool) = (tempfile::tempdir().unwrap(), database.pool().await);
    let server = ServerProcess::start(ServerSettings::new(database.settings().url.expose_secret(), blobs.path())).await;
    let repo = Repo::new(server.admin(), "default/default");
    let (bytes, whole) = (noise(1, FILE_BYTES), noise(2, FILE_BYTES));
    let files = [file("harmed", &bytes), file("small", b"small"), file("whole", &whole)];
    repo.commit("main", "files of all sizes", &files).await.expect(201);
    let key = key_of(&pool, &bytes).await;
    let blob = blobs.path().join(&key);
    let sound = std::fs::read(&blob).unwrap();
    assert_eq!(&sound[..FILE_BYTES], bytes, "what does not compress lies there as it is");
    let other = std::fs::read(blobs.path().join(key_of(&pool, &whole).await)).unwrap();
    let mut scene = Scene { server, repo, bytes, key, blob, met: 0 };

    for harm in Harm::ALL {
        harm.befall(&scene.blob, &other);
        scene.check_harmed(harm).await;
        scene.check_others(&whole).await;
        // The bytes before the damage are as right as ever, and a client may ask for them alone.
        let request = scene.repo.person.request(Method::GET, &scene.repo.path("file/harmed?format=raw"));
        match end_of(request.header("Range", "bytes=0-99")).await {
            Ended::Whole(first) => assert_eq!(first, scene.bytes[..100], "{harm:?}"),
            refused => {
                assert_eq!(refused, Ended::Refused(500, "CONTENT_CORRUPT".to_owned()), "{harm:?}");
                scene.met += 1;
            }
        }
        // Whoever puts the blob back has repaired it.
        std::fs::write(&scene.blob, &sound).unwrap();
        assert_eq!(scene.raw("harmed").await, Ended::Whole(scene.bytes.clone()), "{harm:?}");
    }
    // One line each, and no more: what is read last is logged last.
    Harm::Removed.befall(&scene.blob, &other);
    scene.check_harmed(Harm::Removed).await;
    assert_eq!(scene.lines(), scene.met, "{:#?}", scene.server.log());
    let panics = scene.server.log().iter().filter(|line| line.contains("panicked")).count();
    assert_eq!(panics, 0);
}
