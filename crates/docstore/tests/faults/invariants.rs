//! What the rows of a database fulfil whatever happened to it.

use std::{collections::BTreeSet, path::Path};

use docstore_database::Pool;

/// Each query counts rows that must not be there.
const NONE: &[(&str, &str)] = &[
    (
        "superseded_by is the next change of the path on the branch",
        "SELECT count(*) FROM (
            SELECT superseded_by, lead(sequence) OVER (PARTITION BY branch_id, path ORDER BY sequence) AS next
            FROM file_changes
        ) f WHERE superseded_by IS DISTINCT FROM next",
    ),
    (
        "one change of a path on a branch is the latest",
        "SELECT count(*) FROM (
            SELECT 1 FROM file_changes GROUP BY branch_id, path HAVING count(*) FILTER (WHERE superseded_by IS NULL) <> 1
        ) f",
    ),
    (
        "a change belongs to a commit of the same branch",
        "SELECT count(*) FROM file_changes f
        WHERE NOT EXISTS (SELECT FROM commits c WHERE c.sequence = f.sequence AND c.branch_id = f.branch_id)",
    ),
    (
        "a change names a content of the same repo",
        "SELECT count(*) FROM file_changes f
        JOIN branches b ON b.id = f.branch_id
        LEFT JOIN contents c ON c.id = f.content_id AND c.repo_id = b.repo_id
        WHERE f.content_id IS NOT NULL AND c.id IS NULL",
    ),
    (
        "a commit has all its changes",
        "SELECT count(*) FROM commits c
        WHERE c.file_count <> (SELECT count(*) FROM file_changes f WHERE f.sequence = c.sequence)",
    ),
    (
        "a commit belongs to a branch of the same repo",
        "SELECT count(*) FROM commits c
        WHERE NOT EXISTS (SELECT FROM branches b WHERE b.id = c.branch_id AND b.repo_id = c.repo_id)",
    ),
    (
        "a commit follows the one before it, or starts from the base",
        "SELECT count(*) FROM (
            SELECT parent_sequence, base_sequence, lag(sequence) OVER (PARTITION BY branch_id ORDER BY sequence) AS before
            FROM commits
        ) c WHERE parent_sequence IS DISTINCT FROM before AND parent_sequence <> base_sequence",
    ),
    (
        "base and floor of a branch never fall, and lie below its commits",
        "SELECT count(*) FROM (
            SELECT
                sequence, base_sequence, floor_sequence,
                lag(base_sequence) OVER (PARTITION BY branch_id ORDER BY sequence) AS base_before,
                lag(floor_sequence) OVER (PARTITION BY branch_id ORDER BY sequence) AS floor_before
            FROM commits
        ) c
        WHERE base_sequence < base_before OR floor_sequence < floor_before
            OR base_sequence >= sequence OR floor_sequence >= sequence",
    ),
    (
        "the head of a branch is its last commit, or its base while there is none",
        "SELECT count(*) FROM branches b
        LEFT JOIN LATERAL (
            SELECT c.sequence, c.commit_hash FROM commits c WHERE c.branch_id = b.id ORDER BY c.sequence DESC LIMIT 1
        ) last ON true
        WHERE b.deleted_at IS NULL
            AND (
                b.head_sequence <> coalesce(last.sequence, b.base_sequence)
                OR b.head_hash IS DISTINCT FROM last.commit_hash
                OR b.floor_sequence > b.head_sequence
            )",
    ),
    (
        "the base of a branch is a point that main has reached",
        "SELECT count(*) FROM branches b
        JOIN branches m ON m.repo_id = b.repo_id AND m.name = 'main' AND m.deleted_at IS NULL
        WHERE b.deleted_at IS NULL AND b.base_sequence > m.head_sequence",
    ),
    ("main starts from nothing", "SELECT count(*) FROM branches WHERE name = 'main' AND base_sequence + floor_sequence <> 0"),
    (
        "a live repo has a main, a deleted one has no live branch",
        "SELECT count(*) FROM repos r
        WHERE (r.deleted_at IS NULL)
            <> EXISTS (SELECT FROM branches b WHERE b.repo_id = r.id AND b.deleted_at IS NULL AND b.name = 'main')
            OR r.deleted_at IS NOT NULL AND EXISTS (
                SELECT FROM branches b WHERE b.repo_id = r.id AND b.deleted_at IS NULL
            )",
    ),
    (
        "bytes in the database have their hash and size",
        "SELECT count(*) FROM contents c
        JOIN content_bytes b ON b.content_id = c.id
        WHERE sha256(b.bytes) <> c.content_hash OR octet_length(b.bytes) <> c.size",
    ),
    (
        "a content has its bytes in one place",
        "SELECT count(*) FROM contents c
        WHERE NOT c.obliterated
            AND (c.blob_key IS NULL) <> EXISTS (SELECT FROM content_bytes b WHERE b.content_id = c.id)",
    ),
    (
        "what was obliterated has no bytes and a mark, and what has a mark is obliterated",
        "SELECT count(*) FROM contents c
        LEFT JOIN obliterations o ON o.repo_id = c.repo_id AND o.content_hash = c.content_hash
        WHERE c.obliterated <> (o.id IS NOT NULL)
            OR c.obliterated
                AND (c.blob_key IS NOT NULL OR EXISTS (SELECT FROM content_bytes b WHERE b.content_id = c.id))",
    ),
    (
        "a content is used by a file, or was uploaded for a commit to come",
        "SELECT count(*) FROM contents c
        WHERE NOT EXISTS (SELECT FROM file_changes f WHERE f.content_id = c.id)
            AND NOT EXISTS (SELECT FROM uploaded_contents u WHERE u.content_id = c.id)",
    ),
    (
        "a blob belongs to one content, and is not on the list of deletions",
        "SELECT count(*) FROM (
            SELECT blob_key FROM contents WHERE blob_key IS NOT NULL GROUP BY blob_key HAVING count(*) > 1
            UNION ALL
            SELECT c.blob_key FROM contents c JOIN blob_deletions d ON d.blob_key = c.blob_key
        ) b",
    ),
    ("an answer is stored with its write", "SELECT count(*) FROM idempotency_keys WHERE answer = ''"),
    (
        "what was committed left its event",
        "SELECT count(*) FROM commits c
        WHERE c.replayed_from IS NULL AND c.imported_from IS NULL
            AND c.message NOT IN ('resolve conflicts with main')
            AND NOT EXISTS (
                SELECT FROM event_log e
                WHERE e.repo_id = c.repo_id
                    AND e.type IN ('com.docstore.commit.created', 'com.docstore.branch.merged')
                    AND (e.payload::json -> 'data' ->> 'sequence')::bigint = c.sequence
            )",
    ),
    (
        "an event tells of a commit that is there, unless it was purged or its repo deleted",
        "SELECT count(*) FROM event_log e
        JOIN repos r ON r.id = e.repo_id AND r.deleted_at IS NULL
        WHERE e.type = 'com.docstore.commit.created'
            AND NOT EXISTS (
                SELECT FROM commits c WHERE c.sequence = (e.payload::json -> 'data' ->> 'sequence')::bigint
            )
            AND NOT EXISTS (
                SELECT FROM branches b
                WHERE b.repo_id = e.repo_id AND b.deleted_at IS NOT NULL
                    AND b.name = e.payload::json -> 'data' ->> 'branch'
            )",
    ),
    (
        "a commit is told of once",
        "SELECT count(*) FROM (
            SELECT 1 FROM event_log WHERE type = 'com.docstore.commit.created'
            GROUP BY payload::json -> 'data' ->> 'sequence' HAVING count(*) > 1
        ) e",
    ),
    (
        "positions of events are given without gaps",
        "SELECT last - (SELECT count(*) FROM event_log WHERE position IS NOT NULL) FROM event_position",
    ),
];

/// Checks all of them, and that the blobs are those that the rows name.
pub(crate) async fn check(pool: &Pool, blobs: &Path) {
    let mut broken = Vec::new();
    for (rule, query) in NONE {
        let count: i64 =
            sqlx::query_scalar(*query).fetch_one(pool).await.unwrap_or_else(|error| panic!("{rule}: {error}"));
        if count != 0 {
            broken.push(format!("{count} rows break: {rule}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    check_blobs(pool, blobs).await;
}

/// No content without its blob, no blob that nobody knows.
async fn check_blobs(pool: &Pool, folder: &Path) {
    let names = |rows: Vec<String>| -> BTreeSet<String> { rows.into_iter().collect() };
    let named = sqlx::query_scalar("SELECT blob_key FROM contents WHERE blob_key IS NOT NULL");
    let named = names(named.fetch_all(pool).await.unwrap());
    let going = names(sqlx::query_scalar("SELECT blob_key FROM blob_deletions").fetch_all(pool).await.unwrap());
    let mut present = BTreeSet::new();
    for repo in std::fs::read_dir(folder).unwrap() {
        let repo = repo.unwrap();
        let name = repo.file_name().into_string().unwrap();
        // What an upload was writing when its server was killed; removed at the next start.
        if !name.starts_with('.') {
            for blob in std::fs::read_dir(repo.path()).unwrap() {
                present.insert(format!("{name}/{}", blob.unwrap().file_name().into_string().unwrap()));
            }
        }
    }
    let lost: Vec<&String> = named.difference(&present).collect();
    assert!(lost.is_empty(), "contents without their blob: {lost:?}");
    let unknown: Vec<&String> = present.iter().filter(|key| !named.contains(*key) && !going.contains(*key)).collect();
    assert!(unknown.is_empty(), "blobs that nobody will ever delete: {unknown:?}");
}
