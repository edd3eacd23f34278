//! Random interleavings of script, leg, caller and time. Whatever happens,
//! every rule holds.

mod hostile;
mod invariants;
mod plausible;
mod speech;

use crate::rig::{Entry, setup, source, text};
use callbox_dialogue::call::{Direction, EndReason};
use callbox_dialogue::leg::TransferResult;
use callbox_dialogue::llm;
use callbox_dialogue::setup::{Fallback, Limits, SourcePolicy};
use callbox_dialogue::{Engine, Input, Output, Setup, Time};
use callbox_grammar::Grammar;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;
use std::collections::BTreeSet;

/// The same cases every time, so that a failure is one for everybody.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_121),
        ..ProptestConfig::default()
    }
}

/// Calls of every kind.
fn any_setup() -> impl Strategy<Value = Setup> {
    let limits = (prop_oneof![Just(0_u32), 3_000_u32..20_000], 30_000_u32..600_000, 1_u16..8);
    let policy = prop_oneof![Just(SourcePolicy::Continue), Just(SourcePolicy::Fallback), Just(SourcePolicy::Reject)];
    let fallback = (any::<bool>(), any::<bool>());
    (any::<bool>(), any::<bool>(), limits, policy, fallback).prop_map(
        |(outbound, recogniser, (silence_timeout, max_duration, queued), policy, (say, transfer))| {
            let mut setup = setup();
            if outbound {
                setup.info.direction = Direction::Outbound;
            }
            setup.speech_recognition = recogniser;
            setup.limits = Limits {
                silence_timeout,
                max_duration,
                max_queued_prompts: queued,
                max_handles: 8,
                ..Limits::default()
            };
            setup.sources.insert("early".into(), source(true, policy));
            setup.sources.insert("asked".into(), source(false, SourcePolicy::Continue));
            setup.models.insert("assistant".into(), llm::Model { tokens_per_call: 500, ..llm::Model::default() });
            setup.fallback = Fallback {
                say: if say { text("fallback") } else { Vec::new() },
                transfer_to: transfer.then(|| "100".to_owned()),
            };
            setup
        },
    )
}

/// A menu of the words that callers say here, or none.
fn any_grammar() -> impl Strategy<Value = Option<Grammar>> {
    let choices = json!([
        {"value": "one", "phrases": ["word"], "key": "1"},
        {"value": "two", "phrases": ["word word"]},
        {"value": "sesame", "phrases": ["sesame"]},
    ]);
    let grammar = json!({"answer": {"kind": "choices", "choices": choices}, "universals": ["help"]});
    prop::option::weighted(0.4, Just(serde_json::from_value(grammar).unwrap()))
}

fn any_transfer_result() -> impl Strategy<Value = TransferResult> {
    prop_oneof![
        Just(TransferResult::Connected),
        Just(TransferResult::Returned),
        (400_u16..700).prop_map(|status| TransferResult::Failed { status, reason: "no".into() }),
    ]
}

fn any_reason() -> impl Strategy<Value = EndReason> {
    prop_oneof![Just(EndReason::OperatorHangup), Just(EndReason::PlatformError)]
}

/// Plays the inputs of a log to a fresh engine.
fn replay(setup: Setup, inputs: &[(u64, Input)]) -> (Vec<Output>, Engine) {
    let mut engine = Engine::new(setup);
    let mut outputs = Vec::new();
    for (at, input) in inputs {
        engine.handle(Time(*at), input.clone());
        while let Some(output) = engine.poll_output() {
            outputs.push(output);
        }
    }
    (outputs, engine)
}

/// The same inputs give the same outputs, however often the clock is looked
/// at in between: a deadline may be served late.
fn is_deterministic(setup: &Setup, log: &[(u64, Entry)]) -> Result<(), TestCaseError> {
    let inputs: Vec<(u64, Input)> = log
        .iter()
        .filter_map(|(at, entry)| if let Entry::In(input) = entry { Some((*at, input.clone())) } else { None })
        .collect();
    let outputs: Vec<Output> = log
        .iter()
        .filter_map(|(_, entry)| if let Entry::Out(output) = entry { Some(output.clone()) } else { None })
        .collect();
    let (again, engine) = replay(setup.clone(), &inputs);
    prop_assert_eq!(&outputs, &again);
    // What is due at the very moment of another input comes after it, unless the clock was looked at first.
    let moments: BTreeSet<u64> = inputs
        .iter()
        .filter(|(_, input)| *input != Input::Tick)
        .map(|(at, _)| *at)
        .chain(inputs.last().map(|(at, _)| *at))
        .collect();
    let untimed: Vec<(u64, Input)> =
        inputs.into_iter().filter(|(at, input)| *input != Input::Tick || moments.contains(at)).collect();
    let (late, late_engine) = replay(setup.clone(), &untimed);
    prop_assert_eq!(&outputs, &late, "a late tick changes what happens");
    prop_assert_eq!(format!("{:?}", engine.record()), format!("{:?}", late_engine.record()));
    Ok(())
}
