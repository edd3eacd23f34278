//! Results, settings, the clock, randomness, the log.

use crate::rig::*;
use callbox_dialogue::script::{HostCall, HostError, HostReply, LocalTime, LogLevel};
use callbox_dialogue::{Input, Output, Setup};

fn too_much(reply: callbox_dialogue::Reply) -> bool {
    matches!(reply, Err(HostError::LimitExceeded(_)))
}

fn invalid(reply: callbox_dialogue::Reply) -> bool {
    matches!(reply, Err(HostError::InvalidArgument(_)))
}

fn field(name: &str, value: &str) -> HostCall {
    HostCall::SetField { name: name.into(), value: value.into() }
}

#[test]
fn fields_are_json_and_the_last_value_counts() {
    let mut rig = Rig::new(setup());
    assert!(invalid(rig.ask_for(field("a", "{"))));
    assert!(invalid(rig.ask_for(field("", "1"))));
    assert!(invalid(rig.ask_for(field("a\n", "1"))));
    assert!(too_much(rig.ask_for(field(&"n".repeat(129), "1"))));
    assert!(too_much(rig.ask_for(field("a", &format!("\"{}\"", "x".repeat(65_536))))));
    for count in 0..128 {
        assert_eq!(rig.ask_for(field(&format!("f{count}"), "1")), Ok(HostReply::Done));
    }
    assert!(too_much(rig.ask_for(field("one too many", "1"))));
    assert_eq!(rig.ask_for(field("f7", "{\"a\": [1, null]}")), Ok(HostReply::Done));
    assert_eq!(rig.engine.record().fields["f7"].get(), "{\"a\": [1, null]}");
    assert_eq!(rig.engine.record().fields.len(), 128);
}

#[test]
fn the_record_takes_tags_intent_disposition_and_opt_out() {
    let mut rig = Rig::new(setup());
    for count in 0..64 {
        assert_eq!(rig.ask_for(HostCall::AddTag { tag: format!("t{count}") }), Ok(HostReply::Done));
    }
    assert_eq!(rig.ask_for(HostCall::AddTag { tag: "t3".into() }), Ok(HostReply::Done), "it has that one");
    assert!(too_much(rig.ask_for(HostCall::AddTag { tag: "t64".into() })));
    assert!(invalid(rig.ask_for(HostCall::SetIntent { name: "buy".into(), grade: Some('G') })));
    rig.ask_for(HostCall::SetIntent { name: "buy".into(), grade: Some('A') }).unwrap();
    rig.ask_for(HostCall::SetDisposition { disposition: "confirmed".into() }).unwrap();
    rig.ask_for(HostCall::SetOptOut).unwrap();
    let record = rig.engine.record();
    assert_eq!(record.tags.len(), 64);
    assert_eq!(record.intent.as_ref().map(|intent| (&*intent.name, intent.grade)), Some(("buy", Some('A'))));
    assert_eq!(record.disposition.as_deref(), Some("confirmed"));
    assert!(record.opt_out);
}

#[test]
fn pushes_go_to_declared_destinations_and_are_counted() {
    let mut rig = Rig::new(setup());
    let push = |destination: &str, body: &str| HostCall::Push { destination: destination.into(), body: body.into() };
    assert!(matches!(rig.ask_for(push("elsewhere", "{}")), Err(HostError::Denied(_))));
    assert!(invalid(rig.ask_for(push("outcome", "no"))));
    for count in 1..=64 {
        let id = format!("evt_0192aa_{count}");
        assert_eq!(rig.ask_for(push("outcome", "{}")), Ok(HostReply::Text(id)));
    }
    assert!(too_much(rig.ask_for(push("outcome", "{}"))));
    assert_eq!(rig.came(|output| matches!(output, Output::Push { .. })), 64);
}

#[test]
fn what_is_said_and_heard_carries_the_node() {
    let mut rig = Rig::up(setup());
    let node = |name: &str| HostCall::EnterNode { name: name.into() };
    rig.ask_for(node("greeting")).unwrap();
    let greeting = handle(rig.ask_for(start_say("hello", NOTHING)));
    rig.ask_for(node("menu")).unwrap();
    rig.call(listen(keys(1, 1)));
    rig.wait(1_500);
    rig.press("1");
    rig.reply().unwrap().unwrap();
    rig.ask_for(HostCall::AwaitPlayback { handle: greeting }).unwrap();
    let nodes: Vec<Option<&str>> = rig.engine.record().transcript.iter().map(|turn| turn.node.as_deref()).collect();
    assert_eq!(nodes, [Some("greeting"), Some("menu")]);
    let seqs: Vec<u32> = rig.engine.record().transcript.iter().map(|turn| turn.seq).collect();
    assert_eq!(seqs, [1, 2]);
}

#[test]
fn settings_answer_by_name() {
    let mut rig = Rig::new(setup());
    let get = |name: &str| HostCall::GetSetting { name: name.into() };
    assert_eq!(rig.ask_for(get("greeting")), Ok(HostReply::MaybeText(Some("hello".into()))));
    assert_eq!(rig.ask_for(get("absent")), Ok(HostReply::MaybeText(None)));
}

fn local(unix_ms: u64, zone: &str) -> Result<LocalTime, HostError> {
    let mut rig = Rig::new(Setup { started_unix_ms: unix_ms, ..setup() });
    match rig.ask_for(HostCall::LocalTime { zone: zone.into() })? {
        HostReply::LocalTime(time) => Ok(time),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_clock_knows_zones_and_daylight_saving() {
    // 2026-03-29T00:59:59Z and a second later: summer begins in Berlin.
    let before = local(1_774_745_999_000, "Europe/Berlin").unwrap();
    assert_eq!((before.hour, before.minute, before.utc_offset, before.weekday), (1, 59, 60, 7));
    let after = local(1_774_746_000_000, "Europe/Berlin").unwrap();
    assert_eq!((after.hour, after.minute, after.utc_offset), (3, 0, 120));
    let shanghai = local(1_774_745_999_000, "Asia/Shanghai").unwrap();
    assert_eq!(
        shanghai,
        LocalTime { year: 2026, month: 3, day: 29, weekday: 7, hour: 8, minute: 59, second: 59, utc_offset: 480 }
    );
    assert_eq!(local(1_774_745_999_000, "Asia/Kathmandu").unwrap().utc_offset, 345);
    assert!(matches!(local(0, "Europe/Nowhere"), Err(HostError::NotFound(_))));
    assert!(matches!(local(u64::MAX, "UTC"), Err(HostError::Other(_))));
}

#[test]
fn the_clock_goes_with_the_call() {
    let mut rig = Rig::new(setup());
    rig.to(1_500);
    assert_eq!(rig.ask_for(HostCall::Elapsed), Ok(HostReply::Number(1_500)));
    assert_eq!(rig.ask_for(HostCall::Now), Ok(HostReply::Number(1_793_000_001_500)));
}

#[test]
fn randomness_comes_from_the_seed() {
    let draw = |seed| {
        let mut rig = Rig::new(Setup { seed, ..setup() });
        let number = rig.ask_for(HostCall::RandomNumber);
        (number, rig.ask_for(HostCall::RandomBytes { count: 1_024 }))
    };
    assert_eq!(draw([1; 32]), draw([1; 32]));
    assert_ne!(draw([1; 32]), draw([2; 32]));
    assert!(matches!(draw([1; 32]).1, Ok(HostReply::Bytes(bytes)) if bytes.len() == 1_024));
    let mut rig = Rig::new(setup());
    assert!(invalid(rig.ask_for(HostCall::RandomBytes { count: 1_025 })));
}

#[test]
fn the_log_goes_into_the_trace_in_order_and_is_bounded() {
    let mut rig = Rig::up(setup());
    for count in 0..5_000 {
        let message = format!("{count} {}", "x".repeat(20_000));
        rig.ask_for(HostCall::Log { level: LogLevel::Warn, message }).unwrap();
    }
    rig.remote_hangup();
    rig.give(Input::ScriptEnded(callbox_dialogue::ScriptEnd::Returned));
    let record = rig.engine.record();
    assert!(record.timeline.len() <= 2_000);
    assert!(record.timeline.iter().all(|entry| entry.detail.len() <= 1_024));
    assert!(record.timeline_dropped > 3_000);
    assert!(record.timeline.iter().any(|entry| entry.kind == "ended"), "what matters has room");
    assert!(rig.came(|output| matches!(output, Output::Log { message, .. } if message.len() <= 8_192)) == 5_000);
}

#[test]
fn the_call_tells_who_calls() {
    let mut rig = Rig::new(setup());
    let info = Box::new(setup().info);
    assert_eq!(rig.ask_for(HostCall::GetInfo), Ok(HostReply::Info(info)));
    assert_eq!(rig.ask_for(HostCall::EnableEvent { kind: "weather".into() }), Ok(HostReply::Flag(false)));
}
