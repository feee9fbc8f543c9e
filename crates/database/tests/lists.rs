//! Lists with long rows: whatever bounds a page, every row comes once, in order, and a page holds no more than it may.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use docstore_database::{
    Pool,
    checks::{self, RunPlace},
    commits,
    issue_comments::{self, place_of_comment},
    issues::{self, IssueFilter},
    lists::{PageBounds, Place},
    proposals::{self, ProposalFilter},
    releases,
    review_comments::{self, CommentFilter},
    reviews::{self, ReviewFilter},
    testing::TestDatabase,
};
use docstore_models::{RefType, Timestamp};
use sqlx::types::Uuid;

const ROWS: i64 = 7;
/// Each text has so many bytes.
const BYTES: i64 = 10;

/// A repo with a branch on which everything was said seven times, in pairs at one moment.
async fn fill(pool: &Pool) -> i64 {
    let said = [
        "INSERT INTO issues (id, repo_id, number, title, body, author, created_at) \
         SELECT gen_random_uuid(), r.id, n, 't', repeat('x', 10), 'a@b', moment FROM rows, r",
        "INSERT INTO issue_comments (id, issue_id, repo_id, body, author, created_at) \
         SELECT gen_random_uuid(), i.id, r.id, repeat('x', 10), 'a@b', moment \
         FROM rows, r JOIN issues i ON i.repo_id = r.id AND i.number = 1",
        "INSERT INTO issue_refs (id, issue_id, repo_id, ref_type, ref_id) \
         SELECT gen_random_uuid(), i.id, r.id, 'commit', '7' FROM r JOIN issues i ON i.repo_id = r.id",
        "INSERT INTO proposals (id, repo_id, branch_id, base_branch_id, title, description, author, state, created_at) \
         SELECT gen_random_uuid(), r.id, b.id, b.id, 't', repeat('x', 10), 'a@b', 'closed', moment FROM rows, r, b",
        "INSERT INTO reviews (id, repo_id, branch_id, sequence, base_sequence, reviewer, reviewer_kind, status, body, \
         created_at) SELECT gen_random_uuid(), r.id, b.id, 1, 0, 'a@b', 'person', 'approved', repeat('x', 10), moment \
         FROM rows, r, b",
        "INSERT INTO review_comments (id, repo_id, branch_id, path, version_id, body, author, author_kind, sequence, \
         created_at) SELECT gen_random_uuid(), r.id, b.id, 'f', gen_random_uuid(), repeat('x', 10), 'a@b', 'person', 1, \
         moment FROM rows, r, b",
        "INSERT INTO check_runs (id, repo_id, branch_id, sequence, check_name, attempt, state, reporter, created_at) \
         SELECT gen_random_uuid(), r.id, b.id, 1, 'check ' || n % 4, n, 'passed', 'a@b', moment FROM rows, r, b",
        "INSERT INTO releases (id, repo_id, name, sequence, body, created_by, created_at) \
         SELECT gen_random_uuid(), r.id, 'v' || n, 1, repeat('x', 10), 'a@b', moment FROM rows, r",
        "INSERT INTO commits (sequence, repo_id, branch_id, parent_sequence, base_sequence, floor_sequence, message, \
         author, created_at, file_count) \
         SELECT n, r.id, b.id, n - 1, 0, 0, repeat('x', 10), 'a@b', moment, 0 FROM rows, r, b",
        "INSERT INTO file_changes (branch_id, path, sequence, superseded_by, mode, change_id) \
         SELECT b.id, 'f', n, nullif(n, 7) + 1, 33188, gen_random_uuid() FROM rows, b",
        "UPDATE branches SET head_sequence = 7",
    ];
    for insert in said {
        let sql = format!(
            "WITH r AS (SELECT id FROM repos), b AS (SELECT id FROM branches), rows AS (\
                 SELECT n, now() - make_interval(secs => (n / 2)::double precision) AS moment \
                 FROM generate_series(1, {ROWS}) AS n) {insert}"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
    }
    sqlx::query_scalar("SELECT id FROM repos").fetch_one(pool).await.unwrap()
}

fn place(created_at: Timestamp, id: Uuid) -> Place {
    Place { created_at: created_at.to_utc(), id }
}

/// Reads a list to its end within the bounds, and answers its ids and the longest page.
macro_rules! walk {
    ($bounds:expr, |$row:ident| ($id:expr, $next:expr), |$after:ident, $page:ident| $query:expr) => {{
        let ($page, mut ids, mut longest, mut $after) = ($bounds, Vec::new(), 0, None);
        loop {
            let rows = $query.await.unwrap();
            longest = longest.max(rows.len());
            let Some($row) = rows.last() else { break };
            $after = Some($next);
            ids.extend(rows.iter().map(|$row| $id));
        }
        (ids, longest)
    }};
}

/// Every list, read within the bounds.
async fn lists(pool: &Pool, repo_id: i64, bounds: PageBounds) -> Vec<(Vec<String>, usize)> {
    let repo = "default/default";
    let heads = commits::heads(pool, repo_id).await.unwrap();
    vec![
        walk!(bounds, |row| (row.id.to_string(), row.number), |after, page| {
            issues::list_issues(pool, repo_id, repo, IssueFilter { after, ..IssueFilter::default() }, page)
        }),
        walk!(bounds, |row| (row.id.to_string(), row.number), |after, page| {
            issues::issues_tied_to(pool, repo_id, repo, (RefType::Commit, "7"), after, page)
        }),
        walk!(bounds, |row| (row.id.to_string(), place(row.created_at, row.id)), |after, page| {
            issue_comments::list_comments(pool, repo_id, repo, 1, after, page)
        }),
        walk!(bounds, |row| (row.id.to_string(), place(row.created_at, row.id)), |after, page| {
            proposals::list_proposals(pool, repo_id, repo, ProposalFilter { after, ..ProposalFilter::default() }, page)
        }),
        walk!(bounds, |row| (row.id.to_string(), place(row.created_at, row.id)), |after, page| {
            reviews::list_reviews(pool, repo_id, repo, "main", ReviewFilter { at: None, after }, page)
        }),
        walk!(bounds, |row| (row.id.to_string(), place(row.created_at, row.id)), |after, page| {
            review_comments::list_comments(pool, repo_id, "main", CommentFilter { path: None, after }, page)
        }),
        walk!(bounds, |row| (row.id.to_string(), place(row.created_at, row.id)), |after, page| {
            releases::list_releases(pool, repo_id, repo, after, page)
        }),
        walk!(bounds, |row| (row.sequence.to_string(), row.sequence), |before, page| {
            commits::log(pool, repo_id, "main", before, page)
        }),
        walk!(bounds, |row| (row.sequence.to_string(), row.sequence), |before, page| {
            commits::file_history(pool, repo_id, "main", "f", before, page)
        }),
        walk!(bounds, |row| (row.sequence.to_string(), row.sequence), |after, page| {
            commits::chain_of_branch(pool, repo_id, "main", after.unwrap_or(0) + 1, i64::MAX, page)
        }),
        walk!(bounds, |row| (row.sequence.to_string(), row.sequence), |after, page| {
            commits::chain(pool, repo_id, &heads, after.unwrap_or(0) + 1, i64::MAX, page)
        }),
    ]
}

#[tokio::test]
async fn a_page_ends_with_the_row_that_fills_it() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repo_id = fill(&pool).await;
    let whole = lists(&pool, repo_id, PageBounds { rows: 100, bytes: 1000 }).await;
    for (ids, longest) in &whole {
        assert_eq!((ids.len(), *longest), (7, 7));
    }
    for (rows, bytes, longest) in [
        (3, 1000, 3),
        // A page has one row at least.
        (100, 1, 1),
        (100, BYTES, 1),
        (100, BYTES + 1, 2),
        (100, 3 * BYTES, 3),
        (2, 3 * BYTES, 2),
    ] {
        let pages = lists(&pool, repo_id, PageBounds { rows, bytes }).await;
        for (list, ((ids, found), (all, _))) in pages.iter().zip(&whole).enumerate() {
            assert_eq!((ids, *found), (all, longest), "list {list}, {rows} rows, {bytes} bytes");
        }
    }
}

#[tokio::test]
async fn check_runs_come_a_page_at_a_time() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repo_id = fill(&pool).await;
    let repo = "default/default";
    for limit in [1, 2, 3, 100] {
        let (history, longest) = walk!(
            limit,
            |row| (row.attempt, RunPlace { sequence: row.sequence, created_at: row.created_at.to_utc(), id: row.id }),
            |after, page| checks::check_history(&pool, repo_id, repo, "main", None, after, page)
        );
        assert_eq!((history.len(), longest), (7, usize::try_from(limit.min(ROWS)).unwrap()));
        let (names, _) =
            walk!(limit, |row| ((row.check_name.clone(), row.attempt), row.check_name.clone()), |after, page| {
                checks::latest_checks(&pool, repo_id, repo, "main", None, after.as_deref().unwrap_or(""), page)
            });
        assert_eq!(
            names,
            [("check 0", 4), ("check 1", 5), ("check 2", 6), ("check 3", 7)]
                .map(|(name, attempt)| (name.to_owned(), attempt))
        );
    }
}

#[tokio::test]
async fn a_list_goes_on_behind_a_row_that_has_gone() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repo_id = fill(&pool).await;
    let bounds = PageBounds { rows: 100, bytes: 1000 };
    let all = issue_comments::list_comments(&pool, repo_id, "r", 1, None, bounds).await.unwrap();
    let gone = &all[3];
    let behind = place_of_comment(&pool, repo_id, 1, gone.id).await.unwrap();
    assert_eq!(behind, Some(place(gone.created_at, gone.id)));
    issue_comments::delete_comment(&pool, gone.id).await.unwrap();
    assert_eq!(place_of_comment(&pool, repo_id, 1, gone.id).await.unwrap(), None);
    let rest = issue_comments::list_comments(&pool, repo_id, "r", 1, behind, bounds).await.unwrap();
    assert_eq!(rest, all[4..]);
}
