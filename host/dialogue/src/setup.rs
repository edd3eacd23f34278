//! What is settled before a call begins: who, limits, bindings, fallback.

use crate::call::CallInfo;
use crate::leg::VoiceSettings;
use crate::llm::Model;
use crate::script::Segment;
use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything an engine starts from. With the same setup, the same inputs at
/// the same times give the same outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Who calls whom.
    pub info: CallInfo,
    /// Wall clock at [`crate::Time::ZERO`], Unix milliseconds.
    pub started_unix_ms: u64,
    /// Seed of `random`.
    pub seed: [u8; 32],
    /// How the script speaks until it says otherwise.
    pub voice: VoiceSettings,
    /// Limits of the deployment.
    pub limits: Limits,
    /// Declared by the manifest and bound by the deployment, by name.
    pub sources: BTreeMap<String, Source>,
    /// Language models, likewise.
    #[serde(default)]
    pub models: BTreeMap<String, Model>,
    /// Destinations the manifest declares, by name.
    pub destinations: Vec<String>,
    /// Settings, with the manifest's defaults filled in.
    pub settings: BTreeMap<String, String>,
    /// Paths of the component's audio assets.
    pub assets: Vec<String>,
    /// What happens when the script fails.
    pub fallback: Fallback,
    /// Whether a recogniser exists for this call.
    pub speech_recognition: bool,
}

/// Limits of the deployment on one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time a script has after the call is over.
    pub grace: Millis,
    /// Longest call, from the answer.
    pub max_duration: Millis,
    /// Longest wait for the answer of an outbound call, and longest time an
    /// inbound one may ring.
    pub ring_timeout: Millis,
    /// The host rings by itself when the script has not answered by then.
    pub auto_ring: Millis,
    /// End the call when nothing was heard and nothing said for so long
    /// (`silence_timeout`); 0 for never.
    pub silence_timeout: Millis,
    /// Prompts queued at once.
    pub max_queued_prompts: u16,
    /// Handles alive at once.
    pub max_handles: u16,
    /// Pushes of one call.
    pub max_pushes: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grace: 5_000,
            max_duration: 3_600_000,
            ring_timeout: 60_000,
            auto_ring: 200,
            silence_timeout: 0,
            max_queued_prompts: 64,
            max_handles: 256,
            max_pushes: 64,
        }
    }
}

/// A context source, as the engine sees it: no address, no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Ask for it as soon as the call comes in.
    pub prefetch: bool,
    /// Longest wait for an answer.
    pub timeout: Millis,
    /// What happens when a prefetched source is late or broken.
    pub on_failure: SourcePolicy,
}

/// What happens when a prefetched source is late or broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePolicy {
    /// Go on: the script gets a typed error when it asks.
    #[default]
    Continue,
    /// End the script and play the number's fallback.
    Fallback,
    /// Reject the call with 503, or hang up when it was answered.
    Reject,
}

/// What the caller gets when the script fails. Never dead air.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Fallback {
    /// Said first, where there is something to say.
    #[serde(default)]
    pub say: Vec<Segment>,
    /// Then the call goes here (REFER); else it ends.
    #[serde(default)]
    pub transfer_to: Option<String>,
}
