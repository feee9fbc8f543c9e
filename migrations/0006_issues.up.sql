-- Issues of a repo, with comments, and refs to what they are about.

-- Where the next number comes from: a row of its own, so that those who commit or change roles do not wait for whoever opens an
-- issue, and no sequence, so that an issue that comes to nothing leaves no gap.
CREATE TABLE issue_counters (
    repo_id bigint PRIMARY KEY REFERENCES repos (id),
    last bigint NOT NULL
);

CREATE TABLE issues (
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    number bigint NOT NULL,
    title text NOT NULL,
    body text,
    author text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'open' CONSTRAINT issues_state CHECK (state IN ('open', 'closed')),
    close_reason text COLLATE "C"
        CONSTRAINT issues_close_reason CHECK (close_reason IN ('completed', 'not_planned', 'duplicate')),
    closed_by text COLLATE "C",
    labels text[] COLLATE "C" NOT NULL DEFAULT '{}',
    closed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX issues_number ON issues (repo_id, number);
-- A page of what is open costs the page, however much was closed before.
CREATE INDEX issues_open ON issues (repo_id, number DESC) WHERE state = 'open';

CREATE TABLE issue_comments (
    id uuid PRIMARY KEY,
    issue_id uuid NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    repo_id bigint NOT NULL REFERENCES repos (id),
    body text NOT NULL,
    author text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    edited_at timestamptz
);
CREATE INDEX issue_comments_oldest ON issue_comments (issue_id, created_at, id);
CREATE INDEX issue_comments_of_repo ON issue_comments (repo_id);

CREATE TABLE issue_refs (
    id uuid PRIMARY KEY,
    issue_id uuid NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    repo_id bigint NOT NULL REFERENCES repos (id),
    ref_type text COLLATE "C" NOT NULL CONSTRAINT issue_refs_type CHECK (ref_type IN ('proposal', 'commit')),
    -- The id of a proposal or the number of a commit; any text that somebody tied, and nothing says that it exists.
    ref_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX issue_refs_once ON issue_refs (issue_id, ref_type, ref_id);
CREATE INDEX issue_refs_target ON issue_refs (repo_id, ref_type, ref_id);
