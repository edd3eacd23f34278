//! Early media: what is said before the call is answered, and what answers it.

use crate::rig::*;
use callbox_dialogue::call::{Direction, EndReason};
use callbox_dialogue::leg::{LegCommand, LegEvent, TransferResult};
use callbox_dialogue::record::Outcome;
use callbox_dialogue::script::{Heard, HostCall, HostError, HostReply, PlayoutEnd, TransferOutcome};
use callbox_dialogue::setup::{Fallback, Limits};
use callbox_dialogue::{Setup, Time};

const DONE: callbox_dialogue::script::Reply = Ok(HostReply::Done);

/// A call with early media, at 3 ms.
fn early(setup: Setup) -> Rig {
    let mut rig = Rig::new(setup);
    assert_eq!(rig.ask_for(HostCall::EarlyMedia), DONE);
    assert_eq!(rig.now, 3, "when the leg has opened it");
    rig
}

fn answers(rig: &Rig) -> usize {
    rig.told(|command| *command == LegCommand::Answer)
}

#[test]
fn what_is_said_early_does_not_answer_the_call() {
    let mut rig = early(setup());
    assert_eq!(playout(rig.ask_for(say("we are closed", NOTHING))).end, PlayoutEnd::Finished);
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    rig.ask_for(HostCall::Write { handle: writer, text: "Good night.".into() }).unwrap();
    rig.ask_for(HostCall::FinishWriter { handle: writer }).unwrap();
    assert_eq!(rig.ask_for(HostCall::AwaitQuiet), DONE);
    assert_eq!(answers(&rig), 0);
    assert_eq!(rig.told(|command| *command == LegCommand::EarlyMedia), 1);
    assert_eq!(rig.engine.record().answered, None);
}

#[test]
fn the_answer_comes_when_it_is_asked_for_and_cuts_nothing_off() {
    let mut rig = early(setup());
    let playback = handle(rig.ask_for(start_say("one moment", NOTHING)));
    rig.wait(500);
    let asked = rig.now;
    assert_eq!(rig.ask_for(HostCall::Answer), DONE);
    assert_eq!(rig.engine.record().answered, Some(Time(asked + 5)));
    let heard = playout(rig.ask_for(HostCall::AwaitPlayback { handle: playback }));
    assert_eq!((heard.end, heard.played), (PlayoutEnd::Finished, 1_000));
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Stop { .. })), 0);
    assert_eq!(rig.ask_for(HostCall::EarlyMedia), DONE, "nothing any more");
    assert_eq!(rig.told(|command| *command == LegCommand::EarlyMedia), 1);
}

#[test]
fn keys_and_speech_may_come_early() {
    let mut rig = early(setup());
    rig.call(ask("press one", DIGITS, keys(1, 1)));
    rig.wait(300);
    rig.press("1");
    let (heard, prompt) = answer(rig.until_reply());
    assert_eq!((heard, prompt.end), (Heard::Digits("1".into()), PlayoutEnd::CutByDigits));
    rig.call(listen(speech()));
    rig.wait(100);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.recognised("yes", 0, 400);
    assert!(matches!(rig.until_reply(), Ok(HostReply::Heard(Heard::Speech(_)))));
    assert_eq!(answers(&rig), 0);
}

#[test]
fn a_listening_goes_on_through_the_answer() {
    let mut rig = early(setup());
    let listening = handle(rig.ask_for(HostCall::StartListen { options: Box::new(keys(1, 1)) }));
    let began = rig.now;
    rig.wait(1_000);
    assert_eq!(rig.ask_for(HostCall::Answer), DONE);
    assert_eq!(heard(rig.ask_for(HostCall::AwaitListening { handle: listening })), Heard::Nothing);
    assert_eq!(rig.now, began + 5_000, "its time ran from the beginning");
}

#[test]
fn a_call_that_is_declined_after_early_media_was_never_answered() {
    let mut rig = early(setup());
    playout(rig.ask_for(say("all lines are busy", NOTHING)));
    assert_eq!(rig.ask_for(HostCall::Reject { status: 486, reason: None }), DONE);
    rig.returns();
    rig.run_out();
    let record = rig.engine.record();
    assert_eq!((record.outcome, record.end_reason), (Some(Outcome::Busy), Some(EndReason::Rejected)));
    assert_eq!((record.answered, record.talk_ms()), (None, None));
    assert_eq!(record.transcript[0].text, "all lines are busy");
    assert_eq!(record.transcript[0].heard_text.as_deref(), Some("all lines are busy"));
}

#[test]
fn a_script_that_returns_after_early_media_declines_once_all_is_said() {
    let mut rig = early(setup());
    handle(rig.ask_for(start_say("we are closed", NOTHING)));
    rig.returns();
    rig.run_out();
    assert_eq!(rig.told_at(|command| matches!(command, LegCommand::Reject { status: 480, .. })), Some(3 + 10 + 1_000));
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::ScriptReturned));
    assert_eq!(rig.engine.record().outcome, Some(Outcome::NoAnswer));
    assert_eq!(answers(&rig), 0);
}

#[test]
fn the_limit_of_ringing_holds_for_early_media() {
    let mut rig = early(Setup { limits: Limits { ring_timeout: 20_000, ..Limits::default() }, ..setup() });
    rig.text_ms = 60_000;
    rig.call(say("a very long story", NOTHING));
    assert!(matches!(rig.until_reply(), Err(HostError::Ended(_))));
    assert_eq!(rig.now, 20_000);
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Reject { status: 480, .. })), 1);
    rig.returns();
    rig.run_out();
    assert_eq!(rig.engine.record().outcome, Some(Outcome::NoAnswer));
    assert!(rig.engine.record().transcript[0].heard_text.is_some(), "what was said stays");
}

#[test]
fn who_hears_us_is_not_rung() {
    let mut rig = early(setup());
    rig.to(1_000);
    assert_eq!(rig.ask_for(HostCall::Ring), DONE);
    assert_eq!(rig.told(|command| *command == LegCommand::Ring), 0);
    let mut rig = Rig::new(setup());
    assert_eq!(rig.ask_for(HostCall::Ring), DONE);
    assert_eq!(rig.ask_for(HostCall::EarlyMedia), DONE, "also after ringing");
    assert_eq!(rig.told(|command| *command == LegCommand::EarlyMedia), 1);
}

#[test]
fn keys_of_ours_and_transfers_need_an_answered_call() {
    let mut rig = early(setup());
    assert_eq!(rig.ask_for(HostCall::SendDigits { digits: "1".into() }), DONE);
    assert_eq!(answers(&rig), 1);
    let mut rig = early(setup());
    rig.transfer = Some((1_500, TransferResult::Connected));
    let transfer = HostCall::Transfer { target: "100".into(), options: bridge() };
    assert_eq!(rig.ask_for(transfer), Ok(HostReply::Transfer(TransferOutcome::Connected)));
    assert_eq!(rig.told_at(|command| *command == LegCommand::Answer), Some(3));
    assert_eq!(rig.told_at(|command| matches!(command, LegCommand::Transfer { .. })), Some(3 + 5));
}

#[test]
fn without_early_media_the_call_is_as_it_was() {
    let mut rig = Rig::new(setup());
    rig.early = false;
    let unavailable = Err(HostError::Unavailable("no reliable responses".into()));
    assert_eq!(rig.ask_for(HostCall::EarlyMedia), unavailable);
    assert_eq!(rig.ask_for(HostCall::EarlyMedia), unavailable, "it may be tried again");
    playout(rig.ask_for(say("then by answering", NOTHING)));
    assert_eq!(answers(&rig), 1);
    assert_eq!(rig.ask_for(HostCall::EarlyMedia), DONE);
}

#[test]
fn an_outbound_call_has_none_of_ours() {
    let mut start = setup();
    start.info.direction = Direction::Outbound;
    let mut rig = Rig::new(start);
    assert_eq!(rig.ask_for(HostCall::EarlyMedia), DONE);
    assert_eq!(rig.now, 0);
    assert_eq!(rig.told(|command| *command == LegCommand::EarlyMedia), 0);
    rig.call(say("hello", NOTHING));
    rig.wait(1_000);
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Play { .. })), 0, "it waits for the answer");
    rig.leg(LegEvent::Answered);
    playout(rig.until_reply());
}

#[test]
fn the_fallback_does_not_answer_what_the_script_did_not() {
    let say = Fallback { say: text("sorry"), transfer_to: None };
    let mut rig = early(Setup { fallback: say, ..setup() });
    rig.traps();
    rig.run_out();
    assert_eq!(answers(&rig), 0);
    assert_eq!(rig.engine.record().transcript[0].heard_text.as_deref(), Some("sorry"));
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Reject { status: 480, .. })), 1);
    assert_eq!(rig.reason(), Some(EndReason::ScriptTrap));

    let both = Fallback { say: text("one moment"), transfer_to: Some("100".into()) };
    let mut rig = early(Setup { fallback: both, ..setup() });
    rig.transfer = Some((1_500, TransferResult::Connected));
    rig.traps();
    rig.run_out();
    assert_eq!(rig.told_at(|command| *command == LegCommand::Answer), Some(3 + 10 + 1_000), "to be transferred");
    assert_eq!(rig.engine.record().outcome, Some(Outcome::Answered));
}

#[test]
fn a_script_that_fails_while_the_audio_opens_is_followed_by_its_fallback() {
    for works in [true, false] {
        let mut rig = Rig::new(Setup { fallback: Fallback { say: text("sorry"), transfer_to: None }, ..setup() });
        rig.early = works;
        rig.call(HostCall::EarlyMedia);
        rig.traps();
        rig.run_out();
        assert_eq!(rig.finished(), 1);
        assert_eq!(rig.engine.record().transcript[0].heard_text.as_deref(), Some("sorry"));
    }
}
