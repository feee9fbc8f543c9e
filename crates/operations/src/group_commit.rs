//! Group commit: small commits to different branches of one repo that arrive while others are being written are written
//! in one transaction.
//!
//! A group takes what nothing stands against and waits for nobody. Whatever has something to it, such as a branch that is
//! locked or has moved, a path that is in the way, or a key that was used before, is made alone, as every other commit is,
//! and gets its refusal there.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use docstore_database::{
    CommitError,
    access::RepoFacts,
    append::{BranchAppend, Brought, Conditions, Footing, append_unmoved},
    branches::{SeenBranch, Wanted, look_at_branches},
    contents::{ContentHash, NewContent},
    event_log::NewEvent,
    idempotency::UsedKey,
};
use docstore_history::clashing_paths;
use docstore_models::{CommitResponse, MAIN_BRANCH};

use crate::{
    ChangedBytes, Error, FileChange, Operations, Result, Writer,
    changes::{ChainBuilder, NewCommits, created_paths},
    commit::{PreparedCommit, answer_to_keep, check_may_commit},
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
    type Key = String;
    type Question = PreparedCommit;
    type Answer = Outcome;

    async fn serve(&self, repo: &String, members: Vec<PreparedCommit>) -> Vec<Outcome> {
        self.0.write_group(repo, members).await
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
    prepared.caller.covers_branch(&prepared.branch)
        && prepared.planned.len() <= GROUP_FILES_MAX
        && prepared.plan.inline_bytes().is_some_and(|bytes| bytes <= GROUP_BYTES_MAX)
        && (prepared.branch != MAIN_BRANCH || prepared.is_plain_on_main())
}

impl Operations {
    /// Whether files are so few and small that a commit of them may join a group, and all of them came with the request.
    pub(crate) fn is_small(&self, files: &[FileChange]) -> bool {
        let sizes = files.iter().map(|file| match &file.bytes {
            ChangedBytes::Inline(bytes) if !self.blobs().is_external(bytes.len() as u64) => Some(bytes.len()),
            ChangedBytes::Inline(_) | ChangedBytes::Stored(_) => None,
            ChangedBytes::Deleted => Some(0),
        });
        files.len() <= GROUP_FILES_MAX && sizes.sum::<Option<usize>>().is_some_and(|bytes| bytes <= GROUP_BYTES_MAX)
    }

    /// Makes a commit, in a group when it may join one.
    pub(crate) async fn commit_in_group(&self, prepared: PreparedCommit) -> Result<CommitResponse> {
        if !may_join(&prepared) {
            return self.commit_alone(prepared).await;
        }
        let repo = prepared.repo.clone();
        match self.commit_groups().ask(GroupWriter(self.clone()), repo, prepared).await {
            Ok(Outcome::Written(written)) => written,
            Ok(Outcome::Alone(prepared)) => self.commit_alone(*prepared).await,
            Err(broken_off) => Err(Error::Internal(Box::new(broken_off))),
        }
    }

    /// Writes what can be written of a group, and says of each member what came of it.
    async fn write_group(&self, repo: &str, mut members: Vec<PreparedCommit>) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Result<CommitResponse>>> = members.iter().map(|_| None).collect();
        if let Err(error) = self.write_together(repo, &mut members, &mut outcomes).await {
            tracing::debug!(
                error = &error as &(dyn std::error::Error + 'static),
                "the commits of a group are made alone"
            );
        }
        let outcome = |(prepared, outcome)| match outcome {
            Some(outcome) => Outcome::Written(outcome),
            None => Outcome::Alone(Box::new(prepared)),
        };
        members.into_iter().zip(outcomes).map(outcome).collect()
    }

    /// Looks at the branches, and writes all that nothing stands against: two statements. Says, member by member, what came
    /// of it; nothing of those who have to go alone.
    ///
    /// # Errors
    /// When all who were told nothing have to, because what was seen has changed, or for whatever else it may be.
    async fn write_together(
        &self,
        repo: &str,
        members: &mut [PreparedCommit],
        outcomes: &mut [Option<Result<CommitResponse>>],
    ) -> Result<()> {
        let looked = {
            let created: Vec<Vec<&str>> = members.iter().map(|member| created_paths(&member.planned)).collect();
            let wanted: Vec<Wanted<'_>> = members
                .iter()
                .zip(&created)
                .map(|(member, created)| Wanted {
                    rights_of: member.caller.rights_of().as_str(),
                    needs_no_role: self.is_global_admin(member.caller.rights_of()),
                    branch: &member.branch,
                    created,
                    key: used_key(member),
                })
                .collect();
            look_at_branches(self.pool(), repo, &wanted).await
        };
        let (mut connection, looked) = match looked {
            Ok(looked) => looked,
            Err(error) if error.is_transient() => {
                let error = Arc::new(error);
                outcomes.fill_with(|| Some(Err(Error::of_shared(&error))));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };

        let mut branches: Vec<Wished<'_>> = Vec::new();
        let mut seen = Vec::with_capacity(members.len());
        for (place, looked) in looked.into_iter().enumerate() {
            let member = &mut members[place];
            let (facts, branch) = looked.map_or((None, None), |looked| (Some(looked.facts), looked.branch));
            match self.let_commit(member, facts) {
                // A repo that has taken the name of the one that the right was for.
                Ok(writer) if member.writer.as_ref().is_some_and(|known| known.repo_id() != writer.repo_id()) => {}
                Ok(writer) => {
                    member.writer = Some(writer);
                    seen.extend(branch.map(|branch| (place, branch)));
                }
                Err(error) => outcomes[place] = Some(Err(error)),
            }
        }
        let members = &*members;
        let mut keys = HashSet::new();
        for (place, branch) in &seen {
            let key = used_key(&members[*place]);
            // The same request sent twice at once: the second one finds the answer of the first.
            if key.is_some_and(|key| !keys.insert((key.identity, key.key))) {
                continue;
            }
            match branches.iter_mut().find(|wished| wished.seen.branch.id == branch.branch.id) {
                Some(wished) => wished.join(*place, &members[*place], branch),
                None => branches.push(Wished::new(*place, &members[*place], branch)),
            }
        }
        let Some(repo_id) = branches.first().map(|wished| wished.seen.repo_id) else {
            connection.done();
            return Ok(());
        };

        let now = self.now();
        let mut ready: Vec<Ready> = Vec::with_capacity(members.len());
        let mut events: Vec<NewEvent> = Vec::with_capacity(members.len());
        let mut chains: Vec<(&SeenBranch, NewCommits)> = Vec::with_capacity(branches.len());
        for Wished { seen, places, mut sequences, .. } in branches {
            let mut head = seen.branch.head_sequence;
            let mut chain = ChainBuilder::new(&members[places[0]].repo, seen);
            // They are drawn in whatever order the database went through them.
            sequences.sort_unstable();
            let mut sequences = sequences.into_iter();
            for place in places {
                let member = &members[place];
                if member.expected_head.is_some_and(|expected| expected != head) {
                    continue;
                }
                let Some(sequence) = sequences.next() else { break };
                let event = member.push_to(&mut chain, sequence, seen.now);
                events.push(envelope(now, Some(repo_id), &event)?);
                ready.push(Ready { place, kept: answer_to_keep(sequence, chain.head_hash().to_owned()) });
                head = sequence;
            }
            chains.push((seen, chain.finish()));
        }
        let appends: Vec<BranchAppend<'_, SeenBranch>> = chains
            .iter()
            .map(|(seen, new)| BranchAppend {
                branch: *seen,
                footing: Footing::of(seen),
                commits: &new.commits,
                created: &[],
            })
            .collect();
        let mut once = HashSet::new();
        let contents: Vec<&NewContent> = ready
            .iter()
            .flat_map(|ready| members[ready.place].plan.new_contents())
            .filter(|content| once.insert(content.hash))
            .collect();
        let hashes: Vec<ContentHash> = ready
            .iter()
            .flat_map(|ready| members[ready.place].planned.iter().filter_map(|change| change.hash))
            .collect();
        let answers = answers_to_keep(members, &ready)?;
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
            Err(CommitError::Refused(error)) => return Err(error.into()),
            Err(CommitError::Unknown(cause)) => {
                // It may have happened.
                self.commit_happened();
                let cause = Arc::new(cause);
                for Ready { place, .. } in ready {
                    outcomes[place] = Some(Err(Error::OutcomeUnknown(Box::new(Arc::clone(&cause)))));
                }
                return Ok(());
            }
        };
        connection.done();
        if !ready.is_empty() {
            self.commit_happened();
        }
        let stored = stored.into_iter().map(|row| (row.hash, row)).collect();
        for Ready { place, kept } in ready {
            outcomes[place] = Some(Ok(CommitResponse { files: members[place].files(&stored), ..kept }));
        }
        Ok(())
    }

    /// The right of a member, as it is now.
    fn let_commit(&self, member: &PreparedCommit, facts: Option<RepoFacts>) -> Result<Writer> {
        let writer: Writer = self.judge(&member.caller, &member.repo, facts)?.try_into()?;
        check_may_commit(&writer, &member.branch)?;
        Ok(writer)
    }
}

/// A branch that nothing is against, and who wants to commit to it.
struct Wished<'a> {
    seen: &'a SeenBranch,
    places: Vec<usize>,
    /// A number for each.
    sequences: Vec<i64>,
    created: BTreeSet<&'a str>,
}

impl<'a> Wished<'a> {
    fn new(place: usize, member: &'a PreparedCommit, seen: &'a SeenBranch) -> Self {
        Self {
            seen,
            places: vec![place],
            sequences: seen.sequence.into_iter().collect(),
            created: created_paths(&member.planned).into_iter().collect(),
        }
    }

    /// Lets another one commit behind those who do already, unless it needs a directory where another one makes a file, or the
    /// contrary: then it goes alone.
    fn join(&mut self, place: usize, member: &'a PreparedCommit, seen: &SeenBranch) {
        let mut created = self.created.clone();
        created.extend(created_paths(&member.planned));
        if clashing_paths(&created.iter().copied().collect::<Vec<_>>()).is_empty() {
            self.created = created;
            self.places.push(place);
            self.sequences.extend(seen.sequence);
        }
    }
}

/// A member that is written, and what is kept of its answer.
struct Ready {
    place: usize,
    kept: CommitResponse,
}

/// The key of a member, if it came with one.
fn used_key(member: &PreparedCommit) -> Option<UsedKey<'_>> {
    member.key.as_ref().map(|key| key.used_by(member.identity()))
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
