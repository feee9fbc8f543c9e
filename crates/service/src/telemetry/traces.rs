//! Traces to an OpenTelemetry collector.
//!
//! OpenTelemetry's crates break with every minor release, so nothing outside this file names them.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{TraceContextExt, TracerProvider as _},
};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithTonicConfig, tonic_types::transport::ClientTlsConfig,
};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::FilterFn, registry::LookupSpan};

use super::is_chatty;

/// A collector that does not answer costs the spans of one batch, never a request: they are sent from their own thread.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans in batches to the collector, over gRPC.
pub(super) fn provider(endpoint: &str, service_name: &'static str) -> Result<SdkTracerProvider, ExporterBuildError> {
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT_TIMEOUT);
    if endpoint.starts_with("https:") {
        exporter = exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
    }
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter.build()?)
        .with_resource(Resource::builder().with_service_name(service_name).build())
        .build())
}

/// Turns spans into traces.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // Spans and the lines in them from INFO up; the libraries' own would be the exporter watching itself.
    let filter = FilterFn::new(|metadata| *metadata.level() <= Level::INFO && !is_chatty(metadata));
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("docstore"))
        .with_filter(filter.with_max_level_hint(Level::INFO))
}

/// Makes a span the child of the caller's, if the request says who that is (W3C Trace Context).
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let caller = TraceContextPropagator::new().extract(&Headers(headers));
        // It fails when no collector is configured, and then nobody misses it.
        let _ = span.set_parent(caller);
    }
}

/// Names a span when its route is known, which is after it began.
pub(crate) fn name_span(span: &Span, name: String) {
    span.context().span().update_name(name);
}

struct Headers<'request>(&'request HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
