//! The steps of a scenario: what the caller does, what the world does, what is expected.

use super::given::{OnFailure, SourceAnswer, SourceFailure, TransferAnswer, TransferPlan, some};
use super::model::{Asked, ModelChange};
use super::short::{self, Scalar, Short, Shorthand};
use super::span::Span;
use callbox_dialogue::EndReason;
use callbox_dialogue::record::{EndedBy, Outcome};
use callbox_dialogue::script::{LogLevel, TransferMode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// One step: one verb.
///
/// The caller of a scenario is polite: what it does (`press`, `say`, `noise`, `hang_up`) it does once the robot has
/// finished speaking, and after its reaction time. Only `interrupt` acts while the robot speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The robot says this: `expect: "Press one"` for a prompt that contains it, or `{exact: …}`, `{matches: REGEX}`,
    /// with `within: 800ms` counted from the step before. Consumes what the robot says up to and including that prompt.
    Expect(
        #[serde(with = "short")]
        #[schemars(with = "Short<Expect>")]
        Expect,
    ),
    /// What the caller had heard of the last expected prompt when it was cut off, or all of it: a text that is
    /// contained, or `{exact: …}`, `{matches: …}`, `{complete: false}`.
    Heard(
        #[serde(with = "short")]
        #[schemars(with = "Short<Heard>")]
        Heard,
    ),
    /// The caller presses keys: `press: "12#"`, or `{keys: "12#", after: 2s, pace: 150ms}`.
    Press(
        #[serde(with = "short")]
        #[schemars(with = "Short<Press>")]
        Press,
    ),
    /// The caller speaks: `say: "yes please"`, or `{text: …, after: 2s, words_a_minute: 220, understood_as: …}`.
    Say(
        #[serde(with = "short")]
        #[schemars(with = "Short<Say>")]
        Say,
    ),
    /// The caller says and presses nothing: for so long after the robot has finished, or with `true` until the robot
    /// goes on by itself.
    Silence(Silence),
    /// The caller breaks in while the robot speaks: `{after: 1.2s, say: …}` or `{after: 1.2s, press: …}`, counted from
    /// the beginning of the prompt that sounds, or else of the next.
    Interrupt(Interrupt),
    /// Noise from the caller's side for so long that is no speech: it starts the recogniser's ears and means nothing.
    Noise(Span),
    /// The caller hangs up: `true`, or `{after: 2s}`.
    HangUp(
        #[serde(with = "short")]
        #[schemars(with = "Short<HangUp>")]
        HangUp,
    ),
    /// The called party picks up an outbound call: `true`, or `{after: 4s}`.
    PickUp(
        #[serde(with = "short")]
        #[schemars(with = "Short<Moves>")]
        Moves,
    ),
    /// The called party does not take an outbound call: `busy`, `no_answer`, `declined` or `{status: 404, after: 1s}`.
    Refuse(
        #[serde(with = "short")]
        #[schemars(with = "Short<Refuse>")]
        Refuse,
    ),
    /// JSON sent to the call through the API, or by the page of a WebRTC caller: any value.
    Message(Message),
    /// Time passes.
    Wait(Span),
    /// From here on a data source does this: `{name: crm, fails: unavailable, after: 3s}`.
    Source(SourceChange),
    /// From here on a language model answers so: `{name: assistant, answers: [{says: …}, {fails: unavailable}]}`.
    Model(ModelChange),
    /// Somebody ends the call through the API.
    OperatorHangUp(
        #[serde(with = "short")]
        #[schemars(with = "Short<Moves>")]
        Moves,
    ),
    /// The host goes down for maintenance: the script is told to finish within so long.
    Drain(
        #[serde(with = "short")]
        #[schemars(with = "Short<Drain>")]
        Drain,
    ),
    /// The script gives the call away: to whom, and how that goes: `transfer: "sip:agent@pbx.example"`, or
    /// `{to: …, answers: busy, after: 2s}`.
    Transfer(
        #[serde(with = "short")]
        #[schemars(with = "Short<TransferExpected>")]
        TransferExpected,
    ),
    /// The script enters this breadcrumb node.
    Node(String),
    /// The script asks a data source: its name, or `{source: …, parameters: {…}}`.
    Fetched(
        #[serde(with = "short")]
        #[schemars(with = "Short<Fetched>")]
        Fetched,
    ),
    /// The script asks a language model: its name, or `{model: …, contains: …}`, where the conversation contains this.
    Asked(
        #[serde(with = "short")]
        #[schemars(with = "Short<Asked>")]
        Asked,
    ),
    /// The script sends a message to a destination: its name, or `{to: …, body: …}`. The body has to contain what is
    /// given here; more in it is no failure.
    Pushed(
        #[serde(with = "short")]
        #[schemars(with = "Short<Pushed>")]
        Pushed,
    ),
    /// The script writes to its log: a text that is contained, or `{level: warn, contains: …}`.
    Logged(
        #[serde(with = "short")]
        #[schemars(with = "Short<Logged>")]
        Logged,
    ),
    /// The script sends these keys to the other side.
    DigitsSent(String),
    /// What the call's record holds in the end, as far as it is said here.
    Result(ResultExpected),
    /// The call is over, and how. The last step.
    Ended(
        #[serde(with = "short")]
        #[schemars(with = "Short<Ended>")]
        Ended,
    ),
}

impl Step {
    /// The verb as it is written.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Expect(_) => "expect",
            Self::Heard(_) => "heard",
            Self::Press(_) => "press",
            Self::Say(_) => "say",
            Self::Silence(_) => "silence",
            Self::Interrupt(_) => "interrupt",
            Self::Noise(_) => "noise",
            Self::HangUp(_) => "hang_up",
            Self::PickUp(_) => "pick_up",
            Self::Refuse(_) => "refuse",
            Self::Message(_) => "message",
            Self::Wait(_) => "wait",
            Self::Source(_) => "source",
            Self::Model(_) => "model",
            Self::Asked(_) => "asked",
            Self::OperatorHangUp(_) => "operator_hang_up",
            Self::Drain(_) => "drain",
            Self::Transfer(_) => "transfer",
            Self::Node(_) => "node",
            Self::Fetched(_) => "fetched",
            Self::Pushed(_) => "pushed",
            Self::Logged(_) => "logged",
            Self::DigitsSent(_) => "digits_sent",
            Self::Result(_) => "result",
            Self::Ended(_) => "ended",
        }
    }
}

/// A structure of this module with optional fields.
macro_rules! modifiers {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$type>,)*
        }
    };
}

modifiers! {
    /// What the robot is to say: exactly one of `contains`, `exact` and `matches`.
    Expect {
        /// The prompt contains this text. White space counts as one space, upper and lower case are told apart.
        contains: String,
        /// The whole prompt is this text.
        exact: String,
        /// The prompt matches this regular expression somewhere; `^` and `$` bind it to the ends.
        matches: String,
        /// The prompt begins at most so long after the step before: the end of the caller's words, the key, the end of
        /// the prompt that was expected.
        within: Span,
    }
}

modifiers! {
    /// What the caller got of the last expected prompt.
    Heard {
        /// It heard at least this text.
        contains: String,
        /// It heard just this text.
        exact: String,
        /// What it heard matches this regular expression.
        matches: String,
        /// Whether the prompt was played to its end.
        complete: bool,
    }
}

/// Keys the caller presses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Press {
    /// The keys, in order: `0`-`9`, `*`, `#`, `A`-`D`; in quotes.
    #[schemars(regex(pattern = r"^([0-9*#A-D]+|.*\$\{.+\}.*)$"))]
    pub keys: String,
    /// When, after the robot has finished (default: the caller's reaction time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// From one key to the next (default 200ms).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Span>,
}

/// What the caller says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// The words.
    pub text: String,
    /// When, after the robot has finished (default: the caller's reaction time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// How fast, 80 to 400 (default: as given).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 80, max = 400))]
    pub words_a_minute: Option<u16>,
    /// What the recogniser makes of it (default: the words); an empty text for something it cannot make out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub understood_as: Option<String>,
    /// How sure the recogniser is, 0 to 1 (default: it does not say).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: Option<f32>,
}

/// Nothing from the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// For so long after the robot has finished.
    For(Span),
    /// Until the robot goes on by itself.
    UntilRobot,
}

/// The caller breaks in: exactly one of `say` and `press`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interrupt {
    /// When, from the beginning of the prompt.
    pub after: Span,
    /// What the caller says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<String>,
    /// The keys the caller presses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub press: Option<String>,
}

modifiers! {
    /// The caller hangs up.
    HangUp {
        /// When, after the robot has finished (default: the caller's reaction time). `0s` at once, also while the robot
        /// speaks.
        after: Span,
    }
}

modifiers! {
    /// Something somebody else does.
    Moves {
        /// How long after the step before.
        after: Span,
    }
}

/// How an outbound call is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refuse {
    /// SIP status, 300 to 699: 486 busy, 480 no answer, 603 declined, 404 no such number.
    #[schemars(range(min = 300, max = 699))]
    pub status: u16,
    /// Reason phrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it rings before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

/// JSON for the script, as `events.message`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Message(pub Value);

/// What a data source does from here on: exactly one of `answers`, `fails` and `never`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceChange {
    /// The source, as the manifest names it.
    pub name: String,
    /// It answers with this value.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub answers: Option<Value>,
    /// It fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<SourceFailure>,
    /// It does not answer at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never: bool,
    /// How long it takes (default 0s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

impl SourceChange {
    /// The source does this from here on.
    #[must_use]
    pub fn new(name: impl Into<String>, answer: SourceAnswer) -> Self {
        let SourceAnswer { answers, fails, never, after, timeout: _, on_failure: _ } = answer;
        Self { name: name.into(), answers, fails, never, after }
    }

    /// What the source does.
    #[must_use]
    pub fn answer(&self) -> SourceAnswer {
        SourceAnswer {
            answers: self.answers.clone(),
            fails: self.fails,
            never: self.never,
            after: self.after,
            timeout: None,
            on_failure: None::<OnFailure>,
        }
    }
}

/// The host goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long the script has to finish.
    pub within: Span,
}

/// The script gives the call away, and how that goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferExpected {
    /// The target: just this SIP URI or number.
    pub to: String,
    /// How it goes (default: as given for the target, else `connected`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<TransferAnswer>,
    /// How long it rings before that (default 1s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// How long the two talk before the target hangs up; of a bridge (default 30s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk: Option<Span>,
    /// By which means: `refer` or `bridge` (default: either).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "modes")]
    pub mode: Option<TransferMode>,
    /// It is asked for at most so long after the step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

impl TransferExpected {
    /// How the transfer goes, over what is given for its target.
    #[must_use]
    pub fn plan(&self, given: Option<&TransferPlan>) -> TransferPlan {
        let given = given.cloned().unwrap_or_default();
        TransferPlan {
            answers: self.answers.clone().unwrap_or(given.answers),
            after: self.after.or(given.after),
            talk: self.talk.or(given.talk),
        }
    }
}

/// The script asks a data source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    /// The source, as the manifest names it.
    pub source: String,
    /// Parameters that have to be among those of the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// The script sends a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pushed {
    /// The destination, as the manifest names it.
    pub to: String,
    /// What the body has to contain: objects may have more keys, everything else is equal.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// It is sent at most so long after the step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// A line of the script's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logged {
    /// Its level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "levels")]
    pub level: Option<LogLevel>,
    /// It contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// It matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

/// What the call's record holds in the end, as far as it is said here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResultExpected {
    /// How the matter ended (`results.set-disposition`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<String>,
    /// What the caller wants (`results.set-intent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentExpected>,
    /// Tags that are set; more are no failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Fields that are set, with what they contain; more are no failure.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    /// Whether the caller asked not to be called again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opt_out: Option<bool>,
}

/// What the caller wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntentExpected {
    /// In the tenant's words.
    pub name: String,
    /// How strongly, `A` to `F` (default: not looked at).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<char>,
}

/// How the call ended, as far as it is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "enders")]
    pub by: Option<EndedBy>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "reasons")]
    pub reason: Option<EndReason>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "outcomes")]
    pub outcome: Option<Outcome>,
    /// The SIP status of a call that was not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// It is over at most so long after the step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// All reasons for the end of a call.
pub(super) const REASONS: [EndReason; 16] = [
    EndReason::CallerHangup,
    EndReason::ScriptHangup,
    EndReason::ScriptReturned,
    EndReason::ScriptTrap,
    EndReason::ScriptBudget,
    EndReason::TransferCompleted,
    EndReason::SilenceTimeout,
    EndReason::MaxDuration,
    EndReason::MediaTimeout,
    EndReason::ContextFailed,
    EndReason::ProviderError,
    EndReason::PlatformShutdown,
    EndReason::PlatformError,
    EndReason::TrunkLost,
    EndReason::OperatorHangup,
    EndReason::Rejected,
];

fn levels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["debug", "info", "warn", "error"] })
}

fn modes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["refer", "bridge"] })
}

fn enders(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["caller", "script", "platform"] })
}

fn reasons(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": REASONS.map(EndReason::as_str) })
}

fn outcomes(_: &mut SchemaGenerator) -> Schema {
    let words =
        ["answered", "busy", "no_answer", "refused", "invalid_number", "network_error", "cancelled", "unreachable"];
    json_schema!({ "type": "string", "enum": words })
}

fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

fn truth(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": true })
}

fn spans(generator: &mut SchemaGenerator) -> Schema {
    Span::json_schema(generator)
}

impl Expect {
    /// A prompt that contains this text.
    #[must_use]
    pub fn contains(text: impl Into<String>) -> Self {
        Self { contains: Some(text.into()), ..Self::default() }
    }

    /// A prompt that is just this text.
    #[must_use]
    pub fn exact(text: impl Into<String>) -> Self {
        Self { exact: Some(text.into()), ..Self::default() }
    }
}

impl Press {
    /// These keys, politely.
    #[must_use]
    pub fn keys(keys: impl Into<String>) -> Self {
        Self { keys: keys.into(), ..Self::default() }
    }
}

impl Say {
    /// These words, politely.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// The short form is a text, kept in one field; it can be written where all other fields are empty.
macro_rules! short_text {
    ($type:ty, $expecting:literal, $field:ident, $wrap:expr, $read:expr) => {
        impl Shorthand for $type {
            const EXPECTING: &'static str = $expecting;

            fn from_short(short: Scalar<'_>) -> Result<Self, String> {
                Ok(Self { $field: $wrap(short::text(short, Self::EXPECTING)?), ..Self::default() })
            }

            fn to_short(&self) -> Option<Scalar<'_>> {
                let text: String = $read(&self.$field)?;
                let plain = Self { $field: $wrap(text.clone()), ..Self::default() };
                (*self == plain).then(|| Scalar::Text(text.into()))
            }

            fn short_schema(generator: &mut SchemaGenerator) -> Schema {
                texts(generator)
            }
        }
    };
}

fn plain(text: String) -> String {
    text
}

fn plainly(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn optionally(text: &Option<String>) -> Option<String> {
    text.clone()
}

short_text!(Expect, "a text, or {contains: …}, {exact: …}, {matches: …}", contains, Some, optionally);
short_text!(Heard, "a text, or {contains: …}, {exact: …}, {matches: …}, {complete: …}", contains, Some, optionally);
short_text!(Press, "keys in quotes, or {keys: …, after: …}", keys, plain, plainly);
short_text!(Say, "a text in quotes, or {text: …, after: …}", text, plain, plainly);
short_text!(TransferExpected, "a target in quotes, or {to: …, answers: …}", to, plain, plainly);
short_text!(Fetched, "the name of a source, or {source: …, parameters: …}", source, plain, plainly);
short_text!(Pushed, "the name of a destination, or {to: …, body: …}", to, plain, plainly);
short_text!(Logged, "a text, or {level: …, contains: …}", contains, Some, optionally);

/// The short form is `true`.
macro_rules! short_true {
    ($type:ty, $expecting:literal) => {
        impl Shorthand for $type {
            const EXPECTING: &'static str = $expecting;

            fn from_short(short: Scalar<'_>) -> Result<Self, String> {
                short::yes(short, Self::EXPECTING).map(|()| Self::default())
            }

            fn to_short(&self) -> Option<Scalar<'_>> {
                (*self == Self::default()).then_some(Scalar::Flag(true))
            }

            fn short_schema(generator: &mut SchemaGenerator) -> Schema {
                truth(generator)
            }
        }
    };
}

short_true!(HangUp, "`true` or {after: 2s}");
short_true!(Moves, "`true` or {after: 2s}");
short_true!(Ended, "`true`, or {by: …, reason: …, outcome: …}");

impl Shorthand for Drain {
    const EXPECTING: &'static str = "a span of time such as 30s";

    fn from_short(short: Scalar<'_>) -> Result<Self, String> {
        let text = short::text(short, Self::EXPECTING)?;
        text.parse().map(|within| Self { within }).map_err(|error: super::SpanError| error.to_string())
    }

    fn to_short(&self) -> Option<Scalar<'_>> {
        Some(Scalar::Text(self.within.to_string().into()))
    }

    fn short_schema(generator: &mut SchemaGenerator) -> Schema {
        spans(generator)
    }
}

/// The words for how a call is not taken, with their status.
const REFUSALS: [(&str, u16); 4] = [("busy", 486), ("no_answer", 480), ("declined", 603), ("no_such_number", 404)];

impl Shorthand for Refuse {
    const EXPECTING: &'static str = "busy, no_answer, declined, no_such_number or {status: 503}";

    fn from_short(short: Scalar<'_>) -> Result<Self, String> {
        let word = short::text(short, Self::EXPECTING)?;
        let found = REFUSALS.into_iter().find(|(name, _)| *name == word);
        let (_, status) = found.ok_or_else(|| format!("`{word}` is not {}", Self::EXPECTING))?;
        Ok(Self { status, reason: None, after: None })
    }

    fn to_short(&self) -> Option<Scalar<'_>> {
        if self.reason.is_some() || self.after.is_some() {
            return None;
        }
        let found = REFUSALS.into_iter().find(|(_, status)| *status == self.status)?;
        Some(Scalar::Text(found.0.into()))
    }

    fn short_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": REFUSALS.map(|(word, _)| word) })
    }
}

impl Serialize for Silence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::For(span) => span.serialize(serializer),
            Self::UntilRobot => serializer.serialize_bool(true),
        }
    }
}

impl<'de> Deserialize<'de> for Silence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl de::Visitor<'_> for Either {
            type Value = Silence;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time such as 6s, or `true`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Silence, E> {
                text.parse().map(Silence::For).map_err(E::custom)
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Silence, E> {
                if flag { Ok(Silence::UntilRobot) } else { Err(E::custom("a step that does not happen is left out")) }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Silence {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Silence".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [spans(generator), truth(generator)] })
    }
}
