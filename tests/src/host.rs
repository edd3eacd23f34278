//! A real host, started by a test and stopped with it.

use crate::{SOON, binary, eventually, guest};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How a host is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Variables, for example `("CALLBOX_CALLS__GRACE_MS", "300")`.
    pub env: Vec<(&'static str, String)>,
    /// Flags after `callbox serve`.
    pub flags: Vec<String>,
    /// A data folder that outlives the host.
    pub data: Option<PathBuf>,
    /// Without a first key in the output: the key of an earlier run on the same data.
    pub key: Option<String>,
    /// Customers' URLs may not reach private addresses, as in a real deployment.
    pub guarded: bool,
    /// Where it takes SIP, and what it tells others; 127.0.0.1 where nothing is given.
    pub sip: Option<IpAddr>,
    /// The port of that; any free one where it is 0.
    pub sip_port: u16,
    /// It runs in this network namespace, and its API is at this address of it.
    pub inside: Option<(String, IpAddr)>,
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    /// Where SIP over UDP is taken.
    pub sip: SocketAddr,
    /// Where SIP over TCP is taken.
    pub sip_tcp: SocketAddr,
    /// Where the API is.
    pub http: SocketAddr,
    /// Its first key.
    pub key: String,
    /// Its data.
    pub data: PathBuf,
    /// What it said when it was ready: all its addresses.
    pub ready: Value,
    /// Its process.
    pub child: Child,
    client: Client,
    _folder: Option<TempDir>,
    _output: Lines<BufReader<ChildStdout>>,
}

/// One that keeps no connection between its requests: a host closes those that are idle, at the very moment of the next
/// request if it so happens.
fn client() -> Client {
    Client::builder().pool_max_idle_per_host(0).build().unwrap()
}

impl Host {
    /// Starts one with defaults that fit tests.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts one.
    pub async fn start_with(options: Options) -> Self {
        let folder = options.data.is_none().then(|| tempfile::tempdir().unwrap());
        let data = options.data.clone().unwrap_or_else(|| folder.as_ref().unwrap().path().to_path_buf());
        std::fs::create_dir_all(&data).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("host.log")).unwrap();
        let here = IpAddr::from([127, 0, 0, 1]);
        let sip = options.sip.unwrap_or(here);
        let (mut command, http) = match &options.inside {
            None => (Command::new(binary()), here),
            Some((namespace, address)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(binary());
                (command, *address)
            }
        };
        let mut child = command
            .args([
                "serve",
                "--http",
                &SocketAddr::new(http, 0).to_string(),
                "--sip",
                &SocketAddr::new(sip, options.sip_port).to_string(),
            ])
            .args(["--advertise", &sip.to_string()])
            .args(["--log", "info,callbox_call=debug,callbox_sip=debug", "--data-dir"])
            .arg(&data)
            .args((!options.guarded).then_some("--allow-private"))
            .args(&options.flags)
            .env("CALLBOX_HTTP__REQUESTS_PER_SECOND", "1000")
            .envs(options.env.iter().map(|(name, value)| (*name, value.as_str())))
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut key = options.key;
        let ready = loop {
            let line = timeout(SOON, output.next_line()).await.expect("the host starts in time").unwrap();
            let line = line.unwrap_or_else(|| {
                panic!("the host did not start: {}", std::fs::read_to_string(data.join("host.log")).unwrap_or_default())
            });
            let event: Value = serde_json::from_str(&line).unwrap();
            match event["event"].as_str() {
                Some("first_key") => key = event["key"].as_str().map(ToOwned::to_owned),
                Some("ready") => break event,
                _ => {}
            }
        };
        let address = |transport: &str| {
            let all = ready["sip"].as_array().unwrap();
            let found = all.iter().filter_map(Value::as_str).find_map(|text| text.strip_prefix(transport)).unwrap();
            found.trim().parse().unwrap()
        };
        Self {
            sip: address("udp"),
            sip_tcp: address("tcp"),
            http: ready["http"].as_str().unwrap().parse().unwrap(),
            key: key.expect("a key"),
            data,
            ready,
            child,
            client: client(),
            _folder: folder,
            _output: output,
        }
    }

    /// Where it listens: `udp`, `tcp`, `tls`, `ws` or `wss`.
    #[must_use]
    pub fn listener(&self, transport: &str) -> SocketAddr {
        let all = self.ready["sip"].as_array().unwrap().iter().filter_map(Value::as_str);
        let mut found = all.filter_map(|text| text.split_once(' ')).filter(|(name, _)| *name == transport);
        found.next().unwrap_or_else(|| panic!("no {transport} in {}", self.ready)).1.trim().parse().unwrap()
    }

    /// What the host has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("host.log")).unwrap_or_default()
    }

    /// From now on the API is asked by new connections: the way to it is another.
    pub fn reconnect(&mut self) {
        self.client = client();
    }

    /// A request to the API: status and JSON.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("http://{}{path}", self.http)).bearer_auth(&self.key);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status();
        let bytes = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// A request that must succeed.
    pub async fn ok(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.request(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path} answered {status}: {answer}");
        answer
    }

    /// GET that must succeed.
    pub async fn get(&self, path: &str) -> Value {
        self.ok(Method::GET, path, None).await
    }

    /// GET of a text that must succeed.
    pub async fn text(&self, path: &str) -> String {
        let request = self.client.get(format!("http://{}{path}", self.http)).bearer_auth(&self.key);
        request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    /// GET of a file that must succeed.
    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let request = self.client.get(format!("http://{}{path}", self.http)).bearer_auth(&self.key);
        request.send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap().into()
    }

    /// POST that must succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.ok(Method::POST, path, Some(body)).await
    }

    /// Uploads a component: status and JSON.
    pub async fn upload(&self, script: &str, wasm: Vec<u8>) -> (StatusCode, Value) {
        let response = self
            .client
            .post(format!("http://{}/v1/scripts/{script}/versions", self.http))
            .bearer_auth(&self.key)
            .header("content-type", "application/wasm")
            .body(wasm)
            .send()
            .await
            .unwrap();
        let status = response.status();
        let bytes = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Uploads, binds and publishes a guest and puts it on a number. The script's id.
    pub async fn publish(&self, guest_name: &str, number: &str, bindings: &Value, extra: &Value) -> String {
        let script = self.post("/v1/scripts", &json!({ "name": format!("{guest_name}-{number}") })).await;
        let script = script["id"].as_str().unwrap().to_owned();
        let (status, version) = self.upload(&script, guest(guest_name)).await;
        assert!(status.is_success(), "{version}");
        self.ok(Method::PUT, &format!("/v1/scripts/{script}/bindings"), Some(bindings)).await;
        self.post(&format!("/v1/scripts/{script}/publish"), &json!({ "version": version["version"] })).await;
        let mut body = json!({ "address": number, "script_id": script });
        body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
        self.post("/v1/numbers", &body).await;
        script
    }

    /// The probe guest on number 2000, bound to a business system where there is one.
    pub async fn publish_probe(&self, business: Option<&crate::Business>) -> String {
        let bindings = probe_bindings(business);
        let fallback = json!({ "fallback": { "say": [{ "text": "Sorry, something went wrong." }] } });
        self.publish("probe", "2000", &bindings, &fallback).await
    }

    /// The only call of this host, once it is over and its record is kept.
    pub async fn finished_call(&self) -> Value {
        eventually("a call that is over", async || {
            let calls = self.get("/v1/calls?state=completed").await;
            let id = calls["data"].get(0)?["id"].as_str()?.to_owned();
            Some(self.get(&format!("/v1/calls/{id}")).await)
        })
        .await
    }

    /// The calls that are over, once there are as many.
    pub async fn finished_calls(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} calls that are over"), async || {
            let mut all = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = self.get(&format!("/v1/calls?state=completed&limit=100{cursor}")).await;
                all.extend(page["data"].as_array()?.iter().cloned());
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            (all.len() >= count).then_some(all)
        })
        .await
    }

    /// The calls that are over and whose record is kept.
    pub async fn completed(&self) -> Vec<Value> {
        self.get("/v1/calls?state=completed&limit=100").await["data"].as_array().unwrap().clone()
    }

    /// Waits until so many calls run.
    pub async fn runs(&self, calls: u64) {
        eventually(&format!("{calls} running calls"), async || {
            (self.get("/healthz").await["calls"] == calls).then_some(())
        })
        .await;
    }

    /// Memory of its process, in kilobytes.
    #[must_use]
    pub fn memory_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().expect("it runs"))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Asks it to stop as an operator would.
    pub async fn terminate(&self) {
        let pid = self.child.id().expect("it runs");
        let killed = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.unwrap();
        assert!(killed.success());
    }

    /// Waits until it has stopped by itself.
    pub async fn exit(mut self) -> std::process::ExitStatus {
        timeout(SOON, self.child.wait()).await.expect("it stops in time").unwrap()
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(self) -> std::process::ExitStatus {
        self.terminate().await;
        self.exit().await
    }

    /// Ends it without a chance to tidy up.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// What the probe's names are bound to: paths of a business system, or nowhere.
#[must_use]
pub fn probe_bindings(business: Option<&crate::Business>) -> Value {
    // Names that are not bound cannot be published: without a system they lead nowhere.
    let at = |path: &str| match business {
        Some(business) => (business.url(path), Some(business.secret.clone())),
        None => ("http://127.0.0.1:9".to_owned(), None),
    };
    let source = |path: &str| {
        let (url, secret) = at(path);
        json!({ "url": url, "secret": secret, "timeout_ms": 1000 })
    };
    let (sink, secret) = at("/sink");
    json!({
        "sources": { "early": source("/early"), "late": source("/late") },
        "destinations": { "sink": { "url": sink, "secret": secret } },
    })
}
