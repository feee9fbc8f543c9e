SET LOCAL lock_timeout = '10s';

DROP TRIGGER keep_references ON repos;
DROP TRIGGER keep_references ON content_bytes;
DROP TRIGGER keep_references ON contents;
DROP TRIGGER keep_references ON commits;
DROP TRIGGER keep_references ON file_changes;
DROP TRIGGER check_removed ON repos;
DROP TRIGGER check_removed ON contents;
DROP TRIGGER check_removed ON commits;
DROP TRIGGER check_new ON content_bytes;
DROP TRIGGER check_new ON contents;
DROP TRIGGER check_new ON file_changes;
DROP FUNCTION refuse_new_reference();
DROP FUNCTION check_removed_repos();
DROP FUNCTION check_removed_contents();
DROP FUNCTION check_removed_commits();
DROP FUNCTION check_new_content_bytes();
DROP FUNCTION check_new_contents();
DROP FUNCTION check_new_file_changes();
ALTER TABLE content_bytes ADD CONSTRAINT content_bytes_content_id_fkey
    FOREIGN KEY (content_id) REFERENCES contents (id) ON DELETE CASCADE;
ALTER TABLE contents ADD CONSTRAINT contents_repo_id_fkey FOREIGN KEY (repo_id) REFERENCES repos (id);
ALTER TABLE file_changes ADD CONSTRAINT file_changes_branch_id_sequence_fkey
    FOREIGN KEY (branch_id, sequence) REFERENCES commits (branch_id, sequence);
ALTER TABLE file_changes ADD CONSTRAINT file_changes_content_id_fkey
    FOREIGN KEY (content_id) REFERENCES contents (id);
