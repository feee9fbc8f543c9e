-- The rows of a commit refer to contents and to the commit, and PostgreSQL looks a foreign key up row by row: a commit of a
-- thousand new files took four thousand look-ups, which were two fifths of its time in the database. These triggers hold the
-- same, for all rows of a statement at once. As foreign keys do, they lock what is referred to until the transaction ends, so
-- that nobody removes it meanwhile; what refers to nothing is refused with the same error.
SET LOCAL lock_timeout = '10s';

ALTER TABLE file_changes DROP CONSTRAINT file_changes_content_id_fkey;
ALTER TABLE file_changes DROP CONSTRAINT file_changes_branch_id_sequence_fkey;
ALTER TABLE contents DROP CONSTRAINT contents_repo_id_fkey;
ALTER TABLE content_bytes DROP CONSTRAINT content_bytes_content_id_fkey;

-- In all of them: one by one, since a plan is kept for statements of any size, and one for a large statement would read whole
-- tables for a small one.

CREATE FUNCTION check_new_file_changes() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM (SELECT DISTINCT branch_id, sequence FROM added) change
        LEFT JOIN LATERAL (
            SELECT true AS is_there FROM commits
            WHERE branch_id = change.branch_id AND sequence = change.sequence
            FOR KEY SHARE
        ) known ON true
        WHERE known.is_there IS NULL
    ) THEN
        RAISE EXCEPTION 'a change of a file is of no commit'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'file_changes_branch_id_sequence_fkey';
    END IF;
    IF EXISTS (
        SELECT
        FROM added change
        LEFT JOIN LATERAL (
            SELECT true AS is_there FROM contents WHERE id = change.content_id FOR KEY SHARE
        ) known ON true
        WHERE change.content_id IS NOT NULL AND known.is_there IS NULL
    ) THEN
        RAISE EXCEPTION 'a change of a file has a content that is not there'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'file_changes_content_id_fkey';
    END IF;
    RETURN NULL;
END;
$$;

CREATE FUNCTION check_new_contents() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM (SELECT DISTINCT repo_id FROM added) content
        LEFT JOIN LATERAL (
            SELECT true AS is_there FROM repos WHERE id = content.repo_id FOR KEY SHARE
        ) known ON true
        WHERE known.is_there IS NULL
    ) THEN
        RAISE EXCEPTION 'a content is of no repo'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'contents_repo_id_fkey';
    END IF;
    RETURN NULL;
END;
$$;

CREATE FUNCTION check_new_content_bytes() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM added bytes
        LEFT JOIN LATERAL (
            SELECT true AS is_there FROM contents WHERE id = bytes.content_id FOR KEY SHARE
        ) known ON true
        WHERE known.is_there IS NULL
    ) THEN
        RAISE EXCEPTION 'bytes are of no content'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'content_bytes_content_id_fkey';
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER check_new AFTER INSERT ON file_changes
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_new_file_changes();
CREATE TRIGGER check_new AFTER INSERT ON contents
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_new_contents();
CREATE TRIGGER check_new AFTER INSERT ON content_bytes
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_new_content_bytes();

-- The other side: what is referred to cannot go, and bytes go with their content.

CREATE FUNCTION check_removed_commits() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM removed
        CROSS JOIN LATERAL (
            SELECT FROM file_changes f
            WHERE f.branch_id = removed.branch_id AND f.sequence = removed.sequence
            LIMIT 1
        ) change
    ) THEN
        RAISE EXCEPTION 'a commit has changes of files'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'file_changes_branch_id_sequence_fkey';
    END IF;
    RETURN NULL;
END;
$$;

CREATE FUNCTION check_removed_contents() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM removed
        CROSS JOIN LATERAL (SELECT FROM file_changes f WHERE f.content_id = removed.id LIMIT 1) change
    ) THEN
        RAISE EXCEPTION 'a file has this content'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'file_changes_content_id_fkey';
    END IF;
    DELETE FROM content_bytes WHERE content_id = ANY (ARRAY(SELECT id FROM removed));
    RETURN NULL;
END;
$$;

CREATE FUNCTION check_removed_repos() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM removed
        CROSS JOIN LATERAL (SELECT FROM contents c WHERE c.repo_id = removed.id LIMIT 1) content
    ) THEN
        RAISE EXCEPTION 'a repo has contents'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'contents_repo_id_fkey';
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER check_removed AFTER DELETE ON commits
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION check_removed_commits();
CREATE TRIGGER check_removed AFTER DELETE ON contents
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION check_removed_contents();
CREATE TRIGGER check_removed AFTER DELETE ON repos
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION check_removed_repos();

-- Who refers to what never changes.

CREATE FUNCTION refuse_new_reference() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'rows of % keep what they refer to', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END;
$$;

CREATE TRIGGER keep_references BEFORE UPDATE OF branch_id, sequence, content_id ON file_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_new_reference();
CREATE TRIGGER keep_references BEFORE UPDATE OF branch_id, sequence ON commits
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_new_reference();
CREATE TRIGGER keep_references BEFORE UPDATE OF id, repo_id ON contents
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_new_reference();
CREATE TRIGGER keep_references BEFORE UPDATE OF content_id ON content_bytes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_new_reference();
CREATE TRIGGER keep_references BEFORE UPDATE OF id ON repos
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_new_reference();
