-- What somebody is anywhere, and what somebody has set up anywhere, without going through everybody's.
CREATE INDEX roles_of_identity ON roles (identity);
CREATE INDEX org_members_of_identity ON org_members (identity);

-- By the person: an agent's identity is agent:<name>/<owner>, and what it set up is its owner's to look after.
CREATE INDEX event_subscriptions_of_person
    ON event_subscriptions (regexp_replace(created_by, '^agent:[^/]*/', ''), created_at);
DROP INDEX event_subscriptions_of_creator;
