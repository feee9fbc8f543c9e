//! Processes that evaluate policies, beside a server that is killed.

use std::fs;

use docstore_database::testing::TestDatabase;
use rustix::process::Pid;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    process::{ServerProcess, ServerSettings, end_of},
    support::file,
};

/// The processes whose parent is this one, with their arguments.
fn children(parent: u32) -> Vec<(Pid, String)> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let of = |process: &str, file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    processes
        .filter(|process| of(process, "status").lines().any(|line| line == format!("PPid:\t{parent}")))
        .map(|process| (Pid::from_raw(process.parse().unwrap()).unwrap(), of(&process, "cmdline")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_process_and_what_it_knows_is_not_in_theirs() {
    let database = TestDatabase::create().await;
    let blobs = tempfile::tempdir().unwrap();
    let mut server =
        ServerProcess::start(ServerSettings::new(database.settings().url.expose_secret(), blobs.path())).await;
    let repo = "/repos/default/default/-";
    let commit = |branch: &str, files: Vec<Value>| json!({"branch": branch, "message": "m", "files": files});
    let policy = file(".docstore/policy/a.rego", b"package docstore.a\nallow := true\n");
    let admin = server.admin();
    admin.post(&format!("{repo}/commit"), &commit("main", vec![policy])).await.expect(201);
    admin.post(&format!("{repo}/branch"), &json!({"name": "topic"})).await.expect(201);
    admin.post(&format!("{repo}/commit"), &commit("topic", vec![file("a", b"1")])).await.expect(201);
    admin.post(&format!("{repo}/merge"), &json!({"branch": "topic"})).await.expect(200);
    let workers = children(server.id());
    let arguments: Vec<&str> = workers.iter().map(|(_, arguments)| arguments.as_str()).collect();
    assert_eq!(arguments, ["docstore\0policy-worker\0"], "one was enough, and is kept");
    let [(worker, _)] = workers[..] else { unreachable!("there is one") };
    assert!(!fs::read_to_string(format!("/proc/{}/environ", server.id())).unwrap().is_empty());
    assert_eq!(fs::read_to_string(format!("/proc/{}/environ", worker.as_raw_nonzero())).unwrap(), "");
    let end = end_of(worker);
    server.kill();
    end.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_keeps_a_policy_whose_text_was_obliterated() {
    let database = TestDatabase::create().await;
    let blobs = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(ServerSettings::new(database.settings().url.expose_secret(), blobs.path())).await;
    let repo = "/repos/default/default/-";
    let admin = server.admin();
    for text in ["package docstore.a\nallow := true\n# password: swordfish\n", "package docstore.a\nallow := true\n"] {
        let policy = file(".docstore/policy/a.rego", text.as_bytes());
        let body = json!({"branch": "main", "message": "m", "files": [policy]});
        admin.post(&format!("{repo}/commit"), &body).await.expect(201);
    }
    let workers = children(server.id());
    let [(worker, _)] = workers[..] else { panic!("one has compiled both: {workers:?}") };
    let end = end_of(worker);
    let leak = json!({"path": ".docstore/policy/a.rego", "at": 1, "reason": "a password"});
    admin.post(&format!("{repo}/obliterations"), &leak).await.expect(201);
    end.await;
}
