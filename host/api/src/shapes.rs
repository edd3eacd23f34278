//! How types of rooms that know no OpenAPI look in JSON. They are only described
//! here; a test compares each with what is really written.
#![expect(dead_code, reason = "the fields are there to be described")]

use callbox_store::UnixMs;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// One thing said or heard.
#[derive(ToSchema)]
#[schema(as = Turn)]
pub(crate) struct Turn {
    /// Counts from 1.
    seq: u32,
    /// `robot` or `caller`.
    #[schema(example = "robot")]
    role: String,
    /// What was to be said, or was heard. Masked where it is secret.
    text: String,
    /// What the caller got of it.
    heard_text: Option<String>,
    /// Keys. Masked where they are secret.
    digits: Option<String>,
    /// Since the beginning of the call.
    start_ms: u64,
    /// Since the beginning of the call.
    end_ms: u64,
    /// The breadcrumb node it belongs to.
    node: Option<String>,
    /// `speech` or `digits`.
    interrupted_by: Option<String>,
    /// Of the recogniser.
    confidence: Option<f32>,
    /// Of a robot's turn that answers the caller.
    latency: Option<Latency>,
}

/// How long a caller waited for an answer, from the end of the speech by the time of its audio, or from the last key,
/// to the first packet of the answer. The parts add up to the total.
#[derive(ToSchema)]
#[schema(as = Latency)]
pub(crate) struct Latency {
    /// Until it was clear that the caller was done.
    endpointing_ms: u32,
    /// Then until the result was there.
    recognition_ms: u32,
    /// Then until the script had something to say.
    script_ms: u32,
    /// Of that, what a language model took to its first token, where one wrote the answer.
    first_token_ms: Option<u32>,
    /// Then until it could be played.
    synthesis_ms: u32,
    /// Then until its first packet left.
    playout_ms: u32,
    /// All of it.
    total_ms: u32,
}

/// One thing that happened.
#[derive(ToSchema)]
#[schema(as = TimelineEntry)]
pub(crate) struct TimelineEntry {
    /// Milliseconds since the beginning of the call.
    at: u64,
    /// A stable word: `created`, `ringing`, `answered`, `prompt_started`, `digit`, `fetched`, `push`, `ended` …
    kind: String,
    /// For a person; secrets masked.
    detail: String,
}

/// What the caller gets when the script fails.
#[derive(ToSchema)]
#[schema(as = Fallback)]
pub(crate) struct Fallback {
    /// Said first: at most 16 segments.
    #[schema(required = false, max_items = 16)]
    say: Vec<Segment>,
    /// Then the call goes here, a SIP URI or a number; else it ends.
    #[schema(max_length = 255)]
    transfer_to: Option<String>,
}

/// One piece of what is to be heard.
#[derive(ToSchema)]
#[schema(as = Segment, rename_all = "snake_case")]
pub(crate) enum Segment {
    /// Plain text, at most 4,000 bytes.
    Text(String),
    /// SSML, at most 4,000 bytes.
    Ssml(String),
    /// An audio file inside the component, by its path.
    Asset(String),
    /// Nothing, for so many milliseconds, at most 60,000.
    Silence(u32),
}

/// One thing that was looked at in an upload.
#[derive(ToSchema)]
#[schema(as = Check)]
pub(crate) struct Check {
    /// What: `imports`, `compiled` …
    name: String,
    /// `ok`, or `warning` for what is allowed but worth knowing.
    #[schema(example = "ok")]
    verdict: String,
    /// For a person.
    detail: String,
}

/// All that is known of a call; once it is over, the `data` of `call.completed`.
#[derive(ToSchema)]
#[schema(as = CallRecord)]
pub(crate) struct CallRecord {
    /// `call_…`
    call_id: String,
    /// Given by whoever placed the call, or by the header `X-Call-Relation-Id`: ties calls together.
    relation_id: Option<String>,
    /// Your own name for the call.
    external_id: Option<String>,
    /// `inbound` or `outbound`.
    direction: String,
    /// `sip`, `webrtc` or `simulated`.
    transport: String,
    /// The caller's number, or URI where there is none.
    from: String,
    /// The callee's number, or URI where there is none.
    to: String,
    /// All that is known of the caller.
    caller: Party,
    /// All that is known of the callee.
    callee: Party,
    /// `num_…`
    number_id: Option<String>,
    /// `trk_…`
    trunk_id: Option<String>,
    /// Where of the trunk: the source of the INVITE, or the address that took it last.
    trunk_address: Option<String>,
    /// What talked.
    script: Option<ScriptUsed>,
    /// The outbound task it was an attempt of.
    #[schema(value_type = Option<Object>)]
    task: Option<Value>,
    /// When.
    times: Times,
    /// How long.
    durations: Durations,
    /// `answered`, `busy`, `no_answer`, `refused`, `invalid_number`, `network_error`, `cancelled`, `unreachable`.
    outcome: Option<String>,
    /// `human`, `machine` …, where somebody found out.
    answered_by: Option<String>,
    /// `caller`, `script` or `platform`.
    ended_by: Option<String>,
    /// `caller_hangup`, `script_returned`, `script_trap`, `transfer_completed` …
    end_reason: Option<String>,
    /// What the network said.
    sip: Option<SipFacts>,
    /// Why the script failed, for a person.
    script_error: Option<String>,
    /// In the script's words.
    disposition: Option<String>,
    /// What the caller wants.
    intent: Option<Intent>,
    /// In the script's words.
    tags: Vec<String>,
    /// JSON values by name.
    fields: BTreeMap<String, Value>,
    /// The caller does not want to be called again.
    opt_out: bool,
    /// The last transfer.
    transfer: Option<Transfer>,
    /// What was said and heard, in order.
    transcript: Vec<Turn>,
    /// What was recorded.
    recordings: Vec<RecordingLink>,
    /// Codec, loss, jitter, MOS.
    #[schema(value_type = Option<Object>)]
    media: Option<Value>,
    /// What the script used.
    usage: Option<Usage>,
}

/// One end of a call.
#[derive(ToSchema)]
#[schema(as = Party)]
pub(crate) struct Party {
    /// As signalled.
    uri: String,
    /// E.164, where one could be derived.
    number: Option<String>,
    /// The name shown on displays; the caller chooses it.
    display_name: Option<String>,
}

/// What talked.
#[derive(ToSchema)]
#[schema(as = ScriptUsed)]
pub(crate) struct ScriptUsed {
    /// `scr_…`
    id: String,
    /// 1, 2, 3 …
    version: u32,
    /// `sha256:…`
    digest: String,
}

/// Moments of a call.
#[derive(ToSchema)]
#[schema(as = Times)]
pub(crate) struct Times {
    /// It came in, or was placed.
    created: UnixMs,
    /// The far end rang.
    ringing: Option<UnixMs>,
    /// It was answered.
    answered: Option<UnixMs>,
    /// It was over.
    ended: Option<UnixMs>,
}

/// Spans of a call.
#[derive(ToSchema)]
#[schema(as = Durations)]
pub(crate) struct Durations {
    /// To the answer, or to the end.
    ring_ms: Option<u32>,
    /// From the answer to the end.
    talk_ms: Option<u32>,
}

/// What the SIP network said.
#[derive(ToSchema)]
#[schema(as = SipFacts)]
pub(crate) struct SipFacts {
    /// 100 to 699.
    status: Option<u16>,
    /// Reason phrase, or the text of a `Reason` header.
    reason: Option<String>,
    /// Q.850 cause.
    q850: Option<u8>,
    /// The `Call-ID` header.
    call_id: Option<String>,
    /// What carried it: `udp`, `tcp`, `tls`, `ws`, `wss`.
    transport: Option<String>,
}

/// What the caller wants.
#[derive(ToSchema)]
#[schema(as = Intent)]
pub(crate) struct Intent {
    /// In the script's words.
    name: String,
    /// `A` to `F`.
    #[schema(value_type = Option<String>)]
    grade: Option<char>,
}

/// A transfer that was tried.
#[derive(ToSchema)]
#[schema(as = Transfer)]
pub(crate) struct Transfer {
    /// SIP URI or number.
    target: String,
    /// `refer` or `bridge`.
    mode: String,
    /// Milliseconds since the beginning of the call.
    at: u64,
    /// How it ended; null while it runs.
    outcome: Option<Value>,
}

/// What was recorded.
#[derive(ToSchema)]
#[schema(as = RecordingLink)]
pub(crate) struct RecordingLink {
    /// `rec_…`
    id: String,
    /// Where to get it, with a key.
    url: String,
    /// Until then.
    expires_at: Option<UnixMs>,
    /// Bytes.
    size: u64,
    /// How long it sounds.
    duration_ms: u64,
    /// Of the file, hex.
    sha256: String,
}

/// What the script used.
#[derive(ToSchema)]
#[schema(as = Usage)]
pub(crate) struct Usage {
    /// CPU time, microseconds.
    script_us: u64,
    /// Fuel, where it is counted.
    fuel: Option<u64>,
    /// Bytes.
    peak_memory: u64,
}
