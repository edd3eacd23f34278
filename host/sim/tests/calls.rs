//! What a simulated leg does for a script, with real components: speech, keys, sources, transfers, endings.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_dialogue::leg::TransferResult;
use callbox_dialogue::record::{EndedBy, Outcome};
use callbox_dialogue::script::{Event, Heard, HostReply, Playout, PlayoutEnd, TransferOutcome, Utterance};
use callbox_dialogue::setup::{Fallback, SourcePolicy};
use callbox_dialogue::{Direction, EndReason, HostError, Reply, ScriptEnd, Time};
use callbox_script::DestinationDeclaration;
use callbox_sim::situation::{CalleePlan, CalleeThen};
use callbox_sim::{
    Act, FarEnd, Hearing, Move, Saying, Sight, Situation, SourcePlan, Stage, Timetable, Told, TransferGoes,
    TransferPlan,
};
use guests::{BOTH, Cut, KEY, Listen, SPEECH, Script, stage, wav};
use serde_json::json;

async fn play<const N: usize>(stage: &Stage, acts: [(u64, Act); N]) -> Told {
    play_in(stage, &Situation::default(), acts).await
}

async fn play_in<const N: usize>(stage: &Stage, situation: &Situation, acts: [(u64, Act); N]) -> Told {
    stage.play(situation, &mut Timetable::new(acts.map(|(at, act)| (Time(at), act)))).await
}

fn press(digit: char) -> Act {
    Act::Press { digit }
}

fn say(text: &str) -> Act {
    Act::Say(Saying::words(text))
}

fn reply(told: &Told, n: usize) -> &Reply {
    told.trace[n].reply.as_ref().unwrap()
}

fn heard(told: &Told, n: usize) -> &Heard {
    match reply(told, n) {
        Ok(HostReply::Heard(heard) | HostReply::Answer { heard, .. }) => heard,
        other => panic!("nothing was heard: {other:?}"),
    }
}

fn playout(told: &Told, n: usize) -> &Playout {
    match reply(told, n) {
        Ok(HostReply::Playout(playout) | HostReply::Answer { prompt: playout, .. }) => playout,
        other => panic!("no playout: {other:?}"),
    }
}

fn speech(text: &str, start: u32, end: u32) -> Heard {
    Heard::Speech(Utterance { text: text.into(), confidence: Some(1.0), language: "en".into(), start, end })
}

fn saw(told: &Told, what: impl Fn(&Sight) -> bool) -> Option<u64> {
    told.sights.iter().find(|(_, sight)| what(sight)).map(|(at, _)| at.0)
}

#[tokio::test]
async fn a_prompt_lasts_by_its_words_and_the_script_by_nothing() {
    let stage = stage(|script| {
        script.say("one two three four", Cut::Nothing).rate(320).say("one two three four", Cut::Nothing);
        script.say_all(
            &[
                ("text", "早上好"),
                ("silence", "500"),
                ("asset", "tone.wav"),
                ("ssml", "<speak>four words of this</speak>"),
            ],
            Cut::Nothing,
        );
        script.with_asset("tone.wav", wav(700));
    })
    .await;
    let told = play(&stage, []).await;
    let ends: Vec<u64> = told.trace.iter().map(|exchange| exchange.answered.unwrap().0).collect();
    // 4 × 375 ms; then at twice the rate.
    assert_eq!(ends, [1_500, 1_500, 2_250, 2_250 + 333 + 500 + 700 + 750]);
    assert_eq!(
        (told.record.ended_by, told.record.end_reason),
        (Some(EndedBy::Script), Some(EndReason::ScriptReturned))
    );
    assert_eq!(told.run.end, ScriptEnd::Returned);
    assert!(told.run.tape.header.complete && told.run.tape.entries == 4);
    assert_eq!(saw(&told, |sight| matches!(sight, Sight::Answered)), Some(0));
}

#[tokio::test]
async fn what_the_caller_got_of_a_prompt_is_whole_words() {
    let stage = stage(|script| {
        script.say_all(&[("text", "Good morning,"), ("silence", "1000"), ("text", "how are you?")], Cut::Digits);
    })
    .await;
    for (at, heard) in [
        (374, ""),
        (375, "Good"),
        (1_700, "Good morning,"),
        (2_125, "Good morning, how"),
        (2_900, "Good morning, how are you?"),
    ] {
        let told = play(&stage, [(at, press('1'))]).await;
        let end = if at < 2_875 { PlayoutEnd::CutByDigits } else { PlayoutEnd::Finished };
        let played = u32::try_from(at).unwrap().min(2_875);
        assert_eq!(playout(&told, 0), &Playout { end, played, heard_text: heard.into() });
        assert_eq!(told.record.transcript[0].heard_text.as_deref(), Some(heard));
    }
}

#[tokio::test]
async fn text_is_spoken_while_it_is_written() {
    let stage = stage(|script| {
        script.write(&["One two three four. ", "Five six. ", "Seven."], 4_000, Cut::Digits);
    })
    .await;
    // Three sentences, each written long after the one before was over.
    let told = play(&stage, []).await;
    let whole =
        Playout { end: PlayoutEnd::Finished, played: 2_625, heard_text: "One two three four. Five six. Seven.".into() };
    let end = told.trace.iter().find(|exchange| matches!(exchange.reply, Some(Ok(HostReply::Playout(_))))).unwrap();
    assert_eq!(end.reply, Some(Ok(HostReply::Playout(whole))), "silence is no audio");
    assert_eq!(end.answered, Some(Time(12_375)), "a word that may go on waits for the end");

    let told = play(&stage, [(4_500, press('1'))]).await;
    let cut = told.record.transcript.first().unwrap();
    assert_eq!(
        (cut.heard_text.as_deref(), cut.interrupted_by.as_deref()),
        (Some("One two three four. Five"), Some("digits"))
    );
}

#[tokio::test]
async fn partials_come_word_by_word_and_pauses_do_not_end_an_utterance() {
    let stage = stage(|script| {
        script.listen(Listen { partials: true, ..SPEECH });
    })
    .await;
    let told = play(&stage, [(1_000, say("I would like")), (2_500, say("an appointment"))]).await;
    // 1,000 to 2,125; a pause of 375 ms, less than the 700 that end it; 2,500 to 3,250.
    assert_eq!(heard(&told, 0), &speech("I would like an appointment", 1_000, 3_250));
    assert_eq!(told.trace[0].answered, Some(Time(3_950)));

    let told = play(&stage, [(1_000, say("yes")), (4_000, say("no"))]).await;
    assert_eq!(heard(&told, 0), &speech("yes", 1_000, 1_375), "the second comes too late");

    let watching = guests::stage(|script| {
        script.on_call("answer").start_listen(Listen { partials: true, ..SPEECH });
        for _ in 0..4 {
            script.next_event(Some(10_000));
        }
    })
    .await;
    let told = play(&watching, [(1_000, say("yes please"))]).await;
    let events = told.trace.iter().filter_map(|exchange| match &exchange.reply {
        Some(Ok(HostReply::MaybeEvent(Some(event)))) => Some((exchange.answered.unwrap().0, event)),
        _ => None,
    });
    let partial = |text: &str, end| match speech(text, 1_000, end) {
        Heard::Speech(utterance) => Event::Partial(utterance),
        _ => unreachable!(),
    };
    let wanted = [
        (1_000, &Event::SpeechStarted),
        (1_375, &partial("yes", 1_375)),
        (1_750, &partial("yes please", 1_750)),
        (1_750, &Event::SpeechEnded),
    ];
    assert_eq!(events.collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn a_recogniser_mishears_hears_nothing_and_fails_on_request() {
    let listening = stage(|script| {
        script.listen(SPEECH);
    })
    .await;
    let hearing = |heard| Act::Say(Saying { heard, ..Saying::words("Meier from Ulm") });
    let wrong = vec![("my year from all".to_owned(), Some(0.4)), ("Meyer from Ulm".to_owned(), None)];
    let told = play(&listening, [(0, hearing(Hearing::As(wrong)))]).await;
    let Heard::Speech(best) = heard(&told, 0) else { panic!("{:?}", told.trace) };
    assert_eq!((best.text.as_str(), best.confidence), ("my year from all", Some(0.4)));

    let told = play(&listening, [(0, hearing(Hearing::Nothing))]).await;
    assert_eq!(heard(&told, 0), &Heard::NoMatch(String::new()));

    let broken = HostError::Unavailable("the recogniser is gone".into());
    let told = play(&listening, [(500, Act::FailRecogniser { error: broken.clone() })]).await;
    assert_eq!(reply(&told, 0), &Err(broken.clone()));
    let keys = stage(|script| {
        script.listen(BOTH);
    })
    .await;
    let told = play(&keys, [(500, Act::FailRecogniser { error: broken }), (900, press('5'))]).await;
    assert_eq!(heard(&told, 0), &Heard::Digits("5".into()), "keys go on alone");
    let told = play_in(&listening, &Situation { speech_recognition: false, ..Situation::default() }, []).await;
    assert!(matches!(reply(&told, 0), Err(HostError::Unavailable(_))));
}

#[tokio::test]
async fn somebody_who_speaks_too_long_is_cut_off_and_silence_is_noticed() {
    let stage = stage(|script| {
        script.listen(Listen { max_length: Some(2_000), ..SPEECH });
    })
    .await;
    let told = play(&stage, [(500, say("one two three four five six seven eight nine"))]).await;
    assert_eq!(heard(&told, 0), &speech("one two three four five", 500, 2_375));
    assert_eq!(told.trace[0].answered, Some(Time(2_500)));
    let told = play(&stage, []).await;
    assert_eq!((heard(&told, 0), told.trace[0].answered), (&Heard::Nothing, Some(Time(5_000))));
}

#[tokio::test]
async fn what_is_secret_is_masked_wherever_somebody_looks() {
    let stage = stage(|script| {
        script.ask("Your PIN?", Cut::Digits, Listen { digits: Some((4, 4)), sensitive: true, ..KEY });
    })
    .await;
    let told = play(&stage, [(1_000, press('4')), (1_200, press('7')), (1_400, press('1')), (1_600, press('1'))]).await;
    assert_eq!(heard(&told, 0), &Heard::Digits("4711".into()));
    assert!(told.trace[0].sensitive);
    assert!(!told.run.tape.to_json_lines().contains("4711"));
    assert!(!serde_json::to_string(&told.record).unwrap().contains("4711"));
    let masks: Vec<bool> =
        told.sights.iter().filter_map(|(_, s)| if let Sight::Masked { on } = s { Some(*on) } else { None }).collect();
    assert_eq!(masks, [true, false]);
    let turn = |sight: &Sight| matches!(sight, Sight::Heard { digits: Some(digits), .. } if !digits.contains('4'));
    assert!(saw(&told, turn).is_some());
}

#[tokio::test]
async fn sources_answer_late_badly_or_never() {
    let fetching = |prefetch| {
        stage(move |script: &mut Script| {
            script.source("crm", prefetch).on_call("answer").fetch("crm");
        })
    };
    let plain = fetching(false).await;
    let with = |plan| Situation { sources: [("crm".to_owned(), plan)].into(), ..Situation::default() };
    let told = play_in(&plain, &with(SourcePlan::answers(json!({"name": "Ada"}), 300)), []).await;
    assert_eq!(reply(&told, 1), &Ok(HostReply::Json(r#"{"name":"Ada"}"#.into())));
    assert_eq!(told.trace[1].answered, Some(Time(300)));
    let told = play_in(&plain, &with(SourcePlan::fails(HostError::Unavailable("down".into()), 100)), []).await;
    assert_eq!(reply(&told, 1), &Err(HostError::Unavailable("down".into())));
    for late in [SourcePlan::never(), SourcePlan::answers(json!({"n": 1}), 60_000)] {
        let told = play_in(&plain, &with(late), []).await;
        assert_eq!((reply(&told, 1), told.trace[1].answered), (&Err(HostError::TimedOut), Some(Time(2_000))));
    }
    let told = play(&plain, []).await;
    assert!(matches!(reply(&told, 1), Err(HostError::Unavailable(_))));
    assert!(saw(&told, |sight| matches!(sight, Sight::Hint { text } if text.contains("crm"))).is_some());

    // Asked before the script begins, so it has less to wait for.
    let early = fetching(true).await;
    let told = play_in(&early, &with(SourcePlan::answers(json!({"n": 1}), 300)), []).await;
    assert_eq!(saw(&told, |sight| matches!(sight, Sight::Fetch { .. })), Some(0));
    let reject = SourcePlan { on_failure: SourcePolicy::Reject, ..SourcePlan::never() };
    let told = play_in(&early, &with(reject), []).await;
    assert_eq!(told.record.end_reason, Some(EndReason::ContextFailed));
    // It changes in the middle of a call.
    let act = Act::Source { name: "crm".into(), plan: SourcePlan::answers(json!({"n": 2}), 0) };
    let told = play(&plain, [(0, act)]).await;
    assert_eq!(told.trace.len(), 2);
    let waiting = stage(|script| {
        script.source("crm", false).sleep(100).fetch("crm");
    })
    .await;
    let act = Act::Source { name: "crm".into(), plan: SourcePlan::answers(json!({"n": 2}), 0) };
    let told = play(&waiting, [(50, act)]).await;
    assert_eq!(reply(&told, 1), &Ok(HostReply::Json("{\"n\":2}".into())));
    // What the host does not take it does not take here.
    let told = play_in(&plain, &with(SourcePlan::answers(json!([1]), 0)), []).await;
    assert!(matches!(reply(&told, 1), Err(HostError::Unavailable(why)) if why.contains("not an object")));
}

fn transferred(told: &Told) -> &TransferOutcome {
    let outcome = told.trace.iter().find_map(|exchange| match &exchange.reply {
        Some(Ok(HostReply::Transfer(outcome))) => Some(outcome),
        _ => None,
    });
    outcome.unwrap_or_else(|| panic!("{:#?}", told.trace))
}

#[tokio::test]
async fn transfers_go_every_way() {
    let refer = stage(|script| {
        script.transfer("sip:agent@example.com", false, 20_000).say("back again", Cut::Nothing);
    })
    .await;
    let bridge = stage(|script| {
        script.transfer("sip:agent@example.com", true, 20_000).say("back again", Cut::Nothing);
    })
    .await;
    let plan = |goes, after| Situation {
        transfers: [("sip:agent@example.com".to_owned(), TransferPlan { goes, after, talk: 5_000 })].into(),
        ..Situation::default()
    };
    for stage in [&refer, &bridge] {
        let told = play_in(stage, &plan(TransferGoes::busy(), 2_000), []).await;
        assert_eq!(transferred(&told), &TransferOutcome::Failed(486, "Busy Here".into()));
        assert_eq!(told.ended, Time(2_750), "the caller is back and hears so");
    }
    let told = play_in(&refer, &plan(TransferGoes::Connected, 2_000), []).await;
    assert_eq!((transferred(&told), told.ended), (&TransferOutcome::Connected, Time(2_000)));
    assert_eq!(told.record.end_reason, Some(EndReason::TransferCompleted));

    let told = play_in(&bridge, &plan(TransferGoes::Connected, 2_000), []).await;
    assert_eq!(saw(&told, |sight| matches!(sight, Sight::Joined { .. })), Some(2_000));
    assert_eq!(told.record.transfer.as_ref().unwrap().outcome, Some(TransferOutcome::Connected));
    assert_eq!(told.record.ended, Some(Time(7_000)), "the caller hangs up after the two have talked");

    let told = play_in(&bridge, &plan(TransferGoes::Returned, 2_000), []).await;
    assert_eq!((transferred(&told), told.ended), (&TransferOutcome::Returned, Time(7_750)));
    // Rings for longer than the script lets it.
    for goes in [TransferGoes::Never, TransferGoes::Connected] {
        let told = play_in(&bridge, &plan(goes, 60_000), []).await;
        assert_eq!(transferred(&told), &TransferOutcome::Failed(408, "nobody answered".into()));
    }
    let told = play_in(&refer, &plan(TransferGoes::Never, 0), []).await;
    assert!(matches!(transferred(&told), TransferOutcome::Failed(..)), "the host takes the caller back");
    // The caller gives up while it rings.
    let told = play_in(&bridge, &plan(TransferGoes::Connected, 5_000), [(1_000, Act::HangUp)]).await;
    assert_eq!(told.record.end_reason, Some(EndReason::CallerHangup));
    assert_eq!(
        told.sights.iter().find_map(|(_, s)| if let Sight::TransferEnded { result, .. } = s {
            Some(result)
        } else {
            None
        }),
        Some(&TransferResult::Failed { status: 487, reason: "the caller hung up".into() })
    );
    // What the situation says is changed by what happens.
    let act = Act::Transfer(TransferPlan { goes: TransferGoes::no_answer(), after: 500, talk: 0 });
    let told = play_in(&bridge, &plan(TransferGoes::Connected, 5_000), [(1_000, act)]).await;
    assert_eq!(transferred(&told), &TransferOutcome::Failed(480, "Temporarily Unavailable".into()));
}

#[tokio::test]
async fn a_call_ends_in_every_way() {
    let stage = stage(|script| {
        script.say("This is said in any case.", Cut::Nothing).next_event(Some(60_000)).with("disposition", "written");
    })
    .await;
    let told = play(&stage, [(1_000, Act::HangUp)]).await;
    assert_eq!((told.record.ended_by, told.record.end_reason), (Some(EndedBy::Caller), Some(EndReason::CallerHangup)));
    assert_eq!(told.record.transcript[0].heard_text.as_deref(), Some("This is"));
    assert_eq!(told.record.disposition.as_deref(), Some("written"), "in its grace time");
    let cut = |sight: &Sight| matches!(sight, Sight::PromptEnded { played: 1_000, complete: false, .. });
    assert!(saw(&told, cut).is_some());

    let told = play(&stage, [(1_000, Act::OperatorHangUp { why: "enough".into() })]).await;
    assert_eq!(told.record.end_reason, Some(EndReason::OperatorHangup));
    let told = play(&stage, [(3_000, Act::Message { json: "{\"a\":1}".into() })]).await;
    assert_eq!(reply(&told, 1), &Ok(HostReply::MaybeEvent(Some(Event::Message("{\"a\":1}".into())))));
    let told = play(&stage, [(3_000, Act::Drain { within: 10_000 })]).await;
    assert_eq!(reply(&told, 1), &Ok(HostReply::MaybeEvent(Some(Event::Draining(10_000)))));
    let told = play(&stage, [(3_000, press('1')), (3_100, Act::HangUp), (3_100, press('2'))]).await;
    assert_eq!(reply(&told, 1), &Ok(HostReply::MaybeEvent(Some(Event::Digit('1')))));
    assert_eq!(told.record.outcome, Some(Outcome::Answered));
}

#[tokio::test]
async fn an_inbound_call_rings_has_early_media_and_is_refused() {
    let early = stage(|script| {
        script.on_call("early_media").say("not answered yet", Cut::Nothing).reject(486);
    })
    .await;
    let told = play(&early, []).await;
    assert_eq!((told.record.outcome, told.record.answered), (Some(Outcome::Busy), None));
    assert_eq!(told.record.transcript.len(), 1);
    let none = Situation { early_media: false, ..Situation::default() };
    let told = play_in(&early, &none, []).await;
    assert!(matches!(reply(&told, 0), Err(HostError::Unavailable(_))));
    let slow = stage(|script| {
        script.sleep(2_000).say("hello", Cut::Nothing);
    })
    .await;
    let told = play(&slow, []).await;
    assert_eq!(saw(&told, |sight| matches!(sight, Sight::Ringing)), Some(200), "the host rings by itself");
    let told = play(&slow, [(1_000, Act::HangUp)]).await;
    assert_eq!((told.record.outcome, told.record.answered), (Some(Outcome::Cancelled), None));
}

#[tokio::test]
async fn an_outbound_call_rings_and_is_answered_refused_or_neither() {
    let stage = stage(|script| {
        script.say("this is a call", Cut::Nothing).with("send_digits", "1,2");
    })
    .await;
    let outbound = |rings, then, after| Situation {
        direction: Direction::Outbound,
        callee_plan: CalleePlan { rings, then, after },
        ..Situation::default()
    };
    let told = play_in(&stage, &outbound(Some(500), CalleeThen::Answers, 4_000), []).await;
    assert_eq!((told.record.ringing, told.record.answered), (Some(Time(500)), Some(Time(4_000))));
    assert_eq!(told.ended, Time(4_000 + 1_500 + 160 + 500 + 160));
    let busy = CalleeThen::Refuses { status: 486, reason: "Busy Here".into() };
    let told = play_in(&stage, &outbound(None, busy, 700), []).await;
    assert_eq!((told.record.outcome, told.record.ended), (Some(Outcome::Busy), Some(Time(700))));
    let told = play_in(&stage, &outbound(Some(500), CalleeThen::Nothing, 0), []).await;
    assert_eq!((told.record.outcome, told.record.ended), (Some(Outcome::NoAnswer), Some(Time(60_000))));
    let acts = [(1_000, Act::Ring), (2_000, Act::Answer)];
    let told = play_in(&stage, &outbound(None, CalleeThen::Nothing, 0), acts).await;
    assert_eq!((told.record.ringing, told.record.answered), (Some(Time(1_000)), Some(Time(2_000))));
    let act = Act::Refuse { status: 603, reason: "Decline".into() };
    let told = play_in(&stage, &outbound(None, CalleeThen::Nothing, 0), [(1_000, act)]).await;
    assert_eq!(told.record.outcome, Some(Outcome::Refused));
}

#[tokio::test]
async fn what_a_script_pushes_logs_and_passes_is_seen() {
    let stage = stage(|script| {
        script.manifest(|manifest| {
            manifest.destinations.insert("outcome".into(), DestinationDeclaration::default());
        });
        script.node("begin").log("hello").push("outcome", "{\"a\":1}").push("elsewhere", "1").say("hi", Cut::Nothing);
    })
    .await;
    let told = play(&stage, []).await;
    assert_eq!(told.nodes().collect::<Vec<_>>(), ["begin"]);
    assert_eq!((told.logs.len(), told.logs[0].message.as_str()), (1, "hello"));
    let pushed: Vec<_> =
        told.pushes.iter().map(|push| (push.seq, push.destination.as_str(), push.body.as_str())).collect();
    assert_eq!(pushed, [(1, "outcome", "{\"a\":1}")]);
    assert!(matches!(reply(&told, 3), Err(HostError::Denied(_))));
}

#[tokio::test]
async fn a_script_that_fails_never_leaves_dead_air() {
    let fallback = Fallback { say: vec![callbox_dialogue::script::Segment::Text("sorry".into())], transfer_to: None };
    let situation = Situation { fallback, ..Situation::default() };
    let trapping = stage(|script| {
        script.say("hello", Cut::Nothing).code("(unreachable)");
    })
    .await;
    let told = play_in(&trapping, &situation, []).await;
    assert!(matches!(told.run.end, ScriptEnd::Trapped { .. }));
    assert_eq!(told.record.transcript.last().unwrap().text, "sorry");
    assert_eq!(told.record.end_reason, Some(EndReason::ScriptTrap));
    // One that asks for ever without letting time pass, and one that only waits.
    let busy = stage(|script| {
        script.forever(|script| {
            script.now();
        });
    })
    .await;
    let told = play_in(&busy, &situation, []).await;
    assert!(matches!(told.run.end, ScriptEnd::Budget { .. }), "{:?}", told.run.end);
    assert_eq!(told.ended, Time(375));
    let idle = stage(|script| {
        script.on_call("answer").forever(|script| {
            script.sleep(60_000);
        });
    })
    .await;
    let told = play(&idle, []).await;
    assert_eq!((told.record.end_reason, told.record.ended), (Some(EndReason::MaxDuration), Some(Time(3_600_000))));
    assert!(matches!(told.run.end, ScriptEnd::Budget { .. }), "after the end nothing waits any more");
}

#[tokio::test]
async fn a_far_end_may_go_and_one_that_never_stops_does_not_stop_the_clock() {
    struct Stubborn(u32);
    impl FarEnd for Stubborn {
        fn saw(&mut self, _at: Time, _sight: &Sight) {}
        async fn next(&mut self, now: Time, _next: Option<Time>) -> Move {
            self.0 += 1;
            Move::Act { at: now, act: press('1') }
        }
    }
    struct Leaving;
    impl FarEnd for Leaving {
        fn saw(&mut self, _at: Time, _sight: &Sight) {}
        async fn next(&mut self, _now: Time, _next: Option<Time>) -> Move {
            Move::Abandon { why: "seen enough".into() }
        }
    }
    let stage = stage(|script| {
        script.say("one two three four", Cut::Nothing);
    })
    .await;
    let mut stubborn = Stubborn(0);
    let told = stage.play(&Situation::default(), &mut stubborn).await;
    assert_eq!(told.ended, Time(1_500));
    assert_eq!(stubborn.0, 1_000);
    let told = stage.play(&Situation::default(), &mut Leaving).await;
    assert_eq!((told.abandoned.as_deref(), told.record.ended), (Some("seen enough"), None));
}
