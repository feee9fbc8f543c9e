-- Policies of an org: they judge every repo of it, and no repo can change them.
CREATE TABLE org_policies (
    org_id bigint NOT NULL REFERENCES orgs (id),
    name text COLLATE "C" NOT NULL,
    source text NOT NULL,
    updated_by text COLLATE "C" NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT org_policies_key PRIMARY KEY (org_id, name)
);

-- What the policies said when something was about to move main, with the document that they judged by: so that other
-- policies can be tried on it.
CREATE TABLE policy_verdicts (
    -- Version 7, so that ids rise with time.
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    -- main for a commit or an import. The row of a branch outlives its purge, and so does the verdict: it is about main.
    branch_id bigint NOT NULL REFERENCES branches (id),
    action text COLLATE "C" NOT NULL CHECK (action IN ('merge', 'commit', 'import')),
    actor text COLLATE "C" NOT NULL,
    on_behalf_of text COLLATE "C",
    outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('allowed', 'denied', 'overridden')),
    head_sequence bigint NOT NULL,
    -- The commit on main that came of it; null when it was refused.
    sequence bigint,
    override_reason text,
    results jsonb NOT NULL,
    -- Null when it was too large to be kept.
    input jsonb,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((outcome = 'overridden') = (override_reason IS NOT NULL)),
    CHECK (outcome <> 'denied' OR sequence IS NULL)
);
CREATE INDEX policy_verdicts_newest ON policy_verdicts (repo_id, id DESC);
CREATE INDEX policy_verdicts_of_branch ON policy_verdicts (branch_id);
CREATE INDEX policy_verdicts_age ON policy_verdicts (created_at);
