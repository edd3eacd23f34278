//! Limits on handles, prompts, texts and options, answered with typed errors.

use crate::rig::*;
use callbox_dialogue::script::{
    BargeIn, DigitOptions, Handle, HostCall, HostError, HostReply, ListenOptions, PlayoutEnd, Prompt, Queueing, Segment,
};
use callbox_dialogue::setup::Limits;
use callbox_dialogue::{Setup, leg::LegCommand};

fn segments(segments: Vec<Segment>) -> HostCall {
    HostCall::Say { prompt: Prompt { segments, barge_in: BargeIn::default(), queueing: Queueing::Append } }
}

#[test]
fn handles_are_counted_and_come_back_when_dropped() {
    let mut rig = Rig::up(Setup { limits: Limits { max_handles: 3, ..Limits::default() }, ..setup() });
    let mut handles: Vec<Handle> = (0..3).map(|_| handle(rig.ask_for(HostCall::After { delay: 10 }))).collect();
    for call in [
        HostCall::After { delay: 10 },
        start_say("hello", NOTHING),
        HostCall::StartListen { options: Box::new(keys(1, 1)) },
        HostCall::OpenWriter { barge_in: NOTHING },
        HostCall::StartTransfer { target: "100".into(), options: refer() },
    ] {
        assert!(matches!(rig.ask_for(call), Err(HostError::LimitExceeded(_))));
    }
    // Blocking calls need none.
    playout(rig.ask_for(say("hello", NOTHING)));
    rig.ask_for(HostCall::Release { handle: handles[1] }).unwrap();
    let fourth = handle(rig.ask_for(start_say("hello", NOTHING)));
    assert!(!handles.contains(&fourth), "never used again");
    handles.push(fourth);
}

#[test]
fn prompts_queued_are_counted() {
    let mut rig = Rig::up(Setup { limits: Limits { max_queued_prompts: 2, ..Limits::default() }, ..setup() });
    handle(rig.ask_for(start_say("one", NOTHING)));
    handle(rig.ask_for(start_say("two", NOTHING)));
    assert!(matches!(rig.ask_for(start_say("three", NOTHING)), Err(HostError::LimitExceeded(_))));
    assert!(matches!(rig.ask_for(say("three", NOTHING)), Err(HostError::LimitExceeded(_))));
    // One that replaces the others has room.
    let prompt = Prompt { queueing: Queueing::Replace, ..prompt("three", NOTHING) };
    assert_eq!(playout(rig.ask_for(HostCall::Say { prompt })).end, PlayoutEnd::Finished);
}

#[test]
fn what_is_said_is_bounded() {
    let mut rig = Rig::up(setup());
    let long = "x".repeat(8_193);
    assert!(matches!(rig.ask_for(say(&long, NOTHING)), Err(HostError::LimitExceeded(_))));
    assert!(matches!(rig.ask_for(segments(vec![Segment::Ssml(long)])), Err(HostError::LimitExceeded(_))));
    let absent = segments(vec![Segment::Asset("absent.wav".into())]);
    assert!(matches!(rig.ask_for(absent), Err(HostError::NotFound(_))));
    let silent = segments(vec![Segment::Silence(60_001)]);
    assert!(matches!(rig.ask_for(silent), Err(HostError::InvalidArgument(_))));
    let many = segments(vec![Segment::Silence(1); 65]);
    assert!(matches!(rig.ask_for(many), Err(HostError::LimitExceeded(_))));
    assert_eq!(rig.commands, []);
    let good = segments(vec![Segment::Asset("chime.wav".into()), Segment::Silence(60_000)]);
    assert_eq!(playout(rig.ask_for(good)).played, 61_000);
    assert_eq!(rig.engine.record().transcript[0].text, "[chime.wav]");
}

#[test]
fn nothing_to_say_is_said_at_once() {
    let mut rig = Rig::up(setup());
    let begin = rig.now;
    for nothing in [Vec::new(), text(""), text("  "), vec![Segment::Silence(0)]] {
        let heard_of = playout(rig.ask_for(segments(nothing)));
        assert_eq!((heard_of.end, heard_of.played), (PlayoutEnd::Finished, 0));
    }
    assert_eq!(rig.now, begin);
    assert_eq!(rig.commands, []);
}

#[test]
fn options_are_checked_before_anything_happens() {
    let mut rig = Rig::new(setup());
    let digits = |min, max, terminator| ListenOptions {
        digits: Some(DigitOptions { min, max, terminator, digit_timeout: 1_000 }),
        ..speech()
    };
    let nothing = ListenOptions { speech: false, ..speech() };
    let language = ListenOptions { languages: vec![String::new()], ..speech() };
    let extra = ListenOptions { extra: vec![("a".into(), "{".into())], ..speech() };
    for options in
        [digits(0, 1, None), digits(2, 1, None), digits(1, 65, None), digits(1, 1, Some('x')), nothing, language, extra]
    {
        let reply = rig.ask_for(ask("hello", BOTH, options.clone()));
        assert!(matches!(reply, Err(HostError::InvalidArgument(_))), "{options:?}");
    }
    let hints = ListenOptions { hints: vec!["a".into(); 513], ..speech() };
    assert!(matches!(rig.ask_for(listen(hints)), Err(HostError::LimitExceeded(_))));
    assert_eq!(rig.commands, []);
}

#[test]
fn defaults_are_checked_and_used_from_then_on() {
    let mut rig = Rig::up(setup());
    let set = |name: &str, value: &str| HostCall::SetDefault { name: name.into(), value: value.into() };
    for (name, value) in [("rate", "79"), ("rate", "fast"), ("voice", ""), ("language", "en us")] {
        assert!(matches!(rig.ask_for(set(name, value)), Err(HostError::InvalidArgument(_))));
    }
    assert!(matches!(rig.ask_for(set("pitch", "1")), Err(HostError::NotFound(_))));
    for (name, value) in [("rate", "200"), ("voice", "robert"), ("language", "en-GB")] {
        assert_eq!(rig.ask_for(set(name, value)), Ok(HostReply::Done));
    }
    playout(rig.ask_for(say("hello", NOTHING)));
    let voices: Vec<_> = rig
        .commands
        .iter()
        .filter_map(
            |(_, command)| if let LegCommand::Prepare { voice, .. } = command { Some(voice.clone()) } else { None },
        )
        .collect();
    assert_eq!(voices.len(), 1);
    assert_eq!(voices[0].voice.as_deref(), Some("robert"));
    assert_eq!((&*voices[0].language, voices[0].rate), ("en-GB", Some(200)));
}

#[test]
fn prompts_are_made_ready_ahead_of_their_turn() {
    let mut rig = Rig::new(setup());
    rig.answers = false;
    for _ in 0..6 {
        handle(rig.ask_for(start_say("hello", NOTHING)));
    }
    let prepares = |rig: &Rig| rig.told(|command| matches!(command, LegCommand::Prepare { .. }));
    assert_eq!(prepares(&rig), 3, "while it rings");
    rig.wait(50);
    rig.leg(callbox_dialogue::LegEvent::Answered);
    rig.wait(1_500);
    assert_eq!(prepares(&rig), 4, "one more with each that is over");
}
