//! A server that verifies people, and people with every kind of credential.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use docstore_auth::{
    system_clock,
    testing::{TestIssuer, TestKey},
};
use docstore_test_support::{Answer, Person, TestApp};
use http::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A server without development identity, its identity provider, and the stand-in for Identity-Aware Proxy.
pub(crate) struct Verified {
    pub(crate) app: TestApp,
    pub(crate) issuer: TestIssuer,
    /// A key that nobody published.
    pub(crate) wrong_key: TestKey,
}

/// Settings that switch off the development identity.
pub(crate) const NO_DEVELOPMENT: (&str, &str) = ("DEV_IDENTITY", "");

impl Verified {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
        let issuer = TestIssuer::start(system_clock(), vec![TestKey::ec("one")]).await;
        let environment = issuer.environment();
        let mut all: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.push(NO_DEVELOPMENT);
        all.extend(variables);
        let app = TestApp::start_with(&all).await;
        Self { app, issuer, wrong_key: TestKey::ec("one") }
    }

    /// Somebody without any credential.
    pub(crate) fn nobody(&self) -> Person {
        self.app.person("nobody@example.com")
    }

    /// Logs somebody in with the browser's flow and returns the session cookie, as `name=value`.
    pub(crate) async fn log_in(&self, email: &str) -> String {
        self.issuer.set_person(email);
        let browser = self.nobody();
        let begun = browser.get("/auth/login?redirect=/docs/").await;
        assert_eq!(begun.status, 302, "{}", begun.text);
        let back = self.issuer.agree(begun.headers["location"].to_str().unwrap());
        let back = back.strip_prefix(self.app.base_url()).expect("the provider sends the browser back");
        let request = browser.request(Method::GET, back).header("cookie", cookies(&begun).join("; "));
        let done = Answer::of(request).await;
        assert_eq!((done.status.as_u16(), done.headers["location"].to_str().unwrap()), (302, "/docs/"));
        cookies(&done).into_iter().find(|cookie| cookie.starts_with("ds_session=")).expect("there is a session")
    }
}

/// The cookies that an answer sets, as `name=value`.
pub(crate) fn cookies(answer: &Answer) -> Vec<String> {
    let set = answer.headers.get_all("set-cookie").iter();
    set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

/// Puts a claimed CI job into the database, as the scheduler would, and returns its request token.
pub(crate) async fn claimed_job(pool: &docstore_database::Pool, repo: &str, branch: &str, token: &str) -> String {
    job(pool, repo, branch, token, "claimed", "now() + interval '1 hour'").await
}

/// Puts a CI job into the database. `expiry` is SQL.
pub(crate) async fn job(
    pool: &docstore_database::Pool,
    repo: &str,
    branch: &str,
    token: &str,
    status: &str,
    expiry: &str,
) -> String {
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(token));
    let insert = format!(
        "INSERT INTO ci_jobs (id, repo_id, branch_id, sequence, status, request_token, trigger_type, request_token_exp)
         SELECT gen_random_uuid(), r.id, b.id, b.head_sequence, $3, $4, 'push', {expiry}
         FROM repos r JOIN branches b ON b.repo_id = r.id
         WHERE r.name = $1 AND b.name = $2 AND r.deleted_at IS NULL AND b.deleted_at IS NULL"
    );
    let done = sqlx::query(sqlx::AssertSqlSafe(insert))
        .bind(repo)
        .bind(branch)
        .bind(status)
        .bind(hash)
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
    token.to_owned()
}

/// Makes an org, a repo in it, and its roles, past the API.
pub(crate) async fn give_role(pool: &docstore_database::Pool, repo: &str, identity: &str, role: &str) {
    sqlx::query(
        "INSERT INTO roles (repo_id, identity, role)
         SELECT id, $2, $3::role FROM repos WHERE name = $1 AND deleted_at IS NULL
         ON CONFLICT (repo_id, identity) DO UPDATE SET role = excluded.role",
    )
    .bind(repo)
    .bind(identity)
    .bind(role)
    .execute(pool)
    .await
    .unwrap();
}

/// Makes somebody a member or an owner of an org. There is no endpoint for it yet.
pub(crate) async fn make_member(pool: &docstore_database::Pool, org: &str, identity: &str, role: &str) {
    sqlx::query(
        "INSERT INTO org_members (org_id, identity, role, invited_by)
         SELECT id, $2, $3::org_role, 'test' FROM orgs WHERE name = $1 AND deleted_at IS NULL
         ON CONFLICT (org_id, identity) DO UPDATE SET role = excluded.role",
    )
    .bind(org)
    .bind(identity)
    .bind(role)
    .execute(pool)
    .await
    .unwrap();
}

/// The fields of an object under other names, for a snapshot.
pub(crate) fn picked(value: &Value, names: &[&str]) -> Value {
    let fields = names.iter().map(|name| ((*name).to_owned(), value[*name].clone()));
    Value::Object(fields.collect())
}
