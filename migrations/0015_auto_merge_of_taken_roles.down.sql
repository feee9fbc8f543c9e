DROP TRIGGER taken_roles_auto_merge ON roles;
CREATE OR REPLACE FUNCTION note_auto_merge_of_repo() RETURNS trigger
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
