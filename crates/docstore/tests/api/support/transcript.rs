//! What was said between people and the server, for snapshots.

use std::{collections::HashMap, fmt, fmt::Write};

use docstore_test_support::{Answer, Person, TestApp};
use http::Method;
use serde_json::Value;

use super::truth;

/// Requests with their answers, one line each, as the client sees them. Ids, hashes and times are replaced by names that
/// are the same for equal values. Every answer must be as the OpenAPI document says.
#[derive(Default)]
pub(crate) struct Transcript {
    text: String,
    names: HashMap<String, String>,
    counts: HashMap<&'static str, usize>,
    /// The last event that was told of.
    event: i64,
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) async fn get(&mut self, who: &Person, path: &str) -> Answer {
        self.send(who, Method::GET, path, &Value::Null).await
    }

    pub(crate) async fn post(&mut self, who: &Person, path: &str, body: &Value) -> Answer {
        self.send(who, Method::POST, path, body).await
    }

    pub(crate) async fn put(&mut self, who: &Person, path: &str, body: &Value) -> Answer {
        self.send(who, Method::PUT, path, body).await
    }

    pub(crate) async fn patch(&mut self, who: &Person, path: &str, body: &Value) -> Answer {
        self.send(who, Method::PATCH, path, body).await
    }

    pub(crate) async fn delete(&mut self, who: &Person, path: &str) -> Answer {
        self.send(who, Method::DELETE, path, &Value::Null).await
    }

    pub(crate) async fn send(&mut self, who: &Person, method: Method, path: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.send_with(who, method, path, &[], &text).await
    }

    /// Sends any text as the body, with headers.
    pub(crate) async fn send_with(
        &mut self,
        who: &Person,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let request = headers
            .iter()
            .fold(who.request(method.clone(), path), |request, (name, value)| request.header(*name, *value));
        let request = if body.is_empty() { request } else { request.body(body.to_owned()) };
        let answer = Answer::of(request).await;
        truth::check(&method, path, answer.status.as_u16(), &answer.headers, answer.text.as_bytes());
        let mut asked = format!("{method} {path}");
        for (name, value) in headers {
            write!(asked, " {name}: {value}").unwrap();
        }
        if !body.is_empty() {
            write!(asked, " {}", shortened(body)).unwrap();
        }
        self.note(&asked, &answer);
        answer
    }

    /// Notes an answer that was had in another way.
    pub(crate) fn note(&mut self, asked: &str, answer: &Answer) {
        let asked = self.renamed_text(asked);
        let summary = self.renamed(&answer.summary());
        writeln!(self.text, "{asked}\n  {}", shortened(&summary)).unwrap();
    }

    /// Notes a value as a whole, however long.
    pub(crate) fn value(&mut self, what: &str, mut value: Value) {
        self.rename(&mut value);
        writeln!(self.text, "{what}: {value}").unwrap();
    }

    /// Adds a line of prose.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.text, "# {line}").unwrap();
    }

    /// Notes the events that were logged since the last time, in the order in which they happened.
    pub(crate) async fn events(&mut self, app: &TestApp) {
        let rows: Vec<(i64, String)> = sqlx::query_as("SELECT id, payload FROM event_log WHERE id > $1 ORDER BY id")
            .bind(self.event)
            .fetch_all(&app.pool().await)
            .await
            .unwrap();
        for (id, payload) in rows {
            let mut event: Value = serde_json::from_str(&payload).unwrap();
            self.rename(&mut event["data"]);
            let kind = event["type"].as_str().unwrap().trim_start_matches("com.docstore.");
            writeln!(self.text, "! {} {kind} {}", event["source"].as_str().unwrap(), event["data"]).unwrap();
            self.event = id;
        }
    }

    /// Passes over the events that were logged so far.
    pub(crate) async fn skip_events(&mut self, app: &TestApp) {
        let (last,): (i64,) =
            sqlx::query_as("SELECT coalesce(max(id), 0) FROM event_log").fetch_one(&app.pool().await).await.unwrap();
        self.event = last;
    }

    fn renamed(&mut self, summary: &str) -> String {
        let (status, body) = summary.split_once(' ').unwrap_or((summary, ""));
        match serde_json::from_str::<Value>(body) {
            Ok(mut body) if !body.is_number() => {
                self.rename(&mut body);
                format!("{status} {body}")
            }
            _ => format!("{status} {}", self.renamed_text(body)),
        }
        .trim_end()
        .to_owned()
    }

    fn rename(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.renamed_text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.rename(item)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    // What differs from run to run.
                    if key == "duration_ms" && field.is_u64() {
                        *field = "DURATION".into();
                    }
                    self.rename(field);
                }
            }
            _ => {}
        }
    }

    /// Replaces what looks like an id, a hash or a time, wherever it stands in a text.
    fn renamed_text(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut word = String::new();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-:.+".contains(c);
        for c in text.chars().chain(['\0']) {
            if is_part(c) {
                word.push(c);
                continue;
            }
            out.push_str(&self.name(&word));
            word.clear();
            if c != '\0' {
                out.push(c);
            }
        }
        out
    }

    fn name(&mut self, word: &str) -> String {
        let kind = match word.len() {
            36 if uuid(word) => "id",
            32 if word.bytes().all(|byte| byte.is_ascii_hexdigit()) => "tag",
            72 if word.bytes().all(|byte| byte.is_ascii_hexdigit()) => "secret",
            64 | 71 if word.trim_start_matches("sha256:").bytes().all(|byte| byte.is_ascii_hexdigit()) => "hash",
            20..=35 if word.contains('T') && word.parse::<docstore_models::Timestamp>().is_ok() => {
                return "TIME".into();
            }
            _ => return word.to_owned(),
        };
        if let Some(name) = self.names.get(word) {
            return name.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("{}-{count}", kind.to_uppercase());
        self.names.insert(word.to_owned(), name.clone());
        name
    }
}

fn uuid(word: &str) -> bool {
    word.char_indices().all(|(at, c)| if matches!(at, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() })
}

/// The start of a long line, in which many equal characters stand as one with their number.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 400;
    const ALIKE: usize = 40;
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let alike = rest.chars().take_while(|c| *c == first).count();
        if alike > ALIKE {
            write!(out, "{first}*{alike}").unwrap();
        } else {
            out.extend(std::iter::repeat_n(first, alike));
        }
        rest = &rest[alike * first.len_utf8()..];
    }
    let text = out.replace('\0', "\u{2400}");
    if text.chars().count() <= SHOWN {
        return text;
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start}… ({} bytes)", text.len())
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
