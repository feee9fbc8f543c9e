//! Event streams: how long a commit takes to reach them, and what they cost when nothing happens.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use docstore_models::{CommitRequest, CommitResponse};
use http_body_util::BodyExt;
use hyper::{Method, body::Incoming};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    bench::Bench,
    lines::prepare::create_repo,
    measure::Sample,
    report::{Aim, Line},
    wire::full,
    workload::{change, unseeded},
};

/// Commits are made at this pace, so that a delivery does not wait for the one before it.
const PACE: Duration = Duration::from_millis(50);

/// After the last commit, so long until every stream has everything.
const DELIVERY_SECONDS_MAX: Duration = Duration::from_secs(20);

/// A session of PostgreSQL that has become idle reports what it did within ten seconds.
const REPORT_SECONDS: Duration = Duration::from_secs(11);

/// A sequence, and when a stream got it.
type Arrival = (i64, Instant);

/// The sequence in the frame of a commit's event. Parsing a thousand copies of each event as JSON would be the
/// generator's largest cost.
pub(crate) fn sequence_of(frame: &[u8]) -> Option<i64> {
    const MARK: &[u8] = b"\"sequence\":";
    let at = frame.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits: Vec<u8> = frame[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

async fn listen(mut body: Incoming, arrivals: mpsc::UnboundedSender<Arrival>) {
    while let Some(Ok(frame)) = body.frame().await {
        let now = Instant::now();
        if let Ok(data) = frame.into_data()
            && let Some(sequence) = sequence_of(&data)
            && arrivals.send((sequence, now)).is_err()
        {
            return;
        }
    }
}

/// Transactions of the server in some idle seconds.
async fn idle_transactions(bench: &Bench, seconds: u64) -> Result<Option<i64>> {
    let Some(floor) = &bench.floor else { return Ok(None) };
    tokio::time::sleep(REPORT_SECONDS).await;
    let before = floor.counted().await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Ok(Some(floor.counted().await?.transactions - before.transactions))
}

/// Opens streams, counts queries while they are idle, then commits.
pub(crate) async fn streams(bench: &mut Bench) -> Result<()> {
    if !bench.arguments.wants("stream") {
        return Ok(());
    }
    let count = bench.scaled(1000);
    let commits = bench.scaled(200);
    let idle_seconds = bench.scaled(30).max(10) as u64;
    let repo = create_repo(bench, "streams").await?;
    let without = idle_transactions(bench, idle_seconds).await?;
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for _ in 0..count {
        let wire = bench.target.connect().await?;
        let path = format!("/repos/{repo}/-/events?types=com.docstore.commit.created");
        let response = wire.open(Method::GET, &path, full(Bytes::new())).await?;
        ensure!(response.status().is_success(), "a stream was refused: {}", response.status());
        let sender = sender.clone();
        tasks.push(tokio::spawn(listen(response.into_body(), sender)));
    }
    drop(sender);
    if let (Some(with), Some(without)) = (idle_transactions(bench, idle_seconds).await?, without) {
        bench.report.add(Line {
            name: "stream-idle".to_owned(),
            work: format!("transactions in {idle_seconds} s with {count} idle streams"),
            history: String::new(),
            measured: format!("{with}"),
            floor: Some(format!("{without} with no stream")),
            part_of_floor: None,
            // The rounds of background work need not fall alike into both spans.
            aim: Aim::below((with - without) as f64, 10.0, "more than with no stream"),
        });
    }
    let mut wire = bench.target.connect().await?;
    let mut random = unseeded();
    let mut sent: HashMap<i64, (Instant, Instant)> = HashMap::new();
    let path = format!("/repos/{repo}/-/commit");
    for number in 0..commits {
        let request = CommitRequest {
            branch: "main".to_owned(),
            message: "a change".to_owned(),
            files: vec![change(format!("file-{}", number % 10), &mut random)],
            ..CommitRequest::default()
        };
        let begin = Instant::now();
        let answer: CommitResponse = wire.post_json(&path, &request).await?;
        sent.insert(answer.sequence, (begin, Instant::now()));
        tokio::time::sleep(PACE.saturating_sub(begin.elapsed())).await;
    }
    let expected = count * commits;
    let mut latencies = Vec::with_capacity(expected);
    let mut after_answer = Vec::with_capacity(expected);
    let begin = Instant::now();
    while latencies.len() < expected {
        let arrival = timeout(DELIVERY_SECONDS_MAX, arrivals.recv()).await;
        let Ok(arrival) = arrival else { bail!("{} of {expected} events came", latencies.len()) };
        let (sequence, at) = arrival.context("all streams ended")?;
        if let Some((begin, answered)) = sent.get(&sequence) {
            latencies.push(at.duration_since(*begin));
            after_answer.push(at.saturating_duration_since(*answered));
        }
    }
    for task in tasks {
        task.abort();
    }
    let sample = Sample::new(latencies, begin.elapsed());
    let after = Sample::new(after_answer, begin.elapsed());
    bench.report.add(Line {
        name: "stream-latency".to_owned(),
        work: format!("from sending a commit to its event on each of {count} streams, {commits} commits, 20 a second"),
        history: String::new(),
        measured: format!(
            "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; after the commit's answer p50 {:.1} ms, p99 {:.1} ms",
            sample.percentile(50.0),
            sample.percentile(99.0),
            sample.percentile(100.0),
            after.percentile(50.0),
            after.percentile(99.0),
        ),
        floor: None,
        part_of_floor: None,
        aim: Aim::below(sample.percentile(99.0), 100.0, "ms (p99)"),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_found_in_frames() {
        assert_eq!(sequence_of(b"id: 7\ndata: {\"data\":{\"sequence\":4711,\"author\":\"a\"}}\n\n"), Some(4711));
        assert_eq!(sequence_of(b": keepalive\n\n"), None);
    }
}
