//! What `docs/policies.md` shows is what happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::collections::BTreeSet;

use docstore_policy::{CaseFile, Input, Limits, Policy, run_cases};
use serde_json::Value;

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies.md")).unwrap()
}

/// The examples in a language, in their order.
fn examples(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// A section of the page.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let section = page.split(&format!("\n## {title}\n")).nth(1).unwrap_or_else(|| panic!("there is no {title}"));
    section.split("\n## ").next().unwrap()
}

/// The names in backticks in the first column of the table of a section.
fn named<'a>(page: &'a str, title: &str) -> BTreeSet<&'a str> {
    let rows = section(page, title).lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect()
}

#[test]
fn the_examples_work() {
    let page = page();
    let (policies, cases) = (examples(&page, "rego"), examples(&page, "json"));
    assert!(!policies.is_empty() && !cases.is_empty());
    let policies: Vec<Policy> = policies
        .iter()
        .map(|text| Policy::compile(".docstore/policy/review.rego", text).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    for text in cases {
        let cases: CaseFile = serde_json::from_str(&text).unwrap();
        assert!(!cases.cases.is_empty());
        // They are about the policy that the page shows before them.
        assert_eq!(run_cases(policies.last().unwrap(), &cases.cases, &Limits::default()), []);
    }
}

#[test]
fn it_has_every_key_of_the_document() {
    let page = page();
    let Value::Object(keys) = serde_json::to_value(Input::default()).unwrap() else { panic!("it is an object") };
    let keys: BTreeSet<&str> = keys.keys().map(String::as_str).collect();
    assert_eq!(named(&page, "The document"), keys);
}

#[test]
fn what_it_names_of_the_library_is_there() {
    let page = page();
    for name in named(&page, "The library") {
        let name = name.split('(').next().unwrap();
        // The door refuses a rule that the library does not have.
        let source = format!("package docstore.test\nimport data.docstore.lib\nallow := [x | x := lib.{name}]\n");
        if let Err(error) = Policy::compile("test.rego", &source) {
            assert!(!error.message.contains("the library has no rule"), "{error}");
        }
    }
    assert!(named(&page, "The library").len() > 15);
}

#[test]
fn what_it_calls_refused_is_refused_and_what_it_calls_not_supported_too() {
    let page = page();
    let told = section(&page, "A policy");
    for (name, body) in [
        ("http.send", "x := http.send({})"),
        ("net.lookup_ip_addr", "x := net.lookup_ip_addr(\"a\")"),
        ("opa.runtime", "x := opa.runtime()"),
        ("rand.intn", "x := rand.intn(\"a\", 2)"),
        ("uuid.rfc4122", "x := uuid.rfc4122(\"a\")"),
        ("with", "x if { true with input as 1 }\nallow if x"),
        ("walk", "allow if { some path, value; walk(input, [path, value]) }"),
        ("JSON Schema", "x := json.match_schema({}, {})"),
        ("YAML", "x := yaml.unmarshal(\"a: 1\")"),
        ("io.jwt", "x := io.jwt.decode(\"a\")"),
        (
            "constant keys in partial objects",
            "x[\"a\"] := 1 if input.draft\nx[\"b\"] := 2 if input.draft\nallow if x.a == 1",
        ),
    ] {
        assert!(told.contains(name), "the page does not tell of {name}");
        let source = format!("package docstore.test\nimport rego.v1\ndefault allow := false\n{body}\n");
        assert!(Policy::compile("test.rego", &source).is_err(), "{name} is let in");
    }
}
