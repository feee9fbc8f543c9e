//! Trust in the server's history.
//!
//! Every commit is hashed together with the hash of the one before it on its branch. The client keeps, for each branch, the
//! hash of the last commit that it has seen; when it moves on, every hash from there to the new head must follow. So a
//! server, or whoever sits on its database, cannot change what was seen once. What the first sight of a branch shows is
//! taken on trust.
//!
//! A check that fails stops the command before it touches a file, and is remembered: the next command fails as well, until
//! somebody looks (`ds verify`) and accepts the history as it is now (`ds verify --accept`).

use docstore_client::RepoClient;
use docstore_history::{ChainVerifier, GENESIS};
use docstore_models::{ChainEntry, MAIN_BRANCH};

use crate::{
    Failure,
    session::Session,
    workspace::{Anchor, Anchors, Fault, Workspace},
};

/// Commits asked for at once; the answer stays around a megabyte.
pub(crate) const CHAIN_PAGE: u32 = 1_000;

/// The outcome of a check.
pub(crate) enum Trust {
    /// All is well; these are the anchors from now on.
    Verified(Anchors),
    /// The history is not the one that was seen before.
    Broken(Fault),
}

/// The failure that a broken history is reported as.
pub(crate) fn fault_failure(fault: &Fault) -> Failure {
    Failure::new(&fault.message)
        .hint("nothing in the workspace was touched; look with `ds verify`")
        .hint("if the change is one that you expected, accept the history as it is now with `ds verify --accept`")
}

/// Checks that a branch's history up to `sequence` continues what was seen of it.
pub(crate) async fn verify_move(
    session: &mut Session<'_>,
    workspace: &Workspace,
    repo: &RepoClient,
    branch: &str,
    sequence: i64,
    skip: bool,
) -> Result<Trust, Failure> {
    let mut anchors = workspace.anchors().clone();
    if skip || sequence == 0 {
        // An anchor that is behind stays: the next check begins there and misses nothing.
        return Ok(Trust::Verified(anchors));
    }
    if let Some(fault) = &anchors.fault {
        return Ok(Trust::Broken(fault.clone()));
    }
    let Some(anchor) = anchors.get(branch).cloned() else {
        trust_on_first_use(session, repo, branch, sequence, &mut anchors).await;
        return Ok(Trust::Verified(anchors));
    };
    if anchor.sequence == sequence {
        return Ok(Trust::Verified(anchors));
    }
    match continue_from(session, repo, branch, &anchor, sequence).await? {
        Continued::To(anchor) => anchors.set(branch, anchor),
        Continued::Unhashed => anchors.forget(branch),
        Continued::Recreated => {
            session.warn(format!("branch '{branch}' is not the one seen before: it was purged and created again"));
            anchors.forget(branch);
            trust_on_first_use(session, repo, branch, sequence, &mut anchors).await;
        }
        Continued::Broken(message) => {
            return Ok(Trust::Broken(Fault { branch: branch.to_owned(), message }));
        }
    }
    Ok(Trust::Verified(anchors))
}

/// Takes the hash of the head as it is. That it cannot be had is no reason to stop.
async fn trust_on_first_use(
    session: &mut Session<'_>,
    repo: &RepoClient,
    branch: &str,
    sequence: i64,
    anchors: &mut Anchors,
) {
    match repo.chain(sequence, sequence, Some(branch), Some(CHAIN_PAGE)).await {
        // The head of a branch without commits of its own is one of `main`.
        Ok(entries) => match entries.iter().find(|entry| entry.sequence == sequence && entry.branch == branch) {
            Some(ChainEntry { commit_hash: Some(hash), .. }) => {
                anchors.set(branch, Anchor { sequence, hash: hash.clone() });
            }
            Some(_) => {
                session.say(format!("note: sequence {sequence} predates hash chain feature; nothing to verify yet"));
            }

            None => {}
        },
        Err(error) => session.warn(format!("cannot fetch the hash of sequence {sequence}: {error}")),
    }
}

enum Continued {
    To(Anchor),
    /// The last commits have no hash.
    Unhashed,
    /// Nothing of what was seen exists any more, and the branch is one that can be purged.
    Recreated,
    Broken(String),
}

async fn continue_from(
    session: &mut Session<'_>,
    repo: &RepoClient,
    branch: &str,
    anchor: &Anchor,
    to: i64,
) -> Result<Continued, Failure> {
    let mut pages = ChainPages::new(repo, branch, anchor.sequence, to.max(anchor.sequence));
    let mut verifier: Option<ChainVerifier> = None;
    let mut last = anchor.clone();
    let mut noted = false;
    while let Some(entries) = pages.next().await? {
        for entry in entries {
            let unhashed = match &mut verifier {
                None => {
                    if entry.sequence != anchor.sequence {
                        return Ok(gone(branch, anchor));
                    }
                    let start = entry.commit_hash.clone().unwrap_or_else(|| GENESIS.to_owned());
                    if entry.commit_hash.as_ref().is_some_and(|hash| *hash != anchor.hash) {
                        return Ok(Continued::Broken(format!(
                            "chain integrity error at sequence {}: anchor hash changed (stored {}, server {start})",
                            entry.sequence, anchor.hash
                        )));
                    }
                    verifier = Some(ChainVerifier::after(repo.name(), branch, start));
                    entry.commit_hash.is_none()
                }
                Some(verifier) => match verifier.check(&entry) {
                    Ok(hashed) => !hashed,
                    Err(fault) => return Ok(Continued::Broken(fault.to_string())),
                },
            };
            if unhashed && !noted {
                session.say(format!("note: sequence {} predates hash chain feature", entry.sequence));
                noted = true;
            }
            last = Anchor { sequence: entry.sequence, hash: entry.commit_hash.unwrap_or_default() };
        }
    }
    if verifier.is_none() {
        return Ok(gone(branch, anchor));
    }
    if to < anchor.sequence {
        return Ok(Continued::Broken(format!(
            "chain integrity error at sequence {}: the branch went back to sequence {to}",
            anchor.sequence
        )));
    }
    Ok(if last.hash.is_empty() { Continued::Unhashed } else { Continued::To(last) })
}

fn gone(branch: &str, anchor: &Anchor) -> Continued {
    if branch == MAIN_BRANCH {
        Continued::Broken(format!(
            "chain integrity error at sequence {}: the commit that was seen before is gone",
            anchor.sequence
        ))
    } else {
        Continued::Recreated
    }
}

/// The chain of one branch, page by page, in ascending order.
///
/// A server may page and filter, or ignore that it was asked to and answer with everything.
pub(crate) struct ChainPages<'r> {
    repo: &'r RepoClient,
    branch: &'r str,
    next: Option<i64>,
    to: i64,
}

impl<'r> ChainPages<'r> {
    pub(crate) fn new(repo: &'r RepoClient, branch: &'r str, from: i64, to: i64) -> Self {
        Self { repo, branch, next: (from <= to).then_some(from), to }
    }

    /// The next entries of the branch; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<ChainEntry>>, Failure> {
        let Some(from) = self.next.take() else { return Ok(None) };
        let mut entries = self.repo.chain(from, self.to, Some(self.branch), Some(CHAIN_PAGE)).await?;
        let last = entries.last().map(|entry| entry.sequence);
        if entries.iter().any(|entry| entry.sequence < from || entry.sequence > self.to)
            || !entries.is_sorted_by(|a, b| a.sequence < b.sequence)
        {
            return Err(Failure::new("chain integrity error: the server's answer is out of order"));
        }
        if entries.len() >= CHAIN_PAGE as usize {
            self.next = last.map(|last| last + 1).filter(|next| *next <= self.to);
        }
        entries.retain(|entry| entry.branch == self.branch);
        Ok(Some(entries))
    }
}
