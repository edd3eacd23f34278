//! What is left of a call, as far as the engine knows it: the core of
//! `call.completed`. The call room adds what it alone knows (SIP status, media
//! statistics, usage, recordings).

use crate::call::{Direction, EndReason, Evidence};
use crate::time::{Millis, Time};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The record of one call. Times are relative to the beginning of the call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CallRecord {
    /// When the far end began to ring.
    pub ringing: Option<Time>,
    /// When it was answered.
    pub answered: Option<Time>,
    /// When it was over.
    pub ended: Option<Time>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// Why.
    pub end_reason: Option<EndReason>,
    /// What the network said.
    pub evidence: Evidence,
    /// Why the script failed, for a person to read.
    pub script_error: Option<String>,
    /// `results.set-disposition`.
    pub disposition: Option<String>,
    /// `results.set-intent`.
    pub intent: Option<Intent>,
    /// `results.add-tag`.
    pub tags: Vec<String>,
    /// `results.set`: JSON values by name.
    pub fields: BTreeMap<String, Arc<RawValue>>,
    /// `results.set-opt-out`.
    pub opt_out: bool,
    /// The last transfer.
    pub transfer: Option<TransferRecord>,
    /// What was said and heard, in order.
    pub transcript: Vec<Turn>,
    /// What happened, in order. Bounded.
    pub timeline: Vec<TimelineEntry>,
    /// Entries that did not fit into the timeline, and turns that did not fit
    /// into the transcript.
    pub timeline_dropped: u32,
    /// What was asked of systems outside, in order: for figures and traces, not for documents. Bounded.
    #[serde(skip)]
    pub exchanges: Vec<Exchange>,
}

/// Something that was asked of a system outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Of what kind of system.
    pub with: With,
    /// Its name in the manifest.
    pub name: String,
    /// When it was asked.
    pub asked: Time,
    /// When it had answered, or was waited for no longer; none while it runs.
    pub over: Option<Time>,
    /// It gave no answer, or none that could be used.
    pub failed: bool,
}

/// A kind of system outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// A context source.
    Source,
    /// A language model.
    Model,
}

/// What came of a call or an attempt (`outcome` in `API.md`), as far as the
/// engine can tell; the dialler knows more kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody or something answered.
    Answered,
    /// 486, 600.
    Busy,
    /// 408, 480, ring timeout.
    NoAnswer,
    /// 603, 403, or rejected by the script.
    Refused,
    /// 404, 410, 484, 604.
    InvalidNumber,
    /// 5xx and the like.
    NetworkError,
    /// The caller gave up, or we did.
    Cancelled,
    /// No answer at all from the network.
    Unreachable,
}

/// Who ended the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The far end.
    Caller,
    /// The script.
    Script,
    /// The platform.
    Platform,
}

/// What the caller wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// In the tenant's words.
    pub name: String,
    /// `A` to `F`.
    pub grade: Option<char>,
}

/// A transfer that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRecord {
    /// SIP URI or number.
    pub target: String,
    /// REFER or bridge.
    pub mode: crate::script::TransferMode,
    /// When it was asked for.
    pub at: Time,
    /// How it ended; none while it runs.
    pub outcome: Option<crate::script::TransferOutcome>,
}

/// Who spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The script.
    Robot,
    /// The other party.
    Caller,
}

/// One thing said or heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Counts from 1.
    pub seq: u32,
    /// Who.
    pub role: Role,
    /// What was to be said, or was heard. Masked where it is secret.
    pub text: String,
    /// What the caller got of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_text: Option<String>,
    /// Keys. Masked where they are secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<String>,
    /// Since the beginning of the call.
    pub start_ms: u64,
    /// Since the beginning of the call.
    pub end_ms: u64,
    /// The breadcrumb node it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `speech` or `digits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted_by: Option<String>,
    /// Of the recogniser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Of a robot's turn that answers the caller: how long the caller waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

impl Turn {
    /// Whether nothing of it will change: what the caller says or presses is whole when it is written down, a prompt when
    /// it is known how much of it was heard.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.role == Role::Caller || self.heard_text.is_some()
    }
}

/// How long a caller waited for an answer, in parts that follow each other and add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// From the end of the speech, by the time of its audio, or from the last key, until it was clear that no more
    /// would come.
    pub endpointing_ms: Millis,
    /// From there until the result was there.
    pub recognition_ms: Millis,
    /// From there until the script had something to say: the end of a prompt that was cut, the script's own work and
    /// what it waited for.
    pub script_ms: Millis,
    /// How much of that a language model took to its first token, where one wrote the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<Millis>,
    /// From there until the prompt could be played.
    pub synthesis_ms: Millis,
    /// From there until its first packet left: what was queued before it, and the way to the wire.
    pub playout_ms: Millis,
    /// From the end of the speech or the last key to that packet.
    pub total_ms: Millis,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpointing_ms, recognition_ms, script_ms, first_token_ms, synthesis_ms, playout_ms, total_ms } =
            self;
        write!(
            f,
            "answered after {total_ms} ms: endpointing {endpointing_ms}, recognition {recognition_ms}, script {script_ms}"
        )?;
        if let Some(first) = first_token_ms {
            write!(f, " (of it {first} to the model's first token)")?;
        }
        write!(f, ", synthesis {synthesis_ms}, playout {playout_ms}")
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Time,
    /// A stable word: `created`, `ringing`, `early_media`, `answered`, `prompt_started`,
    /// `prompt_paused`, `prompt_resumed`, `prompt_ended`, `prompt_failed`, `digit`, `digits_sent`, `listening`, `turn`,
    /// `heard`, `recogniser_failed`, `fetch`, `fetched`, `model`, `model_replied`, `push`, `node`,
    /// `message`, `transfer`, `log`, `drain`, `script_ended`, `script_error`,
    /// `script_stopped`, `fallback`, `ended`, `leg_silent`.
    pub kind: String,
    /// For a person to read; secrets masked.
    pub detail: String,
}

/// Durations of a record, derived.
impl CallRecord {
    /// How long the caller waited for each answer, in order: for figures. While the call runs the list only grows.
    pub fn latencies(&self) -> impl Iterator<Item = Latency> + '_ {
        self.transcript.iter().filter_map(|turn| turn.latency)
    }

    /// From the creation to the answer, or to the end.
    #[must_use]
    pub fn ring_ms(&self) -> Option<Millis> {
        let end = self.answered.or(self.ended)?;
        Some(u32::try_from(end.0).unwrap_or(u32::MAX))
    }

    /// From the answer to the end.
    #[must_use]
    pub fn talk_ms(&self) -> Option<Millis> {
        let (answered, ended) = (self.answered?, self.ended?);
        Some(u32::try_from(ended.since(answered)).unwrap_or(u32::MAX))
    }

    /// Inbound calls are `answered` or what our side said; see [`Outcome`].
    #[must_use]
    pub fn outcome_for(direction: Direction, answered: bool, status: Option<u16>) -> Outcome {
        if answered {
            return Outcome::Answered;
        }
        match (direction, status) {
            (_, Some(487)) => Outcome::Cancelled,
            (Direction::Inbound, None) => Outcome::Cancelled,
            (_, Some(486 | 600)) => Outcome::Busy,
            (_, Some(408 | 480)) => Outcome::NoAnswer,
            (_, Some(403 | 603 | 607 | 608)) => Outcome::Refused,
            (_, Some(404 | 410 | 484 | 604)) => Outcome::InvalidNumber,
            (Direction::Inbound, Some(_)) => Outcome::Refused,
            (Direction::Outbound, Some(_)) => Outcome::NetworkError,
            (Direction::Outbound, None) => Outcome::Unreachable,
        }
    }
}
