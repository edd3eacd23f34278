//! The document of a finished call: the `data` of `call.completed`, the record that
//! the API shows. One shape, whoever closes the call.

use crate::UnixMs;
use crate::calls::CallStart;
use callbox_dialogue::call::{Direction, EndReason, Party, Transport};
use callbox_dialogue::record::{CallRecord, EndedBy, Intent, Outcome, TransferRecord, Turn};
use callbox_dialogue::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of a finished call. Members without a value are `null`, so that a
/// receiver always finds them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallDocument {
    /// `call_…`
    pub call_id: String,
    /// Given by whoever placed the call, or by a header: ties calls together.
    pub relation_id: Option<String>,
    /// The customer's own name for the call.
    pub external_id: Option<String>,
    /// Who placed it.
    pub direction: Direction,
    /// How the other party was connected.
    pub transport: Transport,
    /// The caller's number, or URI where there is none.
    pub from: String,
    /// The callee's number, or URI where there is none.
    pub to: String,
    /// All that is known of the caller.
    pub caller: Party,
    /// All that is known of the callee.
    pub callee: Party,
    /// `num_…`
    pub number_id: Option<String>,
    /// `trk_…`
    pub trunk_id: Option<String>,
    /// Where of the trunk: the source of the INVITE, or the address that took it last.
    #[serde(default)]
    pub trunk_address: Option<String>,
    /// What talked.
    pub script: Option<ScriptUsed>,
    /// The outbound task it was an attempt of.
    pub task: Option<Value>,
    /// When.
    pub times: Times,
    /// How long.
    pub durations: Durations,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// `human`, `machine` …, where somebody found out.
    pub answered_by: Option<String>,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// Why.
    pub end_reason: Option<EndReason>,
    /// What the network said.
    pub sip: Option<SipFacts>,
    /// Why the script failed, for a person to read.
    pub script_error: Option<String>,
    /// In the tenant's words.
    pub disposition: Option<String>,
    /// What the caller wants.
    pub intent: Option<Intent>,
    /// In the tenant's words.
    pub tags: Vec<String>,
    /// JSON values by name.
    pub fields: BTreeMap<String, Arc<RawValue>>,
    /// The caller does not want to be called again.
    pub opt_out: bool,
    /// The last transfer.
    pub transfer: Option<TransferRecord>,
    /// What was said and heard, in order.
    pub transcript: Vec<Turn>,
    /// What was recorded.
    pub recordings: Vec<RecordingLink>,
    /// Codec, loss, jitter, MOS: as the media room counts them.
    pub media: Option<Value>,
    /// What the script used.
    pub usage: Option<UsageFacts>,
}

/// What talked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptUsed {
    /// `scr_…`
    pub id: String,
    /// 1, 2, 3 …
    pub version: u32,
    /// `sha256:…`
    pub digest: String,
}

/// Moments of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// It came in, or was placed.
    pub created: UnixMs,
    /// The far end rang.
    pub ringing: Option<UnixMs>,
    /// It was answered.
    pub answered: Option<UnixMs>,
    /// It was over.
    pub ended: Option<UnixMs>,
}

/// Spans of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// To the answer, or to the end.
    pub ring_ms: Option<u32>,
    /// From the answer to the end.
    pub talk_ms: Option<u32>,
}

/// What the SIP network said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipFacts {
    /// 100 to 699.
    pub status: Option<u16>,
    /// Reason phrase or `Reason` header.
    pub reason: Option<String>,
    /// Q.850 cause.
    pub q850: Option<u8>,
    /// The `Call-ID` header.
    pub call_id: Option<String>,
    /// What carried it: `udp`, `tcp`, `tls`, `ws`, `wss`.
    #[serde(default)]
    pub transport: Option<String>,
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingLink {
    /// `rec_…`
    pub id: String,
    /// Where to get it: a link that needs no key, where it expires.
    pub url: String,
    /// Until then; none where the URL needs a key.
    pub expires_at: Option<UnixMs>,
    /// Bytes.
    pub size: u64,
    /// How long it sounds.
    pub duration_ms: u64,
    /// Of the file, hex.
    pub sha256: String,
}

/// What the script used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFacts {
    /// CPU time, microseconds.
    pub script_us: u64,
    /// Fuel, where it is counted.
    pub fuel: Option<u64>,
    /// Bytes.
    pub peak_memory: u64,
}

/// The number of a party, or its URI.
#[must_use]
pub fn address(party: &Party) -> &str {
    party.number.as_deref().unwrap_or(&party.uri)
}

impl CallDocument {
    /// A call of which nothing is known but its beginning.
    #[must_use]
    pub fn begin(start: &CallStart) -> Self {
        Self {
            call_id: start.id.clone(),
            relation_id: start.relation_id.clone(),
            external_id: start.external_id.clone(),
            direction: start.direction,
            transport: start.transport,
            from: address(&start.caller).to_owned(),
            to: address(&start.callee).to_owned(),
            caller: start.caller.clone(),
            callee: start.callee.clone(),
            number_id: start.number_id.clone(),
            trunk_id: start.trunk_id.clone(),
            trunk_address: start.trunk_address.clone(),
            script: start.script.clone(),
            task: None,
            times: Times { created: start.created_at, ..Times::default() },
            durations: Durations::default(),
            outcome: None,
            answered_by: None,
            ended_by: None,
            end_reason: None,
            sip: start.sip_call_id.clone().map(|id| SipFacts { call_id: Some(id), ..SipFacts::default() }),
            script_error: None,
            disposition: None,
            intent: None,
            tags: Vec::new(),
            fields: BTreeMap::new(),
            opt_out: false,
            transfer: None,
            transcript: Vec::new(),
            recordings: Vec::new(),
            media: None,
            usage: None,
        }
    }

    /// The beginning and what the engine recorded. Times of the record count from
    /// the beginning. The call room adds media, usage and recordings.
    #[must_use]
    pub fn from_record(start: &CallStart, record: &CallRecord) -> Self {
        let at = |time: Time| start.created_at.plus(i64::try_from(time.0).unwrap_or(i64::MAX));
        let mut document = Self::begin(start);
        document.times.ringing = record.ringing.map(at);
        document.times.answered = record.answered.map(at);
        document.times.ended = record.ended.map(at);
        document.durations = Durations { ring_ms: record.ring_ms(), talk_ms: record.talk_ms() };
        document.outcome = record.outcome;
        document.ended_by = record.ended_by;
        document.end_reason = record.end_reason;
        let evidence = &record.evidence;
        document.sip = Some(SipFacts {
            status: evidence.sip_status,
            reason: evidence.sip_reason.clone(),
            q850: evidence.q850,
            call_id: start.sip_call_id.clone(),
            transport: None,
        })
        .filter(|facts| *facts != SipFacts::default());
        document.script_error.clone_from(&record.script_error);
        document.disposition.clone_from(&record.disposition);
        document.intent.clone_from(&record.intent);
        document.tags.clone_from(&record.tags);
        document.fields.clone_from(&record.fields);
        document.opt_out = record.opt_out;
        document.transfer.clone_from(&record.transfer);
        document.transcript.clone_from(&record.transcript);
        document
    }
}
