DROP TABLE event_outbox;
DROP TABLE event_subscriptions;
DROP TABLE event_position;
DROP TABLE event_log;
DROP FUNCTION enqueue_deliveries;
