//! What `ds why` tells to type, typed.

use docstore_test_support::ADMIN;
use serde_json::json;

use super::{ANN, BOB, world};
use crate::support::{REPO, branch, commit, terminal::Terminals, text_file};

const NEVER: &str = "package docstore.never\n\nimport rego.v1\n\ndefault allow := false\n\nreason := \"not today\"\n\n\
    allow_override := true\n";

#[tokio::test]
async fn what_is_missing_is_typed_from_elsewhere() {
    let app = world().await;
    let me = app.admin();
    for name in ["topic", "other", "clean"] {
        branch(&me, REPO, name).await;
        commit(&me, REPO, name, &[(if name == "clean" { "c" } else { "a" }, Some(name))]).await;
    }
    let mut told = Terminals::of(&app);
    for person in [ADMIN, ANN, BOB] {
        told.workspace(person).await;
    }
    told.types(BOB, "ready topic --draft").await;
    told.types(BOB, "ready main").await;
    told.types(BOB, "branches --draft").await;
    told.types(ANN, "merge topic").await;
    told.types(BOB, "ready topic").await;
    told.say("a role is missing, and not only that");
    told.types(BOB, "merge topic").await;
    let policy = json!({"branch": "main", "message": "m", "files": [text_file(".docstore/policy/never.rego", NEVER)]});
    me.post(&format!("{REPO}/commit"), &policy).await.expect(201);
    told.types(BOB, "merge topic").await;
    told.types(BOB, "why topic").await;
    told.types(ANN, "merge topic --dry-run").await;
    told.types(ANN, "merge topic --override \"it is urgent\"").await;
    told.types(ADMIN, "merge topic --override \"it is urgent\"").await;
    told.types(ADMIN, "pull").await;
    told.say("conflicts are resolved where the branch is");
    told.types(ANN, "why other").await;
    told.types(ANN, "merge other").await;
    told.types(ANN, "rebase other").await;
    told.types(ANN, "rebase other --continue").await;
    told.types(ANN, "rebase clean").await;
    told.types(ANN, "rebase main").await;
    told.types(ANN, "rebase none").await;
    told.types(ANN, "checkout other").await;
    told.types(ANN, "rebase").await;
    told.types(ANN, "resolve a --take branch").await;
    told.say("a proposal is merged by its id, or by the branch that is checked out");
    told.types(ANN, "proposal open --title \"Another a\"").await;
    told.types(ADMIN, "checkout other").await;
    told.types(ADMIN, "proposal merge --dry-run").await;
    told.types(ADMIN, "proposal merge --override \"as agreed\"").await;
    let id = told.types(ADMIN, "proposal list --state merged --json").await;
    let id = id.split('"').nth(3).unwrap().to_owned();
    told.types(ADMIN, &format!("proposal merge {id}")).await;
    told.types(ADMIN, "proposal merge").await;
    insta::assert_snapshot!(told.text(), @r#"
    bob$ ds ready topic --draft
    Branch 'topic' marked as a draft
    bob$ ds ready main
    error: main is what branches are merged into
    [exit 1]
    bob$ ds branches --draft
    BRANCH                         HEAD   BASE   STATUS     DRAFT
    topic                          2      1      active     yes
    ann$ ds merge topic
    What is missing:
      - the branch is a draft; somebody must say that it is ready
        who: anyone with the role writer
        run: ds ready topic
    error: server error: branch is in draft state
    [exit 3]
    bob$ ds ready topic
    Branch 'topic' marked as ready
    # a role is missing, and not only that
    bob$ ds merge topic
    What is missing:
      - merging takes the role maintainer; yours is writer
        who: anyone with the role maintainer
        run: ds merge topic
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    bob$ ds merge topic
    What is missing:
      - merging takes the role maintainer; yours is writer
        who: anyone with the role maintainer
        run: ds merge topic
      - not today
      - or an admin goes ahead, with a reason
        who: anyone with the role admin
        run: ds merge --override REASON topic
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    bob$ ds why topic
    What is missing:
      - merging takes the role maintainer; yours is writer
        who: anyone with the role maintainer
        run: ds merge topic
      - not today
      - or an admin goes ahead, with a reason
        who: anyone with the role admin
        run: ds merge --override REASON topic
    error: 'topic' cannot be merged yet
    [exit 6]
    ann$ ds merge topic --dry-run
    Denied by policy:
      never: not today
    What is missing:
      - not today
      - or an admin goes ahead, with a reason
        who: anyone with the role admin
        run: ds merge --override REASON topic
    error: denied by policy: never: not today
    [exit 6]
    ann$ ds merge topic --override "it is urgent"
    Denied by policy:
      never: not today
    What is missing:
      - not today
      - or an admin goes ahead, with a reason
        who: anyone with the role admin
        run: ds merge --override REASON topic
    error: denied by policy: never: not today (only an admin may override)
    [exit 6]
    admin$ ds merge topic --override "it is urgent"
    Merged 'topic' into main at sequence 6
    `ds pull` brings it here
    admin$ ds pull
    Synced branch 'main' (2 downloaded, 0 removed)
    # conflicts are resolved where the branch is
    ann$ ds why other
    What is missing:
      - other and main both changed: a
        who: anyone with the role maintainer
        run: ds checkout other && ds rebase
      - not today
      - or an admin goes ahead, with a reason
        who: anyone with the role admin
        run: ds merge --override REASON other
    error: 'other' cannot be merged yet
    [exit 6]
    ann$ ds merge other
    Merge conflicts:
      a (main: ID-1, branch: ID-2)
    What is missing:
      - not today
      - or an admin goes ahead, with a reason
        who: anyone with the role admin
        run: ds merge --override REASON other
    error: merge aborted due to conflicts
    hint: run `ds checkout other && ds rebase` to resolve them
    [exit 3]
    ann$ ds rebase other
    Conflicts:
      a (main: ID-1, branch: ID-2)
    error: rebase aborted due to conflicts
    hint: run `ds checkout other && ds rebase` to resolve them
    [exit 3]
    ann$ ds rebase other --continue
    error: the argument '[BRANCH]' cannot be used with '--continue'

    Usage: ds rebase <BRANCH>

    For more information, try '--help'.
    [exit 2]
    ann$ ds rebase clean
    Rebased 'clean' onto main (base: 6, head: 7, 1 commits replayed)
    ann$ ds rebase main
    error: main is what branches are merged into
    [exit 1]
    ann$ ds rebase none
    error: server error: branch not found
    [exit 1]
    ann$ ds checkout other
    Synced branch 'other' (1 downloaded, 0 removed)
    ann$ ds rebase
    conflict: a (see a.main and a.branch)
    error: rebase aborted due to conflicts
    hint: edit each file and run `ds resolve <path>`; the last one completes the rebase
    hint: `ds rebase --abort` puts everything back
    [exit 3]
    ann$ ds resolve a --take branch
    Rebased 'other' onto main (base: 6, head: 9, 1 commits replayed)
    resolved a, committed as sequence 9
    # a proposal is merged by its id, or by the branch that is checked out
    ann$ ds proposal open --title "Another a"
    Proposal opened: ID-3
    admin$ ds checkout other
    Synced branch 'other' (1 downloaded, 0 removed)
    admin$ ds proposal merge --dry-run
    Denied by policy:
      never: not today
    What is missing:
      - not today
      - or an admin goes ahead, with a reason
        who: anyone with the role admin
        run: ds merge --override REASON other
    error: denied by policy: never: not today
    [exit 6]
    admin$ ds proposal merge --override "as agreed"
    Merged 'other' into main at sequence 10
    Synced branch 'main' (0 downloaded, 0 removed)
    admin$ ds proposal list --state merged --json
    [
      {
        "id": "ID-3",
        "repo": "default/default",
        "branch": "other",
        "base_branch": "main",
        "title": "Another a",
        "author": "ann@example.com",
        "state": "merged",
        "created_at": "TIME",
        "updated_at": "TIME"
      }
    ]
    admin$ ds proposal merge ID-3
    error: the proposal is merged
    [exit 3]
    admin$ ds proposal merge
    error: branch 'main' has no open proposal
    hint: `ds proposal open --title <title>` opens one
    [exit 1]
    "#);
}

#[tokio::test]
async fn a_failed_and_a_missing_check_are_typed_too() {
    let app = world().await;
    let me = app.admin();
    let starter = docstore_policy::STARTER.iter().find(|file| file.path.ends_with("checks.rego")).unwrap();
    let policy = json!({"branch": "main", "message": "m", "files": [text_file(starter.path, starter.text)]});
    me.post(&format!("{REPO}/commit"), &policy).await.expect(201);
    let mut told = Terminals::of(&app);
    told.workspace(ADMIN).await;
    told.types(ADMIN, "checks require \"unit tests (1)\"").await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("b", Some("2"))]).await;
    told.types(ADMIN, "check --branch topic --name lint --status failed --metadata '{\"lines\": [3]}'").await;
    told.types(ADMIN, "check --branch topic --name lint --status failed --metadata 3").await;
    told.types(ADMIN, "why topic").await;
    told.types(ADMIN, "retry --branch topic --check lint").await;
    told.types(ADMIN, "check --branch topic --name lint --status passed").await;
    told.types(ADMIN, "check --branch topic --name 'unit tests (1)' --status passed").await;
    told.types(ADMIN, "why topic").await;
    told.types_with(ADMIN, "checks release \"unit tests (1)\"", |context| {
        context.terminals.stdin = true;
        context.stdin = Box::new(std::io::Cursor::new("n\n"));
    })
    .await;
    told.types(ADMIN, "checks release \"unit tests (1)\" --yes").await;
    insta::assert_snapshot!(told.text(), @r#"
    admin$ ds checks require "unit tests (1)"
    Check 'unit tests (1)' is required on branches '*'
    admin$ ds check --branch topic --name lint --status failed --metadata '{"lines": [3]}'
    Check run submitted: lint=failed (id: ID-1, sequence: 3)
    admin$ ds check --branch topic --name lint --status failed --metadata 3
    error: invalid value '3' for '--metadata <JSON>': it is no object

    For more information, try '--help'.
    [exit 2]
    admin$ ds why topic
    What is missing:
      - check unit tests (1) must pass
        who: anyone with the role writer
        run: ds check --branch topic --name 'unit tests (1)' --status passed
      - check lint failed
        who: anyone with the role writer
        run: ds retry --branch topic --check lint
    error: 'topic' cannot be merged yet
    [exit 6]
    admin$ ds retry --branch topic --check lint
    Retrying checks [lint] on branch 'topic' at sequence 3 (attempt 2)
    admin$ ds check --branch topic --name lint --status passed
    Check run submitted: lint=passed (id: ID-1, sequence: 3)
    admin$ ds check --branch topic --name 'unit tests (1)' --status passed
    Check run submitted: unit tests (1)=passed (id: ID-2, sequence: 3)
    admin$ ds why topic
    What is missing:
      - check lint must pass
        who: anyone with the role writer
        run: ds check --branch topic --name lint --status passed
    error: 'topic' cannot be merged yet
    [exit 6]
    admin$ ds checks release "unit tests (1)"
    No longer require check 'unit tests (1)' on branches '*'? [y/N] error: not confirmed; nothing was changed
    hint: use --yes to skip the question
    [exit 1]
    admin$ ds checks release "unit tests (1)" --yes
    Check 'unit tests (1)' is no longer required on branches '*'
    "#);
}
