DROP TABLE issue_refs;
DROP TABLE issue_comments;
DROP TABLE issues;
DROP TABLE issue_counters;
