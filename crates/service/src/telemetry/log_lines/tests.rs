use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::layer::SubscriberExt;

use super::*;

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

/// What is written while `run` runs.
fn lines(format: LogFormat, run: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let noon = DateTime::from_timestamp_micros(1_795_176_000_000_120).unwrap();
    let layer = LogLines::with_clock(format, move || writer.clone(), move || noon);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), run);
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

fn some_events() {
    let cause = io::Error::other("disk full");
    let error: &(dyn Error + 'static) = &cause;
    let span = tracing::info_span!("request", request_id = "r-1", otel.kind = "server", late = tracing::field::Empty);
    let _in_span = span.enter();
    tracing::info!(
        method = "GET",
        path = "/a b\"<\n",
        status = 200,
        duration_ms = 1.5,
        identity = "",
        ok = true,
        "request"
    );
    span.record("late", 7);
    tracing::error!(error, request_id = "its own", "it {}", "failed");
    tracing::debug!(target: "sqlx::query", rows = ?Some(1), level = "lost", "");
    tracing::trace!(none = None::<u8>, "trace");
}

#[test]
fn json_lines() {
    insta::assert_snapshot!(lines(LogFormat::Json, some_events), @r#"
    {"time":"2026-11-20T12:00:00.000120Z","level":"INFO","msg":"request","method":"GET","path":"/a b\"<\n","status":200,"duration_ms":1.5,"identity":"","ok":true,"request_id":"r-1"}
    {"time":"2026-11-20T12:00:00.000120Z","level":"ERROR","msg":"it failed","error":"disk full","request_id":"its own","late":7}
    {"time":"2026-11-20T12:00:00.000120Z","level":"DEBUG","msg":"","rows":"Some(1)","request_id":"r-1","late":7,"target":"sqlx::query"}
    {"time":"2026-11-20T12:00:00.000120Z","level":"DEBUG","msg":"trace","request_id":"r-1","late":7}
    "#);
}

#[test]
fn text_lines() {
    insta::assert_snapshot!(lines(LogFormat::Text, some_events), @r#"
    time=2026-11-20T12:00:00.000120Z level=INFO msg=request method=GET path="/a b\"<\n" status=200 duration_ms=1.5 identity="" ok=true request_id=r-1
    time=2026-11-20T12:00:00.000120Z level=ERROR msg="it failed" error="disk full" request_id="its own" late=7
    time=2026-11-20T12:00:00.000120Z level=DEBUG msg="" rows=Some(1) request_id=r-1 late=7 target=sqlx::query
    time=2026-11-20T12:00:00.000120Z level=DEBUG msg=trace request_id=r-1 late=7
    "#);
}

#[derive(Debug, thiserror::Error)]
#[error("cannot save")]
struct CannotSave(#[source] io::Error);

#[test]
fn an_error_is_written_with_its_causes() {
    let line = lines(LogFormat::Text, || {
        let error = CannotSave(io::Error::other("disk full"));
        tracing::error!(error = &error as &dyn Error, "x");
    });
    assert!(line.ends_with("msg=x error=\"cannot save: disk full\"\n"), "{line}");
}

#[test]
fn a_client_cannot_forge_a_line() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let line = lines(format, || tracing::info!(path = "\n\r\u{2028}{\"level\":\"ERROR\"} level=ERROR", "x"));
        assert_eq!(line.lines().count(), 1);
        assert!(!line.contains(" level=ERROR ") && !line.contains("\"level\":\"ERROR\""), "{line}");
    }
}
