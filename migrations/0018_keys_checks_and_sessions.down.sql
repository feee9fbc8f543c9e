DROP TABLE session_epochs;
DROP TABLE ended_sessions;
DROP TRIGGER check_runs_auto_merge_inserted ON check_runs;
DROP TRIGGER check_runs_auto_merge_updated ON check_runs;
DROP FUNCTION note_auto_merges_of_rows();
CREATE TRIGGER check_runs_auto_merge
    AFTER INSERT OR UPDATE ON check_runs FOR EACH ROW EXECUTE FUNCTION note_auto_merge_of_row();
DROP INDEX idempotency_keys_of_repo;
ALTER TABLE idempotency_keys DROP COLUMN repo_id;
