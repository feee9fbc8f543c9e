//! What a decision by the starter set costs in a worker, beside the same in this process:
//!
//! ```sh
//! cargo run --release --package docstore-policy-worker --example cost
//! ```

#![allow(clippy::unwrap_used, reason = "it measures, or says why not")]

use std::{process::ExitCode, sync::Arc, time::Instant};

use chrono::DateTime;
use docstore_policy::{CaseFile, Input, InputReview, Limits, Policy, PreparedInput, STARTER};
use docstore_policy_worker::{Bounds, Document, Evaluator, Program, Tenant, is_asked_for};
use sha2::{Digest, Sha256};

const ROUNDS: usize = 1_000;

fn main() -> ExitCode {
    if is_asked_for() {
        return docstore_policy_worker::run();
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure());
    ExitCode::SUCCESS
}

/// A change of fifty files with a review.
fn input() -> Input {
    let path = |number: usize| format!("src/folder/file-{number}.rs");
    Input {
        actor: "alice@example.com".to_owned(),
        actor_roles: vec!["maintainer".to_owned()],
        action: "merge".to_owned(),
        changed_paths: Some((0..50).map(path).collect()),
        owners: (0..50).map(|number| (path(number), Some(vec!["bob@example.com".to_owned()]))).collect(),
        reviews: vec![InputReview {
            reviewer: "bob@example.com".to_owned(),
            status: "approved".to_owned(),
            sequence: 7,
        }],
        authors: vec!["alice@example.com".to_owned()],
        head_sequence: 7,
        // What everybody is stands in the cases of the starter set.
        ..STARTER
            .iter()
            .filter(|file| file.path.ends_with(".cases.json"))
            .find_map(|file| serde_json::from_str::<CaseFile>(file.text).ok()?.cases.pop())
            .map(|case| Input { principals: case.input.principals, ..Input::default() })
            .unwrap_or_default()
    }
}

async fn measure() {
    let (input, now) = (input(), DateTime::UNIX_EPOCH);
    let starter: Vec<_> = STARTER.iter().filter(|file| file.path.ends_with(".rego")).collect();
    let policies: Vec<Policy> = starter.iter().map(|file| Policy::compile(file.path, file.text).unwrap()).collect();
    let in_process = || {
        let prepared = PreparedInput::new(&input).unwrap();
        policies.iter().filter(|policy| policy.decide(&prepared, now, &Limits::default()).unwrap().result.pass).count()
    };
    let mut took = Vec::new();
    let mut passed = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        passed = in_process();
        took.push(started.elapsed());
    }
    tell("in this process", &mut took);

    let evaluator = Evaluator::new(Program::this_executable(), Bounds::default());
    let started = Instant::now();
    let mut checked = Vec::new();
    for file in starter {
        let hash = Sha256::digest(file.text).into();
        let policy = evaluator.compile(Tenant::Repo(1), file.path.to_owned(), file.text.to_owned(), hash).await;
        checked.push(Arc::new(policy.unwrap().unwrap()));
    }
    println!("{:32} {:?}", "starting a worker, compiling", started.elapsed());
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let said = evaluator.decide(Tenant::Repo(1), &checked, &Document::new(&input).unwrap(), now).await.unwrap();
        took.push(started.elapsed());
        assert_eq!(said.iter().filter(|said| said.as_ref().unwrap().result.pass).count(), passed);
    }
    tell("in a worker", &mut took);
}

fn tell(what: &str, took: &mut [std::time::Duration]) {
    took.sort_unstable();
    println!("{what:32} p50 {:?}, p99 {:?}", took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
}
