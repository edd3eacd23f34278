//! Callers who speak, on real calls: flite's voices over RTP, pocketsphinx behind the host.
//!
//! What is asserted are words and their order, never how long something took. Still audio has its time: a call that came
//! out otherwise than it should while the machine did not keep that time – which a watch of our own and the figures of
//! the call tell – proves nothing, and is made again. On a machine that never keeps its time these tests prove nothing;
//! the rules of a turn are proven in virtual time (`host/dialogue/tests/rules/turns.rs`), hearing in `host/media` and
//! `host/call`, and words in `host/speech/tests/pocketsphinx.rs`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and says why it goes on")]

use callbox_media::{Codec, FRAME, Law};
use callbox_speechd::{Script, Server, Settings};
use callbox_tests::voices::{self, Voice, noise, silence};
use callbox_tests::web_caller::WebCaller;
use callbox_tests::{Host, Line, Options, Phone, SOON, Watch, eventually, expand, fidelity};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const LONG: &str = "Thank you for calling the clinic by the river, which is open on every day of the week from eight in the \
    morning to six in the evening, and on Saturdays until noon. What can we do for you today?";
/// A caller who means to speak is waited for, however slow the machine.
const PATIENT: u32 = 15_000;
/// Calls of a caller on a machine that does not keep its time.
const CALLS: usize = 5;

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

/// A host with the probe, and with recognisers that are awake.
async fn listening_host(options: Options) -> Host {
    let host = Host::start_with(options).await;
    host.publish_probe(None).await;
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
    /// What happened, in its order: kinds.
    happened: Vec<String>,
    /// What the caller heard, in PCMU.
    heard: Vec<u8>,
}

impl Told {
    /// How often something happened.
    fn count(&self, kind: &str) -> usize {
        self.happened.iter().filter(|happened| *happened == kind).count()
    }
}

/// Has the probe ask a caller this, who does `what`; then it should be so.
async fn asked(host: &Host, questions: Value, what: impl AsyncFn(&Line), so: impl Fn(&Told)) {
    asked_by(&Phone::new().await, host, questions, what, so).await;
}

/// The same, of a caller with this telephone.
async fn asked_by(phone: &Phone, host: &Host, questions: Value, what: impl AsyncFn(&Line), so: impl Fn(&Told)) {
    for n in 1..=CALLS {
        let watch = Watch::start();
        let mut line = phone.dial_probe(host, "spoken", &[("X-Probe-Questions", &questions.to_string())]).await;
        what(&line).await;
        assert!(line.over().await.by_host);
        let call = line.dialog.id().to_owned();
        let told = told(host, line.heard(), |record| record["sip"]["call_id"] == *call).await;
        if judged(host, &told, &watch, n, &so).await {
            return;
        }
    }
}

/// What came of a call, which is over.
async fn told(host: &Host, heard: Vec<u8>, is_it: impl Fn(&Value) -> bool) -> Told {
    let record = eventually("the record of the call", async || {
        for call in host.completed().await {
            let record = host.get(&format!("/v1/calls/{}", call["id"].as_str()?)).await["record"].take();
            if is_it(&record) {
                return Some(record);
            }
        }
        None
    })
    .await;
    let answers = record["fields"]["answers"].as_array().unwrap_or_else(|| panic!("{record}")).clone();
    let id = record["call_id"].as_str().unwrap();
    let timeline = host.get(&format!("/v1/calls/{id}/timeline")).await;
    let kind = |entry: &Value| entry["kind"].as_str().unwrap().to_owned();
    let happened = timeline["data"].as_array().unwrap().iter().map(kind).collect();
    Told { answers, record, happened, heard }
}

/// Whether it is as it should be. If it is not, and the machine did not keep its time, that is no proof.
async fn judged(host: &Host, told: &Told, watch: &Watch, n: usize, so: impl Fn(&Told)) -> bool {
    let Err(wrong) = catch_unwind(AssertUnwindSafe(|| so(told))) else { return true };
    let figure = |name: &str| told.record["media"][name].as_u64().unwrap_or_default();
    let id = told.record["call_id"].as_str().unwrap();
    // What the line itself loses is 20 ms each.
    let audio =
        figure("skipped") + figure("resyncs") + figure("late") > 0 || figure("concealed_ms") > 20 * figure("lost");
    if watch.was_late() || audio || told.count("recogniser_failed") > 0 {
        eprintln!("call {n}: the machine did not keep its time, {watch:?}");
        return false;
    }
    eprintln!("{}", host.get(&format!("/v1/calls/{id}/timeline")).await);
    resume_unwind(wrong)
}

fn meanings(told: &Told) -> Value {
    told.answers.iter().map(|answer| answer["meaning"].clone()).collect()
}

/// Waits for the end of the question behind that place of all that was heard, and answers; the place behind it.
async fn answer(line: &Line, from: usize, words: &[i16]) -> usize {
    let from = line.hears_out(from).await;
    line.say(words);
    line.has_said_it().await;
    from
}

#[tokio::test]
async fn answers_are_understood() {
    let host = listening_host(Options::default()).await;
    tokio::join!(
        three_questions(&host),
        a_bad_line(&host),
        a_pause_within_an_answer(&host),
        silence_and_other_words(&host),
        a_secret(&host),
        a_prompt_that_nothing_cuts(&host),
        a_wide_band_caller(&host, Codec::G722),
        a_wide_band_caller(&host, Codec::Opus),
    );
}

async fn three_questions(host: &Host) {
    let questions = json!([
        {"ask": "Are you there?", "grammar": yes_no(), "start": PATIENT},
        {"ask": "What can we do for you?", "grammar": menu(), "start": PATIENT},
        {"ask": "What is your number?", "grammar": digits(4), "start": PATIENT},
    ]);
    let said = [(Voice::Slt, "yes"), (Voice::Awb, "make an appointment"), (Voice::Rms, "four seven one nine")];
    let said = said.map(|(voice, words)| voice.says(words));
    let caller = async |line: &Line| {
        let mut from = 0;
        for words in &said {
            from = answer(line, from, words).await;
        }
    };
    asked(host, questions, caller, |told| {
        assert_eq!(meanings(told), json!([{"yes": true}, {"choice": "book"}, {"digits": "4719"}]), "{}", told.record);
        for answer in &told.answers {
            let at = |name: &str| answer["heard"][name].as_u64().unwrap_or_else(|| panic!("{answer}"));
            assert!(at("start") < at("end"), "{answer}");
        }
        let turns = told.record["transcript"].as_array().unwrap().iter().filter(|turn| turn["role"] == "caller");
        let turns: Vec<_> = turns.map(|turn| turn["text"].clone()).collect();
        // It may have been a "yep".
        assert_eq!(turns[1..], ["make an appointment", "four seven one nine"], "{}", told.record);
    })
    .await;
}

async fn a_wide_band_caller(host: &Host, codec: Codec) {
    let words = Voice::Rms.says("cancel my appointment");
    let questions = json!([{"ask": "What can we do for you?", "grammar": menu(), "start": PATIENT}]);
    let caller = async |line: &Line| {
        answer(line, 0, &words).await;
    };
    asked_by(&Phone::speaking(codec).await, host, questions, caller, |told| {
        assert_eq!(told.record["media"]["codec"], codec.name().to_lowercase(), "{}", told.record);
        assert_eq!(meanings(told), json!([{"choice": "cancel"}]), "{}", told.record);
    })
    .await;
}

async fn a_bad_line(host: &Host) {
    let words = [silence(500), Voice::Rms.says("cancel my appointment"), silence(1_500)].concat();
    let words = voices::with_noise(&words, 20.0);
    // Whether a packet that is lost is a syllable or a pause is chance: the caller is asked three times, as scripts do.
    let question = json!({"ask": "What can we do for you?", "grammar": menu(), "start": PATIENT});
    let caller = async |line: &Line| {
        line.is_bad(50, 7);
        let mut from = 0;
        for _ in 0..3 {
            from = answer(line, from, &words).await;
        }
    };
    asked(host, json!([question, question, question]), caller, |told| {
        let meanings = meanings(told);
        assert!(meanings.as_array().unwrap().contains(&json!({"choice": "cancel"})), "{}", told.record);
    })
    .await;
}

async fn a_pause_within_an_answer(host: &Host) {
    let words = [Voice::Rms.says("four seven"), silence(350), Voice::Rms.says("one nine")].concat();
    let questions = json!([{"ask": "What is your number?", "grammar": digits(4), "start": PATIENT}]);
    let caller = async |line: &Line| {
        answer(line, 0, &words).await;
    };
    asked(host, questions, caller, |told| assert_eq!(meanings(told), json!([{"digits": "4719"}]), "{}", told.record))
        .await;
}

async fn silence_and_other_words(host: &Host) {
    let questions = json!([
        {"ask": "Are you there?", "grammar": yes_no(), "start": 1_500},
        {"ask": "What can we do for you?", "grammar": menu(), "start": PATIENT},
    ]);
    let words = Voice::Slt.says("the weather has been terrible since the beginning of the week");
    let caller = async |line: &Line| {
        let from = line.hears_out(0).await;
        answer(line, from, &words).await;
    };
    asked(host, questions, caller, |Told { answers, record, .. }| {
        assert_eq!(answers[0]["heard"], "nothing", "{record}");
        assert!(answers[1]["heard"]["no_match"].is_string() && answers[1]["meaning"].is_null(), "{record}");
    })
    .await;
}

async fn a_secret(host: &Host) {
    let words = Voice::Rms.says("nine one one two");
    let questions =
        json!([{"ask": "What is your secret number?", "grammar": digits(4), "secret": true, "start": PATIENT}]);
    let caller = async |line: &Line| {
        answer(line, 0, &words).await;
    };
    let id = std::cell::Cell::new(String::new());
    asked(host, questions, caller, |told| {
        assert!(told.answers[0]["heard"]["speech"].as_u64().is_some_and(|length| length > 3), "{}", told.record);
        id.set(told.record["call_id"].as_str().unwrap().to_owned());
    })
    .await;
    let id = id.take();
    if id.is_empty() {
        return;
    }
    let record = host.text(&format!("/v1/calls/{id}")).await;
    let timeline = host.text(&format!("/v1/calls/{id}/timeline")).await;
    let tape = host.text(&format!("/v1/calls/{id}/tape")).await;
    for text in [record, timeline, tape, host.log()] {
        assert!(!text.contains("9112") && !text.contains("nine one one") && !text.contains("one one two"), "{text}");
    }
}

async fn a_prompt_that_nothing_cuts(host: &Host) {
    let prompt = "I will say this to its end, whatever you say meanwhile.";
    let words = Voice::Rms.says("make an appointment");
    let questions = json!([{"ask": prompt, "by": "nothing", "grammar": menu(), "start": PATIENT}]);
    let caller = async |line: &Line| {
        line.hears_somebody(0).await;
        line.say(&words);
    };
    asked(host, questions, caller, |told| {
        assert_eq!(meanings(told), json!([{"choice": "book"}]), "{}", told.record);
        assert_eq!(told.answers[0]["prompt"]["end"], "finished", "{}", told.record);
    })
    .await;
}

#[tokio::test]
async fn callers_interrupt_with_words_and_with_nothing_else() {
    let host = listening_host(Options::default()).await;
    tokio::join!(
        words_cut_a_prompt_off(&host),
        a_sound_that_is_no_word(&host),
        a_key_decides_although_somebody_speaks(&host),
        a_page_is_listened_to_as_a_telephone_is(&host),
    );
}

async fn words_cut_a_prompt_off(host: &Host) {
    let words = Voice::Rms.says("opening hours");
    let caller = async |line: &Line| {
        line.hears_somebody(0).await;
        line.say(&words);
    };
    let questions = json!([{"ask": LONG, "grammar": menu(), "start": PATIENT}]);
    asked(host, questions, caller, |told @ Told { answers, record, .. }| {
        assert_eq!(meanings(told), json!([{"choice": "hours"}]), "{record}");
        let prompt = &answers[0]["prompt"];
        assert_eq!(prompt["end"], "cut_by_speech", "{prompt}");
        let heard = prompt["heard_text"].as_str().unwrap();
        assert!(LONG.starts_with(heard) && heard.len() < LONG.len(), "{heard}");
        assert_eq!(record["transcript"][0]["interrupted_by"], "speech", "{record}");
        assert_eq!(record["transcript"][1]["text"], "opening hours", "{record}");
    })
    .await;
}

async fn a_sound_that_is_no_word(host: &Host) {
    // Somebody coughs, and clears his throat.
    let cough = [noise(100), silence(800), noise(400), silence(500)].concat();
    let words = Voice::Slt.says("make an appointment");
    let synthesised = voices::of_the_host(LONG).await;
    let caller = async |line: &Line| {
        line.hears_somebody(0).await;
        line.say(&cough);
        line.has_said_it().await;
        // The prompt goes on, and comes to its end.
        answer(line, line.heard().len(), &words).await;
    };
    let questions = json!([{"ask": LONG, "grammar": menu(), "start": PATIENT}]);
    asked(host, questions, caller, |told @ Told { answers, record, heard, .. }| {
        assert_eq!(meanings(told), json!([{"choice": "book"}]), "{record}");
        let prompt = &answers[0]["prompt"];
        assert_eq!((&prompt["end"], &prompt["heard_text"]), (&json!("finished"), &json!(LONG)), "{record}");
        // All of it was heard, in its order and without a gap within words, however often it paused.
        let found = fidelity::compare(&synthesised, &pcm(heard));
        assert!(found.slips.len() <= 3 && found.slips.iter().all(|(_, by)| *by > 0), "{found:?}");
        let is_pause = |gap: usize| found.slips.iter().any(|(slip, _)| slip.abs_diff(gap) <= 200);
        assert!(found.gaps.iter().all(|(gap, _)| is_pause(*gap)), "{found:?}");
        assert!(found.lost <= 4 && found.pieces > 20, "{found:?}");
    })
    .await;
}

/// The words come by a script, so that it is certain what they are; the voice, and the prompt that gives way to it, are real.
#[tokio::test]
async fn a_voice_silences_the_prompt_and_words_decide() {
    // Of the first voice the recogniser makes nothing, the second one agrees; then somebody has something to say.
    let script = "transcripts: [{ text: '' }, { text: uh-huh }, { text: on Friday at noon }]";
    let settings = || Settings { script: Script::parse(script).unwrap(), ..Settings::default() };
    let mut server = Server::start(([127, 0, 0, 1], 0).into(), settings()).await.unwrap();
    let address = server.address();
    let config = tempfile::NamedTempFile::new().unwrap();
    let scripted = format!(
        "[[speech.recognisers]]\nname = \"scripted\"\nkind = \"openai\"\nmodel = \"words\"\nurl = \"{}\"\n",
        server.url("http", "/v1")
    );
    std::fs::write(config.path(), scripted).unwrap();
    let flags = vec!["--config".to_owned(), config.path().display().to_string()];
    let host = listening_host(Options { flags, ..Options::default() }).await;
    let said = voices::of_the_host(LONG).await;
    let said = voiced(&said.iter().map(|&sample| Law::Mu.encode_sample(sample)).collect::<Vec<_>>());
    for n in 1..=CALLS {
        if a_false_interruption_and_a_nod(&host, &said, n).await {
            break;
        }
        // The script begins anew.
        drop(server);
        server = eventually("the port is free", async || Server::start(address, settings()).await.ok()).await;
    }
    let questions = json!([{"ask": LONG, "start": PATIENT}]);
    let words = Voice::Rms.says("on Friday at noon");
    let caller = async |line: &Line| {
        line.hears_somebody(0).await;
        line.say(&words);
    };
    asked(&host, questions, caller, |told @ Told { answers, record, heard, .. }| {
        assert_eq!(answers[0]["prompt"]["end"], "cut_by_speech", "{record}");
        assert_eq!(answers[0]["heard"]["speech"], "on Friday at noon", "{record}");
        // It fell silent before anybody knew the words, and has not said another one since.
        assert_eq!((told.count("prompt_paused"), told.count("prompt_resumed")), (1, 0), "{record}");
        let heard = voiced(heard);
        assert!(said.starts_with(&heard) && heard.len() < said.len() / 2, "{} of {}", heard.len(), said.len());
    })
    .await;
}

/// A call in which the prompt is interrupted twice by nobody who means it. Whether it was as it should be.
async fn a_false_interruption_and_a_nod(host: &Host, said: &[i16], n: usize) -> bool {
    let [well, agrees, answers] = ["well I never", "uh huh", "on Friday at noon"].map(|words| Voice::Rms.says(words));
    let watch = Watch::start();
    let questions = json!([{"ask": LONG, "start": PATIENT}]).to_string();
    let mut line = Phone::new().await.dial_probe(host, "spoken", &[("X-Probe-Questions", &questions)]).await;
    let mut from = line.hears_somebody(0).await;
    for words in [well, agrees] {
        line.say(&words);
        line.has_said_it().await;
        // It goes on.
        from = line.hears_somebody(line.heard().len()).await;
    }
    answer(&line, from, &answers).await;
    assert!(line.over().await.by_host);
    let call = line.dialog.id().to_owned();
    let told = told(host, line.heard(), |record| record["sip"]["call_id"] == *call).await;
    let so = |told @ Told { answers, record, heard, .. }: &Told| {
        let prompt = &answers[0]["prompt"];
        assert_eq!((&prompt["end"], &prompt["heard_text"]), (&json!("finished"), &json!(LONG)), "{record}");
        assert_eq!(answers[0]["heard"]["speech"], "on Friday at noon", "{record}");
        assert_eq!((told.count("prompt_paused"), told.count("prompt_resumed")), (2, 2), "{record}");
        // Each time it went on where it had stopped: without the silence, it is what was said.
        let found = fidelity::compare(said, &voiced(heard));
        assert!(found.is_whole(), "{found:?}");
    };
    judged(host, &told, &watch, n, so).await
}

/// The samples of the frames in which something sounds.
fn voiced(pcmu: &[u8]) -> Vec<i16> {
    let sounds = |frame: &&[i16]| frame.iter().any(|sample| sample.unsigned_abs() > 8);
    pcm(pcmu).chunks(FRAME).filter(sounds).flatten().copied().collect()
}

fn pcm(pcmu: &[u8]) -> Vec<i16> {
    pcmu.iter().map(|&byte| expand(byte)).collect()
}

async fn a_key_decides_although_somebody_speaks(host: &Host) {
    let words = Voice::Awb.says("well, let me think about it, I would rather press a key");
    let questions = json!([{"ask": LONG, "by": "both", "grammar": menu(), "digits": [1, 1], "start": PATIENT}]);
    let caller = async |line: &Line| {
        line.hears_somebody(0).await;
        line.say(&words);
        line.press("2");
    };
    asked(host, questions, caller, |told| {
        assert_eq!(told.answers[0]["heard"], json!({"digits": "2"}), "{}", told.record);
        assert_eq!(meanings(told), json!([{"choice": "cancel"}]), "{}", told.record);
    })
    .await;
}

async fn a_page_is_listened_to_as_a_telephone_is(host: &Host) {
    let words = [Voice::Rms.says("opening hours"), silence(200)].concat();
    let questions = json!([{"ask": LONG, "grammar": menu(), "start": PATIENT}]).to_string();
    for n in 1..=CALLS {
        let watch = Watch::start();
        let caller = WebCaller::probe(host, "spoken", &[("X-Probe-Questions", &questions)]).await;
        caller.sees("the prompt", |seen| seen.loud > 50).await;
        caller.speak(words.clone()).await;
        let told = told(host, Vec::new(), |record| record["call_id"] == *caller.id()).await;
        let so = |told: &Told| {
            assert_eq!(meanings(told), json!([{"choice": "hours"}]), "{}", told.record);
            assert_eq!(told.answers[0]["prompt"]["end"], "cut_by_speech", "{}", told.record);
        };
        if judged(host, &told, &watch, n, so).await {
            return;
        }
    }
}
