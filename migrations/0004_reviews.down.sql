DROP FUNCTION branch_matches(text, text);
DROP TABLE required_checks;
DROP TABLE check_runs;
DROP TABLE review_comments;
DROP TABLE reviews;
ALTER TABLE commits DROP COLUMN pushed_by;
