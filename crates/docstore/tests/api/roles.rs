//! `/repos/{repo}/-/roles`.

use docstore_test_support::{Person, TestApp};
use serde_json::json;

use crate::support::{
    Transcript,
    identities::{give_role, make_member},
};

const ROLES: &str = "/repos/acme/app/-/roles";

async fn repo(app: &TestApp) -> Person {
    let me = app.person("me@example.com");
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    me.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    me
}

#[tokio::test]
async fn roles_are_given_and_taken() {
    let app = TestApp::start().await;
    let me = repo(&app).await;
    let mut told = Transcript::new();
    told.get(&me, ROLES).await;
    told.put(&me, &format!("{ROLES}/you@example.com"), &json!({"role": "writer"})).await;
    told.put(&me, &format!("{ROLES}/you@example.com"), &json!({"role": "reader"})).await;
    told.put(&me, &format!("{ROLES}/a%2Fb:c@d"), &json!({"role": "maintainer"})).await;
    told.put(&me, &format!("{ROLES}/you@example.com"), &json!({"role": "owner"})).await;
    told.put(&me, &format!("{ROLES}/you@example.com"), &json!({})).await;
    told.put(&me, &format!("{ROLES}/a%0Ab"), &json!({"role": "reader"})).await;
    told.get(&me, ROLES).await;
    told.get(&me, &format!("{ROLES}?limit=1&after=a/b:c@d")).await;
    told.delete(&me, &format!("{ROLES}/a/b:c@d")).await;
    told.delete(&me, &format!("{ROLES}/nobody@example.com")).await;
    told.say("roles are the business of admins");
    told.get(&app.person("you@example.com"), ROLES).await;
    told.put(&app.person("you@example.com"), &format!("{ROLES}/you@example.com"), &json!({"role": "admin"})).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/acme/app/-/roles
      200 {"roles":[{"identity":"me@example.com","role":"admin"}]}
    PUT /repos/acme/app/-/roles/you@example.com {"role":"writer"}
      200 {"identity":"you@example.com","role":"writer"}
    PUT /repos/acme/app/-/roles/you@example.com {"role":"reader"}
      200 {"identity":"you@example.com","role":"reader"}
    PUT /repos/acme/app/-/roles/a%2Fb:c@d {"role":"maintainer"}
      200 {"identity":"a/b:c@d","role":"maintainer"}
    PUT /repos/acme/app/-/roles/you@example.com {"role":"owner"}
      400 {"code":"BAD_REQUEST","error":"invalid role; must be reader, writer, maintainer, or admin"}
    PUT /repos/acme/app/-/roles/you@example.com {}
      400 {"code":"BAD_REQUEST","error":"invalid role; must be reader, writer, maintainer, or admin"}
    PUT /repos/acme/app/-/roles/a%0Ab {"role":"reader"}
      400 {"code":"BAD_REQUEST","error":"identity holds a control character"}
    GET /repos/acme/app/-/roles
      200 {"roles":[{"identity":"a/b:c@d","role":"maintainer"},{"identity":"me@example.com","role":"admin"},{"identity":"you@example.com","role":"reader"}]}
    GET /repos/acme/app/-/roles?limit=1&after=a/b:c@d
      200 {"roles":[{"identity":"me@example.com","role":"admin"}]}
    DELETE /repos/acme/app/-/roles/a/b:c@d
      204
    DELETE /repos/acme/app/-/roles/nobody@example.com
      404 {"code":"NOT_FOUND","error":"role not found"}
    # roles are the business of admins
    GET /repos/acme/app/-/roles
      403 {"code":"FORBIDDEN","error":"forbidden"}
    PUT /repos/acme/app/-/roles/you@example.com {"role":"admin"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    "#);
}

#[tokio::test]
async fn somebody_can_always_give_roles() {
    let app = TestApp::start().await;
    let pool = app.pool().await;
    let mut told = Transcript::new();
    let me = repo(&app).await;
    let you = app.person("you@example.com");
    let mine = format!("{ROLES}/me@example.com");
    let yours = format!("{ROLES}/you@example.com");
    told.say("the creator of the org owns it, and so stays admin without a role of its own");
    told.delete(&me, &mine).await;
    told.get(&me, ROLES).await;
    told.say("but not with a lower one");
    told.put(&me, &mine, &json!({"role": "reader"})).await;
    told.put(&me, &yours, &json!({"role": "admin"})).await;
    told.put(&me, &mine, &json!({"role": "reader"})).await;
    told.say("now the other one is the last");
    told.put(&you, &yours, &json!({"role": "maintainer"})).await;
    told.delete(&you, &yours).await;
    told.delete(&you, &mine).await;
    told.delete(&you, &yours).await;
    told.say("an org without owners: the last admin stays, also when two go at once");
    make_member(&pool, "acme", "me@example.com", "member").await;
    for name in ["me@example.com", "you@example.com"] {
        give_role(&pool, "acme/app", name, "admin").await;
    }
    let (one, other) = tokio::join!(me.delete(&mine), you.delete(&yours));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    // Who comes second is either refused, or is no admin any more by then.
    assert!(matches!(statuses, [204, 403 | 409]), "{statuses:?}");
    told.say("the global admin may take away everything, and is then admin itself");
    let admin = app.admin();
    give_role(&pool, "acme/app", docstore_test_support::ADMIN, "admin").await;
    for name in ["me@example.com", "you@example.com"] {
        admin.delete(&format!("{ROLES}/{name}")).await;
    }
    told.delete(&admin, &format!("{ROLES}/{}", docstore_test_support::ADMIN)).await;
    told.get(&admin, ROLES).await;
    insta::assert_snapshot!(told, @r#"
    # the creator of the org owns it, and so stays admin without a role of its own
    DELETE /repos/acme/app/-/roles/me@example.com
      204
    GET /repos/acme/app/-/roles
      200 {"roles":[]}
    # but not with a lower one
    PUT /repos/acme/app/-/roles/me@example.com {"role":"reader"}
      409 {"code":"CONFLICT","error":"'me@example.com' is the last admin of the repo; make somebody else admin first"}
    PUT /repos/acme/app/-/roles/you@example.com {"role":"admin"}
      200 {"identity":"you@example.com","role":"admin"}
    PUT /repos/acme/app/-/roles/me@example.com {"role":"reader"}
      200 {"identity":"me@example.com","role":"reader"}
    # now the other one is the last
    PUT /repos/acme/app/-/roles/you@example.com {"role":"maintainer"}
      409 {"code":"CONFLICT","error":"'you@example.com' is the last admin of the repo; make somebody else admin first"}
    DELETE /repos/acme/app/-/roles/you@example.com
      409 {"code":"CONFLICT","error":"'you@example.com' is the last admin of the repo; make somebody else admin first"}
    DELETE /repos/acme/app/-/roles/me@example.com
      204
    DELETE /repos/acme/app/-/roles/you@example.com
      204
    # an org without owners: the last admin stays, also when two go at once
    # the global admin may take away everything, and is then admin itself
    DELETE /repos/acme/app/-/roles/admin@example.com
      204
    GET /repos/acme/app/-/roles
      200 {"roles":[]}
    "#);
}

#[tokio::test]
async fn an_explicit_role_counts_even_when_it_is_lower() {
    let app = TestApp::start().await;
    let pool = app.pool().await;
    repo(&app).await;
    make_member(&pool, "acme", "owner@example.com", "owner").await;
    make_member(&pool, "acme", "member@example.com", "member").await;
    let owner = app.person("owner@example.com");
    let member = app.person("member@example.com");
    owner.get(ROLES).await.expect(200);
    member.get("/repos/acme/app/-/tree").await.expect(200);
    member.post("/repos/acme/app/-/branch", &json!({"name": "x"})).await.expect(403);
    give_role(&pool, "acme/app", "owner@example.com", "reader").await;
    give_role(&pool, "acme/app", "member@example.com", "maintainer").await;
    owner.get(ROLES).await.expect(403);
    member.post("/repos/acme/app/-/branch", &json!({"name": "x"})).await.expect(201);
}

#[tokio::test]
async fn the_global_admin_is_admin_only_where_nobody_is() {
    let app = TestApp::start().await;
    let me = repo(&app).await;
    let admin = app.admin();
    let mut told = Transcript::new();
    told.get(&admin, ROLES).await;
    told.get(&admin, "/repos/default/default/-/roles").await;
    told.say("a repo that is not there is told apart only to it");
    told.get(&admin, "/repos/none/none/-/tree").await;
    told.get(&me, "/repos/none/none/-/tree").await;
    told.say("as soon as there is an admin, the global admin is nobody");
    told.put(&admin, "/repos/default/default/-/roles/me@example.com", &json!({"role": "admin"})).await;
    told.get(&admin, "/repos/default/default/-/roles").await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/acme/app/-/roles
      403 {"code":"FORBIDDEN","error":"forbidden"}
    GET /repos/default/default/-/roles
      200 {"roles":[]}
    # a repo that is not there is told apart only to it
    GET /repos/none/none/-/tree
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    GET /repos/none/none/-/tree
      403 {"code":"FORBIDDEN","error":"forbidden"}
    # as soon as there is an admin, the global admin is nobody
    PUT /repos/default/default/-/roles/me@example.com {"role":"admin"}
      200 {"identity":"me@example.com","role":"admin"}
    GET /repos/default/default/-/roles
      403 {"code":"FORBIDDEN","error":"forbidden"}
    "#);
}
