//! "Ending" of `DIALOGUE.md`: hang-up, grace, limits, the record's last words.

use crate::rig::*;
use callbox_dialogue::call::{Direction, EndCause, EndReason, Evidence};
use callbox_dialogue::leg::{LegCommand, LegEvent};
use callbox_dialogue::record::{EndedBy, Outcome};
use callbox_dialogue::script::{HostCall, HostError, HostReply, ScriptEnd};
use callbox_dialogue::setup::Limits;
use callbox_dialogue::{Input, Output, Setup};

fn limited(limits: Limits) -> Setup {
    Setup { limits, ..setup() }
}

fn outbound() -> Setup {
    let mut setup = setup();
    setup.info.direction = Direction::Outbound;
    setup
}

#[test]
fn after_a_hang_up_the_script_has_its_grace() {
    let mut rig = Rig::up(setup());
    rig.remote_hangup();
    let hung_up = rig.now;
    rig.wait(4_000);
    let set = HostCall::SetField { name: "note".into(), value: "\"late\"".into() };
    assert_eq!(rig.ask_for(set), Ok(HostReply::Done));
    let push = HostCall::Push { destination: "outcome".into(), body: "{}".into() };
    assert_eq!(rig.ask_for(push), Ok(HostReply::Text("evt_0192aa_1".into())));
    assert_eq!(rig.came(|output| *output == Output::StopScript), 0);
    rig.run_out();
    let stopped = rig.outputs.iter().find(|(_, output)| *output == Output::StopScript).map(|(at, _)| *at);
    assert_eq!(stopped, Some(hung_up + 5_000));
    assert_eq!(rig.finished(), 1);
    let record = rig.engine.record();
    assert_eq!(record.fields["note"].get(), "\"late\"");
    assert_eq!(record.ended.map(|at| at.0), Some(hung_up));
    assert_eq!(record.end_reason, Some(EndReason::CallerHangup));
    assert_eq!(record.ended_by, Some(EndedBy::Caller));
    assert_eq!(record.outcome, Some(Outcome::Answered));
}

#[test]
fn a_script_that_comes_to_its_end_in_its_grace_ends_the_call_at_once() {
    let mut rig = Rig::up(setup());
    rig.remote_hangup();
    rig.wait(10);
    // The `ended` of its last wait, handed on: no failure.
    rig.give(Input::ScriptEnded(ScriptEnd::Failed { message: "ended".into() }));
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.came(|output| *output == Output::StopScript), 0);
    assert_eq!(rig.engine.record().script_error, None);
    assert_eq!(rig.reason(), Some(EndReason::CallerHangup));
    assert_eq!(rig.engine.deadline(), None);
}

#[test]
fn the_script_hangs_up() {
    let mut rig = Rig::up(setup());
    handle(rig.ask_for(start_say("one two", NOTHING)));
    rig.wait(500);
    assert_eq!(rig.ask_for(HostCall::Hangup), Ok(HostReply::Done));
    let ended = Err(HostError::Ended(EndCause::LocalHangup));
    assert_eq!(rig.ask_for(HostCall::AwaitQuiet), ended);
    assert_eq!(rig.ask_for(HostCall::Hangup), ended);
    rig.returns();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.told(|command| *command == LegCommand::Hangup), 1);
    let record = rig.engine.record();
    assert_eq!(record.end_reason, Some(EndReason::ScriptHangup));
    assert_eq!(record.ended_by, Some(EndedBy::Script));
    assert_eq!(record.transcript.len(), 1, "what was said stays");
}

#[test]
fn the_script_rejects() {
    let mut rig = Rig::new(setup());
    let odd = HostCall::Reject { status: 302, reason: None };
    assert!(matches!(rig.ask_for(odd), Err(HostError::InvalidArgument(_))));
    let reject = HostCall::Reject { status: 486, reason: Some("Busy Here".into()) };
    assert_eq!(rig.ask_for(reject.clone()), Ok(HostReply::Done));
    rig.returns();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Reject { status: 486, .. })), 1);
    assert_eq!(rig.engine.record().outcome, Some(Outcome::Busy));
    assert_eq!(rig.reason(), Some(EndReason::Rejected));
    let mut rig = Rig::up(setup());
    assert!(matches!(rig.ask_for(reject), Err(HostError::InvalidArgument(_))), "it is answered");
}

#[test]
fn a_script_that_returns_is_played_to_its_end() {
    let mut rig = Rig::up(setup());
    handle(rig.ask_for(start_say("goodbye", NOTHING)));
    handle(rig.ask_for(start_say("and thank you", NOTHING)));
    rig.returns();
    assert_eq!(rig.told(|command| *command == LegCommand::Hangup), 0);
    rig.run_out();
    assert_eq!(rig.told_at(|command| *command == LegCommand::Hangup), Some(100 + 10 + 2_000));
    assert_eq!(rig.finished(), 1);
    let record = rig.engine.record();
    assert_eq!(record.end_reason, Some(EndReason::ScriptReturned));
    assert_eq!(record.transcript.len(), 2);
    assert_eq!(record.script_error, None);
}

#[test]
fn a_writer_left_open_is_finished_with_the_script() {
    let mut rig = Rig::up(setup());
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    let text = "Goodbye. And thank you".to_owned();
    rig.ask_for(HostCall::Write { handle: writer, text }).unwrap();
    rig.returns();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.engine.record().transcript[0].text, "Goodbye. And thank you");
}

#[test]
fn the_caller_may_hang_up_during_the_last_words() {
    let mut rig = Rig::up(setup());
    handle(rig.ask_for(start_say("one two three four", NOTHING)));
    rig.returns();
    rig.wait(10 + 500);
    rig.remote_hangup();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::CallerHangup));
    let turn = &rig.engine.record().transcript[0];
    assert!(turn.heard_text.as_deref().is_some_and(|heard| !heard.is_empty() && heard.len() < turn.text.len()));
}

#[test]
fn a_script_that_returns_without_answering_declines_the_call() {
    let mut rig = Rig::new(setup());
    rig.returns();
    rig.run_out();
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Reject { status: 480, .. })), 1);
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::ScriptReturned));
    assert_eq!(rig.engine.record().outcome, Some(Outcome::NoAnswer));
}

#[test]
fn the_caller_gives_up_before_the_answer() {
    let mut rig = Rig::new(setup());
    rig.call(HostCall::Sleep { delay: 10_000 });
    rig.to(1_000);
    let evidence = Evidence { sip_status: Some(487), ..Evidence::default() };
    rig.leg(LegEvent::Ended { cause: EndCause::RemoteHangup, evidence: evidence.clone(), reason: None });
    assert_eq!(rig.reply(), Some(Ok(HostReply::Done)));
    rig.returns();
    assert_eq!(rig.finished(), 1);
    let record = rig.engine.record();
    assert_eq!(record.outcome, Some(Outcome::Cancelled));
    assert_eq!(record.end_reason, Some(EndReason::CallerHangup));
    assert_eq!(record.evidence, evidence);
    assert_eq!(record.answered, None);
}

#[test]
fn an_outbound_call_is_refused() {
    let mut rig = Rig::new(outbound());
    rig.call(HostCall::Answer);
    let evidence = Evidence { sip_status: Some(486), sip_reason: Some("Busy Here".into()), q850: Some(17) };
    rig.leg(LegEvent::Ended { cause: EndCause::RemoteHangup, evidence, reason: None });
    assert_eq!(rig.reply(), Some(Err(HostError::Ended(EndCause::RemoteHangup))));
    rig.returns();
    assert_eq!(rig.finished(), 1);
    let record = rig.engine.record();
    assert_eq!((record.outcome, record.end_reason), (Some(Outcome::Busy), Some(EndReason::Rejected)));
}

#[test]
fn the_leg_may_know_the_reason_better() {
    let mut rig = Rig::up(setup());
    let reason = Some(EndReason::MediaTimeout);
    rig.leg(LegEvent::Ended { cause: EndCause::NetworkFailure, evidence: Evidence::default(), reason });
    rig.returns();
    assert_eq!(rig.reason(), Some(EndReason::MediaTimeout));
    assert_eq!(rig.engine.record().ended_by, Some(EndedBy::Platform));
}

#[test]
fn the_operator_hangs_up() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(1, 1)));
    rig.give(Input::Hangup { reason: EndReason::OperatorHangup, why: "wrong number".into() });
    let cause = EndCause::Operator("wrong number".into());
    assert_eq!(rig.reply(), Some(Err(HostError::Ended(cause))));
    rig.returns();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::OperatorHangup));
    assert_eq!(rig.engine.record().ended_by, Some(EndedBy::Platform));
}

#[test]
fn the_longest_call_is_counted_from_the_answer() {
    let mut rig = Rig::new(limited(Limits { max_duration: 60_000, ..Limits::default() }));
    rig.to(3_000);
    rig.ask_for(HostCall::Answer).unwrap();
    rig.call(HostCall::Sleep { delay: 1_000_000 });
    rig.until_reply().unwrap();
    assert_eq!(rig.now, 3_005 + 60_000);
    assert_eq!(rig.told(|command| *command == LegCommand::Hangup), 1);
    rig.returns();
    rig.run_out();
    assert_eq!(rig.reason(), Some(EndReason::MaxDuration));
}

#[test]
fn an_inbound_call_rings_so_long_and_no_longer() {
    let mut rig = Rig::new(limited(Limits { ring_timeout: 20_000, ..Limits::default() }));
    rig.call(HostCall::Sleep { delay: 1_000_000 });
    rig.until_reply().unwrap();
    assert_eq!(rig.now, 20_000);
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Reject { status: 480, .. })), 1);
    rig.returns();
    rig.run_out();
    assert_eq!(rig.engine.record().outcome, Some(Outcome::NoAnswer));
    assert_eq!(rig.reason(), Some(EndReason::Rejected));
}

#[test]
fn an_outbound_call_is_not_waited_for_for_ever() {
    let mut rig = Rig::new(outbound());
    rig.call(HostCall::Answer);
    assert!(matches!(rig.until_reply(), Err(HostError::Ended(EndCause::Operator(_)))));
    assert_eq!(rig.now, 60_000);
    rig.returns();
    // The far end confirms our CANCEL with a 487: it is not "cancelled" for the record.
    let evidence = Evidence { sip_status: Some(487), ..Evidence::default() };
    rig.leg(LegEvent::Ended { cause: EndCause::LocalHangup, evidence, reason: None });
    assert_eq!(rig.engine.record().outcome, Some(Outcome::NoAnswer));
}

#[test]
fn a_call_in_which_nothing_is_heard_or_said_ends() {
    let mut rig = Rig::up(limited(Limits { silence_timeout: 10_000, ..Limits::default() }));
    rig.call(HostCall::Sleep { delay: 1_000_000 });
    rig.to(8_000);
    rig.press("1");
    rig.until_reply().unwrap();
    assert_eq!(rig.now, 18_000, "from the last key");
    rig.returns();
    rig.run_out();
    assert_eq!(rig.reason(), Some(EndReason::SilenceTimeout));
}

#[test]
fn noise_does_not_keep_a_call_alive_but_prompts_and_transcripts_do() {
    let mut rig = Rig::up(limited(Limits { silence_timeout: 10_000, ..Limits::default() }));
    rig.text_ms = 30_000;
    playout(rig.ask_for(say("a long story", NOTHING)));
    let quiet = rig.now;
    assert_eq!(quiet, 100 + 10 + 30_000);
    let listening = HostCall::StartListen {
        options: Box::new(callbox_dialogue::script::ListenOptions { start_timeout: 100_000, ..speech() }),
    };
    handle(rig.ask_for(listening));
    rig.wait(5_000);
    rig.recognised("yes", 0, 400);
    rig.call(HostCall::Sleep { delay: 1_000_000 });
    rig.wait(5_000);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
    rig.until_reply().unwrap();
    assert_eq!(rig.now, quiet + 5_000 + 10_000, "from the last transcript");
}

#[test]
fn a_transfer_under_way_is_no_silence() {
    let mut rig = Rig::up(limited(Limits { silence_timeout: 10_000, ..Limits::default() }));
    rig.call(HostCall::Transfer { target: "100".into(), options: bridge() });
    rig.wait(600_000);
    assert_eq!(rig.reply(), None);
}

#[test]
fn a_leg_that_never_ends_does_not_hold_the_call() {
    let mut rig = Rig::up(setup());
    rig.ends = false;
    rig.ask_for(HostCall::Hangup).unwrap();
    rig.returns();
    assert_eq!(rig.finished(), 0);
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.now, 100 + 34_000);
    assert_eq!(rig.engine.record().ended.map(|at| at.0), Some(100), "when it was told to");
}

#[test]
fn the_host_rings_when_the_script_takes_its_time() {
    let mut rig = Rig::new(setup());
    rig.to(1_000);
    assert_eq!(rig.told_at(|command| *command == LegCommand::Ring), Some(200));
    assert_eq!(rig.ask_for(HostCall::Ring), Ok(HostReply::Done));
    rig.ask_for(HostCall::Answer).unwrap();
    assert_eq!(rig.ask_for(HostCall::Ring), Ok(HostReply::Done));
    assert_eq!(rig.told(|command| *command == LegCommand::Ring), 1, "once");
    let mut rig = Rig::new(setup());
    rig.ask_for(HostCall::Answer).unwrap();
    rig.to(1_000);
    assert_eq!(rig.told(|command| *command == LegCommand::Ring), 0, "it was answered in time");
    let mut rig = Rig::new(outbound());
    rig.to(1_000);
    assert_eq!(rig.told(|command| *command == LegCommand::Ring), 0, "the far end rings");
}

#[test]
fn the_host_goes_down_through_the_fallback() {
    let mut start = setup();
    start.fallback.say = text("please call again");
    let mut rig = Rig::up(start);
    rig.call(HostCall::NextEvent { timeout: None });
    rig.give(Input::Drain { within: 10_000 });
    let told = HostReply::MaybeEvent(Some(callbox_dialogue::script::Event::Draining(10_000)));
    assert_eq!(rig.reply(), Some(Ok(told)));
    rig.call(HostCall::Sleep { delay: 1_000_000 });
    rig.give(Input::Drain { within: 60_000 });
    rig.run_out();
    let stopped = rig.outputs.iter().find(|(_, output)| *output == Output::StopScript).map(|(at, _)| *at);
    assert_eq!(stopped, Some(10_100), "the earlier one counts");
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::PlatformShutdown));
    assert_eq!(rig.engine.record().transcript[0].text, "please call again");
}

#[test]
fn nothing_follows_the_end() {
    let mut rig = Rig::up(setup());
    rig.remote_hangup();
    rig.returns();
    assert_eq!(rig.finished(), 1);
    let before = rig.engine.record().clone();
    rig.press("1");
    rig.leg(LegEvent::Answered);
    rig.give(Input::Hangup { reason: EndReason::OperatorHangup, why: String::new() });
    rig.give(Input::Script(HostCall::Now));
    rig.returns();
    rig.wait(100_000);
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reply(), None);
    assert_eq!(format!("{before:?}"), format!("{:?}", rig.engine.record()));
}
