//! Scenarios out of tapes: calls of every kind are played, made into scenarios, and these hold.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod everything;
mod guests;

use callbox_dialogue::{Direction, HostError, Time};
use callbox_script::{Recording, Tape};
use callbox_sim::replay::scenario::{FromTape, from_tape};
use callbox_sim::scenario::{Step, Suite, Verdict, tell};
use callbox_sim::{Act, Saying, Situation, SourcePlan, Stage, Timetable, TransferGoes, TransferPlan};
use everything::{acts, everything, situation};
use guests::{BOTH, Cut, KEY, Listen, SPEECH, Script, stage};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

/// Plays a call, and the scenario that its tape makes.
struct Made {
    made: FromTape,
    text: String,
    verdict: Verdict,
}

impl Made {
    /// It holds, and its steps are these, by their verbs.
    #[track_caller]
    fn holds(&self, verbs: &str) -> &Self {
        let Self { made, text, verdict } = self;
        assert!(verdict.failure.is_none(), "{:?}\n{text}", verdict.failure);
        let found: Vec<&str> = made.file.scenarios[0].steps.iter().map(Step::verb).collect();
        assert_eq!(found.join(" "), verbs, "{text}");
        assert_eq!(made.entries.len(), found.len());
        self
    }

    #[track_caller]
    fn says(&self, part: &str) -> &Self {
        assert!(self.text.contains(part), "{}", self.text);
        self
    }
}

async fn made(situation: &Situation, acts: Vec<(u64, Act)>, steps: impl FnOnce(&mut Script)) -> Made {
    let stage = stage(steps).await;
    let acts = acts.into_iter().map(|(at, act)| (Time(at), act));
    let told = stage.play(situation, &mut Timetable::new(acts)).await;
    let recording = Tape::read(&told.run.tape.to_json_lines()).unwrap();
    again(&stage, &recording).await
}

async fn again(stage: &Stage, recording: &Recording) -> Made {
    let made = from_tape(recording, stage.manifest(), "as it was");
    let text = made.file.to_yaml();
    let suite = Suite::read("made.yaml", &text).unwrap_or_else(|problems| panic!("{}\n{text}", tell(&problems)));
    let verdict = suite.runs[0].play(stage).await;
    Made { made, text, verdict }
}

fn press(digit: char) -> Act {
    Act::Press { digit }
}

fn say(text: &str) -> Act {
    Act::Say(Saying::words(text))
}

/// Six words: 2,250 ms.
const QUESTION: &str = "Press one, or say your name.";

#[tokio::test]
async fn what_the_caller_did_is_done_again() {
    let menu = |script: &mut Script| {
        script.on_call("answer").say("Good morning.", Cut::Nothing).ask(QUESTION, Cut::Both, BOTH);
        script.on_key('1', |script| {
            script.node("one").with("disposition", "pressed").say("Thank you.", Cut::Nothing);
        });
    };
    let situation = Situation::default();
    // Good morning is over at 750 ms, the question at 3,000.
    let polite = made(&situation, vec![(4_100, press('1'))], menu).await;
    polite.holds("expect expect press node expect result ended").says("after: 1.1s").says("disposition: pressed");
    let usual = made(&situation, vec![(3_300, press('1'))], menu).await;
    usual.holds("expect expect press node expect result ended").says("press: \"1\"");
    let rude = made(&situation, vec![(1_650, press('1'))], menu).await;
    rude.holds("expect expect interrupt heard node expect result ended").says("after: 900ms").says("complete: false");
    let spoken = made(&situation, vec![(3_500, say("Ada Lovelace"))], menu).await;
    spoken.holds("expect expect say ended").says("text: Ada Lovelace").says("after: 500ms");
    let broke_in = made(&situation, vec![(1_650, say("Ada Lovelace"))], menu).await;
    broke_in.holds("expect expect interrupt heard ended").says("say: Ada Lovelace");
    let silent = made(&situation, Vec::new(), menu).await;
    silent.holds("expect expect ended");
    let gone = made(&situation, vec![(4_000, Act::HangUp)], menu).await;
    gone.holds("expect expect hang_up ended").says("by: caller");
}

#[tokio::test]
async fn pauses_are_made_again() {
    let twice = |script: &mut Script| {
        script.on_call("answer").say("Yes?", Cut::Nothing).listen(KEY).listen(KEY).ask("Hello?", Cut::Nothing, KEY);
        script.on_key('2', |script| {
            script.node("two");
        });
    };
    let made = made(&Situation::default(), vec![(12_000, press('2'))], twice).await;
    made.holds("expect silence silence expect press node ended").says("silence: 5s").says("silence: true");
}

#[tokio::test]
async fn collections_end_as_they_did() {
    let four = Listen { digits: Some((1, 8)), terminator: Some('#'), digits_only: true, ..SPEECH };
    let asked = |script: &mut Script| {
        script.on_call("answer").ask("Your number?", Cut::Digits, four).say("Thank you.", Cut::Nothing);
    };
    let keys = |keys: &str, from: u64| -> Vec<(u64, Act)> {
        keys.chars().enumerate().map(|(n, key)| (from + 200 * n as u64, press(key))).collect()
    };
    let situation = Situation::default();
    made(&situation, keys("4711#", 1_500), asked).await.holds("expect press expect ended").says("keys: 4711#");
    // Ended by the pause after the last key.
    made(&situation, keys("4711", 1_500), asked).await.holds("expect press expect ended").says("\"4711\"");
    made(&situation, keys("4711#", 300), asked).await.holds("expect interrupt heard expect ended").says("press: 4711#");
}

#[tokio::test]
async fn what_the_world_did_is_given() {
    let mut situation = Situation { at: 1_800_000_000_000, ..Situation::default() };
    situation.sources.insert("crm".into(), SourcePlan::answers(json!({"name": "Ada ${x}"}), 700));
    situation.sources.insert("slow".into(), SourcePlan::fails(HostError::Unavailable("down".into()), 900));
    let asked = |script: &mut Script| {
        script.source("crm", true).source("slow", false).now().on_call("answer").sleep(200).fetch("crm").fetch("slow");
        script.manifest(|manifest| {
            manifest.destinations.insert("out".into(), Default::default());
        });
        script.push("out", "{\"a\":[1,2]}").say("Bye.", Cut::Nothing);
    };
    let made = made(&situation, Vec::new(), asked).await;
    made.holds("pushed expect ended").says("at: \"2027-01-15T08:00:00Z\"").says("after: 700ms").says("after: 900ms");
    made.says("fails: unavailable").says("name: Ada $${x}");
}

#[tokio::test]
async fn a_source_that_changes_its_mind_does_so_again() {
    let asked = |script: &mut Script| {
        script.source("crm", false).on_call("answer").fetch("crm").ask("Again?", Cut::Nothing, KEY).fetch("crm");
        script.say("Bye.", Cut::Nothing);
    };
    let mut situation = Situation::default();
    situation.sources.insert("crm".into(), SourcePlan::answers(json!({"count": 1}), 0));
    let changes = Act::Source { name: "crm".into(), plan: SourcePlan::answers(json!({"count": 2}), 100) };
    let made = made(&situation, vec![(400, changes), (1_000, press('1'))], asked).await;
    made.holds("expect source press expect ended").says("count: 2");
}

#[tokio::test]
async fn the_limits_that_ended_a_call_end_it_again() {
    let patient = |script: &mut Script| {
        script.on_call("answer").say("Hello?", Cut::Nothing).next_event(None).next_event(None);
    };
    let mut situation = Situation::default();
    situation.limits.silence_timeout = 20_000;
    made(&situation, Vec::new(), patient).await.holds("expect ended").says("silence_timeout: 20s");
    situation.limits.silence_timeout = 0;
    situation.limits.max_duration = 60_000;
    let longest = made(&situation, vec![(9_000, press('1'))], patient).await;
    longest.holds("expect press ended").says("max_duration: 1m").says("reason: max_duration").says("by: platform");
    let ended = Act::OperatorHangUp { why: "enough".into() };
    made(&situation, vec![(9_000, ended)], patient).await.holds("expect operator_hang_up ended");
}

#[tokio::test]
async fn transfers_go_as_they_went() {
    let give = |script: &mut Script| {
        script.on_call("answer").say("One moment.", Cut::Nothing);
        script.transfer("sip:desk@pbx.example", true, 9_000).say("There you are.", Cut::Nothing);
    };
    let with =
        |goes, after, talk| Situation { other_transfers: TransferPlan { goes, after, talk }, ..Situation::default() };
    made(&with(TransferGoes::busy(), 1_500, 0), Vec::new(), give)
        .await
        .holds("expect transfer expect ended")
        .says("busy");
    let returned = made(&with(TransferGoes::Returned, 1_000, 8_000), Vec::new(), give).await;
    returned.holds("expect transfer expect ended").says("answers: returned");
    let connected = with(TransferGoes::Connected, 1_500, 28_500);
    let talked = made(&connected, Vec::new(), give).await;
    talked.holds("expect transfer ended").says("reason: transfer_completed").says("talk: 28s");
    let full = TransferGoes::Failed { status: 503, reason: "Full".into() };
    made(&with(full, 700, 0), Vec::new(), give)
        .await
        .holds("expect transfer expect ended")
        .says("status: 503")
        .says("700ms");
    made(&with(TransferGoes::Never, 0, 0), Vec::new(), give)
        .await
        .holds("expect transfer expect ended")
        .says("no_answer");
    let rings = with(TransferGoes::Never, 0, 0);
    made(&rings, vec![(3_750, Act::HangUp)], give).await.holds("expect transfer hang_up ended").says("after: 3s");
}

#[tokio::test]
async fn an_outbound_call_is_picked_up() {
    let situation = Situation { direction: Direction::Outbound, ..Situation::default() };
    let called = |script: &mut Script| {
        script.code("(call $info (i32.const 1024))").on_call("answer").ask("Is it you?", Cut::Nothing, KEY);
    };
    let made = made(&situation, vec![(6_000, press('1'))], called).await;
    made.holds("pick_up expect press ended").says("direction: outbound");
}

#[tokio::test]
async fn events_and_typing_ahead_are_told_once() {
    let looped = |script: &mut Script| {
        script.on_call("answer").next_event(None).next_event(None).say("Two keys.", Cut::Nothing);
        script.listen(Listen { type_ahead: true, digits: Some((2, 2)), ..KEY }).next_event(Some(2_000));
    };
    let message = Act::Message { json: "{\"a\":1}".into() };
    let acts = vec![(900, press('7')), (1_800, press('8')), (4_000, message)];
    let made = made(&Situation::default(), acts, looped).await;
    made.holds("press press expect wait message ended").says("after: 900ms");
}

#[tokio::test]
async fn what_is_masked_is_said_and_stands_for_itself() {
    let pin = |script: &mut Script| {
        script.on_call("answer");
        script.ask("PIN?", Cut::Nothing, Listen { digits: Some((4, 4)), sensitive: true, ..KEY });
        script.say("You gave 9375, thank you.", Cut::Nothing);
    };
    let acts = "9375".chars().enumerate().map(|(n, key)| (1_500 + 200 * n as u64, press(key))).collect();
    let made = made(&Situation::default(), acts, pin).await;
    made.holds("expect press expect ended").says("\"0000\"");
    assert!(made.made.notes[0].contains("entry 2 is masked"), "{:?}", made.made.notes);
    let text = made.made.file.to_yaml();
    assert!(text.contains(", thank you.") && !text.contains("9375"), "{text}");
}

#[tokio::test]
async fn a_scenario_that_does_not_hold_says_where() {
    let dice = |script: &mut Script| {
        script.on_call("answer").ask(QUESTION, Cut::Both, BOTH);
        script.on_key('1', |script| {
            script.say("One.", Cut::Nothing);
        });
    };
    let stage = stage(dice).await;
    let acts = vec![(Time(3_000), press('1'))];
    let told = stage.play(&Situation::default(), &mut Timetable::new(acts)).await;
    let text = told.run.tape.to_json_lines().replace("One.", "Two.");
    let made = again(&stage, &Tape::read(&text).unwrap()).await;
    let failure = made.verdict.failure.unwrap();
    assert!(failure.message.contains("Two."), "{failure:?}");
}

/// Whoever called, what comes of the tape is a scenario file; and whatever stands on a tape, something comes of it.
#[test]
fn every_tape_makes_a_scenario_that_can_be_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(stage(everything));
    let situation = situation();
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let jumbled = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u64>()), 1..60);
    TestRunner::new(config)
        .run(&(acts(), jumbled), |(acts, jumbled)| {
            let told = runtime.block_on(stage.play(&situation, &mut Timetable::new(acts)));
            let mut recording = Tape::read(&told.run.tape.to_json_lines()).unwrap();
            // Reads it, and plays it; whether it holds is another matter.
            runtime.block_on(again(&stage, &recording));
            let of = |(index, at): (proptest::sample::Index, u64)| {
                let mut entry = index.get(&recording.entries).clone();
                entry.at = Time(at >> (at % 64));
                entry
            };
            recording.entries = jumbled.into_iter().map(of).collect();
            let made = from_tape(&recording, stage.manifest(), "jumbled");
            // Perhaps not one that makes sense: that is told by its reader.
            let _ = Suite::read("made.yaml", &made.file.to_yaml());
            prop_assert_eq!(made.entries.len(), made.file.scenarios[0].steps.len());
            Ok(())
        })
        .unwrap();
}
