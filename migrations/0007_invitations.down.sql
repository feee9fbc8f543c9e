DROP TABLE org_invites;
