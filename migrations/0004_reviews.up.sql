-- Reviews, comments on what is reviewed, check runs, and which checks are required.

-- Who brought a commit whose author is somebody else; null: the author. Survives rebases, as the author does.
ALTER TABLE commits ADD COLUMN pushed_by text COLLATE "C";

CREATE TABLE reviews (
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    branch_id bigint NOT NULL REFERENCES branches (id),
    -- The head and the base of the branch that the reviewer saw.
    sequence bigint NOT NULL,
    base_sequence bigint NOT NULL,
    -- What the branch changed, as one hash: equal digests, equal changes. Null on main, which changes nothing.
    change_digest bytea CHECK (length(change_digest) = 32),
    reviewer text COLLATE "C" NOT NULL,
    reviewer_kind text COLLATE "C" NOT NULL,
    -- The person for whom an agent reviewed.
    on_behalf_of text COLLATE "C",
    status text COLLATE "C" NOT NULL CHECK (status IN ('approved', 'rejected', 'dismissed')),
    body text,
    created_at timestamptz NOT NULL
);
CREATE INDEX reviews_of_branch ON reviews (branch_id, created_at DESC, id DESC);
CREATE INDEX reviews_of_repo ON reviews (repo_id);

CREATE TABLE review_comments (
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    branch_id bigint NOT NULL REFERENCES branches (id),
    review_id uuid CONSTRAINT review_comments_review REFERENCES reviews (id) ON DELETE CASCADE,
    -- The first comment of the thread; null for that one itself, which also says whether the thread is resolved.
    in_reply_to uuid CONSTRAINT review_comments_thread REFERENCES review_comments (id) ON DELETE CASCADE,
    path text COLLATE "C" NOT NULL,
    -- The content that was commented on. No reference: the words outlive the bytes.
    version_id uuid NOT NULL,
    -- The lines, counted from 1, both included; null: the whole file.
    start_line integer,
    end_line integer,
    side text COLLATE "C" CHECK (side IN ('old', 'new')),
    body text NOT NULL,
    author text COLLATE "C" NOT NULL,
    author_kind text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    created_at timestamptz NOT NULL,
    resolved_at timestamptz,
    resolved_by text COLLATE "C",
    CHECK (1 <= start_line AND start_line <= end_line),
    CHECK ((start_line IS NULL) = (end_line IS NULL)),
    CHECK (in_reply_to IS NULL OR resolved_at IS NULL)
);
CREATE INDEX review_comments_of_branch ON review_comments (branch_id, created_at, id);
CREATE INDEX review_comments_of_review ON review_comments (review_id) WHERE review_id IS NOT NULL;
CREATE INDEX review_comments_of_thread ON review_comments (in_reply_to) WHERE in_reply_to IS NOT NULL;
CREATE INDEX review_comments_of_repo ON review_comments (repo_id);

CREATE TABLE check_runs (
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    branch_id bigint NOT NULL REFERENCES branches (id),
    sequence bigint NOT NULL,
    check_name text COLLATE "C" NOT NULL,
    attempt smallint NOT NULL DEFAULT 1,
    -- A required check is there from the moment of the commit: expected.
    state text COLLATE "C" NOT NULL
        CHECK (state IN ('expected', 'pending', 'passed', 'failed', 'not_applicable')),
    reason text,
    reporter text COLLATE "C" NOT NULL,
    log_url text,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
-- By name first: the latest run of each name is found without walking all that ever ran.
CREATE UNIQUE INDEX check_runs_attempt ON check_runs (branch_id, check_name, sequence, attempt);
CREATE INDEX check_runs_of_commit ON check_runs (branch_id, sequence);
CREATE INDEX check_runs_of_repo ON check_runs (repo_id);

-- Which checks every commit to the branches that a pattern means has to have.
CREATE TABLE required_checks (
    repo_id bigint NOT NULL REFERENCES repos (id),
    -- A branch name in which * stands for any run of characters.
    branch_pattern text COLLATE "C" NOT NULL,
    check_name text COLLATE "C" NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT required_checks_key PRIMARY KEY (repo_id, branch_pattern, check_name)
);

-- Whether a pattern means a branch. Of the characters that a pattern may have, _ alone means something else to LIKE.
CREATE FUNCTION branch_matches(branch text, pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN branch LIKE replace(replace(pattern, '_', '\_'), '*', '%');
