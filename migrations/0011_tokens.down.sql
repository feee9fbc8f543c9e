DROP INDEX event_log_age;
CREATE INDEX event_log_age ON event_log (created_at);
DROP INDEX event_log_audit_of_repo;
DROP INDEX event_log_audit;
ALTER TABLE event_log DROP COLUMN audit;
DROP TABLE token_repos;
DROP TABLE tokens;
DROP TABLE agents;
