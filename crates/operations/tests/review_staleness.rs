//! Random histories of a branch, reviewed and checked on the way, beside a naive model that says what still counts: which
//! reviews are of the head, which are carried and how, who may approve, and how the checks stand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use docstore_database::testing::TestDatabase;
use docstore_models::{
    CheckState, CreateBranchRequest, CreateRepoRequest, CreateReviewRequest, FileChangeRequest, FileMode, FilePath,
    ImportRequest, ImportedCommit, ReportCheckRequest, RequireCheckRequest, RetryChecksRequest, ReviewStatus,
    person_behind,
};
use docstore_operations::{
    Admin, ChangedBytes, CheckQuery, CommitChange, Error, FileChange, ImportChange, Maintainer, Operations, Reader,
    RebaseChange, ReviewState, Writer,
};
use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};
use support::{ADMIN, caller, operations};

/// Where the seeds of histories that once failed are kept, for ever.
const REGRESSIONS: &str = "tests/review_staleness.regressions.txt";

/// How many histories one run tries. `PROPTEST_CASES` asks for more.
const CASES: u32 = 32;

const STEPS_MAX: usize = 30;

const BRANCH: &str = "topic";

/// The last one may import.
const PEOPLE: [&str; 4] = ["alice@example.com", "bob@example.com", "agent:fixer/alice@example.com", ADMIN];

const PATHS: [&str; 3] = ["a", "b", "c"];

const CHECKS: [&str; 2] = ["lint", "test"];

/// What a path becomes: one of three contents, or nothing.
type Content = Option<u8>;

#[derive(Clone, Debug)]
enum Step {
    Commit { who: usize, path: usize, content: Content, with: Option<usize> },
    CommitToMain { path: usize, content: Content },
    Import { author: usize, path: usize, content: Content },
    Rebase { who: usize, resolve: Option<Content> },
    Review { who: usize, status: ReviewStatus },
    Check { name: usize, state: CheckState, attempt: i16 },
    Retry { names: Option<usize> },
    Require { name: usize },
    Release { name: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE.len();
    let path = || 0..PATHS.len();
    let content = || proptest::option::weighted(0.8, 0..3_u8);
    let status = prop_oneof![Just(ReviewStatus::Approved), Just(ReviewStatus::Rejected), Just(ReviewStatus::Dismissed)];
    let state = prop_oneof![Just(CheckState::Pending), Just(CheckState::Passed), Just(CheckState::Failed)];
    prop_oneof![
        4 => (who(), path(), content(), proptest::option::weighted(0.2, who()))
            .prop_map(|(who, path, content, with)| Step::Commit { who, path, content, with }),
        3 => (path(), content()).prop_map(|(path, content)| Step::CommitToMain { path, content }),
        1 => (who(), path(), content()).prop_map(|(author, path, content)| Step::Import { author, path, content }),
        4 => (who(), proptest::option::of(content())).prop_map(|(who, resolve)| Step::Rebase { who, resolve }),
        6 => (who(), status).prop_map(|(who, status)| Step::Review { who, status }),
        3 => (0..CHECKS.len(), state, 1..4_i16).prop_map(|(name, state, attempt)| Step::Check { name, state, attempt }),
        2 => proptest::option::of(0..CHECKS.len()).prop_map(|names| Step::Retry { names }),
        1 => (0..CHECKS.len()).prop_map(|name| Step::Require { name }),
        1 => (0..CHECKS.len()).prop_map(|name| Step::Release { name }),
    ]
}

/// A commit that still counts.
#[derive(Clone, Debug)]
struct Commit {
    author: &'static str,
    pusher: &'static str,
    with: Option<&'static str>,
    changes: Vec<(&'static str, Content)>,
}

#[derive(Clone, Debug)]
struct Said {
    who: &'static str,
    status: ReviewStatus,
    sequence: i64,
    base: i64,
    change: BTreeMap<&'static str, Content>,
}

/// What the branch is, as simply as it can be told.
#[derive(Default)]
struct Model {
    /// Since the last rebase, replayed ones included.
    commits: Vec<Commit>,
    /// Every change on `main`: sequence, path, result.
    main: Vec<(i64, &'static str, Content)>,
    head: i64,
    base: i64,
    main_head: i64,
    /// Whether the head is a commit of the branch.
    has_commit: bool,
    said: Vec<Said>,
    /// Attempts by sequence and name.
    checks: BTreeMap<(i64, &'static str), BTreeMap<i16, CheckState>>,
    required: BTreeSet<&'static str>,
}

impl Model {
    fn change(&self) -> BTreeMap<&'static str, Content> {
        self.commits.iter().flat_map(|commit| commit.changes.iter().copied()).collect()
    }

    fn people(&self) -> BTreeSet<&'static str> {
        self.commits
            .iter()
            .flat_map(|commit| [Some(commit.author), Some(commit.pusher), commit.with])
            .flatten()
            .collect()
    }

    fn had_a_part(&self, who: &str) -> bool {
        self.people().iter().any(|other| person_behind(other) == person_behind(who))
    }

    fn conflicts(&self) -> Vec<&'static str> {
        let on_main: BTreeMap<&str, Content> =
            self.main.iter().filter(|(at, ..)| *at > self.base).map(|(_, path, content)| (*path, *content)).collect();
        let differs =
            |(path, content): &(&'static str, Content)| on_main.get(path).is_some_and(|other| other != content);
        self.change().into_iter().filter(differs).map(|(path, _)| path).collect()
    }

    /// A new head has what is required, and nothing else yet.
    fn moved(&mut self, head: i64) {
        self.head = head;
        self.has_commit = true;
        for name in &self.required {
            self.checks.entry((head, name)).or_default().insert(1, CheckState::Expected);
        }
    }

    fn latest_checks(&self, at: impl Fn(i64) -> bool) -> BTreeMap<&'static str, (i64, i16, CheckState)> {
        let mut latest = BTreeMap::new();
        for ((sequence, name), attempts) in &self.checks {
            if at(*sequence)
                && let Some((attempt, state)) = attempts.last_key_value()
            {
                latest.insert(*name, (*sequence, *attempt, *state));
            }
        }
        latest
    }

    /// What the state must be, in the same words as [`told`].
    fn expected(&self) -> Vec<String> {
        let change = self.change();
        let mut lines = Vec::new();
        let mut heard = BTreeSet::new();
        let of_head = self.said.iter().rev().filter(|said| said.sequence == self.head);
        // The last word of each.
        for said in of_head.filter(|said| heard.insert(said.who)) {
            lines.push(format!("review {} {}", said.who, said.status));
        }
        let spoke: BTreeSet<&str> =
            self.said.iter().filter(|said| said.sequence == self.head).map(|said| said.who).collect();
        let earlier: BTreeMap<&str, &Said> =
            self.said.iter().filter(|said| !spoke.contains(said.who)).map(|said| (said.who, said)).collect();
        for (who, said) in earlier {
            if said.status == ReviewStatus::Approved && self.had_a_part(who) {
                continue;
            }
            let last_on_main = |path: &str| {
                let upto = self.main.iter().filter(|(at, other, _)| *other == path && *at <= self.base);
                upto.map(|(at, ..)| *at).max()
            };
            let moved: Vec<&str> =
                change.keys().copied().filter(|path| last_on_main(path).is_some_and(|at| at > said.base)).collect();
            let identical = said.change == change;
            lines.push(format!(
                "carried {who} {} of {} identical={identical} moved={moved:?}",
                said.status, said.sequence
            ));
        }
        for (name, (sequence, attempt, state)) in self.latest_checks(|at| at == self.head) {
            lines.push(format!("check {name} {sequence}.{attempt} {}", state.as_str()));
        }
        let distinct = |of: fn(&Commit) -> Option<&'static str>| -> BTreeSet<&str> {
            self.commits.iter().filter_map(of).collect()
        };
        lines.push(format!("authors {:?}", distinct(|commit| Some(commit.author))));
        lines.push(format!("pushers {:?}", distinct(|commit| Some(commit.pusher))));
        lines.push(format!("co-authors {:?}", distinct(|commit| commit.with)));
        lines.push(format!("last pusher {:?}", self.commits.last().map(|commit| commit.pusher)));
        lines
    }
}

/// What the server knows, line by line.
fn told(state: &ReviewState) -> Vec<String> {
    let mut lines = Vec::new();
    for review in &state.reviews {
        lines.push(format!("review {} {}", review.reviewer, review.status));
    }
    for carried in &state.carried {
        let review = &carried.review;
        let (identical, moved) = (carried.identical, &carried.moved_paths);
        lines.push(format!(
            "carried {} {} of {} identical={identical} moved={moved:?}",
            review.reviewer, review.status, review.sequence
        ));
    }
    for check in &state.checks {
        lines.push(format!("check {} {}.{} {}", check.check_name, check.sequence, check.attempt, check.state.as_str()));
    }
    let people = &state.contributors;
    let set = |list: &[String]| format!("{:?}", list.iter().collect::<BTreeSet<_>>());
    lines.push(format!("authors {}", set(&people.authors)));
    lines.push(format!("pushers {}", set(&people.pushers)));
    lines.push(format!("co-authors {}", set(&people.co_authors)));
    lines.push(format!("last pusher {:?}", people.last_pusher));
    lines
}

fn file(path: &str, content: Content) -> FileChange {
    let bytes = content.map_or(ChangedBytes::Deleted, |content| ChangedBytes::Inline(vec![content]));
    FileChange { path: FilePath::parse(path).unwrap(), bytes, content_type: None, mode: FileMode::Regular }
}

/// A repo and the model of its branch.
struct World<'a> {
    operations: &'a Operations,
    repo: String,
    model: Model,
}

impl<'a> World<'a> {
    async fn new(operations: &'a Operations, name: &str) -> Self {
        let request = CreateRepoRequest { owner: "default".to_owned(), name: name.to_owned() };
        operations.create_repo(&caller(ADMIN), None, &request).await.unwrap();
        let world = Self { operations, repo: format!("default/{name}"), model: Model::default() };
        let admin = Admin::try_from(world.access(ADMIN).await).unwrap();
        for who in ["alice@example.com", "bob@example.com"] {
            operations.set_role(&admin, None, who, "maintainer").await.unwrap();
        }
        let branch = CreateBranchRequest { name: BRANCH.to_owned(), draft: false };
        operations.create_branch(&world.maintainer(ADMIN).await, None, &branch).await.unwrap();
        world
    }

    async fn access(&self, who: &str) -> docstore_operations::Access {
        self.operations.access(&caller(who), &self.repo).await.unwrap()
    }

    async fn maintainer(&self, who: &str) -> Maintainer {
        self.access(who).await.try_into().unwrap()
    }

    async fn writer(&self, who: &str) -> Writer {
        self.access(who).await.try_into().unwrap()
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Commit { who, path, content, with } => {
                let (who, path, with) = (PEOPLE[who], PATHS[path], with.map(|with| PEOPLE[with]));
                let trailer = with.map(|with| format!("\n\nCo-authored-by: Somebody <{with}>")).unwrap_or_default();
                let change = CommitChange {
                    branch: BRANCH.to_owned(),
                    message: format!("m{trailer}"),
                    files: vec![file(path, content)],
                    expected_head: Some(self.model.head),
                    override_reason: None,
                };
                let committed = self.operations.commit(&self.writer(who).await, None, change).await.unwrap();
                self.model.commits.push(Commit { author: who, pusher: who, with, changes: vec![(path, content)] });
                self.model.moved(committed.sequence);
            }
            Step::CommitToMain { path, content } => {
                let path = PATHS[path];
                let change = CommitChange {
                    branch: "main".to_owned(),
                    message: "m".to_owned(),
                    files: vec![file(path, content)],
                    expected_head: None,
                    override_reason: None,
                };
                let committed = self.operations.commit(&self.writer(ADMIN).await, None, change).await.unwrap();
                self.model.main.push((committed.sequence, path, content));
                self.model.main_head = committed.sequence;
            }
            Step::Import { author, path, content } => self.import(PEOPLE[author], PATHS[path], content).await,
            Step::Rebase { who, resolve } => self.rebase(PEOPLE[who], resolve).await,
            Step::Review { who, status } => self.review(PEOPLE[who], status).await,
            Step::Check { name, state, attempt } => {
                let name = CHECKS[name];
                let report = ReportCheckRequest {
                    branch: BRANCH.to_owned(),
                    check_name: name.to_owned(),
                    status: state.as_str().to_owned(),
                    attempt: Some(attempt),
                    ..ReportCheckRequest::default()
                };
                self.operations.report_check(&self.writer(ADMIN).await, None, report).await.unwrap();
                self.model.checks.entry((self.model.head, name)).or_default().insert(attempt, state);
            }
            Step::Retry { names } => self.retry(names.map(|name| CHECKS[name])).await,
            Step::Require { name } => {
                let name = CHECKS[name];
                let request = RequireCheckRequest { check_name: name.to_owned(), branch_pattern: None };
                self.operations.require_check(&self.maintainer(ADMIN).await, None, &request).await.unwrap();
                self.model.required.insert(name);
                if self.model.has_commit {
                    let attempts = self.model.checks.entry((self.model.head, name)).or_default();
                    if attempts.is_empty() {
                        attempts.insert(1, CheckState::Expected);
                    }
                }
            }
            Step::Release { name } => {
                let name = CHECKS[name];
                let admin = self.maintainer(ADMIN).await;
                let released = self.operations.delete_required_check(&admin, None, name, None).await;
                assert_eq!(released.is_ok(), self.model.required.remove(name));
                if released.is_ok()
                    && let Some(attempts) = self.model.checks.get_mut(&(self.model.head, name))
                {
                    let expected = attempts.values_mut().filter(|state| **state == CheckState::Expected);
                    expected.for_each(|state| *state = CheckState::NotApplicable);
                }
            }
        }
    }

    async fn import(&mut self, author: &'static str, path: &'static str, content: Content) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let request = ImportRequest {
            branch: BRANCH.to_owned(),
            commits: vec![ImportedCommit {
                author: author.to_owned(),
                message: "m".to_owned(),
                imported_from: "git:1".to_owned(),
                files: vec![FileChangeRequest {
                    path: path.to_owned(),
                    content: content.map(|content| STANDARD.encode([content])),
                    ..FileChangeRequest::default()
                }],
                ..ImportedCommit::default()
            }],
            ..ImportRequest::default()
        };
        let admin = Admin::try_from(self.access(ADMIN).await).unwrap();
        let change = ImportChange::from_request(request).unwrap();
        let imported = self.operations.import(&admin, None, change).await.unwrap();
        self.model.commits.push(Commit { author, pusher: ADMIN, with: None, changes: vec![(path, content)] });
        self.model.moved(imported.head_sequence);
    }

    async fn rebase(&mut self, who: &'static str, resolve: Option<Content>) {
        let conflicts = self.model.conflicts();
        let resolutions = match resolve {
            Some(content) => conflicts.iter().map(|path| file(path, content)).collect(),
            None => Vec::new(),
        };
        let resolves = !resolutions.is_empty();
        let change = RebaseChange { branch: BRANCH.to_owned(), resolutions, ..RebaseChange::default() };
        let rebased = match self.operations.rebase(&self.maintainer(who).await, None, change).await {
            Ok(rebased) => rebased,
            Err(Error::Conflicts(found)) => {
                let mut found: Vec<String> = found.into_iter().map(|conflict| conflict.path).collect();
                found.sort_unstable();
                assert_eq!((found, resolve), (conflicts.into_iter().map(str::to_owned).collect(), None));
                return;
            }
            Err(other) => panic!("{other:?}"),
        };
        assert!(conflicts.is_empty() || resolves, "there were conflicts: {conflicts:?}");
        if let (Some(content), true) = (resolve, resolves) {
            let changes = conflicts.into_iter().map(|path| (path, content)).collect();
            self.model.commits.push(Commit { author: who, pusher: who, with: None, changes });
        }
        self.model.base = self.model.main_head;
        assert_eq!(rebased.base_sequence, self.model.base);
        if self.model.commits.is_empty() {
            (self.model.head, self.model.has_commit) = (self.model.base, false);
        } else {
            self.model.moved(rebased.head_sequence);
        }
    }

    async fn review(&mut self, who: &'static str, status: ReviewStatus) {
        let request = CreateReviewRequest {
            branch: BRANCH.to_owned(),
            status: status.as_str().to_owned(),
            expected_head: Some(self.model.head),
            ..CreateReviewRequest::default()
        };
        let reviewed = self.operations.create_review(&self.writer(who).await, None, &request).await;
        if status == ReviewStatus::Approved && self.model.had_a_part(who) {
            let refused = reviewed.expect_err("nobody approves their own work");
            assert_eq!(refused.to_string(), "reviewer cannot approve their own commits");
            return;
        }
        assert_eq!(reviewed.unwrap().sequence, self.model.head);
        let (sequence, base, change) = (self.model.head, self.model.base, self.model.change());
        self.model.said.push(Said { who, status, sequence, base, change });
    }

    async fn retry(&mut self, name: Option<&'static str>) {
        let request = RetryChecksRequest {
            branch: BRANCH.to_owned(),
            sequence: None,
            checks: name.map(|name| vec![name.to_owned()]),
        };
        let retried = self.operations.retry_checks(&self.maintainer(ADMIN).await, None, request).await;
        let failed: Vec<(&'static str, i16)> = self
            .model
            .latest_checks(|at| at == self.model.head)
            .into_iter()
            .filter(|(of, (.., state))| *state == CheckState::Failed && name.is_none_or(|name| name == *of))
            .map(|(of, (_, attempt, _))| (of, attempt))
            .collect();
        let Some(attempt) = failed.iter().map(|(_, attempt)| attempt + 1).max() else {
            assert_eq!(retried.unwrap_err().to_string(), "no failed check to retry");
            return;
        };
        let retried = retried.unwrap();
        let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
        assert_eq!((retried.attempt, retried.checks), (attempt, names.into_iter().map(str::to_owned).collect()));
        for (name, _) in failed {
            self.model.checks.entry((self.model.head, name)).or_default().insert(attempt, CheckState::Pending);
        }
    }

    async fn compare(&self) {
        let reader = Reader::try_from(self.access(ADMIN).await).unwrap();
        let state = self.operations.review_state(&reader, BRANCH).await.unwrap();
        assert_eq!(told(&state), self.model.expected());
        let listed = self.operations.list_checks(&reader, BRANCH, CheckQuery::default()).await.unwrap();
        let listed = listed.first_page().await.unwrap();
        let listed: BTreeMap<String, (i64, i16)> =
            listed.into_iter().map(|run| (run.check_name, (run.sequence, run.attempt))).collect();
        // By sequence, so that the newest commit with that check is the one that stays.
        let latest = self.model.latest_checks(|_| true);
        let latest = latest.into_iter().map(|(name, (sequence, attempt, _))| (name.to_owned(), (sequence, attempt)));
        assert_eq!(listed, latest.collect());
    }
}

async fn play(operations: &Operations, name: &str, steps: &[Step]) {
    let mut world = World::new(operations, name).await;
    world.compare().await;
    for step in steps {
        world.step(step).await;
        world.compare().await;
    }
}

#[test]
fn what_was_said_counts_as_long_as_it_should() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // What is dropped at the end says goodbye to the database.
    let _inside = runtime.enter();
    let database = runtime.block_on(TestDatabase::create());
    let blobs = tempfile::tempdir().unwrap();
    let operations = runtime.block_on(async { operations(database.pool().await, &blobs).await });
    let config = Config {
        cases: std::env::var("PROPTEST_CASES").map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_iters: 400,
        ..Config::default()
    };
    let number = AtomicUsize::new(0);
    let result = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..=STEPS_MAX), |steps| {
        let name = format!("case{}", number.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(play(&operations, &name, &steps));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
