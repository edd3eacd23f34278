//! What keeping the books of calls costs, and bringing results home: `cargo bench -p callbox --bench books -- PART DATABASE`,
//! where PART is `calls` or `delivery`, and DATABASE is `sqlite`, or `postgres` for a server of its own that flushes what it
//! commits. Store and outbox worker are those of a host, with its defaults; the calls have no telephone and the receiver is
//! in this process.
//!
//! Prints one line of JSON.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints, times, and stops when something is not as it should be"
)]

use callbox_delivery::{Egress, EgressPolicy, OutboxWorker, WorkerConfig};
use callbox_dialogue::call::{Direction, Party, Transport};
use callbox_dialogue::record::TimelineEntry;
use callbox_store::calls::CallStart;
use callbox_store::completion::CallCompletion;
use callbox_store::document::CallDocument;
use callbox_store::webhooks::NewWebhook;
use callbox_store::{Actor, Store, id};
use callbox_test_postgres::Postgres;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Calls that end at the same time.
const AT_ONCE: usize = 64;
/// Calls of one measurement, behind those that warm it up.
const CALLS: usize = 5_000;
const WARM_UP: usize = 500;
/// Webhooks of a tenant: as many as it may have.
const ENDPOINTS: usize = 1_000;
/// Results that each of them gets.
const RESULTS: usize = 10;
/// A tape as of a call of a few turns, bytes.
const TAPE: usize = 4_000;

/// A store, and what it lies in.
struct Place {
    store: Store,
    _folder: TempDir,
    _server: Option<Postgres>,
}

impl Place {
    async fn new(database: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = (database == "postgres").then(Postgres::start_durable);
        let url = match &server {
            Some(server) => {
                server.run("CREATE DATABASE callbox");
                server.url("callbox")
            }
            None => format!("sqlite://{}/callbox.db", folder.path().display()),
        };
        let store = Store::open(&url, &folder.path().join("artefacts")).await.unwrap();
        Self { store, _folder: folder, _server: server }
    }

    async fn webhook(&self, url: String) {
        let event_types = BTreeSet::from(["call.completed".to_owned()]);
        let new = NewWebhook { url, description: None, event_types, enabled: true };
        self.store.create_webhook(self.store.default_tenant(), new, &Actor::system()).await.unwrap();
    }

    fn worker(&self) -> OutboxWorker {
        let egress = Egress::new(EgressPolicy::new::<&str>(true, &[]).unwrap()).unwrap();
        // As quickly as it goes: the cap for one endpoint is what a deployment wants.
        let config = WorkerConfig { per_second: 0, ..WorkerConfig::new("bench") };
        OutboxWorker::start_with(self.store.clone(), egress, config)
    }

    fn call(&self, host: String) -> CallStart {
        let party = |uri: &str| Party { uri: uri.to_owned(), number: None, display_name: None };
        CallStart {
            id: id::new("call"),
            tenant_id: self.store.default_tenant().clone(),
            host,
            direction: Direction::Inbound,
            transport: Transport::Sip,
            caller: party("sip:+4917012345@carrier.example"),
            callee: party("sip:7000@callbox.example"),
            number_id: None,
            trunk_id: None,
            trunk_address: None,
            script: None,
            relation_id: None,
            external_id: None,
            sip_call_id: Some("1234567890@carrier.example".to_owned()),
            parameters: None,
            created_at: self.store.now(),
        }
    }
}

fn end(start: &CallStart) -> CallCompletion {
    let entry = |at| TimelineEntry { at, kind: "prompt_started".to_owned(), detail: "Hello.".to_owned() };
    CallCompletion {
        start: start.clone(),
        document: CallDocument::begin(start),
        timeline: (0..10).map(|n| entry(callbox_dialogue::Time(n * 1_000))).collect(),
        tape: Some(vec![b'x'; TAPE]),
        signalling: None,
        recordings: Vec::new(),
        lost_recording: None,
        pushes: Vec::new(),
    }
}

/// A receiver that takes everything, and counts it.
struct Receiver {
    address: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = count.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, counted.clone()));
            }
        });
        Self { address, count }
    }

    fn url(&self, n: usize) -> String {
        format!("http://{}/{n}", self.address)
    }

    async fn has(&self, count: usize) {
        while self.count.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn take(stream: TcpStream, count: Arc<AtomicUsize>) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let field = line.trim().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            length = field.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap());
        }
        body.resize(length, 0);
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        count.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
            return;
        }
    }
}

/// Takes connections and never says a word on them.
async fn dead() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    address
}

/// So many calls from their beginning to their end, some at once.
async fn run_calls(place: &Arc<Place>, count: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (place, next) = (place.clone(), next.clone());
            tokio::spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let start = place.call("bench".to_owned());
                    place.store.start_call(start.clone()).await.unwrap();
                    place.store.mark_answered(&start, place.store.now()).await.unwrap();
                    assert!(place.store.complete_call(end(&start)).await.unwrap().first);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

/// Calls that begin, are answered and end, with their result pushed to one webhook.
async fn calls(database: &str) -> Value {
    let place = Arc::new(Place::new(database).await);
    let receiver = Receiver::start().await;
    place.webhook(receiver.url(0)).await;
    let worker = place.worker();
    run_calls(&place, WARM_UP).await;
    receiver.has(WARM_UP).await;
    let began = Instant::now();
    run_calls(&place, CALLS).await;
    let stored = began.elapsed();
    receiver.has(WARM_UP + CALLS).await;
    let pushed = began.elapsed();
    worker.stop().await;
    json!({
        "database": database, "calls": CALLS, "at_once": AT_ONCE,
        "stored_per_s": CALLS as f64 / stored.as_secs_f64(), "pushed_per_s": CALLS as f64 / pushed.as_secs_f64(),
    })
}

/// Results for many endpoints, all of them waiting when the worker begins.
async fn delivered(database: &str, dead_ones: usize) -> f64 {
    let place = Place::new(database).await;
    let (receiver, dead) = (Receiver::start().await, dead().await);
    for n in 0..ENDPOINTS {
        place.webhook(if n < dead_ones { format!("http://{dead}/") } else { receiver.url(n) }).await;
    }
    for _ in 0..RESULTS {
        place.store.complete_call(end(&place.call("bench".to_owned()))).await.unwrap();
    }
    let (began, wanted) = (Instant::now(), RESULTS * (ENDPOINTS - dead_ones));
    let worker = place.worker();
    receiver.has(wanted).await;
    let spent = began.elapsed();
    drop(worker);
    wanted as f64 / spent.as_secs_f64()
}

async fn delivery(database: &str) -> Value {
    json!({
        "database": database, "endpoints": ENDPOINTS, "results": RESULTS,
        "none_dead_per_s": delivered(database, 0).await, "one_dead_per_s": delivered(database, 1).await,
    })
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = match words[..] {
        ["calls", database @ ("sqlite" | "postgres")] => runtime.block_on(calls(database)),
        ["delivery", database @ ("sqlite" | "postgres")] => runtime.block_on(delivery(database)),
        // Whoever runs all tests runs this, too.
        _ => json!("PART DATABASE: calls or delivery, sqlite or postgres"),
    };
    println!("{told}");
}
