//! What the tests share.

pub(crate) mod database_link;
pub(crate) mod fixture;
pub(crate) mod generated;
pub(crate) mod identities;
pub(crate) mod raw;
pub(crate) mod sse;
pub(crate) mod terminal;
mod transcript;
pub(crate) mod truth;

use docstore_database::{Pool, purge};
use docstore_test_support::Person;
use serde_json::{Value, json};

pub(crate) use transcript::Transcript;

/// Where the repo of a new database is.
pub(crate) const REPO: &str = "/repos/default/default/-";

/// A file for the body of a commit, with its text.
pub(crate) fn text_file(path: &str, text: &str) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    json!({"path": path, "content": STANDARD.encode(text)})
}

/// Commits files to a branch and answers the new sequence. A file without text is deleted.
pub(crate) async fn commit(who: &Person, repo: &str, branch: &str, files: &[(&str, Option<&str>)]) -> i64 {
    let files: Vec<Value> = files
        .iter()
        .map(|(path, text)| text.map_or_else(|| json!({"path": path}), |text| text_file(path, text)))
        .collect();
    let body = json!({"branch": branch, "message": format!("change {branch}"), "files": files});
    let committed = who.post(&format!("{repo}/commit"), &body).await.expect(201);
    committed["sequence"].as_i64().unwrap()
}

/// Creates a branch.
pub(crate) async fn branch(who: &Person, repo: &str, name: &str) {
    who.post(&format!("{repo}/branch"), &json!({"name": name})).await.expect(201);
}

/// The paths of a list, for short assertions.
pub(crate) fn paths(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect()
}

/// Gives somebody a role in [`REPO`].
pub(crate) async fn grant(admin: &Person, identity: &str, role: &str) {
    admin.put(&format!("{REPO}/roles/{identity}"), &json!({"role": role})).await.expect(200);
}

/// Clears deleted repos away, a row of each kind at a time, until these tables are empty. The server's own loop may do it too.
pub(crate) async fn clear_until_empty(pool: &Pool, tables: &[&str]) {
    loop {
        let mut transaction = docstore_database::begin(pool).await.unwrap();
        if let Some(repo_id) = purge::deleted_repo_with_rows(&mut transaction).await.unwrap() {
            purge::clear_deleted_repo(&mut transaction, repo_id, 1).await.unwrap();
        }
        docstore_database::commit(transaction).await.unwrap();
        let mut left = 0;
        for table in tables {
            let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            left += sqlx::query_scalar::<_, i64>(count).fetch_one(pool).await.unwrap();
        }
        if left == 0 {
            return;
        }
    }
}
