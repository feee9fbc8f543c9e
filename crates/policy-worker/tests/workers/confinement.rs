//! What a worker has, and what it has not.

use std::fs;

use crate::support::{GOOD, compile, decide, end_of, evaluator};

#[tokio::test]
async fn a_worker_has_no_environment_no_files_and_no_privileges() {
    let evaluator = evaluator(20_000);
    let good = compile(&evaluator, GOOD).await;
    assert_eq!(decide(&evaluator, &good).await, Ok(true));
    let [worker] = evaluator.workers()[..] else { panic!("there is one worker") };
    let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", worker.as_raw_nonzero())).unwrap();
    assert!(std::env::vars_os().count() > 0, "the tests have an environment");
    assert_eq!(of("environ"), "");
    let limits = of("limits");
    for limit in ["Max core file size", "Max file size", "Max processes", "Max open files"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(limit)).unwrap();
        assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{limit}");
    }
    for limit in ["Max address space", "Max cpu time"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(limit)).unwrap();
        assert_ne!(line.split_whitespace().next(), Some("unlimited"), "{limit}");
    }
    assert!(of("status").contains("NoNewPrivs:\t1"));
    assert_eq!(of("oom_score_adj").trim(), "1000");
    let open: Vec<String> = fs::read_dir(format!("/proc/{}/fd", worker.as_raw_nonzero()))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .map(|target| target.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(open, ["socket", "/dev/null", "pipe", "socket", "socket"], "its server, in one direction each");
}

#[tokio::test]
async fn workers_end_with_their_evaluator() {
    let evaluator = evaluator(20_000);
    compile(&evaluator, GOOD).await;
    let [worker] = evaluator.workers()[..] else { panic!("there is one worker") };
    let end = end_of(worker);
    drop(evaluator);
    end.await;
}
