//! What may happen to a repo, drawn at random. Names are few, so that changes meet.

use proptest::prelude::*;

use super::naive::{Changes, File};

/// Paths that are files for one and directories for the other, and such that sort between them.
pub(crate) const PATHS: [&str; 12] =
    ["a", "a/b", "a/b/c", "a.b", "a-b", "a0", "b", "b/x", "d/e/f", "d/e/g", "d/Ω \"%", "d/e"];

pub(crate) const BRANCHES: [&str; 4] = ["main", "one", "feature/two", "x.y+z"];

pub(crate) const MODES: [&str; 3] = ["100644", "100755", "120000"];

pub(crate) const TYPES: [Option<&str>; 3] = [None, Some("text/plain"), Some("image/png")];

/// The fourth and fifth are long enough for the blob store.
pub(crate) fn content(number: usize) -> Vec<u8> {
    match number % 6 {
        0 => Vec::new(),
        1 => b"one\n".to_vec(),
        2 => b"two\r\n\0".to_vec(),
        3 => vec![b'x'; 5000],
        4 => (0..9000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect(),
        _ => b"a/b".to_vec(),
    }
}

/// Which path, and which content, mode and type it gets; none deletes it.
type DrawnChange = (usize, Option<(usize, usize, usize)>);

/// Changes of one commit, and whether their contents are uploaded first and named by their hashes.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    changes: Vec<DrawnChange>,
    pub(crate) by_hash: bool,
}

impl Edit {
    pub(crate) fn changes(&self) -> Changes {
        let file = |(content_number, mode, content_type): (usize, usize, usize)| File {
            bytes: content(content_number),
            mode: MODES[mode % MODES.len()],
            content_type: TYPES[content_type % TYPES.len()],
        };
        self.changes.iter().map(|(path, write)| (PATHS[path % PATHS.len()].to_owned(), write.map(file))).collect()
    }
}

/// Which head a request expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Anything,
    TheHead,
    AnotherHead,
}

/// How a rebase deals with conflicts.
#[derive(Clone, Debug)]
pub(crate) enum Resolve {
    /// Not at all.
    Nothing,
    /// Each conflicting path is written.
    Conflicts(usize),
    /// Each conflicting path is deleted.
    Delete,
    /// Whatever comes, perhaps something else.
    Blindly(Edit),
}

/// When an imported commit was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Commit {
        branch: usize,
        other_author: bool,
        edit: Edit,
        expect: Expect,
    },
    UnknownContent {
        branch: usize,
    },
    CreateBranch {
        name: usize,
        draft: bool,
    },
    SetDraft {
        branch: usize,
        draft: bool,
    },
    Merge {
        branch: usize,
        dry_run: bool,
        expect: Expect,
    },
    Rebase {
        branch: usize,
        resolve: Resolve,
        expect: Expect,
    },
    Abandon {
        branch: usize,
    },
    Import {
        branch: usize,
        commits: Vec<(Edit, Option<Moment>)>,
        expect: Expect,
    },
    /// The branches that ended and whose bit is set become old before.
    Purge {
        aged: u8,
        dry_run: bool,
    },
    /// The repo is deleted and made again.
    Recreate,
}

fn edit() -> impl Strategy<Value = Edit> {
    let write = proptest::option::weighted(0.7, (0..6_usize, 0..3_usize, 0..3_usize));
    (proptest::collection::vec((0..PATHS.len(), write), 1..5), proptest::bool::weighted(0.2))
        .prop_map(|(changes, by_hash)| Edit { changes, by_hash })
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![9 => Just(Expect::Anything), 5 => Just(Expect::TheHead), 1 => Just(Expect::AnotherHead)]
}

fn resolve() -> impl Strategy<Value = Resolve> {
    prop_oneof![
        2 => Just(Resolve::Nothing),
        3 => (0..6_usize).prop_map(Resolve::Conflicts),
        1 => Just(Resolve::Delete),
        2 => edit().prop_map(Resolve::Blindly),
    ]
}

/// From long before the epoch to far beyond any clock, finer than the database keeps, leap seconds included.
fn moment() -> impl Strategy<Value = Moment> {
    let seconds = prop_oneof![4 => 0..2_000_000_000_i64, 1 => -60_000_000_000..250_000_000_000_i64];
    (seconds, 0..2_000_000_000_u32).prop_map(|(seconds, nanoseconds)| Moment { seconds, nanoseconds })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let branch = || 0..1000_usize;
    let import = proptest::collection::vec((edit(), proptest::option::weighted(0.8, moment())), 1..4);
    prop_oneof![
        28 => (branch(), any::<bool>(), edit(), expect())
            .prop_map(|(branch, other_author, edit, expect)| Step::Commit { branch, other_author, edit, expect }),
        1 => branch().prop_map(|branch| Step::UnknownContent { branch }),
        8 => (branch(), proptest::bool::weighted(0.1)).prop_map(|(name, draft)| Step::CreateBranch { name, draft }),
        1 => (branch(), any::<bool>()).prop_map(|(branch, draft)| Step::SetDraft { branch, draft }),
        8 => (branch(), proptest::bool::weighted(0.3), expect())
            .prop_map(|(branch, dry_run, expect)| Step::Merge { branch, dry_run, expect }),
        14 => (branch(), resolve(), expect())
            .prop_map(|(branch, resolve, expect)| Step::Rebase { branch, resolve, expect }),
        2 => branch().prop_map(|branch| Step::Abandon { branch }),
        5 => (branch(), import, expect()).prop_map(|(branch, commits, expect)| Step::Import { branch, commits, expect }),
        4 => (any::<u8>(), proptest::bool::weighted(0.3)).prop_map(|(aged, dry_run)| Step::Purge { aged, dry_run }),
        1 => Just(Step::Recreate),
    ]
}
