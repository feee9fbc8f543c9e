//! Streams of events, through HTTP.

use docstore_service::Outcome;
use docstore_test_support::{ADMIN, Answer, Person, Replica, TestApp};
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    REPO, Transcript, branch, commit,
    sse::{PATIENCE, Seen, Sse},
};

fn kinds(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(Seen::kind).collect()
}

#[tokio::test]
async fn every_change_is_told_in_order_with_its_data() {
    let app = TestApp::start().await;
    let me = app.admin();
    let mut all = Sse::open(&me, "/events", None).await;
    let mut own = Sse::open(&me, &format!("{REPO}/events"), None).await;
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    me.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("b", Some("1"))]).await;
    let topic = format!("{REPO}/branch/topic");
    me.patch(&topic, &json!({"draft": true})).await.expect(200);
    me.patch(&topic, &json!({"draft": true})).await.expect(200);
    me.post(&format!("{topic}/auto-merge"), &Value::Null).await.expect(204);
    me.delete(&format!("{topic}/auto-merge")).await.expect(204);
    me.patch(&topic, &json!({"draft": false})).await.expect(200);
    me.post(&format!("{REPO}/rebase"), &json!({"branch": "topic"})).await.expect(200);
    me.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(200);
    branch(&me, REPO, "dead").await;
    me.delete(&format!("{REPO}/branch/dead")).await.expect(204);
    me.post(&format!("{REPO}/releases"), &json!({"name": "v1"})).await.expect(201);
    me.delete(&format!("{REPO}/releases/v1")).await.expect(204);
    me.put(&format!("{REPO}/roles/you@example.com"), &json!({"role": "reader"})).await.expect(200);
    me.delete(&format!("{REPO}/roles/you@example.com")).await.expect(204);
    me.post(&format!("{REPO}/purge"), &json!({"older_than": "1d"})).await.expect(200);
    let import = json!({"branch": "main", "commits": [
        {"author": "a@b", "message": "m", "imported_from": "git:1", "files": []},
        {"author": "a@b", "message": "m", "imported_from": "git:2", "files": []}]});
    me.post(&format!("{REPO}/import"), &import).await.expect(201);
    me.delete("/repos/acme/app").await.expect(204);
    me.delete("/orgs/acme").await.expect(204);

    let seen = all.take(21).await;
    let mut told = String::new();
    for one in &seen {
        told.push_str(&format!("{} {} {}\n", one.event["source"], one.kind(), one.event["data"]).replace('"', ""));
    }
    insta::assert_snapshot!(told, @"
    /orgs/acme org.created {created_by:admin@example.com,org:acme}
    /repos/acme/app repo.created {created_by:admin@example.com,owner:acme,repo:acme/app}
    /repos/default/default commit.created {author:admin@example.com,branch:main,file_count:1,message:change main,repo:default/default,sequence:1}
    /repos/default/default branch.created {base_sequence:1,branch:topic,created_by:admin@example.com,repo:default/default}
    /repos/default/default commit.created {author:admin@example.com,branch:topic,file_count:1,message:change topic,repo:default/default,sequence:2}
    /repos/default/default branch.draft.updated {branch:topic,draft:true,repo:default/default,updated_by:admin@example.com}
    /repos/default/default branch.automerge.enabled {branch:topic,enabled_by:admin@example.com,repo:default/default}
    /repos/default/default branch.automerge.disabled {branch:topic,disabled_by:admin@example.com,repo:default/default}
    /repos/default/default branch.draft.updated {branch:topic,draft:false,repo:default/default,updated_by:admin@example.com}
    /repos/default/default branch.rebased {branch:topic,commits_replayed:1,new_base_sequence:1,new_head_sequence:3,rebased_by:admin@example.com,repo:default/default}
    /repos/default/default branch.merged {branch:topic,branch_status:{auto_merge:false,mergeable:true,policies:[]},merged_by:admin@example.com,repo:default/default,sequence:4}
    /repos/default/default branch.created {base_sequence:4,branch:dead,created_by:admin@example.com,repo:default/default}
    /repos/default/default branch.abandoned {abandoned_by:admin@example.com,branch:dead,repo:default/default}
    /repos/default/default release.created {created_by:admin@example.com,name:v1,repo:default/default,sequence:4}
    /repos/default/default release.deleted {deleted_by:admin@example.com,name:v1,repo:default/default}
    /repos/default/default role.changed {changed_by:admin@example.com,identity:you@example.com,repo:default/default,role:reader}
    /repos/default/default role.changed {changed_by:admin@example.com,identity:you@example.com,repo:default/default,role:}
    /repos/default/default repo.purged {branches_purged:0,purged_by:admin@example.com,repo:default/default}
    /repos/default/default commits.imported {branch:main,commit_count:2,first_sequence:5,imported_by:admin@example.com,last_sequence:6,repo:default/default}
    /repos/acme/app repo.deleted {deleted_by:admin@example.com,repo:acme/app}
    /orgs/acme org.deleted {deleted_by:admin@example.com,org:acme}
    ");
    assert!(seen.is_sorted_by(|one, next| one.position < next.position));
    // The stream of the repo has those of the repo, the very same.
    let expected: Vec<Seen> = seen.into_iter().filter(|one| one.event["source"] == "/repos/default/default").collect();
    assert_eq!(own.take(expected.len()).await, expected);
}

#[tokio::test]
async fn a_stream_starts_where_it_is_told_to() {
    let app = TestApp::start().await;
    let me = app.admin();
    let path = format!("{REPO}/events");
    for name in ["a", "b", "c"] {
        branch(&me, REPO, name).await;
    }
    let names = |seen: &[Seen]| -> Vec<String> {
        seen.iter().map(|one| one.event["data"]["branch"].as_str().unwrap().to_owned()).collect()
    };
    let all = Sse::open(&me, &format!("{path}?since_seq=0"), None).await.take(3).await;
    assert_eq!(names(&all), ["a", "b", "c"]);
    let first = all[0].position;
    assert_eq!(Sse::open(&me, &format!("{path}?since_seq={first}"), None).await.take(2).await, all[1..]);
    assert_eq!(Sse::open(&me, &path, Some(first)).await.take(2).await, all[1..]);
    let both = Sse::open(&me, &format!("{path}?since_seq=0"), Some(all[1].position)).await.take(1).await;
    assert_eq!(both, all[2..], "a client that comes back repeats its URL and knows better");
    // Without either only what comes from now on.
    let mut now = Sse::open(&me, &path, None).await;
    branch(&me, REPO, "d").await;
    assert_eq!(names(&now.take(1).await), ["d"]);
    let mut told = Transcript::new();
    for bad in ["x", "-1", "1.5", "9223372036854775808"] {
        told.get(&me, &format!("{path}?since_seq={bad}")).await;
        told.note("Last-Event-ID", &Answer::of(me.request(Method::GET, &path).header("Last-Event-ID", bad)).await);
    }
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/events?since_seq=x
      400 {"code":"BAD_REQUEST","error":"since_seq must be the position of an event, a whole number from 0"}
    Last-Event-ID
      400 {"code":"BAD_REQUEST","error":"Last-Event-ID must be the position of an event, a whole number from 0"}
    GET /repos/default/default/-/events?since_seq=-1
      400 {"code":"BAD_REQUEST","error":"since_seq must be the position of an event, a whole number from 0"}
    Last-Event-ID
      400 {"code":"BAD_REQUEST","error":"Last-Event-ID must be the position of an event, a whole number from 0"}
    GET /repos/default/default/-/events?since_seq=1.5
      400 {"code":"BAD_REQUEST","error":"since_seq must be the position of an event, a whole number from 0"}
    Last-Event-ID
      400 {"code":"BAD_REQUEST","error":"Last-Event-ID must be the position of an event, a whole number from 0"}
    GET /repos/default/default/-/events?since_seq=9223372036854775808
      400 {"code":"BAD_REQUEST","error":"since_seq must be the position of an event, a whole number from 0"}
    Last-Event-ID
      400 {"code":"BAD_REQUEST","error":"Last-Event-ID must be the position of an event, a whole number from 0"}
    "#);
}

#[tokio::test]
async fn a_stream_may_be_about_some_types_or_one_repo() {
    let app = TestApp::start().await;
    let me = app.admin();
    branch(&me, REPO, "a").await;
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    commit(&me, REPO, "main", &[("x", Some("1"))]).await;
    commit(&me, "/repos/default/other/-", "main", &[("x", Some("1"))]).await;
    branch(&me, REPO, "b").await;
    let open = async |path: &str, count: usize| {
        let mut stream = Sse::open(&me, path, Some(0)).await;
        stream.take(count).await
    };
    assert_eq!(
        kinds(&open("/events", 6).await),
        ["branch.created", "org.created", "repo.created", "commit.created", "commit.created", "branch.created"]
    );
    let types = "com.docstore.commit.created,%20com.docstore.org.created,,com.docstore.none";
    assert_eq!(
        kinds(&open(&format!("/events?types={types}"), 3).await),
        ["org.created", "commit.created", "commit.created"]
    );
    assert_eq!(kinds(&open("/events?repo=default/other", 2).await), ["repo.created", "commit.created"]);
    assert_eq!(kinds(&open("/events?repo=/orgs/acme", 1).await), ["org.created"]);
    let own = open(&format!("{REPO}/events?types=com.docstore.branch.created"), 2).await;
    assert_eq!(kinds(&own), ["branch.created", "branch.created"]);
    // A prefix of a type is none.
    let mut exact = Sse::open(&me, "/events?types=com.docstore.branch,com.docstore.release.created", Some(0)).await;
    me.post(&format!("{REPO}/releases"), &json!({"name": "v1"})).await.expect(201);
    assert_eq!(exact.next().await.kind(), "release.created");
    // Who takes the name of a deleted repo does not get its events.
    me.delete("/repos/default/other").await.expect(204);
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    branch(&me, "/repos/default/other/-", "new").await;
    let inherited = open("/repos/default/other/-/events", 2).await;
    assert_eq!(kinds(&inherited), ["repo.created", "branch.created"]);
}

#[tokio::test]
async fn a_stopping_server_ends_its_streams_cleanly() {
    let mut app = TestApp::start().await;
    let me = app.admin();
    let mut idle = Sse::open(&me, "/events", None).await;
    let mut busy = Sse::open(&me, &format!("{REPO}/events"), Some(0)).await;
    branch(&me, REPO, "a").await;
    let seen = busy.next().await;
    // Stops and starts; stopping must end cleanly although streams are open.
    app.restart().await;
    // The idle one has the event as well, unless it came with the end.
    while idle.frame().await.is_some() {}
    assert_eq!(busy.frame().await, None);
    // A client that comes back goes on where it was.
    let me = app.admin();
    let mut again = Sse::open(&me, &format!("{REPO}/events"), Some(seen.position)).await;
    branch(&me, REPO, "b").await;
    assert_eq!(again.next().await.event["data"]["branch"], "b");
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let app = TestApp::start().await;
    let mut stream = Sse::open(&app.admin(), "/events", None).await;
    // From here on the clock jumps to the next time at which something is to happen.
    tokio::time::pause();
    assert_eq!(stream.frame().await.as_deref(), Some(": keepalive"));
    assert_eq!(stream.frame().await.as_deref(), Some(": keepalive"));
    tokio::time::resume();
    branch(&app.admin(), REPO, "a").await;
    assert_eq!(stream.next().await.kind(), "branch.created");
}

#[tokio::test]
async fn two_servers_show_each_others_events_once_and_in_one_order() {
    let app = TestApp::start().await;
    let replica: Replica = app.second_server().await;
    let (here, there) = (app.admin(), replica.person(ADMIN));
    let path = format!("{REPO}/events");
    let mut seen_here = Sse::open(&here, &path, None).await;
    let mut seen_there = Sse::open(&there, &path, None).await;
    let count = 24;
    let changes = (0..count).map(async |n| {
        let who = if n % 2 == 0 { &here } else { &there };
        branch(who, REPO, &format!("b{n}")).await;
    });
    futures::future::join_all(changes).await;
    let (one, other) = (seen_here.take(count).await, seen_there.take(count).await);
    assert_eq!(one, other);
    assert!(one.is_sorted_by(|event, next| event.position < next.position));
    let mut names: Vec<&str> = one.iter().map(|event| event.event["data"]["branch"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    // A client that changes over in the middle misses nothing and gets nothing twice.
    let middle = one[count / 2].position;
    assert_eq!(Sse::open(&there, &path, Some(middle)).await.take(count / 2 - 1).await, one[count / 2 + 1..]);
    assert_eq!(replica.stop().await, Outcome::Clean);
    while seen_there.frame().await.is_some() {}
    branch(&here, REPO, "last").await;
    assert_eq!(seen_here.next().await.event["data"]["branch"], "last");
}

#[tokio::test]
async fn a_caller_has_so_many_streams_and_gets_places_back() {
    let app =
        TestApp::start_with(&[("DOCSTORE_STREAMS_PER_CALLER_MAX", "2"), ("DOCSTORE_EVENT_STREAMS_MAX", "3")]).await;
    let me = app.admin();
    for name in [ADMIN, "you@example.com"] {
        me.put(&format!("{REPO}/roles/{name}"), &json!({"role": "admin"})).await.expect(200);
    }
    let path = format!("{REPO}/events");
    let first = Sse::open(&me, &path, None).await;
    let _second = Sse::open(&me, &path, None).await;
    let mut told = Transcript::new();
    let refused = told.get(&me, &path).await;
    assert_eq!(refused.headers["retry-after"], "1");
    let you = app.person("you@example.com");
    let _third = Sse::open(&you, &path, None).await;
    told.get(&you, &path).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/events
      429 {"code":"TOO_MANY_REQUESTS","error":"too many event streams are open for this caller; close some"}
    GET /repos/default/default/-/events
      503 {"code":"SERVICE_UNAVAILABLE","error":"event streaming temporarily unavailable"}
    "#);
    drop(first);
    // The place comes back as soon as the server sees that the client has gone.
    let freed = async {
        while me.request(Method::GET, &path).send().await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("a place is free again");
}

/// Waits for the clean end, whatever comes before it.
async fn ended(mut stream: Sse) {
    let to_the_end = async { while stream.frame().await.is_some() {} };
    tokio::time::timeout(PATIENCE, to_the_end).await.expect("the stream ends");
}

/// Sees that a stream is still told.
async fn goes_on(who: &Person, stream: &mut Sse, name: &str) {
    branch(who, REPO, name).await;
    stream.find(|seen| seen.event["data"]["branch"] == name).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_reader_loses_the_repo_and_the_others_go_on() {
    let app = TestApp::start().await;
    let replica = app.second_server().await;
    let (me, path) = (app.admin(), format!("{REPO}/events"));
    let (leaver, stayer) = (app.person("leaver@example.com"), app.person("stayer@example.com"));
    let role = async |name: &str, role: &str| {
        me.put(&format!("{REPO}/roles/{name}"), &json!({"role": role})).await.expect(200);
    };
    for name in [ADMIN, "stayer@example.com", "leaver@example.com"] {
        role(name, "admin").await;
    }
    let token = leaver.post("/tokens", &json!({"name": "t"})).await.expect(201);
    let mut here = Sse::open(&leaver, &path, None).await;
    let there = Sse::open(&replica.person("leaver@example.com"), &path, None).await;
    let by_token = Sse::open(&leaver.with_token(token["secret"].as_str().unwrap()), &path, None).await;
    let mut stays = Sse::open(&stayer, &path, None).await;
    let mut all = Sse::open(&me, "/events", None).await;
    role("leaver@example.com", "reader").await;
    goes_on(&me, &mut here, "less").await;
    me.delete(&format!("{REPO}/roles/leaver@example.com")).await.expect(204);
    for stream in [here, there, by_token] {
        ended(stream).await;
    }
    leaver.get(&path).await.expect(403);
    goes_on(&me, &mut stays, "more").await;
    // With the repo it ends for everybody, and a new one of its name is another.
    me.delete("/repos/default/default").await.expect(204);
    ended(stays).await;
    all.find(|seen| seen.kind() == "repo.deleted").await;
    me.post("/repos", &json!({"owner": "default", "name": "default"})).await.expect(201);
    all.find(|seen| seen.kind() == "repo.created").await;
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it_and_the_others_go_on() {
    let app = TestApp::start().await;
    let (me, path) = (app.admin(), format!("{REPO}/events"));
    let made = async |path: &str, name: &str| {
        let made = me.post(path, &json!({"name": name})).await.expect(201);
        let what = if path == "/tokens" { "token" } else { "agent" };
        let itself = format!("{path}/{}", made[what]["id"].as_str().unwrap());
        (itself, me.with_token(made["secret"].as_str().unwrap()))
    };
    let (revoked, by_revoked) = made("/tokens", "revoked").await;
    let (dismissed, by_agent) = made("/agents", "dismissed").await;
    let (_, by_expiring) = made("/tokens", "expiring").await;
    let (_, by_kept) = made("/tokens", "kept").await;
    let (of_revoked, of_agent) = (Sse::open(&by_revoked, &path, None).await, Sse::open(&by_agent, &path, None).await);
    let (mut kept, mut own) = (Sse::open(&by_kept, &path, None).await, Sse::open(&me, &path, None).await);
    me.delete(&revoked).await.expect(204);
    ended(of_revoked).await;
    by_revoked.get(&path).await.expect(401);
    me.delete(&dismissed).await.expect(204);
    ended(of_agent).await;
    by_agent.get(&path).await.expect(401);
    // Enough time to open it, however busy the machine is.
    sqlx::query("UPDATE tokens SET expires_at = now() + interval '10 seconds' WHERE name = 'expiring'")
        .execute(&app.pool().await)
        .await
        .unwrap();
    ended(Sse::open(&by_expiring, &path, None).await).await;
    by_expiring.get(&path).await.expect(401);
    goes_on(&me, &mut kept, "a").await;
    goes_on(&me, &mut own, "b").await;
}

#[tokio::test]
async fn a_stream_ends_when_its_reader_leaves_the_org() {
    let app = TestApp::start().await;
    let (me, member) = (app.admin(), app.person("member@example.com"));
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    me.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    let body = json!({"email": "member@example.com", "role": "member"});
    let invite = me.post("/orgs/acme/invites", &body).await.expect(201);
    let accept = format!("/orgs/acme/invites/{}/accept", invite["token"].as_str().unwrap());
    assert!(member.post(&accept, &json!({})).await.status.is_success());
    let path = "/repos/acme/app/-/events";
    let stream = Sse::open(&member, path, None).await;
    let mut own = Sse::open(&me, path, None).await;
    me.delete("/orgs/acme/members/member@example.com").await.expect(204);
    ended(stream).await;
    member.get(path).await.expect(403);
    branch(&me, "/repos/acme/app/-", "more").await;
    own.find(|seen| seen.kind() == "branch.created").await;
}

/// The global admin reads a repo as long as nobody administers it.
#[tokio::test]
async fn the_global_admins_stream_of_a_repo_ends_when_it_gets_an_admin() {
    let app = TestApp::start().await;
    let (me, path) = (app.admin(), format!("{REPO}/events"));
    let mut stream = Sse::open(&me, &path, None).await;
    goes_on(&me, &mut stream, "before").await;
    me.put(&format!("{REPO}/roles/you@example.com"), &json!({"role": "admin"})).await.expect(200);
    ended(stream).await;
    me.get(&path).await.expect(403);
}
