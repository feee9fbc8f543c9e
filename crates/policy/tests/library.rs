//! The library: each rule by name, with what it is for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::collections::BTreeSet;

use chrono::DateTime;
use docstore_policy::{Input, Limits, Policy, PreparedInput};
use serde_json::{Value, json};

const LIBRARY: &str = include_str!("../src/lib.rego");

/// Whether a policy allows a document that uses the library so.
fn holds(condition: &str, input: &Value) -> bool {
    let source = format!("package docstore.test\n\nimport data.docstore.lib\nimport rego.v1\n\nallow if {condition}\n");
    let policy = Policy::compile("test.rego", &source).unwrap_or_else(|error| panic!("{error}"));
    // What a document leaves out is empty.
    let input: Input = serde_json::from_value(input.clone()).unwrap();
    let input = PreparedInput::new(&input).unwrap();
    policy.decide(&input, DateTime::UNIX_EPOCH, &Limits::default()).unwrap().result.pass
}

fn review(reviewer: &str, status: &str) -> Value {
    json!({"reviewer": reviewer, "status": status, "sequence": 7})
}

fn carried(reviewer: &str, identical: bool, moved: &[&str]) -> Value {
    json!({"reviewer": reviewer, "status": "approved", "sequence": 5, "identical": identical, "moved_paths": moved})
}

fn person(role: &str) -> Value {
    json!({"kind": "person", "on_behalf_of": null, "role": role})
}

/// What holds, and what does not, of a document. Each rule of the library is in one.
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn cases() -> Vec<(Value, Vec<&'static str>, Vec<&'static str>)> {
    vec![
        (
            json!({"reviews": [review("bob", "approved"), review("carol", "rejected"), review("bob", "rejected")]}),
            vec![
                "count(lib.latest_reviews) == 2",
                "lib.last_word == {\"bob\": 0, \"carol\": 1}",
                "lib.head_approvers == {\"bob\"}",
                "lib.rejecters == {\"carol\"}",
                "lib.reviewed_head(\"carol\")",
            ],
            vec!["lib.reviewed_head(\"dave\")", "\"bob\" in lib.rejecters", "count(lib.stale_approvers) > 0"],
        ),
        (
            json!({
                "reviews": [review("bob", "dismissed")],
                "carried_reviews": [
                    carried("bob", true, &[]), carried("carol", true, &[]), carried("dave", true, &["a"]),
                    carried("erin", false, &[]),
                ],
            }),
            vec![
                "lib.carried_approvers == {\"carol\"}",
                "lib.stale_approvers == {\"dave\", \"erin\"}",
                "lib.approvers == {\"carol\"}",
            ],
            // Who has spoken about the head is not carried, whatever it was.
            vec!["\"bob\" in lib.approvers", "\"bob\" in lib.stale_approvers"],
        ),
        (
            json!({
                "authors": ["alice", "agent:fixer/frank"], "co_authors": ["bob"], "last_pusher": "carol",
                "reviews": [
                    review("alice", "approved"), review("bob", "approved"), review("carol", "approved"),
                    review("dave", "approved"), review("frank", "approved"), review("agent:helper/dave", "approved"),
                    review("agent:x/alice", "approved"),
                ],
                "principals": {
                    "agent:fixer/frank": {"kind": "agent", "on_behalf_of": "frank"},
                    "agent:helper/dave": {"kind": "agent", "on_behalf_of": "dave"},
                    "agent:x/alice": {"kind": "agent", "on_behalf_of": "alice"},
                    "ci-job:1": {"kind": "job", "on_behalf_of": null},
                },
            }),
            vec![
                "lib.contributors == {\"alice\", \"agent:fixer/frank\", \"bob\", \"carol\"}",
                "lib.contributing_principals == {\"alice\", \"frank\", \"bob\", \"carol\"}",
                "lib.kind(\"agent:helper/dave\") == \"agent\"",
                "lib.kind(\"nobody\") == \"person\"",
                "lib.principal_of(\"agent:helper/dave\") == \"dave\"",
                "lib.principal_of(\"ci-job:1\") == \"ci-job:1\"",
                "lib.human(\"dave\")",
                "lib.independent(\"dave\")",
                "lib.independent(\"agent:helper/dave\")",
                "lib.involved(\"frank\")",
                "lib.involved(\"agent:x/alice\")",
                "lib.distinct_approvers == {\"dave\"}",
                "lib.approved_by_at_least(1)",
            ],
            vec![
                "lib.human(\"agent:helper/dave\")",
                "lib.human(\"ci-job:1\")",
                "lib.independent(\"frank\")",
                "lib.independent(\"agent:x/alice\")",
                "lib.involved(\"dave\")",
                "lib.approved_by_at_least(2)",
            ],
        ),
        (
            // Whoever lost their role approves nothing any more, and goes on rejecting.
            json!({
                "authors": ["alice"],
                "reviews": [review("bob", "approved"), review("carol", "approved"), review("dave", "rejected")],
                "carried_reviews": [carried("erin", true, &[]), carried("frank", false, &[])],
                "principals": {
                    "bob": person("none"), "carol": person("maintainer"), "dave": person("none"), "erin": person("reader"),
                    "frank": person("none"), "grace": {"kind": "person"},
                },
            }),
            vec![
                "lib.approvers == {\"carol\"}",
                "lib.distinct_approvers == {\"carol\"}",
                "count(lib.stale_approvers) == 0",
                "lib.rejecters == {\"dave\"}",
                "lib.role(\"bob\") == \"none\"",
                "lib.role(\"grace\") == \"unknown\"",
                "lib.role(\"heidi\") == \"unknown\"",
                "lib.may_review(\"carol\")",
                "lib.may_review(\"grace\")",
            ],
            vec!["lib.may_review(\"bob\")", "lib.may_review(\"erin\")", "lib.approved_by_at_least(2)"],
        ),
        (
            json!({
                "branch": "topic", "authors": ["alice"],
                "owners": {"a": ["bob", "carol"], "b": ["alice"], "c": ["agent:helper/dave"], "d": null, "e": ["erin"]},
                "reviews": [review("alice", "approved"), review("agent:helper/dave", "approved"), review("bob", "approved")],
                "carried_reviews": [carried("erin", true, &[])],
                "principals": {"agent:helper/dave": {"kind": "agent", "on_behalf_of": "dave"}},
            }),
            vec![
                // The author is the only owner of one, an agent of another: both need somebody else.
                "lib.unapproved_paths == {\"b\", \"c\"}",
                "lib.owner_approved([\"bob\"])",
                "lib.owner_approved([\"erin\"])",
                "count(lib.owner_requirements) == 2",
                "{requirement.who | some requirement in lib.owner_requirements} == {[\"alice\"], [\"agent:helper/dave\"]}",
            ],
            vec!["lib.owners_approved", "lib.owner_approved([\"alice\"])", "lib.owner_approved([\"dave\"])"],
        ),
        (
            json!({"owners": {"a": ["bob"], "b": null}, "carried_reviews": [carried("bob", true, &[])]}),
            vec!["lib.owners_approved", "count(lib.owner_requirements) == 0"],
            vec!["\"a\" in lib.unapproved_paths"],
        ),
        (
            json!({"check_runs": [
                {"check_name": "build", "status": "passed"}, {"check_name": "docs", "status": "failed"},
                {"check_name": "lint", "status": "pending", "state": "expected"},
            ]}),
            vec![
                "lib.passed_checks == {\"build\"}",
                "lib.failed_checks == {\"docs\"}",
                "lib.pending_checks == {\"lint\"}",
                "lib.checks_passed_for([\"build\"])",
                "lib.checks_passed_for([])",
            ],
            vec![
                "lib.checks_passed",
                "lib.checks_passed_for([\"build\", \"docs\"])",
                "lib.checks_passed_for([\"none\"])",
            ],
        ),
        (
            json!({"check_runs": [{"check_name": "build", "status": "passed", "state": "not_applicable"}]}),
            vec!["lib.checks_passed", "lib.checks_passed_for({\"build\"})"],
            vec![],
        ),
        (
            json!({"branch": "a b"}),
            vec![
                "lib.word(\"x/1\") == \"x/1\"",
                "lib.word(input.branch) == \"'a b'\"",
                "lib.option(\"--branch\", \"-x\") == \"--branch=-x\"",
            ],
            vec!["lib.option(\"--branch\", input.branch) == \"--branch a b\""],
        ),
    ]
}

#[test]
fn each_rule_does_what_it_says() {
    for (input, yes, no) in cases() {
        for condition in yes {
            assert!(holds(condition, &input), "{condition} of {input}");
        }
        for condition in no {
            assert!(!holds(condition, &input), "not {condition} of {input}");
        }
    }
}

/// The rules that the text of the library defines.
fn rules() -> BTreeSet<&'static str> {
    let name = |line: &'static str| {
        let name = line.split(|char: char| !char.is_ascii_lowercase() && char != '_').next()?;
        (!name.is_empty() && !["package", "import"].contains(&name)).then_some(name)
    };
    LIBRARY.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase())).filter_map(name).collect()
}

#[test]
fn each_rule_is_in_a_case_and_on_the_page() {
    let told: String = cases().into_iter().flat_map(|(_, yes, no)| yes.into_iter().chain(no)).collect();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies.md")).unwrap();
    let rules = rules();
    assert!(rules.len() > 20, "{rules:?}");
    for rule in &rules {
        assert!(told.contains(&format!("lib.{rule}")), "no case is about {rule}");
    }
    // What is for the library itself need not be told.
    let own = ["contributing_principals", "involved", "last_word", "owner_approved", "reviewed_head"];
    for rule in rules.iter().filter(|rule| !own.contains(rule)) {
        let named = page.contains(&format!("`{rule}`")) || page.contains(&format!("`{rule}("));
        assert!(named, "{rule} is not on the page");
    }
}
