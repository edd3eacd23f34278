//! Far ends: our own caller, SIPp, baresip.

use crate::{Host, binary};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Longest run of a peer.
const LONGEST: Duration = Duration::from_secs(150);

/// A call by `callbox call`, to its end.
#[derive(Debug)]
pub struct Called {
    /// Its exit status was 0: the call was answered.
    pub answered: bool,
    /// What it told, in order.
    pub events: Vec<Value>,
}

impl Called {
    /// The first event of a kind.
    #[must_use]
    pub fn event(&self, kind: &str) -> Option<&Value> {
        self.events.iter().find(|event| event["event"] == kind)
    }
}

/// Calls a number of the host with `callbox call` and these flags.
pub async fn call(host: &Host, number: &str, flags: &[&str]) -> Called {
    let mut command = Command::new(binary());
    command.args(["call", &format!("sip:{number}@{}", host.sip), "--json"]).args(flags);
    let output = run(command).await;
    let text = String::from_utf8_lossy(&output.stdout);
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Called { answered: output.status.success(), events }
}

/// Calls the probe in a mode.
pub async fn call_probe(host: &Host, mode: &str, flags: &[&str]) -> Called {
    let mode = format!("X-Probe-Mode: {mode}");
    let mut all = vec!["--header", mode.as_str()];
    all.extend(flags);
    call(host, "2000", &all).await
}

/// Runs the program with these arguments and variables to its end.
pub async fn callbox(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).envs(env.iter().copied());
    run(command).await
}

/// Runs a SIPp scenario of `tests/sipp` against the host until `count` calls are done. Panics with SIPp's own
/// words when one failed.
pub async fn sipp(host: &Host, scenario: &str, number: &str, count: u32, flags: &[&str]) {
    sipp_to(host.sip, scenario, number, count, flags).await;
}

/// The same, against whatever takes SIP at this address.
pub async fn sipp_to(address: SocketAddr, scenario: &str, number: &str, count: u32, flags: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::root().join("tests/sipp").join(format!("{scenario}.xml"));
    assert!(file.is_file(), "{}", file.display());
    let mut command = Command::new("sipp");
    command
        .current_dir(folder.path())
        .arg(address.to_string())
        .args(["-sf".as_ref(), file.as_os_str()])
        .args(["-s", number, "-m", &count.to_string(), "-i", "127.0.0.1", "-p", &free_port().to_string()])
        .args(["-nostdin", "-trace_err", "-timeout", "90", "-timeout_error"])
        .args(flags);
    let output = run(command).await;
    assert!(output.status.success(), "{scenario}: {}", words(folder.path(), &output));
}

/// A SIPp that takes calls.
#[derive(Debug)]
pub struct Callee {
    /// Where it takes them: `127.0.0.1:port`.
    pub address: String,
    folder: tempfile::TempDir,
    child: tokio::process::Child,
}

impl Callee {
    /// Starts SIPp with a scenario of `tests/sipp` for one call.
    pub async fn start(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let file = crate::root().join("tests/sipp").join(format!("{scenario}.xml"));
        let child = Command::new("sipp")
            .current_dir(folder.path())
            .args(["-sf".as_ref(), file.as_os_str()])
            .args(["-m", "1", "-i", "127.0.0.1", "-p", &port.to_string()])
            .args(["-nostdin", "-trace_err", "-timeout", "60", "-timeout_error"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        crate::eventually("SIPp listens", async || std::net::UdpSocket::bind(("127.0.0.1", port)).err()).await;
        Self { address: format!("127.0.0.1:{port}"), folder, child }
    }

    /// Waits until its call went as the scenario says.
    pub async fn done(self) {
        let output = timeout(LONGEST, self.child.wait_with_output()).await.expect("SIPp ends in time").unwrap();
        assert!(output.status.success(), "{}", words(self.folder.path(), &output));
    }
}

fn words(folder: &Path, output: &Output) -> String {
    let mut words = String::from_utf8_lossy(&output.stderr).into_owned();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        words.push_str(&std::fs::read_to_string(entry.path()).unwrap_or_default());
    }
    let tail = words.len().saturating_sub(4_000);
    words.get(tail..).unwrap_or(&words).to_owned()
}

/// Ports below those that the kernel hands out (32,768 and up, Linux), and above the media of hosts and of other phones.
const OURS: std::ops::Range<u16> = 32_100..32_768;

/// A port that is free now, for UDP and for TCP, and that nobody gets by chance before it is used: neither the kernel nor
/// another test of this program is asked for it.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let free = |port: &u16| {
        let here = ("127.0.0.1", *port);
        std::net::UdpSocket::bind(here).is_ok() && std::net::TcpListener::bind(here).is_ok()
    };
    // Another program of tests may run beside this one: each begins elsewhere.
    let first = u16::try_from(std::process::id() * 37 % u32::from(OURS.end - OURS.start)).unwrap();
    let some = || OURS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % (OURS.end - OURS.start);
    std::iter::repeat_with(some).take(OURS.len()).find(free).expect("a free port")
}

async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    timeout(LONGEST, command.output()).await.expect("the peer ends in time").expect("the peer is installed")
}
