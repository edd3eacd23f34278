//! Several hosts over one PostgreSQL: what is changed on one counts on all, a host that dies leaves nothing open, and behind
//! the proxy of `examples/kamailio-two-hosts` they are restarted one after the other without a call that fails.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_test_postgres::shared;
use callbox_tests::kamailio::Kamailio;
use callbox_tests::web_caller::{WebCaller, request, token};
use callbox_tests::{Business, Host, Options, Phone, eventually, guest, peer, probe_bindings, raw};
use reqwest::Method;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use tempfile::TempDir;
use tokio::net::UdpSocket;

/// Hosts that share a database of their own and a folder for files.
struct Fleet {
    folder: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Fleet {
    async fn new(database: &str) -> Self {
        shared().run(&format!("CREATE DATABASE {database}"));
        let folder = tempfile::tempdir().unwrap();
        let key = peer::callbox(&["keys", "new"], &[]).await;
        let env = vec![
            ("CALLBOX_STORE__URL", shared().url(database)),
            ("CALLBOX_STORE__CONNECTIONS", "4".to_owned()),
            ("CALLBOX_STORE__OBJECTS", format!("file://{}", folder.path().join("objects").display())),
            ("CALLBOX_STORE__KEY", String::from_utf8(key.stdout).unwrap().trim().to_owned()),
            // Dead after two seconds and a half, in place of ten.
            ("CALLBOX_STORE__HEARTBEAT_MS", "250".to_owned()),
            ("CALLBOX_WEBRTC__PORT", "0".to_owned()),
        ];
        Self { folder, env }
    }

    /// How a host of this name is started; only the first one of all makes an API key.
    fn options(&self, name: &str, key: Option<&Host>) -> Options {
        let mut env = self.env.clone();
        env.push(("CALLBOX_STORE__HOST", name.to_owned()));
        let data = Some(self.folder.path().join(name));
        Options { env, data, key: key.map(|host| host.key.clone()), ..Options::default() }
    }

    async fn start(&self, name: &str, key: Option<&Host>) -> Host {
        Host::start_with(self.options(name, key)).await
    }
}

/// A webhook for calls that are over.
async fn tell(host: &Host, business: &Business) -> String {
    let webhook =
        json!({ "url": business.url("/webhooks"), "secret": business.secret, "event_types": ["call.completed"] });
    host.post("/v1/webhooks", &webhook).await["id"].as_str().unwrap().to_owned()
}

/// What became of the call that carries this relation.
async fn record(host: &Host, relation: &str) -> Value {
    eventually(&format!("the end of the call {relation}"), async || {
        let calls = host.get(&format!("/v1/calls?state=completed&relation_id={relation}")).await;
        let id = calls["data"].get(0)?["id"].as_str()?.to_owned();
        Some(host.get(&format!("/v1/calls/{id}")).await["record"].take())
    })
    .await
}

/// A call that says hello, to its end.
async fn says_hello(phone: &Phone, host: &Host, number: &str, relation: &str) -> Value {
    let mut line = phone.dial(host, number, &[("X-Call-Relation-Id", relation)]).await.unwrap();
    assert!(line.over().await.by_host);
    record(host, relation).await
}

/// The call that runs on this database, once it is answered.
async fn running_call(host: &Host) -> String {
    eventually("the call in the books", async || {
        let calls = host.get("/v1/calls?state=active").await;
        let call = calls["data"].get(0)?;
        (!call["answered_at"].is_null()).then(|| call["id"].as_str().unwrap().to_owned())
    })
    .await
}

/// The same component with a note, so that it is another version.
fn noted(mut component: Vec<u8>) -> Vec<u8> {
    // A custom section: its kind, its size, the size of its name, its name.
    component.extend(b"\x00\x05\x04note");
    component
}

#[tokio::test]
async fn what_is_changed_on_one_host_is_live_on_the_other() {
    let business = Business::start().await;
    let fleet = Fleet::new("changes").await;
    let a = fleet.start("a", None).await;
    let b = fleet.start("b", Some(&a)).await;
    let phone = Phone::new().await;

    // A script with its bindings, and a number.
    let script = a.publish_probe(Some(&business)).await;
    let record = says_hello(&phone, &b, "2000", "first").await;
    assert_eq!(
        (&record["end_reason"], &record["script"]["version"]),
        (&json!("script_returned"), &json!(1)),
        "{record}"
    );
    assert_eq!(business.next().await.path, "/early");

    // Another version, another address of a source, a setting.
    let (status, version) = a.upload(&script, noted(guest("probe"))).await;
    assert_eq!((status.as_u16(), &version["version"]), (201, &json!(2)), "{version}");
    a.post(&format!("/v1/scripts/{script}/publish"), &json!({ "version": 2 })).await;
    let mut bindings = probe_bindings(Some(&business));
    bindings["sources"]["early"]["url"] = json!(business.url("/elsewhere"));
    bindings["settings"] = json!({ "text": "Good evening." });
    a.ok(Method::PUT, &format!("/v1/scripts/{script}/bindings"), Some(&bindings)).await;
    let record = says_hello(&phone, &b, "2000", "second").await;
    assert_eq!(record["script"]["version"], 2, "{record}");
    assert_eq!(record["transcript"][0]["text"], "Good evening.", "{record}");
    assert_eq!(business.next().await.path, "/elsewhere");

    // A number that is new, and one that is off.
    let number = a.post("/v1/numbers", &json!({ "address": "2001", "script_id": script })).await;
    assert_eq!(says_hello(&phone, &b, "2001", "third").await["end_reason"], "script_returned");
    let number = format!("/v1/numbers/{}", number["id"].as_str().unwrap());
    a.ok(Method::PATCH, &number, Some(&json!({ "enabled": false }))).await;
    assert!(raw::ask_invite(b.sip, "2001", "off").await.starts_with("SIP/2.0 480"));

    // A trunk, which every host keeps in memory.
    let trunk = a.post("/v1/trunks", &json!({ "name": "carrier", "inbound": { "networks": ["127.0.0.1"] } })).await;
    let trunk = format!("/v1/trunks/{}/status", trunk["id"].as_str().unwrap());
    eventually("the trunk on the other host", async || (b.get(&trunk).await["in_service"] == true).then_some(())).await;
}

#[tokio::test]
async fn results_are_told_once_by_whichever_host() {
    let business = Business::start().await;
    let fleet = Fleet::new("deliveries").await;
    let a = fleet.start("a", None).await;
    let b = fleet.start("b", Some(&a)).await;
    let webhook = tell(&b, &business).await;
    a.publish_probe(None).await;
    let phone = Phone::new().await;
    for round in 0..3 {
        let (on_a, on_b) = (format!("a{round}"), format!("b{round}"));
        tokio::join!(says_hello(&phone, &a, "2000", &on_a), says_hello(&phone, &b, "2000", &on_b));
    }
    let mut told = Vec::new();
    while told.len() < 6 {
        let event = business.next_at("/webhooks").await;
        assert!(!told.contains(&event.id), "{} came twice", event.id);
        told.push(event.id);
    }
    let deliveries = eventually("deliveries that are done", async || {
        let page = a.get(&format!("/v1/webhooks/{webhook}/deliveries?state=delivered")).await;
        let all = page["data"].as_array()?.clone();
        (all.len() == 6).then_some(all)
    })
    .await;
    assert!(deliveries.iter().all(|delivery| delivery["attempts"] == 1), "{deliveries:?}");
    assert!(business.try_next().await.is_none());
}

#[tokio::test]
async fn any_host_serves_the_calls_of_all() {
    let fleet = Fleet::new("served").await;
    let a = fleet.start("a", None).await;
    let b = fleet.start("b", Some(&a)).await;
    a.publish_probe(None).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&a, "events", &[("X-Probe-Text", "I wait.")]).await;
    let id = running_call(&b).await;
    let path = format!("/v1/calls/{id}");
    // What only the host that runs it knows.
    eventually("its words on the other host", async || {
        let call = b.get(&path).await;
        (call["state"] == "active" && call["record"]["transcript"][0]["text"] == "I wait.").then_some(())
    })
    .await;
    // It counts there, too.
    let tenant = format!("/v1/tenants/{}", a.get("/v1/tenant").await["id"].as_str().unwrap());
    let at_most = async |calls: Value| {
        b.ok(Method::PATCH, &tenant, Some(&json!({ "quotas": { "concurrent_calls": calls } }))).await
    };
    at_most(json!(1)).await;
    let refused = raw::ask_invite(b.sip, "2000", "full").await;
    assert!(refused.starts_with("SIP/2.0 486") && refused.contains("concurrent calls exceeded"), "{refused}");
    at_most(Value::Null).await;
    b.post(&format!("{path}/messages"), &json!({ "from": "b" })).await;
    // Its own answer to what is wrong comes through as it is.
    let (status, problem) = b.request(Method::POST, &format!("{path}/no-such-thing"), Some(&json!({}))).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")), "{problem}");
    b.post(&format!("{path}/hangup"), &json!({})).await;
    assert!(line.over().await.by_host);
    let call = b.finished_call().await;
    assert_eq!(call["record"]["end_reason"], "operator_hangup", "{call}");
    let events = call["record"]["fields"]["events"].to_string();
    assert!(events.contains("Message") && events.contains("from"), "{events}");
    let (status, problem) = b.request(Method::POST, &format!("{path}/hangup"), Some(&json!({}))).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("call_not_active")), "{problem}");

    // One that cannot be asked: what is in the books is told, and no more.
    let line = phone.dial_probe(&a, "silent", &[]).await;
    let id = running_call(&b).await;
    a.kill().await;
    drop(line);
    assert!(b.get(&format!("/v1/calls/{id}")).await["start"].is_object());
}

/// Pages know a balancer, and no host behind it.
#[tokio::test]
async fn a_page_renews_and_ends_its_call_by_any_host() {
    let fleet = Fleet::new("pages").await;
    let a = fleet.start("a", None).await;
    let b = fleet.start("b", Some(&a)).await;
    a.publish_probe(None).await;
    let mut caller = WebCaller::probe(&a, "silent", &[]).await;
    caller.is_up().await;
    assert_eq!(running_call(&b).await, caller.id());
    caller.asks(&b);
    let offer = caller.moves().await;
    let stale = caller.patch("application/sdp", Some("\"nonsense\""), offer.clone()).await;
    assert_eq!(stale.status(), 412, "which session of ICE is meant goes along");
    let renewed = caller.patch("application/sdp", Some("*"), offer).await;
    assert_eq!(renewed.status(), 200);
    assert_ne!(renewed.headers()["etag"].to_str().unwrap(), caller.etag, "another session of ICE");
    let before = caller.seen().packets;
    caller.accepts(&renewed.text().await.unwrap()).await;
    caller.sees("audio on the other network", |seen| seen.packets >= before + 25).await;
    // Another token of the same tenant opens nothing, one that is none is told so, the call's own ends it.
    let other = token(&b, "2000", json!({})).await;
    assert_eq!(request(&b, Method::DELETE, &caller.path, &other).send().await.unwrap().status(), 404);
    assert_eq!(request(&b, Method::DELETE, &caller.path, "cbt_x").send().await.unwrap().status(), 401);
    assert_eq!(caller.delete().await.status(), 200);
    let record = b.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "caller_hangup", "{record}");
    assert_eq!(caller.delete().await.status(), 404, "it is over");
}

#[tokio::test]
async fn a_host_that_is_killed_has_its_calls_closed_by_the_other() {
    let business = Business::start().await;
    let fleet = Fleet::new("killed").await;
    let a = fleet.start("a", None).await;
    let b = fleet.start("b", Some(&a)).await;
    let webhook = tell(&a, &business).await;
    a.publish_probe(None).await;
    let phone = Phone::new().await;
    let line = phone.dial_probe(&a, "silent", &[]).await;
    let id = running_call(&b).await;
    a.kill().await;
    drop(line);

    assert_eq!(state(&b, "b").await, "up");
    let event = business.next_at("/webhooks").await;
    let data = &event.body["data"];
    assert_eq!((&event.body["type"], &data["call_id"]), (&json!("call.completed"), &json!(id)), "{}", event.body);
    assert_eq!((&data["end_reason"], &data["ended_by"]), (&json!("platform_error"), &json!("platform")), "{data}");
    assert_eq!(data["outcome"], "answered", "{data}");
    assert_eq!(b.get(&format!("/v1/calls/{id}")).await["state"], "completed");
    eventually("everybody knows", async || (state(&b, "a").await == "gone").then_some(())).await;

    // Back under its name, it has nothing left to tell of that call, and takes others.
    let a = fleet.start("a", Some(&b)).await;
    let said = says_hello(&phone, &a, "2000", "back").await;
    assert_eq!(said["end_reason"], "script_returned", "{said}");
    assert_eq!(business.next_at("/webhooks").await.body["data"]["call_id"], said["call_id"]);
    let deliveries = a.get(&format!("/v1/webhooks/{webhook}/deliveries")).await;
    assert_eq!(deliveries["data"].as_array().unwrap().len(), 2, "{deliveries}");
}

/// What a host does, as another one sees it.
async fn state(asked: &Host, name: &str) -> Value {
    let hosts = asked.get("/v1/hosts").await;
    let mut hosts = hosts["data"].as_array().unwrap().iter();
    hosts.find(|host| host["id"] == name).unwrap()["state"].clone()
}

/// Sends a signal to a host.
fn signal(host: &Host, name: &str) {
    let pid = host.child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

#[tokio::test]
async fn a_frozen_host_whose_name_was_taken_ends() {
    let fleet = Fleet::new("frozen").await;
    let frozen = fleet.start("a", None).await;
    frozen.publish_probe(None).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&frozen, "silent", &[]).await;
    running_call(&frozen).await;
    // Between two transactions: in one, it would hold on to its name until the server ends that.
    let connections = |state: &str| {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'frozen' AND state LIKE";
        shared().run(&format!("{sql} '{state}'")) != ["0"]
    };
    eventually("a host that is frozen", async || {
        signal(&frozen, "-STOP");
        while connections("active") {
            tokio::task::yield_now().await;
        }
        if connections("idle in transaction%") {
            signal(&frozen, "-CONT");
            return None;
        }
        Some(())
    })
    .await;

    // Its operator does not wait for it. It has a folder of its own, as if the machine were another.
    let mut options = fleet.options("a", Some(&frozen));
    options.data = Some(fleet.folder.path().join("another"));
    let host = Host::start_with(options).await;
    assert_eq!(host.finished_call().await["record"]["end_reason"], "platform_error");
    signal(&frozen, "-CONT");
    assert!(line.over().await.by_host, "nobody would keep the books of this call");
    let data = frozen.data.clone();
    assert!(!frozen.exit().await.success());
    let log = std::fs::read_to_string(data.join("host.log")).unwrap();
    assert!(log.contains("another host has taken the name"), "{log}");
    assert_eq!(host.completed().await.len(), 1);
    says_hello(&phone, &host, "2000", "after").await;
}

// ---- behind a proxy

/// Addresses that no other test has: the network of this machine has 16 million.
fn addresses() -> [SocketAddr; 3] {
    let [_, second, third, fourth] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 64 + second % 64, third, fourth);
    [5060, 5070, 5080].map(|port| SocketAddr::from((ip, port)))
}

/// What a host answers to a ping.
async fn ping(host: &Host) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = socket.local_addr().unwrap();
    raw::ask(&socket, host.sip, &raw::options(host.sip, from, "ping")).await
}

fn takes_no_calls(answer: &str) {
    assert!(answer.starts_with("SIP/2.0 503") && answer.contains("\r\nRetry-After:"), "{answer}");
}

#[tokio::test]
async fn behind_kamailio_a_host_is_restarted_and_no_call_fails() {
    let fleet = Fleet::new("proxied").await;
    let [proxy, first, second] = addresses();
    let at = |name: &str, address: SocketAddr, key: Option<&Host>| {
        let options = fleet.options(name, key);
        Host::start_with(Options { sip: Some(address.ip()), sip_port: address.port(), ..options })
    };
    let a = at("a", first, None).await;
    let b = at("b", second, Some(&a)).await;
    a.publish_probe(None).await;
    let phone = Phone::new().await;
    // Compiled on both before there is any load.
    tokio::join!(says_hello(&phone, &a, "2000", "on-a"), says_hello(&phone, &b, "2000", "on-b"));
    let proxy = Kamailio::example(proxy, [first, second]).await;
    proxy.sees(first, true).await;
    proxy.sees(second, true).await;

    // A call to each, and then five a second, one host after the other.
    let call = async || {
        let target = format!("sip:2000@{}", proxy.address);
        let called = phone.dial_to(&target, &[("X-Probe-Mode", "silent")]).await;
        called.unwrap_or_else(|over| panic!("{over:?}: {} {}", proxy.ask(&["dispatcher.list"]), proxy.log()))
    };
    let mut lines = vec![call().await, call().await];
    a.runs(1).await;
    b.runs(1).await;
    let address = proxy.address;
    let load = tokio::spawn(async move { peer::sipp_to(address, "basic", "2000", 50, &["-r", "5"]).await });
    eventually("load on the first host", async || {
        (a.get("/healthz").await["calls"].as_u64().unwrap() > 1).then_some(())
    })
    .await;

    // It goes down: whoever asks is told to go elsewhere, and the proxy asks.
    a.terminate().await;
    eventually("a draining host", async || {
        let (status, problem) = a.request(Method::GET, "/readyz", None).await;
        (status == 503 && problem["code"] == "draining").then_some(())
    })
    .await;
    eventually("the others know", async || (state(&b, "a").await == "draining").then_some(())).await;
    takes_no_calls(&ping(&a).await);
    takes_no_calls(&raw::ask_invite(a.sip, "2000", "late").await);
    proxy.sees(first, false).await;
    // What runs on it goes on until the caller hangs up, whose BYE finds its way there. Then it is gone.
    for mut line in lines.drain(..) {
        line.hang_up().await;
    }
    assert!(a.exit().await.success());

    // And comes back, while calls go on.
    let a = at("a", first, Some(&b)).await;
    proxy.sees(first, true).await;
    load.await.expect("no call failed");
    eventually("the books of all calls", async || {
        let calls = a.finished_calls(54).await;
        let ended = |reason: &str| calls.iter().filter(|call| call["end_reason"] == reason).count();
        (ended("script_returned") == 52 && ended("caller_hangup") == 2).then_some(())
    })
    .await;
    lines = vec![call().await, call().await];
    a.runs(1).await;
    b.runs(1).await;

    // One that dies is not noticed by who calls, either.
    b.kill().await;
    for _ in 0..2 {
        lines.push(call().await);
    }
    a.runs(3).await;
}
