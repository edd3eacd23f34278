//! The same rules everywhere: scenarios of the examples, played in the simulator and on a live host over SIP, leave the
//! same call – what was said and heard, what came of it, what was sent, and what the script asked the host, in order.
//!
//! What differs on purpose: times; how much of a prompt was heard when it was cut off, by a word (the simulator speaks at
//! the pace of the live voice, and its caller breaks in at the word at which the live one did); the text of a failure
//! that a business system had, behind its kind. What cannot be live is said when the test runs: see `why_not`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_dialogue::script::{Heard, Playout, PlayoutEnd};
use callbox_dialogue::{HostCall, HostReply, Reply};
use callbox_sim::scenario::Suite;
use callbox_sim::{Stage, StageOptions, Theatre, Told};
use callbox_tests::{Host, Options, Phone, Play, Played, binary, guest, root, why_not};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A play on a live host takes as long as its call. What takes longer than this in the simulator is left out.
const LONGEST: u64 = 45_000;
/// Plays at a time.
const AT_ONCE: usize = 48;

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_go_over_sip_as_they_go_in_the_simulator() {
    // Every case of every scenario: PARITY=all. Else one of each.
    let all = std::env::var_os("PARITY").is_some();
    let env = vec![("CALLBOX_OUTBOUND__ALLOWED_HOSTS", "[\"127.0.0.1\"]".into())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    let cache = tempfile::tempdir().unwrap();
    let theatre = Theatre::open(&StageOptions::new(cache.path(), binary())).unwrap();

    let mut plays = Vec::new();
    let mut left_out: BTreeMap<&str, u32> = BTreeMap::new();
    for example in ["appointment", "collections", "hours", "survey"] {
        let stage = theatre.stage(guest(example).into()).await.unwrap();
        for file in scenario_files(example) {
            let text = std::fs::read_to_string(&file).unwrap();
            let mut seen = String::new();
            for run in Suite::read(&file, &text).unwrap().runs {
                let scenario = run.name.split(" [").next().unwrap_or_default().to_owned();
                let longest = run.play(&stage).await.told.ended.0 > LONGEST;
                let reason = why_not(&run)
                    .or_else(|| longest.then_some("it takes longer than anybody wants to wait"))
                    .or_else(|| (!all && seen == scenario).then_some("another case of the same scenario is played"));
                match reason {
                    Some(reason) => *left_out.entry(reason).or_default() += 1,
                    None => {
                        seen = scenario;
                        plays.push((example, stage.clone(), text.clone(), run.name));
                    }
                }
            }
        }
    }
    #[allow(clippy::print_stderr, reason = "a test that leaves something out says so")]
    {
        eprintln!("{} scenarios are played live; not so:", plays.len());
        for (reason, count) in &left_out {
            eprintln!("{count:5}  {reason}");
        }
    }
    assert!(plays.len() >= 30, "{} scenarios", plays.len());

    let host = &host;
    let plays = stream::iter(plays.into_iter().enumerate()).map(|(index, (example, stage, text, name))| async move {
        let number = format!("7{index:03}");
        let differences = play_both(host, example, &stage, &text, &name, &number).await;
        differences.map(|differences| format!("{example}: {name}\n{differences}"))
    });
    let different: Vec<String> = plays.buffer_unordered(AT_ONCE).filter_map(async |found| found).collect().await;
    assert!(different.is_empty(), "{} of them differ\n\n{}", different.len(), different.join("\n"));
}

/// Plays a scenario at both places; what differs, in words.
async fn play_both(host: &Host, example: &str, stage: &Stage, text: &str, name: &str, number: &str) -> Option<String> {
    let (caller, target) = (Phone::new().await, Phone::new().await);
    // Where the scenario's targets are, in both worlds.
    let text = text.replace("@pbx.example", &format!("@{}", target.address()));
    let run = Suite::read(name, &text).unwrap().runs.into_iter().find(|run| run.name == name).unwrap();
    let play = Play { host, guest: example, manifest: stage.manifest(), run: &run, number, caller, target };
    let live = play.play().await;
    let simulated = live.as_it_went(&run).play(stage).await;
    let mut differences = Differences::default();
    if let Some(failure) = &simulated.failure {
        differences.note("in the simulator alone", &"it passes", &failure.message);
    }
    compare(&live, &simulated.told, &mut differences);
    (!differences.0.is_empty()).then_some(differences.0)
}

fn compare(live: &Played, told: &Told, differences: &mut Differences) {
    let record = serde_json::to_value(&told.record).unwrap();
    for field in ["outcome", "ended_by", "end_reason", "disposition", "intent", "tags", "fields", "opt_out"] {
        differences.same(field, &live.record[field], &record[field]);
    }
    differences.same("transfer", &live.record["transfer"]["outcome"], &record["transfer"]["outcome"]);

    let (there, here) = (turns(&live.record), turns(&record));
    differences.same("turns", &there.len(), &here.len());
    // How far a prompt came when somebody hung up is a matter of the moment.
    let (hung_up, last) = (live.record["ended_by"] != "script", there.len());
    for (index, (there, here)) in there.iter().zip(&here).enumerate() {
        differences.same("a turn", &there.0, &here.0);
        let words = if hung_up && index + 1 == last { usize::MAX } else { 1 };
        if !close(&there.1, &here.1, words) {
            differences.note("what was heard of a prompt", &there.1, &here.1);
        }
    }

    let pushes: Vec<(String, Value)> =
        told.pushes.iter().map(|push| (push.destination.clone(), serde_json::from_str(&push.body).unwrap())).collect();
    differences.same("pushes", &live.pushes, &pushes);

    let trace: Vec<_> = told.trace.iter().filter(|exchange| exchange.reply.is_some()).collect();
    differences.same("host calls", &live.tape.entries.len(), &trace.len());
    for (there, here) in live.tape.entries.iter().zip(&trace) {
        differences.same("a host call", &call(&there.call), &call(&here.call));
        if there.masked {
            differences.same("a secret", &true, &here.sensitive);
        } else if let Some(here) = &here.reply {
            differences.same(&format!("the reply to {}", verb(&there.call)), &reply(&there.reply), &reply(here));
        }
    }
}

/// What was said or heard in each turn, and what the caller got of it.
fn turns(record: &Value) -> Vec<(Value, String)> {
    let turns = record["transcript"].as_array().unwrap();
    let turn = |turn: &Value| {
        let of = |field: &str| turn[field].clone();
        let said = json!([of("role"), of("text"), of("digits"), of("node"), of("interrupted_by")]);
        (said, turn["heard_text"].as_str().unwrap_or_default().to_owned())
    };
    turns.iter().map(turn).collect()
}

/// The same text, but for so many words at its end.
fn close(there: &str, here: &str, words: usize) -> bool {
    let (there, here): (Vec<&str>, Vec<&str>) = (pieces(there), pieces(here));
    let (short, long) = if there.len() < here.len() { (there, here) } else { (here, there) };
    long.starts_with(&short) && long.len() - short.len() <= words
}

/// Words; of Chinese, characters.
fn pieces(text: &str) -> Vec<&str> {
    text.split_whitespace()
        .flat_map(
            |word| {
                if word.is_ascii() { vec![word] } else { word.split_inclusive(|c: char| !c.is_ascii()).collect() }
            },
        )
        .collect()
}

fn verb(call: &HostCall) -> String {
    serde_json::to_value(call).unwrap()["call"].as_str().unwrap_or_default().to_owned()
}

/// A call, without what a failure was called behind its kind.
fn call(call: &HostCall) -> Value {
    let mut call = serde_json::to_value(call).unwrap();
    if call["call"] == "log" {
        let message = call["message"].as_str().unwrap_or_default();
        call["message"] = json!(message.split(": ").take(2).collect::<Vec<_>>().join(": "));
    }
    call
}

/// A reply, without times, names that are new in each call, and how far a prompt came that was cut off.
fn reply(reply: &Reply) -> Value {
    let played = |playout: &Playout| {
        let whole = (playout.end == PlayoutEnd::Finished).then_some(&playout.heard_text);
        json!([playout.end, whole])
    };
    match reply {
        Err(error) => match serde_json::to_value(error).unwrap() {
            Value::Object(kinds) => json!(kinds.keys().next()),
            kind => kind,
        },
        Ok(HostReply::Playout(playout)) => played(playout),
        Ok(HostReply::Answer { heard, prompt }) => json!([heard_value(heard), played(prompt)]),
        Ok(HostReply::Json(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Ok(HostReply::Info(info)) => {
            json!([info.direction, info.headers, info.parameters, info.language, inbound_number(info)])
        }
        Ok(HostReply::LocalTime(_) | HostReply::Number(_) | HostReply::Text(_)) => Value::Null,
        Ok(other) => json!(format!("{other:?}")),
    }
}

fn inbound_number(info: &callbox_dialogue::CallInfo) -> Option<&str> {
    info.caller.number.as_deref().filter(|_| info.direction == callbox_dialogue::Direction::Inbound)
}

fn heard_value(heard: &Heard) -> Value {
    serde_json::to_value(heard).unwrap()
}

/// What differs, in words.
#[derive(Default)]
struct Differences(String);

impl Differences {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, live: &T, simulated: &T) {
        if live != simulated {
            self.note(what, live, simulated);
        }
    }

    fn note(&mut self, what: &str, live: &impl std::fmt::Debug, simulated: &impl std::fmt::Debug) {
        writeln!(self.0, "  {what}\n    live       {live:?}\n    simulated  {simulated:?}").unwrap();
    }
}

/// The scenario files of an example.
fn scenario_files(example: &str) -> Vec<String> {
    let folder = root().join("examples").join(example).join("scenarios");
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
    files.sort();
    files
}
