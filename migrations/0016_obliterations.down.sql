DROP INDEX contents_obliterated;
ALTER TABLE contents DROP COLUMN obliterated;
DROP TABLE obliterations;
