//! Taking turns by voice: pause, confirm, resume; when an utterance is over; what it means.

use crate::rig::*;
use callbox_dialogue::leg::{LegCommand, LegEvent};
use callbox_dialogue::script::{
    Heard, HostCall, HostError, HostReply, ListenOptions, PlayoutEnd, Prompt, Queueing, Reply, Segment,
};
use callbox_dialogue::{Input, Setup};
use callbox_grammar::Grammar;
use serde_json::{Value, json};

fn stops(command: &LegCommand) -> bool {
    matches!(command, LegCommand::Stop { .. })
}

fn pauses(command: &LegCommand) -> bool {
    matches!(command, LegCommand::Pause { .. })
}

fn resumes(command: &LegCommand) -> bool {
    matches!(command, LegCommand::Resume { .. })
}

fn ends_utterance(command: &LegCommand) -> bool {
    matches!(command, LegCommand::EndUtterance { .. })
}

fn started(rig: &mut Rig) {
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
}

fn ended(rig: &mut Rig) {
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
}

/// A menu: "book" by 1, "okay" by 2.
fn menu() -> Grammar {
    let choices = json!([
        {"value": "book", "phrases": ["book"], "key": "1"},
        {"value": "ok", "phrases": ["okay"], "key": "2"},
    ]);
    serde_json::from_value(json!({"answer": {"kind": "choices", "choices": choices}})).unwrap()
}

fn with_menu(options: ListenOptions) -> ListenOptions {
    ListenOptions { grammar: Some(menu()), ..options }
}

fn meaning(reply: Reply) -> Option<Value> {
    match reply {
        Ok(HostReply::MaybeJson(json)) => json.map(|json| serde_json::from_str(&json).unwrap()),
        other => panic!("no meaning: {other:?}"),
    }
}

/// A prompt that gives way to speech, 100 ms after its beginning (at 110), paused by a sound of 200 ms: it is 410.
fn paused(options: ListenOptions) -> Rig {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, options));
    rig.wait(10 + 100);
    started(&mut rig);
    rig.wait(200);
    assert_eq!(rig.told_at(pauses), Some(410));
    rig
}

// ---- pause, confirm, resume

#[test]
fn a_sound_without_words_pauses_the_prompt_and_it_goes_on_where_it_stopped() {
    let mut rig = paused(speech());
    rig.wait(100);
    ended(&mut rig);
    rig.to(510 + 1_999);
    assert_eq!(rig.told(resumes), 0);
    rig.wait(1);
    assert_eq!(rig.told_at(resumes), Some(510 + 2_000), "since the sound was over");
    assert_eq!(rig.told(stops), 0);
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Nothing);
    assert_eq!((prompt.end, prompt.played), (PlayoutEnd::Finished, 1_000));
    let turn = &rig.engine.record().transcript[0];
    assert_eq!((turn.start_ms, turn.end_ms), (110, 110 + 1_000 + 2_100));
    // The start timeout runs from its end.
    assert_eq!(rig.now, 110 + 1_000 + 2_100 + 5_000);
}

#[test]
fn a_cough_of_which_the_recogniser_makes_nothing_pauses_for_a_moment() {
    let mut rig = paused(speech());
    rig.hears = Some(Vec::new());
    rig.wait(100);
    ended(&mut rig);
    rig.wait(2_000);
    assert_eq!(rig.told_at(ends_utterance), Some(510 + 700));
    assert_eq!(rig.told_at(resumes), Some(510 + 700), "as soon as that is known");
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!((heard, prompt.end), (Heard::Nothing, PlayoutEnd::Finished), "neither an answer nor a no-match");
}

#[test]
fn a_back_channel_lets_the_prompt_go_on_as_soon_as_the_caller_is_silent() {
    let mut rig = paused(speech());
    rig.partial("uh-huh", 100, 350);
    rig.wait(50);
    assert_eq!(rig.told(resumes), 0, "more may come");
    rig.hears = Some(vec![utterance("uh-huh", 100, 350)]);
    ended(&mut rig);
    assert_eq!(rig.told_at(resumes), Some(460));
    rig.wait(1_000);
    assert_eq!(rig.reply(), None, "it is no answer");
    started(&mut rig);
    rig.partial("tomorrow", 1_400, 1_700);
    ended(&mut rig);
    rig.recognised("tomorrow", 1_400, 1_700);
    let (heard, _) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Speech(utterance("tomorrow", 1_400, 1_700)));
}

#[test]
fn a_back_channel_goes_over_into_words_that_cut() {
    let mut rig = paused(speech());
    rig.partial("okay", 100, 350);
    rig.wait(100);
    rig.partial("okay stop", 100, 500);
    assert_eq!(rig.told_at(stops), Some(510));
    assert_eq!(rig.told(resumes), 0);
}

#[test]
fn what_a_grammar_or_a_hint_takes_for_an_answer_is_no_back_channel() {
    for options in [with_menu(speech()), ListenOptions { hints: vec!["Okay".into()], ..speech() }] {
        let mut rig = paused(options);
        rig.partial("okay", 100, 350);
        assert_eq!(rig.told_at(stops), Some(410));
        ended(&mut rig);
        rig.recognised("okay", 100, 350);
        let (heard, prompt) = answer(rig.until_reply());
        assert_eq!(heard, Heard::Speech(utterance("okay", 100, 350)));
        assert_eq!((prompt.end, prompt.played, &*prompt.heard_text), (PlayoutEnd::CutBySpeech, 300, "one"));
    }
}

#[test]
fn an_answer_under_the_grammar_is_words_enough() {
    let mut rig = paused(with_menu(ListenOptions { min_words: 3, ..speech() }));
    rig.partial("I would", 100, 350);
    assert_eq!(rig.told(stops), 0);
    rig.partial("book", 100, 350);
    assert_eq!(rig.told(stops), 1);
}

#[test]
fn a_back_channel_that_was_over_before_the_prompt_was_is_no_answer_after_it() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, speech()));
    rig.wait(10 + 500);
    started(&mut rig);
    rig.wait(150);
    ended(&mut rig);
    rig.hears = Some(vec![utterance("mhm", 500, 650)]);
    rig.wait(1_000);
    assert_eq!(rig.told_at(ends_utterance), Some(760 + 700), "the prompt is over since 1110");
    let (heard, _) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Nothing);
    // Said after it, the same is an answer.
    rig.call(ask("one two three four", SPEECH, speech()));
    rig.wait(1_500);
    started(&mut rig);
    rig.wait(150);
    ended(&mut rig);
    rig.recognised("mhm", 1_500, 1_650);
    assert_eq!(answer(rig.until_reply()).0, Heard::Speech(utterance("mhm", 1_500, 1_650)));
}

#[test]
fn noise_without_end_silences_nobody_for_good() {
    let mut rig = paused(ListenOptions { resume_after: 1_000, ..speech() });
    rig.wait(3_500);
    assert_eq!(rig.told_at(resumes), Some(410 + 3_000));
    assert_eq!(rig.told(pauses), 1, "the same sound does not pause it again");
    // Words cut it all the same.
    rig.partial("hello there", 100, 3_900);
    assert_eq!(rig.told(stops), 1);
}

#[test]
fn a_prompt_is_paused_three_times_and_then_only_words_cut_it() {
    let mut rig = Rig::up(setup());
    rig.text_ms = 60_000;
    rig.call(ask("one two three four", SPEECH, ListenOptions { resume_after: 300, ..speech() }));
    rig.wait(10);
    for _ in 0..5 {
        rig.wait(1_000);
        started(&mut rig);
        rig.wait(250);
        ended(&mut rig);
    }
    assert_eq!((rig.told(pauses), rig.told(resumes)), (3, 3));
    rig.wait(1_000);
    started(&mut rig);
    rig.wait(250);
    rig.partial("stop it", 7_000, 7_250);
    assert_eq!(rig.told(stops), 1);
}

#[test]
fn the_threshold_counts_from_the_sound_and_not_from_its_report() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, speech()));
    rig.wait(10 + 500);
    rig.leg(LegEvent::SpeechStarted { ago: 80 });
    rig.wait(500);
    assert_eq!(rig.told_at(pauses), Some(610 - 80 + 200));
    // Not even over a prompt that has only begun.
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, speech()));
    rig.wait(10 + 50);
    rig.leg(LegEvent::SpeechStarted { ago: 4_000_000_000 });
    rig.wait(500);
    assert_eq!(rig.told_at(pauses), Some(110 + 200));
}

#[test]
fn without_patience_the_sound_itself_cuts() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, ListenOptions { resume_after: 0, ..speech() }));
    rig.wait(10 + 100);
    started(&mut rig);
    rig.wait(200);
    assert_eq!((rig.told_at(stops), rig.told(pauses)), (Some(410), 0));
}

#[test]
fn without_a_recogniser_the_sound_itself_cuts() {
    let deaf = || Setup { speech_recognition: false, ..setup() };
    for (start, call) in [
        (setup(), say("one two three four", SPEECH)),
        (setup(), ask("one two three four", SPEECH, keys(1, 1))),
        (deaf(), ask("one two three four", SPEECH, both(1, 1))),
    ] {
        let mut rig = Rig::up(start);
        rig.call(call);
        rig.wait(10 + 100);
        started(&mut rig);
        rig.wait(200);
        assert_eq!((rig.told_at(stops), rig.told(pauses)), (Some(410), 0));
    }
}

#[test]
fn a_recogniser_that_fails_leaves_the_decision_to_the_sound() {
    for speaking in [true, false] {
        let mut rig = paused(both(1, 1));
        if !speaking {
            ended(&mut rig);
        }
        let recognition = rig.recognition().unwrap();
        rig.recogniser_over(LegEvent::RecogniseFailed { recognition, error: HostError::Unavailable("gone".into()) });
        assert_eq!((rig.told(stops), rig.told(resumes)), if speaking { (1, 0) } else { (0, 1) });
    }
}

#[test]
fn a_key_cuts_a_paused_prompt_that_gives_way_to_keys_and_waits_for_any_other() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", BOTH, both(1, 1)));
    rig.wait(10 + 100);
    started(&mut rig);
    rig.wait(500);
    rig.press("5");
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Digits("5".into()));
    assert_eq!((prompt.end, prompt.played, &*prompt.heard_text), (PlayoutEnd::CutByDigits, 300, "one"));
    assert_eq!(rig.told(resumes), 0);

    let mut rig = paused(both(1, 1));
    rig.press("5");
    assert_eq!(rig.told(stops), 0);
    ended(&mut rig);
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Digits("5".into()));
    assert_eq!((prompt.end, prompt.played), (PlayoutEnd::Finished, 1_000));
}

#[test]
fn a_paused_prompt_is_stopped_replaced_and_ended_like_any_other() {
    let paused = || {
        let mut rig = Rig::up(setup());
        rig.words = true;
        let listening = handle(rig.ask_for(HostCall::StartListen { options: Box::new(speech()) }));
        let playback = handle(rig.ask_for(start_say("one two three four", SPEECH)));
        rig.wait(10 + 400);
        started(&mut rig);
        rig.wait(1_000);
        assert_eq!((rig.told_at(pauses), rig.told(resumes)), (Some(710), 0));
        (rig, playback, listening)
    };
    let got = |reply: Reply| {
        let playout = playout(reply);
        (playout.end, playout.played, playout.heard_text)
    };
    let cut = |end| (end, 600, "one two".to_owned());

    let (mut rig, playback, _) = paused();
    assert_eq!(got(rig.ask_for(HostCall::StopPlayback { handle: playback })), cut(PlayoutEnd::Stopped));

    let (mut rig, playback, _) = paused();
    let prompt = Prompt { queueing: Queueing::Replace, ..prompt("five", NOTHING) };
    assert_eq!(got(rig.ask_for(HostCall::Say { prompt })).0, PlayoutEnd::Finished);
    assert_eq!(got(rig.ask_for(HostCall::AwaitPlayback { handle: playback })), cut(PlayoutEnd::Stopped));

    // A leg that is gone reports nothing any more: the clock knows, and does not count the pause.
    let (mut rig, ..) = paused();
    rig.remote_hangup();
    let turn = &rig.engine.record().transcript[0];
    assert_eq!(turn.heard_text.as_deref(), Some("one two"));

    // Nobody hears the words any more: the sound, which goes on, decides.
    let (mut rig, playback, listening) = paused();
    rig.ask_for(HostCall::Release { handle: listening }).unwrap();
    assert_eq!(got(rig.ask_for(HostCall::AwaitPlayback { handle: playback })), cut(PlayoutEnd::CutBySpeech));

    let (mut rig, playback, listening) = paused();
    ended(&mut rig);
    rig.ask_for(HostCall::Release { handle: listening }).unwrap();
    assert_eq!(rig.told(resumes), 1);
    assert_eq!(got(rig.ask_for(HostCall::AwaitPlayback { handle: playback })).0, PlayoutEnd::Finished);
}

#[test]
fn a_writer_writes_on_while_its_prompt_is_paused() {
    let mut rig = Rig::up(setup());
    handle(rig.ask_for(HostCall::StartListen { options: Box::new(speech()) }));
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: SPEECH }));
    rig.ask_for(HostCall::Write { handle: writer, text: "One two. ".into() }).unwrap();
    rig.wait(10 + 100);
    started(&mut rig);
    rig.wait(300);
    assert_eq!(rig.told(pauses), 1);
    let written = rig.ask_for(HostCall::Write { handle: writer, text: "Three four. ".into() });
    assert_eq!(written, Ok(HostReply::MaybePlayout(None)));
    rig.ask_for(HostCall::FinishWriter { handle: writer }).unwrap();
    ended(&mut rig);
    let all = playout(rig.ask_for(HostCall::AwaitPlayback { handle: writer }));
    assert_eq!((all.end, all.played), (PlayoutEnd::Finished, 2_000));
    // One that is full waits for room as long as it is paused, and no longer.
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: SPEECH }));
    rig.text_ms = 60_000;
    rig.ask_for(HostCall::Write { handle: writer, text: format!("{}. ", "word ".repeat(80)) }).unwrap();
    rig.wait(10 + 100);
    started(&mut rig);
    rig.wait(300);
    rig.call(HostCall::Write { handle: writer, text: format!("{}. ", "word ".repeat(80)) });
    rig.wait(1_000);
    assert_eq!(rig.reply(), None);
    rig.partial("stop", 5_000, 5_300);
    let Ok(HostReply::MaybePlayout(Some(cut))) = rig.until_reply() else { panic!("the writer was not told") };
    assert_eq!((cut.end, cut.played), (PlayoutEnd::CutBySpeech, 300));
}

// ---- the end of an utterance

#[test]
fn an_utterance_ends_with_the_silence_after_the_sound_itself() {
    let mut rig = Rig::up(setup());
    rig.call(listen(speech()));
    rig.wait(1_000);
    started(&mut rig);
    rig.wait(1_000);
    rig.leg(LegEvent::SpeechEnded { ago: 180 });
    rig.hears = Some(vec![utterance("a cat", 1_000, 1_820)]);
    rig.final_ms = 40;
    assert_eq!(heard(rig.until_reply()), Heard::Speech(utterance("a cat", 1_000, 1_820)));
    assert_eq!(rig.told_at(ends_utterance), Some(2_100 - 180 + 700));
    assert_eq!(rig.now, 2_100 - 180 + 700 + 40);
}

#[test]
fn a_pause_within_an_utterance_does_not_end_it() {
    let mut rig = Rig::up(setup());
    rig.call(listen(speech()));
    for _ in 0..3 {
        started(&mut rig);
        rig.wait(400);
        ended(&mut rig);
        rig.wait(690);
    }
    assert_eq!(rig.told(ends_utterance), 0);
    rig.wait(10);
    assert_eq!(rig.told(ends_utterance), 1);
}

#[test]
fn a_whole_answer_ends_sooner_than_half_of_one() {
    for (text, silence) in [("book", 300), ("boo", 700)] {
        let mut rig = Rig::up(setup());
        rig.call(listen(with_menu(speech())));
        started(&mut rig);
        rig.wait(400);
        rig.partial(text, 0, 400);
        ended(&mut rig);
        rig.wait(2_000);
        assert_eq!(rig.told_at(ends_utterance), Some(500 + silence), "{text}");
    }
}

#[test]
fn an_answer_that_may_go_on_waits_for_more() {
    let may_go_on = json!([
        {"value": "book", "phrases": ["book"]},
        {"value": "table", "phrases": ["book a table"]},
    ]);
    let grammar = json!({"answer": {"kind": "choices", "choices": may_go_on}});
    let mut rig = Rig::up(setup());
    rig.call(listen(ListenOptions { grammar: Some(serde_json::from_value(grammar).unwrap()), ..speech() }));
    started(&mut rig);
    rig.wait(400);
    rig.partial("book", 0, 400);
    ended(&mut rig);
    rig.wait(2_000);
    assert_eq!(rig.told_at(ends_utterance), Some(500 + 700));
}

#[test]
fn digits_are_complete_with_the_last_that_may_come() {
    let grammar = json!({"answer": {"kind": "digits", "min": 4, "max": 4}});
    let mut rig = Rig::up(setup());
    rig.call(listen(ListenOptions { grammar: Some(serde_json::from_value(grammar).unwrap()), ..speech() }));
    started(&mut rig);
    rig.wait(1_000);
    rig.partial("four seven one", 0, 1_000);
    rig.wait(300);
    assert_eq!(rig.told(ends_utterance), 0);
    rig.partial("four seven one one", 0, 1_300);
    assert_eq!(rig.told_at(ends_utterance), Some(1_400), "at once, while the last still sounds");
    rig.recognised("four seven one one", 0, 1_300);
    rig.until_reply().unwrap();
    let meant = meaning(rig.ask_for(HostCall::Meaning { handle: None }));
    assert_eq!(meant, Some(json!({"digits": "4711"})));
}

#[test]
fn tomorrow_is_that_of_the_zone() {
    // 2026-10-26T07:33:20Z: still the day before in Hawaii.
    let grammar = || serde_json::from_value(json!({"answer": {"kind": "date"}})).unwrap();
    for (zone, date) in [(None, "2026-10-27"), (Some("Pacific/Honolulu"), "2026-10-26")] {
        let mut rig = Rig::up(setup());
        let zone = zone.map(str::to_owned);
        rig.call(listen(ListenOptions { grammar: Some(grammar()), zone, ..speech() }));
        rig.recognised("tomorrow", 0, 400);
        rig.until_reply().unwrap();
        let meant = meaning(rig.ask_for(HostCall::Meaning { handle: None }));
        assert_eq!(meant, Some(json!({ "date": date })));
    }
}

#[test]
fn words_that_come_late_end_an_utterance_whose_silence_is_over() {
    let mut rig = Rig::up(setup());
    rig.call(listen(with_menu(speech())));
    started(&mut rig);
    rig.wait(400);
    ended(&mut rig);
    rig.wait(500);
    rig.partial("book", 0, 400);
    assert_eq!(rig.told_at(ends_utterance), Some(1_000));
}

#[test]
fn a_line_that_never_falls_silent_ends_with_words_that_stand_still() {
    let mut rig = Rig::up(setup());
    rig.call(listen(speech()));
    started(&mut rig);
    rig.wait(400);
    rig.partial("a cat", 0, 400);
    rig.wait(1_000);
    rig.partial("a cat", 0, 400);
    rig.wait(5_000);
    assert_eq!(rig.told_at(ends_utterance), Some(500 + 3_000));
}

#[test]
fn a_recogniser_may_know_better_when_somebody_is_done() {
    let mut rig = Rig::up(setup());
    rig.call(listen(speech()));
    started(&mut rig);
    rig.wait(400);
    rig.recognised("a cat", 0, 400);
    assert_eq!(heard(rig.reply().unwrap()), Heard::Speech(utterance("a cat", 0, 400)));
    assert_eq!(rig.told(ends_utterance), 0);
}

#[test]
fn a_result_that_never_comes_is_the_whole_answer_so_far_or_no_match() {
    for (text, result) in
        [("book", Heard::Speech(utterance("book", 0, 400))), ("a cat", Heard::NoMatch("a cat".into()))]
    {
        let mut rig = Rig::up(setup());
        rig.call(listen(with_menu(speech())));
        started(&mut rig);
        rig.wait(400);
        rig.partial(text, 0, 400);
        ended(&mut rig);
        assert_eq!(heard(rig.until_reply()), result);
        assert_eq!(rig.now, rig.told_at(ends_utterance).unwrap() + 3_000);
    }
}

#[test]
fn a_cough_is_no_answer_and_a_longer_sound_without_words_is_no_match() {
    for (length, result) in [(300, Heard::Nothing), (900, Heard::NoMatch(String::new()))] {
        let mut rig = Rig::up(setup());
        rig.call(listen(speech()));
        rig.hears = Some(Vec::new());
        started(&mut rig);
        rig.wait(length);
        ended(&mut rig);
        assert_eq!(heard(rig.until_reply()), result, "{length}");
    }
}

// ---- what it means

#[test]
fn an_answer_has_its_meaning_and_anything_else_is_no_match() {
    let mut rig = Rig::up(setup());
    let mut said = |text: &str| {
        rig.call(listen(with_menu(speech())));
        rig.recognised(text, 0, 400);
        let heard = heard(rig.until_reply());
        let first = meaning(rig.ask_for(HostCall::Meaning { handle: None }));
        assert_eq!(first, meaning(rig.ask_for(HostCall::Meaning { handle: None })), "as often as it is asked for");
        (heard, first)
    };
    assert_eq!(said("book"), (Heard::Speech(utterance("book", 0, 400)), Some(json!({"choice": "book"}))));
    assert_eq!(said("cook"), (Heard::NoMatch("cook".into()), None));
    // Without a grammar nothing means anything.
    rig.call(listen(speech()));
    rig.recognised("book", 0, 400);
    rig.until_reply().unwrap();
    assert_eq!(meaning(rig.ask_for(HostCall::Meaning { handle: None })), None);
}

#[test]
fn the_best_hypothesis_that_is_an_answer_is_the_answer() {
    let mut rig = Rig::up(setup());
    let options = Box::new(with_menu(speech()));
    let listening = handle(rig.ask_for(HostCall::StartListen { options }));
    let recognition = rig.recognition().unwrap();
    let alternatives = vec![utterance("cook", 0, 400), utterance("book", 0, 410)];
    rig.recogniser_over(LegEvent::Recognised { recognition, alternatives: alternatives.clone() });
    let heard = heard(rig.ask_for(HostCall::AwaitListening { handle: listening }));
    assert_eq!(heard, Heard::Speech(utterance("book", 0, 410)));
    let meant = meaning(rig.ask_for(HostCall::Meaning { handle: Some(listening) }));
    assert_eq!(meant, Some(json!({"choice": "book"})));
    let all = rig.ask_for(HostCall::Alternatives { handle: listening });
    assert_eq!(all, Ok(HostReply::Utterances(alternatives)));
    assert_eq!(meaning(rig.ask_for(HostCall::Meaning { handle: None })), None, "that is of blocking calls");
}

#[test]
fn keys_mean_what_the_grammar_says() {
    let mut rig = Rig::up(setup());
    for (key, means) in [("1", Some(json!({"choice": "book"}))), ("9", None)] {
        rig.call(listen(with_menu(both(1, 1))));
        rig.press(key);
        assert_eq!(heard(rig.reply().unwrap()), Heard::Digits(key.into()), "a script may take other keys, too");
        assert_eq!(meaning(rig.ask_for(HostCall::Meaning { handle: None })), means);
    }
}

#[test]
fn kept_keys_count_where_what_was_said_is_no_answer() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", BOTH, with_menu(both(1, 1))));
    rig.wait(110);
    started(&mut rig);
    rig.wait(250);
    rig.partial("a cat", 100, 350);
    assert_eq!(rig.told(stops), 1);
    rig.press("1");
    ended(&mut rig);
    rig.recognised("a cat", 100, 350);
    assert_eq!(answer(rig.until_reply()).0, Heard::Digits("1".into()));
}

#[test]
fn what_a_secret_means_is_secret() {
    let mut rig = Rig::up(setup());
    rig.call(listen(ListenOptions { sensitive: true, ..with_menu(speech()) }));
    rig.recognised("book", 0, 400);
    assert!(rig.marked_reply().unwrap().1);
    rig.call(HostCall::Meaning { handle: None });
    let (reply, sensitive) = rig.marked_reply().unwrap();
    assert_eq!(meaning(reply), Some(json!({"choice": "book"})));
    assert!(sensitive);
    assert_eq!(rig.engine.record().transcript[0].text, "***");
}

#[test]
fn what_makes_no_sense_is_told_before_anything_is_said() {
    let mut rig = Rig::new(setup());
    let zone = ListenOptions { zone: Some("Mars/Olympus".into()), ..speech() };
    assert!(matches!(rig.ask_for(listen(zone)), Err(HostError::NotFound(_))));
    let grammar = json!({"answer": {"kind": "digits", "min": 9, "max": 4}});
    let grammar = ListenOptions { grammar: Some(serde_json::from_value(grammar).unwrap()), ..speech() };
    let Err(HostError::InvalidArgument(why)) = rig.ask_for(listen(grammar)) else { panic!("taken") };
    assert!(why.starts_with("grammar: "), "{why}");
    assert_eq!(rig.commands, [], "not even answered");
}

// ---- how long the caller waits

#[test]
fn the_latency_of_a_turn_is_the_sum_of_its_parts() {
    let mut rig = Rig::up(setup());
    rig.prepare_ms = 30;
    rig.call(listen(speech()));
    started(&mut rig);
    rig.wait(1_000);
    rig.leg(LegEvent::SpeechEnded { ago: 200 });
    rig.hears = Some(vec![utterance("a cat", 0, 800)]);
    rig.final_ms = 50;
    rig.until_reply().unwrap();
    rig.wait(70);
    rig.ask_for(say("a fine cat", NOTHING)).unwrap();
    rig.ask_for(say("it is", NOTHING)).unwrap();
    let record = rig.engine.record();
    let latency = record.transcript[1].latency.unwrap();
    let parts =
        [latency.endpointing_ms, latency.recognition_ms, latency.script_ms, latency.synthesis_ms, latency.playout_ms];
    assert_eq!(parts, [700, 50, 70, 30, 0]);
    assert_eq!(latency.total_ms, 850);
    assert_eq!(record.latencies().collect::<Vec<_>>(), [latency], "the first prompt answers, no other");
    assert!(record.timeline.iter().any(|entry| entry.kind == "turn" && entry.detail.contains("850 ms")));
    assert!(record.transcript[0].latency.is_none() && record.transcript[2].latency.is_none());
}

#[test]
fn for_keys_it_counts_from_the_last_one() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(1, 4)));
    rig.press("12");
    rig.until_reply().unwrap();
    rig.ask_for(say("twelve", NOTHING)).unwrap();
    let latency = rig.engine.record().latencies().next().unwrap();
    assert_eq!((latency.endpointing_ms, latency.recognition_ms, latency.total_ms), (1_000, 0, 1_010));
}

#[test]
fn what_was_said_before_is_no_answer_and_neither_is_a_silence() {
    let mut rig = Rig::up(setup());
    let segments = vec![Segment::Text("one".into())];
    rig.ask_for(HostCall::StartSay { prompt: Prompt { segments, barge_in: NOTHING, queueing: Queueing::Append } })
        .unwrap();
    handle(rig.ask_for(start_say("two", NOTHING)));
    rig.call(ask("three", NOTHING, keys(1, 1)));
    rig.press("1");
    rig.until_reply().unwrap();
    rig.ask_for(say("four", NOTHING)).unwrap();
    let latencies = || rig.engine.record().transcript.iter().map(|turn| (&*turn.text, turn.latency.is_some()));
    let expected = [("one", false), ("two", false), ("three", false), ("", false), ("four", true)];
    assert_eq!(latencies().collect::<Vec<_>>(), expected);
    // Kept until the prompts were over: nobody waited for an answer meanwhile.
    assert_eq!(rig.engine.record().latencies().next().unwrap().total_ms, 10);
    let mut rig = Rig::up(setup());
    rig.ask_for(listen(keys(1, 1))).unwrap();
    rig.ask_for(say("nobody there", NOTHING)).unwrap();
    assert_eq!(rig.engine.record().latencies().count(), 0);
}

#[test]
fn a_writer_answers_with_its_first_sentence() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(1, 1)));
    rig.press("1");
    rig.until_reply().unwrap();
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    rig.wait(400);
    rig.ask_for(HostCall::Write { handle: writer, text: "Well. ".into() }).unwrap();
    rig.ask_for(HostCall::FinishWriter { handle: writer }).unwrap();
    rig.ask_for(HostCall::AwaitPlayback { handle: writer }).unwrap();
    let latency = rig.engine.record().latencies().next().unwrap();
    assert_eq!((latency.script_ms, latency.synthesis_ms, latency.total_ms), (400, 0, 400));
}

#[test]
fn a_lying_leg_makes_no_latency_negative() {
    let mut rig = Rig::up(setup());
    rig.call(listen(speech()));
    rig.leg(LegEvent::SpeechEnded { ago: 100 });
    started(&mut rig);
    rig.wait(10);
    rig.leg(LegEvent::SpeechEnded { ago: u32::MAX });
    rig.wait(10);
    rig.recognised("a cat", 0, u32::MAX);
    rig.until_reply().unwrap();
    rig.give(Input::Tick);
    rig.ask_for(say("a fine cat", NOTHING)).unwrap();
    let latency = rig.engine.record().latencies().next().unwrap();
    assert_eq!(latency.total_ms, 20 + 10, "no sound is over before it begins");
}
