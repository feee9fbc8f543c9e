//! Logs, metrics and traces, started once per process.

pub(crate) mod log_lines;
mod metric_registry;
pub(crate) mod traces;

use std::{io, panic, time::Duration};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    Layer, filter::FilterFn, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

pub use log_lines::LogLines;
pub use metric_registry::{install_metrics, limit_reached, metrics_response, metrics_text};

use crate::Settings;

/// How long the last traces may take to leave.
const TRACE_FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Libraries whose own news is for their developers: only warnings of theirs are logged, and no span of theirs is
/// traced (the exporter would trace its own exports).
const CHATTY: &[&str] = &["h2", "hyper", "hyper_util", "opentelemetry", "reqwest", "rustls", "tonic", "tower"];

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The trace exporter does not take its endpoint.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Something else in this process collects logs already.
    #[error("logs were started before")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    /// The metrics' set-up is wrong.
    #[error("metrics cannot be collected")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Keeps telemetry going; dropping it sends what is left. Hold it until the end of `main`.
#[derive(Debug)]
#[must_use]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
    upkeep: tokio::task::JoinHandle<()>,
}

/// Starts logs to standard output, metrics, and traces if the settings name a collector. Panics become log lines.
///
/// # Errors
/// When it was started before, or the collector's address cannot be used.
///
/// # Panics
/// Outside a tokio runtime. With traces, it must be one of several threads: the last export happens while the main
/// thread waits for it.
pub fn init(settings: &Settings, service_name: &'static str) -> Result<Guard, TelemetryError> {
    install_metrics(service_name)?;
    let traces = match &settings.trace_endpoint {
        Some(endpoint) => Some(traces::provider(endpoint, service_name)?),
        None => None,
    };
    match &traces {
        None => only_logs(settings, io::stdout).try_init()?,
        Some(traces) => logs_beside(settings, io::stdout).with(traces::layer(traces)).try_init()?,
    }
    panic::set_hook(Box::new(log_panic));
    let upkeep = tokio::spawn(metric_registry::keep_up());
    Ok(Guard { traces, upkeep })
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.upkeep.abort();
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown_with_timeout(TRACE_FLUSH_TIMEOUT)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last traces were not sent");
        }
    }
}

/// Log lines at the level and in the format of the settings, and nothing else. The filter is that of the subscriber: one of
/// the layer alone is asked each time that somebody enters a span, and the driver of the database does that for each row.
fn only_logs<W>(settings: &Settings, writer: W) -> impl Subscriber + for<'span> LookupSpan<'span>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(log_filter(settings)).with(LogLines::new(settings.log_format, writer))
}

/// The same lines beside other layers, which have filters of their own.
fn logs_beside<W>(settings: &Settings, writer: W) -> impl Subscriber + for<'span> LookupSpan<'span>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = LogLines::new(settings.log_format, writer);
    tracing_subscriber::registry().with(lines.with_filter(log_filter(settings)))
}

fn log_filter(settings: &Settings) -> FilterFn<impl Fn(&Metadata<'_>) -> bool + use<>> {
    let level = Level::from(settings.log_level);
    // Spans are taken at every level, since a line needs the request id of the span around it.
    let filter = FilterFn::new(move |metadata: &Metadata<'_>| {
        if is_chatty(metadata) {
            return metadata.is_event() && *metadata.level() <= level.min(Level::WARN);
        }
        *metadata.level() <= if metadata.is_span() { Level::INFO } else { level }
    });
    filter.with_max_level_hint(level.max(Level::INFO))
}

fn is_chatty(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    CHATTY
        .iter()
        .any(|chatty| library == *chatty || library.strip_prefix(chatty).is_some_and(|rest| rest.starts_with('_')))
}

fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic = message, location, "panic");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Dispatch;

    use super::*;
    use crate::{LogFormat, LogLevel};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The messages that are written at a level.
    fn messages(log_level: LogLevel, alone: bool) -> Vec<String> {
        let settings = Settings { log_level, log_format: LogFormat::Text, ..Settings::default() };
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let writer = move || writer.clone();
        let dispatch = if alone {
            Dispatch::new(only_logs(&settings, writer))
        } else {
            Dispatch::new(logs_beside(&settings, writer))
        };
        tracing::dispatcher::with_default(&dispatch, || {
            let _request = tracing::info_span!("request", request_id = "r-1").entered();
            tracing::debug!("debug");
            tracing::info!("info");
            tracing::warn!("warn");
            tracing::error!("error");
            tracing::info!(target: "h2::proto", "chatter");
            tracing::info!(target: "opentelemetry_sdk", "chatter");
            tracing::warn!(target: "hyper::proto", "trouble");
            tracing::info!(target: "hypersonic", "other");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| {
                assert!(line.contains(" request_id=r-1"), "{line}");
                line.split(" msg=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn the_level_decides_and_chatty_libraries_only_warn() {
        for alone in [true, false] {
            let messages = |level| messages(level, alone);
            assert_eq!(messages(LogLevel::Debug), ["debug", "info", "warn", "error", "trouble", "other"]);
            assert_eq!(messages(LogLevel::Info), ["info", "warn", "error", "trouble", "other"]);
            assert_eq!(messages(LogLevel::Warn), ["warn", "error", "trouble"]);
            assert_eq!(messages(LogLevel::Error), ["error"]);
        }
    }
}
