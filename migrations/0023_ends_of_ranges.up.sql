-- Walks along an index end where their range ends. PostgreSQL ends a walk at a condition for a column of its own, or at the
-- first column of a comparison of rows. Where only the second column of a row is too high it skips what comes, entry by
-- entry: behind the last file of a directory it went through the rest of the branch, and behind the last file of `main`
-- through all files of the branch that was made next, whosever it was.

-- Sorts behind every path: no character is higher than this one, and no path has room for more than 1024 of it.
CREATE FUNCTION behind_all_paths() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT repeat(chr(1114111), 1025) $$;

CREATE OR REPLACE FUNCTION tree_point(p_repo_id bigint, p_branch text, p_at bigint)
RETURNS TABLE (
    branch_id bigint, main_id bigint, head_sequence bigint,
    base_sequence bigint, floor_sequence bigint, upto_sequence bigint, is_head boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        b.id,
        m.id,
        b.head_sequence,
        CASE
            WHEN p_at IS NULL OR p_at >= b.head_sequence THEN b.base_sequence
            WHEN c.base_sequence IS NOT NULL THEN c.base_sequence
            -- Before the branch's first commit: main, up to where the branch began or the point asked for.
            ELSE least(p_at, coalesce(o.base_sequence, b.base_sequence))
        END,
        CASE WHEN p_at IS NULL OR p_at >= b.head_sequence THEN b.floor_sequence ELSE coalesce(c.floor_sequence, p_at) END,
        CASE WHEN p_at IS NULL OR p_at >= b.head_sequence THEN b.head_sequence ELSE p_at END,
        p_at IS NULL OR p_at >= b.head_sequence
    FROM branches b
    JOIN branches m ON m.repo_id = b.repo_id AND m.name = 'main' AND m.deleted_at IS NULL
    -- At the head neither is looked for. Where the walks begin rows are compared, and not columns, so that
    -- commits_of_branch alone gives the order: by the primary key a branch without commits would be looked for among those
    -- of all repos.
    LEFT JOIN LATERAL (
        SELECT commits.base_sequence, commits.floor_sequence
        FROM commits
        WHERE p_at < b.head_sequence
            AND (commits.branch_id, commits.sequence) <= (b.id, p_at)
            AND commits.branch_id >= b.id
        ORDER BY commits.branch_id DESC, commits.sequence DESC
        LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT commits.base_sequence
        FROM commits
        WHERE p_at < b.head_sequence
            AND c.base_sequence IS NULL
            AND (commits.branch_id, commits.sequence) > (b.id, 0)
            AND commits.branch_id <= b.id
        ORDER BY commits.branch_id, commits.sequence
        LIMIT 1
    ) o ON true
    WHERE b.repo_id = p_repo_id AND b.name = p_branch AND b.deleted_at IS NULL
$$;

CREATE OR REPLACE FUNCTION tree_files(
    p_branch_id bigint, p_main_id bigint, p_base_sequence bigint, p_floor_sequence bigint, p_upto_sequence bigint,
    p_is_head boolean, p_from text, p_before text, p_limit bigint
)
RETURNS TABLE (path text, content_id bigint, mode integer)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT page.path, page.content_id, page.mode
    FROM (
        -- The branch's own files, at its head.
        (
            SELECT f.path, f.content_id, f.mode
            FROM file_changes f
            WHERE p_is_head
                AND f.branch_id = p_branch_id
                AND f.superseded_by IS NULL
                AND f.content_id IS NOT NULL
                AND f.sequence > p_floor_sequence
                AND f.path >= p_from
                AND f.path < coalesce(p_before, behind_all_paths())
            ORDER BY f.path
            LIMIT p_limit
        )
        UNION ALL
        -- The branch's own files, at an earlier point.
        (
            SELECT f.path, f.content_id, f.mode
            FROM file_changes f
            WHERE NOT p_is_head
                AND f.branch_id = p_branch_id
                AND (f.superseded_by IS NULL OR f.superseded_by > p_upto_sequence)
                AND f.content_id IS NOT NULL
                AND f.sequence > p_floor_sequence
                AND f.sequence <= p_upto_sequence
                AND f.path >= p_from
                AND f.path < coalesce(p_before, behind_all_paths())
            ORDER BY f.path
            LIMIT p_limit
        )
        UNION ALL
        -- The files of main at the base that are still as they were.
        (
            SELECT f.path, f.content_id, f.mode
            FROM file_changes f
            WHERE p_branch_id <> p_main_id
                AND f.branch_id = p_main_id
                AND f.superseded_by IS NULL
                AND f.content_id IS NOT NULL
                AND f.sequence <= p_base_sequence
                AND f.path >= p_from
                AND f.path < coalesce(p_before, behind_all_paths())
                AND NOT EXISTS (
                    SELECT 1 FROM file_changes own
                    WHERE own.branch_id = p_branch_id
                        AND own.path = f.path
                        AND own.sequence > p_floor_sequence
                        AND own.sequence <= p_upto_sequence
                    -- Asked path by path, and not joined with all that the branch changed.
                    OFFSET 0
                )
            ORDER BY f.path
            LIMIT p_limit
        )
        UNION ALL
        -- The files of main at the base that main has changed or deleted since.
        (
            SELECT f.path, f.content_id, f.mode
            FROM (
                -- Apart, so that file_changes_superseded is used: the cost is what main changed since the base. In the
                -- order of paths main's whole history would be walked.
                SELECT since.path, since.content_id, since.mode, since.sequence
                FROM file_changes since
                WHERE p_branch_id <> p_main_id
                    AND since.branch_id = p_main_id
                    AND since.superseded_by > p_base_sequence
                    -- A sum is in no index.
                    AND since.sequence + 0 <= p_base_sequence
                    AND since.content_id IS NOT NULL
                OFFSET 0
            ) f
            WHERE f.path >= p_from
                AND f.path < coalesce(p_before, behind_all_paths())
                AND NOT EXISTS (
                    SELECT 1 FROM file_changes own
                    WHERE own.branch_id = p_branch_id
                        AND own.path = f.path
                        AND own.sequence > p_floor_sequence
                        AND own.sequence <= p_upto_sequence
                    -- Asked path by path, and not joined with all that the branch changed.
                    OFFSET 0
                )
            ORDER BY f.path
            LIMIT p_limit
        )
    ) page
    ORDER BY page.path
    LIMIT p_limit
$$;

-- The same at the head of main, where most reads are: no layers, so the leanest of plans.
CREATE OR REPLACE FUNCTION main_files(p_main_id bigint, p_from text, p_before text, p_limit bigint)
RETURNS TABLE (path text, content_id bigint, mode integer)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT f.path, f.content_id, f.mode
    FROM file_changes f
    WHERE f.branch_id = p_main_id
        AND f.superseded_by IS NULL
        AND f.content_id IS NOT NULL
        AND f.path >= p_from
        AND f.path < coalesce(p_before, behind_all_paths())
    ORDER BY f.path
    LIMIT p_limit
$$;
