//! Tapes of simulated calls, replayed: what was recorded is proven, and every difference is found where it is.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod everything;
mod guests;

use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, ScriptEnd, Time};
use callbox_script::{Recording, RunReason, ScriptLimits, Tape};
use callbox_sim::replay::{self, Difference, LookPast, Open, Point, Replayed, Verdict};
use callbox_sim::{Act, Situation, SourcePlan, Stage, StageOptions, Theatre, Timetable, Told};
use everything::{acts, everything, situation};
use guests::{Cut, KEY, Listen, Script, options, script};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;

fn tape(told: &Told) -> Recording {
    Tape::read(&told.run.tape.to_json_lines()).unwrap()
}

/// A stage with the limits of a replay.
async fn stage_for(recording: &Recording, steps: impl FnOnce(&mut Script)) -> Stage {
    let options = StageOptions { limits: replay::limits(recording), ..options() };
    Theatre::open(&options).unwrap().stage(script(steps)).await.unwrap()
}

async fn replayed(recording: Recording, steps: impl FnOnce(&mut Script), past: LookPast) -> Replayed {
    let stage = stage_for(&recording, steps).await;
    replay::run(stage.host(), stage.script().clone(), Arc::new(recording), past).await.unwrap()
}

async fn played(situation: &Situation, acts: Vec<(Time, Act)>, steps: impl FnOnce(&mut Script)) -> Told {
    guests::stage(steps).await.play(situation, &mut Timetable::new(acts)).await
}

#[track_caller]
fn difference(replayed: &Replayed) -> &Difference {
    match &replayed.verdict {
        Verdict::Different(difference) | Verdict::Unprovable { difference, .. } => difference,
        other => panic!("{other:?}"),
    }
}

/// What a script did with whoever called is what it does with the tape. Where one call on the tape is another one, that
/// one is found, and nothing before or after it.
#[test]
fn a_tape_is_proven_and_every_change_of_it_is_found() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limits = ScriptLimits { cpu_per_turn_ms: 20_000, cpu_per_call_ms: 120_000, ..ScriptLimits::default() };
    let options = StageOptions { limits, ..options() };
    let stage = runtime.block_on(async { Theatre::open(&options).unwrap().stage(script(everything)).await.unwrap() });
    let situation = situation();
    let replay = |recording: Recording| {
        let run = replay::run(stage.host(), stage.script().clone(), Arc::new(recording), LookPast::default());
        runtime.block_on(run).unwrap()
    };
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&(acts(), any::<proptest::sample::Index>()), |(acts, which)| {
            let told = runtime.block_on(stage.play(&situation, &mut Timetable::new(acts)));
            let recording = tape(&told);
            prop_assert!(recording.header.complete);
            let whole = replay(recording.clone());
            match &whole.verdict {
                Verdict::Same => prop_assert_eq!(whole.same as usize, recording.entries.len()),
                // It counted on the secret.
                Verdict::Unprovable { masked, difference } => prop_assert!(*masked <= difference.after),
                other => prop_assert!(false, "{:?}\n{}", other, whole.trace()),
            }

            let index = which.index(recording.entries.len());
            let mut changed = recording;
            let entry = &mut changed.entries[index];
            let call = if entry.call == HostCall::Elapsed { HostCall::Now } else { HostCall::Elapsed };
            let was = std::mem::replace(&mut entry.call, call.clone());
            let changed = replay(changed);
            let found = difference(&changed);
            if found.after as usize != index {
                // Only where the secret mattered before.
                prop_assert!(found.after < u32::try_from(index).unwrap() && whole.verdict != Verdict::Same);
            } else {
                prop_assert_eq!(&found.tape, &Point::Call(call));
                prop_assert_eq!(&found.script, &Point::Call(was));
                prop_assert!(found.place.as_deref().is_some_and(|place| place.contains("calling")));
            }
            prop_assert_eq!(matches!(changed.verdict, Verdict::Different(_)), changed.masked.is_none());
            Ok(())
        })
        .unwrap();
}

fn greeting(text: &'static str) -> impl FnOnce(&mut Script) {
    move |script| {
        script.on_call("answer").log("hello").say("Good morning.", Cut::Nothing).say(text, Cut::Nothing);
    }
}

#[tokio::test]
async fn another_version_is_shown_where_it_departs() {
    let told = played(&Situation::default(), Vec::new(), greeting("We are closed.")).await;
    let recording = tape(&told);
    let same = replayed(recording.clone(), greeting("We are closed."), LookPast::default()).await;
    assert_eq!((&same.verdict, same.same), (&Verdict::Same, 4));
    assert_eq!(same.sentence(), "The same: 4 calls and the end.");
    assert_eq!(same.difference(), None);

    let other = replayed(recording, greeting("We are open."), LookPast::default()).await;
    assert_eq!(difference(&other).after, 3);
    let text = other.difference().unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert!(lines[1].contains("log info: hello") && lines[2].contains("\"Good morning.\""), "{text}");
    assert!(lines[3].starts_with("  tape  voice.say \"We are closed.\""), "{text}");
    assert!(lines[4].starts_with("script  voice.say \"We are open.\""), "{text}");
    assert!(lines[5].contains("calling voice.say (host call 4)"), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("  tape ") && line.contains("\"text\": \"We are closed.\"")));
    assert!(lines.iter().any(|line| line.starts_with("script ") && line.contains("\"text\": \"We are open.\"")));
    assert!(lines.iter().any(|line| line.starts_with("       ") && line.contains("\"segments\"")), "{text}");
}

#[tokio::test]
async fn a_version_that_ends_earlier_or_goes_on_is_different() {
    let told = played(&Situation::default(), Vec::new(), greeting("Goodbye.")).await;
    let short = |script: &mut Script| {
        script.on_call("answer").log("hello");
    };
    let early = replayed(tape(&told), short, LookPast::default()).await;
    assert_eq!(difference(&early).script, Point::End(ScriptEnd::Returned));
    let long = |script: &mut Script| {
        greeting("Goodbye.")(script);
        script.sleep(10);
    };
    let late = replayed(tape(&told), long, LookPast::default()).await;
    let found = difference(&late);
    assert_eq!((found.after, &found.tape), (4, &Point::End(ScriptEnd::Returned)));
    assert_eq!(found.script, Point::Call(HostCall::Sleep { delay: 10 }));
}

#[tokio::test]
async fn log_lines_and_results_can_be_looked_past() {
    let told = played(&Situation::default(), Vec::new(), |script| {
        script.log("one").node("a").on_call("answer").with("disposition", "x");
    })
    .await;
    let other = |script: &mut Script| {
        script.node("b").on_call("answer").log("two").log("three");
    };
    let recording = tape(&told);
    assert_eq!(difference(&replayed(recording.clone(), other, LookPast::default()).await).after, 0);
    let past = LookPast { logs: true, results: true };
    let seen = replayed(recording.clone(), other, past).await;
    assert_eq!((&seen.verdict, seen.same, seen.only_on_tape, seen.only_asked), (&Verdict::Same, 1, 3, 3));
    assert!(seen.sentence().ends_with("Looked past: 3 calls only on the tape, 3 calls only of this script."));
    assert!(seen.trace().contains("+  0:00.000  results.enter-node"), "{}", seen.trace());
    let logs = LookPast { logs: true, results: false };
    assert_eq!(difference(&replayed(recording, other, logs).await).after, 1);
}

/// The script acts on a key that the tape does not have.
#[tokio::test]
async fn behind_a_secret_nothing_is_called_a_failure() {
    let steps = |script: &mut Script| {
        script.on_call("answer").ask("PIN?", Cut::Nothing, Listen { sensitive: true, ..KEY });
        script.on_key('7', |script| {
            script.node("right");
        });
        script.say("Goodbye.", Cut::Nothing);
    };
    let acts = |digit| vec![(Time(2_000), Act::Press { digit })];
    let told = played(&Situation::default(), acts('7'), steps).await;
    assert!(!told.run.tape.to_json_lines().contains("\"7\""));
    let right = replayed(tape(&told), steps, LookPast::default()).await;
    let Verdict::Unprovable { masked: 2, difference } = &right.verdict else { panic!("{:?}", right.verdict) };
    assert_eq!(difference.after, 2);
    assert!(right.sentence().starts_with("Cannot be proven beyond entry 2: its answer is masked"));
    // Where nothing depends on it, all is proven.
    let told = played(&Situation::default(), acts('8'), steps).await;
    let wrong = replayed(tape(&told), steps, LookPast::default()).await;
    assert_eq!((&wrong.verdict, wrong.masked), (&Verdict::Same, Some(2)));
}

#[tokio::test]
async fn a_script_that_was_stopped_while_it_waited_is_proven_to_that_call() {
    let mut situation = Situation::default();
    situation.sources.insert("crm".into(), SourcePlan { timeout: Some(60_000), ..SourcePlan::never() });
    let steps = |delay: Millis| {
        move |script: &mut Script| {
            script.source("crm", false).on_call("answer").sleep(delay).fetch("crm");
        }
    };
    let told = played(&situation, vec![(Time(500), Act::HangUp)], steps(100)).await;
    let recording = tape(&told);
    let ending = recording.ending.clone().unwrap();
    assert!(matches!(ending.pending, Some(HostCall::Fetch { .. })) && ending.reason == RunReason::Stopped);
    let same = replayed(recording.clone(), steps(100), LookPast::default()).await;
    assert_eq!(same.verdict, Verdict::Same);
    let other = |script: &mut Script| {
        script.source("crm", false).on_call("answer").sleep(100).now();
    };
    let other = replayed(recording, other, LookPast::default()).await;
    assert!(matches!(&difference(&other).tape, Point::Unanswered(HostCall::Fetch { .. })), "{:?}", other.verdict);
}

/// A line of log that was over the limit is no call, and must not become one in the replay.
#[tokio::test]
async fn the_limits_are_those_of_the_call() {
    let limits = ScriptLimits { log_lines_per_second: 1, ..ScriptLimits::default() };
    let steps = |script: &mut Script| {
        for _ in 0..20 {
            script.log("again");
        }
        script.on_call("answer");
    };
    let stage = Theatre::open(&StageOptions { limits, ..options() }).unwrap().stage(script(steps)).await.unwrap();
    let told = stage.play(&Situation::default(), &mut Timetable::default()).await;
    let recording = tape(&told);
    assert_eq!(recording.entries.len(), 11);
    assert_eq!(replayed(recording.clone(), steps, LookPast::default()).await.verdict, Verdict::Same);
    // Without them, which is what an old tape is like, it would be another.
    let mut old = recording;
    old.header.limits = None;
    assert_eq!(difference(&replayed(old, steps, LookPast::default()).await).after, 10);
}

#[tokio::test]
async fn a_tape_without_its_end_is_the_same_as_far_as_it_goes() {
    let limits = ScriptLimits { tape_entries: 2, ..ScriptLimits::default() };
    let stage = Theatre::open(&StageOptions { limits, ..options() }).unwrap();
    let stage = stage.stage(script(greeting("Goodbye."))).await.unwrap();
    let told = stage.play(&Situation::default(), &mut Timetable::default()).await;
    let full = replayed(tape(&told), greeting("Goodbye."), LookPast::default()).await;
    assert_eq!((&full.verdict, full.same), (&Verdict::Open(Open::Full), 2));

    let told = played(&Situation::default(), Vec::new(), greeting("Goodbye.")).await;
    let mut old = tape(&told);
    (old.ending, old.header.entries) = (None, None);
    assert_eq!(replayed(old.clone(), greeting("Goodbye."), LookPast::default()).await.verdict, Verdict::Same);
    old.entries.truncate(2);
    let beyond = replayed(old, greeting("Goodbye."), LookPast::default()).await;
    assert_eq!(beyond.verdict, Verdict::Open(Open::NoEnd));
}

#[tokio::test]
async fn a_trap_is_a_trap_again() {
    let steps = |script: &mut Script| {
        script.on_call("answer").code("(unreachable)");
    };
    let told = played(&Situation::default(), Vec::new(), steps).await;
    assert!(matches!(told.run.end, ScriptEnd::Trapped { .. }));
    assert_eq!(replayed(tape(&told), steps, LookPast::default()).await.verdict, Verdict::Same);
    let mended = replayed(
        tape(&told),
        |script| {
            script.on_call("answer");
        },
        LookPast::default(),
    )
    .await;
    assert!(matches!(difference(&mended).tape, Point::End(ScriptEnd::Trapped { .. })));
}
