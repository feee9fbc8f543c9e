//! Reading git repositories, through the `git` program: whatever version of the format a repository has, its own program
//! reads it.
//!
//! # Which commits, and what they become
//!
//! A DocStore branch is a line; a git history is a graph. Every commit that the chosen revision reaches is imported, parents
//! before children and lines of development kept together (`--topo-order`), and each becomes the *difference between its
//! tree and the tree of the commit imported before it*. So the tree at every imported commit is git's tree of that commit,
//! byte for byte, merges included, and nobody's work or message is missing. The price: where the order changes from one
//! line of development to another, a commit also takes back what the other line had; that is right for the tree and noise
//! in the history of a file. `--first-parent` imports the main line alone, without that noise and without the commits that
//! merges brought in (their changes arrive with the merge).
//!
//! Submodules are left out, since they are not content. So are names that DocStore does not take (see
//! [`docstore_models::FilePath`]); both with a warning.

mod batches;
mod blobs;
mod history;
mod repository;
mod tree_diff;

pub(crate) use batches::{Batch, BatchLimits, Batches, KnownContents};
pub(crate) use history::GitCommit;
pub(crate) use repository::{Order, Repository};
