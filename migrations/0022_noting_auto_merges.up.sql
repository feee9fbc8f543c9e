-- Each commit to main notes the branches that are to merge by themselves, which hardly ever are any. A function in SQL is
-- planned for each call, and that took a quarter of the commit's statement; one in PL/pgSQL keeps its plan.
CREATE OR REPLACE FUNCTION note_auto_merges(p_branches bigint[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF cardinality(p_branches) = 0 THEN
        RETURN;
    END IF;
    INSERT INTO auto_merges_due (branch_id, repo_id, due_at)
    SELECT b.id, b.repo_id, now()
    FROM branches b
    WHERE b.id = ANY (p_branches) AND b.auto_merge AND b.status = 'active' AND b.deleted_at IS NULL
    ORDER BY b.id
    ON CONFLICT (branch_id) DO UPDATE
        SET due_at = least(auto_merges_due.due_at, excluded.due_at),
            generation = auto_merges_due.generation + 1,
            attempts = 0;
END;
$$;
