//! Answers when something that the server needs is broken or away.

use docstore_auth::testing::Fault;
use docstore_test_support::ADMIN;
use futures::future::join_all;
use sqlx::Executor;

use super::coverage::Coverage;
use crate::support::{
    database_link::DatabaseLink,
    fixture::{Call, Fixture, bearer},
    identities::Verified,
    truth::{Operation, document},
};

pub(super) async fn drive(coverage: &mut Coverage) {
    coverage.crippled = true;
    broken(coverage).await;
    away(coverage).await;
    no_keys(coverage).await;
}

/// A good request of every operation, made before things break.
async fn calls(fixture: &Fixture) -> Vec<(&'static Operation, Call)> {
    let mut calls = Vec::new();
    for (n, operation) in document().operations.iter().enumerate() {
        // The login does not need the database.
        if operation.id != "callback" {
            calls.push((operation, fixture.call(&operation.id, n).await));
        }
    }
    calls
}

async fn ask_all(coverage: &mut Coverage, fixture: &Fixture, calls: &[(&'static Operation, Call)], how: &str) {
    let token = fixture.verified.issuer.id_token(ADMIN);
    let answers =
        join_all(calls.iter().map(async |(operation, call)| (*operation, fixture.send(call, &[bearer(&token)]).await)));
    for (operation, got) in answers.await {
        coverage.record(operation, how, &got);
    }
}

/// The database lacks tables: a defect.
async fn broken(coverage: &mut Coverage) {
    let fixture = Fixture::start(&[]).await;
    let calls = calls(&fixture).await;
    for table in ["orgs", "repos", "tokens", "agents", "event_log", "event_subscriptions"] {
        fixture.pool.execute(sqlx::AssertSqlSafe(format!("ALTER TABLE {table} RENAME TO {table}_away"))).await.unwrap();
    }
    ask_all(coverage, &fixture, &calls, "tables are missing").await;
}

/// The database has gone.
async fn away(coverage: &mut Coverage) {
    let link = DatabaseLink::open().await;
    let url = link.url.clone();
    let fixture = Fixture::start_on(
        &[("DATABASE_URL", &url), ("DOCSTORE_DATABASE_ACQUIRE_SECONDS", "1")],
        link.database.pool().await,
    )
    .await;
    let calls = calls(&fixture).await;
    let _database = link.cut().await;
    ask_all(coverage, &fixture, &calls, "the database is away").await;
}

/// The identity provider cannot be reached, and there are no keys of it yet.
async fn no_keys(coverage: &mut Coverage) {
    let verified = Verified::start().await;
    verified.issuer.set_fault(Some(Fault::Status(500)));
    let token = verified.issuer.id_token(ADMIN);
    let operation = document().operations.iter().find(|operation| operation.id == "whoami").unwrap();
    let request = verified.nobody().request(http::Method::GET, "/whoami").bearer_auth(token);
    let answer = docstore_test_support::Answer::of(request).await;
    let got =
        crate::support::fixture::Got { status: answer.status, headers: answer.headers, body: answer.text.into_bytes() };
    coverage.record(operation, "no keys", &got);
}
