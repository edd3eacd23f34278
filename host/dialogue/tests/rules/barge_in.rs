//! The table "Barge-in" of `DIALOGUE.md`, row by row, and what goes with it.

use crate::rig::*;
use callbox_dialogue::leg::{LegCommand, LegEvent};
use callbox_dialogue::script::{Heard, HostCall, HostReply, ListenOptions, PlayoutEnd, Prompt, Queueing};

fn stops(command: &LegCommand) -> bool {
    matches!(command, LegCommand::Stop { .. })
}

fn pauses(command: &LegCommand) -> bool {
    matches!(command, LegCommand::Pause { .. })
}

/// Row 1: gives way to nothing, nobody listens.
#[test]
fn a_prompt_that_gives_way_to_nothing_is_played_complete() {
    let mut rig = Rig::up(setup());
    rig.call(say("one two three four", NOTHING));
    rig.wait(300);
    rig.press("1");
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(500);
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    let heard_of = playout(rig.until_reply());
    assert_eq!(heard_of.end, PlayoutEnd::Finished);
    assert_eq!(heard_of.played, 1_000);
    assert_eq!(heard_of.heard_text, "one two three four");
    assert_eq!(rig.told(stops), 0);
    // The key is gone, too.
    assert_eq!(heard(rig.ask_for(listen(keys(1, 1)))), Heard::Nothing);
}

/// Row 1, with type-ahead: the key counts for the next listening.
#[test]
fn with_type_ahead_keys_before_the_listening_count() {
    let mut rig = Rig::up(setup());
    rig.call(say("one two three four", NOTHING));
    rig.wait(300);
    rig.press("12");
    assert_eq!(playout(rig.until_reply()).end, PlayoutEnd::Finished);
    let options = ListenOptions { type_ahead: true, ..keys(1, 2) };
    let before = rig.now;
    assert_eq!(heard(rig.ask_for(listen(options))), Heard::Digits("12".into()));
    assert_eq!(rig.now, before);
}

/// Row 2: gives way to nothing, somebody listens: keys are kept.
#[test]
fn keys_during_a_prompt_that_gives_way_to_nothing_are_kept_for_the_collection() {
    let mut rig = Rig::up(setup());
    let begin = rig.now;
    rig.call(ask("press a key", NOTHING, keys(1, 1)));
    rig.wait(300);
    rig.press("7");
    assert_eq!(rig.reply(), None, "the prompt is played first");
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Digits("7".into()));
    assert_eq!((prompt.end, prompt.played), (PlayoutEnd::Finished, 1_000));
    assert_eq!(rig.now, begin + 10 + 1_000);
    assert_eq!(rig.told(stops), 0);
}

/// Row 2: speech is transcribed, and heard once the prompt is over.
#[test]
fn speech_during_a_prompt_that_gives_way_to_nothing_is_heard_afterwards() {
    let mut rig = Rig::up(setup());
    rig.call(ask("what is it", NOTHING, speech()));
    rig.wait(200);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(400);
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    rig.recognised("a cat", 200, 600);
    assert_eq!(rig.reply(), None);
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Speech(utterance("a cat", 200, 600)));
    assert_eq!(prompt.end, PlayoutEnd::Finished);
    assert_eq!(rig.told(stops), 0);
}

/// Row 3: gives way to keys: the prompt stops at once and the key counts.
#[test]
fn a_key_cuts_a_prompt_that_gives_way_to_keys_and_counts() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", DIGITS, keys(1, 1)));
    rig.wait(10 + 600);
    let pressed = rig.now;
    rig.press("3");
    assert_eq!(rig.told_at(stops), Some(pressed), "in the same moment");
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Digits("3".into()));
    assert_eq!((prompt.end, prompt.played), (PlayoutEnd::CutByDigits, 600));
    assert_eq!(prompt.heard_text, "one two");
    assert_eq!(rig.now, pressed + 20);
}

/// Row 3: speech is ignored; no recogniser runs before the prompt is over.
#[test]
fn speech_during_a_prompt_that_gives_way_to_keys_is_ignored() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", DIGITS, both(1, 4)));
    rig.wait(300);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(500);
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    assert_eq!(rig.recognition(), None);
    rig.wait(1_000);
    assert!(rig.recognition().is_some(), "the prompt is over");
    rig.recognised("hello", 1_500, 1_900);
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Speech(utterance("hello", 1_500, 1_900)));
    assert_eq!(prompt.end, PlayoutEnd::Finished);
}

/// Row 4: gives way to speech, past the thresholds.
#[test]
fn speech_past_the_thresholds_cuts_the_prompt() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, ListenOptions { min_speech: 300, ..speech() }));
    rig.wait(10 + 100);
    let onset = rig.now;
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(299);
    assert_eq!(rig.told(pauses), 0);
    rig.wait(1);
    assert_eq!(rig.told_at(pauses), Some(onset + 300), "paused in the same moment");
    rig.wait(100);
    assert_eq!(rig.told(stops), 0, "it may be a cough");
    rig.partial("stop", 110, 500);
    assert_eq!(rig.told_at(stops), Some(onset + 400), "words, in the same moment");
    rig.wait(400);
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    rig.recognised("stop please", 110, 900);
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Speech(utterance("stop please", 110, 900)));
    assert_eq!((prompt.end, prompt.played), (PlayoutEnd::CutBySpeech, 400));
    assert_eq!(prompt.heard_text, "one");
}

/// Row 4: a back-channel lets the prompt go on, and is no answer.
#[test]
fn a_back_channel_lets_the_prompt_go_on() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, ListenOptions { min_speech: 400, ..speech() }));
    rig.wait(100);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(200);
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    rig.recognised("uh-huh", 100, 300);
    rig.wait(1_000);
    assert_eq!(rig.told(stops), 0);
    assert_eq!(rig.reply(), None, "it is still listened for the answer");
    rig.recognised("tomorrow", 1_100, 1_700);
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Speech(utterance("tomorrow", 1_100, 1_700)));
    assert_eq!(prompt.end, PlayoutEnd::Finished);
}

/// Row 4: with a threshold of words, the interim hypotheses decide.
#[test]
fn words_count_by_the_interim_hypotheses() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, ListenOptions { min_speech: 100, min_words: 2, ..speech() }));
    rig.wait(100);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(300);
    assert_eq!((rig.told(pauses), rig.told(stops)), (1, 0), "long enough, but no word yet");
    rig.partial("no", 100, 300);
    assert_eq!(rig.told(stops), 0);
    rig.partial("no wait", 100, 400);
    assert_eq!(rig.told(stops), 1);
}

/// Row 4: a key does not cut, and is kept.
#[test]
fn a_key_during_a_prompt_that_gives_way_to_speech_is_kept() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", SPEECH, both(1, 1)));
    rig.wait(300);
    rig.press("5");
    assert_eq!(rig.told(stops), 0);
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Digits("5".into()));
    assert_eq!(prompt.end, PlayoutEnd::Finished);
}

/// Row 5: gives way to both: the first wins, the other is kept.
#[test]
fn speech_first_wins_and_the_key_is_kept_for_the_next_listening() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", BOTH, both(1, 1)));
    rig.wait(100);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(250);
    rig.partial("five", 100, 350);
    assert_eq!(rig.told(stops), 1);
    rig.press("5");
    rig.wait(300);
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    rig.recognised("five", 100, 600);
    let (first, prompt) = answer(rig.until_reply());
    assert_eq!(first, Heard::Speech(utterance("five", 100, 600)));
    assert_eq!(prompt.end, PlayoutEnd::CutBySpeech);
    assert_eq!(heard(rig.ask_for(listen(keys(1, 1)))), Heard::Digits("5".into()));
}

/// Row 5: where the speech could not be made out, the key counts after all.
#[test]
fn the_kept_key_counts_when_the_speech_was_noise() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", BOTH, both(1, 1)));
    rig.wait(100);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(250);
    rig.partial("fi", 100, 350);
    rig.press("5");
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    rig.recognised("", 0, 0);
    assert_eq!(answer(rig.until_reply()).0, Heard::Digits("5".into()));
}

/// Row 5: a key first decides for keys.
#[test]
fn a_key_first_wins_and_the_recogniser_stops() {
    let mut rig = Rig::up(setup());
    rig.call(ask("one two three four", BOTH, both(1, 2)));
    rig.wait(100);
    assert!(rig.recognition().is_some());
    rig.press("5");
    assert_eq!(rig.recognition(), None);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.press("6");
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Digits("56".into()));
    assert_eq!(prompt.end, PlayoutEnd::CutByDigits);
}

/// A key that cuts off a `say` is kept for the next listening.
#[test]
fn a_key_that_cuts_a_say_counts_for_the_next_listening() {
    let mut rig = Rig::up(setup());
    rig.call(say("one two three four", DIGITS));
    rig.wait(300);
    rig.press("4");
    assert_eq!(playout(rig.until_reply()).end, PlayoutEnd::CutByDigits);
    assert_eq!(heard(rig.ask_for(listen(keys(1, 1)))), Heard::Digits("4".into()));
    // Once.
    assert_eq!(heard(rig.ask_for(listen(keys(1, 1)))), Heard::Nothing);
}

/// Keys at hand: a prompt that gives way to keys does not begin at all.
#[test]
fn a_prompt_does_not_begin_over_keys_that_count_already() {
    let mut rig = Rig::up(setup());
    rig.call(say("one two three four", DIGITS));
    rig.wait(300);
    rig.press("4");
    playout(rig.until_reply());
    rig.commands.clear();
    let (heard, prompt) = answer(rig.ask_for(ask("which one", DIGITS, keys(1, 1))));
    assert_eq!(heard, Heard::Digits("4".into()));
    assert_eq!((prompt.end, prompt.played), (PlayoutEnd::CutByDigits, 0));
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Play { .. })), 0);
}

/// The same keys wait for a prompt that gives way to nothing.
#[test]
fn keys_at_hand_wait_for_a_prompt_that_gives_way_to_nothing() {
    let mut rig = Rig::up(setup());
    rig.call(say("one two three four", DIGITS));
    rig.wait(300);
    rig.press("4");
    playout(rig.until_reply());
    let (heard, prompt) = answer(rig.ask_for(ask("which one", NOTHING, keys(1, 1))));
    assert_eq!(heard, Heard::Digits("4".into()));
    assert_eq!((prompt.end, prompt.played), (PlayoutEnd::Finished, 1_000));
}

/// A key cuts what sounds; what is queued behind it and gives way to nothing
/// is played complete, and the answer waits for it.
#[test]
fn a_key_does_not_cut_what_is_queued_behind_and_gives_way_to_nothing() {
    let mut rig = Rig::up(setup());
    handle(rig.ask_for(start_say("welcome", DIGITS)));
    rig.call(ask("this call is recorded", NOTHING, keys(1, 1)));
    rig.wait(300);
    rig.press("1");
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Digits("1".into()));
    assert_eq!((prompt.end, prompt.played), (PlayoutEnd::Finished, 1_000));
}

/// Two voices never sound at once: a second prompt queues behind the first.
#[test]
fn a_second_prompt_queues_behind_the_first() {
    let mut rig = Rig::up(setup());
    let first = handle(rig.ask_for(start_say("first", NOTHING)));
    let second = playout(rig.ask_for(say("second", NOTHING)));
    assert_eq!(second.end, PlayoutEnd::Finished);
    let plays: Vec<u64> = rig
        .commands
        .iter()
        .filter(|(_, command)| matches!(command, LegCommand::Play { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(plays.len(), 2);
    assert_eq!(plays[1] - plays[0], 1_000, "without a gap, and not before");
    assert_eq!(playout(rig.ask_for(HostCall::AwaitPlayback { handle: first })).end, PlayoutEnd::Finished);
}

/// Or it replaces what sounds and is queued.
#[test]
fn a_prompt_replaces_what_sounds_and_is_queued() {
    let mut rig = Rig::up(setup());
    rig.words = true;
    let first = handle(rig.ask_for(start_say("one two", NOTHING)));
    let second = handle(rig.ask_for(start_say("second", NOTHING)));
    rig.wait(10 + 500);
    let prompt = Prompt { queueing: Queueing::Replace, ..prompt("third", NOTHING) };
    let third = playout(rig.ask_for(HostCall::Say { prompt }));
    assert_eq!((third.end, third.played), (PlayoutEnd::Finished, 1_000));
    let first = playout(rig.ask_for(HostCall::AwaitPlayback { handle: first }));
    assert_eq!((first.end, first.played, &*first.heard_text), (PlayoutEnd::Stopped, 500, "one"));
    let second = playout(rig.ask_for(HostCall::AwaitPlayback { handle: second }));
    assert_eq!((second.end, second.played), (PlayoutEnd::Stopped, 0));
}

/// What was heard goes by the synthesiser's word times where there are some.
#[test]
fn what_was_heard_goes_by_word_times() {
    let mut rig = Rig::up(setup());
    rig.words = true;
    rig.call(say("one two three four", DIGITS));
    rig.wait(10 + 749);
    rig.press("1");
    let heard_of = playout(rig.until_reply());
    assert_eq!(heard_of.heard_text, "one two");
    let turn = &rig.engine.record().transcript[0];
    assert_eq!(turn.text, "one two three four");
    assert_eq!(turn.heard_text.as_deref(), Some("one two"));
    assert_eq!(turn.interrupted_by.as_deref(), Some("digits"));
    assert_eq!((turn.start_ms, turn.end_ms), (110, 110 + 749 + 20));
}

/// A leg that never reports the end of a stopped prompt does not block the queue.
#[test]
fn a_leg_that_owes_the_end_of_a_prompt_does_not_block_the_queue() {
    let mut rig = Rig::up(setup());
    rig.stops = false;
    rig.call(say("one two three four", DIGITS));
    rig.wait(10 + 500);
    rig.press("1");
    let heard_of = playout(rig.until_reply());
    assert_eq!(heard_of.end, PlayoutEnd::CutByDigits);
    assert!(matches!(rig.ask_for(HostCall::Now), Ok(HostReply::Number(_))));
}
