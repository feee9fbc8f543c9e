-- What signs webhooks, sealed by a key that is not in the database, like the secrets of repos.

CREATE TABLE subscription_secrets (
    -- What it is bound to, with its subscription.
    id uuid PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES event_subscriptions (id) ON DELETE CASCADE,
    -- Until when it signs beside the one that took its place; null for the one of now.
    signs_until timestamptz,
    -- How it was sealed: 0 not at all, which is how it came from the columns before; 2 bound to its subscription and id.
    layout integer NOT NULL,
    ciphertext bytea NOT NULL,
    nonce bytea NOT NULL,
    encrypted_dek bytea NOT NULL,
    -- The key that sealed the data key.
    kms_key_name text NOT NULL
);
-- One secret of now.
CREATE UNIQUE INDEX subscription_secrets_current ON subscription_secrets (subscription_id) WHERE signs_until IS NULL;
CREATE INDEX subscription_secrets_of_subscription ON subscription_secrets (subscription_id);

-- Everything that signs, wherever it is. Replicas of the last release write clear text into the columns of subscriptions
-- while they are replaced, and read it there; it stays until it is sealed (`ds secrets rewrap`) or replaced. What such a
-- replica sends meanwhile for a secret that was sealed has no signature: receivers refuse it, and it is tried again.
CREATE VIEW signing_secrets AS
SELECT id, subscription_id, signs_until, layout, ciphertext, nonce, encrypted_dek, kms_key_name
FROM subscription_secrets
UNION ALL
SELECT id, id, NULL, 0, convert_to(secret, 'UTF8'), '', '', ''
FROM event_subscriptions
WHERE secret IS NOT NULL
UNION ALL
SELECT id, id, previous_secret_until, 0, convert_to(previous_secret, 'UTF8'), '', '', ''
FROM event_subscriptions
WHERE previous_secret IS NOT NULL AND previous_secret_until IS NOT NULL;
