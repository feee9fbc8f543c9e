//! Texts that nobody shall keep any more.

use std::collections::HashSet;

use crate::support::{GOOD, compile, decide, end_of, evaluator, until};

#[tokio::test]
async fn whoever_has_seen_a_text_that_is_forgotten_ends() {
    let evaluator = evaluator(2_000);
    let good = compile(&evaluator, GOOD).await;
    let other = compile(&evaluator, "allow := true").await;
    assert_eq!(evaluator.kept(), HashSet::from([good.hash(), other.hash()]));
    let [worker] = evaluator.workers()[..] else { panic!("one has seen both") };
    let end = end_of(worker);
    evaluator.forget(&[[0; 32]]);
    assert_eq!(evaluator.workers().len(), 1, "it has not seen that");
    evaluator.forget(&[other.hash()]);
    assert_eq!(evaluator.kept(), HashSet::new());
    end.await;
    // A new one knows only what it is asked about.
    assert_eq!(decide(&evaluator, &good).await, Ok(true));
    assert_eq!(evaluator.kept(), HashSet::from([good.hash()]));
}

#[tokio::test]
async fn a_worker_that_was_busy_ends_when_it_is_done() {
    let evaluator = evaluator(3_000);
    // Long, but it ends.
    let long = "allow if {\n\tsome a in numbers.range(1, 250)\n\tsome b in numbers.range(1, 250)\n\ta + b == 500\n}";
    let long = compile(&evaluator, long).await;
    let [worker] = evaluator.workers()[..] else { panic!("one has compiled it") };
    let end = end_of(worker);
    evaluator.forget(&[long.hash()]);
    end.await;
    let decided = async {
        let decided = decide(&evaluator, &long).await;
        assert!(decided.is_ok(), "{decided:?}");
    };
    let forgotten = async {
        until("it has begun", || !evaluator.workers().is_empty()).await;
        let [worker] = evaluator.workers()[..] else { panic!("one decides") };
        let end = end_of(worker);
        evaluator.forget(&[long.hash()]);
        end.await;
    };
    tokio::join!(decided, forgotten);
    assert!(evaluator.workers().is_empty());
    assert_eq!(evaluator.kept(), HashSet::new());
}
