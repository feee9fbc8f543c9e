CREATE INDEX policy_verdicts_of_branch ON policy_verdicts (branch_id);
DROP INDEX policy_verdicts_newest_of_branch;
DROP TRIGGER org_members_gone_auto_merge ON org_members;
CREATE OR REPLACE FUNCTION note_auto_merges(p_branches bigint[]) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO auto_merges_due (branch_id, due_at)
    SELECT b.id, now()
    FROM branches b
    WHERE b.id = ANY (p_branches) AND b.auto_merge AND b.status = 'active' AND b.deleted_at IS NULL
    ORDER BY b.id
    ON CONFLICT (branch_id) DO UPDATE
        SET due_at = least(auto_merges_due.due_at, excluded.due_at),
            generation = auto_merges_due.generation + 1,
            attempts = 0
$$;
DROP TABLE auto_merge_turns;
CREATE INDEX auto_merges_due_next ON auto_merges_due (due_at);
DROP INDEX auto_merges_due_of_repo;
ALTER TABLE auto_merges_due DROP COLUMN repo_id;
