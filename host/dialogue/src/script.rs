//! What a script asks of its call, and what it is told: the one serialisable
//! boundary between guests and the platform.
//!
//! Every import of `callbox:dialogue` becomes one [`HostCall`], answered by one
//! [`Reply`]. The sequence of both is the call's tape. A script makes one call
//! at a time; `start-*` calls return a [`Handle`] that later calls name.

use crate::call::{CallInfo, EndCause};
use crate::llm;
use crate::time::Millis;
use callbox_grammar::Grammar;
use serde::{Deserialize, Serialize};

/// Names something that a script waits for: a playback, a listening, a
/// transfer, a fetch, a timer, a writer, a conversation. Never reused within a call; 0 is the
/// event queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub u32);

impl Handle {
    /// The call's event queue (`events.subscribe`).
    pub const EVENTS: Self = Self(0);
}

/// One piece of what is to be heard (`voice.segment`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Plain text.
    Text(String),
    /// SSML.
    Ssml(String),
    /// An audio file inside the component, by its path.
    Asset(String),
    /// Nothing for so long.
    Silence(Millis),
}

/// What may cut off a prompt (`voice.barge-in`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BargeIn {
    /// The caller's voice.
    pub speech: bool,
    /// A key.
    pub digits: bool,
}

/// Where a prompt goes when something is being played already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queueing {
    /// Behind what is queued.
    #[default]
    Append,
    /// In place of it.
    Replace,
}

/// What is said, and what may cut it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// What is to be heard.
    pub segments: Vec<Segment>,
    /// What may cut it off.
    pub barge_in: BargeIn,
    /// Where it goes.
    #[serde(default)]
    pub queueing: Queueing,
}

/// Why a prompt stopped sounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlayoutEnd {
    /// All of it reached the line.
    Finished,
    /// The caller spoke.
    CutBySpeech,
    /// The caller pressed a key.
    CutByDigits,
    /// Stopped or replaced.
    Stopped,
}

/// What the caller got of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playout {
    /// Why it stopped sounding.
    pub end: PlayoutEnd,
    /// Audio that reached the line.
    pub played: Millis,
    /// The text up to the last word whose audio left the host.
    pub heard_text: String,
}

/// Which keys to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigitOptions {
    /// Fewer are a no-match; at least 1.
    pub min: u8,
    /// The collection ends after so many; `min` to 64.
    pub max: u8,
    /// Ends the collection and is not part of the result.
    pub terminator: Option<char>,
    /// Longest pause between two keys.
    pub digit_timeout: Millis,
}

/// How to listen (`voice.listen-options`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenOptions {
    /// BCP 47 tags, the likeliest first; empty for the call's language.
    pub languages: Vec<String>,
    /// Words and phrases to expect.
    pub hints: Vec<String>,
    /// What is an answer, and what it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grammar: Option<Grammar>,
    /// IANA zone whose today the grammar counts from; none for UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Silence before any speech or digit, from the end of the prompt.
    pub start_timeout: Millis,
    /// Silence that ends the utterance.
    pub end_silence: Millis,
    /// Silence that ends it where what was heard is a whole answer that cannot go on. Never longer than `end_silence`.
    #[serde(default = "complete_silence")]
    pub complete_silence: Millis,
    /// Longest utterance.
    pub max_length: Millis,
    /// Accept keys.
    pub digits: Option<DigitOptions>,
    /// Accept speech.
    pub speech: bool,
    /// Keys pressed before this listening count too.
    pub type_ahead: bool,
    /// What is heard is secret.
    pub sensitive: bool,
    /// Speech interrupts only past this long.
    pub min_speech: Millis,
    /// Speech interrupts only past this many words.
    pub min_words: u8,
    /// A prompt that was paused by a sound goes on when no words have come for so long; 0: the sound cuts it off.
    #[serde(default = "resume_after")]
    pub resume_after: Millis,
    /// Deliver interim hypotheses.
    pub partials: bool,
    /// Provider-specific settings, JSON text each.
    pub extra: Vec<(String, String)>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            hints: Vec::new(),
            grammar: None,
            zone: None,
            start_timeout: 5_000,
            end_silence: 700,
            complete_silence: complete_silence(),
            max_length: 30_000,
            digits: None,
            speech: true,
            type_ahead: false,
            sensitive: false,
            min_speech: 200,
            min_words: 0,
            resume_after: resume_after(),
            partials: false,
            extra: Vec::new(),
        }
    }
}

const fn complete_silence() -> Millis {
    300
}

const fn resume_after() -> Millis {
    2_000
}

/// What was recognised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utterance {
    /// The words.
    pub text: String,
    /// 0 to 1 where the recogniser has an honest measure.
    pub confidence: Option<f32>,
    /// BCP 47 tag.
    pub language: String,
    /// Begin, since the listening began.
    pub start: Millis,
    /// End, since the listening began.
    pub end: Millis,
}

/// What came of a listening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// The caller spoke.
    Speech(Utterance),
    /// The caller pressed keys.
    Digits(String),
    /// Nobody spoke or dialled in time.
    Nothing,
    /// Too few keys (given), or speech that could not be made out.
    NoMatch(String),
}

/// How a call is given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferMode {
    /// SIP REFER. A browser ([`Transport::Webrtc`](crate::call::Transport::Webrtc)) cannot be asked for that: its calls
    /// are bridged.
    Refer,
    /// The host dials and joins the legs.
    Bridge,
}

impl TransferMode {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refer => "refer",
            Self::Bridge => "bridge",
        }
    }
}

/// How to transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferOptions {
    /// REFER or bridge.
    pub mode: TransferMode,
    /// Give up when not answered by then.
    pub ring_timeout: Millis,
    /// What the target sees as the caller.
    pub caller_id: Option<String>,
    /// Extra headers of the new leg.
    pub headers: Vec<(String, String)>,
}

/// How a transfer ended (`call.transfer-outcome`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferOutcome {
    /// The target took the call.
    Connected,
    /// SIP status and reason; the script has the caller back.
    Failed(u16, String),
    /// Bridged, and the target hung up while the caller stayed.
    Returned,
}

/// Something that happened by itself (`events.event`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A key.
    Digit(char),
    /// The caller began to speak.
    SpeechStarted,
    /// The caller stopped.
    SpeechEnded,
    /// An interim hypothesis.
    Partial(Utterance),
    /// JSON sent through the API.
    Message(String),
    /// The call is over.
    Ended(EndCause),
    /// The host is going down; finish within so many ms.
    Draining(Millis),
    /// By name, with JSON details.
    Other(String, String),
}

/// A wall clock in a time zone (`clock.local-time`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTime {
    /// 2026.
    pub year: i16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 Monday to 7 Sunday.
    pub weekday: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// Minutes east of UTC.
    pub utc_offset: i16,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// Worth knowing.
    Info,
    /// Not as it should be.
    Warn,
    /// Something failed.
    Error,
}

impl LogLevel {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One import, called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum HostCall {
    /// `call.get-info` → [`HostReply::Info`].
    GetInfo,
    /// `call.ring` → `Done`.
    Ring,
    /// `call.early-media` → `Done`.
    EarlyMedia,
    /// `call.answer` → `Done`.
    Answer,
    /// `call.reject` → `Done`.
    Reject {
        /// 400 to 699.
        status: u16,
        /// Reason phrase.
        reason: Option<String>,
    },
    /// `call.hangup` → `Done`.
    Hangup,
    /// `call.send-digits` → `Done`.
    SendDigits {
        /// Digits and pauses.
        digits: String,
    },
    /// `call.start-transfer` → `Handle`.
    StartTransfer {
        /// SIP URI or number.
        target: String,
        /// How.
        options: TransferOptions,
    },
    /// `transferring.wait` → `Transfer`. `call.transfer` is both in one.
    AwaitTransfer {
        /// The transfer.
        handle: Handle,
    },
    /// `call.transfer` → `Transfer`.
    Transfer {
        /// SIP URI or number.
        target: String,
        /// How.
        options: TransferOptions,
    },
    /// `transferring.cancel` → `Done`.
    CancelTransfer {
        /// The transfer.
        handle: Handle,
    },
    /// `voice.set-default` → `Done`.
    SetDefault {
        /// `voice`, `language`, `rate`.
        name: String,
        /// Its value.
        value: String,
    },
    /// `voice.say` → `Playout`.
    Say {
        /// What.
        prompt: Prompt,
    },
    /// `voice.start-say` → `Handle`.
    StartSay {
        /// What.
        prompt: Prompt,
    },
    /// `playback.wait` → `Playout`.
    AwaitPlayback {
        /// The playback.
        handle: Handle,
    },
    /// `playback.stop` → `Playout`.
    StopPlayback {
        /// The playback.
        handle: Handle,
    },
    /// `voice.wait-until-quiet` → `Done`.
    AwaitQuiet,
    /// `speech-writer.open` → `Handle` (that of the playback too).
    OpenWriter {
        /// What may cut it off.
        barge_in: BargeIn,
    },
    /// `speech-writer.write` → `MaybePlayout`.
    Write {
        /// The writer.
        handle: Handle,
        /// What comes next.
        text: String,
    },
    /// `speech-writer.finish` → `Handle`.
    FinishWriter {
        /// The writer.
        handle: Handle,
    },
    /// `voice.listen` → `Heard`.
    Listen {
        /// How.
        options: Box<ListenOptions>,
    },
    /// `voice.ask` → `Answer`.
    Ask {
        /// What is said.
        prompt: Prompt,
        /// How to listen.
        options: Box<ListenOptions>,
    },
    /// `voice.start-listen` → `Handle`.
    StartListen {
        /// How.
        options: Box<ListenOptions>,
    },
    /// `listening.wait` → `Heard`.
    AwaitListening {
        /// The listening.
        handle: Handle,
    },
    /// `listening.next-partial` → `MaybeUtterance`.
    NextPartial {
        /// The listening.
        handle: Handle,
    },
    /// `listening.alternatives` → `Utterances`.
    Alternatives {
        /// The listening.
        handle: Handle,
    },
    /// `listening.stop` → `Heard`.
    StopListening {
        /// The listening.
        handle: Handle,
    },
    /// `listening.meaning` → `MaybeJson`; without a handle `voice.meaning`, of the last answer of `ask` or `listen`.
    Meaning {
        /// The listening.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handle: Option<Handle>,
    },
    /// `events.next` → `MaybeEvent`.
    NextEvent {
        /// None waits for ever.
        timeout: Option<Millis>,
    },
    /// `events.enable` → `Flag`.
    EnableEvent {
        /// By name.
        kind: String,
    },
    /// `wait.after` → `Handle`.
    After {
        /// How long.
        delay: Millis,
    },
    /// `wait.sleep` → `Done`.
    Sleep {
        /// How long.
        delay: Millis,
    },
    /// `wait.select` → `Ready`.
    Select {
        /// What to wait for.
        handles: Vec<Handle>,
        /// None waits for ever.
        timeout: Option<Millis>,
    },
    /// `pollable.ready` → `Flag`. (`pollable.block` is a select of one.)
    IsReady {
        /// Of what.
        handle: Handle,
    },
    /// A handle was dropped → `Done`.
    Release {
        /// Which.
        handle: Handle,
    },
    /// `clock.now` → `Number` (Unix milliseconds).
    Now,
    /// `clock.elapsed` → `Number` (milliseconds).
    Elapsed,
    /// `clock.local` → `LocalTime`.
    LocalTime {
        /// IANA name.
        zone: String,
    },
    /// `random.number` → `Number`.
    RandomNumber,
    /// `random.bytes` → `Bytes`.
    RandomBytes {
        /// How many, at most 1 024.
        count: u32,
    },
    /// `context.fetch` → `Json`.
    Fetch {
        /// By the manifest's name.
        source: String,
        /// Name and value.
        parameters: Vec<(String, String)>,
    },
    /// `context.start-fetch` → `Handle`.
    StartFetch {
        /// By the manifest's name.
        source: String,
        /// Name and value.
        parameters: Vec<(String, String)>,
    },
    /// `fetching.wait` → `Json`.
    AwaitFetch {
        /// The request.
        handle: Handle,
    },
    /// `llm.conversation.open` → `Handle`.
    OpenConversation {
        /// By the manifest's name.
        model: String,
    },
    /// `llm.conversation.add` → `Done`.
    AddMessage {
        /// The conversation.
        handle: Handle,
        /// Whose words.
        role: llm::Role,
        /// They.
        text: String,
    },
    /// `llm.conversation.add-tool` → `Done`.
    AddTool {
        /// The conversation.
        handle: Handle,
        /// The tool.
        tool: llm::Tool,
    },
    /// `llm.conversation.add-tool-result` → `Done`.
    AddToolResult {
        /// The conversation.
        handle: Handle,
        /// The call that it answers.
        id: String,
        /// What came of it.
        content: String,
    },
    /// `llm.conversation.set-temperature`, `set-max-tokens`, `set-extra` → `Done`.
    SetModel {
        /// The conversation.
        handle: Handle,
        /// What.
        setting: llm::Setting,
    },
    /// `llm.conversation.reply` → `ModelReply`.
    ModelReply {
        /// The conversation.
        handle: Handle,
        /// What may cut it off.
        barge_in: BargeIn,
    },
    /// `llm.conversation.start-reply` → `Handle`.
    StartModelReply {
        /// The conversation.
        handle: Handle,
        /// What may cut it off.
        barge_in: BargeIn,
    },
    /// `llm.conversation.ask` → `ModelTurn`.
    AskModel {
        /// The conversation.
        handle: Handle,
        /// What may cut it off.
        barge_in: BargeIn,
        /// How to listen.
        options: Box<ListenOptions>,
    },
    /// `llm.conversation.complete` → `ModelReply`.
    Complete {
        /// The conversation.
        handle: Handle,
    },
    /// `llm.conversation.start-complete` → `Handle`.
    StartComplete {
        /// The conversation.
        handle: Handle,
    },
    /// `llm.replying.wait` → `ModelReply`.
    AwaitModelReply {
        /// The reply.
        handle: Handle,
    },
    /// `llm.replying.cancel` → `ModelReply`.
    CancelModelReply {
        /// The reply.
        handle: Handle,
    },
    /// `llm.conversation.messages` → `Messages`.
    ModelMessages {
        /// The conversation.
        handle: Handle,
    },
    /// `results.set` → `Done`.
    SetField {
        /// Name.
        name: String,
        /// JSON text.
        value: String,
    },
    /// `results.set-disposition` → `Done`.
    SetDisposition {
        /// In the tenant's words.
        disposition: String,
    },
    /// `results.set-intent` → `Done`.
    SetIntent {
        /// What the caller wants.
        name: String,
        /// `A` to `F`.
        grade: Option<char>,
    },
    /// `results.add-tag` → `Done`.
    AddTag {
        /// The tag.
        tag: String,
    },
    /// `results.set-opt-out` → `Done`.
    SetOptOut,
    /// `results.enter-node` → `Done`.
    EnterNode {
        /// The node.
        name: String,
    },
    /// `results.push` → `Text` (the push's id).
    Push {
        /// By the manifest's name.
        destination: String,
        /// JSON text.
        body: String,
    },
    /// `settings.get` → `MaybeText`.
    GetSetting {
        /// By the manifest's name.
        name: String,
    },
    /// `log.write` → `Done`.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// What.
        message: String,
    },
}

/// What a host call returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum HostReply {
    /// Nothing to tell.
    Done,
    /// The call.
    Info(Box<CallInfo>),
    /// Something to wait for.
    Handle(Handle),
    /// What the caller got of a prompt.
    Playout(Playout),
    /// The same, where there may be none yet.
    MaybePlayout(Option<Playout>),
    /// What was heard.
    Heard(Heard),
    /// What was heard, and what the caller got of the prompt.
    Answer {
        /// What the caller said or pressed.
        heard: Heard,
        /// What the caller got of the prompt.
        prompt: Playout,
    },
    /// An interim hypothesis.
    MaybeUtterance(Option<Utterance>),
    /// Hypotheses, the best first.
    Utterances(Vec<Utterance>),
    /// How a transfer ended.
    Transfer(TransferOutcome),
    /// The next event.
    MaybeEvent(Option<Event>),
    /// Indexes of what is ready.
    Ready(Vec<u32>),
    /// Yes or no.
    Flag(bool),
    /// A time or a random number.
    Number(u64),
    /// Random bytes.
    Bytes(Vec<u8>),
    /// A wall clock.
    LocalTime(LocalTime),
    /// JSON text.
    Json(String),
    /// JSON text, where there may be none.
    MaybeJson(Option<String>),
    /// Text.
    Text(String),
    /// Text, where there may be none.
    MaybeText(Option<String>),
    /// What a model replied.
    ModelReply(Box<llm::ModelReply>),
    /// What a model replied, and what the caller said then.
    ModelTurn(Box<llm::ModelTurn>),
    /// A conversation with a model.
    Messages(Vec<llm::Message>),
}

/// Why a host call failed (`types.error`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "detail", rename_all = "snake_case")]
pub enum HostError {
    /// The call is over.
    #[error("the call is over: {0:?}")]
    Ended(EndCause),
    /// An argument the host cannot work with.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// The manifest does not declare it.
    #[error("denied: {0}")]
    Denied(String),
    /// Unknown name.
    #[error("not found: {0}")]
    NotFound(String),
    /// A limit is reached.
    #[error("limit exceeded: {0}")]
    LimitExceeded(String),
    /// The operation's own time limit passed.
    #[error("timed out")]
    TimedOut,
    /// A provider or a back end failed.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The answer to a [`HostCall`].
pub type Reply = Result<HostReply, HostError>;

/// How the script itself came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum ScriptEnd {
    /// `run` returned `ok`.
    Returned,
    /// `run` returned an error.
    Failed {
        /// The script's own words.
        message: String,
    },
    /// It trapped: unreachable, out of bounds, stack overflow, a panic.
    Trapped {
        /// What, where, in which import: for a person to read.
        message: String,
    },
    /// It spent a budget: CPU time of a turn or of the call, memory, host calls.
    Budget {
        /// Which, and what was allowed.
        message: String,
    },
    /// It could not be started: no free instance, broken artefact.
    NotStarted {
        /// Why.
        message: String,
    },
}
