//! Random sequences of operations, done to a real repo and to a naive model of it, and compared after each step.

mod compare;
mod naive;
mod steps;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};

use docstore_test_support::TestApp;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use self::{steps::Step, world::World};
use crate::invariants;

/// Where the seeds of sequences that once failed are kept, for ever.
const REGRESSIONS: &str = "tests/faults/model/regressions.txt";

/// How many sequences one run tries. `PROPTEST_CASES` asks for more.
const CASES: u32 = 12;

const STEPS_MAX: usize = 40;

#[test]
fn a_repo_behaves_like_the_naive_model_of_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // What is dropped at the end says goodbye to the database.
    let _inside = runtime.enter();
    let app = runtime.block_on(TestApp::start());
    let pool = runtime.block_on(app.pool());
    let config = Config {
        cases: std::env::var("PROPTEST_CASES").map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_iters: 400,
        ..Config::default()
    };
    let number = AtomicUsize::new(0);
    let strategy = (proptest::collection::vec(steps::step(), 1..=STEPS_MAX), 1..6_usize);
    let result = TestRunner::new(config).run(&strategy, |(steps, limit)| {
        let name = format!("case{}", number.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(play(&app, pool.clone(), &name, &steps, limit));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(invariants::check(&pool, app.blobs()));
}

async fn play(app: &TestApp, pool: docstore_database::Pool, name: &str, steps: &[Step], limit: usize) {
    let mut world = World::new(app.admin(), app.person("other@example.com"), pool, name).await;
    for step in steps {
        world.step(step).await;
        world.compare().await;
    }
    world.compare_all(limit).await;
}
