//! What an operator sees of the store.

use std::time::Instant;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const OPERATIONS: &str = "docstore_blob_operations_total";
const SECONDS: &str = "docstore_blob_operation_seconds";
const BYTES: &str = "docstore_blob_bytes_total";
const SIZE: &str = "docstore_blob_size_bytes";
const UPLOADS: &str = "docstore_blob_uploads";

/// Tells the installed recorder what the metrics of this crate mean.
pub fn describe_metrics() {
    describe_counter!(OPERATIONS, "Blob operations by store, operation and outcome");
    describe_histogram!(SECONDS, Unit::Seconds, "Duration of blob operations, a download to its last byte");
    describe_counter!(BYTES, Unit::Bytes, "Bytes of content in and out, and bytes written for it after compression");
    describe_histogram!(SIZE, Unit::Bytes, "Size of stored content before compression");
    describe_gauge!(UPLOADS, "Uploads that have a place at the moment");
}

/// One operation from its start to its outcome. Dropped without one, it was `abandoned` by the caller.
pub(crate) struct Observation {
    store: &'static str,
    operation: &'static str,
    started: Instant,
    outcome: &'static str,
}

impl Observation {
    pub(crate) fn start(store: &'static str, operation: &'static str) -> Self {
        Self { store, operation, started: Instant::now(), outcome: "abandoned" }
    }

    pub(crate) fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let Self { store, operation, outcome, .. } = *self;
        counter!(OPERATIONS, "store" => store, "operation" => operation, "outcome" => outcome).increment(1);
        histogram!(SECONDS, "store" => store, "operation" => operation).record(self.started.elapsed().as_secs_f64());
    }
}

/// Counts a stored blob.
pub(crate) fn stored(store: &'static str, plain_bytes: u64, written_bytes: u64) {
    counter!(BYTES, "store" => store, "kind" => "in").increment(plain_bytes);
    counter!(BYTES, "store" => store, "kind" => "written").increment(written_bytes);
    #[expect(clippy::cast_precision_loss, reason = "a histogram's buckets are coarser than the loss above 2^53")]
    histogram!(SIZE, "store" => store).record(plain_bytes as f64);
}

/// Counts bytes that were verified and handed out.
pub(crate) fn served(store: &'static str, bytes: u64) {
    counter!(BYTES, "store" => store, "kind" => "out").increment(bytes);
}

/// An upload waited for a place in vain.
pub(crate) fn uploads_full() {
    counter!("docstore_limit_reached_total", "limit" => "blob_uploads").increment(1);
}

/// An upload that has a place, for the gauge.
pub(crate) struct Upload(&'static str);

impl Upload {
    pub(crate) fn start(store: &'static str) -> Self {
        gauge!(UPLOADS, "store" => store).increment(1);
        Self(store)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        gauge!(UPLOADS, "store" => self.0).decrement(1);
    }
}
