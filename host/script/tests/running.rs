//! Good scripts: what they ask reaches the session, what it answers reaches them,
//! and all of it is on the tape.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_dialogue::script::{Handle, Queueing, Segment};
use callbox_dialogue::{CallId, EndCause, HostCall, HostError, HostReply, ScriptEnd};
use callbox_script::tape::{Ending, MASK};
use callbox_script::{Recording, RunReason, Tape};
use guests::{HELLO, Sim, guest, start};
use std::sync::Arc;
use std::task::Poll;

#[tokio::test]
async fn a_script_speaks_and_returns() {
    let host = start(|_| ());
    let session = Sim { step: 10, ..Sim::default() };
    let calls = session.calls.clone();
    let run = host.run(&guest(HELLO, ""), session).await;
    assert_eq!((run.end, run.reason), (ScriptEnd::Returned, RunReason::Own));
    let calls = calls.lock().unwrap();
    let [HostCall::Say { prompt }] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(prompt.segments, [Segment::Text("Hello".into())]);
    assert!(prompt.barge_in.digits && !prompt.barge_in.speech && prompt.queueing == Queueing::Append);
    assert_eq!((run.usage.host_calls, run.usage.peak_memory, run.usage.log_dropped), (1, 64 << 10, 0));
    assert!(run.usage.cpu_us > 0);

    let Recording { header, entries, .. } = Tape::read(&run.tape.to_json_lines()).unwrap();
    assert!(header.complete && header.script.starts_with("sha256:"));
    assert_eq!((entries.len(), &entries[0].call), (1, &calls[0]));
    assert_eq!(entries[0].at.0, 10);
    let ending = Ending { end: ScriptEnd::Returned, reason: RunReason::Own, pending: None };
    assert_eq!((header.entries, ending_of(&run.tape)), (Some(1), ending));
    assert_eq!(header.limits, Some(callbox_script::ScriptLimits::default()));
}

fn ending_of(tape: &Tape) -> Ending {
    Tape::read(&tape.to_json_lines()).unwrap().ending.unwrap()
}

/// Answers what the other answers, until so many calls are answered.
struct Short(Sim, usize);

impl callbox_script::Session for Short {
    async fn call(&mut self, call: HostCall) -> callbox_script::Answered {
        self.0.call(call).await
    }

    fn is_over(&self) -> bool {
        self.0.calls.lock().unwrap().len() > self.1
    }
}

#[tokio::test]
async fn a_session_that_is_over_ends_the_script_where_it_is() {
    let run = format!("(call $greet (i32.const 7)) {HELLO}");
    let greet = format!("(func $greet (param i32) (call $now) (drop) (drop {HELLO}))");
    let host = start(|_| ());
    let script = host.script(&guest(&run, &greet)).await;
    let run = host.host.run(script, CallId("call_1".into()), Short(Sim::default(), 1), true).await;
    assert_eq!(run.reason, RunReason::Stopped);
    let place = run.left_in().unwrap_or_else(|| panic!("{:?}", run.end));
    assert!(place.starts_with("in `greet` ← ") && place.ends_with("calling voice.say (host call 2)"), "{place}");
    let ending = ending_of(&run.tape);
    assert!(matches!(ending.pending, Some(HostCall::Say { .. })), "{ending:?}");
    assert_eq!(run.tape.entries, 1);
}

#[tokio::test]
async fn an_error_of_the_script_is_its_own_words() {
    let host = start(|_| ());
    let run = host.run(&guest("(i32.const 16)", ""), Sim::default()).await;
    assert_eq!(run.end, ScriptEnd::Failed { message: "Hello".into() });
}

#[tokio::test]
async fn the_end_of_the_call_reaches_the_script_as_an_error_it_can_handle() {
    let host = start(|_| ());
    let special =
        |call: &HostCall| matches!(call, HostCall::Say { .. }).then_some(Err(HostError::Ended(EndCause::RemoteHangup)));
    // Returns the error "Hello" when `say` failed with the first kind of error.
    let run = "(call $say (i32.const 256) (i32.const 1) (i32.const 2) (i32.const 1024))
        (if (result i32) (i32.and (i32.load8_u (i32.const 1024)) (i32.eqz (i32.load8_u (i32.const 1028))))
            (then (i32.const 16)) (else (i32.const 0)))";
    let run = host.run(&guest(run, ""), Sim { special: Some(special), ..Sim::default() }).await;
    assert_eq!(run.end, ScriptEnd::Failed { message: "Hello".into() });
}

#[tokio::test]
async fn handles_are_waited_for_and_released() {
    let run = "(local $playback i32) (local $view i32) (local $timer i32)
        (call $start_say (i32.const 256) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 1024))
        (local.set $playback (i32.load (i32.const 1028)))
        (local.set $view (call $playback_subscribe (local.get $playback)))
        (local.set $timer (call $after (i32.const 500)))
        (i32.store (i32.const 2048) (local.get $view))
        (i32.store (i32.const 2052) (local.get $timer))
        (call $select (i32.const 2048) (i32.const 2) (i32.const 1) (i32.const 900) (i32.const 1024))
        (if (i32.ne (i32.load (i32.const 1028)) (i32.const 2)) (then (unreachable)))
        (call $pollable_block (local.get $timer))
        (call $playback_wait (local.get $playback) (i32.const 1024))
        (call $pollable_drop (local.get $view))
        (call $pollable_drop (local.get $timer))
        (call $playback_drop (local.get $playback))
        (i32.const 0)";
    let host = start(|_| ());
    let session = Sim::default();
    let calls = session.calls.clone();
    let run = host.run(&guest(run, ""), session).await;
    assert_eq!(run.end, ScriptEnd::Returned);
    let (playback, timer) = (Handle(1), Handle(2));
    let calls = calls.lock().unwrap();
    let [HostCall::StartSay { prompt }, rest @ ..] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(prompt.queueing, Queueing::Replace);
    assert_eq!(
        rest,
        [
            HostCall::After { delay: 500 },
            HostCall::Select { handles: vec![playback, timer], timeout: Some(900) },
            HostCall::Select { handles: vec![timer], timeout: None },
            HostCall::AwaitPlayback { handle: playback },
            // The view of the playback releases nothing.
            HostCall::Release { handle: timer },
            HostCall::Release { handle: playback },
        ]
    );
}

#[tokio::test]
async fn a_writer_becomes_its_playback() {
    let run = "(call $writer_open (i32.const 3) (i32.const 1024))
        (call $writer_write (i32.load (i32.const 1028)) (i32.const 64) (i32.const 5) (i32.const 2048))
        (call $writer_finish (i32.load (i32.const 1028)) (i32.const 1024))
        (call $playback_wait (i32.load (i32.const 1028)) (i32.const 2048))
        (call $playback_drop (i32.load (i32.const 1028)))
        (i32.const 0)";
    let host = start(|_| ());
    let session = Sim::default();
    let calls = session.calls.clone();
    assert_eq!(host.run(&guest(run, ""), session).await.end, ScriptEnd::Returned);
    let handle = Handle(1);
    let calls = calls.lock().unwrap();
    assert!(matches!(calls[0], HostCall::OpenWriter { barge_in } if barge_in.speech && barge_in.digits));
    assert_eq!(
        calls[1..],
        [
            HostCall::Write { handle, text: "Hello".into() },
            HostCall::FinishWriter { handle },
            HostCall::AwaitPlayback { handle },
            HostCall::Release { handle },
        ]
    );
}

#[tokio::test]
async fn options_reach_the_session_and_wrong_ones_the_script() {
    let listen = |min: u32| {
        guest(
            &format!(
                "(local $options i32)
                (local.set $options (call $options_new))
                (call $options_digits (local.get $options) (i32.const {min}) (i32.const 4) (i32.const 1) (i32.const 35) (i32.const 2500))
                (call $options_sensitive (local.get $options) (i32.const 1))
                (call $listen (local.get $options) (i32.const 1024))
                (call $options_drop (local.get $options))
                (i32.mul (i32.load8_u (i32.const 1024)) (i32.const 16))"
            ),
            "",
        )
    };
    let host = start(|_| ());
    let session = Sim { sensitive: true, ..Sim::default() };
    let calls = session.calls.clone();
    let run = host.run(&listen(1), session).await;
    assert_eq!(run.end, ScriptEnd::Returned);
    {
        let calls = calls.lock().unwrap();
        let [HostCall::Listen { options }] = calls.as_slice() else { panic!("{calls:?}") };
        let digits = options.digits.unwrap();
        assert_eq!((digits.min, digits.max, digits.terminator, digits.digit_timeout), (1, 4, Some('#'), 2_500));
        assert!(options.sensitive);
    }
    let text = run.tape.to_json_lines();
    assert!(text.contains(MASK) && !text.contains("4711"), "{text}");

    let session = Sim::default();
    let calls = session.calls.clone();
    assert_eq!(host.run(&listen(5), session).await.end, ScriptEnd::Failed { message: "Hello".into() });
    assert!(calls.lock().unwrap().is_empty(), "the mistake is found before anybody listens");
}

#[tokio::test]
async fn texts_of_the_host_arrive_whole() {
    // Looks for the name of the header, which is in a list of tuples in a record.
    let run = "(local $headers i32)
        (call $info (i32.const 1024))
        (local.set $headers (i32.load (i32.const 1108)))
        (if (result i32) (i32.eq (i32.load (i32.load (local.get $headers))) (i32.const 0x75632d78))
            (then (i32.const 0)) (else (i32.const 16)))";
    let host = start(|_| ());
    let run = host.run(&guest(run, ""), Sim::default()).await;
    assert_eq!(run.end, ScriptEnd::Returned, "x-cu… was found");
}

#[tokio::test]
async fn an_answer_of_the_wrong_kind_is_a_fault_of_the_platform() {
    let host = start(|_| ());
    let special = |_: &HostCall| Some(Ok(HostReply::Flag(true)));
    let run = host.run(&guest(HELLO, ""), Sim { special: Some(special), ..Sim::default() }).await;
    let ScriptEnd::Trapped { message } = run.end else { panic!("{:?}", run.end) };
    assert!(
        message.contains("fault of the platform") && message.contains("voice.say") && message.contains("flag"),
        "{message}"
    );
}

#[tokio::test]
async fn a_script_can_be_stopped_wherever_it_is() {
    let host = start(|config| config.limits.cpu_per_turn_ms = 5_000);
    let waiting = guest("(call $sleep (i32.const 1000000)) (i32.const 0)", "");
    let computing = guest("(loop $again (br $again)) (unreachable)", "");
    for (wasm, place) in [(waiting, "in wait.sleep"), (computing, "while it computed")] {
        let script = host.script(&wasm).await;
        let seat = host.host.reserve().unwrap();
        assert_eq!(host.host.running(), 1);
        let mut polls = 0;
        let stop = std::future::poll_fn(|context| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls < 5 { Poll::Pending } else { Poll::Ready(()) }
        });
        let run = host.host.run_until(seat, script, CallId("call_1".into()), Never, true, stop).await;
        assert_eq!(run.reason, RunReason::Stopped);
        let ScriptEnd::Budget { message } = &run.end else { panic!("{:?}", run.end) };
        assert!(message.contains(place), "{message}");
        assert_eq!(ending_of(&run.tape).pending.is_some(), place == "in wait.sleep");
        assert_eq!(host.host.running(), 0);
    }
}

/// Never answers.
struct Never;

impl callbox_script::Session for Never {
    async fn call(&mut self, _: HostCall) -> callbox_script::Answered {
        std::future::pending().await
    }
}

#[tokio::test]
async fn without_a_seat_nothing_starts() {
    let host = start(|config| config.max_instances = 1);
    let script = host.script(&guest(HELLO, "")).await;
    let seat = host.host.reserve().unwrap();
    assert!(host.host.reserve().is_none());
    let run = |script| host.host.run(script, CallId("call_1".into()), Sim::default(), false);
    let refused = run(script.clone()).await;
    assert_eq!(refused.reason, RunReason::NoFreeInstance);
    assert!(matches!(refused.end, ScriptEnd::NotStarted { .. }));
    drop(seat);
    assert_eq!(run(script).await.end, ScriptEnd::Returned);
}

#[tokio::test]
async fn instances_share_nothing() {
    // Fails when anybody was here before; then leaves a mark in memory and in a global.
    let run = "(if (i32.or (i32.load (i32.const 4096)) (global.get $mark)) (then (unreachable)))
        (i32.store (i32.const 4096) (i32.const 77))
        (global.set $mark (i32.const 77))
        (i32.const 0)";
    let host = start(|config| config.max_instances = 4);
    let script = host.script(&guest(run, "(global $mark (mut i32) (i32.const 0))")).await;
    for _ in 0..500 {
        let run = host.host.run(script.clone(), CallId("call_1".into()), Sim::default(), false).await;
        assert_eq!(run.end, ScriptEnd::Returned);
    }
}

#[tokio::test]
async fn many_run_at_once() {
    let host = Arc::new(start(|_| ()));
    let script = host.script(&guest(HELLO, "")).await;
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let (host, script) = (host.clone(), script.clone());
        runs.spawn(async move {
            let session = Sim { yields: true, ..Sim::default() };
            host.host.run(script, CallId("call_1".into()), session, true).await.end
        });
    }
    while let Some(end) = runs.join_next().await {
        assert_eq!(end.unwrap(), ScriptEnd::Returned);
    }
}
