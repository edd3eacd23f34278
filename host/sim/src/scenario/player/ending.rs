//! What is wrong with a call, now that it is over: what was expected and did not come, the record, the script's own end.

use super::super::matching::{Wanted, contains, text_diff, value_diff};
use super::super::problem::Place;
use super::super::step::{Ended, Pushed, ResultExpected, Step};
use super::super::suite::PlacedStep;
use super::super::verdict::Failure;
use super::{Doing, Played, Player};
use crate::told::Told;
use callbox_dialogue::{EndReason, ScriptEnd};
use serde_json::{Map, Value, json};

impl Player<'_> {
    /// What is wrong with the call, now that it is over.
    pub(in super::super) fn finish(mut self, told: &Told) -> Option<Failure> {
        if let Some(failure) = self.failure.take() {
            return Some(failure);
        }
        let run = self.run;
        let mut expects_failure = false;
        for (index, PlacedStep { step, place }) in run.steps.iter().enumerate() {
            let failure = match step {
                Step::Result(result) => result_of(result, *place, told),
                Step::Ended(ended) => {
                    expects_failure |= ended.reason.is_some_and(is_failure);
                    self.end_of(ended, *place, told)
                }
                _ if index < self.step || (index == self.step && matches!(self.doing, Doing::Acted(_))) => None,
                Step::Silence(_) | Step::Wait(_) | Step::Source(_) | Step::Model(_) => None,
                Step::Heard(heard) => match self.heard(heard, *place) {
                    Played::Done(_) => None,
                    Played::Failed(failure) => Some(*failure),
                    _ => Some(self.missed(step, *place)),
                },
                step => match self.look(step, *place) {
                    Some(Played::Failed(failure)) => Some(*failure),
                    Some(_) => None,
                    None => Some(self.missed(step, *place)),
                },
            };
            if failure.is_some() {
                return failure;
            }
        }
        if expects_failure || told.record.script_error.is_none() {
            return None;
        }
        let end = self.seen.ended.unwrap_or(told.ended);
        let failure = Failure::new(run.place, end, "the script failed, and no step `ended` expects that".to_owned());
        Some(failure.came(script_error(told)))
    }

    /// What was expected and did not come.
    pub(super) fn missed(&self, step: &Step, place: Place) -> Failure {
        let seen = &self.seen;
        let at = seen.ended.unwrap_or(seen.quiet_since);
        let new = |message: String| Failure::new(place, at, message);
        match step {
            Step::Expect(expect) => {
                let wanted = Wanted::prompt(expect);
                let rest = seen.prompts.iter().skip(seen.prompts_taken).map(|prompt| prompt.text.as_str());
                let came = match rest.clone().next_back() {
                    Some(last) if rest.clone().count() == 1 => format!("it said \"{last}\", and the call was over"),
                    Some(last) => format!("it said {} other things, last \"{last}\"", rest.clone().count()),
                    None => "it said nothing more before the call was over".to_owned(),
                };
                new(format!("expected the robot to say {wanted}")).came(came).diff(text_diff(&wanted, rest))
            }
            Step::Node(name) => {
                let all: Vec<_> = seen.nodes.rest().iter().map(|(_, name)| name.as_str()).collect();
                let came = if all.is_empty() {
                    "it entered no more nodes".into()
                } else {
                    format!("it entered {}", all.join(", "))
                };
                new(format!("expected the node `{name}`")).came(came)
            }
            Step::Pushed(pushed) => self.push_missed(pushed, new(format!("expected a message to `{}`", pushed.to))),
            Step::Transfer(transfer) => new(format!("expected a transfer to {}", transfer.to)).came("there was none"),
            Step::Fetched(fetched) => {
                let wanted = format!("expected that the source `{}` is asked", fetched.source);
                let mut asked = seen.fetches.iter().filter(|fetch| fetch.what.0 == fetched.source);
                let object = |parameters: &[(String, String)]| -> Value {
                    parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>().into()
                };
                match asked.next_back() {
                    Some(fetch) => new(wanted)
                        .came("it was asked for something else")
                        .diff(value_diff(&json!(fetched.parameters), &object(&fetch.what.1))),
                    None => new(wanted).came("it was not"),
                }
            }
            Step::Asked(asked) => {
                let what = asked.contains.as_deref().or(asked.lacks.as_deref()).unwrap_or_default();
                let how = if asked.contains.is_some() || asked.lacks.is_none() { "with" } else { "without" };
                let wanted = format!("expected that the model `{}` is asked {how} \"{what}\"", asked.model);
                let last = seen.asks.iter().rfind(|ask| ask.what.0 == asked.model);
                match last {
                    Some(ask) => new(wanted).came(format!("it was asked last with\n{}", ask.what.1)),
                    None => new(wanted).came("it was not asked"),
                }
            }
            Step::Logged(logged) => {
                let wanted = Wanted::logged(logged);
                let lines = seen.logs.iter().filter(|line| !line.taken).map(|line| line.what.1.as_str());
                new(format!("expected the log to say {wanted}")).came("it did not").diff(text_diff(&wanted, lines))
            }
            Step::DigitsSent(digits) => {
                new(format!("expected the script to send the keys {digits}")).came("it did not")
            }
            step => new(format!("`{}`, but the call was over before", step.verb())),
        }
    }

    fn push_missed(&self, pushed: &Pushed, failure: Failure) -> Failure {
        let mut to_it = self.seen.pushes.iter().filter(|push| push.what.0 == pushed.to && !push.taken);
        match (to_it.next_back(), &pushed.body) {
            (Some(push), Some(wanted)) => {
                failure.came("its body is not what was expected").diff(value_diff(wanted, &push.what.1))
            }
            _ => match self.seen.pushes.iter().find(|push| !push.taken) {
                Some(push) => failure.came(format!("there was one to `{}`", push.what.0)),
                None => failure.came("there was none"),
            },
        }
    }

    fn end_of(&self, wanted: &Ended, place: Place, told: &Told) -> Option<Failure> {
        let record = &told.record;
        let at = self.seen.ended.unwrap_or(told.ended);
        if record.ended.is_none() {
            return Some(Failure::new(place, at, "expected the call to be over".into()).came("it is not"));
        }
        let came = json!({
            "by": record.ended_by, "reason": record.end_reason, "outcome": record.outcome,
            "status": record.evidence.sip_status,
        });
        let wanted_value = json!({
            "by": wanted.by, "reason": wanted.reason, "outcome": wanted.outcome, "status": wanted.status,
        });
        let wanted_value = without_nulls(wanted_value);
        if !contains(&wanted_value, &came) {
            let failure = Failure::new(place, at, "the call ended otherwise than expected".into());
            let failure = if record.script_error.is_some() { failure.came(script_error(told)) } else { failure };
            return Some(failure.diff(value_diff(&wanted_value, &came)));
        }
        match self.late(wanted.within, at, place, "the end of the call") {
            Some(Played::Failed(failure)) => Some(*failure),
            _ => None,
        }
    }
}

/// Whether this is how a call ends whose script failed. Another reason is no excuse: a script that traps after the caller
/// has hung up fails, too.
pub(crate) const fn is_failure(reason: EndReason) -> bool {
    matches!(reason, EndReason::ScriptTrap | EndReason::ScriptBudget | EndReason::PlatformError)
}

/// Why the script failed, as the record says it.
fn script_error(told: &Told) -> String {
    let error = told.record.script_error.clone().unwrap_or_default();
    match &told.run.end {
        ScriptEnd::Trapped { message } | ScriptEnd::Failed { message } if !error.contains(message.as_str()) => {
            format!("{error}\n{message}")
        }
        _ => error,
    }
}

fn result_of(wanted: &ResultExpected, place: Place, told: &Told) -> Option<Failure> {
    let record = &told.record;
    let fields = record.fields.iter().map(|(name, value)| {
        (name.clone(), serde_json::from_str(value.get()).unwrap_or_else(|_| Value::String(value.get().to_owned())))
    });
    let tags =
        |all: &[String]| -> Value { all.iter().map(|tag| (tag.clone(), true.into())).collect::<Map<_, _>>().into() };
    let came = json!({
        "disposition": record.disposition,
        "intent": record.intent.as_ref().map(|intent| json!({"name": intent.name, "grade": intent.grade})),
        "tags": tags(&record.tags),
        "fields": fields.collect::<Map<_, _>>(),
        "opt_out": record.opt_out,
    });
    let intent =
        wanted.intent.as_ref().map(|intent| without_nulls(json!({"name": intent.name, "grade": intent.grade})));
    let wanted_value = without_nulls(json!({
        "disposition": wanted.disposition,
        "intent": intent,
        "tags": (!wanted.tags.is_empty()).then(|| tags(&wanted.tags)),
        "fields": (!wanted.fields.is_empty()).then_some(&wanted.fields),
        "opt_out": wanted.opt_out,
    }));
    if contains(&wanted_value, &came) {
        return None;
    }
    // Tags are a list to whoever writes them; where all that were asked for are there, the others are left out.
    let all_there = wanted.tags.iter().all(|tag| record.tags.contains(tag));
    let as_list = |mut value: Value, tags: &[String]| {
        if let Some(shown) = value.get_mut("tags") {
            *shown = json!(tags);
        }
        value
    };
    let came = as_list(came, if all_there { &wanted.tags } else { &record.tags });
    let wanted_value = as_list(wanted_value, &wanted.tags);
    let failure = Failure::new(place, told.ended, "the result is not what was expected".into());
    Some(failure.diff(value_diff(&wanted_value, &came)))
}

/// What is said of an object; nothing else is looked at.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            entries.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}
