DROP FUNCTION main_files(bigint, text, text, bigint);

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
                AND (p_before IS NULL OR f.path < p_before)
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
                AND (p_before IS NULL OR f.path < p_before)
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
                AND (p_before IS NULL OR f.path < p_before)
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
                AND (p_before IS NULL OR f.path < p_before)
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
