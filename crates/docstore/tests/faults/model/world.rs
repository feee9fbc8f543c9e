//! A real repo beside its naive model: each step is done to both, and the answers must agree.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use docstore_database::Pool;
use docstore_test_support::{Answer, Person};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{
    naive::{Changes, Commit, File, Naive, Status, Tree, apply, impossible, is_possible},
    steps::{BRANCHES, Edit, Expect, Moment, Resolve, Step, content},
};
use crate::support::{Repo, code_of, escaped, outcome_of, sha256_hex};

pub(crate) struct World {
    pub(crate) repo: Repo,
    pub(crate) pool: Pool,
    other: Repo,
    pub(crate) naive: Naive,
    /// Every tree that was ever seen, by branch and sequence: none of them may change.
    pub(crate) frozen: BTreeMap<(String, i64), Tree>,
    /// The id on the wire of each content, by hash.
    pub(crate) versions: BTreeMap<String, String>,
    last_sequence: i64,
    pub(crate) done: Vec<String>,
}

/// Who makes half of the commits.
const OTHER: &str = "other@example.com";

impl World {
    pub(crate) async fn new(person: Person, other: Person, pool: Pool, name: &str) -> Self {
        let repo = Repo::create(person, name).await;
        repo.give_role(OTHER, "maintainer").await;
        Self {
            other: repo.seen_by(other),
            repo,
            pool,
            naive: Naive::new(),
            frozen: BTreeMap::new(),
            versions: BTreeMap::new(),
            last_sequence: 0,
            done: Vec::new(),
        }
    }

    /// A branch to write to, mostly one that is there and active.
    fn pick(&self, number: usize) -> String {
        pick_among(number, self.active())
    }

    /// The same, and rarely main.
    fn pick_side(&self, number: usize) -> String {
        pick_among(number, self.active().filter(|name| *name != "main"))
    }

    /// A name for a new branch, mostly one that is free.
    fn pick_free(&self, number: usize) -> String {
        pick_among(number, BRANCHES.into_iter().filter(|name| !self.naive.branches.contains_key(*name)))
    }

    fn active(&self) -> impl Iterator<Item = &str> {
        let active = self.naive.branches.iter().filter(|(_, branch)| branch.status == Status::Active);
        active.map(|(name, _)| name.as_str())
    }

    pub(crate) async fn step(&mut self, step: &Step) {
        let outcome = match step {
            Step::Commit { branch, other_author, edit, expect } => {
                self.commit(&self.pick(*branch), *other_author, edit, *expect).await
            }
            Step::UnknownContent { branch } => self.unknown_content(&self.pick(*branch)).await,
            Step::CreateBranch { name, draft } => self.create_branch(&self.pick_free(*name), *draft).await,
            Step::SetDraft { branch, draft } => self.set_draft(&self.pick_side(*branch), *draft).await,
            Step::Merge { branch, dry_run, expect } => self.merge(&self.pick_side(*branch), *dry_run, *expect).await,
            Step::Rebase { branch, resolve, expect } => self.rebase(&self.pick_side(*branch), resolve, *expect).await,
            Step::Abandon { branch } => self.abandon(&self.pick_side(*branch)).await,
            Step::Import { branch, commits, expect } => self.import(&self.pick(*branch), commits, *expect).await,
            Step::Purge { aged, dry_run } => self.purge(*aged, *dry_run).await,
            Step::Recreate => self.recreate().await,
        };
        self.done.push(outcome);
        for (name, branch) in &self.naive.branches {
            self.frozen.entry((name.clone(), branch.head)).or_insert_with(|| self.naive.head_tree(name));
            // Points between commits, which belong to other branches.
            for at in [branch.head - 1, branch.head - 3] {
                self.frozen.entry((name.clone(), at)).or_insert_with(|| self.naive.tree_at(name, at));
            }
        }
    }

    /// The refusal that a branch gives to whoever wants to write to it, if it does.
    fn closed(&self, branch: &str, expected_head: Option<i64>) -> Option<&'static str> {
        match self.naive.branches.get(branch) {
            None => Some("404 BRANCH_NOT_FOUND"),
            Some(branch) if branch.status != Status::Active => Some("409 BRANCH_NOT_ACTIVE"),
            Some(branch) if expected_head.is_some_and(|head| head != branch.head) => Some("409 HEAD_MOVED"),
            Some(_) => None,
        }
    }

    fn expected_head(&self, branch: &str, expect: Expect) -> Option<i64> {
        let head = self.naive.branches.get(branch).map_or(7, |branch| branch.head);
        match expect {
            Expect::Anything => None,
            Expect::TheHead => Some(head),
            Expect::AnotherHead => Some(head + 1),
        }
    }

    /// A new number is higher than all before.
    fn new_sequence(&mut self, value: &Value) -> i64 {
        let sequence = value.as_i64().unwrap();
        assert!(sequence > self.last_sequence, "{sequence} does not rise");
        self.last_sequence = sequence;
        sequence
    }

    /// Files as a request has them.
    async fn files(&self, edit: &Changes, by_hash: bool) -> Vec<Value> {
        let mut files = Vec::new();
        for (path, change) in edit {
            let Some(file) = change else {
                files.push(json!({"path": path}));
                continue;
            };
            let mut entry = json!({"path": path, "mode": file.mode, "content_type": file.content_type});
            if by_hash {
                let answer = self.repo.upload(&file.bytes).await;
                assert!(answer.status.is_success(), "{}", answer.text);
                entry["content_hash"] = sha256_hex(&file.bytes).into();
            } else {
                entry["content"] = STANDARD.encode(&file.bytes).into();
            }
            files.push(entry);
        }
        files
    }

    async fn commit(&mut self, branch: &str, other_author: bool, edit: &Edit, expect: Expect) -> String {
        let changes = edit.changes();
        let expected_head = self.expected_head(branch, expect);
        let files = self.files(&changes, edit.by_hash).await;
        let message = format!("commit {}\nto {branch}", self.done.len());
        let body = json!({"branch": branch, "message": message, "files": files, "expected_head": expected_head});
        let repo = if other_author { &self.other } else { &self.repo };
        let answer = repo.post("commit", &body).await;
        let outcome = outcome_of(&answer);
        if let Some(refusal) = self.refusal_of_writing(branch, expected_head, &[&changes]) {
            assert_eq!(outcome, refusal, "{}", answer.text);
            return outcome;
        }
        let committed = answer.expect(201);
        let sequence = self.new_sequence(&committed["sequence"]);
        let author = if other_author { OTHER } else { docstore_test_support::ADMIN };
        let commit =
            Commit { sequence, author: author.to_owned(), message, imported_from: None, changes: changes.clone() };
        self.naive.append(branch, commit);
        for (file, (path, change)) in committed["files"].as_array().unwrap().iter().zip(&changes) {
            assert_eq!(file["path"], *path);
            assert_eq!(file["version_id"].is_null(), change.is_none());
        }
        outcome
    }

    /// Why commits to a branch must be refused, if so.
    fn refusal_of_writing(
        &self,
        branch: &str,
        expected_head: Option<i64>,
        batches: &[&Changes],
    ) -> Option<&'static str> {
        let written = |changes: &Changes| -> Tree {
            changes.iter().filter_map(|(path, change)| Some((path.clone(), change.clone()?))).collect()
        };
        if !batches.iter().all(|changes| is_possible(&written(changes))) {
            return Some("400 BAD_REQUEST");
        }
        if let Some(refusal) = self.closed(branch, expected_head) {
            return Some(refusal);
        }
        let mut tree = self.naive.head_tree(branch);
        batches.iter().for_each(|changes| apply(&mut tree, changes));
        (!is_possible(&tree)).then_some("409 CONFLICT")
    }

    async fn unknown_content(&mut self, branch: &str) -> String {
        let hash = sha256_hex(b"nobody ever had this");
        let answer = self.repo.commit(branch, "no", &[json!({"path": "p", "content_hash": hash})]).await;
        assert_eq!(outcome_of(&answer), "409 CONTENT_MISSING");
        assert_eq!(answer.json()["missing"], json!([hash]));
        outcome_of(&answer)
    }

    async fn create_branch(&mut self, name: &str, draft: bool) -> String {
        let answer = self.repo.post("branch", &json!({"name": name, "draft": draft})).await;
        let outcome = outcome_of(&answer);
        if name == "main" {
            assert_eq!(outcome, "400 BAD_REQUEST");
        } else if self.naive.branches.contains_key(name) {
            assert_eq!(outcome, "409 BRANCH_EXISTS");
        } else {
            assert_eq!(answer.expect(201)["base_sequence"], self.naive.main().head);
            self.naive.create_branch(name, draft);
        }
        outcome
    }

    async fn set_draft(&mut self, name: &str, draft: bool) -> String {
        let path = self.repo.path(&format!("branch/{}", escaped(name)));
        let answer = self.repo.person.patch(&path, &json!({"draft": draft})).await;
        let outcome = outcome_of(&answer);
        if name == "main" {
            assert_eq!(outcome, "400 BAD_REQUEST");
        } else if !self.naive.branches.contains_key(name) {
            assert_eq!(outcome, "404 BRANCH_NOT_FOUND");
        } else {
            answer.expect(200);
            self.naive.branch(name).draft = draft;
        }
        outcome
    }

    /// What a merge would be refused for, or a rebase with these changes; nothing when it is possible.
    fn in_the_way(&self, answer: &Answer, changes: &Changes) -> bool {
        let mut tree = self.naive.head_tree("main");
        apply(&mut tree, changes);
        if is_possible(&tree) {
            return false;
        }
        assert_eq!(outcome_of(answer), "409 MERGE_CONFLICT", "{}", answer.text);
        let possible = impossible(&tree, changes);
        for conflict in answer.json()["conflicts"].as_array().unwrap() {
            assert!(possible.contains(conflict["path"].as_str().unwrap()), "{conflict} is not in the way");
        }
        assert!(!answer.json()["conflicts"].as_array().unwrap().is_empty());
        true
    }

    /// The conflicts of an answer: path, and the contents of both sides.
    fn check_conflicts(&self, listed: &Value, branch: &str, paths: impl Iterator<Item = String>) {
        let (ours, theirs) = (self.naive.branches[branch].changes(), self.naive.main_changes(branch));
        let version = |change: Option<&Option<File>>| match change {
            Some(Some(file)) => self.versions.get(&sha256_hex(&file.bytes)).cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let expected: Vec<Value> = paths
            .map(|path| {
                json!({
                    "path": path,
                    "main_version_id": version(theirs.get(&path)),
                    "branch_version_id": version(ours.get(&path)),
                })
            })
            .collect();
        assert_eq!(*listed, json!(expected));
    }

    async fn merge(&mut self, branch: &str, dry_run: bool, expect: Expect) -> String {
        let expected_head = self.expected_head(branch, expect);
        let body = json!({"branch": branch, "dry_run": dry_run, "expected_head": expected_head});
        let answer = self.repo.post("merge", &body).await;
        let outcome = format!("{}{}", if dry_run { "dry " } else { "" }, outcome_of(&answer));
        if branch == "main" {
            assert_eq!(code_of(&answer), "BAD_REQUEST");
            return outcome;
        }
        let is_draft = self.naive.branches.get(branch).is_some_and(|branch| branch.draft);
        let refusal = match self.closed(branch, None) {
            None if is_draft => Some("409 BRANCH_DRAFT"),
            None => self.closed(branch, expected_head),
            other => other,
        };
        if let Some(refusal) = refusal {
            assert_eq!(outcome_of(&answer), refusal, "{}", answer.text);
            return outcome;
        }
        let conflicts = self.naive.conflicts(branch);
        if !conflicts.is_empty() {
            assert_eq!(outcome_of(&answer), "409 MERGE_CONFLICT", "{}", answer.text);
            self.check_conflicts(&answer.json()["conflicts"], branch, conflicts.into_iter());
            return outcome;
        }
        let changes = self.naive.branches[branch].changes();
        if self.in_the_way(&answer, &changes) {
            return outcome;
        }
        let sequence = &answer.expect(200)["sequence"];
        if dry_run {
            assert_eq!(*sequence, self.naive.main().head);
            return outcome;
        }
        if changes.is_empty() {
            assert_eq!(*sequence, self.naive.main().head);
        } else {
            let commit = Commit {
                sequence: self.new_sequence(sequence),
                author: docstore_test_support::ADMIN.to_owned(),
                message: format!("merge branch '{branch}'"),
                imported_from: None,
                changes,
            };
            self.naive.append("main", commit);
        }
        self.naive.branch(branch).status = Status::Merged;
        outcome
    }

    /// What the resolutions of a rebase are.
    fn resolutions(&self, branch: &str, resolve: &Resolve) -> Changes {
        let conflicts = || {
            let known = self.naive.branches.contains_key(branch) && branch != "main";
            if known { self.naive.conflicts(branch) } else { std::collections::BTreeSet::new() }
        };
        match resolve {
            Resolve::Nothing => Changes::new(),
            Resolve::Conflicts(number) => {
                let file = File { bytes: content(*number), mode: "100644", content_type: Some("text/plain") };
                conflicts().into_iter().map(|path| (path, Some(file.clone()))).collect()
            }
            Resolve::Delete => conflicts().into_iter().map(|path| (path, None)).collect(),
            Resolve::Blindly(edit) => edit.changes(),
        }
    }

    async fn rebase(&mut self, branch: &str, resolve: &Resolve, expect: Expect) -> String {
        let resolutions = self.resolutions(branch, resolve);
        let expected_head = self.expected_head(branch, expect);
        let expected_main_head = self.expected_head("main", expect);
        let by_hash = matches!(resolve, Resolve::Blindly(edit) if edit.by_hash);
        let body = json!({
            "branch": branch,
            "expected_head": expected_head,
            "expected_main_head": expected_main_head,
            "resolutions": self.files(&resolutions, by_hash).await,
        });
        let answer = self.other.post("rebase", &body).await;
        let outcome = outcome_of(&answer);
        if branch == "main" {
            assert_eq!(outcome, "400 BAD_REQUEST");
            return outcome;
        }
        let written: Tree =
            resolutions.iter().filter_map(|(path, change)| Some((path.clone(), change.clone()?))).collect();
        if !is_possible(&written) {
            assert_eq!(outcome, "400 BAD_REQUEST", "{}", answer.text);
            return outcome;
        }
        if let Some(refusal) = self.closed(branch, expected_head) {
            assert_eq!(outcome, refusal, "{}", answer.text);
            return outcome;
        }
        let open: Vec<String> =
            self.naive.conflicts(branch).into_iter().filter(|path| !resolutions.contains_key(path)).collect();
        if !open.is_empty() {
            assert_eq!(outcome, "409 MERGE_CONFLICT", "{}", answer.text);
            self.check_conflicts(&answer.json()["conflicts"], branch, open.into_iter());
            return outcome;
        }
        let mut changes = self.naive.branches[branch].changes();
        changes.extend(resolutions.clone());
        if self.in_the_way(&answer, &changes) {
            return outcome;
        }
        let rebased = answer.expect(200);
        let replayed: Vec<Commit> = self.naive.branches[branch].current().cloned().collect();
        assert_eq!(rebased["commits_replayed"], replayed.len());
        assert_eq!(rebased["base_sequence"], self.naive.main().head);
        let head = rebased["head_sequence"].as_i64().unwrap();
        let mut commits = replayed;
        if !resolutions.is_empty() {
            commits.push(Commit {
                sequence: 0,
                author: OTHER.to_owned(),
                message: "resolve conflicts with main".to_owned(),
                imported_from: None,
                changes: resolutions,
            });
        }
        if commits.is_empty() {
            assert_eq!(head, self.naive.main().head);
        } else {
            // Nobody else draws numbers here, so those of one rebase are next to each other.
            self.new_sequence(&rebased["head_sequence"]);
            let first = head + 1 - i64::try_from(commits.len()).unwrap();
            for (sequence, commit) in (first..).zip(&mut commits) {
                commit.sequence = sequence;
            }
        }
        self.naive.rebase(branch, commits);
        outcome
    }

    async fn abandon(&mut self, branch: &str) -> String {
        let answer = self.repo.abandon(branch).await;
        let outcome = outcome_of(&answer);
        if branch == "main" {
            assert_eq!(outcome, "400 BAD_REQUEST");
        } else if let Some(refusal) = self.closed(branch, None) {
            assert_eq!(outcome, refusal);
        } else {
            assert_eq!(outcome, "204");
            self.naive.branch(branch).status = Status::Abandoned;
        }
        outcome
    }

    async fn import(&mut self, branch: &str, commits: &[(Edit, Option<Moment>)], expect: Expect) -> String {
        let expected_head = self.expected_head(branch, expect);
        let mut new = Vec::new();
        let mut body = Vec::new();
        for (number, (edit, moment)) in commits.iter().enumerate() {
            let changes = edit.changes();
            let imported_from = format!("git:{}-{number}", self.done.len());
            let (author, message) = (format!("author{number}@example.com"), String::new());
            let files = self.files(&changes, edit.by_hash).await;
            body.push(json!({
                "author": author, "message": message, "imported_from": imported_from, "files": files,
                "created_at": moment.map(text_of),
            }));
            new.push(Commit { sequence: 0, author, message, imported_from: Some(imported_from), changes });
        }
        let body = json!({"branch": branch, "commits": body, "expected_head": expected_head});
        let answer = self.repo.post("import", &body).await;
        let outcome = outcome_of(&answer);
        let batches: Vec<&Changes> = new.iter().map(|commit| &commit.changes).collect();
        if let Some(refusal) = self.refusal_of_writing(branch, expected_head, &batches) {
            assert_eq!(outcome, refusal, "{}", answer.text);
            return format!("import {outcome}");
        }
        let imported = answer.expect(201);
        for (commit, sequence) in new.iter_mut().zip(imported["sequences"].as_array().unwrap()) {
            commit.sequence = self.new_sequence(sequence);
        }
        assert_eq!(imported["head_sequence"], self.last_sequence);
        for commit in new {
            self.naive.append(branch, commit);
        }
        format!("import {outcome}")
    }

    async fn purge(&mut self, aged: u8, dry_run: bool) -> String {
        let ended = self.naive.branches.iter().filter(|(_, branch)| branch.status != Status::Active);
        let old: Vec<String> = ended
            .enumerate()
            .filter(|(number, _)| aged & (1 << number) != 0)
            .map(|(_, (name, _))| name.clone())
            .collect();
        let branches_before = self.make_old("branches", "id", "t.id = b.id", &old).await;
        // A new time breaks the chain of the branch, which a dry run must not leave behind.
        let last = "t.branch_id = b.id AND t.sequence = b.head_sequence";
        let commits_before = self.make_old("commits", "sequence", last, &old).await;
        let body = json!({"older_than": "30d", "dry_run": dry_run});
        let answer = self.repo.post("purge", &body).await.expect(200);
        if dry_run {
            self.make_young("branches", "id", branches_before).await;
            self.make_young("commits", "sequence", commits_before).await;
        }
        assert_eq!(answer["branches_purged"], old.len());
        let commits: Vec<&Commit> =
            old.iter().flat_map(|name| self.naive.branches[name].all.iter().map(|(commit, _)| commit)).collect();
        assert_eq!(answer["commits_deleted"], commits.len());
        let changes: usize = commits.iter().map(|commit| commit.changes.len()).sum();
        assert_eq!(answer["file_commits_deleted"], changes);
        if !dry_run {
            let numbers: Vec<i64> = commits.iter().map(|commit| commit.sequence).collect();
            self.naive.purged.extend(numbers);
            for name in &old {
                self.naive.branches.remove(name);
                self.frozen.retain(|(branch, _), _| branch != name);
            }
            // What nothing points at any more has gone, and gets a new id when it comes back.
            self.versions.clear();
        }
        format!("purge {}", old.len())
    }

    /// Sets the time of rows that belong to branches to long ago, and tells what it was.
    async fn make_old(&self, table: &str, key: &str, of_branch: &str, names: &[String]) -> Vec<(i64, DateTime<Utc>)> {
        let rows = format!(
            "SELECT t.{key}, t.created_at FROM {table} t
            JOIN branches b ON {of_branch} AND b.deleted_at IS NULL AND b.name = ANY ($2)
            JOIN repos r ON r.id = b.repo_id AND r.name = $1 AND r.deleted_at IS NULL"
        );
        let rows = sqlx::query_as(AssertSqlSafe(rows)).bind(&self.repo.name).bind(names);
        let rows: Vec<(i64, DateTime<Utc>)> = rows.fetch_all(&self.pool).await.unwrap();
        let keys: Vec<i64> = rows.iter().map(|(key, _)| *key).collect();
        let update = format!("UPDATE {table} SET created_at = now() - interval '31 days' WHERE {key} = ANY ($1)");
        sqlx::query(AssertSqlSafe(update)).bind(keys).execute(&self.pool).await.unwrap();
        rows
    }

    async fn make_young(&self, table: &str, key: &str, rows: Vec<(i64, DateTime<Utc>)>) {
        let update = format!("UPDATE {table} SET created_at = $2 WHERE {key} = $1");
        for (row, created_at) in rows {
            let update = sqlx::query(AssertSqlSafe(update.clone())).bind(row).bind(created_at);
            update.execute(&self.pool).await.unwrap();
        }
    }

    async fn recreate(&mut self) -> String {
        let path = format!("/repos/{}", self.repo.name);
        self.repo.person.delete(&path).await.expect(204);
        assert_eq!(outcome_of(&self.repo.get("tree").await), "404 REPO_NOT_FOUND");
        let name = self.repo.name.strip_prefix("default/").unwrap();
        self.repo = Repo::create(self.repo.person.clone(), name).await;
        assert_eq!(outcome_of(&self.other.get("tree").await), "403 FORBIDDEN", "a role passed to the new repo");
        self.repo.give_role(OTHER, "maintainer").await;
        let gone: Vec<i64> = self
            .naive
            .branches
            .values()
            .flat_map(|branch| branch.all.iter().map(|(commit, _)| commit.sequence))
            .collect();
        let before = std::mem::replace(&mut self.naive, Naive::new());
        self.naive.purged = before.purged;
        self.naive.purged.extend(gone);
        self.frozen.clear();
        self.versions.clear();
        "recreated".to_owned()
    }
}

/// One of the likely names most of the time, else any.
fn pick_among<'a>(number: usize, likely: impl Iterator<Item = &'a str>) -> String {
    let likely: Vec<&str> = likely.collect();
    let names: Vec<&str> = likely.iter().cycle().copied().take(6 * likely.len()).chain(BRANCHES).collect();
    names[number % names.len()].to_owned()
}

/// RFC 3339, with a leap second where the minute allows one.
fn text_of(moment: Moment) -> String {
    let leap = moment.seconds.rem_euclid(60) == 59;
    let nanoseconds = if leap { moment.nanoseconds } else { moment.nanoseconds % 1_000_000_000 };
    let moment: DateTime<Utc> = DateTime::from_timestamp(moment.seconds, nanoseconds).unwrap();
    moment.to_rfc3339_opts(SecondsFormat::Nanos, true)
}
