//! One tenant's evaluations are not at the expense of others.

use std::sync::{Arc, Mutex};

use docstore_policy_worker::Tenant;
use futures::future::join_all;

use crate::support::{GOOD, compile, decide_for, evaluator, shared};

#[tokio::test]
async fn sixteen_evaluations_that_do_not_end_leave_room_for_others() {
    let evaluator = evaluator(2_000);
    let good = compile(&evaluator, GOOD).await;
    let evil = compile(&evaluator, &shared("allow if a60 == b60")).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let evils = (0..16).map(|_| {
        let (evaluator, evil, order) = (evaluator.clone(), evil.clone(), order.clone());
        async move {
            assert!(decide_for(&evaluator, Tenant::Repo(1), &evil).await.is_err());
            order.lock().unwrap().push("evil");
        }
    });
    let others = (2..5).map(|repo| {
        let (evaluator, good, order) = (evaluator.clone(), good.clone(), order.clone());
        async move {
            assert_eq!(decide_for(&evaluator, Tenant::Repo(repo), &good).await, Ok(true));
            order.lock().unwrap().push("good");
        }
    });
    // All evil ones ask first.
    tokio::join!(join_all(evils), join_all(others));
    let order = order.lock().unwrap();
    assert_eq!(order.len(), 19);
    assert_eq!(order[..3], ["good"; 3], "they did not wait for any that does not end");
}
