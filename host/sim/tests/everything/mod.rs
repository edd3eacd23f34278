//! A script that does something of everything, and random callers for it.

#![allow(unreachable_pub, reason = "each test uses its own part of it")]

use crate::guests::{BOTH, Cut, KEY, Listen, Script};
use callbox_dialogue::Time;
use callbox_sim::{Act, Saying, Situation, SourcePlan};
use proptest::prelude::*;
use serde_json::json;

/// A short call, with what the script asks for.
pub fn situation() -> Situation {
    let mut situation = Situation::default();
    situation.limits.max_duration = 60_000;
    situation.sources.insert("crm".into(), SourcePlan::answers(json!({"name": "Ada"}), 300));
    situation
}

/// Something of everything.
pub fn everything(script: &mut Script) {
    script.source("crm", true).manifest(|manifest| {
        manifest.destinations.insert("out".into(), Default::default());
    });
    script.now().random().log("begins").on_call("answer").fetch("crm");
    script.forever(|script| {
        script.node("menu");
        script.ask("Press one, or say what you want.", Cut::Both, BOTH);
        script.on_key('1', |script| {
            script.push("out", "{\"key\":1}").say("Thank you very much for pressing one.", Cut::Digits);
        });
        script.on_key('2', |script| {
            script.transfer("sip:desk@pbx.example", true, 9_000).say("There you are again.", Cut::Nothing);
        });
        script.on_key('3', |script| {
            script.on_call("hangup").log("hung up").now();
        });
        script.on_key('4', |script| {
            script.code("(unreachable)");
        });
        script.on_key('5', |script| {
            script.ask("And your PIN?", Cut::Digits, Listen { digits: Some((4, 4)), sensitive: true, ..KEY });
        });
        script.next_event(Some(50)).write(&["One sentence. ", "And another."], 30, Cut::Speech);
        script.random();
    });
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => proptest::sample::select(vec!['1', '2', '3', '4', '5', '6', '#']).prop_map(|digit| Act::Press { digit }),
        6 => "[a-z]{1,8}( [a-z]{1,8}){0,4}".prop_map(|text| Act::Say(Saying::words(text))),
        2 => (50u32..900).prop_map(|length| Act::Noise { length }),
        1 => Just(Act::HangUp),
        1 => Just(Act::Message { json: "{\"a\":1}".into() }),
        1 => (500u32..9_000).prop_map(|within| Act::Drain { within }),
    ]
}

pub fn acts() -> impl Strategy<Value = Vec<(Time, Act)>> {
    proptest::collection::vec((0u64..4_000, act()), 0..25).prop_map(|steps| {
        let mut now = 0;
        steps
            .into_iter()
            .map(|(pause, act)| {
                now += pause;
                (Time(now), act)
            })
            .collect()
    })
}
