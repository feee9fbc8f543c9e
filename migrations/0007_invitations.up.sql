-- Invitations into orgs. They go with their org.
CREATE TABLE org_invites (
    id uuid PRIMARY KEY,
    org_id bigint NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
    -- As it was written; compared without regard to case.
    email text COLLATE "C" NOT NULL,
    role org_role NOT NULL,
    invited_by text COLLATE "C" NOT NULL,
    -- SHA-256 of the token's ASCII text; the token itself is never stored.
    token_hash bytea NOT NULL CONSTRAINT org_invites_token_hash_length CHECK (length(token_hash) = 32),
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX org_invites_token ON org_invites (token_hash);
CREATE INDEX org_invites_oldest ON org_invites (org_id, created_at, id);
