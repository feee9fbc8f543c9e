//! Trees, logs, chains and commits, in a repo of a long history beside an empty one.

use docstore_database::{
    Pool,
    append::{BranchAppend, Brought, ChangedContent, Footing, NewChange, NewCommit, append_commits},
    branches::lock_branch,
    commits::{chain, chain_of_branch, file_history, heads, log},
    lists::PageBounds,
    testing::TestDatabase,
    trees::{PageQuery, repo_facts_and_directory_page, repo_facts_and_tree_page, tree_point},
};

use crate::counted::{Counted, PAGE, fill, repo_id};

const FILES: i64 = 20_000;
const COMMITS: i64 = 40_000;
/// A page of so many rows, however long.
const WHOLE: PageBounds = PageBounds { rows: PAGE, bytes: i64::MAX };

/// `default/default` stays empty. `default/long` has many commits of one file each; the branch `topic` was made at its
/// head and changed a tenth of the files since; the branch `fresh`, whose number comes before that of `main`, has no commits.
/// All are in the directory `d`, but for one in `c`.
async fn long_history(pool: &Pool) {
    let statements = "
        INSERT INTO repos (org_id, name, created_by) SELECT id, 'default/long', 'system' FROM orgs;
        INSERT INTO branches (repo_id, name, created_by, head_sequence, base_sequence)
        SELECT id, 'fresh', 'system', {commits}, {commits} FROM repos WHERE name = 'default/long';
        INSERT INTO branches (repo_id, name, created_by, head_sequence, head_hash)
        SELECT id, 'main', 'system', {commits}, sha256('') FROM repos WHERE name = 'default/long';
        INSERT INTO branches (repo_id, name, created_by, head_sequence, base_sequence, floor_sequence, head_hash)
        SELECT id, 'topic', 'system', {commits} + 1, {commits}, {commits}, sha256('') FROM repos WHERE name = 'default/long';
        INSERT INTO contents (repo_id, content_hash, version_id, size, created_by)
        SELECT r.id, sha256(n::text::bytea), gen_random_uuid(), 1, 'system'
        FROM repos r, generate_series(1, {files}) n WHERE r.name = 'default/long';
        INSERT INTO commits (sequence, repo_id, branch_id, parent_sequence, base_sequence, floor_sequence, message, author,
            created_at, file_count)
        SELECT n, b.repo_id, b.id, n - 1, 0, 0, 'm', 'a', now(), 1
        FROM branches b, generate_series(1, {commits}) n WHERE b.name = 'main' AND b.head_sequence > 0
        UNION ALL
        SELECT {commits} + 1, b.repo_id, b.id, {commits}, {commits}, {commits}, 'm', 'a', now(), {files} / 10
        FROM branches b WHERE b.name = 'topic';
        INSERT INTO file_changes (branch_id, path, sequence, superseded_by, content_id, mode, change_id)
        SELECT b.id, 'd/' || lpad((n % {files})::text, 5, '0'), n, CASE WHEN n + {files} <= {commits} THEN n + {files} END,
            (SELECT min(id) FROM contents) + n % {files}, 33188, gen_random_uuid()
        FROM branches b, generate_series(1, {commits}) n WHERE b.name = 'main' AND b.head_sequence > 0
        UNION ALL
        SELECT b.id, 'c/alone', 1, NULL, (SELECT min(id) FROM contents), 33188, gen_random_uuid()
        FROM branches b WHERE b.name = 'main' AND b.head_sequence > 0
        UNION ALL
        SELECT b.id, 'd/' || lpad((2 * n)::text, 5, '0'), {commits} + 1, NULL, (SELECT min(id) FROM contents) + n, 33188,
            gen_random_uuid()
        FROM branches b, generate_series(0, {files} / 10 - 1) n WHERE b.name = 'topic';
        ANALYZE;
    ";
    fill(pool, statements, &[("commits", COMMITS), ("files", FILES)]).await;
}

#[tokio::test]
async fn a_page_of_a_tree_costs_the_page() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    long_history(&pool).await;
    for (repo, branch, at, expected) in [
        ("default/long", "main", None, PAGE),
        ("default/long", "topic", None, PAGE),
        ("default/long", "topic", Some(COMMITS), PAGE),
        ("default/default", "main", None, 0),
    ] {
        let query = PageQuery { repo, identity: "somebody", branch, at, after: "", limit: PAGE };
        let what = format!("{repo} {branch} at {at:?}");
        let mut counted = Counted::begin(&pool).await;
        let page = repo_facts_and_tree_page(&mut *counted.transaction, &query).await.unwrap().unwrap().1.unwrap();
        counted.assert_cheap(&format!("tree of {what}"), page.entries.len(), expected).await;
        if branch == "topic" && at.is_none() {
            // In the order of paths, and what the branch changed instead of what main has.
            let paths: Vec<&str> = page.entries.iter().map(|entry| entry.path.as_str()).collect();
            assert!(paths.is_sorted());
            assert_eq!(paths[..3], ["c/alone", "d/00000", "d/00001"]);
        }
        let mut counted = Counted::begin(&pool).await;
        let children =
            repo_facts_and_directory_page(&mut *counted.transaction, &query, "d").await.unwrap().unwrap().1.unwrap();
        counted.assert_cheap(&format!("directory of {what}"), children.entries.len(), expected).await;
        let mut counted = Counted::begin(&pool).await;
        let children =
            repo_facts_and_directory_page(&mut *counted.transaction, &query, "c").await.unwrap().unwrap().1.unwrap();
        let what = format!("a directory that ends before the tree does, of {what}");
        counted.assert_cheap(&what, children.entries.len(), expected.min(1)).await;
    }
}

#[tokio::test]
async fn a_point_of_a_branch_without_commits_costs_no_others() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    long_history(&pool).await;
    let repo_id = repo_id(&pool, "default/long").await;
    let mut counted = Counted::begin(&pool).await;
    let point = tree_point(&mut *counted.transaction, repo_id, "fresh", Some(1)).await.unwrap().unwrap();
    assert_eq!(point.base_sequence, 1);
    counted.assert_cheap("a point of a branch without commits", 1, 1).await;
}

#[tokio::test]
async fn a_commit_costs_what_it_changes() {
    const CHANGES: i64 = 100;
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    long_history(&pool).await;
    let repo_id = repo_id(&pool, "default/long").await;
    let content = sqlx::query_scalar("SELECT min(id) FROM contents").fetch_one(pool.sqlx()).await.unwrap();
    let mut counted = Counted::begin(&pool).await;
    let locked = lock_branch(&mut counted.transaction, repo_id, "main", false).await.unwrap().unwrap();
    let changes = (0..CHANGES).map(|file| NewChange {
        path: format!("d/{file:05}"),
        content: ChangedContent::Stored(content),
        mode: 33188,
        content_type: None,
    });
    let commit = NewCommit {
        sequence: COMMITS + 2,
        message: "m".to_owned(),
        author: "a".to_owned(),
        created_at: locked.now,
        commit_hash: vec![0; 32],
        replayed_from: None,
        imported_from: None,
        pushed_by: None,
        changes: changes.collect(),
    };
    let created: Vec<&str> = commit.changes.iter().map(|change| change.path.as_str()).collect();
    let append = BranchAppend {
        branch: &locked,
        footing: Footing { base_sequence: 0, floor_sequence: 0, parent_sequence: COMMITS },
        commits: std::slice::from_ref(&commit),
        created: &created,
    };
    append_commits(&mut counted.transaction, repo_id, &[append], Brought::default()).await.unwrap();
    let superseded = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM file_changes WHERE superseded_by = $1")
        .bind(commit.sequence)
        .fetch_one(&mut *counted.transaction)
        .await
        .unwrap();
    counted.assert_cheap_write("a commit", usize::try_from(superseded).unwrap(), CHANGES).await;
}

#[tokio::test]
async fn a_page_of_a_log_or_a_chain_costs_the_page() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    long_history(&pool).await;
    let (long, empty) = (repo_id(&pool, "default/long").await, repo_id(&pool, "default/default").await);
    for (repo_id, branch, expected) in [(long, "main", PAGE), (long, "topic", PAGE), (empty, "main", 0)] {
        let mut counted = Counted::begin(&pool).await;
        let page = log(&mut *counted.transaction, repo_id, branch, None, WHOLE).await.unwrap();
        counted.assert_cheap(&format!("log of {branch}"), page.len(), expected).await;
    }
    for (repo_id, branch, expected) in [(long, "main", PAGE), (empty, "main", 0)] {
        let mut counted = Counted::begin(&pool).await;
        let page = chain_of_branch(&mut *counted.transaction, repo_id, branch, 1, COMMITS * 2, WHOLE).await.unwrap();
        counted.assert_cheap(&format!("chain of {branch}"), page.len(), expected).await;
    }
    // A range ends where it ends, however much comes after it.
    let mut counted = Counted::begin(&pool).await;
    let page = chain_of_branch(&mut *counted.transaction, long, "main", 1, 3, WHOLE).await.unwrap();
    counted.assert_cheap("the beginning of the chain of main", page.len(), 3).await;
    let mut counted = Counted::begin(&pool).await;
    let heads_of_long = heads(&mut *counted.transaction, long).await.unwrap();
    let page = chain(&mut *counted.transaction, long, &heads_of_long, 1, 3, WHOLE).await.unwrap();
    counted.assert_cheap("the beginning of the chain", page.len(), 3).await;
    // Behind a place there is what comes behind it, however much came before.
    let mut counted = Counted::begin(&pool).await;
    let page = log(&mut *counted.transaction, long, "main", Some(COMMITS / 2), WHOLE).await.unwrap();
    counted.assert_cheap("the middle of the log", page.len(), PAGE).await;
    for (repo_id, expected) in [(long, PAGE), (empty, 0)] {
        let mut counted = Counted::begin(&pool).await;
        let heads = heads(&mut *counted.transaction, repo_id).await.unwrap();
        let page = chain(&mut *counted.transaction, repo_id, &heads, 1, COMMITS * 2, WHOLE).await.unwrap();
        counted.assert_cheap("chain", page.len(), expected).await;
    }
    let mut counted = Counted::begin(&pool).await;
    let page = file_history(&mut *counted.transaction, long, "topic", "d/00001", None, WHOLE).await.unwrap();
    counted.assert_cheap("history of a file", page.len(), COMMITS / FILES).await;
    // What a rebase replaced is behind the floor.
    sqlx::query("UPDATE branches SET floor_sequence = head_sequence WHERE name = 'main' AND repo_id = $1")
        .bind(long)
        .execute(pool.sqlx())
        .await
        .unwrap();
    let mut counted = Counted::begin(&pool).await;
    let page = log(&mut *counted.transaction, long, "main", None, WHOLE).await.unwrap();
    counted.assert_cheap("log above a floor", page.len(), 0).await;
}
