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
        AND (s.event_types IS NULL OR logged.type = ANY (s.event_types));
    RETURN NULL;
END;
$$;
DROP TABLE delivery_attempts;
DROP TABLE delivery_turns;
DROP INDEX event_outbox_age;
DROP INDEX event_outbox_of_event;
DROP INDEX event_outbox_once;
DROP INDEX event_outbox_pending;
ALTER TABLE event_outbox
    DROP COLUMN position,
    DROP COLUMN previous_position,
    DROP COLUMN dead_at;
CREATE INDEX event_outbox_pending ON event_outbox (next_attempt) WHERE delivered_at IS NULL;
DROP INDEX event_subscriptions_of_creator;
DROP INDEX event_subscriptions_of_repo;
UPDATE event_subscriptions SET config = config || jsonb_build_object('secret', secret) WHERE secret IS NOT NULL;
ALTER TABLE event_subscriptions
    DROP COLUMN secret,
    DROP COLUMN previous_secret,
    DROP COLUMN previous_secret_until,
    DROP COLUMN suspended_reason;
