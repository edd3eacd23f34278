//! A leg, a script and a driver that keep to nothing.

use super::{any_grammar, any_reason, any_setup, any_transfer_result, cases};
use crate::rig::{prompt, refer, utterance};
use callbox_dialogue::call::{EndCause, Evidence};
use callbox_dialogue::leg::{LegEvent, PromptId, RecognitionId, TransferId, WordMark};
use callbox_dialogue::llm::{self, Role, Setting};
use callbox_dialogue::script::{
    BargeIn, DigitOptions, Handle, HostCall, ListenOptions, Prompt, Queueing, ScriptEnd, Segment,
};
use callbox_dialogue::{Engine, HostError, Input, Output, Time};
use proptest::collection::vec;
use proptest::prelude::*;

fn prompt_id() -> impl Strategy<Value = PromptId> {
    (0_u32..8).prop_map(PromptId)
}

fn any_event() -> impl Strategy<Value = LegEvent> {
    let error = || Just(HostError::Unavailable("no".into()));
    let text = "[a-z0-9 ]{0,12}|\\PC{0,6}";
    let said = (text, any::<u32>(), any::<u32>()).prop_map(|(text, start, end)| utterance(&text, start, end));
    let recognition = || (0_u32..4).prop_map(RecognitionId);
    let ago = || prop_oneof![3 => 0_u32..400, 1 => any::<u32>()];
    let mark = (any::<u32>(), 0_u32..64).prop_map(|(at, text_end)| WordMark { at, text_end });
    let cause = prop_oneof![
        Just(EndCause::RemoteHangup),
        Just(EndCause::LocalHangup),
        Just(EndCause::Transferred),
        Just(EndCause::NetworkFailure),
        Just(EndCause::Operator("x".into())),
        Just(EndCause::Other("x".into())),
    ];
    prop_oneof![
        1 => Just(LegEvent::Ringing),
        4 => Just(LegEvent::Answered),
        2 => Just(LegEvent::EarlyMedia),
        1 => error().prop_map(|error| LegEvent::EarlyMediaFailed { error }),
        1 => (cause, prop::option::of(any::<u16>()), prop::option::of(any_reason())).prop_map(|(cause, sip_status, reason)| {
            LegEvent::Ended { cause, evidence: Evidence { sip_status, ..Evidence::default() }, reason }
        }),
        8 => prompt_id().prop_map(|prompt| LegEvent::Prepared { prompt }),
        2 => (prompt_id(), error()).prop_map(|(prompt, error)| LegEvent::PrepareFailed { prompt, error }),
        2 => (prompt_id(), vec(mark, 0..4), any::<Option<u32>>())
            .prop_map(|(prompt, marks, duration)| LegEvent::Words { prompt, marks, duration }),
        4 => prompt_id().prop_map(|prompt| LegEvent::PromptStarted { prompt }),
        4 => (prompt_id(), any::<u32>(), any::<bool>())
            .prop_map(|(prompt, played, complete)| LegEvent::PromptEnded { prompt, played, complete }),
        6 => prop_oneof![prop::char::range('0', '9'), any::<char>()].prop_map(|digit| LegEvent::Digit { digit }),
        1 => Just(LegEvent::DigitsSent),
        3 => ago().prop_map(|ago| LegEvent::SpeechStarted { ago }),
        3 => ago().prop_map(|ago| LegEvent::SpeechEnded { ago }),
        2 => (recognition(), said.clone()).prop_map(|(recognition, utterance)| LegEvent::Partial { recognition, utterance }),
        2 => (recognition(), vec(said, 0..3))
            .prop_map(|(recognition, alternatives)| LegEvent::Recognised { recognition, alternatives }),
        1 => (recognition(), error()).prop_map(|(recognition, error)| LegEvent::RecogniseFailed { recognition, error }),
        1 => ((0_u32..3).prop_map(TransferId), any_transfer_result())
            .prop_map(|(transfer, result)| LegEvent::TransferEnded { transfer, result }),
    ]
}

fn any_call() -> impl Strategy<Value = HostCall> {
    let handle = || (0_u32..12).prop_map(Handle);
    let barge_in = || (any::<bool>(), any::<bool>()).prop_map(|(speech, digits)| BargeIn { speech, digits });
    let segment = prop_oneof![
        3 => "\\PC{0,20}".prop_map(Segment::Text),
        1 => "[a<> /b]{0,20}".prop_map(Segment::Ssml),
        1 => prop_oneof![Just("chime.wav"), Just("absent.wav")].prop_map(|path| Segment::Asset(path.into())),
        1 => any::<u32>().prop_map(Segment::Silence),
    ];
    let queueing = prop_oneof![Just(Queueing::Append), Just(Queueing::Replace)];
    let spoken = (vec(segment, 0..4), barge_in(), queueing).prop_map(|(segments, barge_in, queueing)| Prompt {
        segments,
        barge_in,
        queueing,
    });
    let digits = (any::<u8>(), any::<u8>(), any::<Option<char>>(), any::<u32>())
        .prop_map(|(min, max, terminator, digit_timeout)| DigitOptions { min, max, terminator, digit_timeout });
    let digits = prop_oneof![
        digits,
        (1_u8..3, 3_u8..5, 0_u32..100).prop_map(|(min, max, digit_timeout)| DigitOptions {
            min,
            max,
            terminator: Some('#'),
            digit_timeout
        })
    ];
    let times = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop_oneof![0_u8..2, any::<u8>()]);
    let span = || prop_oneof![2 => 0_u32..1_000, 1 => any::<u32>()];
    let turns = (span(), span(), any_grammar());
    let options = (prop::option::of(digits), times, flags, turns).prop_map(
        |(
            digits,
            (start_timeout, end_silence, max_length, min_speech),
            flags,
            (complete_silence, resume_after, grammar),
        )| {
            let (speech, type_ahead, sensitive, min_words) = flags;
            Box::new(ListenOptions {
                digits,
                start_timeout,
                end_silence,
                complete_silence,
                resume_after,
                grammar,
                max_length,
                min_speech,
                speech,
                type_ahead,
                sensitive,
                min_words,
                partials: true,
                ..ListenOptions::default()
            })
        },
    );
    let options = options.boxed();
    let models = options.clone();
    prop_oneof![
        Just(HostCall::Answer),
        Just(HostCall::EarlyMedia),
        Just(HostCall::Hangup),
        any::<u16>().prop_map(|status| HostCall::Reject { status, reason: None }),
        spoken.clone().prop_map(|prompt| HostCall::Say { prompt }),
        spoken.clone().prop_map(|prompt| HostCall::StartSay { prompt }),
        (spoken, options.clone()).prop_map(|(prompt, options)| HostCall::Ask { prompt, options }),
        options.clone().prop_map(|options| HostCall::Listen { options }),
        options.prop_map(|options| HostCall::StartListen { options }),
        barge_in().prop_map(|barge_in| HostCall::OpenWriter { barge_in }),
        (handle(), "\\PC{0,30}").prop_map(|(handle, text)| HostCall::Write { handle, text }),
        handle().prop_map(|handle| HostCall::FinishWriter { handle }),
        handle().prop_map(|handle| HostCall::Release { handle }),
        handle().prop_map(|handle| HostCall::AwaitPlayback { handle }),
        handle().prop_map(|handle| HostCall::StopPlayback { handle }),
        handle().prop_map(|handle| HostCall::AwaitListening { handle }),
        handle().prop_map(|handle| HostCall::StopListening { handle }),
        handle().prop_map(|handle| HostCall::NextPartial { handle }),
        handle().prop_map(|handle| HostCall::Alternatives { handle }),
        prop::option::of(handle()).prop_map(|handle| HostCall::Meaning { handle }),
        handle().prop_map(|handle| HostCall::AwaitTransfer { handle }),
        handle().prop_map(|handle| HostCall::CancelTransfer { handle }),
        handle().prop_map(|handle| HostCall::AwaitFetch { handle }),
        handle().prop_map(|handle| HostCall::IsReady { handle }),
        (vec(handle(), 0..3), any::<Option<u32>>())
            .prop_map(|(handles, timeout)| HostCall::Select { handles, timeout }),
        any::<Option<u32>>().prop_map(|timeout| HostCall::NextEvent { timeout }),
        any::<u32>().prop_map(|delay| HostCall::After { delay }),
        any::<u32>().prop_map(|delay| HostCall::Sleep { delay }),
        "\\PC{0,8}".prop_map(|target| HostCall::StartTransfer { target, options: refer() }),
        "\\PC{0,8}".prop_map(|digits| HostCall::SendDigits { digits }),
        "\\PC{0,8}".prop_map(|zone| HostCall::LocalTime { zone }),
        ("\\PC{0,8}", "\\PC{0,8}").prop_map(|(name, value)| HostCall::SetField { name, value }),
        prop_oneof![Just("early"), Just("asked"), Just("absent")]
            .prop_map(|source| HostCall::StartFetch { source: source.into(), parameters: Vec::new() }),
        Just(HostCall::AwaitQuiet),
        any_model_call(models),
    ]
}

/// Calls of `llm`, on handles that are conversations, replies, or neither.
fn any_model_call(options: BoxedStrategy<Box<ListenOptions>>) -> impl Strategy<Value = HostCall> {
    let handle = || (0_u32..6).prop_map(Handle);
    let barge_in = || (any::<bool>(), any::<bool>()).prop_map(|(speech, digits)| BargeIn { speech, digits });
    let id = prop_oneof![Just("call_1".to_owned()), "\\PC{0,4}"];
    prop_oneof![
        6 => prop_oneof![4 => Just("assistant"), 1 => Just("absent")]
            .prop_map(|model| HostCall::OpenConversation { model: model.into() }),
        6 => (handle(), "\\PC{0,9}")
            .prop_map(|(handle, text)| HostCall::AddMessage { handle, role: Role::User, text }),
        4 => (handle(), barge_in()).prop_map(|(handle, barge_in)| HostCall::ModelReply { handle, barge_in }),
        4 => (handle(), barge_in()).prop_map(|(handle, barge_in)| HostCall::StartModelReply { handle, barge_in }),
        4 => (handle(), barge_in(), options)
            .prop_map(|(handle, barge_in, options)| HostCall::AskModel { handle, barge_in, options }),
        2 => handle().prop_map(|handle| HostCall::StartComplete { handle }),
        2 => handle().prop_map(|handle| HostCall::Complete { handle }),
        2 => handle().prop_map(|handle| HostCall::AwaitModelReply { handle }),
        2 => handle().prop_map(|handle| HostCall::CancelModelReply { handle }),
        1 => handle().prop_map(|handle| HostCall::ModelMessages { handle }),
        2 => (handle(), id).prop_map(|(handle, id)| HostCall::AddToolResult { handle, id, content: "x".into() }),
        1 => (handle(), any::<f32>())
            .prop_map(|(handle, degree)| HostCall::SetModel { handle, setting: Setting::Temperature(degree) }),
    ]
}

/// What a model does, asked or not.
fn any_model_event() -> impl Strategy<Value = llm::Event> {
    let call = ("\\PC{0,3}", "\\PC{0,3}", "[{}]{0,3}").prop_map(|(id, name, arguments)| llm::ToolCall {
        id,
        name,
        arguments,
        problem: None,
    });
    prop_oneof![
        8 => "[a-z]{0,5}[.!?]? ?|\\PC{0,6}".prop_map(|text| llm::Event::Text { text }),
        1 => call.prop_map(llm::Event::ToolCall),
        2 => prop_oneof![Just("stop".to_owned()), Just("length".to_owned()), "\\PC{0,9}"]
            .prop_map(|reason| llm::Event::Done { reason, usage: None }),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(input, output)| llm::Event::Done {
            reason: "stop".into(),
            usage: Some(llm::Usage { input, output }),
        }),
        1 => Just(llm::Event::Failed { error: HostError::TimedOut }),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    let end = prop_oneof![
        Just(ScriptEnd::Returned),
        Just(ScriptEnd::Failed { message: "x".into() }),
        Just(ScriptEnd::Trapped { message: "x".into() }),
        Just(ScriptEnd::Budget { message: "x".into() }),
        Just(ScriptEnd::NotStarted { message: "x".into() }),
    ];
    prop_oneof![
        40 => any_event().prop_map(Input::Leg),
        40 => any_call().prop_map(Input::Script),
        1 => end.prop_map(Input::ScriptEnded),
        3 => ((0_u32..8).prop_map(Handle), prop::option::of("\\PC{0,8}")).prop_map(|(fetch, json)| Input::Fetched {
            fetch,
            result: json.ok_or(HostError::TimedOut),
        }),
        12 => ((0_u32..8).prop_map(Handle), any_model_event()).prop_map(|(run, event)| Input::Model { run, event }),
        2 => "\\PC{0,8}".prop_map(Input::Message),
        1 => any_reason().prop_map(|reason| Input::Hangup { reason, why: "x".into() }),
        1 => any::<u32>().prop_map(|within| Input::Drain { within }),
        6 => Just(Input::Tick),
    ]
}

/// Mostly small steps, now and then a leap, and sometimes backwards.
fn any_step() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0_i64..500, 2 => 0_i64..20_000, 1 => -1_000_i64..0, 1 => Just(i64::from(u32::MAX))]
}

proptest! {
    #![proptest_config(cases(1_500))]

    /// Nothing that anybody hands in, in whatever order, breaks the engine;
    /// and the call can always be brought to its end.
    #[test]
    fn anything_in_any_order(setup in any_setup(), inputs in vec((any_step(), any_input()), 0..120)) {
        let mut engine = Engine::new(setup);
        let (mut now, mut latest) = (0_i64, 0_u64);
        let (mut calls, mut replies, mut finished) = (0, 0, 0);
        let mut drain = |engine: &mut Engine| -> Result<usize, TestCaseError> {
            let mut count = 0;
            while let Some(output) = engine.poll_output() {
                prop_assert_eq!(finished, 0, "after the end: {:?}", output);
                count += 1;
                match output {
                    Output::Reply { .. } => replies += 1,
                    Output::Finished => finished += 1,
                    _ => {}
                }
            }
            prop_assert!(count < 300, "{} outputs for one input", count);
            Ok(finished)
        };
        for (step, input) in inputs {
            now = now.saturating_add(step).max(0);
            latest = latest.max(now.unsigned_abs());
            calls += usize::from(matches!(input, Input::Script(_)));
            engine.handle(Time(now.unsigned_abs()), input);
            prop_assert!(engine.deadline().is_none_or(|deadline| deadline.0 > latest), "a deadline in the past");
            drain(&mut engine)?;
        }
        // The clock alone brings it to its end, once the script and the leg are gone.
        engine.handle(Time(latest), Input::ScriptEnded(ScriptEnd::Returned));
        drain(&mut engine)?;
        let ended = LegEvent::Ended { cause: EndCause::RemoteHangup, evidence: Evidence::default(), reason: None };
        engine.handle(Time(latest), Input::Leg(ended));
        prop_assert_eq!(drain(&mut engine)?, 1);
        engine.handle(Time(latest + 1_000_000), Input::Tick);
        prop_assert_eq!(drain(&mut engine)?, 1);
        prop_assert_eq!(engine.deadline(), None);
        prop_assert!(replies <= calls);
        let record = engine.record();
        prop_assert!(record.timeline.len() <= 2_000 && record.transcript.len() <= 4_000);
        prop_assert!(record.outcome.is_some() && record.end_reason.is_some());
    }

    /// A leg that never says anything, and a script that never asks anything,
    /// do not hold a call.
    #[test]
    fn the_clock_alone_ends_a_call(setup in any_setup(), first in any_call(), answered in any::<bool>()) {
        let mut engine = Engine::new(setup);
        if answered {
            engine.handle(Time(0), Input::Leg(LegEvent::Answered));
        }
        engine.handle(Time(0), Input::Script(first));
        let (mut ticks, mut finished) = (0, 0);
        loop {
            while let Some(output) = engine.poll_output() {
                finished += usize::from(output == Output::Finished);
            }
            let Some(deadline) = engine.deadline() else { break };
            engine.handle(deadline, Input::Tick);
            ticks += 1;
            prop_assert!(ticks < 1_000, "a clock without end");
        }
        prop_assert_eq!(finished, 1);
    }

    /// Prompts by the thousand leave nothing behind.
    #[test]
    fn nothing_grows(words in "[a-z ]{1,40}") {
        let setup = crate::rig::setup();
        let mut engine = Engine::new(setup);
        engine.handle(Time(0), Input::Leg(LegEvent::Answered));
        for round in 0..200_u32 {
            let now = Time(u64::from(round) * 1_000);
            let call = HostCall::StartSay { prompt: prompt(&words, BargeIn::default()) };
            engine.handle(now, Input::Script(call));
            while engine.poll_output().is_some() {}
            let id = PromptId(round + 1);
            for event in [
                LegEvent::Prepared { prompt: id },
                LegEvent::PromptStarted { prompt: id },
                LegEvent::PromptEnded { prompt: id, played: 500, complete: true },
            ] {
                engine.handle(now, Input::Leg(event));
                while engine.poll_output().is_some() {}
            }
            engine.handle(now, Input::Script(HostCall::Release { handle: Handle(round + 1) }));
            while engine.poll_output().is_some() {}
        }
        let debug = format!("{engine:?}");
        let prompts = debug.matches("Playback {").count();
        prop_assert_eq!(prompts, 0, "playbacks left behind");
    }
}
