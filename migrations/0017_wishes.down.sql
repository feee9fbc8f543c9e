ALTER TABLE branches DROP COLUMN auto_merge_agent;
