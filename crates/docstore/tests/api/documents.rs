//! The documents that are made from the code.

mod limits;

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
