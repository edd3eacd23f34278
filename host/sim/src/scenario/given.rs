//! What is settled before a scenario's call begins.

use super::model::ModelAnswer;
use super::span::{Moment, Span};
use crate::situation::{self, SourcePlan};
use callbox_dialogue::{Direction, HostError, Transport};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What is settled before the call begins. Everything has a default. A scenario's `given` goes over its file's: a value
/// replaces, a map is merged key by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The wall clock when the call comes in, with its time zone: `2026-12-01T09:00[Europe/Berlin]`. By default
    /// 2026-01-05T09:00Z, a Monday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// Who places the call: `inbound` (default), the caller; `outbound`, the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "directions")]
    pub direction: Option<Direction>,
    /// What the script is told of how the caller is connected: `simulated` (default), `sip`, `webrtc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "transports")]
    pub transport: Option<Transport>,
    /// Who calls: a number such as `+4930123456`, or a SIP URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Who is called: a number or a SIP URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee: Option<String>,
    /// The name on the caller's display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// BCP 47 tag of the language configured for the script; by default the manifest's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// SIP headers of the call. The script sees those that its manifest lists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What whoever placed the call through the API gave it: any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Settings of the script, by the names of its manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// What the data sources of the manifest answer, by name. One that is not here is unavailable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceAnswer>,
    /// What the language models of the manifest answer, by name: a list, whose answers are given in their order, each
    /// once. A model without an answer that fits is unavailable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Vec<ModelAnswer>>,
    /// How transfers go, by target, where no step says so. Others are answered by `connected`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transfers: BTreeMap<String, TransferPlan>,
    /// Whether there is a recogniser of speech (default true).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speech_recognition: Option<bool>,
    /// How fast both sides speak, in words a minute: 80 to 400 (default 160).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 80, max = 400))]
    pub words_a_minute: Option<u16>,
    /// How long the caller thinks before it answers (default 300ms).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaction: Option<Span>,
    /// Seed of the script's random numbers (default 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Limits of the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsGiven>,
    /// What the caller gets when the script fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackPlan>,
}

impl Given {
    /// This over that: a value replaces, a map is merged key by key.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        fn merged<T>(mut base: BTreeMap<String, T>, over: BTreeMap<String, T>) -> BTreeMap<String, T> {
            base.extend(over);
            base
        }
        let limits = match (self.limits, base.limits) {
            (Some(over), Some(base)) => Some(LimitsGiven {
                grace: over.grace.or(base.grace),
                max_duration: over.max_duration.or(base.max_duration),
                ring_timeout: over.ring_timeout.or(base.ring_timeout),
                silence_timeout: over.silence_timeout.or(base.silence_timeout),
                model_tokens: over.model_tokens.or(base.model_tokens),
            }),
            (over, base) => over.or(base),
        };
        Self {
            at: self.at.or(base.at),
            direction: self.direction.or(base.direction),
            transport: self.transport.or(base.transport),
            caller: self.caller.or(base.caller),
            callee: self.callee.or(base.callee),
            display_name: self.display_name.or(base.display_name),
            language: self.language.or(base.language),
            headers: merged(base.headers, self.headers),
            parameters: self.parameters.or(base.parameters),
            settings: merged(base.settings, self.settings),
            sources: merged(base.sources, self.sources),
            models: merged(base.models, self.models),
            transfers: merged(base.transfers, self.transfers),
            speech_recognition: self.speech_recognition.or(base.speech_recognition),
            words_a_minute: self.words_a_minute.or(base.words_a_minute),
            reaction: self.reaction.or(base.reaction),
            seed: self.seed.or(base.seed),
            limits,
            fallback: self.fallback.or(base.fallback),
        }
    }
}

fn directions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["inbound", "outbound"] })
}

fn transports(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["sip", "webrtc", "simulated"] })
}

/// What a data source does when the script asks: exactly one of `answers`, `fails` and `never`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceAnswer {
    /// It answers with this value.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub answers: Option<Value>,
    /// It fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<SourceFailure>,
    /// It does not answer at all: the request runs into its time limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never: bool,
    /// How long it takes (default 0s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// Longest wait for it, as the deployment has it (default 2s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// What happens when it is prefetched and late or broken, as the deployment has it (default `continue`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

impl SourceAnswer {
    /// A source that answers so.
    #[must_use]
    pub fn value(answer: Value) -> Self {
        Self { answers: Some(answer), ..Self::default() }
    }

    /// A source that fails so.
    #[must_use]
    pub fn failure(fails: SourceFailure) -> Self {
        Self { fails: Some(fails), ..Self::default() }
    }

    /// A source that does not answer at all.
    #[must_use]
    pub fn silent() -> Self {
        Self { never: true, ..Self::default() }
    }

    /// What a source does in this plan. How long the deployment waits for it, and what it does then, are not the source's.
    #[must_use]
    pub fn of(plan: &SourcePlan) -> Self {
        let answer = match &plan.answer {
            situation::SourceAnswer::Value(value) => Self::value(value.clone()),
            situation::SourceAnswer::Failure(error) => Self::failure(SourceFailure::of(error)),
            situation::SourceAnswer::Never => Self::silent(),
        };
        Self { after: (plan.after > 0).then_some(Span(plan.after)), ..answer }
    }
}

/// `null` is a value too.
pub(super) fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// How a source fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceFailure {
    /// It cannot be reached, or answers nonsense (`unavailable`).
    Unavailable,
    /// It took too long (`timed-out`).
    TimedOut,
    /// It does not know what was asked for (`not-found`).
    NotFound,
}

impl SourceFailure {
    /// How the script is told of it.
    #[must_use]
    pub const fn of(error: &HostError) -> Self {
        match error {
            HostError::TimedOut => Self::TimedOut,
            HostError::NotFound(_) => Self::NotFound,
            _ => Self::Unavailable,
        }
    }
}

/// What happens when a prefetched source is late or broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The script gets a typed error when it asks.
    #[default]
    Continue,
    /// The script ends and the fallback runs.
    Fallback,
    /// The call is rejected, or hung up when it was answered.
    Reject,
}

/// How a transfer goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TransferAnswer {
    /// The target takes the call.
    #[default]
    Connected,
    /// The target takes the call and hangs up later; the script has the caller back. Of bridged transfers.
    Returned,
    /// 486.
    Busy,
    /// Nobody picks up: it rings until the script's time for that is over.
    NoAnswer,
    /// A SIP status of 300 to 699.
    Status {
        /// The SIP status.
        status: u16,
        /// Its reason phrase; none for the usual one.
        reason: Option<String>,
    },
}

/// The long form of a failed transfer or of a refused call.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SipStatus")]
struct StatusForm {
    /// SIP status, 300 to 699.
    #[schemars(range(min = 300, max = 699))]
    status: u16,
    /// Reason phrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The words of [`TransferAnswer`].
const TRANSFER_WORDS: [(&str, TransferAnswer); 4] = [
    ("connected", TransferAnswer::Connected),
    ("returned", TransferAnswer::Returned),
    ("busy", TransferAnswer::Busy),
    ("no_answer", TransferAnswer::NoAnswer),
];

impl Serialize for TransferAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::Status { status, reason } = self {
            return StatusForm { status: *status, reason: reason.clone() }.serialize(serializer);
        }
        let word = TRANSFER_WORDS.iter().find(|(_, answer)| answer == self).map_or("connected", |(word, _)| word);
        serializer.serialize_str(word)
    }
}

impl<'de> Deserialize<'de> for TransferAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = TransferAnswer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("connected, returned, busy, no_answer or {status: 503}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TransferAnswer, E> {
                const WORDS: &[&str] = &["connected", "returned", "busy", "no_answer"];
                let found = TRANSFER_WORDS.into_iter().find(|(word, _)| *word == text);
                found.map(|(_, answer)| answer).ok_or_else(|| E::unknown_variant(text, WORDS))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TransferAnswer, A::Error> {
                let StatusForm { status, reason } =
                    StatusForm::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(TransferAnswer::Status { status, reason })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for TransferAnswer {
    fn schema_name() -> Cow<'static, str> {
        "TransferAnswer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let words = TRANSFER_WORDS.map(|(word, _)| word);
        let status = generator.subschema_for::<StatusForm>();
        json_schema!({
            "description": "How a transfer goes: the target takes the call (`connected`), takes it and hangs up later, so \
                            that the script has the caller back (`returned`), is `busy`, gives `no_answer`, or a SIP status.",
            "anyOf": [{ "type": "string", "enum": words }, status]
        })
    }
}

/// How transfers to a target go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferPlan {
    /// How the transfer goes (default `connected`).
    #[serde(default)]
    pub answers: TransferAnswer,
    /// How long it rings before that (default 1s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// How long the two talk before the target hangs up; of a bridge (default 30s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk: Option<Span>,
}

/// Limits of the deployment on the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsGiven {
    /// Time the script has after the call is over (default 5s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// Longest call, from the answer (default 1h).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Span>,
    /// Longest ringing (default 1m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_timeout: Option<Span>,
    /// The call ends when nothing was heard and nothing said for so long; 0s for never (default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_timeout: Option<Span>,
    /// Tokens that the call may use with each language model (default 50000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_tokens: Option<u64>,
}

/// What the caller gets when the script fails, as the number's configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackPlan {
    /// Said first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<String>,
    /// Then the call goes here; else it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_to: Option<String>,
}
