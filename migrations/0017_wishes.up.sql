-- The agent that asked for a branch to merge by itself: the wish ends with it, also when a later one has its name.
ALTER TABLE branches ADD COLUMN auto_merge_agent uuid;
UPDATE branches b SET auto_merge_agent = a.agent_id
FROM agents a
WHERE b.auto_merge AND a.identity = b.auto_merge_by AND a.revoked_at IS NULL;
CREATE INDEX branches_of_asking_agent ON branches (auto_merge_agent) WHERE auto_merge_agent IS NOT NULL;
