//! Issues and their comments, beside very many.

use docstore_database::{
    issue_comments::list_comments,
    issues::{IssueFilter, list_issues},
    lists::{PageBounds, Place},
    testing::TestDatabase,
};
use docstore_models::IssueState;

use crate::counted::{Counted, PAGE, fill, repo_id};

#[tokio::test]
async fn a_page_of_issues_or_comments_costs_the_page() {
    const ISSUES: i64 = 20_000;
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    // Nearly all are closed, by one author and with one label; every thousandth is not. Another repo has as many of the
    // rare label.
    let statements = "
        INSERT INTO repos (org_id, name, created_by) SELECT id, 'default/other', 'system' FROM orgs;
        INSERT INTO issues (id, repo_id, number, title, author, state, labels)
        SELECT gen_random_uuid(), r.id, n, 't',
            CASE WHEN n % 1000 = 0 AND r.name = 'default/default' THEN 'rare' ELSE 'usual' END,
            CASE WHEN n % 1000 = 0 AND r.name = 'default/default' THEN 'open' ELSE 'closed' END,
            CASE WHEN n % 1000 = 0 OR r.name = 'default/other' THEN ARRAY['rare', 'x'] ELSE ARRAY['usual', 'x'] END
        FROM repos r, generate_series(1, {issues}) n;
        INSERT INTO issue_comments (id, issue_id, repo_id, body, author, created_at)
        SELECT gen_random_uuid(), i.id, i.repo_id, 'b', 'a', now() + n * interval '1 s'
        FROM issues i JOIN repos r ON r.id = i.repo_id AND r.name = 'default/default', generate_series(1, {issues}) n
        WHERE i.number = 1;
        ANALYZE;
    ";
    fill(&pool, statements, &[("issues", ISSUES)]).await;
    let repo_id = repo_id(&pool, "default/default").await;
    let page = IssueFilter::default();
    let bounds = PageBounds { rows: PAGE, bytes: 1 << 20 };
    let rare = ISSUES / 1000;
    for (filter, first) in [
        (page, ISSUES),
        (IssueFilter { after: Some(500), ..page }, 499),
        (IssueFilter { state: Some(IssueState::Open), ..page }, ISSUES),
        (IssueFilter { state: Some(IssueState::Closed), ..page }, ISSUES - 1),
        (IssueFilter { author: Some("rare"), ..page }, ISSUES),
        (IssueFilter { author: Some("rare"), state: Some(IssueState::Open), after: Some(15_000), ..page }, 14_000),
        (IssueFilter { label: Some("rare"), ..page }, ISSUES),
        (IssueFilter { label: Some("rare"), author: Some("rare"), ..page }, ISSUES),
        (IssueFilter { label: Some("x"), state: Some(IssueState::Open), ..page }, ISSUES),
        (IssueFilter { label: Some("usual"), after: Some(ISSUES), ..page }, ISSUES - 1),
    ] {
        let mut counted = Counted::begin(&pool).await;
        let found = list_issues(&mut *counted.transaction, repo_id, "default/default", filter, bounds).await.unwrap();
        assert_eq!(found[0].number, first, "{filter:?}");
        assert!(found.is_sorted_by_key(|issue| -issue.number), "{filter:?}");
        counted.assert_cheap(&format!("{filter:?}"), found.len(), PAGE.min(rare)).await;
    }
    let mut after = None;
    for n in 0..3 {
        let mut counted = Counted::begin(&pool).await;
        let page =
            list_comments(&mut *counted.transaction, repo_id, "default/default", 1, after, bounds).await.unwrap();
        counted.assert_cheap(&format!("page {n} of comments"), page.len(), PAGE).await;
        // Far into them.
        let (created_at, id) =
            sqlx::query_as("SELECT created_at, id FROM issue_comments ORDER BY created_at, id OFFSET $1 LIMIT 1")
                .bind(6_000 * (n + 1))
                .fetch_one(pool.sqlx())
                .await
                .unwrap();
        after = Some(Place { created_at, id });
    }
}
