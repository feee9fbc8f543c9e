//! Webhooks: a hundred subscriptions to one repo, one of them with a receiver that accepts and never answers.
//!
//! Every delivery comes from a real commit and arrives at a receiver in this process, which checks its signature, its place
//! in the order and the place of the one before it. The dead receiver's are never counted.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use docstore_models::{CommitRequest, CommitResponse, CreateSubscriptionRequest, Subscription};
use futures::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request,
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use rand::RngExt;
use sqlx::PgConnection;
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, UnboundedReceiver},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    bench::Bench,
    floor::deliveries,
    lines::{ROUNDS, prepare::create_repo, rate_text},
    measure::Sample,
    receiver::{Received, Receiver, signature},
    report::{Aim, Line},
    wire::{Wire, full},
    workload::{change, unseeded},
};

/// As many as one repo may have.
const SUBSCRIPTIONS: usize = 100;
/// How many subscriptions the server delivers to at a time unless it is told otherwise: the floor's clients.
const CONCURRENT: usize = 64;
/// After a delivery, so long until the next.
const DELIVERY_SECONDS_MAX: Duration = Duration::from_secs(20);
/// The pause between two commits that do not pile up.
const PACE: Duration = Duration::from_millis(250);
/// As long as the payload of a real event.
const PAYLOAD_BYTES: usize = 420;

fn path(subscription: usize) -> String {
    format!("/{subscription}")
}

fn secrets() -> HashMap<String, String> {
    (0..SUBSCRIPTIONS).map(|number| (path(number), format!("{:032x}", rand::rng().random::<u128>()))).collect()
}

/// A repo with its subscriptions and their receivers.
struct Stage {
    repo: String,
    wire: Wire,
    arrivals: UnboundedReceiver<Result<Received>>,
    dead: Option<Uuid>,
    live: usize,
    _receivers: (Receiver, Receiver),
}

impl Stage {
    /// All but one of the subscriptions, and if asked for that one too, whose receiver is dead.
    async fn create(bench: &Bench, with_dead: bool) -> Result<Self> {
        let repo = create_repo(bench, "webhooks").await?;
        let mut wire = bench.target.connect().await?;
        let secrets = secrets();
        let (sender, arrivals) = mpsc::unbounded_channel();
        let receiver = Receiver::start(secrets.clone(), sender).await?;
        let dead = Receiver::start_dead().await?;
        let live = SUBSCRIPTIONS - 1;
        let mut last = None;
        for number in 0..live + usize::from(with_dead) {
            let path = path(number);
            let url = if number < live { receiver.url(&path) } else { dead.url(&path) };
            let request = CreateSubscriptionRequest {
                repo: Some(repo.clone()),
                event_types: Some(vec!["com.docstore.commit.created".to_owned()]),
                backend: "webhook".to_owned(),
                config: Some(serde_json::json!({ "url": url, "secret": secrets.get(&path) })),
            };
            let created: Subscription = wire.post_json("/subscriptions", &request).await?;
            last = Some(created.id);
        }
        Ok(Self { repo, wire, arrivals, dead: last.filter(|_| with_dead), live, _receivers: (receiver, dead) })
    }

    /// Commits, and waits until each living receiver has had each commit once. A latency is that from sending a commit to
    /// having checked its delivery.
    async fn deliver(&mut self, commits: usize, pace: Duration) -> Result<Sample> {
        let mut random = unseeded();
        let path = format!("/repos/{}/-/commit", self.repo);
        let mut sent: HashMap<i64, Instant> = HashMap::new();
        let begun = Instant::now();
        for number in 0..commits {
            let request = CommitRequest {
                branch: "main".to_owned(),
                message: "a change".to_owned(),
                files: vec![change(format!("file-{}", number % 10), &mut random)],
                ..CommitRequest::default()
            };
            let begin = Instant::now();
            let answer: CommitResponse = self.wire.post_json(&path, &request).await?;
            sent.insert(answer.sequence, begin);
            if !pace.is_zero() {
                tokio::time::sleep(pace.saturating_sub(begin.elapsed())).await;
            }
        }
        let expected = commits * self.live;
        let mut latencies = Vec::with_capacity(expected);
        let mut last = begun;
        while latencies.len() < expected {
            let Ok(arrival) = timeout(DELIVERY_SECONDS_MAX, self.arrivals.recv()).await else {
                bail!("{} of {expected} deliveries came", latencies.len());
            };
            let received = arrival.context("the receiver has ended")??;
            let begin = sent.get(&received.sequence).context("a delivery of another commit")?;
            if !received.again {
                latencies.push(received.at.duration_since(*begin));
                last = last.max(received.at);
            }
        }
        Ok(Sample::new(latencies, last.duration_since(begun)))
    }

    /// Leaves nothing that the server would go on trying. What was delivered stays, as it does for days elsewhere.
    async fn end(mut self) -> Result<()> {
        if let Some(id) = &self.dead {
            self.wire.answer(Method::DELETE, &format!("/subscriptions/{id}"), full(Bytes::new())).await?;
        }
        Ok(())
    }
}

async fn burst(bench: &Bench, commits: usize, with_dead: bool) -> Result<Sample> {
    let mut stage = Stage::create(bench, with_dead).await?;
    let sample = stage.deliver(commits, Duration::ZERO).await?;
    stage.end().await?;
    Ok(sample)
}

/// A client of the floor: a connection to the database and one to the receiver.
struct FloorClient {
    connection: PgConnection,
    http: SendRequest<Full<Bytes>>,
}

impl FloorClient {
    async fn post(&mut self, receiver: &Receiver, path: &str, secret: &str, due: &deliveries::Due) -> Result<()> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, receiver.address().to_string())
            .header(CONTENT_TYPE, "application/cloudevents+json")
            .header("x-docstore-signature", signature(secret, due.payload.as_bytes())?)
            .header("x-docstore-sequence", due.position);
        if let Some(previous) = due.previous {
            request = request.header("x-docstore-previous-sequence", previous);
        }
        self.http.ready().await?;
        let answer = self.http.send_request(request.body(Full::new(Bytes::from(due.payload.clone())))?).await?;
        ensure!(answer.status().is_success(), "the receiver refused a delivery of the floor");
        answer.into_body().collect().await?;
        Ok(())
    }
}

/// The same rows and requests by bare SQL and a bare client.
async fn floor_burst(bench: &Bench, commits: usize) -> Result<Option<Sample>> {
    let Some(floor) = &bench.floor else { return Ok(None) };
    let live = SUBSCRIPTIONS - 1;
    let payloads: Vec<String> = (1..=commits)
        .map(|number| format!("{{\"data\":{{\"sequence\":{number}}},\"more\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES)))
        .collect();
    let event_type = format!("bench.{}", Uuid::new_v4());
    let mut logging = floor.copy().await?;
    let ids = deliveries::subscribe(&mut logging, &event_type, live).await?;
    let secrets = secrets();
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let receiver = Arc::new(Receiver::start(secrets.clone(), sender).await?);
    let waiting: VecDeque<(String, String, Uuid)> = ids
        .into_iter()
        .enumerate()
        .map(|(number, id)| (path(number), secrets.get(&path(number)).cloned().unwrap_or_default(), id))
        .collect();
    let waiting = Arc::new(Mutex::new(waiting));
    let mut clients = Vec::new();
    for connection in floor.copies(CONCURRENT).await? {
        let stream = TcpStream::connect(receiver.address()).await?;
        stream.set_nodelay(true)?;
        let (http, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        clients.push(FloorClient { connection, http });
    }
    let begun = Instant::now();
    for payload in &payloads {
        deliveries::log(&mut logging, &event_type, payload).await?;
    }
    let work = clients.into_iter().map(|mut client| {
        let (waiting, receiver) = (waiting.clone(), receiver.clone());
        tokio::spawn(async move {
            loop {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((path, secret, id)) = next else { return anyhow::Ok(()) };
                deliveries::place(&mut client.connection, id).await?;
                loop {
                    let batch = deliveries::due(&mut client.connection, id).await?;
                    if batch.is_empty() {
                        break;
                    }
                    for due in batch {
                        client.post(&receiver, &path, &secret, &due).await?;
                        deliveries::mark(&mut client.connection, due.id).await?;
                    }
                }
            }
        })
    });
    for ended in try_join_all(work).await? {
        ended?;
    }
    let elapsed = begun.elapsed();
    let mut latencies = Vec::new();
    while let Ok(arrival) = arrivals.try_recv() {
        latencies.push(arrival?.at.duration_since(begun));
    }
    ensure!(latencies.len() == commits * live, "{} deliveries of the floor came", latencies.len());
    Ok(Some(Sample::new(latencies, elapsed)))
}

fn burst_text(sample: &Sample) -> String {
    format!("{}, the last after {:.0} ms", rate_text(sample), sample.percentile(100.0))
}

/// Many deliveries at once, with and without a dead receiver, and then some at an even pace.
pub(crate) async fn webhooks(bench: &mut Bench) -> Result<()> {
    let names = ["webhooks-burst", "webhooks-dead", "webhooks-pace"];
    let [burst_name, dead_name, pace_name] = names;
    if !names.iter().any(|name| bench.arguments.wants(name)) {
        return Ok(());
    }
    if !matches!(bench.arguments.url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
        eprintln!("webhooks are left out: the server cannot reach a receiver on this machine");
        return Ok(());
    }
    let commits = bench.scaled(100);
    if bench.arguments.wants(burst_name) || bench.arguments.wants(dead_name) {
        // A round that does not count warms everything up, and leaves tables that are not empty to be analysed and copied:
        // the plans for an empty table would be kept.
        burst(bench, commits, false).await?;
        let repo = create_repo(bench, "webhooks").await?;
        bench.copy_database(&repo).await?;
        let (mut with, mut without, mut floor) = (Sample::default(), Sample::default(), Sample::default());
        for round in 0..ROUNDS {
            // Neither always comes first.
            for with_dead in [round % 2 == 0, round % 2 == 1] {
                let sample = burst(bench, commits, with_dead).await?;
                let samples = if with_dead { &mut with } else { &mut without };
                *samples = std::mem::take(samples).join(sample);
            }
            floor = floor.join(floor_burst(bench, commits).await?.unwrap_or_default());
        }
        let rows = commits * SUBSCRIPTIONS;
        let part = bench.floor.as_ref().map(|_| with.rate() / floor.rate());
        bench.report.add(Line {
            name: burst_name.to_owned(),
            work: format!(
                "{rows} outbox rows to {SUBSCRIPTIONS} subscriptions, one of them dead, all received and checked"
            ),
            history: String::new(),
            measured: format!("{}, from sending the commit", burst_text(&with)),
            floor: bench.floor.as_ref().map(|_| burst_text(&floor)),
            part_of_floor: part,
            aim: Aim::part(part, 0.5),
        });
        bench.report.add(Line {
            name: dead_name.to_owned(),
            work: "the same without the dead one".to_owned(),
            history: String::new(),
            measured: format!(
                "{}; the dead one leaves {:.2} of its rate",
                burst_text(&without),
                with.rate() / without.rate()
            ),
            floor: None,
            part_of_floor: None,
            aim: Aim::at_least(with.rate() / without.rate(), 0.9, "of the rate are left beside the dead one"),
        });
    }
    if bench.arguments.wants(pace_name) {
        let mut stage = Stage::create(bench, true).await?;
        let commits = bench.scaled(80);
        let sample = stage.deliver(commits, PACE).await?;
        stage.end().await?;
        bench.report.add(Line {
            name: pace_name.to_owned(),
            work: format!(
                "from sending a commit to its delivery to each of {} subscriptions beside a dead one, {commits} commits, 4 a second",
                SUBSCRIPTIONS - 1
            ),
            history: String::new(),
            measured: format!(
                "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
                sample.percentile(50.0),
                sample.percentile(99.0),
                sample.percentile(100.0)
            ),
            floor: None,
            part_of_floor: None,
            aim: Aim::below(sample.percentile(99.0), 250.0, "ms (p99)"),
        });
    }
    Ok(())
}
