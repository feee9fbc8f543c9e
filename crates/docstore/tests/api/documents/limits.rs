//! `docs/limits.md`: every bound on one page, those that can be set with their metric, the others as the sources have them.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use docstore_settings::Variable;

use super::cell;
use crate::support::generated;

const HEAD: &str = "# Limits

Every queue, body, page, fan-out and wait has a bound. Above one, a request is refused: 413 for what is too large, 414 and 431
for the head, 429 for too many streams of one caller, 408 for what is too slow, 503 for what would have to wait too long, 400
for what is too deep or too long a name. A client that is silent in the middle of a request, or that does not read its answer,
is closed within 15 s.

`docstore_limit_reached_total{limit}` counts how often a limit was reached, by the limit's name, and
`docstore_refusals_total{code}` refusals by the code that the client got. In the tables a name alone is that of a limit.

This page is made from the code: `scripts/generate`.
";

/// Bounds that are no constants of ours.
const ELSEWHERE: &str = "
### Set on the way

| What | Bound | Meaning |
| --- | --- | --- |
| `idle_in_transaction_session_timeout` | 60 s | Set on each connection to PostgreSQL: a server that hangs inside a transaction must not keep a branch locked. |
| segments of names | no `.` at either end, letters, digits and `-_.+` | So that no name can be taken for another one in a path, a token's subject or an archive. |
";

/// Variables that bound something, with the metric that shows it: the name of a limit, or another metric in full.
const METRICS: &[(&str, &str)] = &[
    ("DOCSTORE_HTTP_HEADER_TIMEOUT_SECONDS", "header_timeout"),
    ("DOCSTORE_HTTP_IDLE_TIMEOUT_SECONDS", "idle_timeout"),
    ("DOCSTORE_HTTP_BODY_TIMEOUT_SECONDS", "body_timeout"),
    ("DOCSTORE_HTTP_BODY_PROGRESS_BYTES", "body_timeout"),
    ("DOCSTORE_HTTP_WRITE_TIMEOUT_SECONDS", "write_timeout"),
    ("DOCSTORE_HTTP_MAX_CONNECTIONS", "connections"),
    ("DOCSTORE_HTTP_MAX_CONNECTIONS_PER_PEER", "connections_per_peer"),
    ("DOCSTORE_HTTP_MAX_HEADER_BYTES", "header_bytes"),
    ("DOCSTORE_HTTP_MAX_HEADERS", "headers"),
    ("DOCSTORE_HTTP_MAX_URI_BYTES", "uri_bytes"),
    ("DOCSTORE_SHUTDOWN_GRACE_SECONDS", "shutdown_grace"),
    ("DOCSTORE_DATABASE_CONNECTIONS", "database_acquire"),
    ("DOCSTORE_DATABASE_ACQUIRE_SECONDS", "database_acquire"),
    ("DOCSTORE_DATABASE_STATEMENT_SECONDS", "database_statement"),
    ("DOCSTORE_SESSION_SECONDS", "docstore_auth_refusals_total{reason=\"expired\"}"),
    ("DOCSTORE_AUTH_LEEWAY_SECONDS", "docstore_auth_refusals_total{reason=\"expired\"}"),
    ("DOCSTORE_AUTH_CREDENTIAL_BYTES_MAX", "auth_credential_bytes"),
    ("DOCSTORE_AUTH_KEYS_FRESH_SECONDS", "docstore_auth_fetches_total"),
    ("DOCSTORE_AUTH_KEYS_STALE_SECONDS", "docstore_auth_refusals_total{reason=\"keys_unavailable\"}"),
    ("DOCSTORE_AUTH_KEYS_INTERVAL_SECONDS", "docstore_auth_fetches_total"),
    ("DOCSTORE_AUTH_FETCH_TIMEOUT_SECONDS", "docstore_auth_fetches_total{result=\"failed\"}"),
    ("DOCSTORE_BODY_BYTES_MAX", "body_bytes"),
    ("DOCSTORE_CONTENT_BODY_BYTES_MAX", "body_bytes"),
    ("DOCSTORE_BODY_MEMORY_BYTES", "body_memory"),
    ("DOCSTORE_BODY_SECONDS", "body_deadline"),
    ("DOCSTORE_BODY_SECONDS_PER_MIB", "body_deadline"),
    ("DOCSTORE_JSON_DEPTH_MAX", "json_depth"),
    ("DOCSTORE_STREAMS_PER_CALLER_MAX", "streams_per_caller"),
    ("DOCSTORE_COMMIT_FILES_MAX", "commit_files"),
    ("DOCSTORE_MESSAGE_BYTES_MAX", "message_bytes"),
    ("DOCSTORE_CONTENT_BYTES_MAX", "content_bytes"),
    ("DOCSTORE_PAGE_ROWS_MAX", "page_rows"),
    ("DOCSTORE_IMPORT_COMMITS_MAX", "import_commits"),
    ("DOCSTORE_HASHES_MAX", "hashes"),
    ("DOCSTORE_CHAIN_ROWS_MAX", "chain_rows"),
    ("DOCSTORE_PATH_BYTES_MAX", "path_bytes"),
    ("DOCSTORE_TOKEN_DAYS_MAX", "token_days"),
    ("DOCSTORE_AGENT_HOURS_MAX", "agent_hours"),
    ("DOCSTORE_BLOB_THRESHOLD_BYTES", "docstore_blob_size_bytes"),
    ("DOCSTORE_BLOB_TIMEOUT_SECONDS", "docstore_blob_operations_total{outcome=\"unavailable\"}"),
    ("DOCSTORE_BLOB_UPLOADS_MAX", "blob_uploads"),
    ("DOCSTORE_EVENT_RETENTION_DAYS", "docstore_events_deleted_total"),
    ("DOCSTORE_AUDIT_RETENTION_DAYS", "docstore_events_deleted_total"),
    ("DOCSTORE_EVENT_RING_EVENTS", "docstore_event_replay_pages_total"),
    ("DOCSTORE_EVENT_RING_BYTES", "docstore_event_replay_pages_total"),
    ("DOCSTORE_EVENT_STREAMS_MAX", "event_streams"),
    ("DOCSTORE_EVENT_SEQUENCE_SECONDS", "docstore_event_sequencing_lag_seconds"),
    ("DOCSTORE_EVENT_POLL_SECONDS", "docstore_event_lag_seconds"),
    ("DOCSTORE_WEBHOOK_TIMEOUT_SECONDS", "docstore_webhook_attempt_seconds"),
    ("DOCSTORE_WEBHOOK_CONCURRENT_MAX", "docstore_webhook_attempts_total"),
];

/// Variables that look like bounds and are none.
const NO_BOUNDS: &[&str] = &["DOCSTORE_MAINTENANCE_SECONDS"];

/// The crates that run in the server, in the order of the page.
const CRATES: [(&str, &str); 13] = [
    ("service", "Connections"),
    ("docstore", "Requests"),
    ("operations", "Operations"),
    ("policy", "Policies"),
    ("policy-worker", "Processes that evaluate policies"),
    ("models", "Names"),
    ("database", "Database"),
    ("blobs", "Contents"),
    ("events", "Events"),
    ("auth", "Identity"),
    ("webhooks", "Webhooks"),
    ("secrets", "Secrets"),
    ("ci-config", "CI"),
];

#[test]
fn generated_limits() {
    let mut text = HEAD.to_owned();
    let mut unexplained = Vec::new();
    text.push_str("\n## Settable\n\n| Variable | Default | Meaning | Metric |\n| --- | --- | --- | --- |\n");
    for (_, variables) in docstore::all_variables() {
        for Variable { name, default, meaning } in variables {
            if let Some((_, metric)) = METRICS.iter().find(|(bound, _)| bound == name) {
                writeln!(text, "| `{name}` | `{default}` | {} | `{metric}` |", cell(meaning)).unwrap();
            }
        }
    }
    text.push_str("\n## Fixed\n\nConstants of the code, which nobody has had a reason to set. The reason is the comment beside each.\n");
    for (folder, title) in CRATES {
        let constants = constants_of(folder);
        if constants.is_empty() {
            continue;
        }
        write!(text, "\n### {title}\n\n| Constant | Bound | Meaning |\n| --- | --- | --- |\n").unwrap();
        for ((file, name), (bound, meaning)) in constants {
            if meaning.is_empty() {
                unexplained.push(format!("{file}: {name}"));
            }
            writeln!(text, "| `{name}` | {bound} | {} |", cell(&meaning)).unwrap();
        }
    }
    assert!(unexplained.is_empty(), "these need a comment with their reason: {unexplained:#?}");
    text.push_str(ELSEWHERE);
    generated::check("docs/limits.md", &text);
}

#[test]
fn every_variable_that_bounds_something_is_on_the_page() {
    const ENDS: [&str; 10] = [
        "_MAX",
        "_SECONDS",
        "_PER_MIB",
        "_BYTES",
        "_CONNECTIONS",
        "_PER_PEER",
        "_HEADERS",
        "_DAYS",
        "_EVENTS",
        "_ROWS",
    ];
    let known: Vec<&str> = docstore::all_variables().into_iter().flat_map(|(_, all)| all).map(|one| one.name).collect();
    for name in &known {
        let is_listed = METRICS.iter().any(|(bound, _)| bound == name) || NO_BOUNDS.contains(name);
        assert!(
            is_listed || !ENDS.iter().any(|end| name.ends_with(end)),
            "{name} bounds something: add it with its metric"
        );
    }
    for (name, _) in METRICS {
        assert!(known.contains(name), "{name} is no variable any more");
    }
}

/// The bounds among the constants of a crate, by file and name: their values and the comments beside them.
fn constants_of(folder: &str) -> BTreeMap<(String, String), (String, String)> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![sources];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.starts_with("test") {
                read_constants(&path, &mut found);
            }
        }
    }
    found
}

fn read_constants(path: &Path, found: &mut BTreeMap<(String, String), (String, String)>) {
    const WORDS: [&str; 14] = [
        "MAX", "TIMEOUT", "WAIT", "LINGER", "INTERVAL", "DAYS", "HOURS", "SECONDS", "ROWS", "DEADLINE", "BATCH",
        "ATTEMPTS", "PAUSE", "PAGE",
    ];
    let source = std::fs::read_to_string(path).unwrap();
    // What is behind the tests is theirs.
    let source = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut comment: Vec<&str> = Vec::new();
    // A comment is for all constants that follow it line by line.
    let mut used = false;
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("//") {
            if std::mem::take(&mut used) {
                comment.clear();
            }
            comment.push(text.trim_start_matches('/').trim());
            continue;
        }
        let declared =
            line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        if let Some((name, value)) = declared.strip_prefix("const ").and_then(|rest| rest.split_once(": "))
            && name.split('_').any(|word| WORDS.contains(&word))
            && !name.ends_with("_DEFAULT")
            && let Some((kind, value)) = value.split_once(" = ")
            && !kind.contains('&')
            && let Some(value) = value.strip_suffix(';')
        {
            let file = path.display().to_string();
            let bound = shown(name, value).unwrap_or_else(|| format!("`{value}`"));
            found.insert((file, name.to_owned()), (bound, comment.join(" ")));
        }
        used = declared.starts_with("const ");
        if !used {
            comment.clear();
        }
    }
}

/// A bound with its unit.
fn shown(name: &str, value: &str) -> Option<String> {
    for (constructor, unit) in
        [("Duration::from_secs(", "s"), ("Duration::from_millis(", "ms"), ("Duration::from_hours(", "h")]
    {
        if let Some(inner) = value.strip_prefix(constructor) {
            return Some(format!("{} {unit}", number(inner.strip_suffix(')')?)?));
        }
    }
    let number = number(value)?;
    Some(match name {
        _ if name.contains("DAYS") => format!("{number} days"),
        _ if name.contains("HOURS") => format!("{number} h"),
        _ if name.contains("MILLISECONDS") => format!("{number} ms"),
        _ if name.contains("SECONDS") => format!("{number} s"),
        _ if name.contains("BYTES") && number >= 1 << 30 && number % (1 << 30) == 0 => format!("{} GiB", number >> 30),
        _ if name.contains("BYTES") && number >= 1 << 20 && number % (1 << 20) == 0 => format!("{} MiB", number >> 20),
        _ if name.contains("BYTES") && number >= 1 << 10 && number % (1 << 10) == 0 => format!("{} KiB", number >> 10),
        _ if name.contains("BYTES") => format!("{number} bytes"),
        _ => number.to_string(),
    })
}

/// Sums, products and shifts of numbers.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'))
        && !inner.contains('(')
    {
        return number(inner);
    }
    if let Some((left, right)) = text.split_once(" + ") {
        return Some(number(left)? + number(right)?);
    }
    if let Some((left, right)) = text.split_once(" * ") {
        return Some(number(left)? * number(right)?);
    }
    if let Some((left, right)) = text.split_once(" << ") {
        return Some(number(left)? << number(right)?);
    }
    text.replace('_', "").parse().ok()
}
