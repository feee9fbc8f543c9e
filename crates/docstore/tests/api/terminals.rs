//! `ds` at the server: what people type, and what they see.

mod details;
mod merging;
mod orgs;
mod repos;
mod trails;

use std::sync::Arc;

use docstore_test_support::{ADMIN, TestApp};

use crate::support::{REPO, branch, commit, grant, terminal::Terminals};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

async fn world() -> TestApp {
    let app = TestApp::start().await;
    let me = app.admin();
    grant(&me, ADMIN, "admin").await;
    grant(&me, ANN, "maintainer").await;
    grant(&me, BOB, "writer").await;
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    app
}

fn last_word(seen: &str) -> String {
    seen.split_whitespace().last().unwrap().to_owned()
}

#[tokio::test]
async fn proposals() {
    let app = world().await;
    let me = app.admin();
    branch(&me, REPO, "feature/x").await;
    commit(&me, REPO, "feature/x", &[("b", Some("2"))]).await;
    branch(&me, REPO, "other").await;
    let mut told = Terminals::of(&app);
    told.workspace(ANN).await;
    told.workspace(BOB).await;
    told.types(BOB, "proposal list").await;
    told.types(BOB, "checkout feature/x").await;
    told.types(BOB, "issues create --title \"Something is wrong\"").await;
    let id = last_word(&told.types(BOB, "proposal open --title \"Add b\" --description \"closes #1\"").await);
    told.types(BOB, "proposal open --title again").await;
    let other = last_word(
        &told.types(ANN, "proposal open --branch other --title \"A title that does not fit into its column\"").await,
    );
    told.types(BOB, "proposal").await;
    told.types(BOB, "proposal list --branch other --json").await;
    told.types(BOB, "proposal show").await;
    told.types(BOB, &format!("proposal show {other}")).await;
    told.types(BOB, &format!("proposal edit {other} --title mine")).await;
    told.types(BOB, &format!("proposal edit {id}")).await;
    told.types_with(BOB, &format!("proposal edit {id} --title \"Add b, really\" -F -"), |context| {
        context.stdin = Box::new(std::io::Cursor::new("because\nof #1\n"));
    })
    .await;
    told.types_with(BOB, &format!("proposal edit {id}"), |context| {
        context.terminals.stdin = true;
        context.edit = Arc::new(|_, path| {
            let before = std::fs::read_to_string(path)?;
            std::fs::write(path, before.replace("because", "since"))
        });
    })
    .await;
    told.types(BOB, &format!("proposal close {id}")).await;
    told.types(BOB, &format!("proposal close {id}")).await;
    told.types(BOB, "proposal show").await;
    told.types(BOB, &format!("proposal reopen {id}")).await;
    told.types(ANN, "checkout feature/x").await;
    told.types(ANN, "merge").await;
    told.types(BOB, "proposal list --state merged").await;
    told.types(BOB, "proposal list --state closed").await;
    told.types(BOB, &format!("proposal show {id}")).await;
    told.types(BOB, "proposal close 7").await;
    told.types(BOB, "proposal close 00000000-0000-7000-8000-000000000000").await;
    told.types(BOB, "proposal list --state x").await;
    insta::assert_snapshot!(told.text(), @r#"
    bob$ ds proposal list
    No open proposals
    bob$ ds checkout feature/x
    Synced branch 'feature/x' (1 downloaded, 0 removed)
    bob$ ds issues create --title "Something is wrong"
    Created issue #1
    bob$ ds proposal open --title "Add b" --description "closes #1"
    Proposal opened: ID-1
    bob$ ds proposal open --title again
    error: server error: branch already has an open proposal
    hint: `ds proposal list --branch feature/x` shows it
    [exit 3]
    ann$ ds proposal open --branch other --title "A title that does not fit into its column"
    Proposal opened: ID-2
    bob$ ds proposal
    ID                                    BRANCH                          TITLE                                     AUTHOR                          STATE     CREATED
    ID-2  other                           A title that does not fit into its co…    ann@example.com                 open      TIME
    ID-1  feature/x                       Add b                                     bob@example.com                 open      TIME
    bob$ ds proposal list --branch other --json
    [
      {
        "id": "ID-2",
        "repo": "default/default",
        "branch": "other",
        "base_branch": "main",
        "title": "A title that does not fit into its column",
        "author": "ann@example.com",
        "state": "open",
        "created_at": "TIME",
        "updated_at": "TIME"
      }
    ]
    bob$ ds proposal show
    Proposal ID-1: Add b
    State:   open
    Branch:  feature/x -> main
    Author:  bob@example.com
    Created: TIME

    closes #1

    Issues (1):
      #1 Something is wrong (open)
    bob$ ds proposal show ID-2
    Proposal ID-2: A title that does not fit into its column
    State:   open
    Branch:  other -> main
    Author:  ann@example.com
    Created: TIME
    bob$ ds proposal edit ID-2 --title mine
    error: server error: forbidden: must be proposal author or maintainer
    hint: status 403: bob@example.com may not do this
    [exit 4]
    bob$ ds proposal edit ID-1
    error: nothing to change
    hint: give --title, --description or -F
    [exit 2]
    bob$ ds proposal edit ID-1 --title "Add b, really" -F -
    Proposal ID-1 changed
    bob$ ds proposal edit ID-1
    Proposal ID-1 changed
    bob$ ds proposal close ID-1
    Proposal ID-1 closed
    bob$ ds proposal close ID-1
    error: server error: conflict: proposal is already closed
    [exit 3]
    bob$ ds proposal show
    error: branch 'feature/x' has no open proposal
    hint: `ds proposal open --title <title>` opens one
    [exit 1]
    bob$ ds proposal reopen ID-1
    Proposal ID-1 open again
    ann$ ds checkout feature/x
    Synced branch 'feature/x' (1 downloaded, 0 removed)
    ann$ ds merge
    Merged 'feature/x' into main at sequence 3
    Synced branch 'main' (0 downloaded, 0 removed)
    bob$ ds proposal list --state merged
    ID                                    BRANCH                          TITLE                                     AUTHOR                          STATE     CREATED
    ID-1  feature/x                       Add b, really                             bob@example.com                 merged    TIME
    bob$ ds proposal list --state closed
    No closed proposals
    bob$ ds proposal show ID-1
    Proposal ID-1: Add b, really
    State:   merged
    Branch:  feature/x -> main
    Author:  bob@example.com
    Created: TIME

    since
    of #1

    Issues (1):
      #1 Something is wrong (open)
    bob$ ds proposal close 7
    error: '7' is no id of a proposal
    hint: `ds proposal list` shows the ids
    [exit 2]
    bob$ ds proposal close ID-3
    error: proposal 'ID-3' not found
    [exit 1]
    bob$ ds proposal list --state x
    error: invalid value 'x' for '--state <STATE>'
      [possible values: open, closed, merged, all]

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[tokio::test]
async fn issues() {
    let app = world().await;
    let mut told = Terminals::of(&app);
    told.workspace(ANN).await;
    told.workspace(BOB).await;
    told.types(BOB, "issues").await;
    told.types(BOB, "issues create --title First --body \"see commit:1\" --label bug --label ui").await;
    told.types(ANN, "issues create --title Second").await;
    told.types(BOB, "issues").await;
    told.types(BOB, "issues list --label bug").await;
    told.types(BOB, &format!("issues --author {ANN} --json")).await;
    let first = last_word(&told.types(ANN, "issues comment add 1 --body \"I see\"").await);
    told.types_with(BOB, "issues comment add 1", |context| {
        context.terminals.stdin = true;
        context.edit = Arc::new(|_, path| std::fs::write(path, "two\nlines\n"));
    })
    .await;
    told.types(BOB, "issues comment add 1").await;
    told.types(ANN, &format!("issues comment edit 1 {first} --body \"I saw\"")).await;
    told.types(BOB, &format!("issues comment edit 1 {first} --body mine")).await;
    told.types(BOB, "issues tie 1 --proposal 00000000-0000-7000-8000-000000000001").await;
    told.types(BOB, "issues tie 1 --commit 1").await;
    told.types(BOB, "issues tie 1").await;
    told.types(BOB, "issues refs 1").await;
    told.types(BOB, "issues refs 2").await;
    told.types(BOB, "issues show 1").await;
    told.types(BOB, &format!("issues comment delete 2 {first} --yes")).await;
    told.types(ANN, &format!("issues comment delete 1 {first}")).await;
    told.types(BOB, "issues edit 1 --title \"First, better\" --no-labels").await;
    told.types(BOB, "issues edit 1").await;
    told.types(BOB, "issues edit 2 --title mine").await;
    told.types(BOB, "issues close 1 --reason duplicate").await;
    told.types(BOB, "issues close 1").await;
    told.types(BOB, "issues --state closed").await;
    told.types(BOB, "issues show #1").await;
    told.types(BOB, "issues reopen 1").await;
    told.types(BOB, "issues close 2").await;
    told.types(BOB, "issues show x").await;
    told.types(BOB, "issues show 9").await;
    told.types(BOB, "issues --state closed").await;
    insta::assert_snapshot!(told.text(), @r#"
    bob$ ds issues
    No open issues
    bob$ ds issues create --title First --body "see commit:1" --label bug --label ui
    Created issue #1
    ann$ ds issues create --title Second
    Created issue #2
    bob$ ds issues
    NUMBER  TITLE                                     AUTHOR                          STATE     CREATED
    2       Second                                    ann@example.com                 open      TIME
    1       First                                     bob@example.com                 open      TIME
    bob$ ds issues list --label bug
    NUMBER  TITLE                                     AUTHOR                          STATE     CREATED
    1       First                                     bob@example.com                 open      TIME
    bob$ ds issues --author ann@example.com --json
    [
      {
        "id": "ID-1",
        "repo": "default/default",
        "number": 2,
        "title": "Second",
        "author": "ann@example.com",
        "state": "open",
        "labels": [],
        "created_at": "TIME",
        "updated_at": "TIME"
      }
    ]
    ann$ ds issues comment add 1 --body "I see"
    Added comment ID-2
    bob$ ds issues comment add 1
    Added comment ID-3
    bob$ ds issues comment add 1
    error: there is no text
    hint: give it with --body, or in a file with -F
    [exit 2]
    ann$ ds issues comment edit 1 ID-2 --body "I saw"
    Updated comment ID-2
    bob$ ds issues comment edit 1 ID-2 --body mine
    error: server error: forbidden: must be comment author or maintainer
    hint: status 403: bob@example.com may not do this
    [exit 4]
    bob$ ds issues tie 1 --proposal ID-4
    Tied proposal ID-4 to issue #1
    bob$ ds issues tie 1 --commit 1
    error: server error: ref already exists
    [exit 3]
    bob$ ds issues tie 1
    error: the following required arguments were not provided:
      <--proposal <ID>|--commit <SEQUENCE>>

    Usage: ds issues tie <--proposal <ID>|--commit <SEQUENCE>> <NUMBER>

    For more information, try '--help'.
    [exit 2]
    bob$ ds issues refs 1
    TYPE        REF_ID                                CREATED
    commit      1                                     TIME
    proposal    ID-4  TIME
    bob$ ds issues refs 2
    No refs for issue #2
    bob$ ds issues show 1
    Issue #1: First
    State:   open
    Author:  bob@example.com
    Created: TIME
    Labels:  bug, ui

    see commit:1

    Comments (2):
      [DATE] ann@example.com: I saw
        id: ID-2
      [DATE] bob@example.com: two
        lines
        id: ID-3

    Refs (2):
      commit: 1
      proposal: ID-4
    bob$ ds issues comment delete 2 ID-2 --yes
    error: issue #2 has no comment ID-2
    [exit 1]
    ann$ ds issues comment delete 1 ID-2
    Deleted comment ID-2
    bob$ ds issues edit 1 --title "First, better" --no-labels
    Changed issue #1
    bob$ ds issues edit 1
    error: nothing to change
    hint: give --title, --body, -F, --label or --no-labels
    [exit 2]
    bob$ ds issues edit 2 --title mine
    error: server error: forbidden: must be issue author or maintainer
    hint: status 403: bob@example.com may not do this
    [exit 4]
    bob$ ds issues close 1 --reason duplicate
    Closed issue #1
    bob$ ds issues close 1
    error: server error: conflict: issue is already closed
    [exit 3]
    bob$ ds issues --state closed
    NUMBER  TITLE                                     AUTHOR                          STATE     CREATED
    1       First, better                             bob@example.com                 closed    TIME
    bob$ ds issues show #1
    Issue #1: First, better
    State:   closed
    Author:  bob@example.com
    Created: TIME
    Closed:  TIME (duplicate)

    see commit:1

    Comments (1):
      [DATE] bob@example.com: two
        lines
        id: ID-3

    Refs (2):
      commit: 1
      proposal: ID-4
    bob$ ds issues reopen 1
    Reopened issue #1
    bob$ ds issues close 2
    error: server error: forbidden: must be issue author or maintainer
    hint: status 403: bob@example.com may not do this
    [exit 4]
    bob$ ds issues show x
    error: invalid issue number: x
    [exit 2]
    bob$ ds issues show 9
    error: issue #9 not found
    [exit 1]
    bob$ ds issues --state closed
    No closed issues
    "#);
}

fn secret_of(seen: &str) -> String {
    seen.lines().find(|line| line.starts_with("dst_")).unwrap().to_owned()
}

#[tokio::test]
async fn tokens_and_agents() {
    let app = world().await;
    let mut told = Terminals::of(&app);
    told.workspace(BOB).await;
    told.types(BOB, "token create laptop --days 7").await;
    let made = told.types(BOB, "token create bot --allow read,contents --repo default/default --branch bot/*").await;
    let secret = secret_of(&made);
    told.types(BOB, "token create more --allow everything").await;
    told.types(BOB, "token list").await;
    told.types(BOB, "whoami --can").await;
    told.types_with(BOB, "whoami --can", |context| {
        context.environment.insert("DS_TOKEN".to_owned(), secret.clone());
    })
    .await;
    told.types_with(BOB, "token list", |context| {
        context.environment.insert("DS_TOKEN".to_owned(), secret.clone());
    })
    .await;
    told.types(BOB, "token revoke laptop --yes").await;
    told.types(BOB, "token revoke laptop --yes").await;
    let made = told.types(BOB, "agent create fixer --allow read,contents --hours 2").await;
    let agent = secret_of(&made);
    told.types_with(BOB, "login --token", |context| context.stdin = Box::new(std::io::Cursor::new(agent))).await;
    told.types(BOB, "whoami").await;
    told.types(BOB, "logout --everywhere").await;
    told.types(BOB, "logout").await;
    told.types(BOB, "logout --everywhere").await;
    told.types(BOB, "agent list").await;
    told.types(BOB, "agent revoke fixer --yes").await;
    told.types(BOB, "agent create fixer --allow admin").await;
    told.types(BOB, "audit").await;
    insta::assert_snapshot!(told.text(), @r"
    bob$ ds token create laptop --days 7
    Created token 'laptop' for read, until DATE
    dst_ID-1
    Keep it now: it is not shown again.
    bob$ ds token create bot --allow read,contents --repo default/default --branch bot/*
    Created token 'bot' for read,contents in default/default on bot/*, until DATE
    dst_ID-2
    Keep it now: it is not shown again.
    bob$ ds token create more --allow everything
    error: server error: invalid action; must be one of read, contents, merge, proposals, reviews, checks, issues, releases, webhooks, secrets, ci, admin
    [exit 1]
    bob$ ds token list
    ID                                    NAME                  OWNER                 STATE               LAST USED   SCOPE
    ID-3  laptop                bob@example.com       until DATE    never       read
    ID-4  bot                   bob@example.com       until DATE    never       read,contents in default/default on bot/*
    bob$ ds whoami --can
    bob@example.com
    REPO                            ROLE        GIVEN BY
    default/default                 writer      a role in the repo
    bob$ ds whoami --can
    bob@example.com
    by a token for read,contents in default/default on bot/*, until TIME
    REPO                            ROLE        ONLY FOR                        GIVEN BY
    default/default                 writer      read,contents on bot/*          a role in the repo
    bob$ ds token list
    error: server error: forbidden: this takes a login, not an API token
    hint: status 403: whoever DS_TOKEN belongs to, as you are signed in to http://SERVER, may not do this
    [exit 4]
    bob$ ds token revoke laptop --yes
    Revoked token 'laptop'
    bob$ ds token revoke laptop --yes
    error: token 'laptop' not found
    [exit 1]
    bob$ ds agent create fixer --allow read,contents --hours 2
    Created agent:fixer/bob@example.com for read,contents, until TIME
    dst_ID-5
    Keep it now: it is not shown again.
    bob$ ds login --token
    Logged in as agent:fixer/bob@example.com
    bob$ ds whoami
    agent:fixer/bob@example.com
    on behalf of bob@example.com
    by a token for read,contents, until TIME
    bob$ ds logout --everywhere
    error: server error: forbidden: this takes a login, not an API token
    hint: status 403: whom the server takes you for may not do this; `ds whoami` tells
    [exit 4]
    bob$ ds logout
    Logged out from http://SERVER
    bob$ ds logout --everywhere
    Ended all browser sessions at http://SERVER
    Logged out from http://SERVER
    bob$ ds agent list
    ID                                    AGENT                                     STATE               SCOPE
    ID-6  agent:fixer/bob@example.com               until DATE    read,contents
    bob$ ds agent revoke fixer --yes
    Revoked agent 'fixer'
    bob$ ds agent create fixer --allow admin
    error: server error: an agent may not have the action 'admin'
    [exit 1]
    bob$ ds audit
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    ");
}
