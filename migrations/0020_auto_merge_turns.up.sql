-- Repos take turns: a server takes that of a repo before it looks at a branch of it, so a repo with many branches that merge
-- by themselves, or with slow policies, has one place of those that there are.
SET LOCAL lock_timeout = '10s';

ALTER TABLE auto_merges_due ADD COLUMN repo_id bigint REFERENCES repos (id);
UPDATE auto_merges_due d SET repo_id = b.repo_id FROM branches b WHERE b.id = d.branch_id;
-- Rows are written by the function below alone, which changes with it.
ALTER TABLE auto_merges_due ALTER COLUMN repo_id SET NOT NULL;
CREATE INDEX auto_merges_due_of_repo ON auto_merges_due (repo_id, due_at);
DROP INDEX auto_merges_due_next;

CREATE TABLE auto_merge_turns (
    repo_id bigint PRIMARY KEY REFERENCES repos (id),
    -- Ahead: a server is at it, and this is when another one may take the turn though it was not given back. Past: since
    -- when it is free, so that whoever waits longest comes next.
    held_until timestamptz NOT NULL
);

CREATE OR REPLACE FUNCTION note_auto_merges(p_branches bigint[]) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO auto_merges_due (branch_id, repo_id, due_at)
    SELECT b.id, b.repo_id, now()
    FROM branches b
    WHERE b.id = ANY (p_branches) AND b.auto_merge AND b.status = 'active' AND b.deleted_at IS NULL
    ORDER BY b.id
    ON CONFLICT (branch_id) DO UPDATE
        SET due_at = least(auto_merges_due.due_at, excluded.due_at),
            generation = auto_merges_due.generation + 1,
            attempts = 0
$$;

-- Policies see the roles of those whom they judge by, so also what somebody loses can turn a branch green.
CREATE TRIGGER org_members_gone_auto_merge
    AFTER DELETE ON org_members FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_org();

-- The newest verdict about a branch: what is denied again and again by itself is kept once.
CREATE INDEX policy_verdicts_newest_of_branch ON policy_verdicts (branch_id, id DESC);
DROP INDEX policy_verdicts_of_branch;
