//! The naive model: a tree is a map, history a list, and every tree that ever was is kept whole.

use std::collections::{BTreeMap, BTreeSet};

/// A file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: &'static str,
    pub(crate) content_type: Option<&'static str>,
}

impl File {
    /// What a conflict is decided by.
    fn result(&self) -> (&[u8], &str) {
        (&self.bytes, self.mode)
    }
}

pub(crate) type Tree = BTreeMap<String, File>;

/// What one commit, or one side, changes; nothing for a path that it deletes.
pub(crate) type Changes = BTreeMap<String, Option<File>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) sequence: i64,
    pub(crate) author: String,
    pub(crate) message: String,
    pub(crate) imported_from: Option<String>,
    pub(crate) changes: Changes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Active,
    Merged,
    Abandoned,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Merged => "merged",
            Self::Abandoned => "abandoned",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) base: i64,
    pub(crate) head: i64,
    pub(crate) status: Status,
    pub(crate) draft: bool,
    /// Every commit ever made on the branch, with the tree after it.
    pub(crate) all: Vec<(Commit, Tree)>,
    /// How many of them belong to the time before the last rebase.
    pub(crate) old: usize,
    /// Where the branch started when its first commit was made.
    first_base: Option<i64>,
}

impl Branch {
    fn new(base: i64, draft: bool) -> Self {
        Self { base, head: base, status: Status::Active, draft, all: Vec::new(), old: 0, first_base: None }
    }

    /// The commits since the last rebase.
    pub(crate) fn current(&self) -> impl DoubleEndedIterator<Item = &Commit> {
        self.all[self.old..].iter().map(|(commit, _)| commit)
    }

    /// The last change of every path since the last rebase.
    pub(crate) fn changes(&self) -> Changes {
        overlaid(self.current())
    }

    /// The last change of every path after a number.
    fn changes_since(&self, sequence: i64) -> Changes {
        overlaid(self.all.iter().map(|(commit, _)| commit).filter(|commit| commit.sequence > sequence))
    }
}

fn overlaid<'a>(commits: impl Iterator<Item = &'a Commit>) -> Changes {
    commits.flat_map(|commit| commit.changes.clone()).collect()
}

/// A repo. `main` is a branch like the others, with base 0.
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub(crate) branches: BTreeMap<String, Branch>,
    /// Numbers of commits that were purged.
    pub(crate) purged: BTreeSet<i64>,
}

impl Naive {
    pub(crate) fn new() -> Self {
        Self { branches: BTreeMap::from([("main".to_owned(), Branch::new(0, false))]), purged: BTreeSet::new() }
    }

    pub(crate) fn main(&self) -> &Branch {
        &self.branches["main"]
    }

    pub(crate) fn branch(&mut self, name: &str) -> &mut Branch {
        self.branches.get_mut(name).unwrap()
    }

    pub(crate) fn create_branch(&mut self, name: &str, draft: bool) {
        let base = self.main().head;
        self.branches.insert(name.to_owned(), Branch::new(base, draft));
    }

    /// The tree at the head of a branch.
    pub(crate) fn head_tree(&self, name: &str) -> Tree {
        let branch = &self.branches[name];
        match branch.all.last() {
            Some((_, tree)) => tree.clone(),
            None => self.main_tree(branch.base),
        }
    }

    /// The tree of a branch as it was at a sequence.
    pub(crate) fn tree_at(&self, name: &str, at: i64) -> Tree {
        let branch = &self.branches[name];
        if at >= branch.head {
            return self.head_tree(name);
        }
        match branch.all.iter().rev().find(|(commit, _)| commit.sequence <= at) {
            Some((_, tree)) => tree.clone(),
            None => self.main_tree(at.min(branch.first_base.unwrap_or(branch.base))),
        }
    }

    fn main_tree(&self, at: i64) -> Tree {
        let found = self.main().all.iter().rev().find(|(commit, _)| commit.sequence <= at);
        found.map(|(_, tree)| tree.clone()).unwrap_or_default()
    }

    pub(crate) fn append(&mut self, name: &str, commit: Commit) {
        let mut tree = self.head_tree(name);
        apply(&mut tree, &commit.changes);
        let branch = self.branch(name);
        branch.first_base.get_or_insert(branch.base);
        branch.head = commit.sequence;
        branch.all.push((commit, tree));
    }

    /// Puts new commits onto the head of main; those before no longer count.
    pub(crate) fn rebase(&mut self, name: &str, commits: Vec<Commit>) {
        let base = self.main().head;
        let mut tree = self.main_tree(base);
        let branch = self.branch(name);
        branch.old = branch.all.len();
        branch.base = base;
        branch.head = base;
        for commit in commits {
            apply(&mut tree, &commit.changes);
            branch.first_base.get_or_insert(base);
            branch.head = commit.sequence;
            branch.all.push((commit, tree.clone()));
        }
    }

    /// What main changed since a branch's base.
    pub(crate) fn main_changes(&self, name: &str) -> Changes {
        self.main().changes_since(self.branches[name].base)
    }

    /// The paths that both sides changed to different results.
    pub(crate) fn conflicts(&self, name: &str) -> BTreeSet<String> {
        let (ours, theirs) = (self.branches[name].changes(), self.main_changes(name));
        let result = |change: &Option<File>| change.as_ref().map(|file| (file.bytes.clone(), file.mode));
        ours.iter()
            .filter(|(path, change)| theirs.get(*path).is_some_and(|other| result(other) != result(change)))
            .map(|(path, _)| path.clone())
            .collect()
    }
}

/// Whether two files make a conflict of each other.
pub(crate) fn same_result(one: Option<&File>, other: Option<&File>) -> bool {
    one.map(File::result) == other.map(File::result)
}

pub(crate) fn apply(tree: &mut Tree, changes: &Changes) {
    for (path, change) in changes {
        match change {
            Some(file) => tree.insert(path.clone(), file.clone()),
            None => tree.remove(path),
        };
    }
}

/// Whether a path would have to be a file and a directory at once.
pub(crate) fn is_possible(tree: &Tree) -> bool {
    !tree.keys().any(|file| tree.keys().any(|path| path.starts_with(&format!("{file}/"))))
}

/// The paths written by a change that cannot be where they are, given the rest of the tree: each of them, whether a file
/// is where it needs a directory, or something lies below it.
pub(crate) fn impossible(tree: &Tree, changes: &Changes) -> BTreeSet<String> {
    let clash = |one: &str, other: &str| one.starts_with(&format!("{other}/")) || other.starts_with(&format!("{one}/"));
    changes
        .iter()
        .filter(|(path, change)| change.is_some() && tree.keys().any(|other| clash(path, other)))
        .map(|(path, _)| path.clone())
        .collect()
}
