-- Version control: orgs, repos, branches, commits, files and their contents.
--
-- Names are for people, ids for trust: an id never recurs, a deleted name leaves its row behind with `deleted_at`
-- set, and whoever takes the name again gets a new row. All text that is compared or sorted is COLLATE "C", so that
-- order is bytewise whatever the database's locale.

CREATE TYPE branch_status AS ENUM ('active', 'merged', 'abandoned');
CREATE TYPE role AS ENUM ('reader', 'writer', 'maintainer', 'admin');
CREATE TYPE org_role AS ENUM ('member', 'owner');

CREATE TABLE orgs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text COLLATE "C" NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX orgs_live_name ON orgs (name) WHERE deleted_at IS NULL;

CREATE TABLE org_members (
    org_id bigint NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
    identity text COLLATE "C" NOT NULL,
    role org_role NOT NULL,
    invited_by text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, identity)
);

CREATE TABLE repos (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL REFERENCES orgs (id),
    -- The full name, org included.
    name text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text COLLATE "C" NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX repos_live_name ON repos (name) WHERE deleted_at IS NULL;
CREATE INDEX repos_org ON repos (org_id) WHERE deleted_at IS NULL;

CREATE TABLE roles (
    repo_id bigint NOT NULL REFERENCES repos (id),
    identity text COLLATE "C" NOT NULL,
    role role NOT NULL,
    PRIMARY KEY (repo_id, identity)
);

CREATE TABLE branches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    name text COLLATE "C" NOT NULL,
    -- Room for stacks of branches; absent means that the branch starts from main.
    parent_branch_id bigint REFERENCES branches (id),
    -- The last commit; equal to the base while there is none.
    head_sequence bigint NOT NULL DEFAULT 0,
    -- The head of main that the branch starts from: the tree is main at the base, overlaid by the branch's own
    -- changes above the floor.
    base_sequence bigint NOT NULL DEFAULT 0,
    -- Own changes up to this number belong to the time before the last rebase and are no longer part of the tree.
    floor_sequence bigint NOT NULL DEFAULT 0,
    -- The chain hash of the last commit on this branch; null while there is none.
    head_hash bytea,
    status branch_status NOT NULL DEFAULT 'active',
    draft boolean NOT NULL DEFAULT false,
    auto_merge boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text COLLATE "C" NOT NULL,
    deleted_at timestamptz
);
-- Merged and abandoned branches keep their name until they are purged.
CREATE UNIQUE INDEX branches_live_name ON branches (repo_id, name) WHERE deleted_at IS NULL;

-- One counter for all repos: numbers rise along every branch, because they are drawn while the branch is locked.
CREATE SEQUENCE commit_sequence;

CREATE TABLE commits (
    sequence bigint PRIMARY KEY DEFAULT nextval('commit_sequence'),
    repo_id bigint NOT NULL REFERENCES repos (id),
    branch_id bigint NOT NULL REFERENCES branches (id),
    -- The branch's head, base and floor as this commit was written: with them a tree at any sequence reads the same
    -- for ever, also after a rebase.
    parent_sequence bigint NOT NULL,
    base_sequence bigint NOT NULL,
    floor_sequence bigint NOT NULL,
    message text NOT NULL,
    author text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    commit_hash bytea,
    file_count bigint NOT NULL,
    -- The commit that this one replays onto a new base.
    replayed_from bigint,
    -- Where an imported commit came from, such as git:<object id>.
    imported_from text
);
CREATE UNIQUE INDEX commits_of_branch ON commits (branch_id, sequence);
CREATE INDEX commits_of_repo ON commits (repo_id, sequence);

-- Bytes, once per repo and hash. Small ones are in content_bytes, others in the blob store under blob_key. A key
-- belongs to one row for ever and is never used again, so deleting a row's blob can hurt no other row.
CREATE TABLE contents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    content_hash bytea NOT NULL CHECK (length(content_hash) = 32),
    version_id uuid NOT NULL,
    size bigint NOT NULL,
    blob_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX contents_hash ON contents (repo_id, content_hash);

-- Apart from contents, so that listing a tree reads narrow rows.
CREATE TABLE content_bytes (
    content_id bigint PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    bytes bytea NOT NULL
);

-- Contents that were uploaded ahead of a commit. After a day those that no commit took up are deleted.
CREATE TABLE uploaded_contents (
    content_id bigint PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    uploaded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX uploaded_contents_age ON uploaded_contents (uploaded_at);

-- Blobs to delete. An upload schedules the deletion of its own blob before it writes a byte, and the transaction that
-- names the blob takes the row away again: whatever crashes in between, nothing is lost and nothing is left behind.
CREATE TABLE blob_deletions (
    blob_key text PRIMARY KEY,
    not_before timestamptz NOT NULL
);
CREATE INDEX blob_deletions_due ON blob_deletions (not_before);

-- One row per changed file per commit, append-only but for superseded_by: the number of the next change of the same
-- path on the same branch, null while there is none.
CREATE TABLE file_changes (
    -- The branch of the commit, repeated here because every read goes by it.
    branch_id bigint NOT NULL,
    path text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    superseded_by bigint,
    -- Null: the file was deleted.
    content_id bigint REFERENCES contents (id),
    mode integer NOT NULL,
    content_type text,
    change_id uuid NOT NULL,
    PRIMARY KEY (branch_id, path, sequence),
    -- Both columns, so that deleting a commit finds its changes by file_changes_of_commit.
    FOREIGN KEY (branch_id, sequence) REFERENCES commits (branch_id, sequence)
);
-- The files that are there at the head of a branch, in path order: a page of main costs the page.
CREATE INDEX file_changes_present ON file_changes (branch_id, path)
    WHERE superseded_by IS NULL AND content_id IS NOT NULL;
-- What main looked like at the base of a branch, without walking main's history: rows superseded since then.
CREATE INDEX file_changes_superseded ON file_changes (branch_id, superseded_by) WHERE superseded_by IS NOT NULL;
-- The changes of a commit, and of a branch since a point.
CREATE INDEX file_changes_of_commit ON file_changes (branch_id, sequence);
-- Whether anything still points at a content.
CREATE INDEX file_changes_content ON file_changes (content_id) WHERE content_id IS NOT NULL;

-- Where to read a branch, at its head (p_at is null) or as it was at a sequence. The tree is: the branch's own changes
-- above floor_sequence and up to upto_sequence, over main as of base_sequence. One row, or none for an unknown branch.
CREATE FUNCTION tree_point(p_repo_id bigint, p_branch text, p_at bigint)
RETURNS TABLE (
    branch_id bigint, main_id bigint, head_sequence bigint,
    base_sequence bigint, floor_sequence bigint, upto_sequence bigint, is_head boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        b.id,
        m.id,
        b.head_sequence,
        CASE
            WHEN p_at IS NULL OR p_at >= b.head_sequence THEN b.base_sequence
            WHEN c.base_sequence IS NOT NULL THEN c.base_sequence
            -- Before the branch's first commit: main, up to where the branch began or the point asked for.
            ELSE least(p_at, coalesce(o.base_sequence, b.base_sequence))
        END,
        CASE WHEN p_at IS NULL OR p_at >= b.head_sequence THEN b.floor_sequence ELSE coalesce(c.floor_sequence, p_at) END,
        CASE WHEN p_at IS NULL OR p_at >= b.head_sequence THEN b.head_sequence ELSE p_at END,
        p_at IS NULL OR p_at >= b.head_sequence
    FROM branches b
    JOIN branches m ON m.repo_id = b.repo_id AND m.name = 'main' AND m.deleted_at IS NULL
    -- At the head neither is looked for. Rows are compared, and not columns, so that commits_of_branch alone gives the
    -- order: by the primary key a branch without commits would be looked for among those of all repos.
    LEFT JOIN LATERAL (
        SELECT commits.base_sequence, commits.floor_sequence
        FROM commits
        WHERE p_at < b.head_sequence
            AND (commits.branch_id, commits.sequence) <= (b.id, p_at)
            AND (commits.branch_id, commits.sequence) > (b.id, 0)
        ORDER BY commits.branch_id DESC, commits.sequence DESC
        LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT commits.base_sequence
        FROM commits
        WHERE p_at < b.head_sequence
            AND c.base_sequence IS NULL
            AND (commits.branch_id, commits.sequence) > (b.id, 0)
            AND (commits.branch_id, commits.sequence) < (b.id + 1, 0)
        ORDER BY commits.branch_id, commits.sequence
        LIMIT 1
    ) o ON true
    WHERE b.repo_id = p_repo_id AND b.name = p_branch AND b.deleted_at IS NULL
$$;

-- The files of a tree from one path on, in bytewise order of their paths; the first nine arguments are a row of
-- tree_point and a range. Each part is a walk along an index that ends at the limit, so a page costs the page.
--
-- A result has no collation of its own: whoever compares or sorts paths says COLLATE "C".
CREATE FUNCTION tree_files(
    p_branch_id bigint, p_main_id bigint, p_base_sequence bigint, p_floor_sequence bigint, p_upto_sequence bigint,
    p_is_head boolean, p_from text, p_before text, p_limit bigint
)
RETURNS TABLE (path text, content_id bigint, mode integer)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT page.path, page.content_id, page.mode
    FROM (
        -- The branch's own files, at its head.
        (
            SELECT f.path, f.content_id, f.mode
            FROM file_changes f
            WHERE p_is_head
                AND f.branch_id = p_branch_id
                AND f.superseded_by IS NULL
                AND f.content_id IS NOT NULL
                AND f.sequence > p_floor_sequence
                AND f.path >= p_from
                AND (p_before IS NULL OR f.path < p_before)
            ORDER BY f.path
            LIMIT p_limit
        )
        UNION ALL
        -- The branch's own files, at an earlier point.
        (
            SELECT f.path, f.content_id, f.mode
            FROM file_changes f
            WHERE NOT p_is_head
                AND f.branch_id = p_branch_id
                AND (f.superseded_by IS NULL OR f.superseded_by > p_upto_sequence)
                AND f.content_id IS NOT NULL
                AND f.sequence > p_floor_sequence
                AND f.sequence <= p_upto_sequence
                AND f.path >= p_from
                AND (p_before IS NULL OR f.path < p_before)
            ORDER BY f.path
            LIMIT p_limit
        )
        UNION ALL
        -- The files of main at the base that are still as they were.
        (
            SELECT f.path, f.content_id, f.mode
            FROM file_changes f
            WHERE p_branch_id <> p_main_id
                AND f.branch_id = p_main_id
                AND f.superseded_by IS NULL
                AND f.content_id IS NOT NULL
                AND f.sequence <= p_base_sequence
                AND f.path >= p_from
                AND (p_before IS NULL OR f.path < p_before)
                AND NOT EXISTS (
                    SELECT 1 FROM file_changes own
                    WHERE own.branch_id = p_branch_id
                        AND own.path = f.path
                        AND own.sequence > p_floor_sequence
                        AND own.sequence <= p_upto_sequence
                    -- Asked path by path, and not joined with all that the branch changed.
                    OFFSET 0
                )
            ORDER BY f.path
            LIMIT p_limit
        )
        UNION ALL
        -- The files of main at the base that main has changed or deleted since.
        (
            SELECT f.path, f.content_id, f.mode
            FROM (
                -- Apart, so that file_changes_superseded is used: the cost is what main changed since the base. In the
                -- order of paths main's whole history would be walked.
                SELECT since.path, since.content_id, since.mode, since.sequence
                FROM file_changes since
                WHERE p_branch_id <> p_main_id
                    AND since.branch_id = p_main_id
                    AND since.superseded_by > p_base_sequence
                    -- A sum is in no index.
                    AND since.sequence + 0 <= p_base_sequence
                    AND since.content_id IS NOT NULL
                OFFSET 0
            ) f
            WHERE f.path >= p_from
                AND (p_before IS NULL OR f.path < p_before)
                AND NOT EXISTS (
                    SELECT 1 FROM file_changes own
                    WHERE own.branch_id = p_branch_id
                        AND own.path = f.path
                        AND own.sequence > p_floor_sequence
                        AND own.sequence <= p_upto_sequence
                    -- Asked path by path, and not joined with all that the branch changed.
                    OFFSET 0
                )
            ORDER BY f.path
            LIMIT p_limit
        )
    ) page
    ORDER BY page.path
    LIMIT p_limit
$$;

-- What the database knows about a live repo and one identity: the facts from which the server decides who may do what.
CREATE FUNCTION repo_facts(p_repo text, p_identity text)
RETURNS TABLE (
    repo_id bigint, org_id bigint, name text, created_at timestamptz, created_by text,
    explicit_role role, org_role org_role, has_admin boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        r.id, r.org_id, r.name, r.created_at, r.created_by, own.role, m.role,
        EXISTS (SELECT 1 FROM roles a WHERE a.repo_id = r.id AND a.role = 'admin')
    FROM repos r
    LEFT JOIN roles own ON own.repo_id = r.id AND own.identity = p_identity
    LEFT JOIN org_members m ON m.org_id = r.org_id AND m.identity = p_identity
    WHERE r.name = p_repo AND r.deleted_at IS NULL
$$;

CREATE TABLE releases (
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    name text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    body text,
    created_by text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX releases_name ON releases (repo_id, name);
CREATE INDEX releases_newest ON releases (repo_id, created_at DESC, id DESC);

INSERT INTO orgs (name, created_by) VALUES ('default', 'system');
INSERT INTO repos (org_id, name, created_by) SELECT id, 'default/default', 'system' FROM orgs;
INSERT INTO branches (repo_id, name, created_by) SELECT id, 'main', 'system' FROM repos;
