//! What policies decide, and what is refused at the door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::time::Duration;

use chrono::DateTime;
use docstore_policy::{
    CaseFile, Decision, EvaluationError, Input, InputCheckRun, InputReview, Limits, Policy, PreparedInput, STARTER,
    is_policy, run_cases,
};

const FILE: &str = ".docstore/policy/test.rego";

fn compile(body: &str) -> Policy {
    Policy::compile(FILE, &format!("package docstore.test\n\nimport rego.v1\n\n{body}")).unwrap()
}

fn refused(source: &str) -> String {
    Policy::compile(FILE, source).map(|_| "compiles".to_owned()).unwrap_or_else(|error| error.to_string())
}

fn decide(policy: &Policy, input: &Input) -> Result<Decision, EvaluationError> {
    let now = DateTime::from_timestamp(1_700_000_000, 5).unwrap();
    policy.decide(&PreparedInput::new(input).unwrap(), now, &Limits::default())
}

fn verdict(body: &str, input: &Input) -> (bool, String) {
    let decision = decide(&compile(body), input).unwrap();
    (decision.result.pass, decision.result.reason)
}

fn failure(body: &str) -> String {
    decide(&compile(body), &Input::default()).unwrap_err().to_string()
}

#[test]
fn only_exactly_true_passes() {
    for (allow, passes) in [
        ("allow := true", true),
        ("allow := false", false),
        ("allow := \"true\"", false),
        ("allow := 1", false),
        ("allow := {true}", false),
        ("allow := null", false),
        ("allow if input.draft", false),
        ("allow if not input.draft", true),
        ("default allow := false\nallow if input.actor == \"nobody\"", false),
        ("default allow := true", true),
        // A set of values is another type than a boolean, whatever is in it.
        ("allow contains true", false),
    ] {
        assert_eq!(verdict(allow, &Input::default()).0, passes, "{allow}");
    }
}

#[test]
fn a_reason_is_a_text_that_says_something() {
    for (reason, told) in [
        ("", "policy denied"),
        ("reason := \"\"", "policy denied"),
        ("reason := 7", "policy denied"),
        ("reason := [\"a\"]", "policy denied"),
        ("reason if input.draft", "policy denied"),
        ("reason := \"not on a Friday\"", "not on a Friday"),
        ("reason := sprintf(\"%s may not\", [input.actor])", "eve may not"),
    ] {
        let input = Input { actor: "eve".to_owned(), ..Input::default() };
        assert_eq!(verdict(&format!("default allow := false\n{reason}"), &input), (false, told.to_owned()), "{reason}");
    }
    // Whoever passes has no reason.
    assert_eq!(verdict("allow := true\nreason := \"x\"", &Input::default()), (true, String::new()));
    let long = verdict(
        "default allow := false\nreason := concat(\"\", [\"ä\" | some _ in numbers.range(1, 5000)])",
        &Input::default(),
    )
    .1;
    assert_eq!(long.len(), 4096);
}

#[test]
fn the_document_has_the_keys_of_the_contract() {
    let all = "allow if {
        input.actor == \"alice\"
        input.actor_roles == [\"maintainer\"]
        input.action == \"merge\"
        input.repo == \"acme/app\"
        input.branch == \"feature/x\"
        input.draft == false
        input.changed_paths == null
        input.reviews == [{\"reviewer\": \"bob\", \"status\": \"approved\", \"sequence\": 7}]
        input.check_runs == [{\"check_name\": \"ci\", \"status\": \"passed\", \"sequence\": 7, \"state\": \"passed\", \"reporter\": \"ci-job:1\"}]
        input.owners == {\"a\": [\"bob\"], \"b\": null}
        input.head_sequence == 7
        input.base_sequence == 3
        input.proposal == null
    }";
    let input = Input {
        actor: "alice".to_owned(),
        actor_roles: vec!["maintainer".to_owned()],
        action: "merge".to_owned(),
        repo: "acme/app".to_owned(),
        branch: "feature/x".to_owned(),
        reviews: vec![InputReview { reviewer: "bob".to_owned(), status: "approved".to_owned(), sequence: 7 }],
        check_runs: vec![InputCheckRun {
            check_name: "ci".to_owned(),
            status: "passed".to_owned(),
            sequence: 7,
            state: "passed".to_owned(),
            reporter: "ci-job:1".to_owned(),
        }],
        owners: [("a".to_owned(), Some(vec!["bob".to_owned()])), ("b".to_owned(), None)].into(),
        head_sequence: 7,
        base_sequence: 3,
        ..Input::default()
    };
    assert_eq!(verdict(all, &input), (true, String::new()));
}

#[test]
fn the_language_is_all_there() {
    for body in [
        "allow if { some i, x in [10, 20]; i == 1; x == 20 }",
        "allow if { every x in [1, 2] { x > 0 } }",
        "allow if { x := [y | some y in [1, 2, 3]; y > 1]; x == [2, 3] }",
        "allow if { x := {k: v | some k, v in {\"a\": 1}}; x.a == 1 }",
        "names contains x if some x in [\"a\", \"b\"]\nallow if \"b\" in names",
        "by_name[x] := count(x) if some x in [\"a\", \"bb\"]\nallow if by_name.bb == 2",
        "f(x) := y if { y := x * 2 }\nallow if f(2) == 4",
        "f(x) := 1 if { x > 0 } else := 2\nallow if f(-1) == 2",
        "allow if regex.match(`^a+$`, \"aaa\")",
        "allow if regex.match(`^(?i:RELEASE)/\\d+\\.\\w+$`, \"release/1.x\")",
        "allow if glob.match(\"src/**\", [\"/\"], \"src/a/b\")",
        "allow if time.weekday(time.now_ns()) == \"Tuesday\"",
        "allow if time.now_ns() == 1700000000000000005",
        "late if time.now_ns() > 1\nallow if { late; x := {t | some _ in [1, 2]; t := time.now_ns()}; count(x) == 1 }",
        "allow if semver.compare(\"1.2.0\", \"1.10.0\") == -1",
        "allow if json.unmarshal(json.marshal({\"a\": 1})).a == 1",
        "allow if sprintf(\"%d-%s\", [1, \"a\"]) == \"1-a\"",
        "allow if replace(\"a.b.c\", \".\", \"/\") == \"a/b/c\"",
        "allow if { x := [upper(concat(\"\", [a, b])) | some a in [\"x\", \"y\"]; b := \"z\"]; x == [\"XZ\", \"YZ\"] }",
        "concat(a, b) := 7\nallow if concat(1, 2) == 7",
        "allow if concat(\",\", [x | some x in {\"b\", \"a\"}]) == \"a,b\"",
        "allow if not concat(\",\", 7)",
        "f(x) := replace(x, \"a\", \"b\")\nallow if { every x in [\"aa\", \"a\"] { startswith(f(x), \"b\") } }",
        "reason := \"x\"\nwords contains reason if { reason := \"y\" }\nallow if \"y\" in words",
    ] {
        assert_eq!(verdict(body, &Input::default()), (true, String::new()), "{body}");
    }
}

#[test]
fn what_does_not_end_is_stopped() {
    assert_eq!(
        failure("allow if { some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); a * b < 0 }"),
        ".docstore/policy/test.rego: rule `allow`: it was stopped after 1000000 instructions; does it loop over too much?"
    );
    let policy =
        compile("allow if { some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); a * b < 0 }");
    let limits = Limits { instructions: usize::MAX, time: Duration::from_millis(20) };
    let input = PreparedInput::new(&Input::default()).unwrap();
    assert_eq!(
        policy.decide(&input, DateTime::UNIX_EPOCH, &limits).unwrap_err().to_string(),
        ".docstore/policy/test.rego: rule `allow`: it was stopped because it took too long"
    );
    // The reason is stopped as well.
    assert!(failure("default allow := false\nreason := \"x\" if { every a in numbers.range(1, 5000) { every b in numbers.range(1, 5000) { a * b > 0 } } }").contains("rule `reason`: it was stopped"));
}

#[test]
fn what_grows_without_end_is_stopped() {
    for (body, function) in [
        ("allow if count(numbers.range(1, 1000000000000)) > 0", "numbers.range"),
        ("allow if count(numbers.range_step(1, 1000000000000, 1)) > 0", "numbers.range_step"),
        ("allow if bits.lsh(1, 4000000000) > 0", "bits.lsh"),
        ("allow if sprintf(\"%9999999999d\", [1]) != \"\"", "sprintf"),
        (
            "a := concat(\"\", [\"x\" | some _ in numbers.range(1, 90000)])\nb := replace(a, \"x\", a)\nallow if count(b) > 0",
            "replace",
        ),
        (
            "a := concat(\"\", [\"x\" | some _ in numbers.range(1, 90000)])\nb := concat(a, [\"\" | some _ in numbers.range(1, 90000)])\nallow if count(b) > 0",
            "concat",
        ),
        (
            &format!(
                "x0 := [1, 1]\n{}allow if json.marshal(x40) != \"\"",
                (1..=40).map(|n| format!("x{n} := [x{0}, x{0}]\n", n - 1)).collect::<String>()
            ),
            "json.marshal",
        ),
        (
            &format!(
                "x0 := [1, 1]\n{}allow if count(x40) > 0",
                (1..=40).map(|n| format!("x{n} := array.concat(x{0}, x{0})\n", n - 1)).collect::<String>()
            ),
            "array.concat",
        ),
    ] {
        assert_eq!(
            failure(body),
            format!(".docstore/policy/test.rego: rule `allow`: `{function}` would make more than memory allows")
        );
    }
}

#[test]
fn values_may_nest_deeply() {
    let levels = 900;
    let body = format!(
        "x0 := 1\n{}allow if x{levels} == x{levels}",
        (1..=levels).map(|n| format!("x{n} := [[[[[[[[x{}]]]]]]]]\n", n - 1)).collect::<String>()
    );
    let deep = std::thread::Builder::new()
        .stack_size(docstore_policy::STACK_BYTES)
        .spawn(move || verdict(&body, &Input::default()).0)
        .unwrap();
    assert!(deep.join().unwrap());
}

#[test]
fn what_is_refused_at_the_door_is_named_with_its_line() {
    let door = |body: &str| refused(&format!("package docstore.test\nimport rego.v1\nallow if true\n{body}"));
    insta::assert_snapshot!([
        door("x if {\n  http.send({\"method\": \"get\", \"url\": \"http://example.com\"})\n}"),
        door("x := [y | y := net.lookup_ip_addr(\"example.com\")]"),
        door("x if { some z in [1]; opa.runtime().env.PATH }"),
        door("default x := false\nx if { every a in [1] { rand.intn(\"a\", 2) == a } }"),
        door("f(x) := uuid.rfc4122(x)"),
        door("x := __builtin_host_await(1, \"a\")"),
        door("x := io.jwt.decode(\"a\")"),
        door("x := nothing_of_the_sort(1)"),
        door("allow if {"),
        door("x if y"),
        door("allow { true }"),
        door("p if q\nq if p\nallow if p"),
        door("f(x) := y if { y := g(x) }\ng(x) := f(x)"),
        door("x if data.docstore.test.x"),
        door("x if { true with input as 1 }\nallow if x"),
        door("allow if count([1 | walk(input, [path, value])]) == 1"),
        refused("package main\nimport rego.v1\nallow if true"),
        refused("package docstore\nimport rego.v1\nallow if true"),
        refused("package docstore.lib\nimport rego.v1\nallow if true"),
        refused("package docstore[\"a b\"]\nimport rego.v1\nallow if true"),
        refused("package docstore.a\nimport rego.v1\nimport data.docstore.b\nallow if true"),
        refused("package docstore.a\nimport rego.v1\ndeny if true"),
        refused(""),
        refused(&"# long\n".repeat(40_000)),
    ].join("\n"), @"
    .docstore/policy/test.rego:5: `http.send` is not available: a policy cannot reach the network
    .docstore/policy/test.rego:4: `net.lookup_ip_addr` is not available: a policy cannot reach the network
    .docstore/policy/test.rego:4: `opa.runtime` is not available: a policy cannot read the environment
    .docstore/policy/test.rego:5: `rand.intn` is not available: a policy cannot draw lots
    .docstore/policy/test.rego:4: `uuid.rfc4122` is not available: a policy cannot draw lots
    .docstore/policy/test.rego:4: `__builtin_host_await` is not available: it is not for policies
    .docstore/policy/test.rego:4: there is no function `io.jwt.decode`
    .docstore/policy/test.rego:4: there is no function `nothing_of_the_sort`
    .docstore/policy/test.rego:4: expecting expression
    .docstore/policy/test.rego:4: use of undefined variable `y` is unsafe
    .docstore/policy/test.rego:4: `if` keyword is required before rule body
    .docstore/policy/test.rego:4: rules must not depend on themselves: p -> q -> p
    .docstore/policy/test.rego:4: rules must not depend on themselves: f -> g -> f
    .docstore/policy/test.rego:4: rules must not depend on themselves: x -> x
    .docstore/policy/test.rego:4: the `with` keyword is not supported
    .docstore/policy/test.rego: walk loops are not supported
    .docstore/policy/test.rego:1: the package must be `docstore.<name>`, not `main`
    .docstore/policy/test.rego:1: the package must be `docstore.<name>`, not `docstore`
    .docstore/policy/test.rego:1: the package must be `docstore.<name>`, not `docstore.lib`
    .docstore/policy/test.rego:1: the package must be `docstore.<name>`, not `docstore.a b`
    .docstore/policy/test.rego:3: `data.docstore.b` cannot be imported: each policy stands alone; there are `rego.v1`, `input` and `data.docstore.lib`
    .docstore/policy/test.rego: a policy needs a rule `allow`
    .docstore/policy/test.rego:1: expecting `package` Missing package declaration.
    .docstore/policy/test.rego: a policy may have at most 262144 bytes
    ");
}

#[test]
fn what_could_never_work_is_refused_at_the_door() {
    let door = |body: &str| {
        refused(&format!("package docstore.test\nimport rego.v1\nimport data.docstore.lib\nallow if true\n{body}"))
    };
    insta::assert_snapshot!([
        door("x if regex.match(`^[\\w-]{1,100}$`, input.branch)"),
        door("patterns := [\n  \"a\",\n  `\\w{200}`,\n]\nx if {\n  some pattern in patterns\n  regex.match(pattern, input.branch)\n}"),
        door("x := regex.split(p, input.branch) if {\n  p := {`\\w{200}`: 1, \"b\": `\\W{300}`}[_]\n}"),
        door("x if f(`\\w{200}`)\nf(p) if regex.replace(input.branch, p, \"\") == \"\""),
        door("x if regex.is_valid(`\\w{200}`)"),
        door("x if {\n  regex.match(\"a(b\", input.branch)\n}"),
        door("x if regex.is_valid(\"a(b\")\nreason := `\\w{200}`"),
        door("x if count(input.reviews, 1, 2) == 1"),
        door("x if startswith(input.branch)"),
        door("x if f(1)\nf(a, b) := a + b"),
        door("x if lib.approved_by_at_least()"),
        door("x if lib.approved_by_many(3)"),
        door("x if count(lib.rejectors) == 0"),
        door("x if count(data.docstore.lib.rejectors) == 0"),
        door("x if data.docstore.test.nothing"),
        door("x if data.docstore.other.allow"),
        door("x if data.users[input.actor]"),
        door("x := data.docstore.test.f(1)\nf(a) := a"),
        door("x := y if f(1, y)\nf(a) := a"),
    ].join("\n"), @r"
    .docstore/policy/test.rego:5: the regular expression is too large: compiled it may take at most 100 KiB; `[0-9A-Za-z_]` takes less than `\w`
    .docstore/policy/test.rego:7: the regular expression is too large: compiled it may take at most 100 KiB; `[0-9A-Za-z_]` takes less than `\w`
    .docstore/policy/test.rego:6: the regular expression is too large: compiled it may take at most 100 KiB; `[0-9A-Za-z_]` takes less than `\w`
    .docstore/policy/test.rego:5: the regular expression is too large: compiled it may take at most 100 KiB; `[0-9A-Za-z_]` takes less than `\w`
    .docstore/policy/test.rego:5: the regular expression is too large: compiled it may take at most 100 KiB; `[0-9A-Za-z_]` takes less than `\w`
    .docstore/policy/test.rego:6: it is no regular expression: unclosed group
    compiles
    .docstore/policy/test.rego:5: `count` takes 1 argument, and is given 3
    .docstore/policy/test.rego:5: `startswith` takes 2 arguments, and is given 1
    .docstore/policy/test.rego:5: `f` takes 2 arguments, and is given 1
    .docstore/policy/test.rego:5: `lib.approved_by_at_least` takes 1 argument, and is given 0
    .docstore/policy/test.rego:5: there is no function `lib.approved_by_many`
    .docstore/policy/test.rego:5: the library has no rule `rejectors`
    .docstore/policy/test.rego:5: the library has no rule `rejectors`
    .docstore/policy/test.rego:5: there is no rule `nothing`
    .docstore/policy/test.rego:5: there is no `data.docstore.other.allow`: each policy stands alone, with `input` and the library
    .docstore/policy/test.rego:5: there is no `data.users`: each policy stands alone, with `input` and the library
    compiles
    compiles
    ");
}

#[test]
fn what_the_door_takes_as_a_pattern_the_engine_takes() {
    // The same bound on both sides, whichever pattern comes near it.
    let engine_takes = |pattern: &str| {
        let put_together =
            format!("allow if regex.match(concat(\"\", [`{pattern}`, \"\"]), \"a\")\ndefault allow := false");
        decide(&compile(&put_together), &Input::default()).is_ok()
    };
    let door_takes = |pattern: &str| {
        let source = format!("package docstore.test\nallow if regex.match(`{pattern}`, \"a\")");
        Policy::compile(FILE, &source).is_ok()
    };
    for class in ["a", "[a-z]", r"\d", r"\w", "(?i:k)"] {
        let repeated = |times: u32| format!("^{class}{{{times}}}$");
        let (mut takes, mut refuses) = (1, 20_000);
        while takes + 1 < refuses {
            let middle = (takes + refuses) / 2;
            if door_takes(&repeated(middle)) { takes = middle } else { refuses = middle }
        }
        assert!(engine_takes(&repeated(takes)), "{class}: {takes}");
        assert!(!engine_takes(&repeated(refuses)), "{class}: {refuses}");
    }
    assert_eq!(
        failure("allow if regex.match(concat(\"\", [`\\w{200}`, \"\"]), \"a\")"),
        ".docstore/policy/test.rego: rule `allow`: a regular expression is too large: compiled it may take at most 100 KiB"
    );
}

#[test]
fn who_asks_for_the_time_is_known() {
    for (body, asks) in [
        ("allow if time.now_ns() > 1", true),
        ("allow if late\nlate if { x := time.now_ns(); x > 1 }", true),
        ("allow if time.parse_rfc3339_ns(\"2020-01-01T00:00:00Z\") > 1", false),
        ("allow := true", false),
    ] {
        assert_eq!(compile(body).reads_time(), asks, "{body}");
    }
}

#[test]
fn names_and_shadow() {
    let policy = Policy::compile(".docstore/policy/a/b.rego", "package docstore.team.web\nallow := true").unwrap();
    assert_eq!((policy.name(), policy.file()), ("web", ".docstore/policy/a/b.rego"));
    let shadow = |file: &str, body: &str| {
        let policy = Policy::compile(file, &format!("package docstore.x\n{body}")).unwrap();
        decide(&policy, &Input::default()).unwrap().result.shadow
    };
    assert!(shadow(".docstore/policy/shadow/x.rego", "allow := false"));
    assert!(shadow(".docstore/policy/x.rego", "allow := false\nshadow := true"));
    assert!(!shadow(".docstore/policy/x.rego", "allow := false\nshadow := 1"));
    assert!(!shadow(".docstore/policy/shadows/x.rego", "allow := false"));
    assert!(is_policy(".docstore/policy/a/b.rego") && !is_policy(".docstore/policy/a.json"));
    assert!(!is_policy("docs/.docstore/policy/a.rego"));
}

#[test]
fn a_policy_can_say_what_is_missing() {
    let decision = decide(
        &compile(
            "default allow := false
requirements contains {\"what\": \"a sign-off\", \"who\": [\"legal@example.com\"], \"command\": \"ds review --status approved\", \"kind\": \"review\"}
requirements contains \"patience\"
requirements contains {\"what\": \"one more\", \"who\": \"role:admin\", \"kind\": \"magic\"}
requirements contains {\"who\": \"nobody\"}
requirements contains 7
allow_override := true",
        ),
        &Input::default(),
    )
    .unwrap();
    assert!(decision.result.overridable);
    insta::assert_json_snapshot!(decision.requirements, @r#"
    [
      {
        "kind": "policy",
        "what": "patience",
        "who": [],
        "policy": "test"
      },
      {
        "kind": "review",
        "what": "a sign-off",
        "who": [
          "legal@example.com"
        ],
        "command": "ds review --status approved",
        "policy": "test"
      },
      {
        "kind": "policy",
        "what": "one more",
        "who": [
          "role:admin"
        ],
        "policy": "test"
      }
    ]
    "#);
}

#[test]
fn the_starter_set_does_what_its_cases_say() {
    let mut judged = 0;
    for file in STARTER.iter().filter(|file| file.path.ends_with(".rego")) {
        let policy = Policy::compile(file.path, file.text).unwrap_or_else(|error| panic!("{error}"));
        let cases = file.path.replace(".rego", ".cases.json");
        let cases = STARTER.iter().find(|file| file.path == cases).expect("has cases");
        let cases: CaseFile = serde_json::from_str(cases.text).expect(cases.path);
        assert_eq!(run_cases(&policy, &cases.cases, &Limits::default()), [], "{}", file.path);
        judged += cases.cases.len();
    }
    assert!(judged > 10);
}

#[test]
fn the_library_counts_as_many_reviewers_as_a_document_has() {
    let review = |number: usize, status: &str| InputReview {
        reviewer: format!("{number}@example.com"),
        status: status.to_owned(),
        sequence: 7,
    };
    let approved = |numbers: std::ops::Range<usize>| numbers.map(|number| review(number, "approved")).collect();
    let authors = (1_000..2_000).map(|number| format!("{number}@example.com")).collect();
    let input = Input { reviews: approved(0..1_000), authors, ..Input::default() };
    let policy = "import data.docstore.lib\n\nallow if {\n\tlib.approved_by_at_least(1000)\n\tcount(lib.rejecters) == 0\n\t\
        count(lib.stale_approvers) == 0\n}\n";
    assert!(verdict(policy, &input).0);
    // The newest word of each counts, wherever an older one stands.
    let mut input = Input { reviews: approved(0..3), ..Input::default() };
    input.reviews.insert(1, review(0, "rejected"));
    input.reviews.push(review(2, "rejected"));
    let policy =
        "import data.docstore.lib\n\nallow if {\n\tlib.approved_by_at_least(3)\n\tcount(lib.rejecters) == 0\n}\n";
    assert!(verdict(policy, &input).0);
    input.reviews.insert(0, review(1, "rejected"));
    assert!(!verdict(policy, &input).0);
}

#[test]
fn commands_quote_names() {
    let policy = Policy::compile(
        ".docstore/policy/x.rego",
        "package docstore.x\nimport rego.v1\nimport data.docstore.lib\n\
         default allow := false\nreason := lib.option(\"--branch\", input.branch)\n",
    )
    .unwrap();
    for (branch, option) in [
        ("feature/x-1", "--branch feature/x-1"),
        ("$(id)", "--branch '$(id)'"),
        ("it's", r"--branch 'it'\''s'"),
        ("a;b", "--branch 'a;b'"),
        ("übung", "--branch 'übung'"),
        ("--force", "--branch=--force"),
        ("-$x", "--branch='-$x'"),
    ] {
        let input = Input { branch: branch.to_owned(), ..Input::default() };
        assert_eq!(decide(&policy, &input).unwrap().result.reason, option);
    }
}
