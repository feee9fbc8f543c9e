CREATE INDEX event_subscriptions_of_creator ON event_subscriptions (created_by, created_at);
DROP INDEX event_subscriptions_of_person;
DROP INDEX org_members_of_identity;
DROP INDEX roles_of_identity;
