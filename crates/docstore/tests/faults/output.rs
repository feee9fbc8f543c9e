//! What a process writes, as something to wait for.

use std::{
    io::{BufRead, BufReader, Read},
    process::Child,
};

use tokio::sync::watch;

use crate::support::in_time;

/// The lines that a process, and whatever it has started with its streams, has written so far.
pub(crate) struct Output(watch::Receiver<Vec<String>>);

impl Output {
    /// Reads both streams of a child to their end, so that it never waits for a reader.
    pub(crate) fn of(child: &mut Child) -> Self {
        let (written, lines) = watch::channel(Vec::new());
        let stdout: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        let stderr: Box<dyn Read + Send> = Box::new(child.stderr.take().unwrap());
        for stream in [stdout, stderr] {
            let written = written.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    written.send_modify(|lines| lines.push(line));
                }
            });
        }
        Self(lines)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Waits until the lines tell something, and gives what they tell.
    pub(crate) async fn until<T>(&self, what: &str, told: impl Fn(&[String]) -> Option<T>) -> T {
        let mut lines = self.0.clone();
        let mut found = None;
        let telling = async {
            let heard = lines.wait_for(|lines| {
                found = told(lines);
                found.is_some()
            });
            heard.await.is_ok()
        };
        let heard = in_time(what, telling).await;
        assert!(heard, "it ended before this: {what}; {:#?}", self.lines());
        found.unwrap()
    }

    /// Waits until every process that could write has ended.
    pub(crate) async fn ended(&self) {
        let mut lines = self.0.clone();
        in_time("all processes have ended", async { while lines.changed().await.is_ok() {} }).await;
    }
}
