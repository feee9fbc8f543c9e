//! Group commit: small commits to different branches of one repo that arrive while others are being written are written
//! in one transaction.
//!
//! A group takes what nothing stands against and waits for nobody. Whatever has something to it, such as a branch that is
//! locked or has moved, a path that is in the way, or a key that was used before, is made alone, as every other commit is,
//! and gets its refusal there.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use docstore_database::{
    CommitError,
    append::{BranchAppend, Brought, Conditions, Footing, append_unmoved},
    branches::{SeenBranch, Wanted, look_at_branches},
    contents::{ContentHash, NewContent},
    event_log::NewEvent,
    idempotency::UsedKey,
};
use docstore_history::clashing_paths;
use docstore_models::{CommitResponse, MAIN_BRANCH};

use crate::{
    Error, Operations, Result,
    changes::{ChainBuilder, NewCommits, created_paths},
    commit::{PreparedCommit, answer_to_keep},
    together::{Service, Together},
    write::envelope,
};

/// The most commits of one group: nobody waits for more than that many others.
const GROUP_COMMITS_MAX: usize = 64;

/// The most files of a commit in a group, for the same reason.
const GROUP_FILES_MAX: usize = 16;

/// The most bytes of new contents of a commit in a group.
const GROUP_BYTES_MAX: usize = 64 * 1024;

/// The commits that wait, by repo.
pub(crate) type CommitGroups = Together<GroupWriter>;

pub(crate) fn commit_groups() -> Arc<CommitGroups> {
    Together::new(GROUP_COMMITS_MAX)
}

/// Writes groups of commits to a repo.
#[derive(Clone)]
pub(crate) struct GroupWriter(Operations);

impl Service for GroupWriter {
    type Key = i64;
    type Question = PreparedCommit;
    type Answer = Outcome;

    async fn serve(&self, repo_id: &i64, members: Vec<PreparedCommit>) -> Vec<Outcome> {
        self.0.write_group(*repo_id, members).await
    }
}

/// What came of a commit that waited for a group.
pub(crate) enum Outcome {
    /// It was in one, and this came of it.
    Written(Result<CommitResponse>),
    /// It has to be made alone.
    Alone(Box<PreparedCommit>),
}

/// Whether a commit may be one of a group: small, and judged by nobody but the branch's lock. Whether policies judge what comes
/// to `main` is seen when the group looks at it.
fn may_join(prepared: &PreparedCommit) -> bool {
    prepared.writer.caller().covers_branch(&prepared.branch)
        && prepared.planned.len() <= GROUP_FILES_MAX
        && prepared.plan.inline_bytes().is_some_and(|bytes| bytes <= GROUP_BYTES_MAX)
        && (prepared.branch != MAIN_BRANCH || prepared.is_plain_on_main())
}

impl Operations {
    /// Makes a commit, in a group when it may join one.
    pub(crate) async fn commit_in_group(&self, prepared: PreparedCommit) -> Result<CommitResponse> {
        if !may_join(&prepared) {
            return self.commit_alone(prepared).await;
        }
        let repo_id = prepared.writer.repo_id();
        match self.commit_groups().ask(GroupWriter(self.clone()), repo_id, prepared).await {
            Ok(Outcome::Written(written)) => written,
            Ok(Outcome::Alone(prepared)) => self.commit_alone(*prepared).await,
            Err(broken_off) => Err(Error::Internal(Box::new(broken_off))),
        }
    }

    /// Writes what can be written of a group, and says of each member what came of it.
    async fn write_group(&self, repo_id: i64, members: Vec<PreparedCommit>) -> Vec<Outcome> {
        match self.write_together(repo_id, &members).await {
            Ok(answers) => members
                .into_iter()
                .zip(answers)
                .map(|(prepared, answer)| match answer {
                    Some(answer) => Outcome::Written(Ok(answer)),
                    None => Outcome::Alone(Box::new(prepared)),
                })
                .collect(),
            Err(Failure::Dissolved(error)) => {
                tracing::debug!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "the commits of a group are made alone"
                );
                members.into_iter().map(|prepared| Outcome::Alone(Box::new(prepared))).collect()
            }
            Err(Failure::Unavailable(error)) => {
                let error = Arc::new(error);
                members.iter().map(|_| Outcome::Written(Err(Error::of_shared(&error)))).collect()
            }
            Err(Failure::Unknown(cause, written)) => {
                let outcome = |(prepared, written)| {
                    if written {
                        Outcome::Written(Err(Error::OutcomeUnknown(Box::new(Arc::clone(&cause)))))
                    } else {
                        Outcome::Alone(Box::new(prepared))
                    }
                };
                members.into_iter().zip(written).map(outcome).collect()
            }
        }
    }

    /// Looks at the branches, and writes all that nothing stands against: two statements. Answers, member by member, what is
    /// written; nothing for those who have to go alone.
    async fn write_together(
        &self,
        repo_id: i64,
        members: &[PreparedCommit],
    ) -> Result<Vec<Option<CommitResponse>>, Failure> {
        let created: Vec<Vec<&str>> = members.iter().map(|member| created_paths(&member.planned)).collect();
        let wanted: Vec<Wanted<'_>> = members
            .iter()
            .zip(&created)
            .map(|(member, created)| Wanted { branch: &member.branch, created, key: used_key(member) })
            .collect();
        let (mut connection, seen) =
            look_at_branches(self.pool(), repo_id, &wanted).await.map_err(Failure::Unavailable)?;
        let mut places = unopposed(&wanted, &seen.opposed);

        let now = self.now();
        let mut ready: Vec<Ready> = Vec::with_capacity(members.len());
        let mut events: Vec<NewEvent> = Vec::with_capacity(members.len());
        let mut chains: Vec<(&SeenBranch, NewCommits)> = Vec::with_capacity(seen.branches.len());
        for branch in &seen.branches {
            let mut head = branch.branch.head_sequence;
            let mut sequences = branch.sequences.iter().copied();
            let mut chain: Option<ChainBuilder<'_>> = None;
            for place in places.remove(branch.branch.name.as_str()).unwrap_or_default() {
                let member = &members[place];
                if member.expected_head.is_some_and(|expected| expected != head) {
                    continue;
                }
                let Some(sequence) = sequences.next() else { break };
                let chain = chain.get_or_insert_with(|| ChainBuilder::new(member.writer.repo(), branch));
                let event = member.push_to(chain, sequence, branch.now);
                events.push(envelope(now, Some(repo_id), &event).map_err(Failure::Dissolved)?);
                let kept = answer_to_keep(sequence, chain.head_hash().to_owned());
                ready.push(Ready { place, kept });
                head = sequence;
            }
            chains.extend(chain.map(|chain| (branch, chain.finish())));
        }
        let appends: Vec<BranchAppend<'_, SeenBranch>> = chains
            .iter()
            .map(|(branch, new)| BranchAppend {
                branch: *branch,
                footing: Footing::of(branch),
                commits: &new.commits,
                created: &[],
            })
            .collect();
        let mut seen = HashSet::new();
        let contents: Vec<&NewContent> = ready
            .iter()
            .flat_map(|ready| members[ready.place].plan.new_contents())
            .filter(|content| seen.insert(content.hash))
            .collect();
        let hashes: Vec<ContentHash> = ready
            .iter()
            .flat_map(|ready| members[ready.place].planned.iter().filter_map(|change| change.hash))
            .collect();
        let answers = answers_to_keep(members, &ready).map_err(Failure::Dissolved)?;
        let appended = append_unmoved(
            &mut connection,
            repo_id,
            &appends,
            Brought { contents: &contents, events: &events },
            Conditions { hashes: &hashes, answers: &answers },
        )
        .await;
        let stored = match appended {
            Ok(stored) => stored,
            Err(CommitError::Refused(error)) => return Err(Failure::Dissolved(error.into())),
            Err(CommitError::Unknown(cause)) => {
                // It may have happened.
                self.commit_happened();
                let written: HashSet<usize> = ready.iter().map(|ready| ready.place).collect();
                let written = (0..members.len()).map(|place| written.contains(&place)).collect();
                return Err(Failure::Unknown(Arc::new(cause), written));
            }
        };
        connection.done();
        if !ready.is_empty() {
            self.commit_happened();
        }
        let stored = stored.into_iter().map(|row| (row.hash, row)).collect();
        let mut answers = vec![None; members.len()];
        for Ready { place, kept } in ready {
            answers[place] = Some(CommitResponse { files: members[place].files(&stored), ..kept });
        }
        Ok(answers)
    }
}

/// Why a group was not written.
enum Failure {
    /// The database cannot be asked.
    Unavailable(docstore_database::Error),
    /// Something that was seen has changed. Nothing has happened: all have to go alone.
    Dissolved(Error),
    /// The database went away in the middle. Which members it concerns.
    Unknown(Arc<dyn std::error::Error + Send + Sync>, Vec<bool>),
}

/// A member that is written, and what is kept of its answer.
struct Ready {
    place: usize,
    kept: CommitResponse,
}

/// The key of a member, if it came with one.
fn used_key(member: &PreparedCommit) -> Option<UsedKey<'_>> {
    member.key.as_ref().map(|key| key.used_by(member.writer.identity()))
}

/// The places of members by their branch, but for those that have to go alone: whom something was seen against, whoever uses a
/// key that another one uses, since it finds that one's answer, and whoever needs a directory where another one makes a file, or
/// the contrary.
fn unopposed<'a>(wanted: &[Wanted<'a>], opposed: &[i32]) -> HashMap<&'a str, Vec<usize>> {
    let opposed: HashSet<usize> = opposed.iter().filter_map(|place| usize::try_from(*place).ok()).collect();
    let mut keys = HashSet::new();
    let mut places: HashMap<&str, (Vec<usize>, BTreeSet<&str>)> = HashMap::new();
    for (place, wanted) in wanted.iter().enumerate() {
        if opposed.contains(&place) || wanted.key.is_some_and(|key| !keys.insert((key.identity, key.key))) {
            continue;
        }
        let (places, created) = places.entry(wanted.branch).or_default();
        let mut together = created.clone();
        together.extend(wanted.created);
        // Alone it was looked at before.
        if places.is_empty() || clashing_paths(&together.iter().copied().collect::<Vec<_>>()).is_empty() {
            *created = together;
            places.push(place);
        }
    }
    places.into_iter().map(|(branch, (places, _))| (branch, places)).collect()
}

/// What goes under the keys of members that are written.
fn answers_to_keep<'a>(members: &'a [PreparedCommit], ready: &[Ready]) -> Result<Vec<(UsedKey<'a>, String)>> {
    let keyed = ready.iter().filter_map(|ready| Some((used_key(&members[ready.place])?, &ready.kept)));
    let answer = |(key, kept)| match serde_json::to_string(kept) {
        Ok(text) => Ok((key, text)),
        Err(error) => Err(Error::Internal(Box::new(error))),
    };
    keyed.map(answer).collect()
}
