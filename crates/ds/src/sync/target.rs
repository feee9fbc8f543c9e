use std::collections::{BTreeMap, BTreeSet};

use docstore_client::{RepoClient, TreeQuery};
use docstore_history::clashing_paths;
use docstore_models::{FileMode, FilePath, TreeEntry};

use crate::{Failure, output::printable, workspace::is_protected};

/// One file of a tree of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeFile {
    /// SHA-256, lower-case hex.
    pub(crate) hash: String,
    pub(crate) mode: FileMode,
    /// Bytes; 0 also when the server does not say.
    pub(crate) size: u64,
}

/// A tree of the server that is safe to write into a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) branch: String,
    pub(crate) sequence: i64,
    pub(crate) files: BTreeMap<String, TreeFile>,
    /// Files whose bytes the server has no more, because they were obliterated: path and hash.
    pub(crate) obliterated: BTreeMap<String, String>,
    /// Paths that are not written because they belong to `ds` or git.
    pub(crate) protected: Vec<String>,
}

/// Reads the tree of a branch at a sequence and checks every name in it.
pub(crate) async fn read_tree(repo: &RepoClient, branch: &str, sequence: i64) -> Result<Target, Failure> {
    // Nothing was ever committed. Asking would be misread: to some endpoints, 0 stands for the head.
    let entries =
        if sequence == 0 { Vec::new() } else { repo.tree(&TreeQuery::of_branch(branch).at_sequence(sequence)).await? };
    check(branch, sequence, entries)
}

fn check(branch: &str, sequence: i64, entries: Vec<TreeEntry>) -> Result<Target, Failure> {
    let refuse = |why: String| {
        Failure::new(format!("the server's tree cannot be written here: {why}"))
            .hint("nothing in the workspace was touched")
    };
    let mut target = Target {
        branch: branch.to_owned(),
        sequence,
        files: BTreeMap::new(),
        obliterated: BTreeMap::new(),
        protected: Vec::new(),
    };
    for entry in entries {
        FilePath::parse(entry.path.as_str()).map_err(|error| refuse(error.to_string()))?;
        if is_protected(&entry.path) {
            target.protected.push(entry.path);
            continue;
        }
        if entry.obliterated {
            target.obliterated.insert(entry.path, entry.content_hash);
            continue;
        }
        let hash = entry.content_hash;
        if hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refuse(format!("the hash of '{}' is not one", printable(&entry.path))));
        }
        let file = TreeFile { hash, mode: entry.mode, size: u64::try_from(entry.size).unwrap_or(0) };
        if target.files.insert(entry.path.clone(), file).is_some() {
            return Err(refuse(format!("it lists '{}' twice", printable(&entry.path))));
        }
    }
    let paths: Vec<&str> = target.files.keys().map(String::as_str).collect();
    if let Some((file, below)) = clashing_paths(&paths).first() {
        return Err(refuse(format!("'{file}' is a file, but '{below}' needs it to be a folder")));
    }
    Ok(target)
}

/// Paths at which two trees differ.
pub(crate) fn changed_paths(old: &Target, new: &Target) -> Vec<String> {
    let all: BTreeSet<&String> =
        [old, new].into_iter().flat_map(|tree| tree.files.keys().chain(tree.obliterated.keys())).collect();
    let content = |tree: &Target, path: &String| {
        let file = tree.files.get(path).map(|file| (file.hash.clone(), file.mode));
        file.or_else(|| tree.obliterated.get(path).map(|hash| (hash.clone(), FileMode::Regular)))
    };
    all.into_iter().filter(|path| content(old, path) != content(new, path)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use docstore_models::TreeEntry;

    use super::*;

    fn entry(path: &str) -> TreeEntry {
        TreeEntry {
            path: path.into(),
            version_id: uuid::Uuid::nil(),
            content_hash: "0".repeat(64),
            size: 1,
            mode: FileMode::Regular,
            obliterated: false,
        }
    }

    #[test]
    fn no_path_leaves_the_workspace_or_enters_its_metadata() {
        for path in ["../x", "/etc/passwd", "a/../../x", "a//b", "a\nb", ""] {
            let failure = check("main", 1, vec![entry("ok"), entry(path)]).unwrap_err();
            assert!(failure.message().starts_with("the server's tree cannot be written here: "), "{failure}");
        }
        let target = check("main", 1, vec![entry(".ds/config.json"), entry("a/.GIT/hooks/x"), entry("b")]).unwrap();
        assert_eq!(target.files.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(target.protected, [".ds/config.json", "a/.GIT/hooks/x"]);
    }

    #[test]
    fn what_was_obliterated_is_no_file_to_write() {
        let gone = TreeEntry { obliterated: true, ..entry("gone") };
        let target = check("main", 1, vec![entry("a"), gone]).unwrap();
        assert_eq!(target.files.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(target.obliterated.keys().collect::<Vec<_>>(), ["gone"]);
    }

    #[test]
    fn a_file_that_was_obliterated_changed_when_its_hash_did() {
        let of = |hash: &str, obliterated: bool| TreeEntry { content_hash: hash.repeat(64), obliterated, ..entry("a") };
        let tree = |entry| check("main", 1, vec![entry]).unwrap();
        assert!(changed_paths(&tree(of("1", true)), &tree(of("1", true))).is_empty());
        for other in [of("2", true), of("2", false), TreeEntry { path: "b".into(), ..of("1", true) }] {
            assert!(changed_paths(&tree(of("1", true)), &tree(other)).contains(&"a".to_owned()));
        }
    }

    #[test]
    fn a_tree_must_be_a_tree() {
        assert!(check("main", 1, vec![entry("a"), entry("a/b")]).is_err());
        assert!(check("main", 1, vec![entry("a"), entry("a")]).is_err());
        let bad_hash = TreeEntry { content_hash: "../../x".into(), ..entry("a") };
        assert!(check("main", 1, vec![bad_hash]).is_err());
    }
}
