//! Conversations with a language model.

use crate::rig::{BOTH, DIGITS, NOTHING, Rig, setup};
use callbox_dialogue::leg::LegCommand;
use callbox_dialogue::llm::{
    Event, Finish, Message, Model, ModelReply, ModelTurn, Request, Role, Setting, Tool, ToolCall, Usage,
};
use callbox_dialogue::script::{BargeIn, DigitOptions, Handle, Heard, ListenOptions, PlayoutEnd, Segment};
use callbox_dialogue::{HostCall, HostError, HostReply, Input, Output, Reply, Setup};
use proptest::prelude::*;

pub(crate) fn with_model(limits: Model) -> Setup {
    let mut setup = setup();
    setup.models.insert("assistant".into(), limits);
    setup
}

/// A call that is up, with a conversation of one turn.
fn talk(limits: Model) -> (Rig, Handle) {
    let mut rig = Rig::up(with_model(limits));
    let Ok(HostReply::Handle(handle)) = rig.ask_for(HostCall::OpenConversation { model: "assistant".into() }) else {
        panic!("no conversation")
    };
    add(&mut rig, handle, Role::User, "Hello?").unwrap();
    (rig, handle)
}

fn add(rig: &mut Rig, handle: Handle, role: Role, text: &str) -> Reply {
    rig.ask_for(HostCall::AddMessage { handle, role, text: text.into() })
}

fn tool(rig: &mut Rig, handle: Handle, name: &str) -> Reply {
    let tool = Tool { name: name.into(), description: "does".into(), parameters: r#"{"type":"object"}"#.into() };
    rig.ask_for(HostCall::AddTool { handle, tool })
}

/// The request that went out last.
fn asked(rig: &Rig) -> (Handle, Request) {
    let last = rig.outputs.iter().rev().find_map(|(_, output)| match output {
        Output::Model { run, request } => Some((*run, (**request).clone())),
        _ => None,
    });
    last.expect("no model was asked")
}

fn stopped(rig: &Rig) -> Option<u64> {
    rig.outputs.iter().find(|(_, output)| matches!(output, Output::StopModel { .. })).map(|(at, _)| *at)
}

fn model(rig: &mut Rig, event: Event) {
    let (run, _) = asked(rig);
    rig.give(Input::Model { run, event });
}

fn writes(rig: &mut Rig, text: &str) {
    model(rig, Event::Text { text: text.into() });
}

fn calls(rig: &mut Rig, id: &str, name: &str, arguments: &str) {
    let call = ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), problem: None };
    model(rig, Event::ToolCall(call));
}

fn done(rig: &mut Rig, reason: &str) {
    model(rig, Event::Done { reason: reason.into(), usage: None });
}

fn replied(reply: Reply) -> ModelReply {
    match reply {
        Ok(HostReply::ModelReply(reply)) => *reply,
        other => panic!("{other:?}"),
    }
}

fn turn(reply: Reply) -> ModelTurn {
    match reply {
        Ok(HostReply::ModelTurn(turn)) => *turn,
        other => panic!("{other:?}"),
    }
}

fn messages(rig: &mut Rig, handle: Handle) -> Vec<Message> {
    match rig.ask_for(HostCall::ModelMessages { handle }) {
        Ok(HostReply::Messages(all)) => all,
        other => panic!("{other:?}"),
    }
}

fn appended(rig: &Rig) -> Vec<String> {
    let texts = rig.commands.iter().filter_map(|(_, command)| match command {
        LegCommand::Append { segments, .. } => Some(segments.clone()),
        _ => None,
    });
    texts.flatten().map(|segment| if let Segment::Text(text) = segment { text } else { String::new() }).collect()
}

fn one_key() -> Box<ListenOptions> {
    let digits = DigitOptions { min: 1, max: 1, terminator: None, digit_timeout: 1_000 };
    Box::new(ListenOptions { digits: Some(digits), speech: false, ..ListenOptions::default() })
}

#[test]
fn a_reply_is_spoken_sentence_by_sentence_while_it_is_written() {
    let (mut rig, handle) = talk(Model::default());
    rig.call(HostCall::ModelReply { handle, barge_in: NOTHING });
    rig.wait(300);
    writes(&mut rig, "Good");
    writes(&mut rig, " day. What");
    assert_eq!(appended(&rig), ["Good day."], "the first sentence does not wait for the second");
    rig.wait(200);
    writes(&mut rig, " can I do?");
    done(&mut rig, "stop");
    let reply = replied(rig.until_reply());
    assert_eq!((reply.text.as_str(), &reply.finish), ("Good day. What can I do?", &Finish::Done));
    let playout = reply.playout.unwrap();
    assert_eq!((playout.end, playout.heard_text.as_str()), (PlayoutEnd::Finished, "Good day. What can I do?"));
    let history = messages(&mut rig, handle);
    assert_eq!(history[1..], [Message::new(Role::Assistant, "Good day. What can I do?")]);
    assert_eq!(stopped(&rig), None);
    let record = rig.engine.record();
    assert_eq!(record.transcript[0].text, "Good day. What can I do?");
    let noted = record.timeline.iter().find(|entry| entry.kind == "model_replied").unwrap();
    assert!(noted.detail.contains("first token after 300 ms"), "{}", noted.detail);
}

#[test]
fn a_key_stops_the_model_at_once_and_what_was_heard_is_what_it_said() {
    let (mut rig, handle) = talk(Model::default());
    rig.call(HostCall::ModelReply { handle, barge_in: DIGITS });
    writes(&mut rig, "One two three four. Five six ");
    rig.wait(500);
    rig.press("1");
    assert_eq!(stopped(&rig), Some(rig.now), "the model is stopped within the moment of the key");
    writes(&mut rig, "seven eight. ");
    calls(&mut rig, "a", "book", "{}");
    let reply = replied(rig.until_reply());
    let playout = reply.playout.unwrap();
    assert_eq!((playout.end, &reply.finish), (PlayoutEnd::CutByDigits, &Finish::Interrupted));
    assert!(!playout.heard_text.is_empty() && "One two three four.".starts_with(&playout.heard_text));
    assert!(reply.tool_calls.is_empty(), "what was not announced is not done");
    assert_eq!(messages(&mut rig, handle)[1].text, playout.heard_text);
}

#[test]
fn a_key_stops_a_model_that_still_thinks() {
    let (mut rig, handle) = talk(Model::default());
    rig.call(HostCall::ModelReply { handle, barge_in: DIGITS });
    rig.wait(1_000);
    rig.press("1");
    let reply = replied(rig.reply().expect("at once"));
    assert_eq!((reply.playout, reply.finish), (None, Finish::Interrupted));
    assert_eq!(stopped(&rig), Some(rig.now));
    assert_eq!(messages(&mut rig, handle).len(), 1, "it has said nothing");
    // The key counts for who listens next.
    assert_eq!(rig.ask_for(HostCall::Listen { options: one_key() }), Ok(HostReply::Heard(Heard::Digits("1".into()))));
}

#[test]
fn asking_speaks_and_listens_and_tools_come_first() {
    let (mut rig, handle) = talk(Model::default());
    tool(&mut rig, handle, "slots").unwrap();
    let ask = HostCall::AskModel { handle, barge_in: DIGITS, options: one_key() };
    rig.call(ask.clone());
    calls(&mut rig, "a", "slots", "{\"day\":1}");
    done(&mut rig, "tool_calls");
    let first = turn(rig.reply().expect("nothing is spoken, so nothing is waited for"));
    assert_eq!((first.heard, first.reply.playout, &first.reply.finish), (None, None, &Finish::ToolCalls));
    assert_eq!(first.reply.tool_calls[0].arguments, "{\"day\":1}");

    let early = rig.ask_for(ask.clone());
    assert!(matches!(early, Err(HostError::InvalidArgument(why)) if why.contains('a')), "the result is missing");
    rig.ask_for(HostCall::AddToolResult { handle, id: "a".into(), content: "nine".into() }).unwrap();
    rig.call(ask);
    let (_, request) = asked(&rig);
    let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool]);
    writes(&mut rig, "At nine. ");
    done(&mut rig, "stop");
    rig.wait(3_000);
    assert_eq!(rig.reply(), None, "it listens behind its words");
    rig.press("5");
    let second = turn(rig.until_reply());
    assert_eq!(second.heard, Some(Heard::Digits("5".into())));
    assert_eq!(second.reply.finish, Finish::Done);

    // The caller waits for the model's first token, too.
    rig.call(HostCall::ModelReply { handle, barge_in: NOTHING });
    rig.wait(700);
    writes(&mut rig, "Until then. ");
    done(&mut rig, "stop");
    replied(rig.until_reply());
    let latency = rig.engine.record().transcript.last().unwrap().latency.unwrap();
    assert_eq!((latency.first_token_ms, latency.script_ms), (Some(700), 700), "{latency}");
}

#[test]
fn a_key_in_an_ask_cuts_the_model_and_is_the_answer() {
    let (mut rig, handle) = talk(Model::default());
    for thinks in [true, false] {
        rig.call(HostCall::AskModel { handle, barge_in: BOTH, options: one_key() });
        if !thinks {
            writes(&mut rig, "One two three four. ");
            rig.wait(400);
        }
        rig.press("7");
        let turn = turn(rig.until_reply());
        assert_eq!((turn.heard, turn.reply.finish), (Some(Heard::Digits("7".into())), Finish::Interrupted));
    }
}

#[test]
fn tool_calls_that_cannot_be_done_say_why_and_every_call_has_an_id_of_its_own() {
    let (mut rig, handle) = talk(Model::default());
    tool(&mut rig, handle, "slots").unwrap();
    rig.call(HostCall::Complete { handle });
    for (id, name, arguments) in [
        ("a", "slots", "{\"day\": 2026"),
        ("a", "slots", "[1]"),
        ("", "sl\u{1}ots", "{}"),
        ("c", "slots", " "),
        ("d", "slots", &format!("{{\"x\":\"{}\"}}", "y".repeat(70_000))),
    ] {
        calls(&mut rig, id, name, arguments);
    }
    done(&mut rig, "stop");
    let reply = replied(rig.until_reply());
    assert_eq!(reply.finish, Finish::ToolCalls, "whatever it calls the reason");
    let problems: Vec<_> = reply.tool_calls.iter().map(|call| call.problem.as_deref().unwrap_or_default()).collect();
    for (problem, says) in problems.iter().zip(["not JSON", "JSON object", "there is no tool", "", "at most"]) {
        assert!(problem.contains(says) && problem.is_empty() == says.is_empty(), "{problem}");
    }
    assert!(reply.tool_calls.iter().all(|call| call.arguments == "{}"));
    let ids: std::collections::BTreeSet<_> = reply.tool_calls.iter().map(|call| call.id.clone()).collect();
    assert_eq!(ids.len(), 5, "{ids:?}");
    let unknown = rig.ask_for(HostCall::AddToolResult { handle, id: "z".into(), content: String::new() });
    assert!(matches!(unknown, Err(HostError::NotFound(_))));
}

#[test]
fn a_model_that_fails_before_it_speaks_is_an_error_and_one_that_breaks_off_a_reply() {
    let (mut rig, handle) = talk(Model::default());
    let fails = || Event::Failed { error: HostError::Unavailable("down".into()) };
    rig.call(HostCall::ModelReply { handle, barge_in: NOTHING });
    model(&mut rig, fails());
    assert_eq!(rig.reply(), Some(Err(HostError::Unavailable("down".into()))));
    rig.call(HostCall::ModelReply { handle, barge_in: NOTHING });
    done(&mut rig, "stop");
    assert!(
        matches!(rig.reply(), Some(Err(HostError::Unavailable(why))) if why.contains("nothing")),
        "an empty answer"
    );
    assert_eq!(messages(&mut rig, handle).len(), 1, "the conversation is as it was");

    rig.call(HostCall::ModelReply { handle, barge_in: NOTHING });
    writes(&mut rig, "Well, let me");
    model(&mut rig, fails());
    let reply = replied(rig.until_reply());
    assert_eq!(reply.finish, Finish::Broken(HostError::Unavailable("down".into())));
    assert_eq!(reply.playout.unwrap().heard_text, "Well, let me", "what there is of it is spoken");
    assert_eq!(messages(&mut rig, handle)[1].text, "Well, let me");
    // Without a voice there is nothing to keep.
    rig.call(HostCall::Complete { handle });
    writes(&mut rig, "Well, let me");
    model(&mut rig, fails());
    assert_eq!(rig.reply(), Some(Err(HostError::Unavailable("down".into()))));
}

#[test]
fn a_model_has_so_long_for_each_sign_and_for_all() {
    let limits = Model { patience: 2_000, timeout: 5_000, ..Model::default() };
    let (mut rig, handle) = talk(limits);
    rig.call(HostCall::ModelReply { handle, barge_in: NOTHING });
    let begun = rig.now;
    assert_eq!(rig.until_reply(), Err(HostError::TimedOut));
    assert_eq!((rig.now - begun, stopped(&rig)), (2_000, Some(begun + 2_000)));

    rig.call(HostCall::Complete { handle });
    let begun = rig.now;
    for _ in 0..4 {
        rig.wait(1_200);
        writes(&mut rig, "on ");
    }
    assert_eq!(rig.until_reply(), Err(HostError::TimedOut));
    assert_eq!(rig.now - begun, 5_000, "signs of life help for so long");
}

#[test]
fn a_model_that_never_stops_is_stopped() {
    let (mut rig, handle) = talk(Model { max_tokens: 100, ..Model::default() });
    rig.ask_for(HostCall::SetModel { handle, setting: Setting::MaxTokens(10_000) }).unwrap();
    rig.call(HostCall::ModelReply { handle, barge_in: NOTHING });
    assert_eq!(asked(&rig).1.max_tokens, 100, "the deployment's limit stands");
    for _ in 0..10_000 {
        writes(&mut rig, "on and on. ");
    }
    writes(&mut rig, &"x".repeat(10 << 20));
    assert!(stopped(&rig).is_some());
    let reply = replied(rig.until_reply());
    assert_eq!(reply.finish, Finish::Length);
    assert!(reply.text.len() <= 1_000, "{}", reply.text.len());
}

#[test]
fn a_call_has_so_many_tokens() {
    let (mut rig, handle) = talk(Model { tokens_per_call: 100, ..Model::default() });
    rig.call(HostCall::Complete { handle });
    writes(&mut rig, "Yes.");
    model(&mut rig, Event::Done { reason: "stop".into(), usage: Some(Usage { input: 40, output: 30 }) });
    replied(rig.until_reply());
    rig.call(HostCall::Complete { handle });
    let left = asked(&rig).1.max_tokens;
    assert!((20..30).contains(&left), "{left}");
    writes(&mut rig, "Yes.");
    model(&mut rig, Event::Done { reason: "stop".into(), usage: Some(Usage { input: 40, output: 30 }) });
    replied(rig.until_reply());
    let refused = rig.ask_for(HostCall::Complete { handle });
    assert!(matches!(refused, Err(HostError::LimitExceeded(why)) if why.contains("tokens")));
}

#[test]
fn a_hang_up_stops_the_model_and_a_summary_can_still_be_written() {
    let (mut rig, handle) = talk(Model::default());
    rig.call(HostCall::ModelReply { handle, barge_in: BOTH });
    writes(&mut rig, "One two three four. Five ");
    rig.wait(500);
    rig.remote_hangup();
    assert!(matches!(rig.reply(), Some(Err(HostError::Ended(_)))));
    assert_eq!(stopped(&rig), Some(rig.now));
    assert!(matches!(rig.ask_for(HostCall::ModelReply { handle, barge_in: BOTH }), Err(HostError::Ended(_))));
    let heard = &messages(&mut rig, handle)[1].text;
    assert!(!heard.is_empty() && "One two three four.".starts_with(heard), "{heard}");
    rig.call(HostCall::Complete { handle });
    writes(&mut rig, "They counted.");
    done(&mut rig, "stop");
    assert_eq!(replied(rig.until_reply()).text, "They counted.");
}

#[test]
fn a_reply_that_runs_can_be_waited_for_cancelled_and_dropped() {
    let (mut rig, handle) = talk(Model::default());
    let start = HostCall::StartModelReply { handle, barge_in: NOTHING };
    let Ok(HostReply::Handle(reply)) = rig.ask_for(start.clone()) else { panic!() };
    assert!(matches!(rig.ask_for(start.clone()), Err(HostError::LimitExceeded(_))), "one at a time");
    assert_eq!(rig.ask_for(HostCall::IsReady { handle: reply }), Ok(HostReply::Flag(false)));
    writes(&mut rig, "One two three four. ");
    rig.wait(300);
    let cancelled = replied(rig.ask_for(HostCall::CancelModelReply { handle: reply }));
    assert_eq!((cancelled.finish, cancelled.playout.unwrap().end), (Finish::Interrupted, PlayoutEnd::Stopped));
    rig.ask_for(HostCall::Release { handle: reply }).unwrap();

    let Ok(HostReply::Handle(reply)) = rig.ask_for(start) else { panic!() };
    writes(&mut rig, "Five six. Seven");
    rig.ask_for(HostCall::Release { handle: reply }).unwrap();
    // Nobody waits for it, but what it wrote is spoken, and others may speak behind it.
    rig.ask_for(HostCall::AwaitQuiet).unwrap();
    assert_eq!(messages(&mut rig, handle).last().unwrap().text, "Five six. Seven");
}

#[test]
fn what_is_no_conversation_is_an_error() {
    let (mut rig, handle) = talk(Model::default());
    let denied = rig.ask_for(HostCall::OpenConversation { model: "other".into() });
    assert!(matches!(denied, Err(HostError::Denied(why)) if why.contains("other") && why.contains("models")));
    assert!(matches!(add(&mut rig, Handle(99), Role::User, "x"), Err(HostError::NotFound(_))));
    assert!(matches!(add(&mut rig, handle, Role::Tool, "x"), Err(HostError::InvalidArgument(_))));
    assert!(matches!(tool(&mut rig, handle, "two words"), Err(HostError::InvalidArgument(_))));
    let extra =
        |name: &str, value: &str| HostCall::SetModel { handle, setting: Setting::Extra(name.into(), value.into()) };
    for (name, value) in [("messages", "[]"), ("stream", "false"), ("seed", "{oops")] {
        assert!(matches!(rig.ask_for(extra(name, value)), Err(HostError::InvalidArgument(_))), "{name}");
    }
    rig.ask_for(extra("seed", "7")).unwrap();
    let hot = HostCall::SetModel { handle, setting: Setting::Temperature(f32::NAN) };
    assert!(matches!(rig.ask_for(hot), Err(HostError::InvalidArgument(_))));
    let long = "x".repeat(60_000);
    let full = (0..10).map(|_| add(&mut rig, handle, Role::User, &long)).find(Result::is_err);
    assert!(matches!(full, Some(Err(HostError::LimitExceeded(_)))));
    let many =
        (0..10).map(|_| rig.ask_for(HostCall::OpenConversation { model: "assistant".into() })).find(Result::is_err);
    assert!(matches!(many, Some(Err(HostError::LimitExceeded(_)))));
}

/// What happens around a reply.
#[derive(Clone, Debug)]
enum Op {
    Writes(String),
    Calls(String),
    Done,
    Fails,
    Press,
    Waits(u64),
    HangsUp,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => "[a-z]{1,6}[.!?]? ".prop_map(Op::Writes),
        1 => "[{}\"a]{0,6}".prop_map(Op::Calls),
        2 => Just(Op::Done),
        1 => Just(Op::Fails),
        1 => Just(Op::Press),
        4 => (0_u64..4_000).prop_map(Op::Waits),
        1 => Just(Op::HangsUp),
    ];
    proptest::collection::vec(op, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a model, a caller and the clock do: every reply ends, a model is stopped once at most and only while it
    /// writes, and the conversation holds what was heard and nothing else.
    #[test]
    fn every_reply_ends_and_the_conversation_is_what_was_heard(
        ops in ops(),
        interruptible in any::<bool>(),
        listens in any::<bool>(),
    ) {
        let (mut rig, handle) = talk(Model { max_tokens: 40, ..Model::default() });
        let barge_in = BargeIn { digits: interruptible, speech: false };
        let options = one_key();
        rig.call(if listens {
            HostCall::AskModel { handle, barge_in, options }
        } else {
            HostCall::ModelReply { handle, barge_in }
        });
        let (mut written, mut over) = (String::new(), false);
        for op in ops {
            if over {
                break;
            }
            match op {
                Op::Writes(text) => {
                    written.push_str(&text);
                    writes(&mut rig, &text);
                }
                Op::Calls(arguments) => calls(&mut rig, "a", "none", &arguments),
                Op::Done => done(&mut rig, "stop"),
                Op::Fails => model(&mut rig, Event::Failed { error: HostError::TimedOut }),
                Op::Press => rig.press("3"),
                Op::Waits(ms) => rig.wait(ms),
                Op::HangsUp => {
                    rig.remote_hangup();
                    over = true;
                }
            }
        }
        let reply = rig.until_reply();
        let stops = rig.outputs.iter().filter(|(_, output)| matches!(output, Output::StopModel { .. })).count();
        prop_assert!(stops <= 1);
        let reply = match reply {
            Ok(HostReply::ModelReply(reply)) => Some(*reply),
            Ok(HostReply::ModelTurn(turn)) => Some(turn.reply),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
        let history = if rig.engine.record().ended.is_some() { Vec::new() } else { messages(&mut rig, handle) };
        if let Some(reply) = reply {
            prop_assert!(written.starts_with(reply.text.as_str()));
            let heard = reply.playout.as_ref().map_or("", |playout| playout.heard_text.as_str());
            let interrupted = matches!(reply.finish, Finish::Interrupted | Finish::Broken(_));
            prop_assert!(!interrupted || reply.tool_calls.is_empty());
            if let Some(said) = history.get(1) {
                prop_assert_eq!(&said.text, heard.trim());
                prop_assert_eq!(&said.tool_calls, &reply.tool_calls);
            } else if !history.is_empty() {
                prop_assert!(heard.is_empty() && reply.tool_calls.is_empty());
            }
        } else if !history.is_empty() {
            prop_assert_eq!(history.len(), 1);
        }
    }
}
