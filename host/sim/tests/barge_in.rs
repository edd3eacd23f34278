//! Each row of the barge-in table of the dialogue's rules, with a real component on a simulated leg.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_dialogue::script::{Heard, HostReply, Playout, PlayoutEnd, Utterance};
use callbox_dialogue::{Reply, Time};
use callbox_sim::{Act, Saying, Situation, Timetable, Told};
use guests::{BOTH, Cut, KEY, Listen, SPEECH, stage};

/// Ten words: 3,750 ms.
const PROMPT: &str = "one two three four five six seven eight nine ten";

fn press(at: u64, digit: char) -> (Time, Act) {
    (Time(at), Act::Press { digit })
}

fn say(at: u64, text: &str) -> (Time, Act) {
    (Time(at), Act::Say(Saying::words(text)))
}

async fn asked<const N: usize>(cut: Cut, listen: Listen, acts: [(Time, Act); N]) -> (Heard, Playout, Told) {
    let stage = stage(|script| {
        script.ask(PROMPT, cut, listen);
    })
    .await;
    let told = stage.play(&Situation::default(), &mut Timetable::new(acts)).await;
    let answer = told.trace.iter().find_map(|exchange| match &exchange.reply {
        Some(Ok(HostReply::Answer { heard, prompt })) => Some((heard.clone(), prompt.clone())),
        _ => None,
    });
    let (heard, prompt) = answer.unwrap_or_else(|| panic!("{:#?}", told.trace));
    (heard, prompt, told)
}

async fn said<const N: usize>(cut: Cut, acts: [(Time, Act); N]) -> (Playout, Told) {
    let stage = stage(|script| {
        script.say(PROMPT, cut).listen(Listen { type_ahead: true, ..KEY });
    })
    .await;
    let told = stage.play(&Situation::default(), &mut Timetable::new(acts)).await;
    let Some(Ok(HostReply::Playout(playout))) = told.trace[0].reply.clone() else { panic!("{:#?}", told.trace) };
    (playout, told)
}

fn heard(reply: &Option<Reply>) -> &Heard {
    match reply {
        Some(Ok(HostReply::Heard(heard))) => heard,
        other => panic!("nothing was heard: {other:?}"),
    }
}

fn playout(end: PlayoutEnd, played: u32, heard_text: &str) -> Playout {
    Playout { end, played, heard_text: heard_text.into() }
}

fn complete() -> Playout {
    playout(PlayoutEnd::Finished, 3_750, PROMPT)
}

#[tokio::test]
async fn nothing_cuts_and_nobody_listens() {
    let (prompt, told) = said(Cut::Nothing, [say(500, "hello"), press(1_000, '7')]).await;
    assert_eq!(prompt, complete());
    // The key was typed ahead, and counts; what was said is forgotten.
    assert_eq!(heard(&told.trace[1].reply), &Heard::Digits("7".into()));
    assert_eq!(told.trace[1].answered, Some(Time(3_750)));
}

#[tokio::test]
async fn nothing_cuts_and_somebody_listens() {
    let (answer, prompt, told) = asked(Cut::Nothing, BOTH, [say(500, "yes please")]).await;
    assert_eq!((answer, prompt), (Heard::Speech(utterance("yes please", 500, 1_250)), complete()));
    assert_eq!(told.trace[0].answered, Some(Time(3_750)), "transcribed once the prompt is over");

    let (answer, prompt, told) = asked(Cut::Nothing, BOTH, [press(500, '4')]).await;
    assert_eq!((answer, prompt), (Heard::Digits("4".into()), complete()));
    assert_eq!(told.trace[0].answered, Some(Time(3_750)), "played complete, then heard");
}

#[tokio::test]
async fn digits_cut() {
    let (answer, prompt, told) = asked(Cut::Digits, BOTH, [say(300, "hello there"), press(1_200, '4')]).await;
    assert_eq!(answer, Heard::Digits("4".into()));
    assert_eq!(prompt, playout(PlayoutEnd::CutByDigits, 1_200, "one two three"));
    assert_eq!(told.record.transcript[0].interrupted_by.as_deref(), Some("digits"));
    // What is said during such a prompt is ignored.
    let (answer, prompt, _) = asked(Cut::Digits, BOTH, [say(300, "hello there")]).await;
    assert_eq!((answer, prompt), (Heard::Nothing, complete()));
}

#[tokio::test]
async fn speech_cuts_past_the_thresholds() {
    let listen = Listen { min_speech: Some(300), min_words: 2, ..BOTH };
    // A back-channel lets the prompt go on where it paused, and is no answer.
    let (answer, prompt, told) = asked(Cut::Speech, listen, [say(500, "uh-huh")]).await;
    assert_eq!((answer, prompt), (Heard::Nothing, complete()));
    let spoken = &told.record.transcript[0];
    assert_eq!(spoken.end_ms, spoken.start_ms + 3_750 + 75, "paused from 800 to 875 ms");

    let (answer, prompt, told) = asked(Cut::Speech, listen, [say(500, "no wait please")]).await;
    // It falls silent after 300 ms, and the second word, which decides, is over 750 ms after the first began.
    assert_eq!(prompt, playout(PlayoutEnd::CutBySpeech, 800, "one two"));
    assert_eq!(answer, Heard::Speech(utterance("no wait please", 500, 1_625)));
    assert_eq!(told.trace[0].answered, Some(Time(1_625 + 700)), "after the silence that ends the utterance");
}

#[tokio::test]
async fn keys_wait_while_speech_alone_cuts() {
    let (answer, prompt, told) = asked(Cut::Speech, BOTH, [press(500, '4')]).await;
    assert_eq!((answer, prompt), (Heard::Digits("4".into()), complete()));
    assert_eq!(told.trace[0].answered, Some(Time(3_750)));
}

#[tokio::test]
async fn the_first_of_both_cuts_and_the_other_is_kept() {
    let (answer, prompt, _) = asked(Cut::Both, BOTH, [press(800, '4'), say(900, "hello")]).await;
    assert_eq!(answer, Heard::Digits("4".into()));
    assert_eq!(prompt, playout(PlayoutEnd::CutByDigits, 800, "one two"));

    let stage = stage(|script| {
        script.ask(PROMPT, Cut::Both, BOTH).listen(Listen { type_ahead: true, ..KEY });
    })
    .await;
    let acts = [say(800, "hello"), press(1_200, '4')];
    let told = stage.play(&Situation::default(), &mut Timetable::new(acts)).await;
    let Some(Ok(HostReply::Answer { heard: first, prompt })) = &told.trace[0].reply else { panic!("{:?}", told.trace) };
    assert_eq!(first, &Heard::Speech(utterance("hello", 800, 1_175)));
    // It fell silent after the 200 ms that make a sound a voice; the word made it a turn.
    assert_eq!(prompt, &playout(PlayoutEnd::CutBySpeech, 1_000, "one two"));
    assert_eq!(heard(&told.trace[1].reply), &Heard::Digits("4".into()), "kept for the next");

    // A key is certain at once: what is not a word by then was not the first.
    let (answer, prompt, _) = asked(Cut::Both, BOTH, [say(800, "hello"), press(1_100, '4')]).await;
    assert_eq!(answer, Heard::Digits("4".into()));
    assert_eq!(prompt, playout(PlayoutEnd::CutByDigits, 1_000, "one two"));
}

#[tokio::test]
async fn noise_is_no_answer_and_speech_behind_it_is() {
    let acts = [(Time(4_000), Act::Noise { length: 300 }), say(5_000, "yes")];
    let (answer, _, _) = asked(Cut::Nothing, SPEECH, acts).await;
    assert_eq!(answer, Heard::Speech(utterance("yes", 5_000, 5_375)));
}

fn utterance(text: &str, start: u32, end: u32) -> Utterance {
    Utterance { text: text.into(), confidence: Some(1.0), language: "en".into(), start, end }
}

/// Two words of which one may be said for the other.
const MENU: Listen = Listen {
    grammar: Some(
        r#"{"answer": {"kind": "choices", "choices": [
            {"value": "book", "phrases": ["book"], "key": "4"},
            {"value": "fine", "phrases": ["okay"]}
        ]}}"#,
    ),
    ..BOTH
};

async fn answered<const N: usize>(cut: Cut, listen: Listen, acts: [(Time, Act); N]) -> (Heard, Option<String>, Told) {
    let stage = stage(|script| {
        script.ask(PROMPT, cut, listen).meaning();
    })
    .await;
    let told = stage.play(&Situation::default(), &mut Timetable::new(acts)).await;
    let (asked, meant) = (&told.trace[0].reply, &told.trace[1].reply);
    let Some(Ok(HostReply::Answer { heard, .. })) = asked else { panic!("{:#?}", told.trace) };
    let Some(Ok(HostReply::MaybeJson(meaning))) = meant else { panic!("{:#?}", told.trace) };
    (heard.clone(), meaning.clone(), told)
}

#[tokio::test]
async fn a_grammar_tells_answers_from_the_rest_and_when_they_are_whole() {
    let (answer, meaning, told) = answered(Cut::Speech, MENU, [say(500, "book")]).await;
    assert_eq!(answer, Heard::Speech(utterance("book", 500, 875)));
    assert_eq!(meaning.as_deref(), Some(r#"{"choice":"book"}"#));
    assert_eq!(told.trace[0].answered, Some(Time(875 + 300)), "nothing can follow");

    // What would be a back-channel elsewhere is an answer here.
    let (answer, meaning, _) = answered(Cut::Speech, MENU, [say(500, "okay")]).await;
    assert_eq!(answer, Heard::Speech(utterance("okay", 500, 875)));
    assert_eq!(meaning.as_deref(), Some(r#"{"choice":"fine"}"#));

    let (answer, meaning, told) = answered(Cut::Speech, MENU, [say(500, "a banana")]).await;
    assert_eq!((answer, meaning), (Heard::NoMatch("a banana".into()), None));
    assert_eq!(told.trace[0].answered, Some(Time(500 + 750 + 700)), "more might have followed");

    let (answer, meaning, _) = answered(Cut::Both, MENU, [press(500, '4')]).await;
    assert_eq!((answer, meaning.as_deref()), (Heard::Digits("4".into()), Some(r#"{"choice":"book"}"#)));
}

#[tokio::test]
async fn a_noise_pauses_the_robot_until_it_is_known_to_be_none_or_patience_ends() {
    let noise = |at, length| (Time(at), Act::Noise { length });
    // 300 ms of noise from 500: silent from 700, the recogniser is asked at 1,500 and has heard nothing.
    let (_, prompt, told) = asked(Cut::Speech, BOTH, [noise(500, 300)]).await;
    assert_eq!(prompt, complete());
    let spoken = &told.record.transcript[0];
    assert_eq!(spoken.end_ms - spoken.start_ms, 3_750 + 800);

    let hasty = Listen { resume_after: Some(400), ..BOTH };
    let (_, prompt, told) = asked(Cut::Speech, hasty, [noise(500, 300)]).await;
    assert_eq!(prompt, complete());
    let spoken = &told.record.transcript[0];
    assert_eq!(spoken.end_ms - spoken.start_ms, 3_750 + 500, "400 ms after the noise");

    let never = Listen { resume_after: Some(0), ..BOTH };
    let (_, prompt, _) = asked(Cut::Speech, never, [noise(500, 300)]).await;
    assert_eq!(prompt, playout(PlayoutEnd::CutBySpeech, 700, "one"));
}

#[tokio::test]
async fn the_record_tells_how_long_the_caller_waited() {
    let stage = stage(|script| {
        script.ask(PROMPT, Cut::Nothing, MENU).sleep(250).say("done", Cut::Nothing);
    })
    .await;
    let told = stage.play(&Situation::default(), &mut Timetable::new([say(4_000, "book")])).await;
    let latency = told.record.latencies().next().unwrap();
    assert_eq!((latency.endpointing_ms, latency.script_ms, latency.total_ms), (300, 250, 550));
}
