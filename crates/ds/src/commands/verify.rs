use std::collections::BTreeMap;

use clap::Args;
use docstore_client::{RepoClient, TreeQuery};
use docstore_history::ChainVerifier;
use docstore_models::{ChainEntry, MAIN_BRANCH};
use serde::Serialize;

use crate::{
    Failure,
    cli::JsonOption,
    integrity::ChainPages,
    output::{counted, first_line},
    remote::find_branch,
    session::Session,
    sync,
    workspace::{Anchor, Workspace, read_json, write_json},
};

/// How far each branch was verified.
const CHECKPOINTS: &str = "verified.json";
/// Characters of a hash that are shown.
const SHOWN: usize = 16;

/// Recompute the hash chain of the branch, from its first commit to its head.
///
/// The hash that the workspace has seen last must be part of it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Also compare the tree at the head with what the commits say, and every byte with its hash.
    #[arg(long)]
    content: bool,
    /// Begin after the last commit that an earlier verify has found right.
    #[arg(long, conflicts_with_all = ["content", "accept"])]
    resume: bool,
    /// Trust the server's history as it is now, after a check has failed.
    #[arg(long, conflicts_with = "json")]
    accept: bool,
    #[command(flatten)]
    json: JsonOption,
}

/// What became of one commit.
#[derive(Serialize)]
struct Checked {
    sequence: i64,
    message: String,
    outcome: Outcome,
    /// What its hash has to be, when the server's is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    /// What the server says it is.
    reported: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    /// It has no hash.
    Skipped,
    Failed,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let mut workspace = session.locked_workspace()?;
    let repo = session.repo(&workspace)?;
    let branch = workspace.branch().to_owned();
    let head = find_branch(&repo, &branch).await?;
    let checkpoints: BTreeMap<String, Anchor> =
        read_json(&workspace.metadata().join(CHECKPOINTS), "checkpoints")?.unwrap_or_default();
    let checkpoint = checkpoints.get(&branch).filter(|_| arguments.resume).cloned();
    let collected = arguments.json.json.then(Vec::new);
    let walk = walk(session, &workspace, &repo, (&branch, head.head_sequence), checkpoint, collected).await?;
    if let Some(collected) = &walk.collected {
        session.print_json(collected)?;
    } else if walk.entries == 0 {
        session.say("No commits to verify.");
    }
    if arguments.accept {
        let mut anchors = workspace.anchors().clone();
        anchors.fault = None;
        match walk.tip {
            Some(tip) => anchors.set(&branch, tip),
            None => anchors.forget(&branch),
        }
        workspace.save_anchors(anchors)?;
        session
            .say(format!("The history of '{branch}' is trusted as it is now, up to sequence {}", head.head_sequence));
        return Ok(());
    }
    if let Some(message) = walk.fault {
        return Err(Failure::new(message));
    }
    if let Some(tip) = walk.tip {
        let mut checkpoints = checkpoints;
        checkpoints.insert(branch.clone(), tip);
        write_json(&workspace.metadata().join(CHECKPOINTS), &checkpoints)?;
    }
    if arguments.content {
        let (count, gone) =
            verify_content(session, &repo, &branch, head.base_sequence, head.head_sequence, walk.files).await?;
        if gone > 0 {
            session.warn(format!("{} not verified: obliterated on the server", counted(gone, "file", "files")));
        }
        let line = format!("Content of {} matches", counted(count, "file", "files"));
        if arguments.json.json { session.detail(line) } else { session.say(line) }
    }
    Ok(())
}

#[derive(Default)]
struct Walk {
    entries: usize,
    fault: Option<String>,
    tip: Option<Anchor>,
    /// What the commits make of each path.
    files: BTreeMap<String, String>,
    /// What became of each commit, where that is not printed on the way.
    collected: Option<Vec<Checked>>,
}

async fn walk(
    session: &mut Session<'_>,
    workspace: &Workspace,
    repo: &RepoClient,
    (branch, head): (&str, i64),
    checkpoint: Option<Anchor>,
    collected: Option<Vec<Checked>>,
) -> Result<Walk, Failure> {
    let anchor = workspace.anchors().get(branch).cloned();
    let mut anchor_seen =
        anchor.as_ref().zip(checkpoint.as_ref()).is_some_and(|(anchor, from)| anchor.sequence < from.sequence);
    let mut walk = Walk { collected, ..Walk::default() };
    let mut verifier = ChainVerifier::from_genesis(repo.name(), branch);
    let mut pages = ChainPages::new(repo, branch, checkpoint.as_ref().map_or(1, |from| from.sequence), head);
    let mut start = checkpoint;
    while let Some(entries) = pages.next().await? {
        for entry in entries {
            if let Some(from) = start.take() {
                // The checkpoint itself: as it was, or nothing after it can be trusted.
                if entry.sequence != from.sequence || entry.commit_hash.as_deref() != Some(from.hash.as_str()) {
                    walk.fault = Some(format!(
                        "chain integrity error at sequence {}: the commit that was verified before is another one now",
                        from.sequence
                    ));
                }
                verifier = ChainVerifier::after(repo.name(), branch, &from.hash);
                anchor_seen |= anchor.as_ref() == Some(&from);
                walk.tip = Some(from);
                continue;
            }
            walk.entries += 1;
            check(session, &mut verifier, &entry, &mut walk);
            if let Some(anchor) = anchor.as_ref().filter(|anchor| anchor.sequence == entry.sequence) {
                anchor_seen = true;
                let reported = entry.commit_hash.as_deref().unwrap_or("none");
                if reported != anchor.hash {
                    walk.fault.get_or_insert(format!(
                        "chain integrity error at sequence {}: anchor hash changed (stored {}, server {reported})",
                        entry.sequence, anchor.hash
                    ));
                }
            }
            walk.tip = entry.commit_hash.map(|hash| Anchor { sequence: entry.sequence, hash });
            apply(&mut walk.files, entry.files);
        }
    }
    if let Some(anchor) = anchor.filter(|_| !anchor_seen) {
        walk.fault.get_or_insert(format!(
            "chain integrity error at sequence {}: the commit that was seen before is gone",
            anchor.sequence
        ));
    }
    Ok(walk)
}

fn apply(files: &mut BTreeMap<String, String>, changes: Vec<docstore_models::ChainFile>) {
    for change in changes {
        if change.content_hash.is_empty() {
            files.remove(&change.path);
        } else {
            files.insert(change.path, change.content_hash);
        }
    }
}

fn check(session: &mut Session<'_>, verifier: &mut ChainVerifier, entry: &ChainEntry, walk: &mut Walk) {
    let (outcome, expected) = match verifier.check(entry) {
        Ok(true) => (Outcome::Ok, None),
        Ok(false) => (Outcome::Skipped, None),
        Err(fault) => {
            walk.fault.get_or_insert(fault.to_string());
            (Outcome::Failed, Some(fault.expected))
        }
    };
    let (sequence, reported) = (entry.sequence, entry.commit_hash.clone());
    let checked = Checked { sequence, message: entry.message.clone(), outcome, expected, reported };
    match &mut walk.collected {
        Some(collected) => collected.push(checked),
        None => show(session, &checked),
    }
}

fn show(session: &mut Session<'_>, checked: &Checked) {
    let short = |hash: &Option<String>| hash.as_deref().unwrap_or_default().chars().take(SHOWN).collect::<String>();
    let Checked { sequence, outcome, expected, reported, .. } = checked;
    let message = first_line(&checked.message);
    let reported = short(reported);
    match outcome {
        Outcome::Ok => session.say(format!("seq {sequence:<4}  OK    {reported}  {message}")),
        Outcome::Skipped => session.say(format!("seq {sequence:<4}  SKIP  (no commit_hash)  {message}")),
        Outcome::Failed => {
            let expected = short(expected);
            session.print(format!("seq {sequence:<4}  FAIL  (expected {expected} got {reported})  {message}"));
        }
    }
}

/// Compares the tree at the head with the hashes in the commits, and the bytes with the tree.
async fn verify_content(
    session: &mut Session<'_>,
    repo: &RepoClient,
    branch: &str,
    base: i64,
    head: i64,
    own: BTreeMap<String, String>,
) -> Result<(usize, usize), Failure> {
    let expected = if branch == MAIN_BRANCH {
        own
    } else {
        // A branch is main at its base with its own commits on top.
        let mut files = BTreeMap::new();
        let mut pages = ChainPages::new(repo, MAIN_BRANCH, 1, base);
        while let Some(entries) = pages.next().await? {
            entries.into_iter().for_each(|entry| apply(&mut files, entry.files));
        }
        let mut pages = ChainPages::new(repo, branch, 1, head);
        while let Some(entries) = pages.next().await? {
            entries.into_iter().for_each(|entry| apply(&mut files, entry.files));
        }
        files
    };
    let tree = if head == 0 { Vec::new() } else { repo.tree(&TreeQuery::of_branch(branch).at_sequence(head)).await? };
    let actual: BTreeMap<String, String> =
        tree.iter().map(|entry| (entry.path.clone(), entry.content_hash.clone())).collect();
    if expected != actual {
        let all = expected.keys().chain(actual.keys());
        let wrong = all.filter(|path| expected.get(*path) != actual.get(*path)).min().cloned().unwrap_or_default();
        return Err(Failure::new(format!(
            "content integrity error: the tree at sequence {head} does not follow from the commits, first at '{wrong}'"
        )));
    }
    let progress = session.progress("Verifying", actual.len() as u64);
    let count = sync::verify_contents(repo, branch, head, &progress).await?;
    progress.finish();
    Ok(count)
}
