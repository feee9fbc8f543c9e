-- Who asked for a branch to merge by itself: it happens on their behalf, and while they may still merge.
ALTER TABLE branches ADD COLUMN auto_merge_by text COLLATE "C";

-- Branches that are to be looked at, because something happened that may let them merge. The row is written by whatever
-- happened, in its own transaction, so it is there also when no process runs.
CREATE TABLE auto_merges_due (
    branch_id bigint PRIMARY KEY REFERENCES branches (id),
    due_at timestamptz NOT NULL,
    -- Rises each time something happens: whoever looked at the branch takes the row away only if nothing did meanwhile.
    generation bigint NOT NULL DEFAULT 1,
    attempts integer NOT NULL DEFAULT 0
);
CREATE INDEX auto_merges_due_next ON auto_merges_due (due_at);

CREATE INDEX branches_auto_merge ON branches (repo_id) WHERE auto_merge AND status = 'active' AND deleted_at IS NULL;

-- Notes that these branches are to be looked at, as far as they want to merge by themselves. In the order of ids, so that
-- two transactions that note several of them do not wait for each other in a circle.
CREATE FUNCTION note_auto_merges(p_branches bigint[]) RETURNS void
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

-- A branch was committed to, rebased, made ready, or is to merge by itself now; or main moved, with a policy or without.
CREATE FUNCTION note_auto_merge_of_branch() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.name = 'main' THEN
        PERFORM note_auto_merges(ARRAY(
            SELECT id FROM branches
            WHERE repo_id = NEW.repo_id AND auto_merge AND status = 'active' AND deleted_at IS NULL
        ));
    ELSE
        PERFORM note_auto_merges(ARRAY[NEW.id]);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER branches_auto_merge_main
    AFTER UPDATE OF head_sequence ON branches
    FOR EACH ROW WHEN (NEW.name = 'main' AND NEW.head_sequence IS DISTINCT FROM OLD.head_sequence)
    EXECUTE FUNCTION note_auto_merge_of_branch();
CREATE TRIGGER branches_auto_merge_own
    AFTER UPDATE ON branches
    FOR EACH ROW WHEN (NEW.auto_merge AND NEW.status = 'active' AND NEW.deleted_at IS NULL AND NEW.name <> 'main')
    EXECUTE FUNCTION note_auto_merge_of_branch();

-- Something was said about a branch: a review, a check, a proposal.
CREATE FUNCTION note_auto_merge_of_row() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM note_auto_merges(ARRAY[NEW.branch_id]);
    RETURN NULL;
END;
$$;
CREATE TRIGGER reviews_auto_merge
    AFTER INSERT OR UPDATE ON reviews FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_row();
CREATE TRIGGER check_runs_auto_merge
    AFTER INSERT OR UPDATE ON check_runs FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_row();
CREATE TRIGGER proposals_auto_merge
    AFTER INSERT OR UPDATE ON proposals FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_row();

-- Somebody may merge who might not before.
CREATE FUNCTION note_auto_merge_of_repo() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM note_auto_merges(ARRAY(
        SELECT id FROM branches
        WHERE repo_id = NEW.repo_id AND auto_merge AND status = 'active' AND deleted_at IS NULL
    ));
    RETURN NULL;
END;
$$;
CREATE TRIGGER roles_auto_merge
    AFTER INSERT OR UPDATE ON roles FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_repo();

-- A policy of the org changed, or somebody's place in it.
CREATE FUNCTION note_auto_merge_of_org() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    changed_org bigint := CASE TG_OP WHEN 'DELETE' THEN OLD.org_id ELSE NEW.org_id END;
BEGIN
    PERFORM note_auto_merges(ARRAY(
        SELECT b.id FROM branches b JOIN repos r ON r.id = b.repo_id
        WHERE r.org_id = changed_org AND b.auto_merge AND b.status = 'active' AND b.deleted_at IS NULL
    ));
    RETURN NULL;
END;
$$;
CREATE TRIGGER org_policies_auto_merge
    AFTER INSERT OR UPDATE OR DELETE ON org_policies FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_org();
CREATE TRIGGER org_members_auto_merge
    AFTER INSERT OR UPDATE ON org_members FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_org();

-- Those that were waiting when this table came.
SELECT note_auto_merges(ARRAY(SELECT id FROM branches WHERE auto_merge));
