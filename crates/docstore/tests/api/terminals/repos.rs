//! `ds roles`, `ds release`, `ds purge` and `ds obliterate`.

use docstore_test_support::ADMIN;

use super::{ANN, BOB, world};
use crate::support::{REPO, branch, commit, terminal::Terminals};

#[tokio::test]
async fn roles() {
    let app = world().await;
    let mut told = Terminals::of(&app);
    told.workspace(ADMIN).await;
    told.workspace(BOB).await;
    told.types(ADMIN, "roles").await;
    told.types(ADMIN, "roles set carl@example.com reader").await;
    told.types(ADMIN, "role set carl@example.com writer").await;
    told.types(ADMIN, "roles set carl@example.com boss").await;
    told.types(ADMIN, "role list --json").await;
    told.types_with(ADMIN, "roles delete carl@example.com", |context| {
        context.terminals.stdin = true;
        context.stdin = Box::new(std::io::Cursor::new("\n"));
    })
    .await;
    told.types_with(ADMIN, "roles delete carl@example.com", |context| {
        context.terminals.stdin = true;
        context.stdin = Box::new(std::io::Cursor::new("yes\n"));
    })
    .await;
    told.types(ADMIN, "roles delete carl@example.com --yes").await;
    told.types(ADMIN, &format!("roles delete {ADMIN} --yes")).await;
    told.types(BOB, "roles").await;
    told.types(BOB, "roles set bob@example.com admin").await;
    insta::assert_snapshot!(told.text(), @r#"
    admin$ ds roles
    IDENTITY                        ROLE
    admin@example.com               admin
    ann@example.com                 maintainer
    bob@example.com                 writer
    admin$ ds roles set carl@example.com reader
    Set role 'reader' for 'carl@example.com'
    admin$ ds role set carl@example.com writer
    Set role 'writer' for 'carl@example.com'
    admin$ ds roles set carl@example.com boss
    error: role must be one of: reader, writer, maintainer, admin
    [exit 2]
    admin$ ds role list --json
    [
      {
        "identity": "admin@example.com",
        "role": "admin"
      },
      {
        "identity": "ann@example.com",
        "role": "maintainer"
      },
      {
        "identity": "bob@example.com",
        "role": "writer"
      },
      {
        "identity": "carl@example.com",
        "role": "writer"
      }
    ]
    admin$ ds roles delete carl@example.com
    Take the role of 'carl@example.com' in default/default away? [y/N] error: not confirmed; nothing was changed
    hint: use --yes to skip the question
    [exit 1]
    admin$ ds roles delete carl@example.com
    Deleted role for 'carl@example.com'
    Take the role of 'carl@example.com' in default/default away? [y/N]
    admin$ ds roles delete carl@example.com --yes
    error: server error: role not found
    [exit 1]
    admin$ ds roles delete admin@example.com --yes
    Deleted role for 'admin@example.com'
    bob$ ds roles
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    bob$ ds roles set bob@example.com admin
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    "#);
}

#[tokio::test]
async fn releases() {
    let app = world().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("docs/b", Some("2"))]).await;
    let mut told = Terminals::of(&app);
    told.workspace(ADMIN).await;
    told.workspace(ANN).await;
    told.workspace(BOB).await;
    told.types(BOB, "release list").await;
    told.types(BOB, "release create v1").await;
    told.types(ANN, "release create v1 --notes \"The first one.\"").await;
    told.types(ANN, "release create v1").await;
    told.types(ANN, "release create v0 --sequence 1").await;
    told.types(ANN, "release create v2 --sequence 9").await;
    told.types(ANN, "release create 7").await;
    told.types(BOB, "release list").await;
    told.types(BOB, "releases list --json").await;
    told.types(BOB, "release show v1").await;
    told.types(BOB, "release show v0 --json").await;
    told.types(BOB, "release show none").await;
    told.types(ANN, "release delete v0").await;
    told.types(ADMIN, "release delete v0").await;
    told.types(ADMIN, "release delete v0").await;
    insta::assert_snapshot!(told.text(), @r#"
    bob$ ds release list
    NAME                  SEQUENCE    CREATED BY            CREATED AT
    bob$ ds release create v1
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    ann$ ds release create v1 --notes "The first one."
    Created release 'v1' at sequence 2
    ann$ ds release create v1
    error: server error: release already exists
    [exit 3]
    ann$ ds release create v0 --sequence 1
    Created release 'v0' at sequence 1
    ann$ ds release create v2 --sequence 9
    error: server error: sequence not found
    [exit 1]
    ann$ ds release create 7
    error: server error: release name '7' is a number, which would be read as a sequence
    [exit 1]
    bob$ ds release list
    NAME                  SEQUENCE    CREATED BY            CREATED AT
    v0                    1           ann@example.com       DATE
    v1                    2           ann@example.com       DATE
    bob$ ds releases list --json
    [
      {
        "id": "ID-1",
        "repo": "default/default",
        "name": "v0",
        "sequence": 1,
        "created_by": "ann@example.com",
        "created_at": "TIME"
      },
      {
        "id": "ID-2",
        "repo": "default/default",
        "name": "v1",
        "sequence": 2,
        "body": "The first one.",
        "created_by": "ann@example.com",
        "created_at": "TIME"
      }
    ]
    bob$ ds release show v1
    Name:       v1
    Sequence:   2
    Created by: ann@example.com
    Created at: DATE CLOCK
    Notes:
      The first one.
    Tree at sequence 2:
      a
      docs/b
    bob$ ds release show v0 --json
    {
      "id": "ID-1",
      "repo": "default/default",
      "name": "v0",
      "sequence": 1,
      "created_by": "ann@example.com",
      "created_at": "TIME",
      "tree": [
        {
          "path": "a",
          "version_id": "ID-3",
          "content_hash": "ID-4",
          "size": 1
        }
      ]
    }
    bob$ ds release show none
    error: release 'none' not found
    [exit 1]
    ann$ ds release delete v0
    error: server error: forbidden
    hint: status 403: ann@example.com may not do this
    [exit 4]
    admin$ ds release delete v0
    Deleted release 'v0'
    admin$ ds release delete v0
    error: release 'v0' not found
    [exit 1]
    "#);
}

#[tokio::test]
async fn purges() {
    let app = world().await;
    let me = app.admin();
    branch(&me, REPO, "old").await;
    commit(&me, REPO, "old", &[("b", Some("2"))]).await;
    let mut told = Terminals::of(&app);
    told.workspace(ADMIN).await;
    told.workspace(ANN).await;
    told.types(ADMIN, "branches delete old --yes").await;
    told.types(ADMIN, "branches delete old --yes").await;
    told.types(ADMIN, "branches --status abandoned").await;
    told.types(ADMIN, "purge --older-than soon").await;
    told.types(ANN, "purge --older-than 30d --yes").await;
    told.types(ADMIN, "purge --older-than 30d --dry-run").await;
    for table in ["commits", "branches"] {
        let age = format!("UPDATE {table} SET created_at = created_at - interval '40 days'");
        sqlx::query(sqlx::AssertSqlSafe(age)).execute(&app.pool().await).await.unwrap();
    }
    told.types(ADMIN, "purge --older-than 30d --dry-run").await;
    told.types_with(ADMIN, "purge --older-than 30d", |context| {
        context.terminals.stdin = true;
        context.stdin = Box::new(std::io::Cursor::new("n\n"));
    })
    .await;
    told.types(ADMIN, "purge --older-than 30d --yes").await;
    told.types(ADMIN, "branches --status abandoned").await;
    insta::assert_snapshot!(told.text(), @r#"
    admin$ ds branches delete old --yes
    Deleted branch 'old'
    admin$ ds branches delete old --yes
    error: branch 'old' is already merged or abandoned
    [exit 3]
    admin$ ds branches --status abandoned
    BRANCH                         HEAD   BASE   STATUS     DRAFT
    old                            2      1      abandoned
    admin$ ds purge --older-than soon
    error: server error: invalid duration "soon": must be of the form "Nd" (e.g. "7d")
    [exit 1]
    ann$ ds purge --older-than 30d --yes
    error: server error: forbidden
    hint: status 403: ann@example.com may not do this
    [exit 4]
    admin$ ds purge --older-than 30d --dry-run
    [dry-run] nothing was removed
      branches purged:      0
      file commits deleted: 0
      commits deleted:      0
      documents deleted:    0
      reviews deleted:      0
      check runs deleted:   0
    admin$ ds purge --older-than 30d --dry-run
    [dry-run] nothing was removed
      branches purged:      1
      file commits deleted: 1
      commits deleted:      1
      documents deleted:    1
      reviews deleted:      0
      check runs deleted:   0
    admin$ ds purge --older-than 30d
    Remove merged and abandoned branches of default/default for good? [y/N] error: not confirmed; nothing was changed
    hint: use --yes to skip the question
    [exit 1]
    admin$ ds purge --older-than 30d --yes
      branches purged:      1
      file commits deleted: 1
      commits deleted:      1
      documents deleted:    1
      reviews deleted:      0
      check runs deleted:   0
    admin$ ds branches --status abandoned
    BRANCH                         HEAD   BASE   STATUS     DRAFT
    "#);
}

#[tokio::test]
async fn what_was_obliterated_is_missed_by_nobody() {
    let app = world().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("env", Some("the password is swordfish"))]).await;
    let mut told = Terminals::of(&app);
    told.workspace(ADMIN).await;
    told.workspace(ANN).await;
    told.types(ADMIN, "obliterate --list").await;
    told.types(ADMIN, "obliterate env --reason \"a password\" --yes").await;
    told.say("somebody who had the file");
    told.types(ANN, "pull").await;
    told.types(ANN, "status").await;
    told.types(ANN, "show 2 env").await;
    told.types(ANN, "show 2 --patch").await;
    told.types(ANN, "verify --content").await;
    commit(&me, REPO, "main", &[("env", Some("clean")), ("more", Some("3"))]).await;
    told.types(ANN, "pull").await;
    told.types(ANN, "log env").await;
    told.say("somebody who comes later, and at the sequence that is not whole");
    let remote = format!("{}/repos/default/default/-/", app.base_url());
    told.types(BOB, &format!("init {remote} --author {BOB}")).await;
    told.types(BOB, "status").await;
    told.types(BOB, "diff --range 1..2").await;
    told.types(BOB, "diff --range 2..3").await;
    told.types(BOB, "archive --output old.tar --at 2").await;
    told.types(BOB, "obliterate --list").await;
    told.types(BOB, "obliterate env --reason mine --yes").await;
    insta::assert_snapshot!(told.text(), @r#"
    admin$ ds obliterate --list
    Nothing was obliterated
    admin$ ds obliterate env --reason "a password" --yes
    Content: ID-1 (25 bytes)
    In 1 change, on 1 path and 1 branch:
    SEQUENCE  BRANCH                STATUS     AT HEAD  PATH
    2         main                  active     yes      env
    Obliterated 25 bytes with the hash ID-1
    Copies outside of the server are not reached: replace what was leaked
    # somebody who had the file
    ann$ ds pull
    Synced branch 'main' (0 downloaded, 1 removed)
    warning: 'env' is left out: its content was obliterated on the server; committing it by name deletes it
    ann$ ds status
    On branch main
    No changes
    ann$ ds show 2 env
    error: server error: the content was obliterated on TIME by admin@example.com: a password
    [exit 1]
    ann$ ds show 2 --patch
    commit 2
    branch:  main
    author:  admin@example.com
    date:    TIME
    message: change main

      env: not shown, its content was obliterated
    ann$ ds verify --content
    seq 1     OK    ID-2  change main
    seq 2     OK    ID-3  change main
    Content of 1 file matches
    warning: 1 file not verified: obliterated on the server
    ann$ ds pull
    Synced branch 'main' (2 downloaded, 0 removed)
    ann$ ds log env
    seq 3     admin@example.com  DATE  change main
    seq 2     admin@example.com  DATE  change main
    # somebody who comes later, and at the sequence that is not whole
    bob$ ds init http://SERVER/repos/default/default/-/ --author bob@example.com
    Synced branch 'main' (archive: 3 files)
    Initialized docstore workspace (3 files, sequence 3)
    Remote: http://SERVER
    Author: bob@example.com
    bob$ ds status
    On branch main
    No changes
    bob$ ds diff --range 1..2
      env: not shown, its content was obliterated
    bob$ ds diff --range 2..3
      env: not shown, its content was obliterated
    --- /dev/null
    +++ b/more
    @@ -0,0 +1 @@
    +3
    \ No newline at end of file
    bob$ ds archive --output old.tar --at 2
    Wrote 'main' at sequence 2 to old.tar
    warning: 1 file left out: obliterated on the server
    bob$ ds obliterate --list
    CONTENT                                                           BYTES     WHEN        WHO                       WHY
    ID-1  25        DATE  admin@example.com         a password
    bob$ ds obliterate env --reason mine --yes
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    "#);
}
