//! What was said about a branch, as far as it counts for a decision about it.
//!
//! A review is of the branch at one head. What was said about an earlier head is *carried*: it comes with whether the
//! change is still the same, file by file, and which of the changed files moved on `main` in between. Whether that is
//! enough is for a policy to say; the contract's own `reviews` are those of the head alone.
//!
//! Who had a part in a change is read from the commits since the last rebase. A rebase writes them again with author and
//! pusher as they were, so it makes nobody an author and lets nobody off; what it resolves is a commit by the rebaser.

use docstore_database::{
    Transaction,
    branch_changes::{LatestChange, latest_changes},
    branches::{self, BranchRow},
    review_facts::{
        self, CHECKS_MAX, CO_AUTHORED_BYTES_MAX, CONTRIBUTORS_MAX, CheckFact, CommitPeople, REVIEWERS_MAX, ReviewFact,
    },
};
use docstore_history::{ChangedFile, change_digest, co_authors};
use docstore_models::{MAIN_BRANCH, ReviewStatus, person_behind};

use crate::{Error, Operations, Reader, Result, limits::reached};

/// What was said about a branch at its head and before, and who wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewState {
    /// The digest of what the branch changes, in hex.
    pub change_digest: String,
    /// The last review of the head by each reviewer, newest first.
    pub reviews: Vec<ReviewFact>,
    /// What reviewers said before who have not spoken about the head: the latest review of each, by reviewer. Approvals of
    /// those who meanwhile had a part in the change are not among them.
    pub carried: Vec<CarriedReview>,
    /// How many reviewers spoke before, those who are not among them included.
    pub earlier: usize,
    /// The latest attempt of each check at the head, by name.
    pub checks: Vec<CheckFact>,
    /// Who had a part in the change.
    pub contributors: Contributors,
}

/// A review of an earlier head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedReview {
    /// The review.
    pub review: ReviewFact,
    /// Whether the branch changes exactly what it did then.
    pub identical: bool,
    /// Which of the files that the branch changes now were changed on `main` between the base of that time and the present
    /// one, bytewise.
    pub moved_paths: Vec<String>,
}

/// Who had a part in the commits of a branch since its last rebase; each list bytewise and without repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contributors {
    /// Who wrote them.
    pub authors: Vec<String>,
    /// Who brought them: the authors, where nobody else did.
    pub pushers: Vec<String>,
    /// Whom their messages name as co-authors.
    pub co_authors: Vec<String>,
    /// Who brought the last one; none when there is none.
    pub last_pusher: Option<String>,
    /// There are more than can be told apart, so that anybody may be one of them.
    pub too_many: bool,
}

impl ReviewState {
    /// Refuses to decide by a part of what there is: somebody who is left out may have rejected or written the change.
    pub(crate) fn check_complete(&self) -> Result<()> {
        let lists = [
            (self.reviews.len(), REVIEWERS_MAX, "reviewers", "people have reviewed the head"),
            (self.earlier, REVIEWERS_MAX, "reviewers", "people have reviewed earlier heads"),
            (self.checks.len(), CHECKS_MAX, "checks", "checks have reported on the head"),
        ];
        for (number, bound, limit, what) in lists {
            if number > bound {
                reached(limit);
                return Err(Error::PolicyFailed(format!("more than {bound} {what}; another branch starts afresh")));
            }
        }
        if self.contributors.too_many {
            return Err(Error::PolicyFailed(TOO_MANY_CONTRIBUTORS.to_owned()));
        }
        Ok(())
    }
}

impl Contributors {
    /// Whether somebody had a part in the change, or somebody with the same person behind them: an agent is no second pair
    /// of eyes for its owner, nor the other way round. Addresses in messages are typed by hand, so case does not count.
    #[must_use]
    pub fn include(&self, identity: &str) -> bool {
        let person = person_behind(identity);
        self.too_many
            || [&self.authors, &self.pushers, &self.co_authors]
                .into_iter()
                .flatten()
                .any(|contributor| person_behind(contributor).eq_ignore_ascii_case(person))
    }
}

impl From<CommitPeople> for Contributors {
    fn from(people: CommitPeople) -> Self {
        let mut named: Vec<String> =
            people.co_author_lines.iter().flat_map(|line| co_authors(line)).map(str::to_owned).collect();
        named.sort_unstable();
        named.dedup();
        let bytes: usize = people.co_author_lines.iter().map(String::len).sum();
        let longest = people.authors.len().max(people.pushers.len()).max(named.len());
        let too_many = bytes > CO_AUTHORED_BYTES_MAX || longest > CONTRIBUTORS_MAX;
        if too_many {
            reached("contributors");
        }
        Self {
            authors: people.authors,
            pushers: people.pushers,
            co_authors: named,
            last_pusher: people.last_pusher,
            too_many,
        }
    }
}

/// Why nobody can say who wrote a change.
pub(crate) const TOO_MANY_CONTRIBUTORS: &str =
    "the commits of the branch name too many authors and co-authors to tell them apart; a smaller branch helps";

/// The digest of what a branch changes.
pub(crate) fn digest_of(changes: &[LatestChange]) -> [u8; 32] {
    change_digest(changes.iter().map(|change| ChangedFile {
        path: &change.path,
        mode: change.mode.to_i32(),
        hash: change.hash.as_deref(),
    }))
}

/// Everything that was said about a branch, in at most two statements. `changes` are the branch's latest changes since its
/// floor, read in the same transaction; for a decision that moves something, under the branch's lock.
pub(crate) async fn review_state(
    transaction: &mut Transaction,
    main_id: i64,
    branch: &BranchRow,
    changes: &[LatestChange],
) -> Result<ReviewState> {
    let facts = review_facts::review_facts(&mut **transaction, branch).await?;
    let change_digest = hex::encode(digest_of(changes));
    let contributors = Contributors::from(facts.people);
    let counts =
        |review: &ReviewFact| review.status != ReviewStatus::Approved || !contributors.include(&review.reviewer);
    let earlier_number = facts.earlier.len();
    let earlier: Vec<ReviewFact> = facts.earlier.into_iter().filter(counts).collect();
    let oldest_base = earlier.iter().map(|review| review.base_sequence).min();
    let moved = match oldest_base {
        Some(oldest) if oldest < branch.base_sequence && !changes.is_empty() => {
            let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
            review_facts::moved_on_main(&mut **transaction, main_id, oldest, branch.base_sequence, &paths).await?
        }
        _ => Vec::new(),
    };
    let carried = earlier
        .into_iter()
        .map(|review| CarriedReview {
            identical: review.change_digest.as_ref() == Some(&change_digest),
            moved_paths: moved
                .iter()
                .filter(|(_, sequence)| *sequence > review.base_sequence)
                .map(|(path, _)| path.clone())
                .collect(),
            review,
        })
        .collect();
    Ok(ReviewState {
        change_digest,
        reviews: facts.at_head,
        carried,
        earlier: earlier_number,
        checks: facts.checks,
        contributors,
    })
}

impl Operations {
    /// What was said about a branch other than `main`, and who wrote it, at one moment.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, also for `main`, which changes nothing.
    pub async fn review_state(&self, reader: &Reader, branch: &str) -> Result<ReviewState> {
        if branch == MAIN_BRANCH {
            return Err(Error::branch_not_found());
        }
        let mut transaction = docstore_database::begin_snapshot(self.pool()).await?;
        let main = branches::branch(&mut *transaction, reader.repo_id(), MAIN_BRANCH).await?;
        let row = branches::branch(&mut *transaction, reader.repo_id(), branch).await?;
        let (main, row) = main.zip(row).ok_or_else(Error::branch_not_found)?;
        let changes = latest_changes(&mut *transaction, row.id, row.floor_sequence).await?;
        review_state(&mut transaction, main.id, &row, &changes).await
    }
}

/// Who had a part in the commits of a branch since its last rebase.
pub(crate) async fn contributors(transaction: &mut Transaction, branch: &BranchRow) -> Result<Contributors> {
    Ok(review_facts::commit_people(&mut **transaction, branch).await?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_contributors_everybody_may_be_one() {
        let named = |number: usize| {
            let trailers: Vec<String> = (0..number).map(|n| format!("Co-authored-by: {n}@example.com")).collect();
            Contributors::from(CommitPeople { co_author_lines: trailers, ..CommitPeople::default() })
        };
        let (all, more) = (named(CONTRIBUTORS_MAX), named(CONTRIBUTORS_MAX + 1));
        assert!(!all.too_many && !all.include("dave@example.com"));
        assert!(more.too_many && more.include("dave@example.com"));
        let long =
            CommitPeople { co_author_lines: vec!["x".repeat(CO_AUTHORED_BYTES_MAX + 1)], ..CommitPeople::default() };
        assert!(Contributors::from(long).too_many);
    }

    #[test]
    fn whoever_had_a_part_is_found_whoever_acts_for_them() {
        let contributors = Contributors::from(CommitPeople {
            authors: vec!["agent:fixer/alice@example.com".to_owned()],
            pushers: vec!["bob@example.com".to_owned()],
            co_author_lines: vec!["Co-authored-by: C <Carol@Example.com>".to_owned()],
            last_pusher: None,
        });
        for part in [
            "agent:fixer/alice@example.com",
            "agent:other/alice@example.com",
            "alice@example.com",
            "bob@example.com",
            "agent:x/bob@example.com",
            "carol@example.com",
        ] {
            assert!(contributors.include(part), "{part}");
        }
        for other in ["dave@example.com", "agent:x/dave@example.com", "ci-job:1", "alice@example.org"] {
            assert!(!contributors.include(other), "{other}");
        }
    }
}
