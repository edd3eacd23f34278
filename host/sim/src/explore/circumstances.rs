//! What is different about a call before it begins: what sources answer, when it comes, how it is taken.

use super::choice::Dice;
use super::knowledge::Knowledge;
use crate::model::{ModelDoes, ModelEnd, ModelPlan};
use crate::scenario::{Given, ModelAnswer, Moment, Run, SourceAnswer as SourceGiven, Step, is_failure};
use crate::situation::{CalleePlan, CalleeThen, Situation, SourceAnswer, SourcePlan};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{Direction, HostError};
use callbox_script::Manifest;
use rand_chacha::rand_core::Rng;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a call starts from: as a scenario gives it, and what it means.
#[derive(Clone, Debug, Default)]
pub struct Base {
    /// As it is written.
    pub given: Given,
    /// What it means.
    pub situation: Situation,
}

impl Base {
    /// What a scenario starts from; none of one that shows how the script fails.
    #[must_use]
    pub fn of(run: &Run) -> Option<Self> {
        let fails = run.steps.iter().any(|placed| match &placed.step {
            Step::Ended(ended) => ended.reason.is_some_and(is_failure),
            _ => false,
        });
        (!fails).then(|| Self { given: run.given.clone(), situation: run.situation() })
    }
}

/// What is different from the base.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Circumstances {
    /// Which base.
    pub(super) base: usize,
    /// Wall clock at the beginning.
    pub(super) at: Option<u64>,
    pub(super) sources: BTreeMap<String, SourcePlan>,
    pub(super) models: BTreeMap<String, Vec<ModelPlan>>,
    pub(super) deaf: bool,
    pub(super) callee: Option<CalleePlan>,
}

impl Circumstances {
    /// Some that are likely.
    pub(super) fn random(dice: &mut Dice, bases: &[Base], manifest: &Manifest) -> Self {
        let base = dice.below(bases.len());
        let mut this = Self { base, ..Self::default() };
        let Some(from) = bases.get(base) else { return this };
        if dice.percent(40) {
            // Within half a year of it, on the minute.
            let span = 365 * 24 * 60;
            let minutes = dice.0.next_u64() % span;
            let begin = from.situation.at.saturating_sub(span / 2 * 60_000);
            this.at = Some((begin + minutes * 60_000) / 60_000 * 60_000);
        }
        for name in manifest.sources.keys() {
            let known: Vec<&SourcePlan> = bases.iter().filter_map(|base| base.situation.sources.get(name)).collect();
            if let Some(plan) = source(dice, from.situation.sources.get(name), &known) {
                this.sources.insert(name.clone(), plan);
            }
        }
        for name in manifest.models.keys() {
            let known: Vec<&ModelPlan> =
                bases.iter().filter_map(|base| base.situation.models.get(name)).flatten().collect();
            // Most scenarios tell a story; in between a model says what it likes.
            if dice.percent(if from.situation.models.contains_key(name) { 60 } else { 90 }) {
                let plans = (0..12).map(|_| model(dice, &known)).collect();
                this.models.insert(name.clone(), plans);
            }
        }
        this.deaf = dice.percent(3);
        if from.situation.direction == Direction::Outbound && dice.percent(20) {
            let then = match dice.below(3) {
                0 => CalleeThen::Refuses { status: 486, reason: "Busy Here".into() },
                1 => CalleeThen::Nothing,
                _ => CalleeThen::Answers,
            };
            this.callee = Some(CalleePlan { then, after: 500 * dice.below(60) as Millis, ..CalleePlan::default() });
        }
        this
    }

    /// The situation of such a call.
    pub(super) fn situation(&self, bases: &[Base]) -> Situation {
        let mut situation = bases.get(self.base).map(|base| base.situation.clone()).unwrap_or_default();
        situation.at = self.at.unwrap_or(situation.at);
        for (name, plan) in &self.sources {
            let bound = situation.sources.get(name);
            let (timeout, on_failure) = bound.map(|bound| (bound.timeout, bound.on_failure)).unwrap_or_default();
            situation.sources.insert(name.clone(), SourcePlan { timeout, on_failure, ..plan.clone() });
        }
        for (name, plans) in &self.models {
            situation.models.insert(name.clone(), plans.clone());
        }
        situation.speech_recognition &= !self.deaf;
        situation.callee_plan = self.callee.clone().unwrap_or(situation.callee_plan);
        situation
    }

    /// The same as a scenario gives it, beside what the callee of an outbound call does, which is a step.
    pub(super) fn given(&self, bases: &[Base]) -> Given {
        let mut given = bases.get(self.base).map(|base| base.given.clone()).unwrap_or_default();
        if let Some(at) = self.at.and_then(Moment::from_unix_ms) {
            given.at = Some(at);
        }
        for (name, plan) in &self.sources {
            let bound = given.sources.remove(name).unwrap_or_default();
            let (timeout, on_failure) = (bound.timeout, bound.on_failure);
            given.sources.insert(name.clone(), SourceGiven { timeout, on_failure, ..SourceGiven::of(plan) });
        }
        for (name, plans) in &self.models {
            given.models.insert(name.clone(), plans.iter().map(ModelAnswer::of).collect());
        }
        if self.deaf {
            given.speech_recognition = Some(false);
        }
        given
    }
}

/// What a source does this time; none for what it does anyway.
fn source(dice: &mut Dice, own: Option<&SourcePlan>, known: &[&SourcePlan]) -> Option<SourcePlan> {
    let good: Vec<&Value> = known
        .iter()
        .filter_map(|plan| if let SourceAnswer::Value(value) = &plan.answer { Some(value) } else { None })
        .collect();
    let after = [0, 0, 300, 1_500][dice.below(4)];
    let failure = |error| Some(SourcePlan::fails(error, after));
    match dice.below(20) {
        0..=8 if own.is_some() => None,
        0..=12 => {
            let value = dice.pick(&good).copied().cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            Some(SourcePlan::answers(value, after))
        }
        13..=15 => {
            let value = dice.pick(&good).copied().cloned().unwrap_or(Value::Null);
            Some(SourcePlan::answers(mutated(dice, value), after))
        }
        16 => failure(HostError::Unavailable("the source is down".into())),
        17 => failure(HostError::NotFound("nobody by that name".into())),
        18 => failure(HostError::TimedOut),
        _ => Some(SourcePlan::never()),
    }
}

/// What a language model answers this time: what it is known to say, in any order, or what one says on a bad day.
fn model(dice: &mut Dice, known: &[&ModelPlan]) -> ModelPlan {
    let writes = |text: &str, then| ModelPlan::does(ModelDoes::Writes { text: text.into(), calls: Vec::new(), then });
    let tools: Vec<&(String, String)> = known
        .iter()
        .filter_map(|plan| if let ModelDoes::Writes { calls, .. } = &plan.does { Some(calls) } else { None })
        .flatten()
        .collect();
    let plan = match dice.below(20) {
        0..=6 => dice.pick(known).map_or_else(|| ModelPlan::says("How can I help you?"), |plan| (*plan).clone()),
        7..=9 => ModelPlan::says("I see. Anything else?"),
        10..=12 => match dice.pick(&tools) {
            Some((name, arguments)) => {
                let value = serde_json::from_str(arguments).unwrap_or(Value::Null);
                let strange =
                    [mutated(dice, value).to_string(), "{}".into(), "{\"da".into(), "[1]".into(), String::new()];
                let arguments = dice.pick(&strange).cloned().unwrap_or_default();
                ModelPlan::calls(name.clone(), arguments)
            }
            None => ModelPlan::calls("no_such_tool", "{}"),
        },
        13 => ModelPlan::calls("no_such_tool", "{}"),
        14 => writes("", ModelEnd::Done),
        15 => writes("And then, you know, ", ModelEnd::Never),
        16 => writes("One moment, I will", ModelEnd::Breaks(HostError::TimedOut)),
        17 | 18 => ModelPlan::does(ModelDoes::Fails(HostError::Unavailable("the model is away".into()))),
        _ => ModelPlan::does(ModelDoes::Never),
    };
    ModelPlan { when: None, after: [100, 300, 1_500, 4_000][dice.below(4)], ..plan }
}

/// A value as a source gives it on a bad day: of the same shape mostly.
fn mutated(dice: &mut Dice, mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) if !map.is_empty() && !dice.percent(10) => {
            let names: Vec<String> = map.keys().cloned().collect();
            if let Some(name) = dice.pick(&names) {
                if dice.percent(25) {
                    map.remove(name);
                } else if let Some(inner) = map.get_mut(name) {
                    *inner = mutated(dice, inner.take());
                }
            }
            value
        }
        Value::Array(all) if !all.is_empty() && !dice.percent(30) => {
            let place = dice.below(all.len());
            all[place] = mutated(dice, all[place].take());
            value
        }
        Value::String(text) => {
            let long = text.repeat(40);
            let strange = ["", "0", "é—字\u{202e}", "null", long.as_str()];
            dice.pick(&strange).map_or(Value::Null, |text| Value::from(*text))
        }
        Value::Number(_) => {
            let strange = [Value::from(0), Value::from(-1), Value::from(u64::MAX), Value::from(0.1), Value::from("12")];
            dice.pick(&strange).cloned().unwrap_or(Value::Null)
        }
        Value::Bool(flag) => Value::from(!*flag),
        Value::Array(_) => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}

impl Knowledge {
    /// Takes in what the sources of a base answer.
    pub fn learn_base(&mut self, base: &Base) {
        for plan in base.situation.sources.values() {
            if let SourceAnswer::Value(value) = &plan.answer {
                self.learn_value(value);
            }
        }
        for value in base.situation.settings.values() {
            self.learn_value(&Value::from(value.as_str()));
        }
    }
}
