//! Log lines in the form that the contract has (server §1.5).

use std::{error::Error, fmt, io::Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::MakeWriter,
    layer::Context,
    registry::{LookupSpan, Scope},
};

use crate::LogFormat;

/// Writes each event as one line: `time`, `level`, `msg`, the event's fields, then those of the spans around it.
///
/// A span's field whose name has a dot follows OpenTelemetry's conventions and goes to traces only. An event of
/// another library carries its module as `target`. A line is written with one call, so lines never mix.
pub struct LogLines<W> {
    format: LogFormat,
    writer: W,
    now: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
}

impl<W> LogLines<W> {
    /// Lines with the time of the system's clock.
    #[expect(clippy::disallowed_methods, reason = "log lines tell the time of the machine")]
    pub fn new(format: LogFormat, writer: W) -> Self {
        Self::with_clock(format, writer, Utc::now)
    }

    /// Lines with the time of the given clock.
    pub fn with_clock(format: LogFormat, writer: W, now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self { format, writer, now: Box::new(now) }
    }
}

impl<W> fmt::Debug for LogLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLines").field("format", &self.format).finish_non_exhaustive()
    }
}

impl<S, W> Layer<S> for LogLines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Records of the `log` crate carry their place as fields.
        let target = fields.take("log.target").unwrap_or_else(|| event.metadata().target().into());
        fields.0.retain(|(name, _)| !name.starts_with("log."));
        let message = fields.take("message").unwrap_or_else(|| "".into());
        add_span_fields(&mut fields, context.event_scope(event));
        if let Some(target) = target.as_str().filter(|target| !is_ours(target)) {
            fields.add_if_absent("target", &target.into());
        }
        let line = Line { time: (self.now)(), level: event.metadata().level(), message, fields };
        let line = match self.format {
            LogFormat::Json => line.json(),
            LogFormat::Text => line.text(),
        };
        // There is nowhere to tell that the log cannot be written.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

fn add_span_fields<'span, S: LookupSpan<'span>>(fields: &mut Fields, scope: Option<Scope<'span, S>>) {
    for span in scope.into_iter().flatten() {
        if let Some(of_span) = span.extensions().get::<Fields>() {
            for (name, value) in of_span.0.iter().filter(|(name, _)| !name.contains('.')) {
                fields.add_if_absent(name, value);
            }
        }
    }
}

fn is_ours(target: &str) -> bool {
    ["docstore", "ci_", "ds"].iter().any(|prefix| target.starts_with(prefix))
}

/// Fields in the order in which they were given.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.remove(at).1)
    }

    fn add_if_absent(&mut self, name: &'static str, value: &Value) {
        if !self.0.iter().any(|(other, _)| *other == name) {
            self.0.push((name, value.clone()));
        }
    }

    /// A later value replaces an earlier one, as when a span learns a field.
    fn set(&mut self, field: &Field, value: Value) {
        match self.0.iter_mut().find(|(other, _)| *other == field.name()) {
            Some((_, old)) => *old = value,
            None => self.0.push((field.name(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let message = error.to_string();
            // Some libraries repeat the cause in their own message.
            if !text.ends_with(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            cause = error.source();
        }
        self.set(field, text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

/// One line before it is written.
struct Line<'event> {
    time: DateTime<Utc>,
    level: &'event Level,
    message: Value,
    fields: Fields,
}

impl Line<'_> {
    fn json(&self) -> String {
        let mut line = String::from("{");
        for (name, value) in self.parts() {
            if line.len() > 1 {
                line.push(',');
            }
            line.push_str(&format!("{}:{value}", Value::from(name)));
        }
        line.push_str("}\n");
        line
    }

    fn text(&self) -> String {
        let mut line = String::new();
        for (name, value) in self.parts() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(name);
            line.push('=');
            match value.as_str() {
                Some(text) if !needs_quotes(text) => line.push_str(text),
                _ => line.push_str(&value.to_string()),
            }
        }
        line.push('\n');
        line
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let time = self.time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let level = match *self.level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            Level::INFO => "INFO",
            // The contract has no TRACE.
            _ => "DEBUG",
        };
        let head = [("time", time.into()), ("level", level.into()), ("msg", self.message.clone())];
        let taken = ["time", "level", "msg"];
        let fields = self.fields.0.iter().filter(move |(name, _)| !taken.contains(name)).cloned();
        head.into_iter().chain(fields)
    }
}

/// A bare word holds neither blanks nor what gives a line its shape.
fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.chars().any(|char| char.is_whitespace() || char.is_control() || "=\"\\".contains(char))
}

#[cfg(test)]
mod tests;
