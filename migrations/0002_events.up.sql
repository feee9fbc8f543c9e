-- What happened, written in the transaction that made it happen.
--
-- `id` is drawn inside concurrent transactions, so a lower id may become visible after a higher one. Readers go by
-- `position` instead: one sequencer at a time gives positions to events that are already committed, so positions
-- become visible in order and a reader that has seen position n can never miss a lower one.
CREATE TABLE event_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position bigint UNIQUE,
    event_id uuid NOT NULL,
    -- What streams filter by: the full name of a repo, or /orgs/<org>.
    subject text COLLATE "C" NOT NULL,
    -- The repo, for those who may read a repo but not another one that takes its name later.
    repo_id bigint REFERENCES repos (id),
    type text COLLATE "C" NOT NULL,
    -- The CloudEvents envelope, byte for byte as it is sent.
    payload text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_log_unsequenced ON event_log (id) WHERE position IS NULL;
CREATE INDEX event_log_of_repo ON event_log (repo_id, position);
CREATE INDEX event_log_age ON event_log (created_at);

-- Where the next position comes from. A table, not a sequence, so that a rolled-back batch leaves no gap.
CREATE TABLE event_position (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    last bigint NOT NULL
);
INSERT INTO event_position (last) VALUES (0);

-- Deliveries that leave the server: one row per event and subscription, written with the event.
CREATE TABLE event_outbox (
    id uuid PRIMARY KEY,
    event_log_id bigint NOT NULL REFERENCES event_log (id) ON DELETE CASCADE,
    subscription_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    last_error text
);
CREATE INDEX event_outbox_pending ON event_outbox (next_attempt) WHERE delivered_at IS NULL;

CREATE TABLE event_subscriptions (
    id uuid PRIMARY KEY,
    repo_id bigint REFERENCES repos (id),
    event_types text[],
    backend text NOT NULL,
    config jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text COLLATE "C" NOT NULL,
    suspended_at timestamptz,
    failure_count integer NOT NULL DEFAULT 0
);
ALTER TABLE event_outbox
    ADD FOREIGN KEY (subscription_id) REFERENCES event_subscriptions (id) ON DELETE CASCADE;

-- An event cannot be logged without its deliveries: they are rows of the same statement.
CREATE FUNCTION enqueue_deliveries() RETURNS trigger
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
CREATE TRIGGER event_log_deliveries
    AFTER INSERT ON event_log
    REFERENCING NEW TABLE AS logged
    FOR EACH STATEMENT EXECUTE FUNCTION enqueue_deliveries();
