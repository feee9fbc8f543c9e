-- Delivering what the outbox holds: whose turn it is, what was tried, and subscriptions that can be looked after.

-- The secret signs; it never leaves the server, so it stands apart from the config that reads show.
ALTER TABLE event_subscriptions
    ADD COLUMN secret text,
    -- During a rotation both sign, until the end that was set.
    ADD COLUMN previous_secret text,
    ADD COLUMN previous_secret_until timestamptz,
    -- Why it was suspended, in a sentence.
    ADD COLUMN suspended_reason text;
UPDATE event_subscriptions SET secret = config ->> 'secret', config = config - 'secret' WHERE config ? 'secret';
CREATE INDEX event_subscriptions_of_repo ON event_subscriptions (repo_id);
CREATE INDEX event_subscriptions_of_creator ON event_subscriptions (created_by, created_at);

ALTER TABLE event_outbox
    -- The event's place in the log, copied when the delivery's turn comes: what a subscription gets is ordered by it.
    ADD COLUMN position bigint,
    -- The place of the delivery before this one to the same subscription, so that a receiver sees a gap.
    ADD COLUMN previous_position bigint,
    -- Tried too often, and given up.
    ADD COLUMN dead_at timestamptz;
DROP INDEX event_outbox_pending;
CREATE INDEX event_outbox_pending ON event_outbox (subscription_id, position)
    WHERE delivered_at IS NULL AND dead_at IS NULL;
CREATE UNIQUE INDEX event_outbox_once ON event_outbox (subscription_id, event_log_id);
CREATE INDEX event_outbox_of_event ON event_outbox (event_log_id);
CREATE INDEX event_outbox_age ON event_outbox (created_at);

-- Whose turn it is to deliver to a subscription. Apart from the subscription, which every event reads.
CREATE TABLE delivery_turns (
    subscription_id uuid PRIMARY KEY REFERENCES event_subscriptions (id) ON DELETE CASCADE,
    -- Nothing is sent before this.
    next_attempt timestamptz NOT NULL DEFAULT now(),
    -- How often the delivery at the front failed so far.
    failures integer NOT NULL DEFAULT 0,
    -- The process that delivers, and until when it may: a process that dies loses its turn then.
    holder uuid,
    held_until timestamptz,
    -- The highest position that was given to a delivery.
    last_position bigint
);
INSERT INTO delivery_turns (subscription_id) SELECT id FROM event_subscriptions;

-- What was tried, for whoever looks after a receiver.
CREATE TABLE delivery_attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id uuid NOT NULL REFERENCES event_outbox (id) ON DELETE CASCADE,
    started_at timestamptz NOT NULL,
    duration_ms bigint NOT NULL,
    -- The status of the answer, if there was one.
    status integer,
    -- Null when it was delivered.
    error text
);
CREATE INDEX delivery_attempts_of_delivery ON delivery_attempts (delivery_id, id);

-- As before, and it waits for a subscription that is just being deleted instead of referring to one that is gone, which
-- would refuse the change that the event tells of.
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
