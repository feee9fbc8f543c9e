//! The model over HTTP, on a port of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, StatusCode, Uri},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use docstore_models::{
    BranchStatus, CommitDetail, CommitFile, CommitList, CommitRequest, CommitSummary, DiffEntry, FileContent, FileMode,
    ImportRequest, MergeRequest, RebaseRequest,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::model::{Change, Generation, Model, Refused, refused, version_id};

type Shared = (Arc<Mutex<Model>>, Generation);
type Answer = Result<Response<Body>, Refused>;

/// A server that ends with the test.
pub(crate) struct Server {
    url: String,
    model: Arc<Mutex<Model>>,
}

impl Server {
    pub(crate) async fn start(generation: Generation) -> Self {
        let model = Arc::new(Mutex::new(Model::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(handle)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state((model.clone(), generation));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, model }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn model(&self) -> Arc<Mutex<Model>> {
        self.model.clone()
    }
}

async fn handle(
    State((model, generation)): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8().unwrap().into_owned();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let mut model = model.lock().unwrap();
    let short = path.replace("/repos/default/default/-/", "");
    model.requests.push(format!("{method} {short}"));
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    if let Some((status, text)) = key.as_ref().and_then(|key| model.answers.get(key)) {
        return respond(*status, "application/json", text.clone().into());
    }
    let author =
        headers.get("x-docstore-identity").and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned();
    let request = Request { method: &method, path: &path, query: &query, body: &body, author: &author, generation };
    let response = request.answer(&mut model).unwrap_or_else(|Refused(status, code, message, more)| {
        let mut value = json!({ "code": code, "error": message });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        respond(status, "application/json", value.to_string().into())
    });
    let lost = model.lose_answers.iter().position(|start| format!("{method} {short}").starts_with(start));
    if let Some(index) = lost {
        model.lose_answers.remove(index);
        // The work is done and remembered; the answer breaks off.
        let (parts, body) = response.into_parts();
        let text = futures::executor::block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
        if let Some(key) = key {
            model.answers.insert(key, (parts.status.as_u16(), String::from_utf8(text.to_vec()).unwrap()));
        }
        drop(model);
        panic!("the answer is lost on purpose");
    }
    response
}

fn respond(status: u16, kind: &str, body: Vec<u8>) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-type", kind)
        .header("x-request-id", "test")
        .body(body.into())
        .unwrap()
}

fn json_answer(status: u16, value: &impl Serialize) -> Answer {
    Ok(respond(status, "application/json", serde_json::to_vec(value).unwrap()))
}

fn no_content() -> Answer {
    Ok(respond(204, "text/plain", Vec::new()))
}

fn not_found() -> Refused {
    refused(404, "NOT_FOUND", "not found")
}

struct Request<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a BTreeMap<String, String>,
    body: &'a [u8],
    author: &'a str,
    generation: Generation,
}

impl Request<'_> {
    fn parse<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(self.body).unwrap()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.query.get(name).map(|text| text.parse().unwrap())
    }

    fn branch(&self) -> &str {
        self.query.get("branch").map_or("main", String::as_str)
    }

    fn answer(&self, model: &mut Model) -> Answer {
        if self.path == "/healthz" {
            return json_answer(200, &json!({ "status": "ok" }));
        }
        if self.path == "/whoami" && self.generation == Generation::New {
            return json_answer(200, &json!({ "identity": self.author, "via": "development" }));
        }
        if self.path == "/.well-known/ds-config" {
            return json_answer(200, &json!({ "auth": { "type": "none" } }));
        }
        let prefix = format!("/repos/{}/-/", model.repo);
        let Some(rest) = self.path.strip_prefix(&prefix) else {
            let in_repo = self.path.starts_with("/repos/");
            return Err(if in_repo { refused(404, "REPO_NOT_FOUND", "repo not found") } else { not_found() });
        };
        let new = self.generation == Generation::New;
        match (self.method.as_str(), rest) {
            ("GET", "tree") => self.tree(model),
            ("GET", "archive") => self.archive(model, None),
            ("POST", "archive") if new => {
                let paths: Value = self.parse();
                self.archive(model, Some(&paths))
            }
            ("POST", "contents/missing") if new => {
                let value: Value = self.parse();
                let hashes = value["hashes"].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap());
                let missing: Vec<&str> = hashes.filter(|hash| !model.contents.contains_key(*hash)).collect();
                json_answer(200, &json!({ "missing": missing }))
            }
            ("PUT", _) if new && rest.starts_with("contents/") => {
                let hash = model.store(self.body);
                assert_eq!(format!("contents/{hash}"), rest);
                let stored = json!({ "content_hash": hash, "size": self.body.len(), "version_id": version_id(&hash) });
                json_answer(201, &stored)
            }
            ("POST", "commit") => self.commit(model),
            ("GET", "commits") if new => self.commits(model),
            ("GET", "chain") => {
                let mut chain = model.chain(self.number("from").unwrap(), self.number("to").unwrap());
                if new {
                    if let Some(branch) = self.query.get("branch") {
                        chain.retain(|entry| entry.branch == *branch);
                    }
                    chain.truncate(self.number("limit").map_or(usize::MAX, |limit| limit as usize));
                }
                json_answer(200, &chain)
            }
            ("GET", "diff") => self.diff(model),
            ("GET", "branches") => {
                let wanted = |name: &str| self.query.get(name).map(String::as_str) == Some("true");
                let branches: Vec<_> = model
                    .branches
                    .values()
                    .filter(|branch| self.query.get("status").is_none_or(|status| branch.status.as_str() == status))
                    .filter(
                        |branch| if wanted("draft") { branch.draft } else { wanted("include_draft") || !branch.draft },
                    )
                    .collect();
                json_answer(200, &branches)
            }
            ("POST", "branch") => {
                let value: Value = self.parse();
                let name = value["name"].as_str().unwrap();
                let draft = value["draft"].as_bool().unwrap_or(false);
                if model.branches.contains_key(name) {
                    return Err(refused(409, "BRANCH_EXISTS", "branch already exists"));
                }
                let base = model.head("main");
                model.add_branch(name, base, draft);
                let mut answer = json!({ "name": name, "base_sequence": base });
                if draft {
                    answer["draft"] = json!(true);
                }
                json_answer(201, &answer)
            }
            ("POST", "merge") => self.merge(model),
            ("POST", "rebase") => self.rebase(model),
            ("POST", "import") if new => self.import(model),
            ("GET", "releases") => json_answer(200, &json!({ "releases": [] })),
            _ => self.by_prefix(model, rest),
        }
    }

    fn by_prefix(&self, model: &mut Model, rest: &str) -> Answer {
        if let Some(name) = rest.strip_prefix("branch/") {
            return self.one_branch(model, name);
        }
        if let Some(path) = rest.strip_prefix("file/") {
            return self.file(model, path);
        }
        if let Some(sequence) = rest.strip_prefix("commit/") {
            let sequence: i64 = sequence.parse().unwrap();
            let commit = model.commits.iter().find(|commit| commit.sequence == sequence);
            let commit = commit.ok_or_else(|| refused(404, "NOT_FOUND", "commit not found"))?;
            let files = commit
                .changes
                .iter()
                .map(|change| CommitFile {
                    obliterated: false,
                    commit_id: uuid::Uuid::nil(),
                    path: change.path.clone(),
                    version_id: change.content.as_ref().map(|content| version_id(&content.hash)),
                    content_hash: change.content.as_ref().map(|content| content.hash.clone()),
                    mode: FileMode::Regular,
                })
                .collect();
            let detail = CommitDetail {
                sequence,
                branch: commit.branch.clone(),
                message: commit.message.clone(),
                author: commit.author.clone(),
                created_at: commit.created_at,
                files,
                commit_hash: commit.hash.clone(),
                parent_sequence: 0,
                imported_from: commit.imported_from.clone(),
                pushed_by: None,
            };
            return json_answer(200, &detail);
        }
        Err(not_found())
    }

    fn one_branch(&self, model: &mut Model, name: &str) -> Answer {
        let auto_merge = name.strip_suffix("/auto-merge");
        let found = model.branch(auto_merge.unwrap_or(name))?;
        let branch = model.branches.get_mut(&found.name).unwrap();
        match (self.method.as_str(), auto_merge) {
            ("GET", None) => json_answer(200, branch),
            ("PATCH", None) => {
                let value: Value = self.parse();
                branch.draft = value["draft"].as_bool().unwrap();
                json_answer(200, &json!({ "name": name, "draft": branch.draft }))
            }
            ("DELETE", None) if branch.status != BranchStatus::Active => {
                Err(refused(409, "BRANCH_NOT_ACTIVE", "branch is already merged or abandoned"))
            }
            ("DELETE", None) => {
                branch.status = BranchStatus::Abandoned;
                no_content()
            }
            (method, Some(_)) => {
                branch.auto_merge = method == "POST";
                no_content()
            }
            _ => Err(refused(405, "METHOD_NOT_ALLOWED", "method not allowed")),
        }
    }

    fn tree(&self, model: &Model) -> Answer {
        let mut entries = model.entries(self.branch(), self.number("at"))?;
        if let Some(after) = self.query.get("after") {
            entries.retain(|entry| entry.path > *after);
        }
        entries.truncate(self.number("limit").unwrap_or(100) as usize);
        if self.generation == Generation::Old {
            let plain: Vec<_> = entries
                .iter()
                .map(|e| json!({ "path": e.path, "version_id": e.version_id, "content_hash": e.content_hash }))
                .collect();
            return json_answer(200, &plain);
        }
        json_answer(200, &entries)
    }

    fn archive(&self, model: &Model, chosen: Option<&Value>) -> Answer {
        let (branch, at, paths) = match chosen {
            Some(value) => {
                let paths: Vec<String> = serde_json::from_value(value["paths"].clone()).unwrap();
                (value["branch"].as_str().unwrap().to_owned(), value["at"].as_i64(), Some(paths))
            }
            None => (self.branch().to_owned(), self.number("at").filter(|at| *at > 0), None),
        };
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in model.tree(&branch, at)? {
            if paths.as_ref().is_some_and(|paths| !paths.contains(&path)) {
                continue;
            }
            let bytes = model.bytes(&content.hash);
            let mut header = tar::Header::new_ustar();
            header.set_mode(if content.mode == FileMode::Executable { 0o755 } else { 0o644 });
            if content.mode == FileMode::Symlink {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                let target = String::from_utf8(bytes).unwrap();
                archive.append_link(&mut header, &path, target).unwrap();
            } else {
                header.set_size(bytes.len() as u64);
                // A server that means harm would not be stopped by the builder's checks either.
                if header.set_path(&path).is_err() {
                    let name = &mut header.as_old_mut().name;
                    name[..path.len()].copy_from_slice(path.as_bytes());
                }
                header.set_cksum();
                archive.append(&header, bytes.as_slice()).unwrap();
            }
        }
        Ok(respond(200, "application/x-tar", archive.into_inner().unwrap()))
    }

    fn file(&self, model: &Model, path: &str) -> Answer {
        if let Some(path) = path.strip_suffix("/history") {
            let history: Vec<_> = model
                .commits
                .iter()
                .rev()
                .filter(|commit| commit.branch == self.branch())
                .filter(|commit| self.number("after").is_none_or(|after| commit.sequence < after))
                .filter_map(|commit| {
                    commit.changes.iter().find(|change| change.path == path).map(|change| (commit, change))
                })
                .map(|(commit, change)| {
                    let version = change.content.as_ref().map(|content| version_id(&content.hash));
                    json!({ "sequence": commit.sequence, "version_id": version, "message": commit.message,
                            "author": commit.author, "created_at": commit.created_at })
                })
                .take(self.number("limit").unwrap_or(100) as usize)
                .collect();
            return json_answer(200, &history);
        }
        let tree = model.tree(self.branch(), self.number("at"))?;
        let content = tree.get(path).ok_or_else(|| refused(404, "NOT_FOUND", "file not found"))?;
        let bytes = model.bytes(&content.hash);
        if self.query.get("format").map(String::as_str) == Some("raw") {
            return Ok(respond(200, content.content_type.as_deref().unwrap_or("application/octet-stream"), bytes));
        }
        let file = FileContent {
            path: path.to_owned(),
            version_id: version_id(&content.hash),
            content_hash: content.hash.clone(),
            content: STANDARD.encode(bytes),
            content_type: content.content_type.clone(),
            mode: content.mode,
        };
        json_answer(200, &file)
    }

    fn commit(&self, model: &mut Model) -> Answer {
        let request: CommitRequest = self.parse();
        model.overrides.push(request.override_reason.clone());
        let branch = model.branch(&request.branch)?;
        if branch.status != BranchStatus::Active {
            return Err(refused(409, "BRANCH_NOT_ACTIVE", "branch is not active"));
        }
        if self.generation == Generation::New {
            model.check_head(&request.branch, request.expected_head)?;
        }
        let changes = model.changes(&request.files, self.generation)?;
        let files: Vec<_> = changes
            .iter()
            .map(|change| {
                let version = change.content.as_ref().map(|content| version_id(&content.hash));
                json!({ "path": change.path, "version_id": version })
            })
            .collect();
        let sequence = model.append(&request.branch, self.author, &request.message, changes, None, None);
        let hash = model.commits.last().unwrap().hash.clone();
        json_answer(201, &json!({ "sequence": sequence, "files": files, "commit_hash": hash }))
    }

    fn commits(&self, model: &Model) -> Answer {
        let found = model.branch(self.branch())?;
        let limit = self.number("limit").unwrap_or(50) as usize;
        let before = self.number("before").unwrap_or(i64::MAX);
        let mut commits: Vec<_> = model
            .commits
            .iter()
            .rev()
            .filter(|commit| {
                commit.branch == found.name || (commit.branch == "main" && commit.sequence <= found.base_sequence)
            })
            .filter(|commit| commit.sequence < before)
            .map(|commit| CommitSummary {
                sequence: commit.sequence,
                branch: commit.branch.clone(),
                message: commit.message.clone(),
                author: commit.author.clone(),
                created_at: commit.created_at,
                commit_hash: commit.hash.clone(),
                file_count: commit.changes.len() as i64,
                imported_from: commit.imported_from.clone(),
            })
            .take(limit + 1)
            .collect();
        let more = commits.len() > limit;
        commits.truncate(limit);
        let next_before = more.then(|| commits.last().unwrap().sequence);
        json_answer(200, &CommitList { commits, next_before })
    }

    fn diff(&self, model: &Model) -> Answer {
        let base = model.branch(self.branch())?.base_sequence;
        let list = |branch: &str| -> Vec<DiffEntry> {
            let changed = model.changed_since(branch, base);
            changed
                .into_iter()
                .map(|(path, content)| DiffEntry {
                    obliterated: false,
                    path,
                    binary: content.as_ref().and_then(|content| content.content_type.as_ref()).is_some(),
                    version_id: content.map(|content| version_id(&content.hash)),
                })
                .collect()
        };
        let conflicts = model.conflicts(self.branch())?;
        json_answer(
            200,
            &docstore_models::Diff { branch_changes: list(self.branch()), main_changes: list("main"), conflicts },
        )
    }

    fn merge(&self, model: &mut Model) -> Answer {
        let request: MergeRequest = self.parse();
        let branch = model.branch(&request.branch)?;
        if !model.policies.is_empty() {
            let policies: Vec<_> = model
                .policies
                .iter()
                .map(|(name, reason)| json!({ "name": name, "pass": false, "reason": reason }))
                .collect();
            return Ok(respond(403, "application/json", json!({ "policies": policies }).to_string().into()));
        }
        if branch.status != BranchStatus::Active {
            return Err(refused(409, "BRANCH_NOT_ACTIVE", "branch is not active"));
        }
        if branch.draft {
            return Err(refused(409, "BRANCH_DRAFT", "branch is in draft state"));
        }
        model.check_head(&request.branch, request.expected_head)?;
        self.refuse_conflicts(model, &request.branch, &[])?;
        let changes = model.changed_since(&request.branch, branch.base_sequence);
        if request.dry_run || changes.is_empty() {
            return json_answer(200, &json!({ "sequence": model.head("main") }));
        }
        let changes = changes.into_iter().map(|(path, content)| Change { path, content }).collect();
        let message = format!("merge branch '{}'", request.branch);
        let sequence = model.append("main", self.author, &message, changes, None, None);
        model.branches.get_mut(&request.branch).unwrap().status = BranchStatus::Merged;
        json_answer(200, &json!({ "sequence": sequence }))
    }

    fn refuse_conflicts(&self, model: &Model, branch: &str, resolved: &[&str]) -> Result<(), Refused> {
        let mut conflicts = model.conflicts(branch)?;
        conflicts.retain(|conflict| !resolved.contains(&conflict.path.as_str()));
        if conflicts.is_empty() {
            return Ok(());
        }
        let more = json!({ "conflicts": conflicts });
        Err(Refused(409, "MERGE_CONFLICT", "both sides changed the same files".into(), more))
    }

    fn rebase(&self, model: &mut Model) -> Answer {
        let request: RebaseRequest = self.parse();
        let branch = model.branch(&request.branch)?;
        model.check_head(&request.branch, request.expected_head)?;
        let new = self.generation == Generation::New;
        let resolutions: &[_] = if new { &request.resolutions } else { &[] };
        let resolved: Vec<&str> = resolutions.iter().map(|file| file.path.as_str()).collect();
        self.refuse_conflicts(model, &request.branch, &resolved)?;
        if new {
            model.check_head("main", request.expected_main_head)?;
        }
        let resolutions = model.changes(resolutions, self.generation)?;
        let replayed: Vec<_> = model
            .commits
            .iter()
            .filter(|commit| commit.branch == request.branch && commit.sequence > branch.base_sequence)
            .cloned()
            .collect();
        for commit in &replayed {
            model.append(&request.branch, &commit.author, &commit.message, commit.changes.clone(), None, None);
        }
        if !resolutions.is_empty() {
            model.append(&request.branch, self.author, "resolve conflicts", resolutions, None, None);
        }
        let base = model.head("main");
        let moved = model.branches.get_mut(&request.branch).unwrap();
        moved.base_sequence = base;
        moved.head_sequence = moved.head_sequence.max(base);
        let head = moved.head_sequence;
        json_answer(200, &json!({ "base_sequence": base, "head_sequence": head, "commits_replayed": replayed.len() }))
    }

    fn import(&self, model: &mut Model) -> Answer {
        let request: ImportRequest = self.parse();
        model.overrides.push(request.override_reason.clone());
        model.check_head(&request.branch, request.expected_head)?;
        // What a hash names must be there before the batch.
        let files = || request.commits.iter().flat_map(|commit| &commit.files);
        let missing: Vec<&String> = files()
            .filter_map(|file| file.content_hash.as_ref())
            .filter(|hash| !model.contents.contains_key(*hash))
            .collect();
        if !missing.is_empty() {
            let more = json!({ "missing": missing });
            return Err(Refused(409, "CONTENT_MISSING", "contents are missing".into(), more));
        }
        let mut sequences = Vec::new();
        for commit in request.commits {
            let changes: Vec<Change> = model.changes(&commit.files, self.generation)?;
            assert!(!commit.imported_from.is_empty());
            let sequence = model.append(
                &request.branch,
                &commit.author,
                &commit.message,
                changes,
                commit.created_at,
                Some(commit.imported_from),
            );
            sequences.push(sequence);
        }
        let hash = model.commits.last().and_then(|commit| commit.hash.clone()).unwrap_or_default();
        let head = model.head(&request.branch);
        json_answer(200, &json!({ "sequences": sequences, "head_sequence": head, "commit_hash": hash }))
    }
}
