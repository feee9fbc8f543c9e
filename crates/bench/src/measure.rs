//! Running operations and counting what they took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::BoxFuture;

/// What a number of operations took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// What each took, sorted.
    latencies: Vec<Duration>,
    /// From the start of the first to the end of the last.
    elapsed: Duration,
}

impl Sample {
    pub(crate) fn new(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        Self { latencies, elapsed }
    }

    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Operations per second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The smallest latency that so many hundredths of the operations did not exceed (nearest rank), in milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.latencies.len() as f64).ceil().max(1.0);
        self.latencies.get(rank as usize - 1).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }

    /// Both samples as if they were one.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.latencies.extend(other.latencies);
        Self::new(self.latencies, self.elapsed + other.elapsed)
    }
}

/// How much to do: so many operations per client, but no longer than this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub(crate) operations: usize,
    pub(crate) time_max: Duration,
}

/// Lets each client do its operations one after the other, all clients at once. Gives the clients back.
pub(crate) async fn run<C, F>(clients: Vec<C>, amount: Amount, operation: F) -> Result<(Sample, Vec<C>)>
where
    C: Send + 'static,
    F: for<'a> Fn(&'a mut C, usize) -> BoxFuture<'a, Result<()>> + Clone + Send + 'static,
{
    let start = Instant::now();
    let deadline = start + amount.time_max;
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let operation = operation.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(amount.operations);
                for index in 0..amount.operations {
                    let begin = Instant::now();
                    if begin >= deadline {
                        break;
                    }
                    operation(&mut client, index).await?;
                    latencies.push(begin.elapsed());
                }
                anyhow::Ok((latencies, client))
            })
        })
        .collect();
    let (mut latencies, mut clients) = (Vec::new(), Vec::new());
    for task in tasks {
        let (of_client, client) = task.await.context("a client stopped")??;
        latencies.extend(of_client);
        clients.push(client);
    }
    Ok((Sample::new(latencies, start.elapsed()), clients))
}

/// The same for one client, on this task.
pub(crate) async fn run_one<C, F>(client: &mut C, amount: Amount, operation: F) -> Result<Sample>
where
    F: AsyncFn(&mut C, usize) -> Result<()>,
{
    let start = Instant::now();
    let mut latencies = Vec::with_capacity(amount.operations);
    for index in 0..amount.operations {
        let begin = Instant::now();
        if begin - start >= amount.time_max {
            break;
        }
        operation(client, index).await?;
        latencies.push(begin.elapsed());
    }
    Ok(Sample::new(latencies, start.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(numbers: &[u64]) -> Vec<Duration> {
        numbers.iter().map(|number| Duration::from_millis(*number)).collect()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sample = Sample::new(milliseconds(&[40, 10, 30, 20]), Duration::from_secs(2));
        assert_eq!(sample.percentile(50.0), 20.0);
        assert_eq!(sample.percentile(75.0), 30.0);
        assert_eq!(sample.percentile(99.0), 40.0);
        assert_eq!(sample.percentile(0.0), 10.0);
        assert_eq!(sample.rate(), 2.0);
        assert!(Sample::default().percentile(50.0).is_nan());
    }

    #[test]
    fn joined_samples_count_as_one() {
        let sample = Sample::new(milliseconds(&[1]), Duration::from_secs(1))
            .join(Sample::new(milliseconds(&[3, 2]), Duration::from_secs(2)));
        assert_eq!((sample.count(), sample.rate(), sample.percentile(100.0)), (3, 1.0, 3.0));
    }
}
