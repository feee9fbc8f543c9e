DROP TABLE policy_verdicts;
DROP TABLE org_policies;
