//! Callers who speak, on real calls: flite's voices over RTP, pocketsphinx behind the host.
//!
//! What is asserted are words and their order, never how long something took. A recogniser has a few seconds for its
//! result, and packets of audio have their time; on a machine that is so busy that they do not keep it, the call is made
//! again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_dialogue::leg::VoiceSettings;
use callbox_dialogue::script::Segment;
use callbox_speech::{Speech, SpeechConfig};
use callbox_tests::voices::{self, Voice, noise, silence};
use callbox_tests::web_caller::WebCaller;
use callbox_tests::{Host, Line, Phone, SOON, expand, fidelity};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const LONG: &str = "Thank you for calling the clinic by the river, which is open on every day of the week from eight in the \
    morning to six in the evening, and on Saturdays until noon. What can we do for you today?";

/// What may be answered to a menu.
fn menu() -> Value {
    json!({"answer": {"kind": "choices", "choices": [
        {"value": "book", "phrases": ["make an appointment", "book an appointment"], "key": "1"},
        {"value": "cancel", "phrases": ["cancel my appointment"], "key": "2"},
        {"value": "hours", "phrases": ["opening hours"], "key": "3"},
    ]}})
}

fn yes_no() -> Value {
    json!({"answer": {"kind": "yes-no"}})
}

fn digits(count: u8) -> Value {
    json!({"answer": {"kind": "digits", "min": count, "max": count}})
}

/// A host with the probe, whose recogniser is awake: it has listened to a first caller, who said nothing.
async fn listening_host() -> Host {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let questions = json!([{"grammar": yes_no(), "start": 100}]).to_string();
    Phone::new().await.dial_probe(&host, "spoken", &[("X-Probe-Questions", &questions)]).await.over().await;
    let awake = async {
        while !host.log().contains("a recogniser works") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(6 * SOON, awake).await.unwrap_or_else(|_| panic!("no recogniser works: {}", host.log()));
    host
}

/// What came of a call.
struct Told {
    answers: Vec<Value>,
    record: Value,
    /// What the caller heard, in PCMU.
    heard: Vec<u8>,
}

/// Has the probe ask a caller this, who does `what`, which should mean that; what came of it.
async fn asked(questions: Value, meanings: Value, what: impl AsyncFn(&Line)) -> (Host, Told) {
    let host = listening_host().await;
    let phone = Phone::new().await;
    for n in 2.. {
        let mut line = phone.dial_probe(&host, "spoken", &[("X-Probe-Questions", &questions.to_string())]).await;
        what(&line).await;
        assert!(line.over().await.by_host);
        let told = told(&host, n, line.heard()).await;
        if n > 5 || !too_late(&host, &told, &meanings).await {
            return (host, told);
        }
    }
    unreachable!("it was returned or panicked")
}

/// What came of the last of so many calls.
async fn told(host: &Host, calls: usize, heard: Vec<u8>) -> Told {
    let calls = host.finished_calls(calls).await;
    // Names of calls sort by time.
    let last = calls.iter().filter_map(|call| call["id"].as_str()).max().unwrap();
    let record = host.get(&format!("/v1/calls/{last}")).await["record"].take();
    let answers = record["fields"]["answers"].as_array().unwrap_or_else(|| panic!("{record}")).clone();
    Told { answers, record, heard }
}

/// Whether it is not what it should be, and the machine did not keep its time.
async fn too_late(host: &Host, told: &Told, meanings: &Value) -> bool {
    if told.answers.iter().map(|answer| &answer["meaning"]).eq(meanings.as_array().unwrap()) {
        return false;
    }
    let figure = |name: &str| told.record["media"][name].as_u64().unwrap();
    let id = told.record["call_id"].as_str().unwrap();
    let timeline = host.get(&format!("/v1/calls/{id}/timeline")).await.to_string();
    let audio = figure("skipped") + figure("resyncs") > 0 || figure("concealed_ms") > 100;
    audio || timeline.contains("recogniser_failed")
}

/// Waits for the end of the question, and answers.
async fn answer(line: &Line, words: &[i16]) {
    line.hears_somebody().await;
    line.hears_nobody().await;
    line.say(words);
    line.has_said_it().await;
}

#[tokio::test]
async fn what_callers_say_is_understood() {
    let questions = json!([
        {"ask": "Are you there?", "grammar": yes_no()},
        {"ask": "What can we do for you?", "grammar": menu()},
        {"ask": "What is your number?", "grammar": digits(4)},
    ]);
    let meanings = json!([{"yes": true}, {"choice": "book"}, {"digits": "4719"}]);
    let said = [(Voice::Slt, "yes"), (Voice::Awb, "make an appointment"), (Voice::Rms, "four seven one nine")];
    let (_, Told { answers, record, .. }) = asked(questions, meanings.clone(), async |line| {
        for (voice, words) in said {
            answer(line, &voice.says(words)).await;
        }
    })
    .await;
    let told: Vec<_> = answers.iter().map(|answer| answer["meaning"].clone()).collect();
    assert_eq!(json!(told), meanings, "{record}");
    for answer in &answers {
        let at = |name: &str| answer["heard"][name].as_u64().unwrap_or_else(|| panic!("{answer}"));
        assert!(at("start") < at("end"), "{answer}");
    }
    let turns = record["transcript"].as_array().unwrap();
    let told: Vec<_> = turns.iter().filter(|turn| turn["role"] == "caller").map(|turn| turn["text"].clone()).collect();
    // It may have been a "yep".
    assert_eq!(told[1..], ["make an appointment", "four seven one nine"], "{record}");
}

#[tokio::test]
async fn a_caller_on_a_bad_line_is_understood() {
    let words = [silence(500), Voice::Slt.says("cancel my appointment"), silence(1_500)].concat();
    let words = voices::with_noise(&words, 20.0);
    let (_, told) = asked(
        json!([{"ask": "What can we do for you?", "grammar": menu()}]),
        json!([{"choice": "cancel"}]),
        async |line| {
            line.is_bad(50, 7);
            answer(line, &words).await;
        },
    )
    .await;
    assert_eq!(told.answers[0]["meaning"], json!({"choice": "cancel"}), "{:?}", told.answers);
}

#[tokio::test]
async fn words_cut_off_a_prompt_that_they_may_cut() {
    let (_, Told { answers, record, .. }) =
        asked(json!([{"ask": LONG, "grammar": menu()}]), json!([{"choice": "hours"}]), async |line| {
            line.hears_somebody().await;
            line.say(&Voice::Rms.says("opening hours"));
        })
        .await;
    assert_eq!(answers[0]["meaning"], json!({"choice": "hours"}), "{answers:?}");
    let prompt = &answers[0]["prompt"];
    assert_eq!(prompt["end"], "cut_by_speech", "{prompt}");
    let heard = prompt["heard_text"].as_str().unwrap();
    assert!(LONG.starts_with(heard) && heard.len() < LONG.len(), "{heard}");
    assert_eq!(record["transcript"][0]["interrupted_by"], "speech", "{record}");
    assert_eq!(record["transcript"][1]["text"], "opening hours", "{record}");
}

#[tokio::test]
async fn a_sound_that_is_no_word_lets_the_prompt_go_on() {
    let (_, Told { answers, record, heard }) =
        asked(json!([{"ask": LONG, "grammar": menu()}]), json!([{"choice": "book"}]), async |line| {
            line.hears_somebody().await;
            // Somebody coughs, and clears his throat.
            line.say(&[noise(100), silence(800), noise(400), silence(500)].concat());
            line.has_said_it().await;
            answer(line, &Voice::Slt.says("make an appointment")).await;
        })
        .await;
    assert_eq!(answers[0]["meaning"], json!({"choice": "book"}), "{answers:?}");
    let prompt = &answers[0]["prompt"];
    assert_eq!((&prompt["end"], &prompt["heard_text"]), (&json!("finished"), &json!(LONG)), "{record}");
    // All of it was heard, in its order and without a gap within words, however often it paused, where the machine kept up.
    if record["media"]["skipped"] != 0 {
        return;
    }
    let heard: Vec<i16> = heard.iter().map(|&byte| expand(byte)).collect();
    let found = fidelity::compare(&synthesised(LONG).await, &heard);
    assert!(found.slips.len() <= 3 && found.slips.iter().all(|(_, by)| *by > 0), "{found:?}");
    let is_pause = |gap: usize| found.slips.iter().any(|(slip, _)| slip.abs_diff(gap) <= 200);
    assert!(found.gaps.iter().all(|(gap, _)| is_pause(*gap)), "{found:?}");
    assert!(found.lost <= 4 && found.pieces > 20, "{found:?}");
}

/// What the host's voice makes of a text.
async fn synthesised(text: &str) -> Vec<i16> {
    let speech = Speech::new(SpeechConfig::default()).unwrap();
    let voice = VoiceSettings { voice: None, language: "en".into(), rate: None };
    let mut chunks = speech.render(&Segment::Text(text.into()), &voice, |_| None);
    let mut samples = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        samples.extend_from_slice(chunk.unwrap().clip.samples());
    }
    samples
}

#[tokio::test]
async fn a_prompt_that_nothing_cuts_is_heard_to_its_end_and_so_is_the_caller() {
    let prompt = "I will say this to its end, whatever you say meanwhile.";
    let (_, told) = asked(
        json!([{"ask": prompt, "by": "nothing", "grammar": menu()}]),
        json!([{"choice": "book"}]),
        async |line| {
            line.hears_somebody().await;
            line.say(&Voice::Rms.says("make an appointment"));
        },
    )
    .await;
    assert_eq!(told.answers[0]["meaning"], json!({"choice": "book"}), "{}", told.record);
    assert_eq!(told.answers[0]["prompt"]["end"], "finished", "{:?}", told.answers);
}

#[tokio::test]
async fn silence_is_nothing_and_other_words_are_no_match() {
    let questions = json!([
        {"ask": "Are you there?", "grammar": yes_no(), "start": 1_500},
        {"ask": "What can we do for you?", "grammar": menu()},
    ]);
    let (_, Told { answers, .. }) = asked(questions, json!([null, null]), async |line| {
        for _ in 0..2 {
            line.hears_somebody().await;
            line.hears_nobody().await;
        }
        line.say(&Voice::Slt.says("the weather has been terrible since the beginning of the week"));
    })
    .await;
    assert_eq!(answers[0]["heard"], "nothing", "{answers:?}");
    assert!(answers[1]["heard"]["no_match"].is_string() && answers[1]["meaning"].is_null(), "{answers:?}");
}

#[tokio::test]
async fn a_pause_within_an_answer_does_not_end_it() {
    let words = [Voice::Rms.says("four seven"), silence(350), Voice::Rms.says("one nine")].concat();
    let (_, told) = asked(
        json!([{"ask": "What is your number?", "grammar": digits(4)}]),
        json!([{"digits": "4719"}]),
        async |line| {
            answer(line, &words).await;
        },
    )
    .await;
    assert_eq!(told.answers[0]["meaning"], json!({"digits": "4719"}), "{:?}", told.answers);
}

#[tokio::test]
async fn a_key_decides_although_somebody_speaks() {
    let questions = json!([{"ask": LONG, "by": "both", "grammar": menu(), "digits": [1, 1]}]);
    let (_, Told { answers, .. }) = asked(questions, json!([{"choice": "cancel"}]), async |line| {
        line.hears_somebody().await;
        line.say(&Voice::Awb.says("well, let me think about it, I would rather press a key"));
        line.press("2");
    })
    .await;
    assert_eq!(answers[0]["heard"], json!({"digits": "2"}), "{answers:?}");
    assert_eq!(answers[0]["meaning"], json!({"choice": "cancel"}), "{answers:?}");
}

#[tokio::test]
async fn what_is_said_in_confidence_is_nowhere() {
    let questions = json!([{"ask": "What is your secret number?", "grammar": digits(4), "secret": true}]);
    let (host, Told { answers, record, .. }) = asked(questions, json!(["of a secret none is told"]), async |line| {
        answer(line, &Voice::Rms.says("four seven one nine")).await;
    })
    .await;
    assert!(answers[0]["heard"]["speech"].as_u64().is_some_and(|length| length > 3), "{answers:?}");
    let id = record["call_id"].as_str().unwrap();
    let timeline = host.get(&format!("/v1/calls/{id}/timeline")).await.to_string();
    let tape = host.text(&format!("/v1/calls/{id}/tape")).await;
    for text in [record.to_string(), timeline, tape, host.log()] {
        assert!(!text.contains("4719") && !text.contains("four seven") && !text.contains("seven one"), "{text}");
    }
}

#[tokio::test]
async fn a_page_is_listened_to_as_a_telephone_is() {
    let host = listening_host().await;
    let questions = json!([{"ask": LONG, "grammar": menu()}]).to_string();
    for n in 2.. {
        let caller = WebCaller::probe(&host, "spoken", &[("X-Probe-Questions", &questions)]).await;
        caller.sees("the prompt", |seen| seen.loud > 50).await;
        caller.speak([Voice::Rms.says("opening hours"), silence(200)].concat()).await;
        let told = told(&host, n, Vec::new()).await;
        if n <= 5 && too_late(&host, &told, &json!([{"choice": "hours"}])).await {
            continue;
        }
        let answer = &told.answers[0];
        let end = (&answer["meaning"], &answer["prompt"]["end"]);
        return assert_eq!(end, (&json!({"choice": "hours"}), &json!("cut_by_speech")), "{}", told.record);
    }
}
