//! Lists are read to their end, from servers with pages of any size and from those without pages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::sync::{Arc, Mutex};

use docstore_client::{Client, IssueQuery};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server with so many issues, numbered downwards, whose pages have no more than so many rows; without a bound it gives
/// everything whatever it is asked, as servers of the original contract do.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(issues: i64, rows_max: Option<i64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
                let request = String::from_utf8(request).unwrap();
                let query =
                    request.split(' ').nth(1).unwrap().split_once('?').map_or("", |(_, query)| query).to_owned();
                let number = |name: &str| -> Option<i64> {
                    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
                };
                let page: Vec<Value> = match rows_max {
                    None => (1..=issues).rev().map(issue).collect(),
                    Some(rows_max) => {
                        let before = number("after").unwrap_or(issues + 1);
                        let rows = number("limit").unwrap().min(rows_max);
                        (1..before).rev().take(usize::try_from(rows).unwrap()).map(issue).collect()
                    }
                };
                requests.lock().unwrap().push(query);
                let body = json!({"issues": page}).to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
                let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, seen }
    }

    /// The numbers of the issues that a client reads, and what it asks for.
    async fn read(&self, limit: Option<u32>, after: Option<i64>) -> (Vec<i64>, Vec<String>) {
        let client = Client::builder(&self.url).build().unwrap();
        let query = IssueQuery { limit, after, ..IssueQuery::default() };
        let issues = client.repo("a/b").issues(&query).await.unwrap();
        (issues.iter().map(|issue| issue.number).collect(), std::mem::take(&mut self.seen.lock().unwrap()))
    }
}

fn issue(number: i64) -> Value {
    json!({"id": "01900000-0000-7000-8000-000000000001", "repo": "a/b", "number": number, "title": "t", "author": "a",
        "state": "open", "labels": [], "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"})
}

fn down_from(number: i64) -> Vec<i64> {
    (1..=number).rev().collect()
}

#[tokio::test]
async fn pages_are_read_to_the_last() {
    for (issues, rows_max, asked) in [
        (0, 10_000, vec!["limit=1000"]),
        (99, 10_000, vec!["limit=1000"]),
        // As many as the smallest bound of a server: only the next page tells that it was the last one.
        (100, 10_000, vec!["limit=1000", "limit=1000&after=1"]),
        (1000, 10_000, vec!["limit=1000", "limit=1000&after=1"]),
        (1500, 10_000, vec!["limit=1000", "limit=1000&after=501", "limit=1000&after=1"]),
        (237, 100, vec!["limit=1000", "limit=1000&after=138", "limit=1000&after=38"]),
    ] {
        let server = Server::start(issues, Some(rows_max)).await;
        let (read, seen) = server.read(None, None).await;
        assert_eq!(read, down_from(issues), "{issues} in pages of {rows_max}");
        assert_eq!(seen, asked, "{issues} in pages of {rows_max}");
    }
}

#[tokio::test]
async fn no_more_is_read_than_was_asked_for() {
    let server = Server::start(500, Some(100)).await;
    let (read, seen) = server.read(Some(20), None).await;
    assert_eq!((read.len(), seen), (20, vec!["limit=20".to_owned()]));
    let (read, seen) = server.read(Some(120), Some(401)).await;
    assert_eq!((read.first(), read.last(), read.len()), (Some(&400), Some(&281), 120));
    assert_eq!(seen, ["limit=120&after=401", "limit=20&after=301"]);
    assert_eq!(server.read(Some(0), None).await, (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_server_without_pages_is_no_endless_list() {
    for issues in [5, 100, 350, 1500] {
        let server = Server::start(issues, None).await;
        let (read, seen) = server.read(None, None).await;
        assert_eq!(read, down_from(issues), "{issues}");
        assert!(seen.len() <= 2, "{seen:?}");
        assert_eq!(server.read(Some(3), None).await.0.len(), 3);
    }
}
