-- Programs that act on behalf of a person, under an identity of their own, for some hours.
CREATE TABLE agents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id uuid NOT NULL CONSTRAINT agents_agent_id UNIQUE,
    -- agent:<name>/<owner>
    identity text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX agents_live_identity ON agents (identity) WHERE revoked_at IS NULL;
CREATE INDEX agents_of_owner ON agents (owner, agent_id);
CREATE INDEX agents_end ON agents (expires_at);

-- API tokens. What is stored is SHA-256 of a text with 256 unpredictable bits, so nothing here opens anything.
CREATE TABLE tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id uuid NOT NULL CONSTRAINT tokens_token_id UNIQUE,
    name text NOT NULL,
    owner text COLLATE "C" NOT NULL,
    -- Whom it stands for; the owner when null.
    agent_id bigint REFERENCES agents (id) ON DELETE CASCADE,
    digest bytea NOT NULL CONSTRAINT tokens_digest UNIQUE,
    -- The scope: repos are in token_repos unless it is for all; null branches are all.
    all_repos boolean NOT NULL,
    branches text[],
    actions text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX tokens_of_owner ON tokens (owner, token_id);
CREATE INDEX tokens_of_agent ON tokens (agent_id);
CREATE INDEX tokens_end ON tokens (expires_at);

-- By id: a token for a repo is none for another one that takes its name.
CREATE TABLE token_repos (
    token_id bigint NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    repo_id bigint NOT NULL REFERENCES repos (id),
    PRIMARY KEY (token_id, repo_id)
);
CREATE INDEX token_repos_of_repo ON token_repos (repo_id);

-- The audit trail is the part of the log that is kept longer and has pages of its own.
ALTER TABLE event_log ADD COLUMN audit boolean NOT NULL DEFAULT false;
CREATE INDEX event_log_audit ON event_log (position) WHERE audit;
CREATE INDEX event_log_audit_of_repo ON event_log (repo_id, position) WHERE audit;
DROP INDEX event_log_age;
CREATE INDEX event_log_age ON event_log (audit, created_at);
