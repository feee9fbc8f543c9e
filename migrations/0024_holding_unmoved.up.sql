-- Notes which checks the new head of a branch has to have. A requirement is made while the repo is locked alone, so whoever
-- has held the repo since before this began sees all that were made before.
CREATE FUNCTION expect_checks(p_repo_id bigint, p_branch_id bigint, p_head_sequence bigint) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO check_runs (id, repo_id, branch_id, sequence, check_name, state, reporter)
    SELECT DISTINCT ON (r.check_name) gen_random_uuid(), p_repo_id, b.id, p_head_sequence, r.check_name, 'expected', 'system'
    FROM required_checks r
    JOIN branches b ON b.id = p_branch_id
    WHERE r.repo_id = p_repo_id AND branch_matches(b.name, r.branch_pattern)
    ON CONFLICT DO NOTHING
$$;

-- What the transaction of a small commit does before it appends, for the statement that is such a transaction by itself:
-- stores the answers under their idempotency keys, holds the repo, locks the branches, and looks whether all is as it was
-- when it was looked at without a lock. If not, it fails with 40001, and nothing has happened.
--
-- What it looks at it sees as it is after it has the locks, since each statement of a volatile function takes a new snapshot.
-- The statement that calls it does not. What that one reads of the branches and of the repo has not changed in between, or
-- else this fails: a branch that has changed has another head, and what is written while the repo is locked alone is looked at
-- here.
--
-- It waits for no branch and not for the repo, and for anything else no longer than a tenth of a second, also later in the
-- statement.
CREATE FUNCTION hold_unmoved(
    p_repo_id bigint,
    p_branch_ids bigint[],
    -- The heads that were seen, and those that they are going to have.
    p_heads bigint[],
    p_new_heads bigint[],
    -- Whether main is among the branches, because no policy judges what comes to it.
    p_ungoverned boolean,
    -- Which contents the commits have.
    p_hashes bytea[],
    p_identities text[],
    p_keys text[],
    p_request_hashes bytea[],
    p_answers text[]
) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    v_count bigint;
    v_requires_checks boolean;
BEGIN
    PERFORM set_config('lock_timeout', '100', true);
    -- Before any lock on a row of the repo, as everybody does who claims a key.
    IF cardinality(p_keys) > 0 THEN
        INSERT INTO idempotency_keys (identity, key, request_hash, repo_id, answer)
        SELECT used.identity, used.key, used.request_hash, p_repo_id, used.answer
        FROM unnest(p_identities, p_keys, p_request_hashes, p_answers) AS used (identity, key, request_hash, answer)
        -- In one order, so that two such statements cannot wait for each other.
        ORDER BY used.identity, used.key
        ON CONFLICT (identity, key) DO NOTHING;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count < cardinality(p_keys) THEN
            RAISE EXCEPTION 'an idempotency key was used meanwhile' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;
    -- The number is "repo", as for everybody who holds one.
    IF NOT pg_try_advisory_xact_lock_shared(x'7265706f00000000'::bigint + p_repo_id) THEN
        RAISE EXCEPTION 'the repo is locked' USING ERRCODE = 'serialization_failure';
    END IF;
    FOR v_place IN 1 .. cardinality(p_branch_ids) LOOP
        PERFORM FROM branches b
        WHERE b.id = p_branch_ids[v_place]
            AND b.head_sequence = p_heads[v_place]
            AND b.status = 'active'
            AND NOT b.auto_merge
            AND b.deleted_at IS NULL
        FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a branch has moved or is locked' USING ERRCODE = 'serialization_failure';
        END IF;
    END LOOP;
    SELECT EXISTS (SELECT FROM required_checks c WHERE c.repo_id = r.id) INTO v_requires_checks
    FROM repos r
    WHERE r.id = p_repo_id
        AND r.deleted_at IS NULL
        AND NOT (p_ungoverned AND EXISTS (SELECT FROM org_policies o WHERE o.org_id = r.org_id))
        AND NOT EXISTS (
            SELECT FROM obliterations o WHERE o.repo_id = p_repo_id AND o.content_hash = ANY (p_hashes)
        );
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the repo has changed' USING ERRCODE = 'serialization_failure';
    END IF;
    IF v_requires_checks THEN
        PERFORM expect_checks(p_repo_id, head.branch_id, head.sequence)
        FROM unnest(p_branch_ids, p_new_heads) AS head (branch_id, sequence);
    END IF;
    RETURN true;
END;
$$;
