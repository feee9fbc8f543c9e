//! Metrics for Prometheus.
//!
//! Every label comes from a fixed set: route templates, methods, reasons, names of limits. A label made from a
//! request's own text would let a client grow the table without end.

use std::{sync::OnceLock, time::Duration};

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// From the fastest answer from memory to the longest upload, in seconds; a query in time stands between them.
const DURATION_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// From one row to a large commit or file.
const SIZE_BUCKETS: &[f64] =
    &[1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0, 100_000_000.0, 1_000_000_000.0];

/// How often samples that nobody has fetched are folded into their buckets, so that they do not pile up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

static REGISTRY: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts collecting metrics. [`super::init`] does this; a test that has no logs may call it alone, any number of times.
///
/// Histograms named `..._seconds` get buckets of time, `..._bytes` and `..._count` buckets of size.
///
/// # Errors
/// When the buckets cannot be used, which would be a defect.
pub fn install_metrics(service_name: &'static str) -> Result<(), BuildError> {
    if REGISTRY.get().is_some() {
        return Ok(());
    }
    let recorder = PrometheusBuilder::new()
        .add_global_label("service", service_name)
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), SIZE_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_count".to_owned()), SIZE_BUCKETS)?
        .set_buckets(DURATION_BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    // Another thread may have come first; then its recorder is the one that is read.
    if metrics::set_global_recorder(recorder).is_ok() {
        let _ = REGISTRY.set(handle);
    }
    describe();
    Ok(())
}

/// All metrics in Prometheus' text format; empty before [`install_metrics`].
#[must_use]
pub fn metrics_text() -> String {
    REGISTRY.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// [`metrics_text`] as the answer of a `/metrics` route.
#[must_use]
pub fn metrics_response() -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics_text()).into_response()
}

/// Counts that a limit or time-out was reached, in `docstore_limit_reached_total` under the limit's name.
///
/// A limit's name is its setting without prefix and unit, such as `connections`.
pub fn limit_reached(limit: &'static str) {
    metrics::counter!("docstore_limit_reached_total", "limit" => limit).increment(1);
}

pub(super) async fn keep_up() {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        if let Some(registry) = REGISTRY.get() {
            registry.run_upkeep();
        }
    }
}

fn describe() {
    describe_gauge!("docstore_connections", "Open connections.");
    describe_counter!("docstore_accept_errors_total", "Connections that the system did not hand over.");
    describe_counter!("docstore_limit_reached_total", "How often a limit or time-out was reached.");
    describe_gauge!("docstore_http_requests_in_flight", "Requests whose answer is not complete.");
    describe_counter!("docstore_http_requests_total", "Requests by method, route and status class.");
    describe_counter!("docstore_http_requests_refused_total", "Requests refused for their head, by reason.");
    describe_counter!("docstore_http_response_bytes_total", Unit::Bytes, "Bytes of answers' bodies.");
    describe_histogram!(
        "docstore_http_request_duration_seconds",
        Unit::Seconds,
        "From a request's head to the end of its answer."
    );
    describe_counter!("docstore_task_restarts_total", "Background loops that ended and were started again.");
}
