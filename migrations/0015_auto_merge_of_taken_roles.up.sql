-- A role that is taken away can give a right: an explicit one counts even when the org's is higher. Whoever asked for a
-- branch to merge by itself may then merge, so it is looked at.
CREATE OR REPLACE FUNCTION note_auto_merge_of_repo() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    changed_repo bigint := CASE TG_OP WHEN 'DELETE' THEN OLD.repo_id ELSE NEW.repo_id END;
BEGIN
    -- The roles of a repo that is deleted go as well; nothing of it merges.
    PERFORM note_auto_merges(ARRAY(
        SELECT b.id FROM branches b JOIN repos r ON r.id = b.repo_id AND r.deleted_at IS NULL
        WHERE b.repo_id = changed_repo AND b.auto_merge AND b.status = 'active' AND b.deleted_at IS NULL
    ));
    RETURN NULL;
END;
$$;
CREATE TRIGGER taken_roles_auto_merge
    AFTER DELETE ON roles FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_repo();
