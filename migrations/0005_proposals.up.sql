-- Proposals: the wish to have a branch merged. They go with their branch when it is purged.
CREATE TABLE proposals (
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    branch_id bigint NOT NULL REFERENCES branches (id),
    -- For people to see: merges go to main all the same. Its row outlives its purge.
    base_branch_id bigint NOT NULL REFERENCES branches (id),
    title text NOT NULL,
    description text,
    author text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'open'
        CONSTRAINT proposals_state CHECK (state IN ('open', 'closed', 'merged')),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Rises with each change: the tag of a proposal is made of it.
    updated_at timestamptz NOT NULL DEFAULT now()
);
-- Who opens a second one for a branch at the same moment violates this.
CREATE UNIQUE INDEX proposals_one_open ON proposals (branch_id) WHERE state = 'open';
CREATE INDEX proposals_newest ON proposals (repo_id, created_at DESC, id DESC);
CREATE INDEX proposals_of_branch ON proposals (branch_id);
