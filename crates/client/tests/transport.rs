//! What goes over the wire, against a server that plays a script.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use docstore_client::{Client, ContentBody, Error, ErrorClass, EventQuery, RetryPolicy, StaticToken, TreeQuery};
use docstore_models::{CommitRequest, MergeRequest, Role};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use uuid::Uuid;

/// What the script does with one connection.
enum Reply {
    /// Status line, headers and body as they are, then the connection is closed.
    Raw(String),
    /// Read the request, then hang up.
    HangUp,
}

fn answer(status: &str, headers: &str, body: &str) -> Reply {
    Reply::Raw(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    ))
}

fn json(body: &str) -> Reply {
    answer("200 OK", "content-type: application/json\r\n", body)
}

struct Script {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    done: tokio::task::JoinHandle<()>,
}

impl Script {
    /// Plays one reply per connection, in order.
    async fn play(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        let done = tokio::spawn(async move {
            for reply in replies {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                requests.lock().unwrap().push(request);
                if let Reply::Raw(text) = reply {
                    stream.write_all(text.as_bytes()).await.unwrap();
                    stream.shutdown().await.unwrap();
                }
            }
        });
        Self { url, seen, done }
    }

    fn client(&self) -> Client {
        let retries = RetryPolicy { attempts_max: 3, delay_first: Duration::ZERO, delay_max: Duration::from_secs(5) };
        let next = Mutex::new(0_u128);
        Client::builder(&self.url)
            .user_agent("ds/1.2.3")
            .identity("alice@example.com")
            .retries(retries)
            .idempotency_keys(move || {
                let mut next = next.lock().unwrap();
                *next += 1;
                Uuid::from_u128(*next)
            })
            .build()
            .unwrap()
    }

    /// The requests, once the script is through.
    async fn requests(self) -> Vec<String> {
        self.done.await.unwrap();
        Arc::into_inner(self.seen).unwrap().into_inner().unwrap()
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize = head
                .lines()
                .filter_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
                .map(|length| length.parse().unwrap())
                .next()
                .unwrap_or(0);
            if body.len() >= length || count == 0 {
                return text.into_owned();
            }
        } else if count == 0 {
            return text.into_owned();
        }
    }
}

fn first_lines(requests: &[String]) -> Vec<&str> {
    requests.iter().map(|request| request.lines().next().unwrap()).collect()
}

fn keys(requests: &[String]) -> Vec<Option<String>> {
    requests
        .iter()
        .map(|request| request.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned)))
        .collect()
}

fn commit() -> CommitRequest {
    CommitRequest { branch: "main".into(), message: "m".into(), ..CommitRequest::default() }
}

const COMMITTED: &str = r#"{"sequence":5,"files":[]}"#;
const REQUEST_ID: &str = "x-request-id: 1\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn every_request_says_who_and_what() {
    let script = Script::play(vec![json(r#"{"identity":"bob@example.com","role":"writer"}"#)]).await;
    script.client().repo("acme/team/app").set_role("bob@example.com", Role::Writer).await.unwrap();
    let requests = script.requests().await;
    let port_free = requests[0].lines().filter(|line| !line.starts_with("host: ")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(port_free, @r#"
    PUT /repos/acme/team/app/-/roles/bob@example.com HTTP/1.1
    x-docstore-identity: alice@example.com
    idempotency-key: 00000000-0000-0000-0000-000000000001
    content-type: application/json
    accept: */*
    user-agent: ds/1.2.3
    content-length: 17

    {"role":"writer"}
    "#);
}

#[tokio::test]
async fn names_cannot_change_the_path() {
    let replies = (0..4).map(|_| answer("404 Not Found", "", "")).collect();
    let script = Script::play(replies).await;
    let repo = script.client().repo("a b/c?d");
    repo.branch("feature/../x").await.unwrap_err();
    repo.file("docs/what #1?.md", &TreeQuery::of_branch("a&b").at_sequence(3)).await.unwrap_err();
    repo.release("v1/rc 1").await.unwrap_err();
    script.client().delete_repo("a/b").await.unwrap_err();
    assert_eq!(
        first_lines(&script.requests().await),
        [
            "GET /repos/a%20b/c%3Fd/-/branch/feature%2F..%2Fx HTTP/1.1",
            "GET /repos/a%20b/c%3Fd/-/file/docs/what%20%231%3F.md?at=3&branch=a%26b HTTP/1.1",
            "GET /repos/a%20b/c%3Fd/-/releases/v1/rc%201 HTTP/1.1",
            "DELETE /repos/a/b/-/ HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn the_token_goes_along_and_does_not_print() {
    let script = Script::play(vec![json(r#"{"orgs":[]}"#)]).await;
    let token = Arc::new(StaticToken::new("sesame"));
    assert!(!format!("{token:?}").contains("sesame"));
    let client = Client::builder(&script.url).tokens(token).build().unwrap();
    client.list_orgs().await.unwrap();
    assert!(script.requests().await[0].contains("authorization: Bearer sesame\r\n"));
}

#[tokio::test]
async fn a_lost_answer_to_a_write_is_asked_for_again_with_the_same_key() {
    let script = Script::play(vec![
        Reply::HangUp,
        answer("200 OK", REQUEST_ID, r#"{"status":"ok"}"#),
        answer("201 Created", REQUEST_ID, COMMITTED),
    ])
    .await;
    let done = script.client().repo("a/b").commit(&commit()).await.unwrap();
    assert_eq!(done.sequence, 5);
    let requests = script.requests().await;
    assert_eq!(
        first_lines(&requests),
        ["POST /repos/a/b/-/commit HTTP/1.1", "GET /healthz HTTP/1.1", "POST /repos/a/b/-/commit HTTP/1.1"]
    );
    let keys = keys(&requests);
    assert!(keys[0].is_some());
    assert_eq!((&keys[0], &keys[1]), (&keys[2], &None));
}

#[tokio::test]
async fn an_old_server_never_gets_a_write_twice() {
    // The last answer waits for a request that must never come.
    let merged = json(r#"{"sequence":1}"#);
    let script = Script::play(vec![Reply::HangUp, json(r#"{"status":"ok"}"#), merged]).await;
    let error = script.client().repo("a/b").merge(&MergeRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::OutcomeUnknown);
    let seen = script.seen.lock().unwrap();
    assert_eq!(first_lines(&seen), ["POST /repos/a/b/-/merge HTTP/1.1", "GET /healthz HTTP/1.1"]);
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_never_called_a_network_error() {
    // The server answers once, loses the write, and is gone.
    let script = Script::play(vec![answer("200 OK", REQUEST_ID, r#"{"orgs":[]}"#), Reply::HangUp]).await;
    let client = script.client();
    client.list_orgs().await.unwrap();
    let error = client.repo("a/b").commit(&commit()).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    script.requests().await;
}

#[tokio::test]
async fn a_read_is_tried_again() {
    let script = Script::play(vec![Reply::HangUp, answer("503 Service Unavailable", "", ""), json("[]")]).await;
    assert!(script.client().repo("a/b").tree(&TreeQuery::default()).await.unwrap().is_empty());
    assert_eq!(script.requests().await.len(), 3);
}

#[tokio::test]
async fn nothing_listening_is_a_network_error() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let retries = RetryPolicy { attempts_max: 2, delay_first: Duration::ZERO, delay_max: Duration::ZERO };
    let client = Client::builder(format!("http://{address}")).retries(retries).build().unwrap();
    let error = client.repo("a/b").commit(&commit()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Network, "{error:?}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_only_when_it_says_when() {
    let script = Script::play(vec![
        answer("429 Too Many Requests", "retry-after: 0\r\n", ""),
        answer("201 Created", REQUEST_ID, COMMITTED),
        answer("429 Too Many Requests", "", r#"{"code":"TOO_MANY_REQUESTS","error":"slow down"}"#),
        answer("429 Too Many Requests", "retry-after: 3600\r\n", ""),
        answer("503 Service Unavailable", "", r#"{"code":"SERVICE_UNAVAILABLE","error":"not now"}"#),
        answer("201 Created", REQUEST_ID, COMMITTED),
    ])
    .await;
    let repo = script.client().repo("a/b");
    repo.commit(&commit()).await.unwrap();
    assert_eq!(repo.commit(&commit()).await.unwrap_err().status(), Some(429));
    assert_eq!(repo.commit(&commit()).await.unwrap_err().status(), Some(429));
    // By now the server is known to honour keys.
    repo.commit(&commit()).await.unwrap();
    let requests = script.requests().await;
    let keys = keys(&requests);
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    assert_eq!(keys[4], keys[5]);
}

#[tokio::test]
async fn a_redirect_to_somebody_else_is_a_missing_sign_in() {
    let script = Script::play(vec![answer("302 Found", "location: http://accounts.invalid/o?state=x\r\n", "")]).await;
    let error = script.client().list_orgs().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Auth);
    assert_eq!(
        error.to_string(),
        "server error: the request was redirected to http://accounts.invalid/o, which is not followed"
    );
    script.requests().await;
}

#[tokio::test]
async fn an_answer_that_is_not_json_says_so() {
    let script = Script::play(vec![answer("200 OK", "content-type: text/html\r\n", "<html>")]).await;
    let error = script.client().list_orgs().await.unwrap_err();
    assert_eq!(error.to_string(), "unexpected answer to GET /orgs: it is text/html, not JSON");
    script.requests().await;
}

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[tokio::test]
async fn a_file_is_uploaded_with_its_length_and_checked_on_the_way() {
    let stored = format!(r#"{{"content_hash":"{HELLO}","size":5,"version_id":"{}"}}"#, Uuid::nil());
    let script = Script::play(vec![json(&stored)]).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"hello").unwrap();
    let body = ContentBody::File(file.path().to_owned());
    let repo = script.client().repo("a/b");
    repo.put_content(HELLO, 5, body).await.unwrap();
    let requests = script.requests().await;
    assert!(requests[0].starts_with(&format!("PUT /repos/a/b/-/contents/{HELLO} HTTP/1.1\r\n")));
    assert!(requests[0].contains("content-length: 5\r\n"), "{}", requests[0]);
    assert!(!requests[0].contains("transfer-encoding"));
    assert!(requests[0].ends_with("\r\n\r\nhello"));
}

#[tokio::test]
async fn a_file_that_changed_is_not_uploaded() {
    for content in ["jello", "hell", "hello world"] {
        // The request head may or may not leave before the change is noticed.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.ok();
            String::from_utf8_lossy(&all).into_owned()
        });
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let client = Client::builder(url).build().unwrap();
        let error =
            client.repo("a/b").put_content(HELLO, 5, ContentBody::File(file.path().to_owned())).await.unwrap_err();
        assert!(matches!(error, Error::ContentMismatch { .. }), "{content}: {error:?}");
        drop(client);
        let sent = server.await.unwrap();
        let body = sent.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(body.len() < 5, "the request was completed: {sent}");
    }
}

#[tokio::test]
async fn a_damaged_download_fails_at_its_end() {
    let script = Script::play(vec![answer("200 OK", "", "hello"), answer("200 OK", "", "jello")]).await;
    let repo = script.client().repo("a/b");
    let good = repo.file_raw("f", &TreeQuery::default()).await.unwrap().verifying(HELLO);
    assert_eq!(good.bytes(100).await.unwrap(), "hello");
    let bad = repo.file_raw("f", &TreeQuery::default()).await.unwrap().verifying(HELLO);
    assert!(matches!(bad.bytes(100).await.unwrap_err(), Error::ContentMismatch { .. }));
    script.requests().await;
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_where_it_was() {
    let event = |id: i64| {
        format!(
            "id: {id}\ndata: {{\"specversion\":\"1.0\",\"type\":\"t\",\"source\":\"/repos/a/b\",\"id\":\"{}\",\"time\":\"2024-01-01T00:00:00Z\",\"datacontenttype\":\"application/json\",\"data\":{{}}}}\n\n",
            Uuid::nil()
        )
    };
    let stream = |body: String| {
        Reply::Raw(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}"))
    };
    // The first connection breaks in the middle of event 8.
    let cut = event(8)[..20].to_owned();
    let script = Script::play(vec![stream(event(7) + &cut), Reply::HangUp, stream(event(8) + &event(9))]).await;
    let mut events = script.client().repo("a/b").events(EventQuery { since_seq: Some(6), ..EventQuery::default() });
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(events.next().await.unwrap().position);
    }
    assert_eq!(seen, [7, 8, 9]);
    let requests = script.requests().await;
    assert!(requests[0].contains("since_seq=6") && requests[0].contains("last-event-id: 6\r\n"));
    assert!(requests[2].contains("since_seq=7") && requests[2].contains("last-event-id: 7\r\n"), "{}", requests[2]);
}
