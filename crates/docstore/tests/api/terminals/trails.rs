//! `ds events` and `ds audit`.

use docstore_test_support::ADMIN;

use super::{BOB, world};
use crate::support::{REPO, commit, terminal::Terminals};

#[tokio::test]
async fn what_has_happened_is_read_to_its_end() {
    let app = world().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("b", Some("2"))]).await;
    let mut told = Terminals::of(&app);
    told.workspace(ADMIN).await;
    told.workspace(BOB).await;
    told.types(BOB, "events --log").await;
    told.types(BOB, "events --log -n 1 --json --type commit.created").await;
    told.types(BOB, "events --log --type com.docstore.branch.merged").await;
    told.say("following begins behind a position, and ends after so many");
    told.types(BOB, "events --since 0 -n 1 --type commit.created").await;
    told.types(BOB, "events --since 0 -n 1 --json").await;
    told.say("of the whole server");
    told.types(BOB, "events --server --log").await;
    told.types(ADMIN, "events --server --log --type role.changed -n 1").await;
    told.types(ADMIN, "events --server --since 0 -n 1 --type commit.created").await;
    insta::assert_snapshot!(told.text(), @r#"
    bob$ ds events --log
         1  TIME  role.changed  {"repo":"default/default","identity":"admin@example.com","role":"admin","changed_by":"admin@example.com"}
         2  TIME  role.changed  {"repo":"default/default","identity":"ann@example.com","role":"maintainer","changed_by":"admin@example.com"}
         3  TIME  role.changed  {"repo":"default/default","identity":"bob@example.com","role":"writer","changed_by":"admin@example.com"}
         4  TIME  commit.created  {"repo":"default/default","branch":"main","sequence":1,"author":"admin@example.com","message":"change main","file_count":1}
         5  TIME  commit.created  {"repo":"default/default","branch":"main","sequence":2,"author":"admin@example.com","message":"change main","file_count":1}
    bob$ ds events --log -n 1 --json --type commit.created
    {"position":4,"event":{"specversion":"1.0","type":"com.docstore.commit.created","source":"/repos/default/default","id":"ID-1","time":"TIME","datacontenttype":"application/json","data":{"repo":"default/default","branch":"main","sequence":1,"author":"admin@example.com","message":"change main","file_count":1}}}
    bob$ ds events --log --type com.docstore.branch.merged
    # following begins behind a position, and ends after so many
    bob$ ds events --since 0 -n 1 --type commit.created
         4  TIME  commit.created  {"repo":"default/default","branch":"main","sequence":1,"author":"admin@example.com","message":"change main","file_count":1}
    bob$ ds events --since 0 -n 1 --json
    {"position":1,"event":{"specversion":"1.0","type":"com.docstore.role.changed","source":"/repos/default/default","id":"ID-2","time":"TIME","datacontenttype":"application/json","data":{"repo":"default/default","identity":"admin@example.com","role":"admin","changed_by":"admin@example.com"}}}
    # of the whole server
    bob$ ds events --server --log
    error: server error: forbidden: global admin required
    hint: status 403: bob@example.com may not do this
    [exit 4]
    admin$ ds events --server --log --type role.changed -n 1
         1  TIME  role.changed  {"repo":"default/default","identity":"admin@example.com","role":"admin","changed_by":"admin@example.com"}
    admin$ ds events --server --since 0 -n 1 --type commit.created
         4  TIME  commit.created  {"repo":"default/default","branch":"main","sequence":1,"author":"admin@example.com","message":"change main","file_count":1}
    "#);
}

#[tokio::test]
async fn the_audit_trail_is_read_to_its_end() {
    let app = world().await;
    let mut told = Terminals::of(&app);
    told.workspace(ADMIN).await;
    told.workspace(BOB).await;
    told.types(ADMIN, "audit").await;
    let first = told.types(ADMIN, "audit --limit 1").await;
    let position = first.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    told.types(ADMIN, &format!("audit --limit 1 --after {position} --json")).await;
    told.types(ADMIN, "audit --server --limit 2").await;
    told.types(ADMIN, "audit --limit 0").await;
    told.types(BOB, "audit").await;
    told.types(BOB, "audit --server").await;
    insta::assert_snapshot!(told.text(), @r#"
    admin$ ds audit
    POSITION  TIME                 WHAT                  WHERE                           DETAILS
    3         DATE CLOCK  role.changed          /repos/default/default          {"repo":"default/default","identity":"bob@example.com","role":"writer","changed_by":"admin@example.com"}
    2         DATE CLOCK  role.changed          /repos/default/default          {"repo":"default/default","identity":"ann@example.com","role":"maintainer","changed_by":"admin@example.com"}
    1         DATE CLOCK  role.changed          /repos/default/default          {"repo":"default/default","identity":"admin@example.com","role":"admin","changed_by":"admin@example.com"}
    admin$ ds audit --limit 1
    POSITION  TIME                 WHAT                  WHERE                           DETAILS
    3         DATE CLOCK  role.changed          /repos/default/default          {"repo":"default/default","identity":"bob@example.com","role":"writer","changed_by":"admin@example.com"}
    admin$ ds audit --limit 1 --after 3 --json
    [
      {
        "position": 2,
        "event": {
          "specversion": "1.0",
          "type": "com.docstore.role.changed",
          "source": "/repos/default/default",
          "id": "ID-1",
          "time": "TIME",
          "datacontenttype": "application/json",
          "data": {"repo":"default/default","identity":"ann@example.com","role":"maintainer","changed_by":"admin@example.com"}
        }
      }
    ]
    admin$ ds audit --server --limit 2
    POSITION  TIME                 WHAT                  WHERE                           DETAILS
    3         DATE CLOCK  role.changed          /repos/default/default          {"repo":"default/default","identity":"bob@example.com","role":"writer","changed_by":"admin@example.com"}
    2         DATE CLOCK  role.changed          /repos/default/default          {"repo":"default/default","identity":"ann@example.com","role":"maintainer","changed_by":"admin@example.com"}
    admin$ ds audit --limit 0
    error: invalid value '0' for '--limit <N>': 0 is not in 1..=4294967295

    For more information, try '--help'.
    [exit 2]
    bob$ ds audit
    error: server error: forbidden
    hint: status 403: bob@example.com may not do this
    [exit 4]
    bob$ ds audit --server
    error: server error: forbidden: global admin required
    hint: status 403: bob@example.com may not do this
    [exit 4]
    "#);
}
