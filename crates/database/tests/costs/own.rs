//! What somebody has or made, beside what very many others have.

use chrono::{DateTime, Utc};
use docstore_database::{
    access::facts_of_identity,
    agents::list_agents,
    event_log::audit_page,
    subscriptions::{Whose, list_subscriptions},
    testing::TestDatabase,
    tokens::{OfOwner, list_tokens},
};

use crate::counted::{Counted, PAGE, fill, repo_id};

const OTHERS: i64 = 5_000;
const ME: &str = "me@example.com";

#[tokio::test]
async fn what_is_ones_own_is_found_without_everybody_elses() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    // Each of the others has an org with a repo, a role in it, a token, an agent and a subscription; and so have I.
    let statements = "
        CREATE TEMPORARY TABLE people AS
        SELECT n, CASE n WHEN 0 THEN 'me@example.com' ELSE n || '@example.com' END AS identity
        FROM generate_series(0, {others}) n;
        INSERT INTO orgs (name, created_by) SELECT 'org' || n, identity FROM people;
        INSERT INTO org_members (org_id, identity, role, invited_by)
        SELECT o.id, p.identity, 'owner', 'x' FROM people p JOIN orgs o ON o.name = 'org' || p.n;
        INSERT INTO repos (org_id, name, created_by) SELECT id, name || '/app', created_by FROM orgs WHERE name LIKE 'org%';
        INSERT INTO roles (repo_id, identity, role)
        SELECT r.id, p.identity, 'admin' FROM people p JOIN repos r ON r.name = 'org' || p.n || '/app';
        INSERT INTO tokens (token_id, name, owner, digest, all_repos, actions, created_at, expires_at)
        SELECT gen_random_uuid(), 't', identity, sha256(identity::bytea), true, '{}', now(), now() FROM people;
        INSERT INTO agents (agent_id, identity, owner, created_at, expires_at)
        SELECT gen_random_uuid(), 'agent:a/' || identity, identity, now(), now() FROM people;
        INSERT INTO tokens (token_id, name, owner, agent_id, digest, all_repos, actions, created_at, expires_at)
        SELECT gen_random_uuid(), 't', owner, id, sha256(identity::bytea), true, '{}', now(), now() FROM agents;
        INSERT INTO event_subscriptions (id, repo_id, backend, config, created_by)
        SELECT gen_random_uuid(), id, 'webhook', '{}', created_by FROM repos WHERE name LIKE 'org%';
        DROP TABLE people;
        ANALYZE;
    ";
    fill(&pool, statements, &[("others", OTHERS)]).await;
    let now: DateTime<Utc> = "2100-01-01T00:00:00Z".parse().unwrap();

    let mut counted = Counted::begin(&pool).await;
    let rights = facts_of_identity(&mut *counted.transaction, ME, false, None, "", 100).await.unwrap();
    assert_eq!(rights[0].name, "org0/app");
    counted.assert_cheap("rights", rights.len(), 1).await;

    let mine = OfOwner { owner: Some(ME), after: None, limit: 100 };
    let mut counted = Counted::begin(&pool).await;
    let tokens = list_tokens(&mut *counted.transaction, mine).await.unwrap();
    counted.assert_cheap("tokens", tokens.len(), 1).await;

    let mut counted = Counted::begin(&pool).await;
    let agents = list_agents(&mut *counted.transaction, mine).await.unwrap();
    counted.assert_cheap("agents", agents.len(), 1).await;

    let mut counted = Counted::begin(&pool).await;
    let whose = Whose { person: Some(ME), created_by: None, repos: None };
    let subscriptions = list_subscriptions(&mut *counted.transaction, whose, None, None, now).await.unwrap();
    counted.assert_cheap("subscriptions", subscriptions.len(), 1).await;
}

#[tokio::test]
async fn the_trail_of_a_quiet_repo_is_found_without_what_happened_elsewhere() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let statements = "
        INSERT INTO repos (org_id, name, created_by) SELECT id, 'default/busy', 'system' FROM orgs;
        INSERT INTO event_log (event_id, subject, repo_id, type, payload, audit, position)
        SELECT gen_random_uuid(), r.name, r.id, 't', '{}', true, CASE r.name WHEN 'default/busy' THEN n + 1 ELSE 1 END
        FROM repos r, generate_series(1, {others}) n WHERE r.name = 'default/busy' OR n = 1;
        ANALYZE;
    ";
    fill(&pool, statements, &[("others", OTHERS)]).await;
    let (quiet, busy) = (repo_id(&pool, "default/default").await, repo_id(&pool, "default/busy").await);
    for (repo_id, before, expected) in [
        (Some(quiet), None, 1),
        (Some(busy), Some(OTHERS / 2), PAGE),
        (None, None, PAGE),
        (None, Some(OTHERS / 2), PAGE),
    ] {
        let mut counted = Counted::begin(&pool).await;
        let page = audit_page(&mut *counted.transaction, repo_id, before, PAGE).await.unwrap();
        assert!(page.is_sorted_by(|newer, older| newer.0 > older.0));
        counted.assert_cheap(&format!("the trail of {repo_id:?} before {before:?}"), page.len(), expected).await;
    }
}
