//! Any scenario file that is written is read again as it was.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sim::scenario::{
    Drain, Ended, Expect, Fetched, Given, HangUp, Heard, IntentExpected, Interrupt, LimitsGiven, Logged, Message,
    Moment, Moves, Press, Pushed, Refuse, ResultExpected, Say, Scenario, ScenarioFile, Silence, SourceAnswer,
    SourceChange, SourceFailure, Span, Step, Suite, TransferAnswer, TransferExpected, TransferPlan, literal, tell,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Texts, among them those that YAML takes for something else when they are not quoted.
fn text() -> impl Strategy<Value = String> {
    let traps = [
        "1",
        "007",
        "1e3",
        "true",
        "no",
        "~",
        "null",
        "",
        " x",
        "x ",
        "- a",
        "a: b",
        "#",
        "&a",
        "*a",
        "!x",
        "|",
        ">",
        "%",
        "@",
        "`",
        "\"",
        "'",
        "{a}",
        "[a]",
        "a\nb",
        "\n",
        "a\tb",
        "---",
        "...",
        "2026-12-01",
        "14:30",
        "0x1f",
        ".inf",
        "?",
        "${x}",
        "$${x}",
        "早上好",
        "😀",
        "\u{85}",
        "\u{feff}",
        "a #b",
        "=",
        "<<",
        "\\",
        "a\r\nb",
    ];
    prop_oneof![
        prop::sample::select(traps.to_vec()).prop_map(str::to_owned),
        "[a-zA-Z ,.?!]{1,40}",
        "\\PC{0,30}",
        "[a-z]{3,9}( [a-z]{3,9}){12,24}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z][a-zA-Z0-9_.-]{0,12}", "[0-9+*#]{1,6}", "sip:[a-z]{1,8}@[a-z]{1,8}[.]example"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_000_000_i32..1_000_000).prop_map(|n| json!(f64::from(n) / 64.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(name(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![any::<u32>(), 0_u32..20_000, (0_u32..600).prop_map(|s| s * 1_000)].prop_map(Span)
}

fn moment() -> impl Strategy<Value = Moment> {
    let zones = ["Europe/Berlin", "UTC", "Asia/Shanghai", "America/New_York"];
    (0_i64..4_000_000_000, prop::sample::select(zones.to_vec()))
        .prop_map(|(at, zone)| Moment(jiff::Timestamp::from_second(at).unwrap().in_tz(zone).unwrap()))
}

fn transfer_answer() -> impl Strategy<Value = TransferAnswer> {
    prop_oneof![
        Just(TransferAnswer::Connected),
        Just(TransferAnswer::Returned),
        Just(TransferAnswer::Busy),
        Just(TransferAnswer::NoAnswer),
        (300_u16..700, of(text())).prop_map(|(status, reason)| TransferAnswer::Status { status, reason }),
    ]
}

fn failure() -> impl Strategy<Value = SourceFailure> {
    prop_oneof![Just(SourceFailure::Unavailable), Just(SourceFailure::TimedOut), Just(SourceFailure::NotFound)]
}

fn source() -> impl Strategy<Value = SourceAnswer> {
    let what = prop_oneof![
        value().prop_map(SourceAnswer::value),
        failure().prop_map(SourceAnswer::failure),
        Just(SourceAnswer::silent())
    ];
    (what, of(span()), of(span())).prop_map(|(what, after, timeout)| SourceAnswer { after, timeout, ..what })
}

prop_compose! {
    fn given_part()(
        at in of(moment()),
        caller in of(name()),
        display_name in of(text()),
        headers in btree_map(name(), text(), 0..3),
        parameters in of(value()).prop_map(|value| value.filter(|value| !value.is_null())),
        settings in btree_map(name(), text(), 0..3),
        sources in btree_map(name(), source(), 0..3),
        transfers in btree_map(name(), (transfer_answer(), of(span())), 0..2),
        speech_recognition in of(any::<bool>()),
        words_a_minute in of(80_u16..=400),
        seed in of(any::<u64>()),
        grace in of(span()),
    ) -> Given {
        let transfers = transfers
            .into_iter()
            .map(|(to, (answers, after))| (to, TransferPlan { answers, after, talk: None }))
            .collect();
        let limits = grace.map(|grace| LimitsGiven { grace: Some(grace), ..LimitsGiven::default() });
        Given {
            at, caller, display_name, headers, parameters, settings, sources, transfers, speech_recognition,
            words_a_minute, seed, limits, ..Given::default()
        }
    }
}

fn keys() -> impl Strategy<Value = String> {
    "[0-9*#A-D]{1,5}"
}

fn step() -> impl Strategy<Value = Step> {
    let expected = prop_oneof![
        (text(), of(span())).prop_map(|(text, within)| Expect { within, ..Expect::contains(text) }),
        text().prop_map(Expect::exact),
        text().prop_map(|matches| Expect { matches: Some(matches), ..Expect::default() }),
    ];
    let say = (text(), of(span()), of(80_u16..=400), of(text()), of(0_u8..=100)).prop_map(
        |(text, after, words_a_minute, understood_as, confidence)| {
            let confidence = confidence.map(|percent| f32::from(percent) / 100.0);
            Step::Say(Say { text, after, words_a_minute, understood_as, confidence })
        },
    );
    let change = (name(), source()).prop_map(|(name, source)| {
        let SourceAnswer { answers, fails, never, after, .. } = source;
        Step::Source(SourceChange { name, answers, fails, never, after })
    });
    let result = (
        of(text()),
        of((text(), of(any::<char>()))),
        vec(text(), 0..3),
        btree_map(name(), value(), 0..3),
        of(any::<bool>()),
    )
        .prop_map(|(disposition, intent, tags, fields, opt_out)| {
            let intent = intent.map(|(name, grade)| IntentExpected { name, grade });
            Step::Result(ResultExpected { disposition, intent, tags, fields, opt_out })
        });
    let transfer = (name(), of(transfer_answer()), of(span()), of(span())).prop_map(|(to, answers, after, talk)| {
        Step::Transfer(TransferExpected { to, answers, after, talk, ..TransferExpected::default() })
    });
    prop_oneof![
        expected.prop_map(Step::Expect),
        (of(text()), of(any::<bool>()))
            .prop_map(|(contains, complete)| { Step::Heard(Heard { contains, complete, ..Heard::default() }) }),
        (keys(), of(span()), of(span())).prop_map(|(keys, after, pace)| Step::Press(Press { keys, after, pace })),
        say,
        of(span()).prop_map(|span| Step::Silence(span.map_or(Silence::UntilRobot, Silence::For))),
        (span(), text()).prop_map(|(after, say)| Step::Interrupt(Interrupt { after, say: Some(say), press: None })),
        (span(), keys()).prop_map(|(after, keys)| Step::Interrupt(Interrupt { after, say: None, press: Some(keys) })),
        span().prop_map(Step::Noise),
        of(span()).prop_map(|after| Step::HangUp(HangUp { after })),
        of(span()).prop_map(|after| Step::PickUp(Moves { after })),
        (300_u16..700, of(text()), of(span())).prop_map(|(status, reason, after)| Step::Refuse(Refuse {
            status,
            reason,
            after
        })),
        value().prop_map(|value| Step::Message(Message(value))),
        span().prop_map(Step::Wait),
        change,
        of(span()).prop_map(|after| Step::OperatorHangUp(Moves { after })),
        span().prop_map(|within| Step::Drain(Drain { within })),
        transfer,
        text().prop_map(Step::Node),
        (name(), btree_map(name(), text(), 0..3))
            .prop_map(|(source, parameters)| Step::Fetched(Fetched { source, parameters })),
        (name(), of(value()), of(span())).prop_map(|(to, body, within)| Step::Pushed(Pushed { to, body, within })),
        of(text()).prop_map(|contains| Step::Logged(Logged { contains, ..Logged::default() })),
        keys().prop_map(Step::DigitsSent),
        result,
        (of(100_u16..700), of(span())).prop_map(|(status, within)| Step::Ended(Ended {
            status,
            within,
            ..Ended::default()
        })),
    ]
}

prop_compose! {
    fn scenario()(
        name in text(),
        given in given_part(),
        steps in vec(step(), 0..8),
        cases in vec(btree_map(name(), value(), 0..3), 0..3),
    ) -> Scenario {
        Scenario { name, given, steps, cases }
    }
}

prop_compose! {
    fn file()(component in of(text()), given in given_part(), scenarios in vec(scenario(), 0..3)) -> ScenarioFile {
        ScenarioFile { component, given, scenarios }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(file in file()) {
        let yaml = file.to_yaml();
        let again = ScenarioFile::read("written.yaml", &yaml);
        prop_assert!(again.is_ok(), "{}\n{yaml}", again.unwrap_err());
        prop_assert_eq!(again.unwrap(), file, "{}", yaml);
    }

    #[test]
    fn what_the_robot_said_can_be_expected_as_it_was(said in text().prop_filter("", |text| !text.trim().is_empty())) {
        let steps = vec![Step::Expect(Expect::exact(literal(&said)))];
        let scenarios = vec![Scenario { name: "one".into(), steps, ..Scenario::default() }];
        let yaml = ScenarioFile { scenarios, ..ScenarioFile::default() }.to_yaml();
        let suite = Suite::read("written.yaml", &yaml);
        prop_assert!(suite.is_ok(), "{}\n{yaml}", tell(&suite.unwrap_err()));
        prop_assert_eq!(&suite.unwrap().runs[0].steps[0].step, &Step::Expect(Expect::exact(said)));
    }
}
