//! Hosts are killed while they answer calls, deliver results and take uploads, again and again, and started again. Then
//! the books are checked: whoever was answered is told of once, every event arrived as one and the same, nothing that was
//! acknowledged is gone, and nothing is half there.
//!
//! `CRASH_SEED` and `CRASH_ROUNDS` say when, and how often; `make crash` does it for long.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_store::SealingKey;
use callbox_test_postgres::Postgres;
use callbox_tests::books::{Arrived, Books, Call, Event, Recording, Script, Version};
use callbox_tests::throng::{Promised, Site, Throng};
use callbox_tests::{Bucket, Business, Host, Options, Phone, eventually, probe_bindings, raw};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Callers at once.
const CALLERS: u64 = 6;
/// How long what is under way may take to come to its end, on a machine that has too much to do.
const PATIENCE: Duration = Duration::from_secs(150);

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// Hosts that come and go, those who use them, and where their results arrive.
struct House {
    business: Business,
    hosts: Vec<Option<Host>>,
    options: Vec<Options>,
    up: watch::Sender<Vec<Site>>,
    promised: Promised,
    arrived: Vec<Arrived>,
    _folders: Vec<TempDir>,
}

impl House {
    /// So many hosts, each with a folder, and with these variables of its own.
    async fn new(env: Vec<Vec<(&'static str, String)>>) -> Self {
        let business = Business::start().await;
        let (mut hosts, mut all, mut folders) = (Vec::new(), Vec::new(), Vec::new());
        let mut key = None;
        for env in env {
            let folder = tempfile::tempdir().unwrap();
            let data = Some(folder.path().to_path_buf());
            let mut options = Options { env, data, key, ..Options::default() };
            let host = Host::start_with(options.clone()).await;
            key = Some(host.key.clone());
            options.key.clone_from(&key);
            hosts.push(Some(host));
            all.push(options);
            folders.push(folder);
        }
        let (up, _) = watch::channel(Vec::new());
        let promised = Promised::default();
        Self { business, hosts, options: all, up, promised, arrived: Vec::new(), _folders: folders }
    }

    /// The numbers 2000 (which pushes and is recorded) and 2001 (whose script is published again and again); the latter's
    /// script.
    async fn furnish(&self) -> String {
        let host = self.host();
        let webhook = json!({ "url": self.business.url("/webhooks"), "secret": self.business.secret });
        host.post("/v1/webhooks", &webhook).await;
        let recorded = json!({ "recording": "on" });
        host.publish("probe", "2000", &probe_bindings(Some(&self.business)), &recorded).await;
        let script = host.publish("bench", "2001", &json!({}), &json!({})).await;
        self.tell();
        script
    }

    /// One that runs.
    fn host(&self) -> &Host {
        self.hosts.iter().flatten().next().expect("one runs")
    }

    /// Those who use them learn which run.
    fn tell(&self) {
        self.up.send_replace(self.hosts.iter().flatten().map(|host| Site { sip: host.sip, http: host.http }).collect());
    }

    async fn kill(&mut self, index: usize) {
        self.hosts[index].take().expect("it runs").kill().await;
        self.tell();
    }

    async fn start(&mut self, index: usize) {
        self.hosts[index] = Some(Host::start_with(self.options[index].clone()).await);
        self.tell();
    }

    /// Takes what has arrived.
    async fn receive(&mut self) {
        while let Some(received) = self.business.try_next().await {
            if matches!(received.path.as_str(), "/webhooks" | "/sink") {
                self.arrived.push(received.into());
            }
        }
    }

    /// Waits until everything has happened that the books are to be checked for, on a machine however slow.
    async fn has_seen_it_all(&mut self) {
        const KINDS: [&str; 4] = ["call.started", "call.push", "call.completed", "call.recording.ready"];
        let begun = Instant::now();
        loop {
            self.receive().await;
            let kind = |arrived: &Arrived| {
                let body: Value = serde_json::from_slice(&arrived.raw).unwrap();
                word(&body["type"])
            };
            let kinds: BTreeSet<String> = self.arrived.iter().map(kind).collect();
            let published = !self.promised.lock().unwrap().published.is_empty();
            if published && KINDS.iter().all(|wanted| kinds.contains(*wanted)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "published: {published}, arrived: {kinds:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until nobody runs a call any more.
    async fn is_quiet(&self) {
        let begun = Instant::now();
        loop {
            let running = self.host().get("/v1/calls?state=active").await["data"].as_array().unwrap().len();
            if running == 0 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{running} calls do not end");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the books add up; where they do not, says what is wrong.
    async fn books_add_up(&mut self) -> Books {
        self.is_quiet().await;
        let begun = Instant::now();
        loop {
            self.receive().await;
            let mut books = self.promised.lock().unwrap().clone();
            books.arrived.clone_from(&self.arrived);
            self.read(&mut books).await;
            let faults = books.faults();
            if faults.is_empty() {
                return books;
            }
            let log = || self.hosts.iter().flatten().map(Host::log).collect::<Vec<_>>().join("\n----\n");
            assert!(begun.elapsed() < PATIENCE, "{faults:#?}\n{}", log());
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What the API says, and what lies in the folders.
    async fn read(&self, books: &mut Books) {
        let host = self.host();
        for call in list(host, "/v1/calls").await {
            books.calls.push(read_call(host, &call).await);
        }
        for script in list(host, "/v1/scripts").await {
            books.scripts.push(read_script(host, &script).await);
        }
        for data in self.options.iter().filter_map(|options| options.data.as_ref()) {
            books.files.extend(files(data.join("recordings")));
        }
    }
}

fn files(folder: PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// All of a list.
async fn list(host: &Host, path: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = host.get(&format!("{path}?limit=100{cursor}")).await;
        all.append(page["data"].as_array_mut().unwrap());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn read_call(host: &Host, listed: &Value) -> Call {
    let id = word(&listed["id"]);
    let path = format!("/v1/calls/{id}");
    let record = host.get(&path).await["record"].take();
    let pushed = record["fields"]["pushed"].as_array().into_iter().flatten();
    let promised = pushed.filter_map(|push| push["ok"].as_str()).map(ToOwned::to_owned).collect();
    let events = host.get(&format!("{path}/events")).await;
    let mut recordings = Vec::new();
    for recording in host.get(&format!("{path}/recordings")).await["data"].as_array().unwrap() {
        let (id, state) = (word(&recording["id"]), word(&recording["state"]));
        let found = match state.as_str() {
            "ready" => Some(sha256(&host.bytes(&format!("{path}/recordings/{id}")).await)),
            _ => None,
        };
        recordings.push(Recording { id, state, sha256: word(&recording["sha256"]), found });
    }
    Call {
        id,
        relation: listed["relation_id"].as_str().map(ToOwned::to_owned),
        state: word(&listed["state"]),
        events: events["data"].as_array().unwrap().iter().map(Event::read).collect(),
        promised,
        recordings,
    }
}

async fn read_script(host: &Host, listed: &Value) -> Script {
    let id = word(&listed["id"]);
    let path = format!("/v1/scripts/{id}");
    let mut versions = Vec::new();
    for version in list(host, &format!("{path}/versions")).await {
        let number = version["version"].as_u64().unwrap();
        let component = host.bytes(&format!("{path}/versions/{number}/component")).await;
        let version = Version { script: id.clone(), version: number, digest: word(&version["digest"]) };
        versions.push((version, Some(callbox_store::blobs::digest(&component))));
    }
    let publications = list(host, &format!("{path}/publications")).await;
    let publications = publications.iter().filter_map(|publication| publication["version"].as_u64()).collect();
    Script { live: listed["published_version"].as_u64(), id, publications, versions }
}

fn sha256(bytes: &[u8]) -> String {
    callbox_store::blobs::digest(bytes).trim_start_matches("sha256:").to_owned()
}

/// Says what would bring this run again.
#[allow(clippy::print_stderr, reason = "whoever sees it fail wants to see it again")]
fn say(what: &str, seed: u64, rounds: u64) {
    eprintln!("{what}: CRASH_SEED={seed} CRASH_ROUNDS={rounds}");
}

/// How much was tried.
#[allow(clippy::print_stderr, reason = "it is worth knowing")]
fn told(books: &Books) {
    eprintln!(
        "{} calls, {} of them seen to be answered; {} arrivals of {} events; {} versions, {} recordings",
        books.calls.len(),
        books.accepted.len(),
        books.arrived.len(),
        books.calls.iter().map(|call| call.events.len()).sum::<usize>(),
        books.uploaded.len(),
        books.calls.iter().map(|call| call.recordings.len()).sum::<usize>(),
    );
}

/// A moment to be killed at, drawn anew each time: while it has hardly begun, or in the middle of things.
async fn some_time(dice: &mut raw::Dice) {
    sleep(Duration::from_millis(50 + dice.roll(1_500) as u64)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_again_and_again_owes_nobody_anything() {
    let (seed, rounds) = (from_environment("CRASH_SEED", 7), from_environment("CRASH_ROUNDS", 4));
    say("one host", seed, rounds);
    let mut dice = raw::Dice::new(seed);
    let mut house = House::new(vec![Vec::new()]).await;
    let script = house.furnish().await;
    let key = house.host().key.clone();
    let up = house.up.subscribe();
    let throng = Throng::start(&up, (&["2000", "2000", "2001"], CALLERS), (&key, &script), seed, &house.promised);
    for _ in 0..rounds {
        some_time(&mut dice).await;
        house.kill(0).await;
        house.start(0).await;
    }
    house.has_seen_it_all().await;
    throng.stop().await;
    told(&house.books_add_up().await);
    // What is live answers.
    callbox_tests::peer::call(house.host(), "2001", &[]).await;
    assert!(house.hosts.remove(0).unwrap().stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_that_die_in_turns_owe_nobody_anything() {
    let (seed, rounds) = (from_environment("CRASH_SEED", 7), from_environment("CRASH_ROUNDS", 2));
    say("two hosts", seed, rounds);
    let mut dice = raw::Dice::new(seed);
    let server = Postgres::start();
    server.run("CREATE DATABASE callbox");
    let bucket = Bucket::start().await;
    let sealing = SealingKey::generate().unwrap().text();
    let env = |name: &str| {
        let mut env = bucket.env();
        env.push(("CALLBOX_STORE__URL", server.url("callbox")));
        env.push(("CALLBOX_STORE__KEY", sealing.expose().to_owned()));
        env.push(("CALLBOX_STORE__HOST", name.to_owned()));
        env
    };
    let mut house = House::new(vec![env("a"), env("b")]).await;
    let script = house.furnish().await;
    let key = house.host().key.clone();
    let up = house.up.subscribe();
    let throng = Throng::start(&up, (&["2000", "2000", "2001"], CALLERS), (&key, &script), seed, &house.promised);
    for _ in 1..rounds {
        some_time(&mut dice).await;
        let dies = dice.roll(2);
        house.kill(dies).await;
        house.start(dies).await;
    }
    some_time(&mut dice).await;
    // The last one stays away until the other has closed its calls.
    let dies = dice.roll(2);
    house.kill(dies).await;
    house.has_seen_it_all().await;
    throng.stop().await;
    house.is_quiet().await;
    // Nobody else has the recordings that it made.
    house.start(dies).await;
    told(&house.books_add_up().await);
    for host in house.hosts.into_iter().flatten() {
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_call_goes_on_while_the_database_is_away() {
    let server = Postgres::start();
    server.run("CREATE DATABASE callbox");
    let business = Business::start().await;
    let env = vec![("CALLBOX_STORE__URL", server.url("callbox"))];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(Some(&business)).await;
    let webhook =
        json!({ "url": business.url("/webhooks"), "secret": business.secret, "event_types": ["call.completed"] });
    host.post("/v1/webhooks", &webhook).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "echo", &[("X-Probe-Count", "1")]).await;
    server.stop();
    // The caller does not notice. The result has nowhere to go for now, so nobody else is let in.
    line.press("42#");
    assert!(line.over().await.by_host);
    eventually("a host that is not ready", async || {
        let (status, problem) = host.request(Method::GET, "/readyz", None).await;
        (status == 503 && problem["code"] == "results_not_stored").then_some(())
    })
    .await;
    let refused = raw::ask_invite(host.sip, "2000", "away").await;
    assert!(refused.starts_with("SIP/2.0 503") && refused.contains("Retry-After:"), "{refused}");
    server.come_back();
    let event = business.next_at("/webhooks").await.body;
    assert_eq!((&event["data"]["fields"]["digits"], &event["sequence"]), (&json!(["42"]), &json!(1)), "{event}");
    eventually("a host that is ready", async || {
        (host.request(Method::GET, "/readyz", None).await.0 == 200).then_some(())
    })
    .await;
    assert!(phone.dial_probe(&host, "hello", &[]).await.over().await.by_host);
    assert_eq!(host.finished_calls(2).await.len(), 2);
    assert!(host.stop().await.success());
}
