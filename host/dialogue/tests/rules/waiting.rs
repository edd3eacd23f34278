//! "Waiting" of `DIALOGUE.md`: collections, their timers, handles, select.

use crate::rig::*;
use callbox_dialogue::call::EndCause;
use callbox_dialogue::leg::{LegCommand, LegEvent};
use callbox_dialogue::script::{Event, Handle, Heard, HostCall, HostError, HostReply, ListenOptions, PlayoutEnd};
use callbox_dialogue::{Input, Setup};

fn without_recogniser() -> Setup {
    Setup { speech_recognition: false, ..setup() }
}

#[test]
fn the_start_timeout_begins_when_the_prompt_has_been_played() {
    let mut rig = Rig::up(setup());
    rig.text_ms = 7_000;
    let begin = rig.now;
    let (heard, prompt) = answer(rig.ask_for(ask("a long question", DIGITS, keys(1, 1))));
    assert_eq!(heard, Heard::Nothing);
    assert_eq!(prompt.end, PlayoutEnd::Finished);
    assert_eq!(rig.now, begin + 10 + 7_000 + 5_000);
}

#[test]
fn a_listening_under_way_starts_to_wait_after_every_prompt() {
    let mut rig = Rig::up(setup());
    let listening = handle(rig.ask_for(HostCall::StartListen { options: Box::new(keys(1, 1)) }));
    rig.wait(4_900);
    handle(rig.ask_for(start_say("hello", NOTHING)));
    let begin = rig.now;
    assert_eq!(heard(rig.ask_for(HostCall::AwaitListening { handle: listening })), Heard::Nothing);
    assert_eq!(rig.now, begin + 10 + 1_000 + 5_000);
}

#[test]
fn the_digit_timeout_runs_between_keys() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(1, 4)));
    rig.wait(4_900);
    rig.press("1");
    rig.wait(999);
    rig.press("2");
    let last = rig.now;
    assert_eq!(heard(rig.until_reply()), Heard::Digits("12".into()));
    assert_eq!(rig.now, last + 1_000);
}

#[test]
fn the_digit_timeout_does_not_run_while_a_prompt_holds_keys_back() {
    let mut rig = Rig::up(setup());
    rig.text_ms = 3_000;
    handle(rig.ask_for(start_say("welcome", DIGITS)));
    rig.call(ask("this call is recorded", NOTHING, keys(2, 4)));
    rig.wait(300);
    rig.press("1");
    rig.wait(2_000);
    assert_eq!(rig.reply(), None, "the second prompt sounds");
    rig.press("2");
    let (heard, _) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Digits("12".into()));
    assert_eq!(rig.now, 100 + 300 + 20 + 3_000 + 1_000);
}

#[test]
fn the_terminator_ends_the_collection_and_is_not_part_of_it() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys_to(2, 8, '#')));
    rig.press("123#");
    assert_eq!(heard(rig.reply().unwrap()), Heard::Digits("123".into()));
    assert_eq!(rig.engine.record().transcript[0].digits.as_deref(), Some("123"));
}

#[test]
fn the_terminator_alone_is_no_match() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys_to(1, 8, '#')));
    rig.press("#");
    assert_eq!(heard(rig.reply().unwrap()), Heard::NoMatch(String::new()));
}

#[test]
fn fewer_keys_than_the_least_are_no_match() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(4, 8)));
    rig.press("123");
    assert_eq!(heard(rig.until_reply()), Heard::NoMatch("123".into()));
    rig.call(listen(keys_to(4, 8, '*')));
    rig.press("12*");
    assert_eq!(heard(rig.reply().unwrap()), Heard::NoMatch("12".into()));
}

#[test]
fn the_most_ends_the_collection_at_once() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(1, 3)));
    rig.press("123");
    assert_eq!(heard(rig.reply().unwrap()), Heard::Digits("123".into()));
}

#[test]
fn keys_too_many_do_not_count_for_the_next_collection() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(1, 1)));
    rig.press("1");
    assert_eq!(heard(rig.reply().unwrap()), Heard::Digits("1".into()));
    rig.press("2");
    assert_eq!(heard(rig.ask_for(listen(keys(1, 1)))), Heard::Nothing);
}

#[test]
fn lower_case_keys_are_keys_and_anything_else_is_none() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(2, 2)));
    rig.press("x");
    rig.press("a");
    rig.press("é");
    rig.press("D");
    assert_eq!(heard(rig.reply().unwrap()), Heard::Digits("AD".into()));
}

#[test]
fn nothing_heard_is_the_absence_of_a_transcript() {
    let mut rig = Rig::up(setup());
    rig.call(listen(ListenOptions { start_timeout: 2_000, ..speech() }));
    let begin = rig.now;
    // Comfort noise: the caller "speaks" again and again, and nothing comes of it.
    for _ in 0..100 {
        rig.wait(250);
        rig.leg(LegEvent::SpeechStarted { ago: 0 });
        rig.wait(250);
        rig.leg(LegEvent::SpeechEnded { ago: 0 });
    }
    assert_eq!(heard(rig.until_reply()), Heard::Nothing);
    assert!(rig.now - begin < 60_000);
}

#[test]
fn a_recogniser_that_owes_its_result_is_not_waited_for_for_ever() {
    let mut rig = Rig::up(setup());
    rig.call(listen(speech()));
    let recognition = rig.recognition().unwrap();
    rig.wait(1_000);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.wait(200);
    rig.leg(LegEvent::Partial { recognition, utterance: utterance("good mor", 1_000, 1_200) });
    rig.wait(300);
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    let begin = rig.now;
    assert_eq!(heard(rig.until_reply()), Heard::NoMatch("good mor".into()));
    assert_eq!(rig.now, begin + 700 + 3_000);
}

#[test]
fn speech_that_never_ends_is_no_match() {
    let mut rig = Rig::up(setup());
    rig.call(listen(ListenOptions { max_length: 4_000, ..speech() }));
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.partial("well", 0, 200);
    rig.wait(2_000);
    rig.partial("well well", 0, 2_000);
    assert_eq!(heard(rig.until_reply()), Heard::NoMatch("well well".into()));
    let told = |command: &LegCommand| matches!(command, LegCommand::EndUtterance { .. });
    assert_eq!(rig.told_at(told), Some(100 + 4_000));
    assert_eq!(rig.now, 100 + 4_000 + 3_000);
}

#[test]
fn speech_that_cannot_be_made_out_is_no_match() {
    let mut rig = Rig::up(setup());
    rig.call(listen(speech()));
    rig.recognised("", 0, 0);
    assert_eq!(heard(rig.reply().unwrap()), Heard::NoMatch(String::new()));
}

#[test]
fn speech_without_a_recogniser_is_unavailable_before_anything_is_said() {
    let mut rig = Rig::new(without_recogniser());
    let reply = rig.ask_for(ask("hello", BOTH, speech()));
    assert!(matches!(reply, Err(HostError::Unavailable(_))));
    assert!(matches!(rig.ask_for(listen(speech())), Err(HostError::Unavailable(_))));
    assert_eq!(rig.commands, [], "not even answered");
}

#[test]
fn speech_and_keys_without_a_recogniser_are_keys() {
    let mut rig = Rig::up(without_recogniser());
    rig.call(ask("hello", BOTH, both(1, 1)));
    rig.wait(2_000);
    assert_eq!(rig.recognition(), None);
    // The leg may know that somebody speaks; nobody could tell what.
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    let (heard, _) = answer(rig.until_reply());
    assert_eq!(heard, Heard::Nothing);
    assert_eq!(rig.now, 100 + 10 + 1_000 + 5_000);
}

#[test]
fn a_recogniser_that_fails_leaves_the_keys() {
    let mut rig = Rig::up(setup());
    let error = HostError::Unavailable("gone".into());
    rig.call(listen(both(1, 1)));
    let recognition = rig.recognition().unwrap();
    rig.leg(LegEvent::RecogniseFailed { recognition, error: error.clone() });
    rig.press("1");
    assert_eq!(heard(rig.reply().unwrap()), Heard::Digits("1".into()));
    rig.call(listen(speech()));
    let recognition = rig.recognition().unwrap();
    rig.leg(LegEvent::RecogniseFailed { recognition, error: error.clone() });
    assert_eq!(rig.reply(), Some(Err(error)));
}

#[test]
fn interim_hypotheses_come_one_by_one_and_end_with_the_result() {
    let mut rig = Rig::up(setup());
    let options = Box::new(ListenOptions { partials: true, ..speech() });
    let listening = handle(rig.ask_for(HostCall::StartListen { options }));
    let recognition = rig.recognition().unwrap();
    rig.call(HostCall::NextPartial { handle: listening });
    assert_eq!(rig.reply(), None);
    rig.leg(LegEvent::Partial { recognition, utterance: utterance("a", 0, 1) });
    assert_eq!(rig.reply(), Some(Ok(HostReply::MaybeUtterance(Some(utterance("a", 0, 1))))));
    rig.call(HostCall::NextPartial { handle: listening });
    rig.recognised("a cat", 0, 400);
    assert_eq!(rig.reply(), Some(Ok(HostReply::MaybeUtterance(None))));
    let all = rig.ask_for(HostCall::Alternatives { handle: listening });
    assert_eq!(all, Ok(HostReply::Utterances(vec![utterance("a cat", 0, 400)])));
    // The event queue has it too.
    let event = rig.ask_for(HostCall::NextEvent { timeout: Some(0) });
    assert_eq!(event, Ok(HostReply::MaybeEvent(Some(Event::Partial(utterance("a", 0, 1))))));
}

#[test]
fn a_listening_can_be_stopped_and_tells_what_it_heard_so_far() {
    let mut rig = Rig::up(setup());
    let listening = handle(rig.ask_for(HostCall::StartListen { options: Box::new(keys(1, 8)) }));
    rig.press("12");
    assert_eq!(heard(rig.ask_for(HostCall::StopListening { handle: listening })), Heard::Digits("12".into()));
    let listening = handle(rig.ask_for(HostCall::StartListen { options: Box::new(keys(4, 8)) }));
    rig.press("12");
    assert_eq!(heard(rig.ask_for(HostCall::StopListening { handle: listening })), Heard::NoMatch("12".into()));
    let listening = handle(rig.ask_for(HostCall::StartListen { options: Box::new(speech()) }));
    assert_eq!(heard(rig.ask_for(HostCall::StopListening { handle: listening })), Heard::Nothing);
    assert_eq!(rig.recognition(), None);
}

#[test]
fn one_listening_at_a_time_and_dropping_it_ends_it() {
    let mut rig = Rig::up(setup());
    let first = handle(rig.ask_for(HostCall::StartListen { options: Box::new(speech()) }));
    assert!(matches!(rig.ask_for(listen(keys(1, 1))), Err(HostError::LimitExceeded(_))));
    assert!(matches!(rig.ask_for(ask("hello", BOTH, keys(1, 1))), Err(HostError::LimitExceeded(_))));
    assert_eq!(rig.ask_for(HostCall::Release { handle: first }), Ok(HostReply::Done));
    assert_eq!(rig.recognition(), None);
    rig.call(listen(keys(1, 1)));
    rig.press("1");
    assert_eq!(heard(rig.reply().unwrap()), Heard::Digits("1".into()));
}

#[test]
fn select_returns_what_is_ready_in_ascending_order() {
    let mut rig = Rig::up(setup());
    let slow = handle(rig.ask_for(HostCall::After { delay: 500 }));
    let quick = handle(rig.ask_for(HostCall::After { delay: 100 }));
    let prompt = handle(rig.ask_for(start_say("hello", NOTHING)));
    let handles = vec![slow, quick, prompt, Handle::EVENTS];
    let begin = rig.now;
    let select = HostCall::Select { handles: handles.clone(), timeout: None };
    assert_eq!(rig.ask_for(select.clone()), Ok(HostReply::Ready(vec![1])));
    assert_eq!(rig.now, begin + 100);
    rig.to(begin + 500);
    assert_eq!(rig.ask_for(select.clone()), Ok(HostReply::Ready(vec![0, 1])));
    rig.press("1");
    assert_eq!(rig.ask_for(select.clone()), Ok(HostReply::Ready(vec![0, 1, 3])));
    rig.to(begin + 2_000);
    assert_eq!(rig.ask_for(select), Ok(HostReply::Ready(vec![0, 1, 2, 3])));
    let waiting = HostCall::Select { handles: Vec::new(), timeout: Some(250) };
    let begin = rig.now;
    assert_eq!(rig.ask_for(waiting), Ok(HostReply::Ready(Vec::new())));
    assert_eq!(rig.now, begin + 250);
    let nothing = HostCall::Select { handles: Vec::new(), timeout: None };
    assert_eq!(rig.ask_for(nothing), Ok(HostReply::Ready(Vec::new())));
    assert_eq!(rig.now, begin + 250);
}

#[test]
fn a_select_gives_up_at_its_timeout() {
    let mut rig = Rig::up(setup());
    let timer = handle(rig.ask_for(HostCall::After { delay: 60_000 }));
    let select = HostCall::Select { handles: vec![timer], timeout: Some(300) };
    let begin = rig.now;
    assert_eq!(rig.ask_for(select), Ok(HostReply::Ready(Vec::new())));
    assert_eq!(rig.now, begin + 300);
    assert_eq!(rig.ask_for(HostCall::IsReady { handle: timer }), Ok(HostReply::Flag(false)));
    rig.to(begin + 60_000);
    assert_eq!(rig.ask_for(HostCall::IsReady { handle: timer }), Ok(HostReply::Flag(true)));
}

#[test]
fn a_released_handle_is_forgotten_and_keeps_nobody_waiting() {
    let mut rig = Rig::up(setup());
    let timer = handle(rig.ask_for(HostCall::After { delay: 60_000 }));
    rig.ask_for(HostCall::Release { handle: timer }).unwrap();
    let select = HostCall::Select { handles: vec![timer], timeout: None };
    assert_eq!(rig.ask_for(select), Ok(HostReply::Ready(vec![0])));
    for call in [
        HostCall::AwaitPlayback { handle: timer },
        HostCall::AwaitListening { handle: timer },
        HostCall::AwaitTransfer { handle: timer },
        HostCall::AwaitFetch { handle: timer },
        HostCall::NextPartial { handle: timer },
        HostCall::Alternatives { handle: timer },
        HostCall::StopPlayback { handle: timer },
        HostCall::StopListening { handle: timer },
        HostCall::CancelTransfer { handle: timer },
        HostCall::Write { handle: timer, text: "hello".into() },
        HostCall::FinishWriter { handle: timer },
    ] {
        assert!(matches!(rig.ask_for(call), Err(HostError::NotFound(_))));
    }
}

#[test]
fn a_sleep_lasts_as_long_as_it_was_asked_for() {
    let mut rig = Rig::up(setup());
    let begin = rig.now;
    assert_eq!(rig.ask_for(HostCall::Sleep { delay: 1_234 }), Ok(HostReply::Done));
    assert_eq!(rig.now, begin + 1_234);
}

#[test]
fn events_come_in_order_and_the_last_256_are_kept() {
    let mut rig = Rig::up(setup());
    for count in 0..300 {
        rig.give(Input::Message(count.to_string()));
    }
    let next = HostCall::NextEvent { timeout: Some(100) };
    for count in 300 - 256..300 {
        let event = Some(Event::Message(count.to_string()));
        assert_eq!(rig.ask_for(next.clone()), Ok(HostReply::MaybeEvent(event)));
    }
    let begin = rig.now;
    assert_eq!(rig.ask_for(next), Ok(HostReply::MaybeEvent(None)));
    assert_eq!(rig.now, begin + 100);
}

#[test]
fn what_is_not_json_is_no_message() {
    let mut rig = Rig::up(setup());
    rig.give(Input::Message("{".into()));
    rig.give(Input::Message(format!("\"{}\"", "x".repeat(70_000))));
    assert_eq!(rig.ask_for(HostCall::NextEvent { timeout: Some(0) }), Ok(HostReply::MaybeEvent(None)));
}

#[test]
fn functions_that_need_audio_answer_first_and_wait_for_it() {
    for call in [say("hello", NOTHING), ask("hello", NOTHING, keys(1, 1)), listen(keys(1, 1))] {
        let mut rig = Rig::new(setup());
        rig.answers = false;
        rig.call(call);
        assert_eq!(rig.told(|command| *command == LegCommand::Answer), 1);
        rig.to(20_000);
        assert_eq!(rig.told(|command| matches!(command, LegCommand::Play { .. })), 0);
        assert_eq!(rig.reply(), None, "no start timeout before the call is up");
        rig.leg(LegEvent::Answered);
        rig.until_reply().unwrap();
    }
}

#[test]
fn digits_are_sent_once_the_call_is_up_and_waited_for() {
    let mut rig = Rig::new(setup());
    let done = rig.ask_for(HostCall::SendDigits { digits: "12,a#".into() });
    assert_eq!(done, Ok(HostReply::Done));
    assert_eq!(rig.now, 5 + 500);
    assert_eq!(rig.told(|command| *command == LegCommand::SendDigits { digits: "12,A#".into() }), 1);
    assert!(matches!(rig.ask_for(HostCall::SendDigits { digits: "12x".into() }), Err(HostError::InvalidArgument(_))));
    let many = "1".repeat(65);
    assert!(matches!(rig.ask_for(HostCall::SendDigits { digits: many }), Err(HostError::LimitExceeded(_))));
}

#[test]
fn digits_that_are_never_sent_are_not_waited_for_for_ever() {
    let mut rig = Rig::up(setup());
    rig.sends = false;
    let send = HostCall::SendDigits { digits: "12".into() };
    assert_eq!(rig.ask_for(send.clone()), Err(HostError::TimedOut));
    assert_eq!(rig.now, 100 + 5_000 + 2 * 600);
    rig.sends = true;
    assert_eq!(rig.ask_for(send), Ok(HostReply::Done));
}

#[test]
fn an_outbound_call_waits_for_the_answer() {
    let mut start = setup();
    start.info.direction = callbox_dialogue::Direction::Outbound;
    let mut rig = Rig::new(start);
    rig.call(HostCall::Answer);
    rig.to(500);
    rig.leg(LegEvent::Ringing);
    rig.to(3_000);
    assert_eq!(rig.reply(), None);
    assert_eq!(rig.commands, []);
    rig.leg(LegEvent::Answered);
    assert_eq!(rig.reply(), Some(Ok(HostReply::Done)));
    let record = rig.engine.record();
    assert_eq!(record.ringing.map(|at| at.0), Some(500));
    assert_eq!(record.answered.map(|at| at.0), Some(3_000));
}

#[test]
fn every_wait_ends_with_the_call() {
    let ended = || HostError::Ended(EndCause::RemoteHangup);
    for call in [
        say("hello", NOTHING),
        ask("hello", NOTHING, speech()),
        listen(keys(1, 1)),
        HostCall::SendDigits { digits: ",,,,,,,,".into() },
        HostCall::Transfer { target: "sip:a@example.com".into(), options: refer() },
        HostCall::Transfer { target: "sip:a@example.com".into(), options: bridge() },
    ] {
        let mut rig = Rig::up(setup());
        rig.call(call.clone());
        rig.wait(100);
        assert_eq!(rig.reply(), None, "{call:?}");
        rig.remote_hangup();
        assert_eq!(rig.reply(), Some(Err(ended())), "{call:?}");
        assert_eq!(rig.ask_for(call), Err(ended()));
    }
    let mut rig = Rig::up(setup());
    rig.call(HostCall::Sleep { delay: 100_000 });
    rig.remote_hangup();
    assert_eq!(rig.reply(), Some(Ok(HostReply::Done)));
    let mut rig = Rig::up(setup());
    let timer = handle(rig.ask_for(HostCall::After { delay: 100_000 }));
    rig.call(HostCall::Select { handles: vec![timer], timeout: None });
    rig.remote_hangup();
    assert_eq!(rig.reply(), Some(Ok(HostReply::Ready(vec![0]))));
    let mut rig = Rig::up(setup());
    rig.call(HostCall::NextEvent { timeout: None });
    rig.remote_hangup();
    let event = HostReply::MaybeEvent(Some(Event::Ended(EndCause::RemoteHangup)));
    assert_eq!(rig.reply(), Some(Ok(event)));
    assert_eq!(rig.ask_for(HostCall::NextEvent { timeout: None }), Ok(HostReply::MaybeEvent(None)));
}
