//! What an operator sees of the events.

use docstore_database::event_log::SequencedBatch;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const SEQUENCED: &str = "docstore_events_sequenced_total";
const SEQUENCED_BATCHES: &str = "docstore_event_sequencer_batches_total";
const SEQUENCING_LAG: &str = "docstore_event_sequencing_lag_seconds";
const LAG: &str = "docstore_event_lag_seconds";
const POSITION: &str = "docstore_event_position";
const RING_EVENTS: &str = "docstore_event_ring_events";
const RING_BYTES: &str = "docstore_event_ring_bytes";
const STREAMS: &str = "docstore_event_streams";
const STREAMS_REFUSED: &str = "docstore_event_streams_refused_total";
const REPLAYS: &str = "docstore_event_replay_pages_total";
const DELETED: &str = "docstore_events_deleted_total";
const FAILURES: &str = "docstore_event_failures_total";

/// Tells the installed recorder what the metrics of this crate mean.
pub fn describe_metrics() {
    describe_counter!(SEQUENCED, "Events that this process gave positions to");
    describe_counter!(SEQUENCED_BATCHES, "Transactions in which this process gave positions");
    describe_histogram!(
        SEQUENCING_LAG,
        Unit::Seconds,
        "Oldest event of a batch: from its transaction's begin to its position"
    );
    describe_histogram!(
        LAG,
        Unit::Seconds,
        "Oldest event of a page: from its transaction's begin to the streams of this process"
    );
    describe_gauge!(POSITION, "Last position that this process has read");
    describe_gauge!(RING_EVENTS, "Events in memory for streams");
    describe_gauge!(RING_BYTES, Unit::Bytes, "Bytes of the events in memory for streams");
    describe_gauge!(STREAMS, "Open event streams");
    describe_counter!(STREAMS_REFUSED, "Event streams refused because too many are open");
    describe_counter!(REPLAYS, "Pages that streams read from the database because the ring no longer held them");
    describe_counter!(DELETED, "Events deleted because of their age");
    describe_counter!(FAILURES, "Failed visits to the database, by the part that failed");
}

pub(crate) fn sequenced(batch: SequencedBatch) {
    counter!(SEQUENCED).increment(u64::try_from(batch.count).unwrap_or(0));
    counter!(SEQUENCED_BATCHES).increment(1);
    histogram!(SEQUENCING_LAG).record(batch.waited_seconds);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge that is off by one above 2^53 misleads nobody")]
pub(crate) fn read(position: i64, age_seconds: f64, ring_events: usize, ring_bytes: usize) {
    histogram!(LAG).record(age_seconds);
    gauge!(POSITION).set(position as f64);
    gauge!(RING_EVENTS).set(ring_events as f64);
    gauge!(RING_BYTES).set(ring_bytes as f64);
}

pub(crate) fn stream_opened() {
    gauge!(STREAMS).increment(1.0);
}

pub(crate) fn stream_closed() {
    gauge!(STREAMS).decrement(1.0);
}

pub(crate) fn stream_refused() {
    counter!(STREAMS_REFUSED).increment(1);
    counter!("docstore_limit_reached_total", "limit" => "event_streams").increment(1);
}

pub(crate) fn replayed() {
    counter!(REPLAYS).increment(1);
}

pub(crate) fn deleted(events: u64) {
    counter!(DELETED).increment(events);
}

pub(crate) fn failed(part: &'static str) {
    counter!(FAILURES, "part" => part).increment(1);
}
