//! What the engine does not stop by itself, and what becomes of it.

use std::sync::Arc;

use chrono::DateTime;
use docstore_policy::Input;
use docstore_policy_worker::{Document, Failure};
use rustix::process::{Signal, kill_process};

use crate::support::{GOOD, REPO, compile, compile_at, decide, document, end_of, evaluator, shared};

/// A text of ten million characters.
const LONG: &str = "s0 := concat(\"\", [\"0,\" | some _ in numbers.range(1, 50000)])\n\
    s := concat(\"\", [s0 | some _ in numbers.range(1, 100)])\n";

#[tokio::test]
async fn what_takes_too_long_inside_the_engine_is_killed() {
    let evaluator = evaluator(700);
    let good = compile(&evaluator, GOOD).await;
    for body in [
        // Comparisons that never end, wherever values are compared.
        shared("allow if a60 == b60"),
        shared("allow if count({a60, b60}) == 1"),
        shared("allow if a60 in [b60]"),
        shared("allow if {a60: 1}[b60] == 1"),
        // One instruction that takes long.
        format!("{LONG}allow if count(regex.find_all_string_submatch_n(`(0)(,)`, concat(\"\", [s, s]), -1)) < 0"),
    ] {
        let evil = compile(&evaluator, &body).await;
        let end = decide(&evaluator, &evil).await.unwrap_err();
        assert_eq!(end.to_string(), "test.rego: it was stopped because it took too long", "{body}");
        assert_eq!(decide(&evaluator, &good).await, Ok(true), "the next one is not harmed");
    }
}

#[tokio::test]
async fn what_the_engine_stops_costs_no_worker() {
    let evaluator = evaluator(20_000);
    let body = "allow if { some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); a * b < 0 }";
    let endless = compile(&evaluator, body).await;
    for _ in 0..2 {
        assert_eq!(
            decide(&evaluator, &endless).await.unwrap_err().to_string(),
            "test.rego: rule `allow`: it was stopped after 1000000 instructions; does it loop over too much?"
        );
    }
}

#[tokio::test]
async fn what_fills_memory_is_stopped() {
    let evaluator = evaluator(20_000);
    let good = compile(&evaluator, GOOD).await;
    let squares: String = (1..=30).map(|level| format!("x{level} := x{0} * x{0}\n", level - 1)).collect();
    for body in [
        format!(
            "{LONG}allow if count([concat(\"\", [s, sprintf(\"%d\", [n])]) | some n in numbers.range(1, 1000)]) < 0"
        ),
        format!("{LONG}allow if count(split(concat(\"\", [s, s]), \"\")) < 0"),
        format!("x0 := bits.lsh(1, 65000)\n{squares}allow if x30 < 0"),
    ] {
        let evil = compile(&evaluator, &body).await;
        let end = decide(&evaluator, &evil).await.unwrap_err();
        assert_eq!(end.to_string(), "test.rego: it was stopped because it needs too much memory", "{body}");
        assert_eq!(decide(&evaluator, &good).await, Ok(true), "the next one is not harmed");
    }
}

#[tokio::test]
async fn what_nests_until_the_stack_ends_is_stopped() {
    let evaluator = evaluator(20_000);
    // Each function nests its argument eight times as deep as the one before it; writing such a value takes a frame of the
    // stack per level.
    let function = |number: usize| {
        let (calls, ends) = (format!("f{}(", number - 1).repeat(8), ")".repeat(8));
        format!("f{number}(x) := {calls}x{ends}\n")
    };
    let functions: String = (1..=5).map(function).collect();
    let evil = format!("f0(x) := [[[[[[[[x]]]]]]]]\n{functions}allow if json.marshal(f5(1)) != \"\"");
    let evil = compile(&evaluator, &evil).await;
    let end = decide(&evaluator, &evil).await.unwrap_err();
    assert_eq!(end.to_string(), "test.rego: it was stopped because its values or expressions are nested too deeply");
}

#[tokio::test]
async fn compiling_is_stopped_as_well() {
    let evaluator = evaluator(700);
    // The engine's parser tries each bracket in two ways.
    let nested = format!("allow if {}1{} == 1", "[".repeat(100), "]".repeat(100));
    let Err(Failure::Stopped(error)) = compile_at(&evaluator, "test.rego", &nested).await else {
        panic!("it compiles")
    };
    assert_eq!(error.to_string(), "test.rego: compiling it: it was stopped because it took too long");
    assert_eq!(compile_at(&evaluator, "test.rego", "allow").await.unwrap().unwrap_err().line, Some(5));
    let good = compile(&evaluator, GOOD).await;
    assert_eq!(decide(&evaluator, &good).await, Ok(true));
}

#[tokio::test]
async fn a_policy_that_was_stopped_is_not_run_again_at_once() {
    let evaluator = evaluator(300);
    let evil = compile(&evaluator, &shared("allow if a60 == b60")).await;
    decide(&evaluator, &evil).await.unwrap_err();
    let again = decide(&evaluator, &evil).await.unwrap_err().to_string();
    assert!(again.starts_with("test.rego: it was stopped because it took too long; it is run again in "), "{again}");
    assert!(evaluator.workers().is_empty(), "nothing was started for that");
}

#[tokio::test]
async fn a_worker_that_somebody_kills_is_replaced() {
    let evaluator = evaluator(20_000);
    let good = compile(&evaluator, GOOD).await;
    let slow = compile(&evaluator, &shared("allow if a60 == b60")).await;
    let [idle] = evaluator.workers()[..] else { panic!("one worker has done it all") };
    kill_process(idle, Signal::KILL).unwrap();
    assert_eq!(decide(&evaluator, &good).await, Ok(true), "the texts are told to the new one");
    // In the middle of an evaluation: what another one left may have been the reason, so it is tried once more.
    let deciding = tokio::spawn({
        let (evaluator, slow) = (evaluator.clone(), slow.clone());
        async move { decide(&evaluator, &slow).await }
    });
    for _ in 0..2 {
        let busy = evaluator.busy_worker().await;
        let end = end_of(busy);
        kill_process(busy, Signal::KILL).unwrap();
        end.await;
    }
    assert_eq!(
        deciding.await.unwrap().unwrap_err().to_string(),
        "test.rego: it was interrupted: the process that evaluated it was killed"
    );
    assert_eq!(decide(&evaluator, &good).await, Ok(true));
}

#[tokio::test]
async fn an_evaluation_that_nobody_waits_for_ends() {
    let evaluator = evaluator(20_000);
    let slow = compile(&evaluator, &shared("allow if a60 == b60")).await;
    let deciding = tokio::spawn({
        let evaluator = evaluator.clone();
        async move { decide(&evaluator, &slow).await }
    });
    let end = end_of(evaluator.busy_worker().await);
    deciding.abort();
    end.await;
    assert!(evaluator.workers().is_empty(), "no other one goes on with it");
}

#[tokio::test]
async fn each_policy_gets_its_answer_and_those_that_count_come_first() {
    let evaluator = evaluator(2_500);
    let good = compile(&evaluator, GOOD).await;
    let no = compile(&evaluator, "allow := false\nreason := \"no\"").await;
    let evil = shared("allow if a60 == b60");
    let tried = compile_at(&evaluator, ".docstore/policy/shadow/x.rego", &evil).await.unwrap().unwrap();
    let fills = format!(
        "{LONG}allow if count([concat(\"\", [s, sprintf(\"%d\", [n])]) | some n in numbers.range(1, 1000)]) < 0"
    );
    let fills = compile(&evaluator, &fills).await;
    let ask = async |policies: &[_]| -> Vec<String> {
        let said = evaluator.decide(REPO, policies, &document(), DateTime::UNIX_EPOCH).await.unwrap();
        let told = |decided: Result<docstore_policy::Decision, _>| match decided {
            Ok(decision) => format!("{} {}", decision.result.pass, decision.result.reason),
            Err(error) => ToString::to_string(&error),
        };
        said.into_iter().map(told).collect()
    };
    let file = ".docstore/policy/shadow/x.rego";
    assert_eq!(
        ask(&[tried.clone(), good.clone(), no.clone()]).await,
        [format!("{file}: it was stopped because it took too long"), "true ".to_owned(), "false no".to_owned()]
    );
    let told = ask(&[good.clone(), fills, no]).await;
    assert_eq!([&*told[0], &*told[2]], ["true ", "false no"], "it goes on behind one that was stopped");
    assert_eq!(told[1], "test.rego: it was stopped because it needs too much memory");
    let evil = compile(&evaluator, &evil).await;
    assert_eq!(ask(&[evil, good]).await[1], "test.rego: no time was left for it: the policies before it took too long");
}

#[tokio::test]
async fn large_documents_fit_and_the_largest_are_refused() {
    let evaluator = evaluator(60_000);
    let body = "allow if { count(input.changed_paths) == 100000; count(input.owners) == 100000 }";
    let policy = compile(&evaluator, body).await;
    let path = |number: usize| format!("a/folder/of/some/depth/in/the/tree/{number}.txt");
    let mut input = Input {
        changed_paths: Some((0..100_000).map(path).collect()),
        owners: (0..100_000).map(|number| (path(number), Some(vec!["alice@example.com".to_owned()]))).collect(),
        ..Input::default()
    };
    let judge = async |input: &Input| {
        let policies = [Arc::clone(&policy)];
        let said = evaluator.decide(REPO, &policies, &Document::new(input).unwrap(), DateTime::UNIX_EPOCH).await;
        said.unwrap().remove(0).map(|decision| decision.result.pass).map_err(|error| error.to_string())
    };
    assert_eq!(judge(&input).await, Ok(true));
    input.changed_paths.as_mut().unwrap().push("x".repeat(32 * 1024 * 1024));
    assert_eq!(judge(&input).await, Err("test.rego: the document is too large to be judged".to_owned()));
}
