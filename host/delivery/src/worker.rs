//! The outbox worker: leases what is due, sends it, writes down what came of it.
//!
//! Every endpoint has its own share of the requests under way, so that a receiver
//! that is slow or dead delays nobody else's; one that failed last time gets one
//! request at a time until it answers again, and none gets more in a second than
//! the operator allows (`loads`). The body and the id of a delivery are
//! the same on every attempt, the timestamp and with it the signature are new.

use crate::egress::{Egress, Post};
use crate::ladder::{next_attempt, retry_after};
use crate::loads::{Loads, Share};
use crate::signing::sign;
use bytes::Bytes;
use callbox_store::deliveries::{AttemptReport, LeaseRequest, Leased, Target, Verdict};
use callbox_store::{Store, StoreError, UnixMs};
use callbox_traces::{Delivery, Traces};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How the worker works.
#[derive(Clone)]
pub struct WorkerConfig {
    /// The name of this host: leases carry it.
    pub host: String,
    /// Requests under way at once.
    pub in_flight: usize,
    /// Of which for one endpoint.
    pub per_endpoint: usize,
    /// Requests that begin in a second for one endpoint, by this host; 0 for as many as there are.
    pub per_second: u32,
    /// A receiver answers within this time, or the attempt failed.
    pub timeout: Duration,
    /// How long a lease holds; longer than a request and its report can take.
    pub lease: Duration,
    /// Longest time without a look into the outbox: the net under the wake-ups.
    pub poll: Duration,
    /// Random numbers from 0 to 1 that spread the pauses.
    pub jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Where attempts are told of, in the traces of their calls.
    pub traces: Traces,
}

impl WorkerConfig {
    /// What is promised: 10 s for an answer.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            in_flight: 1_024,
            per_endpoint: 8,
            per_second: 500,
            timeout: Duration::from_secs(10),
            lease: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            jitter: Arc::new(random),
            traces: Traces::off(),
        }
    }
}

fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness all come back at once: worse, but right.
    let drawn = getrandom::fill(&mut bytes).map(|()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX));
    drawn.unwrap_or(0.0)
}

impl std::fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerConfig")
            .field("host", &self.host)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

/// What the worker has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Attempts a receiver took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Requests under way.
    pub in_flight: u64,
}

/// Reads [`WorkerStats`] wherever the worker is.
#[derive(Clone, Debug, Default)]
pub struct WorkerGauge(Arc<Counters>);

impl WorkerGauge {
    /// What was done so far.
    #[must_use]
    pub fn read(&self) -> WorkerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { delivered, failed, in_flight } = self.0.as_ref();
        WorkerStats { delivered: read(delivered), failed: read(failed), in_flight: read(in_flight) }
    }
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicU64,
}

/// A running worker. Dropping the handle stops it without waiting.
#[derive(Debug)]
pub struct OutboxWorker {
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    counters: Arc<Counters>,
}

impl OutboxWorker {
    /// Starts one. The same `host` as in [`Store::start_host`].
    #[must_use]
    pub fn start(store: Store, egress: Egress, host: &str) -> Self {
        Self::start_with(store, egress, WorkerConfig::new(host))
    }

    /// The same, with other numbers.
    #[must_use]
    pub fn start_with(store: Store, egress: Egress, config: WorkerConfig) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (wake, counters) = (Arc::new(Notify::new()), Arc::new(Counters::default()));
        let worker = Arc::new(Worker { store, egress, config, counters: counters.clone() });
        let task = tokio::spawn(run(worker, wake.clone(), stopping));
        Self { wake, stop, task, counters }
    }

    /// Look into the outbox now. The store does this by itself after each commit
    /// with something new; needed only when time was moved.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What was done.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        self.gauge().read()
    }

    /// The same, for whoever shows figures.
    #[must_use]
    pub fn gauge(&self) -> WorkerGauge {
        WorkerGauge(self.counters.clone())
    }

    /// Takes nothing new, finishes what is under way (each request has its time
    /// limit), and returns. What waits stays in the outbox.
    pub async fn stop(self) {
        // Nobody listens when the task is gone already.
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the outbox worker failed");
        }
    }
}

struct Worker {
    store: Store,
    egress: Egress,
    config: WorkerConfig,
    counters: Arc<Counters>,
}

async fn run(worker: Arc<Worker>, wake: Arc<Notify>, mut stopping: watch::Receiver<bool>) {
    let share = Share { at_once: worker.config.per_endpoint, per_second: worker.config.per_second };
    let mut loads = Loads::new(share);
    let mut requests: JoinSet<(String, bool)> = JoinSet::new();
    while !*stopping.borrow() {
        let pause = worker.lease_and_send(&mut loads, &mut requests).await;
        worker.counters.in_flight.store(requests.len() as u64, Ordering::Relaxed);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = worker.store.outbox_changed() => {}
            () = wake.notified() => {}
            Some(done) = requests.join_next() => settle(&mut loads, done),
            // The handle is gone: stop as well.
            changed = stopping.changed() => if changed.is_err() { break },
        }
        while let Some(done) = requests.try_join_next() {
            settle(&mut loads, done);
        }
    }
    while requests.join_next().await.is_some() {}
}

fn settle(loads: &mut Loads, done: Result<(String, bool), tokio::task::JoinError>) {
    match done {
        Ok((endpoint, good)) => loads.ends(&endpoint, good),
        Err(error) => {
            // Its endpoint is not known any more; the lease ends by itself.
            tracing::error!(%error, "a delivery task failed");
            loads.forget();
        }
    }
}

impl Worker {
    /// Takes what is due as far as there is room; how long there is nothing to do.
    async fn lease_and_send(self: &Arc<Self>, loads: &mut Loads, requests: &mut JoinSet<(String, bool)>) -> Duration {
        let config = &self.config;
        let limit = config.in_flight.saturating_sub(requests.len());
        if limit == 0 {
            return config.poll;
        }
        let began = Instant::now();
        let busy = loads.room(began);
        let now = self.store.now();
        let request = LeaseRequest {
            host: config.host.clone(),
            now,
            lease_for_ms: i64::try_from(config.lease.as_millis()).unwrap_or(i64::MAX),
            limit,
            per_endpoint: loads.fresh(),
            busy,
        };
        let leases = match self.store.lease(request).await {
            Ok(leases) => leases,
            Err(StoreError::Closed) => return config.poll,
            Err(error) => {
                tracing::error!(code = error.code(), %error, "the outbox cannot be read");
                return config.poll;
            }
        };
        for leased in leases.items {
            loads.begins(&leased.endpoint, began);
            let worker = self.clone();
            requests.spawn(async move {
                let endpoint = leased.endpoint.clone();
                let good = worker.deliver(leased).await;
                (endpoint, good)
            });
        }
        let until = leases.next_due.map_or(i64::MAX, |due| due.since(now));
        let due = Duration::from_millis(u64::try_from(until).unwrap_or(0)).min(config.poll);
        loads.next(Instant::now()).map_or(due, |free| free.min(due))
    }

    /// One attempt, written down. Whether the receiver took it.
    async fn deliver(&self, mut leased: Leased) -> bool {
        let body = Bytes::from(std::mem::take(&mut leased.body));
        let target = match self.store.delivery_target(&leased).await {
            Ok(target) => target,
            Err(error) => {
                tracing::error!(delivery = leased.delivery_id, %error, "the target cannot be read; the lease runs out");
                return false;
            }
        };
        let at = self.store.now();
        let began = Instant::now();
        let outcome = match target {
            Target::Gone(why) => Outcome::without_request(why, true),
            Target::Missing(why) => Outcome::without_request(why, false),
            Target::Send { url, signing, headers } => match sign(&signing, &leased.event_id, at, &body) {
                Err(error) => Outcome::without_request(&error.to_string(), false),
                Ok(signed) => {
                    let mut all: Vec<_> = headers.into_iter().map(|(n, v)| (n, v.expose().to_owned())).collect();
                    all.extend(signed);
                    let trace = leased.call_id.as_deref().and_then(|call| self.config.traces.of(call));
                    all.extend(trace.map(|trace| ("traceparent".to_owned(), trace.traceparent())));
                    self.attempt(Post { url: &url, headers: all, body, timeout: self.config.timeout }).await
                }
            },
        };
        let latency_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
        let verdict = outcome.verdict(leased.tries, self.store.now(), (self.config.jitter)());
        let good = verdict == Verdict::Delivered;
        let counter = if good { &self.counters.delivered } else { &self.counters.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let (call, status, error) = (leased.call_id.as_deref(), outcome.status, outcome.error.as_deref());
        let (delivery, event, endpoint) = (&leased.delivery_id, &leased.event_id, &leased.endpoint);
        if good {
            tracing::info!(call, delivery, event, endpoint, status, latency_ms, "delivered");
        } else {
            tracing::warn!(
                call,
                delivery,
                event,
                endpoint,
                status,
                error,
                latency_ms,
                tries = leased.tries,
                ?verdict,
                "not delivered"
            );
        }
        if let Some(call) = call {
            self.config.traces.delivery(&Delivery {
                call,
                tenant: leased.tenant_id.as_str(),
                delivery,
                event,
                kind: &leased.event_type,
                endpoint,
                tries: leased.tries,
                began: SystemTime::UNIX_EPOCH + Duration::from_millis(at.0.unsigned_abs()),
                took: Duration::from_millis(latency_ms.into()),
                status,
                delivered: good,
            });
        }
        let report =
            AttemptReport { at, status, latency_ms, error: outcome.error, response: outcome.response, verdict };
        self.report(&leased, report).await;
        good
    }

    /// Sends and looks at the answer.
    async fn attempt(&self, post: Post<'_>) -> Outcome {
        let exchange = self.egress.exchange(post, async |answer| {
            let (status, retry_after) = (answer.status, answer.retry_after.clone());
            // The status decides; the rest is for people to read and may break or dawdle.
            let beginning = answer.beginning(MAX_KEPT, DAWDLE).await;
            Ok((status, retry_after, beginning))
        });
        match exchange.await {
            Err(error) => Outcome { error: Some(format!("{}: {error}", error.code())), ..Outcome::default() },
            Ok((status, retry_after, beginning)) => {
                let error = match status {
                    200..300 => None,
                    300..400 => Some(format!("status {status}: redirects are not followed")),
                    _ => Some(format!("status {status}")),
                };
                let response = String::from_utf8_lossy(&beginning).into_owned();
                Outcome { status: Some(status), retry_after, error, response: Some(response), gone: status == 410 }
            }
        }
    }

    /// Writes an attempt down, a few times when the disk is full. If it cannot be
    /// written the lease runs out and the delivery is made again, with the same id.
    async fn report(&self, leased: &Leased, report: AttemptReport) {
        for pause in [1, 4, 10, 0] {
            match self.store.finish_attempt(leased, report.clone()).await {
                Ok(()) => return,
                Err(error) if error.is_transient() && pause > 0 => {
                    tracing::error!(
                        delivery = leased.delivery_id,
                        code = error.code(),
                        "an attempt waits to be written"
                    );
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                }
                Err(error) => {
                    tracing::error!(delivery = leased.delivery_id, %error, "an attempt could not be written");
                    return;
                }
            }
        }
    }
}

/// Of an answer, this much is kept.
const MAX_KEPT: usize = 4_096;
/// And read for so long.
const DAWDLE: Duration = Duration::from_secs(1);

/// What came of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    status: Option<u16>,
    retry_after: Option<String>,
    error: Option<String>,
    response: Option<String>,
    /// It makes no sense to go on.
    gone: bool,
}

impl Outcome {
    fn without_request(why: &str, gone: bool) -> Self {
        Self { error: Some(why.to_owned()), gone, ..Self::default() }
    }

    fn verdict(&self, tries: u32, now: UnixMs, jitter: f64) -> Verdict {
        if self.error.is_none() {
            return Verdict::Delivered;
        }
        if self.gone {
            return if self.status.is_some() { Verdict::Gone } else { Verdict::Dead };
        }
        // Only these two say "later" (RFC 9110, RFC 6585).
        let wish = self.retry_after.as_deref().filter(|_| matches!(self.status, Some(429 | 503)));
        let wish = wish.and_then(|value| retry_after(value, now));
        next_attempt(tries, now, jitter, wish).map_or(Verdict::Failed, |at| Verdict::Retry { at })
    }
}
