//! What scripts cost: `cargo bench -p callbox --bench script -- target/guests/bench.wasm`. It is here and not in
//! the room of scripts, because compiling takes the whole program as `callbox compile-worker`.
//!
//! Prints one line of JSON. Times are of CPU and not of the clock, and the best of many rounds beside the middle one,
//! since whatever else the machine does only adds.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints, times, and stops when something is not as it should be"
)]

use callbox_dialogue::call::{Party, Transport};
use callbox_dialogue::script::{Playout, PlayoutEnd};
use callbox_dialogue::{CallId, CallInfo, HostCall, HostReply, Time};
use callbox_script::{Answered, Script, ScriptConfig, ScriptHost, Session};
use serde_json::{Value, json};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Scripts that wait at the same time.
const SUSPENDED: u32 = 1_000;
/// Host calls of one measurement.
const CALLS: u64 = 200_000;

/// Answers at once, and says stop after so many calls.
struct Instant {
    mode: &'static str,
    left: u64,
    stop: CancellationToken,
}

impl Session for Instant {
    async fn call(&mut self, call: HostCall) -> Answered {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.stop.cancel();
            return pending().await;
        }
        answer(self.mode, &call)
    }
}

/// Asks another task, as a live call does.
struct Asking {
    asked: mpsc::Sender<HostCall>,
    answers: mpsc::Receiver<Answered>,
}

impl Session for Asking {
    async fn call(&mut self, call: HostCall) -> Answered {
        self.asked.send(call).await.unwrap();
        match self.answers.recv().await {
            Some(answered) => answered,
            None => pending().await,
        }
    }
}

/// Lets the script wait in its first prompt for ever.
struct Suspended {
    waiting: Arc<AtomicU64>,
}

impl Session for Suspended {
    async fn call(&mut self, call: HostCall) -> Answered {
        if matches!(call, HostCall::Say { .. }) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            return pending().await;
        }
        answer("", &call)
    }
}

fn answer(mode: &str, call: &HostCall) -> Answered {
    let reply = match call {
        HostCall::GetInfo => HostReply::Info(Box::new(info(mode))),
        HostCall::Say { .. } => {
            let (end, heard_text) = (PlayoutEnd::Finished, "Hello.".to_owned());
            HostReply::Playout(Playout { end, played: 500, heard_text })
        }
        HostCall::Now => HostReply::Number(1),
        _ => HostReply::Done,
    };
    Answered::plain(Time::ZERO, Ok(reply))
}

fn info(mode: &str) -> CallInfo {
    let party = |user: &str| Party {
        uri: format!("sip:{user}@127.0.0.1"),
        number: Some("+493012345".to_owned()),
        display_name: None,
    };
    CallInfo {
        id: CallId("call_0".to_owned()),
        direction: callbox_dialogue::Direction::Inbound,
        transport: Transport::Sip,
        caller: party("caller"),
        callee: party("callee"),
        language: "en".to_owned(),
        headers: vec![("x-bench-mode".to_owned(), mode.to_owned())],
        parameters: None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let path =
        path.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/guests/bench.wasm").to_owned());
    let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}: run tools/guests bench"));
    let folder = tempfile::tempdir().unwrap();
    let mut config = ScriptConfig::new(folder.path(), env!("CARGO_BIN_EXE_callbox"));
    config.max_instances = SUSPENDED + 16;
    // The measurement asks more, and faster, than a script may.
    config.limits.host_calls_per_second = u32::MAX;
    config.limits.host_calls_burst = u32::MAX;
    (config.limits.cpu_per_turn_ms, config.limits.cpu_per_call_ms) = (60_000, 60_000);
    let host = ScriptHost::start(config).unwrap();
    let admission = host.admit(wasm.clone().into()).await.unwrap();
    let size = wasm.len();
    let script = host.load(&admission.digest, async || Ok(wasm.into())).await.unwrap();
    script.optimised().await;
    let tier = script.tier().as_str();

    let report = json!({
        "size": size,
        "tier": tier,
        "instantiate_us": instantiate(&host, &script).await,
        "short_script_us": short(&host, &script).await,
        "host_call_ns": {
            "now": host_call(&host, &script, "now").await,
            "set_32_bytes": host_call(&host, &script, "set").await,
            "now_through_a_task": asking(&host, &script).await,
        },
        "suspended": suspended(&host, &script).await,
    });
    println!("{report}");
}

/// An instance made and dropped.
async fn instantiate(host: &ScriptHost, script: &Script) -> Value {
    let mut times = Vec::new();
    for _ in 0..3_000 {
        let session = Instant { mode: "", left: u64::MAX, stop: CancellationToken::new() };
        times.push(host.instantiate(script, session).await.unwrap() as f64 / 1e3);
    }
    told(times)
}

/// A script from its instantiation to its end: four host calls.
async fn short(host: &ScriptHost, script: &Arc<Script>) -> Value {
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let before = cpu_ns();
        let session = Instant { mode: "", left: u64::MAX, stop: CancellationToken::new() };
        let run = host.run(script.clone(), CallId("call_0".to_owned()), session, true).await;
        times.push((cpu_ns() - before) as f64 / 1e3);
        assert_eq!(run.end, callbox_dialogue::ScriptEnd::Returned);
    }
    told(times)
}

/// One host call, answered at once.
async fn host_call(host: &ScriptHost, script: &Arc<Script>, mode: &'static str) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let stop = CancellationToken::new();
        let session = Instant { mode, left: CALLS, stop: stop.clone() };
        best = best.min(timed(host, script, session, stop).await);
    }
    best
}

/// One host call that another task answers: there and back through two channels.
async fn asking(host: &ScriptHost, script: &Arc<Script>) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let stop = CancellationToken::new();
        let (asked, mut calls) = mpsc::channel(1);
        let (answers, answered) = mpsc::channel(1);
        let end = stop.clone();
        tokio::spawn(async move {
            for _ in 0..CALLS {
                let Some(call) = calls.recv().await else { return };
                answers.send(answer("now", &call)).await.unwrap();
            }
            end.cancel();
            // Keeps the channel open, so that the script waits.
            calls.recv().await;
            let _ = answers;
        });
        best = best.min(timed(host, script, Asking { asked, answers: answered }, stop).await);
    }
    best
}

async fn timed<S: Session>(host: &ScriptHost, script: &Arc<Script>, session: S, stop: CancellationToken) -> f64 {
    let (seat, before) = (host.reserve().unwrap(), cpu_ns());
    let id = CallId("call_0".to_owned());
    let run = host.run_until(seat, script.clone(), id, session, false, stop.cancelled()).await;
    assert!(run.usage.host_calls >= CALLS - 1, "{:?}", run.end);
    (cpu_ns() - before) as f64 / CALLS as f64
}

/// What scripts that wait for their prompt's end hold, each.
async fn suspended(host: &ScriptHost, script: &Arc<Script>) -> Value {
    let waiting = Arc::new(AtomicU64::new(0));
    let before = memory();
    let mut stops = Vec::new();
    let mut runs = Vec::new();
    for n in 0..SUSPENDED {
        let (seat, session) = (host.reserve().unwrap(), Suspended { waiting: waiting.clone() });
        let (stop, stopped) = oneshot::channel::<()>();
        let (host, script) = (host.clone(), script.clone());
        stops.push(stop);
        runs.push(tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            host.run_until(seat, script, CallId(format!("call_{n}")), session, true, stop).await
        }));
    }
    while waiting.load(Ordering::Relaxed) < u64::from(SUSPENDED) {
        tokio::task::yield_now().await;
    }
    let after = memory();
    drop(stops);
    let mut linear = 0;
    for run in runs {
        linear = linear.max(run.await.unwrap().usage.peak_memory);
    }
    let each = |name: &str| (after(name).saturating_sub(before(name))) as f64 / f64::from(SUSPENDED);
    json!({
        "count": SUSPENDED,
        "private_dirty_kib": each("Private_Dirty"),
        "page_tables_kib": each("VmPTE"),
        "linear_memory_kib": linear / 1024,
    })
}

/// What the kernel says of this process, in KiB.
fn memory() -> impl Fn(&str) -> u64 {
    let text = ["smaps_rollup", "status"].map(|file| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap());
    move |name| {
        let line = text.iter().flat_map(|text| text.lines()).find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn told(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    let at = |permille: usize| times[(times.len() - 1) * permille / 1_000];
    json!({ "best": at(0), "p50": at(500), "p99": at(990) })
}

fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}
