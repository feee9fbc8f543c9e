-- Answers go with the repo they are about: whoever has a repo of the same name later gets none of them. Null: the request was
-- about no repo, or was the one that deleted it.
ALTER TABLE idempotency_keys ADD COLUMN repo_id bigint REFERENCES repos (id);
CREATE INDEX idempotency_keys_of_repo ON idempotency_keys (repo_id) WHERE repo_id IS NOT NULL;

-- Branches are noted once for each statement and in the order of ids: a statement about many check runs took them in the
-- order of its scan, and waited in a circle with whoever noted the same branches.
CREATE FUNCTION note_auto_merges_of_rows() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM note_auto_merges(ARRAY(SELECT DISTINCT branch_id FROM changed));
    RETURN NULL;
END;
$$;
DROP TRIGGER check_runs_auto_merge ON check_runs;
CREATE TRIGGER check_runs_auto_merge_inserted
    AFTER INSERT ON check_runs REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_auto_merges_of_rows();
CREATE TRIGGER check_runs_auto_merge_updated
    AFTER UPDATE ON check_runs REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_auto_merges_of_rows();

-- A browser session is a signed cookie. One that ended before its time is noted here, until it would have run out.
CREATE TABLE ended_sessions (
    -- SHA-256 of what the cookie's signature is over.
    digest bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX ended_sessions_expiry ON ended_sessions (expires_at);

-- All sessions of a person that began at this moment or before have ended.
CREATE TABLE session_epochs (
    identity text COLLATE "C" PRIMARY KEY,
    began_at timestamptz NOT NULL
);
CREATE INDEX session_epochs_age ON session_epochs (began_at);
