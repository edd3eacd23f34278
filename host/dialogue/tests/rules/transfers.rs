//! Giving the call away, and getting it back.

use crate::rig::*;
use callbox_dialogue::Output;
use callbox_dialogue::call::{EndCause, EndReason, Transport};
use callbox_dialogue::engine::Input;
use callbox_dialogue::leg::{LegCommand, LegEvent, TransferId, TransferResult};
use callbox_dialogue::script::{HostCall, HostError, HostReply, TransferMode, TransferOptions, TransferOutcome};

fn transfer() -> HostCall {
    HostCall::Transfer { target: "sip:desk@example.com".into(), options: refer() }
}

fn start() -> HostCall {
    HostCall::StartTransfer { target: "sip:desk@example.com".into(), options: refer() }
}

#[test]
fn a_transfer_that_connects_ends_the_scripts_part() {
    let mut rig = Rig::up(setup());
    rig.transfer = Some((1_500, TransferResult::Connected));
    assert_eq!(rig.ask_for(transfer()), Ok(HostReply::Transfer(TransferOutcome::Connected)));
    let ended = Err(HostError::Ended(EndCause::Transferred));
    assert_eq!(rig.ask_for(say("hello", NOTHING)), ended);
    assert_eq!(rig.ask_for(transfer()), ended);
    rig.returns();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::TransferCompleted));
    assert_eq!(rig.told(|command| *command == LegCommand::Hangup), 1);
}

/// A browser calls nobody by itself: whatever the script asked for, its caller gets to the target by a bridge, which
/// lasts as long as the two talk.
#[test]
fn a_browser_is_never_referred() {
    let mut setup = setup();
    setup.info.transport = Transport::Webrtc;
    let mut rig = Rig::up(setup);
    rig.transfer = Some((200_000, TransferResult::Returned));
    assert_eq!(rig.ask_for(transfer()), Ok(HostReply::Transfer(TransferOutcome::Returned)));
    let bridged = |command: &LegCommand| matches!(command, LegCommand::Transfer { mode: TransferMode::Bridge, .. });
    assert_eq!(rig.told(bridged), 1);
    assert_eq!(rig.engine.record().transfer.as_ref().map(|transfer| transfer.mode), Some(TransferMode::Bridge));
}

#[test]
fn a_transfer_that_fails_gives_the_caller_back() {
    let mut rig = Rig::up(setup());
    rig.transfer = Some((1_500, TransferResult::Failed { status: 486, reason: "Busy Here".into() }));
    let failed = HostReply::Transfer(TransferOutcome::Failed(486, "Busy Here".into()));
    assert_eq!(rig.ask_for(transfer()), Ok(failed));
    playout(rig.ask_for(say("nobody is there", NOTHING)));
    let outcome = rig.engine.record().transfer.as_ref().and_then(|transfer| transfer.outcome.clone());
    assert_eq!(outcome, Some(TransferOutcome::Failed(486, "Busy Here".into())));
}

#[test]
fn a_bridge_whose_target_hangs_up_gives_the_caller_back() {
    let mut rig = Rig::up(setup());
    rig.transfer = Some((200_000, TransferResult::Returned));
    let transfer = HostCall::Transfer { target: "100".into(), options: bridge() };
    assert_eq!(rig.ask_for(transfer), Ok(HostReply::Transfer(TransferOutcome::Returned)));
    playout(rig.ask_for(say("anything else", NOTHING)));
}

/// The operator's hang-up or the longest duration ends the call under a bridge: whether the two had talked is known to
/// the leg alone, and told after the end.
#[test]
fn a_bridge_that_is_hung_up_tells_whether_it_had_connected() {
    for (result, outcome) in [
        (TransferResult::Connected, TransferOutcome::Connected),
        (
            TransferResult::Failed { status: 487, reason: "the caller hung up".into() },
            TransferOutcome::Failed(487, "the call was over first".into()),
        ),
    ] {
        let mut rig = Rig::up(setup());
        rig.ends = false;
        rig.call(HostCall::Transfer { target: "100".into(), options: bridge() });
        rig.wait(5_000);
        rig.give(Input::Hangup { reason: EndReason::OperatorHangup, why: "enough".into() });
        assert!(matches!(rig.until_reply(), Err(HostError::Ended(_))));
        rig.leg(LegEvent::TransferEnded { transfer: TransferId(1), result });
        let recorded = rig.engine.record().transfer.as_ref().and_then(|transfer| transfer.outcome.clone());
        assert_eq!(recorded, Some(outcome));
    }
}

#[test]
fn a_transfer_can_be_cancelled() {
    let mut rig = Rig::up(setup());
    let handle = handle(rig.ask_for(start()));
    playout(rig.ask_for(say("please hold", NOTHING)));
    assert!(matches!(rig.ask_for(start()), Err(HostError::LimitExceeded(_))), "one at a time");
    assert_eq!(rig.ask_for(HostCall::CancelTransfer { handle }), Ok(HostReply::Done));
    let failed = HostReply::Transfer(TransferOutcome::Failed(487, "Request Terminated".into()));
    assert_eq!(rig.ask_for(HostCall::AwaitTransfer { handle }), Ok(failed));
    assert_eq!(rig.ask_for(HostCall::CancelTransfer { handle }), Ok(HostReply::Done));
    assert_eq!(rig.told(|command| matches!(command, LegCommand::CancelTransfer { .. })), 1);
}

#[test]
fn a_refer_that_never_comes_to_an_end_is_taken_back() {
    let mut rig = Rig::up(setup());
    let reply = rig.ask_for(transfer());
    assert_eq!(reply, Ok(HostReply::Transfer(TransferOutcome::Failed(487, "Request Terminated".into()))));
    assert_eq!(rig.now, 100 + 30_000 + 10_000 + 50);
}

#[test]
fn a_transfer_waits_for_the_answer_and_answers() {
    let mut rig = Rig::new(setup());
    rig.transfer = Some((500, TransferResult::Connected));
    rig.ask_for(transfer()).unwrap();
    let kinds: Vec<&LegCommand> = rig.commands.iter().map(|(_, command)| command).collect();
    assert_eq!(kinds[0], &LegCommand::Answer);
    assert!(matches!(kinds[1], LegCommand::Transfer { .. }));
    assert_eq!(rig.commands[1].0, 5);
}

#[test]
fn a_transfer_not_ordered_yet_is_cancelled_at_once() {
    let mut rig = Rig::new(setup());
    rig.answers = false;
    let handle = handle(rig.ask_for(start()));
    rig.ask_for(HostCall::CancelTransfer { handle }).unwrap();
    let reply = rig.ask_for(HostCall::AwaitTransfer { handle });
    assert!(matches!(reply, Ok(HostReply::Transfer(TransferOutcome::Failed(487, _)))));
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Transfer { .. })), 0);
}

#[test]
fn a_script_that_returns_leaves_its_transfer_running() {
    let mut rig = Rig::up(setup());
    rig.transfer = Some((3_000, TransferResult::Connected));
    handle(rig.ask_for(start()));
    rig.returns();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::TransferCompleted));
}

#[test]
fn a_script_cannot_write_sip_into_a_transfer() {
    let mut rig = Rig::up(setup());
    let with = |name: &str, value: &str| TransferOptions { headers: vec![(name.into(), value.into())], ..refer() };
    let call = |target: &str, options| HostCall::Transfer { target: target.into(), options };
    for call in [
        call("", refer()),
        call("sip:a@b\r\nVia: x", refer()),
        call("100", with("X-Note", "a\r\nVia: x")),
        call("100", TransferOptions { caller_id: Some("1\n2".into()), ..refer() }),
    ] {
        assert!(matches!(rig.ask_for(call), Err(HostError::InvalidArgument(_))));
    }
    for name in ["Via", "X-", "X-a b", "x-a:b"] {
        assert!(matches!(rig.ask_for(call("100", with(name, "1"))), Err(HostError::Denied(_))), "{name}");
    }
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Transfer { .. })), 0);
    rig.transfer = Some((10, TransferResult::Connected));
    rig.ask_for(call("100", with("User-to-User", "56a390f3"))).unwrap();
    assert_eq!(rig.came(|output| *output == Output::StopScript), 0);
}
