//! What a replay costs: `cargo bench -p callbox-sim --bench replay [-- FOLDER]`.
//!
//! A script talks for ten minutes in the simulator; its tape is read, replayed, and made into a scenario that is played.
//! With a folder, tape and component are left there for whoever measures the command. Prints one line of JSON:
//! milliseconds of the clock, the best of many rounds and the middle one. Compiling is not in it.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints, times, and stops when something is not as it should be"
)]

#[path = "../tests/guests/mod.rs"]
mod guests;

use callbox_dialogue::Time;
use callbox_script::Tape;
use callbox_sim::replay::scenario::from_tape;
use callbox_sim::replay::{self, LookPast, Verdict};
use callbox_sim::scenario::Suite;
use callbox_sim::{Act, Situation, StageOptions, Theatre, Timetable};
use guests::{Cut, KEY, script};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Rounds of one measurement.
const ROUNDS: usize = 200;
/// The call's length.
const TEN_MINUTES: u64 = 600_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let figures = runtime.block_on(measure());
    println!("{figures}");
}

async fn measure() -> Value {
    let component = script(|script| {
        script.on_call("answer").say("Good morning. This will take ten minutes.", Cut::Nothing);
        script.forever(|script| {
            script.node("menu").now();
            script.ask("For another question press one, and for the same question press two.", Cut::Digits, KEY);
            script.on_key('1', |script| {
                script.with("disposition", "one").log("pressed one").say("Very well, here is another.", Cut::Digits);
            });
        });
    });
    // A key in the middle of each second question, and one after it.
    let presses = (0..).map(|n| Time(6_000 + n * 4_100)).take_while(|at| at.0 < TEN_MINUTES);
    let presses = presses.enumerate().map(|(n, at)| (at, Act::Press { digit: if n % 3 == 2 { '2' } else { '1' } }));
    let acts: Vec<_> = presses.chain([(Time(TEN_MINUTES), Act::HangUp)]).collect();
    let stage = Theatre::open(&guests::options()).unwrap().stage(component.clone()).await.unwrap();
    let told = stage.play(&Situation::default(), &mut Timetable::new(acts)).await;
    let text = told.run.tape.to_json_lines();
    let recording = Arc::new(Tape::read(&text).unwrap());
    assert!(recording.header.complete && told.ended.0 >= TEN_MINUTES, "{:?}", told.run.end);

    let limits = StageOptions { limits: replay::limits(&recording), ..guests::options() };
    let stage = Theatre::open(&limits).unwrap().stage(component.clone()).await.unwrap();
    let read = rounds(async || drop(Tape::read(&text).unwrap())).await;
    let replayed = rounds(async || {
        let run = replay::run(stage.host(), stage.script().clone(), recording.clone(), LookPast::default()).await;
        assert_eq!(run.unwrap().verdict, Verdict::Same);
    })
    .await;
    let scenario = rounds(async || {
        let made = from_tape(&recording, stage.manifest(), "ten minutes").file.to_yaml();
        let suite = Suite::read("made.yaml", &made).unwrap();
        suite.runs[0].play(&stage).await;
    })
    .await;
    if let Some(folder) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) {
        let folder = Path::new(&folder);
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("ten-minutes.jsonl"), &text).unwrap();
        std::fs::write(folder.join("ten-minutes.wasm"), &component).unwrap();
    }
    json!({
        "host_calls": recording.entries.len(), "bytes": text.len(),
        "read_ms": read, "replay_ms": replayed, "scenario_ms": scenario,
    })
}

async fn rounds<F: Future<Output = ()>>(mut round: impl FnMut() -> F) -> Value {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        round().await;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    json!({ "best": times[0], "p50": times[ROUNDS / 2] })
}
