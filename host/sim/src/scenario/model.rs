//! What a scenario's language models answer, and what they are asked.

use super::short::{self, Scalar, Shorthand};
use super::span::Span;
use crate::model::{ModelDoes, ModelEnd, ModelPlan};
use callbox_dialogue::HostError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One answer of a language model: what it `says` and `calls`, or `fails`, or `never`. Answers are given in their order,
/// each once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelAnswer {
    /// This answer is for a request whose last turn contains this text; others are answered by the next that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// It writes this, word by word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// It then calls these tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ModelCall>,
    /// It fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<ModelFailure>,
    /// It gives no sign at all: the request runs into its time limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never: bool,
    /// It breaks off behind what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaks: Option<ModelFailure>,
    /// It says the same again and again, and never stops.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub endless: bool,
    /// How long until its first token, or its failure (default 300ms).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// How many words it writes in a second (default 40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub tokens_per_second: Option<u16>,
}

/// A tool that a model calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelCall {
    /// Its name.
    pub name: String,
    /// Its arguments; a text is taken as the model wrote it, be it JSON or not. Without any: an empty object.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
}

/// How a model fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelFailure {
    /// It cannot be reached, refuses, or answers in another shape (`unavailable`).
    Unavailable,
    /// It took too long (`timed-out`).
    TimedOut,
}

impl ModelFailure {
    fn error(self) -> HostError {
        match self {
            Self::Unavailable => HostError::Unavailable("the scenario's model is away".into()),
            Self::TimedOut => HostError::TimedOut,
        }
    }

    const fn of(error: &HostError) -> Self {
        match error {
            HostError::TimedOut => Self::TimedOut,
            _ => Self::Unavailable,
        }
    }
}

impl ModelAnswer {
    /// A model that says so.
    #[must_use]
    pub fn says(text: impl Into<String>) -> Self {
        Self { says: Some(text.into()), ..Self::default() }
    }

    /// What the model does.
    #[must_use]
    pub fn plan(&self) -> ModelPlan {
        let does = match self.fails {
            Some(failure) => ModelDoes::Fails(failure.error()),
            None if self.never => ModelDoes::Never,
            None => {
                let calls = self.calls.iter().map(|call| {
                    let arguments = match &call.arguments {
                        Value::Null => "{}".to_owned(),
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    (call.name.clone(), arguments)
                });
                let then = match (self.endless, self.breaks) {
                    (true, _) => ModelEnd::Never,
                    (false, Some(failure)) => ModelEnd::Breaks(failure.error()),
                    (false, None) => ModelEnd::Done,
                };
                ModelDoes::Writes { text: self.says.clone().unwrap_or_default(), calls: calls.collect(), then }
            }
        };
        let usual = ModelPlan::does(does);
        ModelPlan {
            when: self.when.clone(),
            after: self.after.map_or(usual.after, |after| after.0),
            tokens_per_second: self.tokens_per_second.unwrap_or(usual.tokens_per_second),
            ..usual
        }
    }

    /// The same as a scenario writes it.
    #[must_use]
    pub fn of(plan: &ModelPlan) -> Self {
        let usual = ModelPlan::does(ModelDoes::Never);
        let mut answer = Self {
            when: plan.when.clone(),
            after: (plan.after != usual.after).then_some(Span(plan.after)),
            tokens_per_second: (plan.tokens_per_second != usual.tokens_per_second).then_some(plan.tokens_per_second),
            ..Self::default()
        };
        match &plan.does {
            ModelDoes::Never => answer.never = true,
            ModelDoes::Fails(error) => answer.fails = Some(ModelFailure::of(error)),
            ModelDoes::Writes { text, calls, then } => {
                answer.says = (!text.is_empty() || calls.is_empty()).then(|| text.clone());
                let call = |(name, arguments): &(String, String)| {
                    let object = serde_json::from_str(arguments).ok().filter(Value::is_object);
                    ModelCall { name: name.clone(), arguments: object.unwrap_or_else(|| arguments.as_str().into()) }
                };
                answer.calls = calls.iter().map(call).collect();
                match then {
                    ModelEnd::Done => {}
                    ModelEnd::Never => answer.endless = true,
                    ModelEnd::Breaks(error) => answer.breaks = Some(ModelFailure::of(error)),
                }
            }
        }
        answer
    }

    /// What makes no sense of it.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let writes = self.says.is_some() || !self.calls.is_empty();
        match [writes, self.fails.is_some(), self.never].into_iter().filter(|does| *does).count() {
            0 => return Some("one of `says`, `calls`, `fails` and `never` is missing"),
            1 => {}
            _ => return Some("a model says and calls something, or `fails`, or does `never` answer"),
        }
        if (self.endless || self.breaks.is_some()) && self.says.as_deref().is_none_or(|says| says.trim().is_empty()) {
            return Some("`endless` and `breaks` need something that the model `says`");
        }
        if self.endless && (self.breaks.is_some() || !self.calls.is_empty()) {
            return Some("an `endless` answer has nothing behind it");
        }
        if self.tokens_per_second.is_some_and(|pace| !(1..=1_000).contains(&pace)) {
            return Some("a model writes 1 to 1000 tokens a second");
        }
        None
    }
}

/// From here on a language model answers so; what it was to answer before is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChange {
    /// The model, as the manifest names it.
    pub name: String,
    /// Its answers, in order, each given once.
    pub answers: Vec<ModelAnswer>,
}

/// The script asks a language model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The model, as the manifest names it.
    pub model: String,
    /// The conversation it is given contains this. It reads turn by turn, one a line: `user: Hello`,
    /// `assistant: Good day.`, `assistant calls find_slots {"day":"2026-12-01"}`, `tool: nine o'clock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// It does not contain this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

impl Asked {
    /// Whether it is this model and this conversation.
    pub(super) fn is(&self, model: &str, conversation: &str) -> bool {
        self.model == model
            && self.contains.as_deref().is_none_or(|text| conversation.contains(text))
            && self.lacks.as_deref().is_none_or(|text| !conversation.contains(text))
    }
}

impl Shorthand for Asked {
    const EXPECTING: &'static str = "the name of a model, or {model: …, contains: …}";

    fn from_short(short: Scalar<'_>) -> Result<Self, String> {
        Ok(Self { model: short::text(short, Self::EXPECTING)?, ..Self::default() })
    }

    fn to_short(&self) -> Option<Scalar<'_>> {
        let plain = self.contains.is_none() && self.lacks.is_none();
        plain.then(|| Scalar::Text(self.model.as_str().into()))
    }

    fn short_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_written_as_it_is_read() {
        let answers = [
            json!({"says": "Hello.", "when": "Hi", "after": "2s", "tokens_per_second": 5}),
            json!({"calls": [{"name": "find", "arguments": {"day": 1}}, {"name": "broken", "arguments": "{oops"}]}),
            json!({"fails": "timed_out"}),
            json!({"never": true}),
            json!({"says": "On and on.", "endless": true}),
            json!({"says": "Well,", "breaks": "unavailable"}),
            json!({"says": ""}),
        ];
        for written in answers {
            let answer: ModelAnswer = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(answer.problem(), None, "{written}");
            let again = ModelAnswer::of(&answer.plan());
            assert_eq!(serde_json::to_value(&again).unwrap(), written);
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_problem() {
        for wrong in [
            json!({}),
            json!({"says": "a", "fails": "unavailable"}),
            json!({"never": true, "calls": [{"name": "x"}]}),
            json!({"endless": true, "calls": [{"name": "x"}]}),
            json!({"says": "a", "endless": true, "breaks": "timed_out"}),
            json!({"says": "a", "tokens_per_second": 0}),
        ] {
            let answer: ModelAnswer = serde_json::from_value(wrong.clone()).unwrap();
            assert!(answer.problem().is_some(), "{wrong}");
        }
    }
}
