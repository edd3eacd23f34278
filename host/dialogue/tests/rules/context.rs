//! Context sources: prefetch, time limits, failure policies.

use crate::rig::*;
use callbox_dialogue::call::{EndCause, EndReason};
use callbox_dialogue::leg::LegCommand;
use callbox_dialogue::script::{Handle, HostCall, HostError, HostReply};
use callbox_dialogue::setup::{Fallback, SourcePolicy};
use callbox_dialogue::{Input, Output, Setup};

fn with_source(prefetch: bool, on_failure: SourcePolicy) -> Setup {
    let mut setup = setup();
    setup.sources.insert("appointment".into(), source(prefetch, on_failure));
    setup
}

fn fetch() -> HostCall {
    HostCall::Fetch { source: "appointment".into(), parameters: Vec::new() }
}

fn requests(rig: &Rig) -> Vec<Handle> {
    let fetches = rig.outputs.iter().filter_map(|(_, output)| match output {
        Output::Fetch { fetch, .. } => Some(*fetch),
        _ => None,
    });
    fetches.collect()
}

fn answers(rig: &mut Rig, result: Result<String, HostError>) {
    let fetch = *requests(rig).last().unwrap();
    rig.give(Input::Fetched { fetch, result });
}

#[test]
fn a_source_is_asked_and_waited_for() {
    let mut rig = Rig::new(with_source(false, SourcePolicy::Continue));
    assert_eq!(requests(&rig), []);
    let parameters = vec![("id".to_owned(), "7".to_owned())];
    rig.call(HostCall::Fetch { source: "appointment".into(), parameters: parameters.clone() });
    let asked = rig.came(|output| matches!(output, Output::Fetch { parameters: given, .. } if *given == parameters));
    assert_eq!(asked, 1);
    rig.to(900);
    answers(&mut rig, Ok("{\"at\":\"10:00\"}".into()));
    assert_eq!(rig.reply(), Some(Ok(HostReply::Json("{\"at\":\"10:00\"}".into()))));
    assert_eq!(rig.commands.len(), 1, "a context request answers no call: it rings by itself");
}

#[test]
fn a_prefetched_source_answers_from_there() {
    let mut rig = Rig::new(with_source(true, SourcePolicy::Continue));
    assert_eq!(requests(&rig).len(), 1, "at once");
    rig.call(fetch());
    assert_eq!(rig.reply(), None);
    answers(&mut rig, Ok("1".into()));
    assert_eq!(rig.reply(), Some(Ok(HostReply::Json("1".into()))));
    assert_eq!(rig.ask_for(fetch()), Ok(HostReply::Json("1".into())));
    assert_eq!(requests(&rig).len(), 1);
    // With parameters it is asked anew.
    rig.call(HostCall::Fetch { source: "appointment".into(), parameters: vec![("id".into(), "7".into())] });
    assert_eq!(requests(&rig).len(), 2);
}

#[test]
fn a_late_source_is_timed_out_and_its_late_answer_ignored() {
    let mut rig = Rig::new(with_source(false, SourcePolicy::Reject));
    assert_eq!(rig.ask_for(fetch()), Err(HostError::TimedOut));
    assert_eq!(rig.now, 2_000);
    answers(&mut rig, Ok("1".into()));
    assert_eq!(rig.reply(), None);
    assert_eq!(rig.reason(), None, "the policy is for prefetches");
}

#[test]
fn a_failed_prefetch_is_told_once_and_then_tried_again() {
    let mut rig = Rig::new(with_source(true, SourcePolicy::Continue));
    rig.to(2_000);
    assert_eq!(rig.ask_for(fetch()), Err(HostError::TimedOut));
    rig.call(fetch());
    assert_eq!(requests(&rig).len(), 2);
    answers(&mut rig, Ok("2".into()));
    assert_eq!(rig.reply(), Some(Ok(HostReply::Json("2".into()))));
}

#[test]
fn an_answer_that_is_no_json_or_too_long_is_unavailable() {
    for answer in ["{".to_owned(), String::new(), format!("\"{}\"", "x".repeat(65_536))] {
        let mut rig = Rig::new(with_source(false, SourcePolicy::Continue));
        rig.call(fetch());
        answers(&mut rig, Ok(answer));
        assert!(matches!(rig.reply(), Some(Err(HostError::Unavailable(_)))));
    }
}

#[test]
fn a_source_that_is_not_declared_is_denied() {
    let mut rig = Rig::new(setup());
    assert!(matches!(rig.ask_for(fetch()), Err(HostError::Denied(what)) if what.contains("appointment")));
}

#[test]
fn with_the_policy_reject_a_late_prefetch_declines_the_call() {
    let mut rig = Rig::new(with_source(true, SourcePolicy::Reject));
    rig.call(HostCall::Sleep { delay: 60_000 });
    rig.to(2_000);
    assert_eq!(rig.reply(), Some(Ok(HostReply::Done)));
    assert!(matches!(rig.ask_for(HostCall::Answer), Err(HostError::Ended(EndCause::Operator(_)))));
    assert_eq!(rig.told(|command| matches!(command, LegCommand::Reject { status: 503, .. })), 1);
    rig.returns();
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::ContextFailed));
}

#[test]
fn with_the_policy_reject_an_answered_call_is_hung_up() {
    let mut rig = Rig::up(with_source(true, SourcePolicy::Reject));
    answers(&mut rig, Err(HostError::Unavailable("500".into())));
    assert_eq!(rig.told(|command| *command == LegCommand::Hangup), 1);
    assert_eq!(rig.reason(), Some(EndReason::ContextFailed));
}

#[test]
fn with_the_policy_fallback_the_script_is_stopped_and_the_fallback_played() {
    let fallback = Fallback { say: text("please call again"), transfer_to: None };
    let mut rig = Rig::new(Setup { fallback, ..with_source(true, SourcePolicy::Fallback) });
    rig.call(HostCall::Answer);
    answers(&mut rig, Err(HostError::Unavailable("500".into())));
    assert_eq!(rig.came(|output| *output == Output::StopScript), 1);
    assert_eq!(rig.reply(), None);
    rig.run_out();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.reason(), Some(EndReason::ContextFailed));
    assert_eq!(rig.engine.record().transcript[0].text, "please call again");
}

#[test]
fn context_goes_on_working_in_the_grace() {
    let mut rig = Rig::up(with_source(false, SourcePolicy::Continue));
    rig.remote_hangup();
    rig.call(fetch());
    assert_eq!(rig.reply(), None);
    answers(&mut rig, Ok("{}".into()));
    assert_eq!(rig.reply(), Some(Ok(HostReply::Json("{}".into()))));
}

#[test]
fn a_fetch_is_waited_for_by_handle() {
    let mut rig = Rig::new(with_source(false, SourcePolicy::Continue));
    let start = HostCall::StartFetch { source: "appointment".into(), parameters: Vec::new() };
    let fetch = handle(rig.ask_for(start.clone()));
    let select = HostCall::Select { handles: vec![fetch], timeout: None };
    rig.call(select);
    assert_eq!(rig.reply(), None);
    answers(&mut rig, Ok("[]".into()));
    assert_eq!(rig.reply(), Some(Ok(HostReply::Ready(vec![0]))));
    for _ in 0..2 {
        assert_eq!(rig.ask_for(HostCall::AwaitFetch { handle: fetch }), Ok(HostReply::Json("[]".into())));
    }
    // Dropped handles do not let a script flood its tenant.
    for _ in 0..16 {
        let dropped = handle(rig.ask_for(start.clone()));
        rig.ask_for(HostCall::Release { handle: dropped }).unwrap();
    }
    assert!(matches!(rig.ask_for(start), Err(HostError::LimitExceeded(_))));
}
