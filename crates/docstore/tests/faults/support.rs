//! A repo and somebody who works in it, and the checks that all subjects share.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use docstore_history::ChainVerifier;
use docstore_models::ChainEntry;
use docstore_test_support::{Answer, Person};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// SHA-256 as the wire writes it.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Bytes that do not compress, and are others for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let blocks = (0_u64..).flat_map(|number| Sha256::digest([seed.to_be_bytes(), number.to_be_bytes()].concat()));
    blocks.take(length).collect()
}

/// One segment of a path, or one value of a query.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A file of a commit request.
pub(crate) fn file(path: &str, bytes: &[u8]) -> Value {
    json!({"path": path, "content": STANDARD.encode(bytes)})
}

/// Somebody who works in a repo.
#[derive(Clone)]
pub(crate) struct Repo {
    pub(crate) person: Person,
    pub(crate) name: String,
}

impl Repo {
    pub(crate) fn new(person: Person, name: &str) -> Self {
        Self { person, name: name.to_owned() }
    }

    /// Makes a new repo in the org `default`.
    pub(crate) async fn create(person: Person, name: &str) -> Self {
        person.post("/repos", &json!({"owner": "default", "name": name})).await.expect(201);
        Self::new(person, &format!("default/{name}"))
    }

    /// The same repo, and somebody else who works in it.
    pub(crate) fn seen_by(&self, person: Person) -> Self {
        Self { person, name: self.name.clone() }
    }

    /// Lets somebody in.
    pub(crate) async fn give_role(&self, identity: &str, role: &str) {
        let path = self.path(&format!("roles/{}", escaped(identity)));
        self.person.put(&path, &json!({"role": role})).await.expect(200);
    }

    pub(crate) fn path(&self, endpoint: &str) -> String {
        format!("/repos/{}/-/{endpoint}", self.name)
    }

    pub(crate) async fn get(&self, endpoint: &str) -> Answer {
        self.person.get(&self.path(endpoint)).await
    }

    pub(crate) async fn post(&self, endpoint: &str, body: &Value) -> Answer {
        self.person.post(&self.path(endpoint), body).await
    }

    /// `POST` with an idempotency key.
    pub(crate) async fn post_once(&self, endpoint: &str, body: &Value, key: &str) -> Answer {
        let request = self.person.request(Method::POST, &self.path(endpoint));
        Answer::of(request.header("Idempotency-Key", key).body(body.to_string())).await
    }

    pub(crate) async fn commit(&self, branch: &str, message: &str, files: &[Value]) -> Answer {
        self.post("commit", &json!({"branch": branch, "message": message, "files": files})).await
    }

    pub(crate) async fn commit_on(&self, branch: &str, message: &str, files: &[Value], expected_head: i64) -> Answer {
        let body = json!({"branch": branch, "message": message, "files": files, "expected_head": expected_head});
        self.post("commit", &body).await
    }

    pub(crate) async fn create_branch(&self, name: &str) -> Answer {
        self.post("branch", &json!({"name": name})).await
    }

    pub(crate) async fn abandon(&self, branch: &str) -> Answer {
        self.person.delete(&self.path(&format!("branch/{}", escaped(branch)))).await
    }

    /// Uploads a content ahead of a commit.
    pub(crate) async fn upload(&self, bytes: &[u8]) -> Answer {
        let path = self.path(&format!("contents/{}", sha256_hex(bytes)));
        Answer::of(self.person.request(Method::PUT, &path).body(bytes.to_vec())).await
    }

    pub(crate) async fn head(&self, branch: &str) -> i64 {
        let branch = self.get(&format!("branch/{}", escaped(branch))).await.expect(200);
        branch["head_sequence"].as_i64().unwrap()
    }

    /// The bytes of a file at the head of a branch.
    pub(crate) async fn bytes_of(&self, branch: &str, path: &str) -> Option<Vec<u8>> {
        let endpoint = format!("file/{}?format=raw&branch={}", escaped(path), escaped(branch));
        let response = self.person.request(Method::GET, &self.path(&endpoint)).send().await.unwrap();
        match response.status().as_u16() {
            200 => Some(response.bytes().await.unwrap().to_vec()),
            404 => None,
            other => panic!("{other}: {}", response.text().await.unwrap()),
        }
    }

    /// Path and hash of every file at the head of a branch.
    pub(crate) async fn tree(&self, branch: &str) -> BTreeMap<String, String> {
        let tree = self.get(&format!("tree?limit=10000&branch={}", escaped(branch))).await.expect(200);
        let entry = |entry: &Value| -> (String, String) {
            (entry["path"].as_str().unwrap().to_owned(), entry["content_hash"].as_str().unwrap().to_owned())
        };
        tree.as_array().unwrap().iter().map(entry).collect()
    }

    /// All commits of the repo by branch, each ascending, with every hash of every chain recomputed from genesis on.
    pub(crate) async fn verified_chains(&self) -> BTreeMap<String, Vec<ChainEntry>> {
        let chain = self.get(&format!("chain?from=0&to={}", i64::MAX)).await.expect(200);
        let entries: Vec<ChainEntry> = serde_json::from_value(chain).unwrap();
        assert!(entries.is_sorted_by(|one, next| one.sequence < next.sequence));
        let mut chains: BTreeMap<String, Vec<ChainEntry>> = BTreeMap::new();
        for entry in entries {
            chains.entry(entry.branch.clone()).or_default().push(entry);
        }
        for (branch, entries) in &chains {
            let mut verifier = ChainVerifier::from_genesis(&self.name, branch);
            for entry in entries {
                assert_eq!(verifier.check(entry), Ok(true), "of branch {branch}");
            }
        }
        chains
    }
}

/// The stable word of a refusal.
pub(crate) fn code_of(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// Status and stable word of an answer: `201`, or `409 HEAD_MOVED`.
pub(crate) fn outcome_of(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    if answer.status.is_success() { status.to_string() } else { format!("{status} {}", code_of(answer)) }
}

/// Waits for what must come.
pub(crate) async fn in_time<T>(what: &str, coming: impl Future<Output = T>) -> T {
    const LONGEST: Duration = Duration::from_secs(60);
    tokio::time::timeout(LONGEST, coming).await.unwrap_or_else(|_| panic!("waited {LONGEST:?} until {what}"))
}
