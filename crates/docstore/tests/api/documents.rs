//! The documents that are made from the code.

use std::fmt::Write;

use docstore_settings::Variable;

use crate::support::generated;

#[test]
fn generated_openapi() {
    generated::check("docs/openapi.json", &format!("{}\n", docstore::openapi_json()));
}

/// A cell of a table: bars would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn variable_rows(text: &mut String, variables: &[&Variable]) {
    text.push_str("| Variable | Default | Meaning |\n| --- | --- | --- |\n");
    for Variable { name, default, meaning } in variables {
        let default = if default.is_empty() { String::new() } else { format!("`{}`", cell(default)) };
        writeln!(text, "| `{name}` | {default} | {} |", cell(meaning)).unwrap();
    }
    text.push('\n');
}

#[test]
fn generated_configuration() {
    let mut text = "# Configuration

All settings are environment variables. An empty value counts as absent. A bad value, and an unknown name that begins with
`DOCSTORE_`, is refused by name before anything listens. Seven variables are flags as well (`docstore --help`); a flag wins.
`docstore-dev` reads the same variables with other defaults: `DEV_IDENTITY` and `BOOTSTRAP_ADMIN` are
`developer@example.com`, `LOG_FORMAT` is `text`.

This page is made from the code: `scripts/generate`.

"
    .to_owned();
    for (group, variables) in docstore::all_variables() {
        writeln!(text, "## {group}\n").unwrap();
        variable_rows(&mut text, &variables.iter().collect::<Vec<_>>());
    }
    generated::check("docs/configuration.md", &format!("{}\n", text.trim_end()));
}

/// Bounds that nobody has had a reason to set: what, how much, and why.
const FIXED: &[(&str, &str, &str)] = &[
    ("identity", "320 bytes", "the longest e-mail address"),
    ("org name", "64 bytes", "it is part of every URL, subject and log line"),
    ("repo, branch and release name", "255 bytes each", "as an org name; it fits into a file name"),
    ("file path", "4096 bytes, 255 per segment", "`PATH_MAX` and `NAME_MAX` of Linux"),
    ("path segments of a URL", "4096", "routing looks at each"),
    ("nesting of a JSON body", "16 levels", "the deepest type has four; no input can exhaust the stack"),
    ("idempotency key", "255 visible ASCII characters", "a UUID has 36"),
    ("media type of a file", "255 bytes", "RFC 6838 allows 127 for each half"),
    ("target of a symbolic link", "4095 bytes", "`PATH_MAX` of Linux"),
    ("content in a database row", "256 MiB", "only met with externalising switched off"),
    ("mark of an imported commit", "255 bytes", "`git:` and a SHA-256 take 68"),
    ("wait for memory for a body", "5 s", "then 503"),
    ("wait for a place among the uploads", "10 s", "then 503"),
    ("page of a chain", "500 commits", "read at once; the stream has no gap"),
    ("batch of an archive", "1000 files and 4 MiB of small ones", "in memory at once"),
    ("life of an upload that no commit takes up", "24 h", "longer than any commit takes"),
    ("life of a stored answer", "24 h", "for a client that sends a write again"),
    ("life of a presigned URL", "1 h", "the contract"),
    ("keep-alive of an event stream", "15 s", "proxies close what is silent for longer"),
    ("time a transaction may rest", "60 s", "a server that hangs must not keep a branch locked"),
    ("answer of an identity provider", "256 KiB, 64 keys", "real ones have a few KiB"),
];

#[test]
fn generated_limits() {
    let mut text = "# Limits

Every queue, body, page, fan-out and wait has a bound. Above one, a request is refused: 413 for what is too large, 414 and 431
for the head, 429 for too many streams of one caller, 408 for what is too slow, 503 for what would have to wait too long. A
client that is silent in the middle of a request, or that does not read its answer, is closed within 15 s.

`docstore_refusals_total{code}` counts refusals by the code that the client got, `docstore_limit_reached_total{limit}` those
of the connection and of shared memory, by the limit's name.

This page is made from the code: `scripts/generate`.

## Settable

"
    .to_owned();
    let bounds = ["_MAX", "_SECONDS", "_BYTES", "_CONNECTIONS", "_PER_PEER", "_HEADERS", "_DAYS", "_EVENTS"];
    let settable: Vec<&Variable> = docstore::all_variables()
        .into_iter()
        .flat_map(|(_, variables)| variables)
        .filter(|variable| {
            variable.name.starts_with("DOCSTORE_") && bounds.iter().any(|end| variable.name.contains(end))
        })
        .collect();
    variable_rows(&mut text, &settable);
    text.push_str("## Fixed\n\n| What | Bound | Why |\n| --- | --- | --- |\n");
    for (what, bound, why) in FIXED {
        writeln!(text, "| {what} | {bound} | {why} |").unwrap();
    }
    generated::check("docs/limits.md", &text);
}
