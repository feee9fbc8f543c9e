//! The comparison of a repo with its model, through every way of reading.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use docstore_models::{CommitList, DirectoryEntry, FileHistoryEntry, TreeEntry};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::{
    naive::{Changes, Commit, File, Tree, is_possible, same_result},
    steps::PATHS,
    world::World,
};
use crate::support::{Repo, escaped, outcome_of, sha256_hex};

/// How many requests are under way at once.
const AT_ONCE: usize = 8;

impl World {
    /// What is compared after each step: every branch, and every tree that ever was.
    pub(crate) async fn compare(&mut self) {
        self.compare_branches().await;
        let trees = stream::iter(self.frozen.keys().cloned())
            .map(async |(branch, at)| {
                let tree = tree(&self.repo, &branch, Some(at), 10_000).await;
                ((branch, at), tree)
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        for (point, tree) in trees {
            assert_tree(&tree, &self.frozen[&point], &format!("{point:?}"));
            self.note_versions(&tree);
        }
        let names: Vec<String> = self.naive.branches.keys().cloned().collect();
        for name in names {
            let tree = tree(&self.repo, &name, None, 10_000).await;
            assert_tree(&tree, &self.naive.head_tree(&name), &format!("the head of {name}"));
            self.note_versions(&tree);
        }
        self.compare_diffs().await;
    }

    /// What is compared less often, since it takes many requests. `limit` is how long pages are.
    pub(crate) async fn compare_all(&self, limit: usize) {
        for name in self.naive.branches.keys() {
            self.compare_pages(name, limit).await;
            self.compare_files(name).await;
            self.compare_histories(name, limit).await;
            self.compare_log(name, limit).await;
            self.compare_archive(name).await;
        }
        self.compare_chains().await;
        self.compare_commits().await;
    }

    /// Equal bytes have one id in a repo, for as long as something points at them.
    fn note_versions(&mut self, tree: &[TreeEntry]) {
        for entry in tree {
            let version = entry.version_id.to_string();
            let known = self.versions.entry(entry.content_hash.clone()).or_insert_with(|| version.clone());
            assert_eq!(*known, version);
        }
    }

    async fn compare_branches(&self) {
        let listed = self.repo.get("branches?include_draft=true").await.expect(200);
        let expected: Vec<Value> = self
            .naive
            .branches
            .iter()
            .map(|(name, branch)| {
                json!({
                    "repo": self.repo.name, "name": name, "head_sequence": branch.head, "base_sequence": branch.base,
                    "status": branch.status.as_str(), "draft": branch.draft, "auto_merge": false,
                })
            })
            .collect();
        assert_eq!(listed, json!(expected));
    }

    async fn compare_diffs(&self) {
        for (name, branch) in &self.naive.branches {
            let diff = self.repo.get(&format!("diff?branch={}", escaped(name))).await.expect(200);
            let (ours, theirs) = (branch.changes(), self.naive.main_changes(name));
            // Everything on main is changed since its base, which is 0.
            assert_changes(&diff["branch_changes"], &ours);
            assert_changes(&diff["main_changes"], &theirs);
            let conflicts: Vec<&str> =
                diff["conflicts"].as_array().into_iter().flatten().map(|it| it["path"].as_str().unwrap()).collect();
            let expected = if name == "main" { BTreeSet::new() } else { self.naive.conflicts(name) };
            assert_eq!(conflicts, expected.iter().map(String::as_str).collect::<Vec<_>>());
            for path in &expected {
                assert!(!same_result(ours[path].as_ref(), theirs[path].as_ref()));
            }
        }
    }

    /// Pages of any length are the whole, of trees and of directories.
    async fn compare_pages(&self, name: &str, limit: usize) {
        let points = self.frozen.keys().filter(|(branch, _)| branch == name).map(|(_, at)| Some(*at));
        // The newest and one from the middle stand for all: the pages are made by one query.
        let points: Vec<Option<i64>> = points.collect();
        for at in [None, points[points.len() / 2]] {
            let expected = at.map_or_else(|| self.naive.head_tree(name), |at| self.naive.tree_at(name, at));
            let whole = tree(&self.repo, name, at, limit).await;
            assert_tree(&whole, &expected, &format!("{name} at {at:?} in pages of {limit}"));
            for directory in directories(&expected) {
                // The slash is needed where a path is a file and a directory, as it may be between two commits of an
                // import.
                let slash = limit.is_multiple_of(2) || !is_possible(&expected);
                let listed = children(&self.repo, name, at, &directory, limit, slash).await;
                assert_eq!(listed, naive_children(&expected, &directory), "{name} at {at:?}, directory '{directory}'");
            }
        }
    }

    async fn compare_files(&self, name: &str) {
        let tree = self.naive.head_tree(name);
        stream::iter(PATHS)
            .for_each_concurrent(AT_ONCE, async |path| {
                let endpoint = format!("file/{}?branch={}", escaped(path), escaped(name));
                let answer = self.repo.get(&endpoint).await;
                let Some(file) = tree.get(path) else {
                    assert_eq!(outcome_of(&answer), "404 NOT_FOUND", "{path}: {}", answer.text);
                    return;
                };
                let answer = answer.expect(200);
                assert_eq!(answer["content"], STANDARD.encode(&file.bytes));
                assert_eq!(answer["content_hash"], sha256_hex(&file.bytes));
                assert_eq!(answer["content_type"].as_str(), file.content_type);
                assert_eq!(answer["mode"].as_str().unwrap_or("100644"), file.mode);
                assert_eq!(self.repo.bytes_of(name, path).await.as_ref(), Some(&file.bytes));
            })
            .await;
    }

    /// The commits that lead to the head of a branch, newest first.
    fn naive_log(&self, name: &str) -> Vec<&Commit> {
        let branch = &self.naive.branches[name];
        let below = self.naive.main().all.iter().map(|(commit, _)| commit);
        let below: Vec<&Commit> = below.filter(|commit| commit.sequence <= branch.base).collect();
        branch.current().rev().chain(below.into_iter().rev()).collect()
    }

    async fn compare_log(&self, name: &str, limit: usize) {
        let mut commits = Vec::new();
        let mut before = String::new();
        loop {
            let endpoint = format!("commits?branch={}&limit={limit}{before}", escaped(name));
            let page: CommitList = serde_json::from_value(self.repo.get(&endpoint).await.expect(200)).unwrap();
            commits.extend(page.commits);
            match page.next_before {
                Some(sequence) => before = format!("&before={sequence}"),
                None => break,
            }
        }
        let listed: Vec<_> = commits
            .iter()
            .map(|it| {
                (it.sequence, it.author.as_str(), it.message.as_str(), it.imported_from.as_deref(), it.file_count)
            })
            .collect();
        let expected: Vec<_> = self
            .naive_log(name)
            .iter()
            .map(|it| {
                let count = i64::try_from(it.changes.len()).unwrap();
                (it.sequence, it.author.as_str(), it.message.as_str(), it.imported_from.as_deref(), count)
            })
            .collect();
        assert_eq!(listed, expected, "the log of {name}");
    }

    async fn compare_histories(&self, name: &str, limit: usize) {
        let log = self.naive_log(name);
        let log = &log;
        stream::iter(PATHS)
            .for_each_concurrent(AT_ONCE, async |path| {
                let mut listed: Vec<FileHistoryEntry> = Vec::new();
                loop {
                    let after = listed.last().map(|last| format!("&after={}", last.sequence)).unwrap_or_default();
                    let endpoint =
                        format!("file/{}/history?branch={}&limit={limit}{after}", escaped(path), escaped(name));
                    let answer = self.repo.get(&endpoint).await.expect(200);
                    let page: Vec<FileHistoryEntry> = serde_json::from_value(answer).unwrap();
                    let is_last = page.len() < limit;
                    listed.extend(page);
                    if is_last {
                        break;
                    }
                }
                let listed: Vec<(i64, bool, &str)> =
                    listed.iter().map(|it| (it.sequence, it.version_id.is_some(), it.author.as_str())).collect();
                let expected: Vec<(i64, bool, &str)> = log
                    .iter()
                    .filter_map(|it| Some((it.sequence, it.changes.get(path)?.is_some(), it.author.as_str())))
                    .collect();
                assert_eq!(listed, expected, "the history of {path} on {name}");
            })
            .await;
    }

    async fn compare_chains(&self) {
        let chains = self.repo.verified_chains().await;
        let naive: BTreeMap<&str, &Vec<(Commit, Tree)>> = self
            .naive
            .branches
            .iter()
            .filter(|(_, branch)| !branch.all.is_empty())
            .map(|(name, branch)| (name.as_str(), &branch.all))
            .collect();
        assert_eq!(chains.keys().collect::<Vec<_>>(), naive.keys().collect::<Vec<_>>());
        for (name, chain) in &chains {
            assert_eq!(chain.len(), naive[name.as_str()].len(), "the chain of {name}");
            for (entry, (commit, _)) in chain.iter().zip(naive[name.as_str()]) {
                assert_eq!(
                    (entry.sequence, &entry.author, &entry.message),
                    (commit.sequence, &commit.author, &commit.message)
                );
                let files: Vec<(&str, &str)> =
                    entry.files.iter().map(|file| (file.path.as_str(), file.content_hash.as_str())).collect();
                let hash = |change: &Option<File>| change.as_ref().map(|it| sha256_hex(&it.bytes)).unwrap_or_default();
                let expected: Vec<(&str, String)> =
                    commit.changes.iter().map(|(path, change)| (path.as_str(), hash(change))).collect();
                assert_eq!(files, expected.iter().map(|(path, hash)| (*path, hash.as_str())).collect::<Vec<_>>());
            }
        }
    }

    async fn compare_commits(&self) {
        let commits = self.naive.branches.iter().flat_map(|(name, branch)| {
            let before = std::iter::once(None).chain(branch.all.iter().map(|(commit, _)| Some(commit.sequence)));
            branch.all.iter().zip(before).map(move |((commit, _), before)| (name, commit, before))
        });
        stream::iter(commits)
            .for_each_concurrent(AT_ONCE, async |(name, commit, _before)| {
                let detail = self.repo.get(&format!("commit/{}", commit.sequence)).await.expect(200);
                assert_eq!(detail["branch"], *name);
                assert_eq!(detail["message"], commit.message);
                assert_eq!(detail["imported_from"].as_str(), commit.imported_from.as_deref());
                assert_changed_files(&detail["files"], &commit.changes);
            })
            .await;
        for sequence in &self.naive.purged {
            assert_eq!(outcome_of(&self.repo.get(&format!("commit/{sequence}")).await), "404 NOT_FOUND");
        }
    }

    async fn compare_archive(&self, name: &str) {
        let endpoint = format!("archive?branch={}", escaped(name));
        let response = self.repo.person.request(reqwest::Method::GET, &self.repo.path(&endpoint)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let bytes = response.bytes().await.unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut listed = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            let mode = match (entry.header().entry_type(), entry.header().mode().unwrap()) {
                (tar::EntryType::Symlink, _) => {
                    content = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
                    "120000"
                }
                (_, 0o755) => "100755",
                _ => "100644",
            };
            listed.push((path, mode, content));
        }
        let expected: Vec<(String, &str, Vec<u8>)> = self
            .naive
            .head_tree(name)
            .into_iter()
            .map(|(path, file)| (path, archived_mode(&file), file.bytes))
            .collect();
        assert!(listed == expected, "the archive of {name}");
    }
}

/// A link to nowhere in particular is a file.
fn archived_mode(file: &File) -> &'static str {
    let is_target = (1..=4095).contains(&file.bytes.len()) && !file.bytes.contains(&0);
    if file.mode == "120000" && !is_target { "100644" } else { file.mode }
}

/// A whole tree, in pages.
async fn tree(repo: &Repo, branch: &str, at: Option<i64>, limit: usize) -> Vec<TreeEntry> {
    let at = at.map(|at| format!("&at={at}")).unwrap_or_default();
    let mut entries: Vec<TreeEntry> = Vec::new();
    loop {
        let after = entries.last().map(|last| format!("&after={}", escaped(&last.path))).unwrap_or_default();
        let page = repo.get(&format!("tree?branch={}&limit={limit}{at}{after}", escaped(branch))).await.expect(200);
        let page: Vec<TreeEntry> = serde_json::from_value(page).unwrap();
        assert!(page.len() <= limit);
        let is_last = page.len() < limit;
        entries.extend(page);
        if is_last {
            return entries;
        }
    }
}

/// The children of a directory, in pages: the path, and whether it is a directory.
async fn children(
    repo: &Repo,
    branch: &str,
    at: Option<i64>,
    directory: &str,
    limit: usize,
    slash: bool,
) -> Vec<(String, bool)> {
    let at = at.map(|at| format!("&at={at}")).unwrap_or_default();
    let mut children: Vec<(String, bool)> = Vec::new();
    loop {
        let slash = |is_directory: bool| if slash && is_directory { "/" } else { "" };
        let after = children.last().map(|(last, directory)| format!("&after={}{}", escaped(last), slash(*directory)));
        let after = after.unwrap_or_default();
        let directory = if directory.is_empty() { "/" } else { directory };
        let endpoint = format!("tree?branch={}&dir={}&limit={limit}{at}{after}", escaped(branch), escaped(directory));
        let page: Vec<DirectoryEntry> = serde_json::from_value(repo.get(&endpoint).await.expect(200)).unwrap();
        let is_last = page.len() < limit;
        children.extend(page.into_iter().map(|child| match child {
            DirectoryEntry::File(file) => (file.path, false),
            DirectoryEntry::Directory { path } => (path, true),
        }));
        if is_last {
            return children;
        }
    }
}

/// Every directory of a tree, the root and one that is not there included.
fn directories(tree: &Tree) -> BTreeSet<String> {
    let mut directories = BTreeSet::from([String::new(), "not/there".to_owned()]);
    for path in tree.keys() {
        directories.extend(path.match_indices('/').map(|(index, _)| path[..index].to_owned()));
    }
    directories
}

fn naive_children(tree: &Tree, directory: &str) -> Vec<(String, bool)> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    // In the order of the files below: `a.b` comes before what is in `a`.
    let mut children = Vec::new();
    for path in tree.keys() {
        let Some(rest) = path.strip_prefix(&prefix) else { continue };
        let child = match rest.split_once('/') {
            Some((name, _)) => (format!("{prefix}{name}"), true),
            None => (path.clone(), false),
        };
        if children.last() != Some(&child) {
            children.push(child);
        }
    }
    children
}

fn assert_tree(listed: &[TreeEntry], expected: &Tree, what: &str) {
    let listed: Vec<(&str, &str, i64, &str)> = listed
        .iter()
        .map(|entry| (entry.path.as_str(), entry.content_hash.as_str(), entry.size, entry.mode.as_str()))
        .collect();
    let hashes: Vec<String> = expected.values().map(|file| sha256_hex(&file.bytes)).collect();
    let expected: Vec<(&str, &str, i64, &str)> = expected
        .iter()
        .zip(&hashes)
        .map(|((path, file), hash)| (path.as_str(), hash.as_str(), i64::try_from(file.bytes.len()).unwrap(), file.mode))
        .collect();
    assert_eq!(listed, expected, "{what}");
}

/// One side of a diff.
fn assert_changes(listed: &Value, expected: &Changes) {
    let listed: Vec<(&str, bool, bool)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["path"].as_str().unwrap(), it["version_id"].is_string(), it["binary"] == true))
        .collect();
    let expected: Vec<(&str, bool, bool)> = expected
        .iter()
        .map(|(path, change)| {
            let binary = change.as_ref().is_some_and(|it| it.content_type.is_some_and(|it| !it.starts_with("text/")));
            (path.as_str(), change.is_some(), binary)
        })
        .collect();
    assert_eq!(listed, expected);
}

fn assert_changed_files(listed: &Value, expected: &Changes) {
    let listed: Vec<(&str, Option<&str>, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let mode = it["mode"].as_str().unwrap_or("100644");
            (it["path"].as_str().unwrap(), it["content_hash"].as_str(), mode)
        })
        .collect();
    let hashes: Vec<Option<String>> =
        expected.values().map(|change| change.as_ref().map(|file| sha256_hex(&file.bytes))).collect();
    let expected: Vec<(&str, Option<&str>, &str)> = expected
        .iter()
        .zip(&hashes)
        .map(|((path, change), hash)| {
            (path.as_str(), hash.as_deref(), change.as_ref().map_or("100644", |file| file.mode))
        })
        .collect();
    assert_eq!(listed, expected);
}
