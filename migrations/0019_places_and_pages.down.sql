DROP TRIGGER issues_labels_changed ON issues;
DROP TRIGGER issues_labels_new ON issues;
DROP FUNCTION keep_issue_labels();
DROP TABLE issue_labels;
CREATE INDEX issues_open ON issues (repo_id, number DESC) WHERE state = 'open';
DROP INDEX issues_of_author;
DROP INDEX issues_of_state;
ALTER TABLE delivery_turns DROP COLUMN answer_ms;

CREATE OR REPLACE FUNCTION enqueue_deliveries() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO event_outbox (id, event_log_id, subscription_id)
    SELECT gen_random_uuid(), logged.id, s.id
    FROM logged
    JOIN event_subscriptions s
        ON s.suspended_at IS NULL
        AND (s.repo_id IS NULL OR s.repo_id = logged.repo_id)
        AND (s.event_types IS NULL OR logged.type = ANY (s.event_types))
    FOR KEY SHARE OF s;
    RETURN NULL;
END;
$$;
