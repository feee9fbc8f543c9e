//! Somebody at a terminal, and a server that gives canned answers and keeps what it was asked.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::IntoResponse,
};
use serde_json::Value;

use super::{Person, Stage};

/// What the server answers to a method, a path and a body: a status, and a body unless it is null.
type Answer = fn(&str, &str, &str) -> (u16, Value);

type Asked = Arc<Mutex<Vec<String>>>;

/// A terminal at which everything that is typed and seen is kept, and what the server was asked for it.
pub(crate) struct Terminal {
    stage: Stage,
    url: String,
    asked: Asked,
    pub(crate) seen: String,
}

impl Terminal {
    pub(crate) async fn new(answer: Answer) -> Self {
        let asked = Asked::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(give).with_state((answer, asked.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { stage: Stage::new().await, url, asked, seen: String::new() }
    }

    /// Who sits there.
    pub(crate) fn person(&self) -> Person<'_> {
        self.stage.person("me")
    }

    /// Makes the folder a workspace of the server with the canned answers.
    pub(crate) async fn in_workspace(self) -> Self {
        let me = self.person();
        me.ok(&["init", &self.stage.server.url(), "--author", "me"]).await;
        let mut config = me.config();
        config["remote"] = self.url.clone().into();
        me.write(".ds/config.json", config.to_string());
        self
    }

    pub(crate) async fn types(&mut self, line: &str) {
        self.types_with(line, b"", &[]).await;
    }

    pub(crate) async fn types_with(&mut self, line: &str, stdin: &'static [u8], environment: &[(&str, &str)]) {
        let mut arguments: Vec<&str> = vec!["--remote", &self.url];
        arguments.extend(line.split_whitespace());
        let output = self
            .person()
            .ds_with(&arguments, |context| {
                context.stdin = Box::new(stdin);
                for (name, value) in environment {
                    context.environment.insert((*name).to_owned(), (*value).to_owned());
                }
            })
            .await;
        self.seen.push_str(&format!("$ ds {line}\n{}", output.seen()));
        for request in self.asked.lock().unwrap().drain(..) {
            self.seen.push_str(&format!("  > {request}\n"));
        }
    }
}

async fn give(
    State((answer, asked)): State<(Answer, Asked)>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> impl IntoResponse {
    let text = String::from_utf8_lossy(&body).into_owned();
    asked.lock().unwrap().push(format!("{method} {uri} {text}").trim_end().to_owned());
    let (status, value) = answer(method.as_str(), uri.path(), &text);
    let body = if value.is_null() { String::new() } else { value.to_string() };
    (StatusCode::from_u16(status).unwrap(), [("x-request-id", "test"), ("content-type", "application/json")], body)
}
