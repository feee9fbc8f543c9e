//! `/repos`.

use docstore_test_support::TestApp;
use serde_json::json;

use crate::support::{Transcript, branch, commit, identities::make_member};

#[tokio::test]
async fn repos_are_created_listed_and_deleted() {
    let app = TestApp::start().await;
    let me = app.person("me@example.com");
    let you = app.person("you@example.com");
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    let mut told = Transcript::new();
    told.post(&me, "/repos", &json!({"owner": "acme", "name": "app", "created_by": "you@example.com"})).await;
    told.post(&me, "/repos", &json!({"owner": "acme", "name": "app"})).await;
    told.post(&me, "/repos", &json!({"owner": "acme", "name": "team/app"})).await;
    told.post(&you, "/repos", &json!({"owner": "acme", "name": "mine"})).await;
    told.post(&me, "/repos", &json!({"owner": "none", "name": "app"})).await;
    for (owner, name) in [
        ("", "app"),
        ("acme", ""),
        ("acme/team", "app"),
        ("acme", "/x"),
        ("acme", "x/"),
        ("acme", "a//b"),
        ("acme", "p/-/r"),
        ("acme", ".."),
        ("acme", "a b"),
        ("acme", "a:b"),
        ("acme", "x".repeat(251).as_str()),
    ] {
        told.post(&me, "/repos", &json!({"owner": owner, "name": name})).await;
    }
    told.get(&you, "/repos").await;
    told.get(&you, "/repos?limit=1&after=acme/app").await;
    told.get(&you, "/repos/acme/team/app").await;
    told.say("a member creates, but does not administer what others created");
    make_member(&app.pool().await, "acme", "you@example.com", "member").await;
    told.post(&you, "/repos", &json!({"owner": "acme", "name": "mine"})).await;
    told.delete(&you, "/repos/acme/app").await;
    told.delete(&you, "/repos/acme/mine/-/").await;
    told.delete(&me, "/repos/acme/team/app").await;
    told.delete(&me, "/repos/acme/team/app").await;
    told.get(&me, "/repos/acme/team/app").await;
    told.say("in the org of a new database everybody creates, while it has no members");
    told.post(&you, "/repos", &json!({"owner": "default", "name": "mine"})).await;
    told.delete(&app.admin(), "/repos/default/mine").await;
    make_member(&app.pool().await, "default", "me@example.com", "owner").await;
    told.post(&you, "/repos", &json!({"owner": "default", "name": "mine"})).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos {"created_by":"you@example.com","name":"app","owner":"acme"}
      201 {"created_at":"TIME","created_by":"me@example.com","name":"acme/app","owner":"acme"}
    POST /repos {"name":"app","owner":"acme"}
      409 {"code":"REPO_EXISTS","error":"repo already exists"}
    POST /repos {"name":"team/app","owner":"acme"}
      201 {"created_at":"TIME","created_by":"me@example.com","name":"acme/team/app","owner":"acme"}
    POST /repos {"name":"mine","owner":"acme"}
      403 {"code":"FORBIDDEN","error":"forbidden: not an org member"}
    POST /repos {"name":"app","owner":"none"}
      404 {"code":"ORG_NOT_FOUND","error":"org not found"}
    POST /repos {"name":"app","owner":""}
      400 {"code":"BAD_REQUEST","error":"owner is required"}
    POST /repos {"name":"","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"name is required"}
    POST /repos {"name":"app","owner":"acme/team"}
      400 {"code":"BAD_REQUEST","error":"owner must match first segment of repo name"}
    POST /repos {"name":"/x","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"repo name 'acme//x' has an empty segment"}
    POST /repos {"name":"x/","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"repo name 'acme/x/' has an empty segment"}
    POST /repos {"name":"a//b","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"repo name 'acme/a//b' has an empty segment"}
    POST /repos {"name":"p/-/r","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"repo name 'acme/p/-/r' has the reserved segment '-'"}
    POST /repos {"name":"..","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"repo name 'acme/..' has a segment that starts or ends with '.'"}
    POST /repos {"name":"a b","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"repo name 'acme/a b' may not contain ' '"}
    POST /repos {"name":"a:b","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"repo name 'acme/a:b' may not contain ':'"}
    POST /repos {"name":"x*251","owner":"acme"}
      400 {"code":"BAD_REQUEST","error":"repo name 'acme/x*75' is longer than 255 bytes"}
    GET /repos
      200 {"repos":[{"created_at":"TIME","created_by":"me@example.com","name":"acme/app","owner":"acme"},{"created_at":"TIME","created_by":"me@example.com","name":"acme/team/app","owner":"acme"},{"created_at":"TIME","created_by":"system","name":"default/default","owner":"default"}]}
    GET /repos?limit=1&after=acme/app
      200 {"repos":[{"created_at":"TIME","created_by":"me@example.com","name":"acme/team/app","owner":"acme"}]}
    GET /repos/acme/team/app
      200 {"created_at":"TIME","created_by":"me@example.com","name":"acme/team/app","owner":"acme"}
    # a member creates, but does not administer what others created
    POST /repos {"name":"mine","owner":"acme"}
      201 {"created_at":"TIME","created_by":"you@example.com","name":"acme/mine","owner":"acme"}
    DELETE /repos/acme/app
      403 {"code":"FORBIDDEN","error":"forbidden"}
    DELETE /repos/acme/mine/-/
      204
    DELETE /repos/acme/team/app
      204
    DELETE /repos/acme/team/app
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    GET /repos/acme/team/app
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    # in the org of a new database everybody creates, while it has no members
    POST /repos {"name":"mine","owner":"default"}
      201 {"created_at":"TIME","created_by":"you@example.com","name":"default/mine","owner":"default"}
    DELETE /repos/default/mine
      204
    POST /repos {"name":"mine","owner":"default"}
      403 {"code":"FORBIDDEN","error":"forbidden: not an org member"}
    "#);
}

#[tokio::test]
async fn a_new_repo_inherits_nothing_from_a_deleted_one() {
    let app = TestApp::start().await;
    let me = app.person("me@example.com");
    let you = app.person("you@example.com");
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    me.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    let repo = "/repos/acme/app/-";
    let secret = "x".repeat(5000);
    commit(&me, repo, "main", &[("secret", Some(&secret))]).await;
    branch(&me, repo, "topic").await;
    me.put(&format!("{repo}/roles/you@example.com"), &json!({"role": "admin"})).await.expect(200);
    me.post(&format!("{repo}/releases"), &json!({"name": "v1"})).await.expect(201);
    me.delete("/repos/acme/app").await.expect(204);
    me.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);

    you.get(&format!("{repo}/tree")).await.expect(403);
    let mut told = Transcript::new();
    for path in ["tree", "branches", "releases", "roles", "commits", "chain?from=1&to=100"] {
        told.get(&me, &format!("{repo}/{path}")).await;
    }
    told.say("not even by hash");
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&secret));
    told.post(&me, &format!("{repo}/contents/missing"), &json!({"hashes": [hash]})).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/acme/app/-/tree
      200 []
    GET /repos/acme/app/-/branches
      200 [{"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":0,"name":"main","repo":"acme/app","status":"active"}]
    GET /repos/acme/app/-/releases
      200 {"releases":[]}
    GET /repos/acme/app/-/roles
      200 {"roles":[{"identity":"me@example.com","role":"admin"}]}
    GET /repos/acme/app/-/commits
      200 {"commits":[]}
    GET /repos/acme/app/-/chain?from=1&to=100
      200 []
    # not even by hash
    POST /repos/acme/app/-/contents/missing {"hashes":["HASH-1"]}
      200 {"missing":["HASH-1"]}
    "#);
}
