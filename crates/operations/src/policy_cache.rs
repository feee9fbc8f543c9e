//! Texts that were found to be policies, and those that were found to be none.
//!
//! What a policy means depends on its text alone. So the cache goes by the hash of the text: it is right on every replica
//! at once, nothing has to be told to it, and a commit that leaves the policies alone leaves it alone. Which texts count is
//! read from the rows of `main` each time.
//!
//! They are compiled and evaluated in processes of their own (`docstore_policy_worker`), which ask here for the texts that
//! they do not know any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use docstore_database::contents::ContentHash;
use docstore_policy::CompileError;
use docstore_policy_worker::{CheckedPolicy, Failure};
use tokio::sync::OnceCell;

use crate::{Error, Result, limits::reached};

/// How many texts are kept: a hundred repos with ten each.
const POLICIES_MAX: usize = 1_024;
/// How much memory their texts may take.
const POLICY_TEXTS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a text turned out to be.
pub(crate) type Checked = Result<Arc<CheckedPolicy>, CompileError>;

type Key = (String, ContentHash);

struct Entry {
    cell: Arc<OnceCell<Checked>>,
    used: u64,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    uses: u64,
}

impl Kept {
    fn is_full(&self) -> bool {
        let bytes = |entry: &Entry| match entry.cell.get() {
            Some(Ok(policy)) => policy.source_bytes(),
            _ => 0,
        };
        self.entries.len() >= POLICIES_MAX || self.entries.values().map(bytes).sum::<usize>() > POLICY_TEXTS_BYTES_MAX
    }
}

/// The cache of one process.
#[derive(Default)]
pub(crate) struct PolicyCache {
    kept: Mutex<Kept>,
}

impl PolicyCache {
    /// The place of a text by file and hash; whoever fills it first does so for all.
    pub(crate) fn place(&self, file: &str, hash: ContentHash) -> Arc<OnceCell<Checked>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let used = kept.uses;
        let key = (file.to_owned(), hash);
        if !kept.entries.contains_key(&key) {
            while kept.is_full()
                && let Some(oldest) =
                    kept.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
            {
                reached("policies_kept");
                kept.entries.remove(&oldest);
            }
        }
        let entry = kept.entries.entry(key).or_insert_with(|| Entry { cell: Arc::default(), used });
        entry.used = used;
        entry.cell.clone()
    }

    /// The hashes of the texts that are kept.
    pub(crate) fn hashes(&self) -> Vec<ContentHash> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.keys().map(|(_, hash)| *hash).collect()
    }

    /// Forgets texts by their hashes.
    pub(crate) fn forget(&self, hashes: &[ContentHash]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.retain(|(_, hash), _| !hashes.contains(hash));
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Stopped(error) => Self::PolicyFailed(error.to_string()),
            other => Self::Unavailable("a process to evaluate policies", Box::new(other)),
        }
    }
}
