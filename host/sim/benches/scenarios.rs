//! What scenarios cost: `cargo bench -p callbox-sim --bench scenarios [-- COMPONENT SCENARIOS...]`.
//!
//! Plays the scenarios of some files again and again on one core; without arguments those of a small menu. Prints one
//! line of JSON: scenarios a second, what a component costs that is compiled and one that is in the cache, random calls
//! a second. Everything a scenario costs is in it but reading its file and compiling the component: an instance, its
//! memory, the dialogue, what is seen of it, the verdict.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints, times, and stops when something is not as it should be"
)]

#[path = "../tests/guests/mod.rs"]
mod guests;

use bytes::Bytes;
use callbox_sim::explore::{Base, Knowledge, Options, explore};
use callbox_sim::scenario::{Run, Suite, tell};
use callbox_sim::{Stage, StageOptions, Theatre};
use guests::{BOTH, Cut, KEY, Listen, script};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long is measured.
const TIME: Duration = Duration::from_secs(3);
/// Calls of the fuzz caller.
const RANDOM: u64 = 2_000;

const MENU: &str = r##"
scenarios:
  - name: speech, a key that interrupts, and a number
    steps:
      - expect: "How can we help"
      - say: I would like an appointment
      - node: menu
      - interrupt: {after: 1.2s, press: "2"}
      - node: number
      - expect: "Enter your number"
      - press: "4711#"
      - expect: "Thank you"
      - ended: {by: script}
  - name: somebody who says nothing
    steps:
      - expect: "How can we help"
      - silence: true
      - expect: "Press one"
      - silence: true
      - expect: "Enter your number"
      - hang_up: true
"##;

fn main() {
    // One core: what the host does beside the call, on another thread, is nothing but the epoch's tick.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{}", runtime.block_on(measure()));
}

async fn measure() -> Value {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (component, texts) = match arguments.split_first() {
        Some((component, files)) => {
            let texts: Vec<_> =
                files.iter().map(|file| (file.clone(), std::fs::read_to_string(file).unwrap())).collect();
            (Bytes::from(std::fs::read(component).unwrap()), texts)
        }
        None => (menu(), vec![("menu.yaml".to_owned(), MENU.to_owned())]),
    };
    let runs: Vec<Run> = texts
        .iter()
        .flat_map(|(file, text)| Suite::read(file, text).unwrap_or_else(|problems| panic!("{}", tell(&problems))).runs)
        .collect();

    let cache = tempfile::tempdir().unwrap();
    let options = StageOptions { cache: cache.path().to_owned(), ..guests::options() };
    let mut loads = Vec::new();
    for _ in 0..6 {
        let began = Instant::now();
        let stage = Theatre::open(&options).unwrap().stage(component.clone()).await.unwrap();
        loads.push((began.elapsed(), stage));
    }
    let stage = loads.last().map(|(_, stage)| stage.clone()).unwrap();
    let (compiled, cached) = (loads[0].0, loads[1..].iter().map(|(took, _)| *took).min().unwrap());

    for run in &runs {
        let verdict = run.play(&stage).await;
        assert!(verdict.failure.is_none(), "{}: {:?}", run.name, verdict.failure);
    }
    let (began, before) = (Instant::now(), cpu_ns());
    let (mut count, mut virtual_ms, mut host_calls) = (0_u64, 0, 0);
    while began.elapsed() < TIME {
        for run in &runs {
            let told = run.play(&stage).await.told;
            count += 1;
            virtual_ms += told.ended.0;
            host_calls += told.run.usage.host_calls;
        }
    }
    let (took, cpu) = (began.elapsed().as_secs_f64(), (cpu_ns() - before) as f64);
    let random = random(&stage, &runs).await;
    json!({
        "scenarios": runs.len(),
        "size": component.len(),
        "per_second": count as f64 / took,
        "us": took * 1e6 / count as f64,
        "cpu_us": cpu / 1e3 / count as f64,
        "virtual_s": virtual_ms as f64 / 1e3 / count as f64,
        "host_calls": host_calls as f64 / count as f64,
        "compile_ms": compiled.as_secs_f64() * 1e3,
        "cached_ms": cached.as_secs_f64() * 1e3,
        "random_per_second": random,
    })
}

/// CPU time of this thread, on which everything runs, in nanoseconds.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Calls of the fuzz caller in a second.
async fn random(stage: &Stage, runs: &[Run]) -> f64 {
    let bases = runs.iter().filter_map(Base::of).collect();
    let mut knows = Knowledge::default();
    runs.iter().flat_map(|run| &run.steps).for_each(|placed| knows.learn(&placed.step));
    let began = Instant::now();
    let report = explore(stage, bases, knows, &Options { calls: RANDOM, ..Options::default() }, |_| true).await;
    report.calls as f64 / began.elapsed().as_secs_f64()
}

/// A small menu: speech, a key, a number.
fn menu() -> Bytes {
    script(|script| {
        script.on_call("answer");
        script.ask("Good morning. How can we help you today?", Cut::Both, BOTH).node("menu");
        script.ask("Press one for an appointment, two for a person.", Cut::Both, BOTH).node("number");
        script.ask(
            "Enter your number, then the hash key.",
            Cut::Digits,
            Listen { digits: Some((1, 8)), terminator: Some('#'), ..KEY },
        );
        script.with("disposition", "done").log("done").say("Thank you. Goodbye.", Cut::Nothing);
    })
}
