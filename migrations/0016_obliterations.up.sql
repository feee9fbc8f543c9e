-- Contents whose bytes were taken out of a repo for good: what is left of them, and what the repo takes no more. By hash
-- and not by the row in contents, so that it outlives a purge of the branches that had the content.
CREATE TABLE obliterations (
    -- Version 7, so that ids rise with time.
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    content_hash bytea NOT NULL CHECK (length(content_hash) = 32),
    size bigint NOT NULL,
    reason text NOT NULL,
    obliterated_by text COLLATE "C" NOT NULL,
    obliterated_at timestamptz NOT NULL,
    CONSTRAINT obliterations_content UNIQUE (repo_id, content_hash)
);

-- Repeated here, so that whoever reads a file or a tree sees it in the row that they read anyway. Such a content has bytes
-- neither in content_bytes nor under a blob_key.
ALTER TABLE contents ADD COLUMN obliterated boolean NOT NULL DEFAULT false;
-- Few: what an archive leaves out is looked for from here.
CREATE INDEX contents_obliterated ON contents (repo_id) WHERE obliterated;
