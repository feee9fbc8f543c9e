//! `/orgs/{org}/members` and `/orgs/{org}/invites`.

use docstore_test_support::{Person, TestApp};
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::support::Transcript;

/// A server with the org `acme` of one owner, and somebody from outside.
async fn world() -> (TestApp, Person, Person) {
    let app = TestApp::start().await;
    let (owner, other) = (app.person("owner@example.com"), app.person("other@example.com"));
    owner.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    (app, owner, other)
}

async fn invite(owner: &Person, email: &str, role: &str) -> Value {
    owner.post("/orgs/acme/invites", &json!({"email": email, "role": role})).await.expect(201)
}

fn accept_path(invite: &Value) -> String {
    format!("/orgs/acme/invites/{}/accept", invite["token"].as_str().unwrap())
}

#[tokio::test]
async fn members_come_change_and_go() {
    let (app, owner, other) = world().await;
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    told.post(&owner, "/orgs/acme/members/ann@example.com", &json!({"role": "member"})).await;
    told.post(&owner, "/orgs/acme/members/team%2Fbot@example.com", &json!({"role": "member"})).await;
    told.say("again, and with another role");
    told.post(&owner, "/orgs/acme/members/ann@example.com", &json!({"role": "member"})).await;
    told.post(&owner, "/orgs/acme/members/ann@example.com", &json!({"role": "owner"})).await;
    told.get(&app.person("team/bot@example.com"), "/orgs/acme/members").await;
    told.get(&owner, "/orgs/acme/members?limit=1&after=ann@example.com").await;
    told.say("what cannot be");
    told.post(&owner, "/orgs/acme/members/ann@example.com", &json!({"role": "boss"})).await;
    told.post(&owner, "/orgs/acme/members/ann@example.com", &json!({})).await;
    told.post(&owner, "/orgs/acme/members/a%0Ab", &json!({"role": "member"})).await;
    told.post(&owner, "/orgs/none/members/ann@example.com", &json!({"role": "member"})).await;
    told.delete(&owner, "/orgs/acme/members/nobody@example.com").await;
    told.say("for whom it is not");
    told.get(&other, "/orgs/acme/members").await;
    told.post(&other, "/orgs/acme/members/other@example.com", &json!({"role": "owner"})).await;
    told.post(
        &app.person("team/bot@example.com"),
        "/orgs/acme/members/team%2Fbot@example.com",
        &json!({"role": "owner"}),
    )
    .await;
    told.delete(&app.person("team/bot@example.com"), "/orgs/acme/members/owner@example.com").await;
    told.get(&other, "/orgs/none/members").await;
    told.say("leaving");
    told.delete(&owner, "/orgs/acme/members/team%2Fbot@example.com").await;
    told.delete(&app.person("ann@example.com"), "/orgs/acme/members/owner@example.com").await;
    told.get(&owner, "/orgs/acme/members").await;
    told.events(&app).await;
    insta::assert_snapshot!(told, @r#"
    POST /orgs/acme/members/ann@example.com {"role":"member"}
      200 {"created_at":"TIME","identity":"ann@example.com","invited_by":"owner@example.com","org":"acme","role":"member"}
    POST /orgs/acme/members/team%2Fbot@example.com {"role":"member"}
      200 {"created_at":"TIME","identity":"team/bot@example.com","invited_by":"owner@example.com","org":"acme","role":"member"}
    # again, and with another role
    POST /orgs/acme/members/ann@example.com {"role":"member"}
      200 {"created_at":"TIME","identity":"ann@example.com","invited_by":"owner@example.com","org":"acme","role":"member"}
    POST /orgs/acme/members/ann@example.com {"role":"owner"}
      200 {"created_at":"TIME","identity":"ann@example.com","invited_by":"owner@example.com","org":"acme","role":"owner"}
    GET /orgs/acme/members
      200 {"members":[{"created_at":"TIME","identity":"ann@example.com","invited_by":"owner@example.com","org":"acme","role":"owner"},{"created_at":"TIME","identity":"owner@example.com","invited_by":"owner@example.com","org":"acme","role":"owner"},{"created_at":"TIME","identity":"team/bot@example.com","invited_by":"owner@example.com","org":"acme","role":"member"}]}
    GET /orgs/acme/members?limit=1&after=ann@example.com
      200 {"members":[{"created_at":"TIME","identity":"owner@example.com","invited_by":"owner@example.com","org":"acme","role":"owner"}]}
    # what cannot be
    POST /orgs/acme/members/ann@example.com {"role":"boss"}
      400 {"code":"BAD_REQUEST","error":"invalid role; must be 'owner' or 'member'"}
    POST /orgs/acme/members/ann@example.com {}
      400 {"code":"BAD_REQUEST","error":"invalid role; must be 'owner' or 'member'"}
    POST /orgs/acme/members/a%0Ab {"role":"member"}
      400 {"code":"BAD_REQUEST","error":"identity holds a control character"}
    POST /orgs/none/members/ann@example.com {"role":"member"}
      404 {"code":"ORG_NOT_FOUND","error":"org not found"}
    DELETE /orgs/acme/members/nobody@example.com
      404 {"code":"NOT_FOUND","error":"member not found"}
    # for whom it is not
    GET /orgs/acme/members
      403 {"code":"FORBIDDEN","error":"forbidden: not an org member"}
    POST /orgs/acme/members/other@example.com {"role":"owner"}
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    POST /orgs/acme/members/team%2Fbot@example.com {"role":"owner"}
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    DELETE /orgs/acme/members/owner@example.com
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    GET /orgs/none/members
      404 {"code":"ORG_NOT_FOUND","error":"org not found"}
    # leaving
    DELETE /orgs/acme/members/team%2Fbot@example.com
      204
    DELETE /orgs/acme/members/owner@example.com
      204
    GET /orgs/acme/members
      403 {"code":"FORBIDDEN","error":"forbidden: not an org member"}
    ! /orgs/acme org.member.added {"added_by":"owner@example.com","identity":"ann@example.com","org":"acme","role":"member"}
    ! /orgs/acme org.member.added {"added_by":"owner@example.com","identity":"team/bot@example.com","org":"acme","role":"member"}
    ! /orgs/acme org.member.added {"added_by":"owner@example.com","identity":"ann@example.com","org":"acme","role":"owner"}
    ! /orgs/acme org.member.removed {"identity":"team/bot@example.com","org":"acme","removed_by":"owner@example.com"}
    ! /orgs/acme org.member.removed {"identity":"owner@example.com","org":"acme","removed_by":"ann@example.com"}
    "#);
}

#[tokio::test]
async fn the_last_owner_stays() {
    let (app, owner, _other) = world().await;
    let mut told = Transcript::new();
    told.delete(&owner, "/orgs/acme/members/owner@example.com").await;
    told.post(&owner, "/orgs/acme/members/owner@example.com", &json!({"role": "member"})).await;
    told.post(&owner, "/orgs/acme/members/owner@example.com", &json!({"role": "owner"})).await;
    told.post(&owner, "/orgs/acme/members/ann@example.com", &json!({"role": "owner"})).await;
    told.say("now there is another one");
    told.post(&owner, "/orgs/acme/members/owner@example.com", &json!({"role": "member"})).await;
    told.delete(&owner, "/orgs/acme/members/ann@example.com").await;
    told.say("the global admin may: they can give it back");
    told.delete(&app.admin(), "/orgs/acme/members/ann@example.com").await;
    told.post(&app.admin(), "/orgs/acme/members/owner@example.com", &json!({"role": "owner"})).await;
    insta::assert_snapshot!(told, @r#"
    DELETE /orgs/acme/members/owner@example.com
      409 {"code":"CONFLICT","error":"'owner@example.com' is the last owner of the org; make somebody else owner first"}
    POST /orgs/acme/members/owner@example.com {"role":"member"}
      409 {"code":"CONFLICT","error":"'owner@example.com' is the last owner of the org; make somebody else owner first"}
    POST /orgs/acme/members/owner@example.com {"role":"owner"}
      200 {"created_at":"TIME","identity":"owner@example.com","invited_by":"owner@example.com","org":"acme","role":"owner"}
    POST /orgs/acme/members/ann@example.com {"role":"owner"}
      200 {"created_at":"TIME","identity":"ann@example.com","invited_by":"owner@example.com","org":"acme","role":"owner"}
    # now there is another one
    POST /orgs/acme/members/owner@example.com {"role":"member"}
      200 {"created_at":"TIME","identity":"owner@example.com","invited_by":"owner@example.com","org":"acme","role":"member"}
    DELETE /orgs/acme/members/ann@example.com
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    # the global admin may: they can give it back
    DELETE /orgs/acme/members/ann@example.com
      204
    POST /orgs/acme/members/owner@example.com {"role":"owner"}
      200 {"created_at":"TIME","identity":"owner@example.com","invited_by":"owner@example.com","org":"acme","role":"owner"}
    "#);
}

#[tokio::test]
async fn leaving_and_stepping_down_can_be_sent_again() {
    let (_app, owner, _other) = world().await;
    for name in ["ann@example.com", "bob@example.com"] {
        owner.post(&format!("/orgs/acme/members/{name}"), &json!({"role": "owner"})).await.expect(200);
    }
    let mut told = Transcript::new();
    for _ in 0..2 {
        let down = r#"{"role":"member"}"#;
        let key = [("idempotency-key", "down")];
        told.send_with(&owner, Method::POST, "/orgs/acme/members/owner@example.com", &key, down).await;
    }
    told.delete(&owner, "/orgs/acme/members/owner@example.com").await;
    insta::assert_snapshot!(told, @r#"
    POST /orgs/acme/members/owner@example.com idempotency-key: down {"role":"member"}
      200 {"created_at":"TIME","identity":"owner@example.com","invited_by":"owner@example.com","org":"acme","role":"member"}
    POST /orgs/acme/members/owner@example.com idempotency-key: down {"role":"member"}
      200 {"created_at":"TIME","identity":"owner@example.com","invited_by":"owner@example.com","org":"acme","role":"member"}
    DELETE /orgs/acme/members/owner@example.com
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    "#);
}

#[tokio::test]
async fn two_owners_who_remove_each_other_leave_one() {
    let (app, owner, other) = world().await;
    for _ in 0..5 {
        owner.post("/orgs/acme/members/other@example.com", &json!({"role": "owner"})).await.expect(200);
        let answers = tokio::join!(
            owner.delete("/orgs/acme/members/other@example.com"),
            other.delete("/orgs/acme/members/owner@example.com"),
        );
        let mut statuses = [answers.0.status.as_u16(), answers.1.status.as_u16()];
        statuses.sort_unstable();
        // Who comes last is the last owner's enemy, or an owner no more.
        assert!(matches!(statuses, [204, 403 | 409]), "{statuses:?}");
        let left = app.admin().get("/orgs/acme/members").await.expect(200);
        let left = left["members"].as_array().unwrap();
        assert_eq!((left.len(), &left[0]["role"]), (1, &json!("owner")));
        app.admin().post("/orgs/acme/members/owner@example.com", &json!({"role": "owner"})).await.expect(200);
    }
}

#[tokio::test]
async fn invitations_are_made_listed_accepted_and_taken_back() {
    let (app, owner, other) = world().await;
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    let path = "/orgs/acme/invites";
    let made = told.post(&owner, path, &json!({"email": "Other@Example.com", "role": "member"})).await.json();
    let token = made["token"].as_str().unwrap();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    told.say("no list shows the token");
    let list = told.get(&owner, path).await;
    assert!(!list.text.contains(token));
    told.say("what cannot be");
    for body in [
        json!({}),
        json!({"email": "a@b"}),
        json!({"email": "a@b", "role": "x"}),
        json!({"email": "a\nb", "role": "member"}),
    ] {
        told.post(&owner, path, &body).await;
    }
    told.post(&owner, "/orgs/none/invites", &json!({"email": "a@b", "role": "member"})).await;
    told.get(&owner, &format!("{path}?limit=0")).await;
    told.get(&owner, &format!("{path}?after=x")).await;
    told.say("for whom it is not");
    told.get(&other, path).await;
    told.post(&other, path, &json!({"email": "a@b", "role": "owner"})).await;
    told.delete(&other, &format!("{path}/{}", made["id"].as_str().unwrap())).await;
    told.post(&app.person("thief@example.com"), &accept_path(&made), &json!({})).await;
    told.post(&other, "/orgs/acme/invites/0000/accept", &json!({})).await;
    told.post(&other, &accept_path(&made).replace("acme", "default"), &json!({})).await;
    told.say("the invited one, whatever the case");
    told.send(&other, Method::POST, &accept_path(&made), &Value::Null).await;
    told.post(&other, &accept_path(&made), &json!({})).await;
    told.get(&other, "/orgs/acme/members").await;
    told.get(&owner, path).await;
    told.say("taking back");
    let second = invite(&owner, "second@example.com", "owner").await;
    told.delete(&owner, &format!("{path}/{}", second["id"].as_str().unwrap())).await;
    told.delete(&owner, &format!("{path}/{}", second["id"].as_str().unwrap())).await;
    told.delete(&owner, &format!("{path}/x")).await;
    told.post(&app.person("second@example.com"), &accept_path(&second), &json!({})).await;
    told.say("one that was accepted goes as well, and its member stays");
    told.delete(&owner, &format!("{path}/{}", made["id"].as_str().unwrap())).await;
    told.get(&other, "/orgs/acme/members?limit=1").await;
    told.events(&app).await;
    insta::assert_snapshot!(told, @r#"
    POST /orgs/acme/invites {"email":"Other@Example.com","role":"member"}
      201 {"id":"ID-1","token":"HASH-1"}
    # no list shows the token
    GET /orgs/acme/invites
      200 {"invites":[{"created_at":"TIME","email":"Other@Example.com","expires_at":"TIME","id":"ID-1","invited_by":"owner@example.com","org":"acme","role":"member"}]}
    # what cannot be
    POST /orgs/acme/invites {}
      400 {"code":"BAD_REQUEST","error":"email is required"}
    POST /orgs/acme/invites {"email":"a@b"}
      400 {"code":"BAD_REQUEST","error":"invalid role; must be 'owner' or 'member'"}
    POST /orgs/acme/invites {"email":"a@b","role":"x"}
      400 {"code":"BAD_REQUEST","error":"invalid role; must be 'owner' or 'member'"}
    POST /orgs/acme/invites {"email":"a\nb","role":"member"}
      400 {"code":"BAD_REQUEST","error":"identity holds a control character"}
    POST /orgs/none/invites {"email":"a@b","role":"member"}
      404 {"code":"ORG_NOT_FOUND","error":"org not found"}
    GET /orgs/acme/invites?limit=0
      400 {"code":"BAD_REQUEST","error":"invalid 'limit' parameter"}
    GET /orgs/acme/invites?after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    # for whom it is not
    GET /orgs/acme/invites
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    POST /orgs/acme/invites {"email":"a@b","role":"owner"}
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    DELETE /orgs/acme/invites/ID-1
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    POST /orgs/acme/invites/HASH-1/accept {}
      403 {"code":"FORBIDDEN","error":"identity does not match invite email"}
    POST /orgs/acme/invites/0000/accept {}
      404 {"code":"INVITE_NOT_FOUND","error":"invite not found"}
    POST /orgs/default/invites/HASH-1/accept {}
      404 {"code":"INVITE_NOT_FOUND","error":"invite not found"}
    # the invited one, whatever the case
    POST /orgs/acme/invites/HASH-1/accept
      204
    POST /orgs/acme/invites/HASH-1/accept {}
      409 {"code":"CONFLICT","error":"invite already accepted"}
    GET /orgs/acme/members
      200 {"members":[{"created_at":"TIME","identity":"other@example.com","invited_by":"owner@example.com","org":"acme","role":"member"},{"created_at":"TIME","identity":"owner@example.com","invited_by":"owner@example.com","org":"acme","role":"owner"}]}
    GET /orgs/acme/invites
      200 {"invites":[]}
    # taking back
    DELETE /orgs/acme/invites/ID-2
      204
    DELETE /orgs/acme/invites/ID-2
      404 {"code":"INVITE_NOT_FOUND","error":"invite not found"}
    DELETE /orgs/acme/invites/x
      404 {"code":"INVITE_NOT_FOUND","error":"invite not found"}
    POST /orgs/acme/invites/HASH-2/accept {}
      404 {"code":"INVITE_NOT_FOUND","error":"invite not found"}
    # one that was accepted goes as well, and its member stays
    DELETE /orgs/acme/invites/ID-1
      204
    GET /orgs/acme/members?limit=1
      200 {"members":[{"created_at":"TIME","identity":"other@example.com","invited_by":"owner@example.com","org":"acme","role":"member"}]}
    ! /orgs/acme org.invite.created {"email":"Other@Example.com","invite_id":"ID-1","invited_by":"owner@example.com","org":"acme","role":"member"}
    ! /orgs/acme org.member.added {"added_by":"owner@example.com","identity":"other@example.com","org":"acme","role":"member"}
    ! /orgs/acme org.invite.accepted {"identity":"other@example.com","invite_id":"ID-1","org":"acme"}
    ! /orgs/acme org.invite.created {"email":"second@example.com","invite_id":"ID-2","invited_by":"owner@example.com","org":"acme","role":"owner"}
    ! /orgs/acme org.invite.revoked {"invite_id":"ID-2","org":"acme","revoked_by":"owner@example.com"}
    ! /orgs/acme org.invite.revoked {"invite_id":"ID-1","org":"acme","revoked_by":"owner@example.com"}
    "#);
}

#[tokio::test]
async fn an_invitation_runs_out_after_seven_days() {
    let (app, owner, other) = world().await;
    let made = invite(&owner, "other@example.com", "member").await;
    let pool = app.pool().await;
    let (days,): (f64,) =
        sqlx::query_as("SELECT extract(epoch FROM expires_at - created_at)::float8 / 86400 FROM org_invites")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!((6.99..7.01).contains(&days), "{days}");
    sqlx::query("UPDATE org_invites SET expires_at = now()").execute(&pool).await.unwrap();
    let mut told = Transcript::new();
    told.post(&other, &accept_path(&made), &json!({})).await;
    told.get(&owner, "/orgs/acme/invites").await;
    insta::assert_snapshot!(told, @r#"
    POST /orgs/acme/invites/HASH-1/accept {}
      410 {"code":"GONE","error":"invite expired"}
    GET /orgs/acme/invites
      200 {"invites":[]}
    "#);
}

#[tokio::test]
async fn an_invitation_never_lowers_anybody() {
    let (_app, owner, _other) = world().await;
    let made = invite(&owner, "owner@example.com", "member").await;
    owner.post(&accept_path(&made), &json!({})).await.expect(204);
    let members = owner.get("/orgs/acme/members").await.expect(200);
    assert_eq!(members["members"][0]["role"], "owner");
    let raised = invite(&owner, "other@example.com", "member").await;
    assert!(raised["id"].is_string());
}

#[tokio::test]
async fn an_invitation_is_accepted_once() {
    let (app, owner, other) = world().await;
    let replica = app.second_server().await;
    let there = replica.person("other@example.com");
    for _ in 0..5 {
        let path = accept_path(&invite(&owner, "other@example.com", "member").await);
        let answers = join_all([&other, &there, &other, &there].map(|who| who.post(&path, &Value::Null))).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409, 409, 409]);
    }
    let count = |kind: &'static str| {
        let app = &app;
        async move {
            let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM event_log WHERE type = $1")
                .bind(format!("com.docstore.{kind}"))
                .fetch_one(&app.pool().await)
                .await
                .unwrap();
            count
        }
    };
    assert_eq!((count("org.invite.accepted").await, count("org.member.added").await), (5, 1));
    replica.stop().await;
}

#[tokio::test]
async fn a_token_is_nowhere_but_with_whom_it_was_told() {
    let (app, owner, other) = world().await;
    let body = r#"{"email":"other@example.com","role":"member"}"#;
    let send = async || {
        let request = owner.request(Method::POST, "/orgs/acme/invites").header("Idempotency-Key", "one").body(body);
        docstore_test_support::Answer::of(request).await.expect(201)
    };
    let first = send().await;
    let again = send().await;
    assert_eq!(first["id"], again["id"], "one invitation");
    assert_ne!(first["token"], again["token"], "the lost token was never kept");
    let pool = app.pool().await;
    for table in ["org_invites", "idempotency_keys", "event_log"] {
        let rows: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t")))
            .fetch_all(&pool)
            .await
            .unwrap();
        for (row,) in rows {
            for told in [&first, &again] {
                assert!(!row.contains(told["token"].as_str().unwrap()), "{table}: {row}");
            }
        }
    }
    other.post(&accept_path(&first), &json!({})).await.expect(404);
    other.post(&accept_path(&again), &json!({})).await.expect(204);
    let late = owner.request(Method::POST, "/orgs/acme/invites").header("Idempotency-Key", "one").body(body);
    let late = docstore_test_support::Answer::of(late).await.expect(410);
    assert_eq!(late["error"], "the invite was accepted or revoked");
}

#[tokio::test]
async fn invitations_and_members_go_with_their_org() {
    let (app, owner, _other) = world().await;
    invite(&owner, "other@example.com", "member").await;
    owner.delete("/orgs/acme").await.expect(204);
    let pool = app.pool().await;
    for table in ["org_invites", "org_members"] {
        let count: (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(count.0, 0, "{table}");
    }
}
