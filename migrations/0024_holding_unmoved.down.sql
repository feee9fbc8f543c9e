DROP FUNCTION hold_unmoved(
    bigint, bigint[], bigint[], bigint[], boolean, bytea[], text[], text[], bytea[], text[]
);
DROP FUNCTION expect_checks(bigint, bigint, bigint);
