//! A small answering machine under SIPp. Ignored where the suite runs by default (it needs Debian's `sip-tester` and
//! the processor for itself): `cargo test -p callbox-sip --test sipp -- --ignored --nocapture`; `SIPP_RATE` and
//! `SIPP_CALLS` set the load.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a measurement that may panic and talks to a person")]

use callbox_sip::{DialogEvent, IncomingCall, SipConfig, SipLimits, SipStack, Transport};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

const ANSWER: &[u8] =
    b"v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

async fn machine(mut calls: mpsc::Receiver<IncomingCall>) {
    while let Some(mut call) = calls.recv().await {
        tokio::spawn(async move {
            if call.dialog.ring().await.is_err() || call.dialog.answer(ANSWER.to_vec()).await.is_err() {
                return;
            }
            while let Some(event) = call.events.recv().await {
                if matches!(event, DialogEvent::Ended { .. }) {
                    break;
                }
            }
        });
    }
}

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// User and system time of this process in milliseconds.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

async fn run(transport: Transport, rate: u32, calls: u32, limits: SipLimits, extra: &[&str]) -> bool {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = SipConfig { udp: vec![any], tcp: vec![any], limits, ..SipConfig::default() };
    let (stack, incoming) = SipStack::start(config).await.unwrap();
    tokio::spawn(machine(incoming));
    let address = stack.local_addrs().into_iter().find(|(t, _)| *t == transport).unwrap().1;
    let mut command = Command::new("sipp");
    command.args([
        "-sn",
        "uac",
        &address.to_string(),
        "-i",
        "127.0.0.1",
        "-nostdin",
        "-timeout",
        "120",
        "-timeout_error",
    ]);
    command.args(["-t", if transport == Transport::Tcp { "t1" } else { "u1" }]);
    command.args(["-r", &rate.to_string(), "-m", &calls.to_string(), "-l", "4000", "-recv_timeout", "10000"]);
    command.args(extra).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let before = cpu_ms();
    let started = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let took = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - started;
    let cpu = cpu_ms() - before;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let text = String::from_utf8_lossy(&output.stdout);
    let summary: Vec<&str> = text.lines().filter(|l| l.contains("call(s)") || l.contains("Call Rate")).collect();
    eprintln!("{rate} calls/s over {transport}: {took:?}, {} us CPU per call", cpu * 1000 / u64::from(calls));
    eprintln!("  {}", summary.last().unwrap_or(&""));
    for line in
        text.lines().filter(|l| l.contains("Successful call") || l.contains("Failed call") || l.contains("Retrans"))
    {
        eprintln!("  {}", line.trim());
    }
    eprintln!("  {:?}", stack.stats());
    stack.shutdown().await;
    output.status.success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs sipp and a quiet machine"]
async fn basic_calls_over_udp() {
    let (rate, calls) = (setting("SIPP_RATE", 200), setting("SIPP_CALLS", 2_000));
    let limits = SipLimits { invites_per_second: 5_000, max_calls: 10_000, ..SipLimits::default() };
    assert!(run(Transport::Udp, rate, calls, limits, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs sipp and a quiet machine"]
async fn basic_calls_over_tcp() {
    let (rate, calls) = (setting("SIPP_RATE", 200), setting("SIPP_CALLS", 2_000));
    let limits = SipLimits { invites_per_second: 5_000, max_calls: 10_000, ..SipLimits::default() };
    assert!(run(Transport::Tcp, rate, calls, limits, &[]).await);
}

/// Early media, PRACK, UPDATE, refreshes: every answer is checked by the scenario.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs sipp"]
async fn provisional_responses_updates_and_refreshes() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (stack, mut calls) = SipStack::start(SipConfig { udp: vec![any], ..SipConfig::default() }).await.unwrap();
    let address = stack.local_addrs()[0].1;
    tokio::spawn(async move {
        while let Some(mut call) = calls.recv().await {
            tokio::spawn(async move {
                call.dialog.progress(ANSWER.to_vec()).await.unwrap();
                call.dialog.ring().await.unwrap();
                while let Some(event) = call.events.recv().await {
                    // Once, before the answer: the refreshes do not get here.
                    if let DialogEvent::Reinvite { sdp: Some(_) } = event {
                        call.dialog.answer_reinvite(Ok(ANSWER.to_vec())).await.unwrap();
                        call.dialog.answer(ANSWER.to_vec()).await.unwrap();
                    }
                }
            });
        }
    });
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/reliable.xml");
    let mut command = Command::new("sipp");
    command.args(["-sf", scenario, &address.to_string(), "-i", "127.0.0.1", "-nostdin", "-m", "20", "-r", "20"]);
    command.args(["-recv_timeout", "5000", "-timeout", "60", "-timeout_error"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    stack.shutdown().await;
}

/// Our calls to SIPp's answering machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs sipp and a quiet machine"]
async fn calls_that_we_place() {
    const OFFER: &[u8] =
        b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut sipp = Command::new("sipp");
    sipp.args(["-sn", "uas", "-i", "127.0.0.1", "-p", &port.to_string(), "-nostdin"]);
    let mut sipp = sipp.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (stack, _) = SipStack::start(SipConfig { udp: vec![any], ..SipConfig::default() }).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    let calls = setting("SIPP_CALLS", 1_000);
    let mut pace = tokio::time::interval(Duration::from_micros(1_000_000 / u64::from(setting("SIPP_RATE", 200))));
    for _ in 0..calls {
        pace.tick().await;
        let stack = stack.clone();
        tasks.spawn(async move {
            let call = callbox_sip::OutgoingCall {
                target: format!("sip:service@127.0.0.1:{port}"),
                offer: Some(OFFER.to_vec()),
                ..callbox_sip::OutgoingCall::default()
            };
            let (dialog, mut events) = stack.call(call).await.unwrap();
            let mut answered = false;
            while let Some(event) = events.recv().await {
                match event {
                    DialogEvent::Answered { sdp: Some(_) } => {
                        answered = true;
                        dialog.hangup(None).await.unwrap();
                    }
                    DialogEvent::Ended { by_remote, .. } => return answered && !by_remote,
                    _ => {}
                }
            }
            false
        });
    }
    let good = tasks.join_all().await.into_iter().filter(|good| *good).count();
    stack.clone().shutdown().await;
    eprintln!("{good} of {calls} calls; {:?}", stack.stats());
    sipp.kill().unwrap();
    sipp.wait().unwrap();
    assert_eq!(good, calls as usize);
}

/// Four times what is admitted: some fail by design, and it must not be more than is shed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs sipp and a quiet machine"]
async fn more_calls_than_are_admitted() {
    let limits = SipLimits { invites_per_second: 100, ..SipLimits::default() };
    run(Transport::Udp, setting("SIPP_RATE", 400), setting("SIPP_CALLS", 2_000), limits, &[]).await;
}
