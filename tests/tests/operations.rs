//! What an operator meets: ports in use, broken configuration, full disks, kills
//! and stops. Each with a word that says what to do, and nothing lost.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Business, Host, Options, Phone, eventually, peer, probe_bindings, raw};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a program said on its way to a status that is not 0.
fn failed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "it did not fail: {text}");
    assert!(!text.contains("panicked"), "{text}");
    // Words may be broken across lines.
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Serves with these flags and variables, which must fail.
async fn serve_fails(flags: &[&str], env: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut all =
        vec!["serve", "--data-dir", data, "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0", "--advertise", "127.0.0.1"];
    // The later of two equal flags would be an error: the test's own replace ours.
    for pair in flags.chunks(2) {
        if let Some(at) = all.iter().position(|flag| *flag == pair[0]) {
            all.drain(at..at + 2);
        }
    }
    all.extend(flags);
    failed(&peer::callbox(&all, env).await)
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

// ---- ports

#[tokio::test]
async fn a_sip_port_in_use_is_named() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap().to_string();
    says(&serve_fails(&["--sip", &address], &[]).await, &[&address, "in use"]);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    says(&serve_fails(&["--sip", &address], &[]).await, &[&address, "in use"]);
}

#[tokio::test]
async fn an_api_port_in_use_is_named() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    says(&serve_fails(&["--http", &address], &[]).await, &[&address, "in use", "--http"]);
}

// ---- the data folder

#[tokio::test]
async fn a_broken_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callbox.db");
    std::fs::write(&file, "This is no database. ".repeat(1_000)).unwrap();
    let text = serve_fails(&["--data-dir", folder.path().to_str().unwrap()], &[]).await;
    says(&text, &["database"]);
    // It is left as it was: it may be somebody's.
    assert!(std::fs::read(&file).unwrap().starts_with(b"This is no database."));
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_made_is_named() {
    says(&serve_fails(&["--data-dir", "/dev/null/callbox"], &[]).await, &["/dev/null/callbox"]);
}

#[tokio::test]
async fn a_read_only_data_folder_is_named() {
    let Some(mount) = Mount::new("ro,size=4m") else { return };
    let folder = mount.path.join("data");
    let folder = folder.to_str().unwrap();
    says(&serve_fails(&["--data-dir", folder], &[]).await, &[folder, "Read-only"]);
}

#[tokio::test]
async fn two_hosts_do_not_share_a_folder() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let text = serve_fails(&["--data-dir", host.data.to_str().unwrap()], &[]).await;
    says(&text, &["callbox.db", "another"]);
    // The first one does not mind.
    peer::call_probe(&host, "hello", &[]).await;
    assert_eq!(host.finished_call().await["record"]["end_reason"], "script_returned");
}

// ---- the voice

#[tokio::test]
async fn without_a_voice_the_host_runs_and_says_so() {
    let env = vec![("CALLBOX_SPEECH__ESPEAK", "/nonexistent/espeak-ng".into())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    assert!(host.log().contains("the voice does not work"), "{}", host.log());
    host.publish_probe(None).await;

    // A prompt of words fails, with a reason, and so does the fallback's: the call ends all the same.
    let called = peer::call_probe(&host, "long", &[]).await;
    assert!(called.answered);
    let record = host.finished_call().await["record"].take();
    says(&record["fields"]["error"].to_string(), &["/nonexistent/espeak-ng"]);
    assert_eq!(record["end_reason"], "script_trap", "{record}");
    says(record["script_error"].as_str().unwrap(), &["/nonexistent/espeak-ng"]);

    // What needs no voice works.
    let called = peer::call_probe(&host, "tone", &[]).await;
    assert!(called.event("hearing").is_some(), "{called:?}");
    let ends: Vec<Value> = host.finished_calls(2).await.iter().map(|call| call["end_reason"].clone()).collect();
    assert!(ends.contains(&json!("script_returned")), "{ends:?}");
}

// ---- limits

#[tokio::test]
async fn a_number_with_as_many_calls_as_it_may_is_busy() {
    let host = Host::start().await;
    host.publish("probe", "2000", &probe_bindings(None), &json!({ "max_concurrent": 1 })).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "silent", &[]).await;
    let refused = phone.dial(&host, "2000", &[]).await.err().unwrap();
    assert_eq!(refused.status, Some(486));
    line.hang_up().await;
    host.runs(0).await;
    phone.dial_probe(&host, "hello", &[]).await.over().await;
}

#[tokio::test]
async fn a_host_with_as_many_calls_as_it_may_says_when_to_try_again() {
    let env = vec![("CALLBOX_CALLS__MAX", "2".into())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let phone = Phone::new().await;
    let (mut first, _second) =
        tokio::join!(phone.dial_probe(&host, "silent", &[]), phone.dial_probe(&host, "silent", &[]));
    let refused = raw::ask_invite(host.sip, "2000", "third").await;
    says(&refused, &["SIP/2.0 503", "Retry-After:"]);
    first.hang_up().await;
    host.runs(1).await;
    phone.dial_probe(&host, "hello", &[]).await.over().await;
}

#[tokio::test]
async fn a_number_that_is_off_or_has_nothing_published_is_unavailable() {
    let host = Host::start().await;
    host.publish("probe", "2000", &probe_bindings(None), &json!({ "enabled": false })).await;
    let script = host.post("/v1/scripts", &json!({ "name": "empty" })).await;
    host.post("/v1/numbers", &json!({ "address": "2001", "script_id": script["id"] })).await;
    host.post("/v1/numbers", &json!({ "address": "2002" })).await;
    for number in ["2000", "2001", "2002"] {
        let refused = raw::ask_invite(host.sip, number, number).await;
        assert!(refused.starts_with("SIP/2.0 480"), "{number}: {refused}");
    }
    assert!(raw::ask_invite(host.sip, "2003", "2003").await.starts_with("SIP/2.0 404"));
}

// ---- stopping

async fn is_draining(host: &Host) {
    eventually("a draining host", async || {
        let (status, problem) = host.request(Method::GET, "/readyz", None).await;
        (status == 503 && problem["code"] == "draining").then_some(())
    })
    .await;
}

/// The only call's record, read by a new process.
async fn read_again(folder: &Path, key: String) -> Value {
    let host = Host::start_with(Options { data: Some(folder.into()), key: Some(key), ..Options::default() }).await;
    host.finished_call().await["record"].take()
}

#[tokio::test]
async fn a_stop_lets_calls_finish_and_takes_no_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start_with(Options { data: Some(folder.path().into()), ..Options::default() }).await;
    host.publish_probe(None).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "echo", &[("X-Probe-Count", "1")]).await;
    host.terminate().await;
    is_draining(&host).await;
    says(&raw::ask_invite(host.sip, "2000", "late").await, &["SIP/2.0 503", "Retry-After:"]);
    line.press("42#");
    assert!(line.over().await.by_host);
    let key = host.key.clone();
    assert!(host.exit().await.success());
    let record = read_again(folder.path(), key).await;
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert_eq!(record["fields"]["digits"], json!(["42"]), "{record}");
}

#[tokio::test]
async fn a_second_stop_ends_calls_at_once_with_their_records() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start_with(Options { data: Some(folder.path().into()), ..Options::default() }).await;
    host.publish_probe(None).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "silent", &[]).await;
    host.terminate().await;
    is_draining(&host).await;
    host.terminate().await;
    assert!(line.over().await.by_host);
    let key = host.key.clone();
    assert!(host.exit().await.success());
    let record = read_again(folder.path(), key).await;
    assert_eq!(record["end_reason"], "platform_shutdown", "{record}");
    assert_eq!(record["ended_by"], "platform", "{record}");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let env = vec![("CALLBOX_CALLS__DRAIN_MS", "500".into())];
    let folder = tempfile::tempdir().unwrap();
    let business = Business::start().await;
    let host = Host::start_with(Options { env, data: Some(folder.path().into()), ..Options::default() }).await;
    host.publish_probe(None).await;
    let webhook =
        json!({ "url": business.url("/webhooks"), "secret": business.secret, "event_types": ["call.completed"] });
    host.post("/v1/webhooks", &webhook).await;
    let mut line = Phone::new().await.dial_probe(&host, "echo", &[]).await;
    line.press("42#");
    eventually("a first result", async || {
        let calls = host.get("/v1/calls?state=active").await;
        let call = host.get(&format!("/v1/calls/{}", calls["data"].get(0)?["id"].as_str()?)).await;
        (call["record"]["fields"]["digits"] == json!(["42"])).then_some(())
    })
    .await;
    host.terminate().await;
    assert!(line.over().await.by_host);
    let key = host.key.clone();
    assert!(host.exit().await.success());

    // The caller heard the fallback, and what the script knew by then is not lost: it is told by this run or the next.
    let host =
        Host::start_with(Options { data: Some(folder.path().into()), key: Some(key), ..Options::default() }).await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "platform_shutdown", "{record}");
    assert_eq!(record["fields"]["digits"], json!(["42"]), "{record}");
    let said = record["transcript"].as_array().unwrap().last().unwrap();
    assert_eq!(said["text"], "Sorry, something went wrong.", "{record}");
    let told = business.next_at("/webhooks").await;
    assert_eq!(told.body["data"], record);
}

#[tokio::test]
async fn a_killed_host_closes_its_calls_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let business = Business::start().await;
    let mut options = Options { data: Some(folder.path().into()), ..Options::default() };
    let host = Host::start_with(options.clone()).await;
    options.key = Some(host.key.clone());
    host.publish_probe(None).await;
    let webhook =
        json!({ "url": business.url("/webhooks"), "secret": business.secret, "event_types": ["call.completed"] });
    host.post("/v1/webhooks", &webhook).await;
    let phone = Phone::new().await;
    let line = phone.dial_probe(&host, "silent", &[]).await;
    let id = eventually("the call in the books", async || {
        let calls = host.get("/v1/calls?state=active").await;
        // The answer too: what is known must not be lost.
        let call = calls["data"].get(0)?;
        (!call["answered_at"].is_null()).then(|| call["id"].as_str().unwrap().to_owned())
    })
    .await;
    host.kill().await;
    drop(line);

    // Twice, so that a second start would tell of it again if it could.
    let host = Host::start_with(options.clone()).await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["call_id"], id.as_str());
    assert_eq!(record["end_reason"], "platform_error", "{record}");
    assert_eq!(record["ended_by"], "platform");
    assert_eq!(record["outcome"], "answered", "{record}");
    assert!(host.stop().await.success());
    let host = Host::start_with(options).await;
    peer::call_probe(&host, "hello", &[]).await;
    let mut told = Vec::new();
    while told.iter().filter(|call| **call != id).count() == 0 {
        let event = business.next_at("/webhooks").await;
        assert_eq!(event.body["type"], "call.completed");
        told.push(event.body["data"]["call_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(told.iter().filter(|call| **call == id).count(), 1, "{told:?}");
}

// ---- a full disk

/// A file system of its own.
struct Mount {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Mount {
    /// None, with a word, where this user may not mount.
    fn new(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mount");
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { path, _folder: folder }),
            other => {
                #[allow(clippy::print_stderr, reason = "a test that does nothing says so")]
                {
                    eprintln!("skipped: this user may not mount a tmpfs: {other:?}");
                }
                None
            }
        }
    }

    /// Takes all room there is.
    fn fill(&self) {
        let mut file = File::create(self.path.join("filler")).unwrap();
        for size in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.path.join("filler")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the host that is being killed may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let Some(mount) = Mount::new("size=48m") else { return };
    let business = Business::start().await;
    let host = Host::start_with(Options { data: Some(mount.path.clone()), ..Options::default() }).await;
    host.publish_probe(Some(&business)).await;
    let webhook =
        json!({ "url": business.url("/webhooks"), "secret": business.secret, "event_types": ["call.completed"] });
    host.post("/v1/webhooks", &webhook).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "echo", &[("X-Probe-Count", "1")]).await;
    eventually("the call in the books", async || host.get("/v1/calls?state=active").await["data"].get(0).cloned())
        .await;

    // The running call does not notice; its result has nowhere to go for now.
    mount.fill();
    line.press("42#");
    assert!(line.over().await.by_host);
    eventually("a host that is not ready", async || {
        let (status, problem) = host.request(Method::GET, "/readyz", None).await;
        (status == 503 && problem["code"] == "results_not_stored").then_some(())
    })
    .await;
    for name in ["full-1", "full-2"] {
        says(&raw::ask_invite(host.sip, "2000", name).await, &["SIP/2.0 503", "Retry-After:"]);
    }
    assert!(host.completed().await.is_empty());

    // With room again, all goes on by itself.
    mount.empty();
    let event = business.next_at("/webhooks").await;
    assert_eq!(event.body["data"]["fields"]["digits"], json!(["42"]), "{}", event.body);
    assert_eq!(event.body["data"]["end_reason"], "script_returned", "{}", event.body);
    eventually("a host that is ready", async || {
        (host.request(Method::GET, "/readyz", None).await.0 == 200).then_some(())
    })
    .await;
    phone.dial_probe(&host, "hello", &[]).await.over().await;
    assert_eq!(host.finished_calls(2).await.len(), 2);
    assert!(host.stop().await.success());
}

// ---- configuration

#[tokio::test]
async fn flags_win_over_variables_and_these_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.toml");
    std::fs::write(
        &file,
        "data_dir = \"/from/file\"\n[http]\nbind = \"127.0.0.1:1001\"\n[calls]\nmax = 11\ngrace_ms = 12\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let output = peer::callbox(
        &["config", "--config", file, "--http", "127.0.0.1:3003"],
        &[
            ("CALLBOX_HTTP__BIND", "127.0.0.1:2002"),
            ("CALLBOX_CALLS__MAX", "22"),
            ("CALLBOX_OUTBOUND__USERNAME", "desk"),
            ("CALLBOX_OUTBOUND__PASSWORD", "open sesame"),
        ],
    )
    .await;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    says(&text, &["\"/from/file\"", "127.0.0.1:3003", "max = 22", "grace_ms = 12", "\"desk\""]);
    assert!(!text.contains("sesame"), "{text}");
    // What it prints is a file it reads.
    std::fs::write(file, &text).unwrap();
    let again = peer::callbox(&["config", "--config", file], &[]).await;
    assert_eq!(String::from_utf8(again.stdout).unwrap(), text);
}

#[tokio::test]
async fn a_wrong_configuration_names_the_value() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.toml");
    for (content, words) in [
        ("[calls]\nmaximum = 5\n", vec!["maximum", "host.toml"]),
        ("[cals]\nmax = 5\n", vec!["cals", "host.toml"]),
        ("[calls]\nmax = \"many\"\n", vec!["calls.max", "many"]),
        ("[calls]\nmax = -1\n", vec!["calls.max", "-1"]),
        ("[http]\nbind = \"here\"\n", vec!["http.bind", "host.toml"]),
        ("[media]\nfirst_port = 200\nlast_port = 100\n", vec!["media.first_port"]),
        ("[sip]\nudp = []\ntcp = []\n", vec!["sip.udp"]),
        ("calls = [[[\n", vec!["host.toml"]),
    ] {
        std::fs::write(&file, content).unwrap();
        let file = file.to_str().unwrap();
        says(&failed(&peer::callbox(&["config", "--config", file], &[]).await), &words);
        // Nothing starts with it either; here no flag stands in for what is wrong.
        says(&failed(&peer::callbox(&["serve", "--config", file, "--data-dir", "/dev/null/x"], &[]).await), &words);
    }
    says(&serve_fails(&["--config", "/nonexistent.toml"], &[]).await, &["/nonexistent.toml"]);
    says(&serve_fails(&[], &[("CALLBOX_CALLS__MAX", "lots")]).await, &["calls.max", "lots"]);
    says(&serve_fails(&[], &[("CALLBOX_CALLS__MAXIMUM", "5")]).await, &["maximum"]);
    says(&serve_fails(&[], &[("CALLBOX_LOG__FILTER", "info,,=,")]).await, &["log.filter"]);
    says(&serve_fails(&[], &[("CALLBOX_EGRESS__ALLOW", "[\"300.0.0.0/8\"]")]).await, &["300.0.0.0/8"]);
    says(&serve_fails(&[], &[("CALLBOX_OUTBOUND__USERNAME", "desk")]).await, &["outbound.password"]);
    says(&serve_fails(&[], &[("CALLBOX_STORE__URL", "postgres://db/x")]).await, &["postgres"]);
    says(&serve_fails(&["--rtp-ports", "nonsense"], &[]).await, &["--rtp-ports", "FIRST-LAST"]);
}

#[tokio::test]
async fn the_doctor_tells_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let ports = ["--http", "127.0.0.1:0", "--sip", "127.0.0.1:0"];
    let well = peer::callbox(&[&["doctor", "--data-dir", data], &ports[..]].concat(), &[]).await;
    let text = String::from_utf8_lossy(&well.stdout).into_owned();
    assert!(well.status.success(), "{text}");
    says(&text, &["data folder", "voice", "espeak-ng 1."]);

    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap().to_string();
    let ill = peer::callbox(
        &["doctor", "--data-dir", "/dev/null/callbox", "--http", &taken, "--sip", &taken],
        &[("CALLBOX_SPEECH__ESPEAK", "/nonexistent/espeak-ng")],
    )
    .await;
    let text = failed(&ill);
    says(
        &text,
        &["BAD data folder", "--data-dir", "BAD API port", "--http", "BAD SIP ports", "--sip", "BAD voice", "apt-get"],
    );
}

// ---- figures

#[tokio::test]
async fn prometheus_finds_the_figures_of_the_host() {
    let env = vec![
        ("CALLBOX_METRICS__BIND", "127.0.0.1:0".to_owned()),
        // A collector that is not there costs no call anything, and is seen.
        ("CALLBOX_TELEMETRY__OTLP", "http://127.0.0.1:9/v1/traces".to_owned()),
        ("CALLBOX_TELEMETRY__DELAY_MS", "50".to_owned()),
    ];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let trunk = host.post("/v1/trunks", &json!({ "name": "carrier", "inbound": { "networks": ["127.0.0.1"] } })).await;
    let trunk = trunk["id"].as_str().unwrap();
    eventually("a trunk in service", async || {
        let status = host.get(&format!("/v1/trunks/{trunk}/status")).await;
        (status["in_service"] == true).then_some(())
    })
    .await;
    let mut line = Phone::new().await.dial_probe(&host, "echo", &[("X-Probe-Count", "1")]).await;
    line.press("4#");
    line.over().await;
    host.finished_call().await;
    let url = format!("http://{}/metrics", host.ready["metrics"].as_str().unwrap());
    let text = eventually("spans that nobody took", async || {
        let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
        (!text.contains("callbox_trace_spans_total{result=\"failed\"} 0")).then_some(text)
    })
    .await;
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("{name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("callbox_sip_calls_total{direction=\"inbound\"}"), 1.0);
    assert_eq!(value("callbox_ready"), 1.0);
    assert_eq!(value("callbox_calls_ended_total{reason=\"script_returned\"}"), 1.0);
    for part in ["endpointing", "recognition", "script", "synthesis", "playout", "total"] {
        assert_eq!(value(&format!("callbox_turn_seconds_count{{part=\"{part}\"}}")), 1.0, "{part}");
    }
    assert_eq!(value("callbox_records_waiting"), 0.0);
    for (name, wanted) in [
        ("up{trunk=\"ID\"}", 1.0),
        ("registered{trunk=\"ID\"}", 1.0),
        ("calls_total{trunk=\"ID\",direction=\"inbound\"}", 1.0),
        ("calls_running{trunk=\"ID\",direction=\"inbound\"}", 0.0),
        ("refused_total{trunk=\"ID\"}", 0.0),
        ("failed_over_total{trunk=\"ID\"}", 0.0),
    ] {
        assert_eq!(value(&format!("callbox_trunk_{name}").replace("ID", trunk)), wanted, "{name}");
    }
    assert!(value("callbox_media_packets_total{direction=\"sent\"}") > 1.0);
    assert!(value("callbox_sip_messages_total{direction=\"received\"}") >= 3.0);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let api = reqwest::get(format!("http://{}/metrics", host.http)).await.unwrap();
    assert_eq!(api.status(), 404, "not where customers are");
    let described = std::fs::read_to_string(callbox_tests::root().join("docs/metrics.md")).unwrap();
    assert_eq!(shown(&text), described_figures(&described), "what is shown, and docs/metrics.md");
}

/// Names of figures with their types and labels: as Prometheus reads them.
fn shown(text: &str) -> BTreeMap<String, (String, String)> {
    let mut figures = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let (counted, suffix) = match kind {
            "counter" => (format!("{name}_total"), ""),
            "histogram" => (name.to_owned(), "_count"),
            _ => (name.to_owned(), ""),
        };
        let sample = format!("{counted}{suffix}");
        let labels = text.lines().find_map(|line| match line.strip_prefix(sample.as_str())?.split_once(' ')?.0 {
            "" => Some(String::new()),
            labels => Some(labels.strip_prefix('{')?.strip_suffix('}')?.to_owned()),
        });
        let labels = labels.unwrap_or_else(|| panic!("no {sample} in {text}"));
        let names: Vec<&str> = labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        figures.insert(counted, (kind.to_owned(), names.join(", ")));
    }
    figures
}

/// The same, as the tables of the description have them: name, type, labels, unit, meaning.
fn described_figures(page: &str) -> BTreeMap<String, (String, String)> {
    let rows = page.lines().filter(|line| line.starts_with("| `callbox_"));
    let row = |line: &str| {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [name, kind, labels, unit, meaning] = cells.try_into().unwrap();
        assert!(!unit.is_empty() && !meaning.is_empty(), "{line}");
        (name, (kind, if labels == "–" { String::new() } else { labels }))
    };
    rows.map(row).collect()
}
