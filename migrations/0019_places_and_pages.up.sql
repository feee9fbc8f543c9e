-- What nobody needs costs nothing: subscriptions to other repos when an event is logged, and issues that a page leaves out.
-- Places of delivery are shared by what receivers cost.

-- How long the receiver took to answer, in milliseconds: each attempt counts for a quarter. Slow ones have a share of the places.
ALTER TABLE delivery_turns ADD COLUMN answer_ms integer NOT NULL DEFAULT 0;

-- As before, and each look is one into the index of the repo: a condition for both kinds would walk through the subscriptions of
-- all repos with every event. Locked where they are found, so that no other plan suits.
CREATE OR REPLACE FUNCTION enqueue_deliveries() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO event_outbox (id, event_log_id, subscription_id)
    SELECT gen_random_uuid(), logged.id, wanted.id
    FROM logged
    CROSS JOIN LATERAL (
        SELECT s.id
        FROM event_subscriptions s
        WHERE s.repo_id = logged.repo_id
            AND s.suspended_at IS NULL
            AND (s.event_types IS NULL OR logged.type = ANY (s.event_types))
        FOR KEY SHARE OF s
    ) wanted;
    INSERT INTO event_outbox (id, event_log_id, subscription_id)
    SELECT gen_random_uuid(), logged.id, wanted.id
    FROM logged
    CROSS JOIN LATERAL (
        SELECT s.id
        FROM event_subscriptions s
        WHERE s.repo_id IS NULL
            AND s.suspended_at IS NULL
            AND (s.event_types IS NULL OR logged.type = ANY (s.event_types))
        FOR KEY SHARE OF s
    ) wanted;
    RETURN NULL;
END;
$$;

-- A page of one state, or of one author's, costs the page.
CREATE INDEX issues_of_state ON issues (repo_id, state, number DESC);
CREATE INDEX issues_of_author ON issues (repo_id, author, state, number DESC);
DROP INDEX issues_open;

-- The labels of issues, in the order of a page: an index of an array has the issues of all repos under one label.
CREATE TABLE issue_labels (
    repo_id bigint NOT NULL REFERENCES repos (id),
    label text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    issue_id uuid NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    PRIMARY KEY (repo_id, label, state, number)
);
CREATE INDEX issue_labels_of_issue ON issue_labels (issue_id);

-- Whoever writes an issue, also a server of the release before, keeps them.
CREATE FUNCTION keep_issue_labels() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM issue_labels WHERE issue_id = NEW.id;
    INSERT INTO issue_labels (repo_id, label, state, number, issue_id)
    SELECT DISTINCT NEW.repo_id, label, NEW.state, NEW.number, NEW.id FROM unnest(NEW.labels) AS labels (label);
    RETURN NULL;
END;
$$;
CREATE TRIGGER issues_labels_new AFTER INSERT ON issues
    FOR EACH ROW WHEN (NEW.labels <> '{}') EXECUTE FUNCTION keep_issue_labels();
CREATE TRIGGER issues_labels_changed AFTER UPDATE OF labels, state ON issues
    FOR EACH ROW WHEN ((OLD.labels, OLD.state) IS DISTINCT FROM (NEW.labels, NEW.state))
    EXECUTE FUNCTION keep_issue_labels();

INSERT INTO issue_labels (repo_id, label, state, number, issue_id)
SELECT DISTINCT i.repo_id, label, i.state, i.number, i.id FROM issues i, unnest(i.labels) AS labels (label);
