//! `/orgs`.

use docstore_test_support::TestApp;
use serde_json::json;

use crate::support::Transcript;

#[tokio::test]
async fn orgs_are_created_listed_and_deleted() {
    let app = TestApp::start().await;
    let me = app.person("me@example.com");
    let mut told = Transcript::new();
    told.post(&me, "/orgs", &json!({"name": "acme"})).await;
    told.post(&me, "/orgs", &json!({"name": "acme"})).await;
    told.post(&me, "/orgs", &json!({"name": "beta", "created_by": "somebody@example.com"})).await;
    for name in ["", "a/b", "a b", " ", "a:b", "a@b", ".", "..", "-", ".git", "x".repeat(65).as_str()] {
        told.post(&me, "/orgs", &json!({"name": name})).await;
    }
    told.get(&me, "/orgs").await;
    told.get(&me, "/orgs?limit=1&after=acme").await;
    told.get(&me, "/orgs/acme").await;
    told.get(&me, "/orgs/acme/repos").await;
    told.get(&me, "/orgs/gamma/repos").await;
    told.say("only owners delete, and only what is empty");
    told.delete(&app.person("you@example.com"), "/orgs/acme").await;
    told.post(&me, "/repos", &json!({"owner": "acme", "name": "app"})).await;
    told.get(&me, "/orgs/acme/repos").await;
    told.delete(&me, "/orgs/acme").await;
    told.delete(&me, "/repos/acme/app").await;
    told.delete(&me, "/orgs/acme").await;
    told.delete(&me, "/orgs/acme").await;
    told.say("the name is free, and whoever takes it inherits nothing");
    let you = app.person("you@example.com");
    told.post(&you, "/orgs", &json!({"name": "acme"})).await;
    told.post(&me, "/repos", &json!({"owner": "acme", "name": "app"})).await;
    told.delete(&me, "/orgs/acme").await;
    told.say("the last resort");
    told.delete(&app.admin(), "/orgs/acme").await;
    insta::assert_snapshot!(told, @r#"
    POST /orgs {"name":"acme"}
      201 {"created_at":"TIME","created_by":"me@example.com","name":"acme"}
    POST /orgs {"name":"acme"}
      409 {"code":"ORG_EXISTS","error":"org already exists"}
    POST /orgs {"created_by":"somebody@example.com","name":"beta"}
      201 {"created_at":"TIME","created_by":"me@example.com","name":"beta"}
    POST /orgs {"name":""}
      400 {"code":"BAD_REQUEST","error":"name is required"}
    POST /orgs {"name":"a/b"}
      400 {"code":"BAD_REQUEST","error":"org name may not contain '/'"}
    POST /orgs {"name":"a b"}
      400 {"code":"BAD_REQUEST","error":"org name 'a b' may not contain ' '"}
    POST /orgs {"name":" "}
      400 {"code":"BAD_REQUEST","error":"org name ' ' may not contain ' '"}
    POST /orgs {"name":"a:b"}
      400 {"code":"BAD_REQUEST","error":"org name 'a:b' may not contain ':'"}
    POST /orgs {"name":"a@b"}
      400 {"code":"BAD_REQUEST","error":"org name 'a@b' may not contain '@'"}
    POST /orgs {"name":"."}
      400 {"code":"BAD_REQUEST","error":"org name '.' has a segment that starts or ends with '.'"}
    POST /orgs {"name":".."}
      400 {"code":"BAD_REQUEST","error":"org name '..' has a segment that starts or ends with '.'"}
    POST /orgs {"name":"-"}
      400 {"code":"BAD_REQUEST","error":"org name '-' has the reserved segment '-'"}
    POST /orgs {"name":".git"}
      400 {"code":"BAD_REQUEST","error":"org name '.git' has a segment that starts or ends with '.'"}
    POST /orgs {"name":"x*65"}
      400 {"code":"BAD_REQUEST","error":"org name 'x*65' is longer than 64 bytes"}
    GET /orgs
      200 {"orgs":[{"created_at":"TIME","created_by":"me@example.com","name":"acme"},{"created_at":"TIME","created_by":"me@example.com","name":"beta"},{"created_at":"TIME","created_by":"system","name":"default"}]}
    GET /orgs?limit=1&after=acme
      200 {"orgs":[{"created_at":"TIME","created_by":"me@example.com","name":"beta"}]}
    GET /orgs/acme
      200 {"created_at":"TIME","created_by":"me@example.com","name":"acme"}
    GET /orgs/acme/repos
      200 {"repos":[]}
    GET /orgs/gamma/repos
      404 {"code":"ORG_NOT_FOUND","error":"org not found"}
    # only owners delete, and only what is empty
    DELETE /orgs/acme
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    POST /repos {"name":"app","owner":"acme"}
      201 {"created_at":"TIME","created_by":"me@example.com","name":"acme/app","owner":"acme"}
    GET /orgs/acme/repos
      200 {"repos":[{"created_at":"TIME","created_by":"me@example.com","name":"acme/app","owner":"acme"}]}
    DELETE /orgs/acme
      409 {"code":"CONFLICT","error":"org has repos; delete them first"}
    DELETE /repos/acme/app
      204
    DELETE /orgs/acme
      204
    DELETE /orgs/acme
      404 {"code":"ORG_NOT_FOUND","error":"org not found"}
    # the name is free, and whoever takes it inherits nothing
    POST /orgs {"name":"acme"}
      201 {"created_at":"TIME","created_by":"you@example.com","name":"acme"}
    POST /repos {"name":"app","owner":"acme"}
      403 {"code":"FORBIDDEN","error":"forbidden: not an org member"}
    DELETE /orgs/acme
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    # the last resort
    DELETE /orgs/acme
      204
    "#);
}
