//! A script that fails never leaves dead air.

use crate::rig::*;
use callbox_dialogue::call::EndReason;
use callbox_dialogue::leg::{LegCommand, LegEvent, TransferResult};
use callbox_dialogue::record::EndedBy;
use callbox_dialogue::script::{HostCall, HostError, PlayoutEnd, ScriptEnd, TransferOutcome};
use callbox_dialogue::setup::Fallback;
use callbox_dialogue::{Input, Output, Setup};

fn with_fallback(say: &str, transfer_to: Option<&str>) -> Setup {
    let say = if say.is_empty() { Vec::new() } else { text(say) };
    Setup { fallback: Fallback { say, transfer_to: transfer_to.map(Into::into) }, ..setup() }
}

fn transfers(command: &LegCommand) -> bool {
    matches!(command, LegCommand::Transfer { .. })
}

#[test]
fn a_trap_plays_the_fallback_and_transfers() {
    let mut rig = Rig::up(with_fallback("one moment please", Some("sip:desk@example.com")));
    rig.transfer = Some((2_000, TransferResult::Connected));
    handle(rig.ask_for(start_say("one two three four", NOTHING)));
    rig.wait(500);
    rig.traps();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    let record = rig.engine.record();
    assert_eq!(record.end_reason, Some(EndReason::ScriptTrap));
    assert_eq!(record.script_error.as_deref(), Some("the script trapped: unreachable in `menu`"));
    let said: Vec<&str> = record.transcript.iter().map(|turn| &*turn.text).collect();
    assert_eq!(said, ["one two three four", "one moment please"]);
    assert_eq!(rig.told(transfers), 1);
    let transfer = record.transfer.as_ref().unwrap();
    assert_eq!(transfer.outcome, Some(TransferOutcome::Connected));
    assert_eq!(rig.came(|output| *output == Output::StopScript), 0, "it has ended by itself");
}

#[test]
fn a_fallback_whose_transfer_fails_hangs_up_politely() {
    let mut rig = Rig::up(with_fallback("one moment please", Some("100")));
    rig.transfer = Some((500, TransferResult::Failed { status: 486, reason: "Busy Here".into() }));
    rig.traps();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.told(|command| *command == LegCommand::Hangup), 1);
    assert_eq!(rig.engine.record().ended_by, Some(EndedBy::Script));
}

#[test]
fn a_fallback_never_lasts_for_ever() {
    // The leg answers nothing any more: no prompt ends, no transfer does.
    let mut rig = Rig::up(with_fallback("one moment please", Some("100")));
    rig.text_ms = 10_000_000;
    rig.stops = false;
    rig.ends = false;
    rig.traps();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert!(rig.now < 200_000, "took {} ms", rig.now);
}

#[test]
fn a_fallback_that_cannot_be_said_goes_on() {
    let mut rig = Rig::up(with_fallback("broken", Some("100")));
    rig.transfer = Some((500, TransferResult::Connected));
    rig.traps();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.told(transfers), 1);
}

#[test]
fn without_a_fallback_an_unanswered_call_is_declined() {
    let failed = |end, status| {
        let mut rig = Rig::new(setup());
        rig.give(Input::ScriptEnded(end));
        rig.run_out();
        assert_eq!(rig.finished(), 1);
        assert_eq!(rig.told(|command| *command == LegCommand::Reject { status, reason: None }), 1);
        rig.reason()
    };
    let failure = ScriptEnd::Failed { message: "no".into() };
    assert_eq!(failed(failure, 480), Some(EndReason::ScriptTrap));
    let budget = ScriptEnd::Budget { message: "200 ms of CPU in one turn".into() };
    assert_eq!(failed(budget, 480), Some(EndReason::ScriptBudget));
    let absent = ScriptEnd::NotStarted { message: "no free instance".into() };
    assert_eq!(failed(absent, 503), Some(EndReason::PlatformError));
}

#[test]
fn with_something_to_say_an_unanswered_call_is_answered_for_it() {
    let mut rig = Rig::new(with_fallback("please call again", None));
    rig.traps();
    rig.run_out();
    assert_eq!(rig.told(|command| *command == LegCommand::Answer), 1);
    assert_eq!(rig.engine.record().transcript[0].text, "please call again");
    assert_eq!(rig.told(|command| *command == LegCommand::Hangup), 1);
}

#[test]
fn a_transfer_under_way_comes_before_the_fallback() {
    let mut rig = Rig::up(with_fallback("one moment please", None));
    rig.transfer = Some((120_000, TransferResult::Connected));
    let start = HostCall::StartTransfer { target: "100".into(), options: bridge() };
    handle(rig.ask_for(start));
    rig.traps();
    rig.wait(100_000);
    assert_eq!(rig.engine.record().transcript.len(), 0, "the two are talking");
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    let mut rig = Rig::up(with_fallback("one moment please", None));
    rig.transfer = Some((2_000, TransferResult::Returned));
    let start = HostCall::StartTransfer { target: "100".into(), options: bridge() };
    handle(rig.ask_for(start));
    rig.traps();
    rig.run_out();
    assert_eq!(rig.engine.record().transcript.len(), 1, "the caller is ours again");
}

#[test]
fn the_caller_may_hang_up_during_the_fallback() {
    let mut rig = Rig::up(with_fallback("one moment please", Some("100")));
    rig.traps();
    rig.wait(500);
    rig.remote_hangup();
    assert_eq!(rig.finished(), 1);
    let record = rig.engine.record();
    assert_eq!((record.end_reason, record.ended_by), (Some(EndReason::ScriptTrap), Some(EndedBy::Caller)));
}

#[test]
fn a_trap_after_the_call_is_written_down() {
    let mut rig = Rig::up(with_fallback("one moment please", Some("100")));
    rig.remote_hangup();
    rig.traps();
    assert_eq!(rig.finished(), 1);
    assert!(rig.engine.record().script_error.is_some());
    assert_eq!(rig.reason(), Some(EndReason::CallerHangup));
}

#[test]
fn a_prompt_that_fails_is_a_typed_error_and_the_queue_goes_on() {
    let unavailable = || HostError::Unavailable("no voice".into());
    let mut rig = Rig::up(setup());
    assert_eq!(rig.ask_for(say("broken", NOTHING)), Err(unavailable()));
    assert_eq!(rig.ask_for(ask("broken", BOTH, keys(1, 1))), Err(unavailable()));
    let broken = handle(rig.ask_for(start_say("broken", NOTHING)));
    let after = handle(rig.ask_for(start_say("after", NOTHING)));
    assert_eq!(rig.ask_for(HostCall::AwaitPlayback { handle: broken }), Err(unavailable()));
    assert_eq!(playout(rig.ask_for(HostCall::AwaitPlayback { handle: after })).end, PlayoutEnd::Finished);
    // The listening of the broken ask is gone, too.
    rig.call(listen(keys(1, 1)));
    rig.press("1");
    assert!(rig.reply().is_some());
}

#[test]
fn a_prompt_that_fails_while_it_sounds_is_stopped() {
    let mut rig = Rig::up(setup());
    rig.text_ms = 5_000;
    rig.call(say("one two three four", NOTHING));
    rig.wait(10 + 700);
    let Some((_, LegCommand::Play { prompt, .. })) = rig.commands.last().cloned() else { panic!("it does not sound") };
    let error = HostError::Unavailable("the synthesiser died".into());
    rig.leg(LegEvent::PrepareFailed { prompt, error: error.clone() });
    assert_eq!(rig.commands.last(), Some(&(810, LegCommand::Stop { prompt })));
    assert_eq!(rig.until_reply(), Err(error));
    let turn = &rig.engine.record().transcript[0];
    assert!(turn.heard_text.as_deref().is_some_and(|heard| !heard.is_empty()), "{turn:?}");
    assert_eq!(playout(rig.ask_for(say("again", NOTHING))).end, PlayoutEnd::Finished);
}

#[test]
fn a_synthesiser_that_never_answers_is_unavailable() {
    let mut rig = Rig::new(setup());
    rig.ask_for(HostCall::Answer).unwrap();
    rig.wait(100);
    // The model leg is asleep: only the engine's own clock goes on.
    rig.engine.handle(callbox_dialogue::Time(rig.now), Input::Script(say("hello", NOTHING)));
    while rig.engine.poll_output().is_some() {}
    rig.wait(10_000);
    assert!(matches!(rig.reply(), Some(Err(HostError::Unavailable(_)))));
}
