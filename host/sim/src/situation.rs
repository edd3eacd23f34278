//! What is settled before a simulated call begins.

use crate::model::ModelPlan;
use callbox_dialogue::call::{CallInfo, Party};
use callbox_dialogue::leg::VoiceSettings;
use callbox_dialogue::llm::Model;
use callbox_dialogue::setup::{Fallback, Limits, Setup, Source, SourcePolicy};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{CallId, Direction, HostError, Transport};
use callbox_script::Manifest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How fast everybody speaks where nothing else is said, in words a minute.
pub const WORDS_A_MINUTE: u16 = 160;
/// How long a source has where nothing else is said: as in a deployment.
pub const SOURCE_TIMEOUT: Millis = 2_000;

/// What is settled before a call begins: what the caller brings, what the deployment has set, what the world around
/// will answer. The same situation and the same acts give the same call.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// The name of the call.
    pub id: CallId,
    /// Who placed it.
    pub direction: Direction,
    /// How the far end says it is connected.
    pub transport: Transport,
    /// Who calls; [`party`] makes one of a number.
    pub caller: Party,
    /// Who is called.
    pub callee: Party,
    /// SIP headers of an inbound call; the script sees those that its manifest lists.
    pub headers: Vec<(String, String)>,
    /// What whoever placed the call through the API gave with it.
    pub parameters: Option<Value>,
    /// BCP 47 tag; none for the manifest's first.
    pub language: Option<String>,
    /// Wall clock at the beginning, Unix milliseconds.
    pub at: u64,
    /// Of the script's randomness.
    pub seed: [u8; 32],
    /// Settings by the manifest's names.
    pub settings: BTreeMap<String, String>,
    /// What the sources answer, by the manifest's names. One that is not here is not available.
    pub sources: BTreeMap<String, SourcePlan>,
    /// What the language models answer, by the manifest's names, in order.
    pub models: BTreeMap<String, Vec<ModelPlan>>,
    /// Tokens that a call may use with each of them.
    pub model_tokens: u64,
    /// What becomes of a transfer, by its target as the script writes it.
    pub transfers: BTreeMap<String, TransferPlan>,
    /// What becomes of all others.
    pub other_transfers: TransferPlan,
    /// What the callee of an outbound call does by itself.
    pub callee_plan: CalleePlan,
    /// Whether there can be audio before the answer.
    pub early_media: bool,
    /// Limits of the deployment.
    pub limits: Limits,
    /// What the caller gets when the script fails.
    pub fallback: Fallback,
    /// Whether there is a recogniser.
    pub speech_recognition: bool,
    /// How fast everybody speaks who says nothing else, in words a minute.
    pub words_a_minute: u16,
    /// Whether the script's calls and their answers are put on a tape.
    pub tape: bool,
}

impl Default for Situation {
    /// Somebody calls on a Monday morning; there is a recogniser.
    fn default() -> Self {
        Self {
            id: CallId("call_simulated".into()),
            direction: Direction::Inbound,
            transport: Transport::Simulated,
            caller: party("+4930123456"),
            callee: party("+4930987654"),
            headers: Vec::new(),
            parameters: None,
            language: None,
            // 2026-01-05T09:00:00Z
            at: 1_767_603_600_000,
            seed: [0; 32],
            settings: BTreeMap::new(),
            sources: BTreeMap::new(),
            models: BTreeMap::new(),
            model_tokens: Model::default().tokens_per_call,
            transfers: BTreeMap::new(),
            other_transfers: TransferPlan::default(),
            callee_plan: CalleePlan::default(),
            early_media: true,
            limits: Limits::default(),
            fallback: Fallback::default(),
            speech_recognition: true,
            words_a_minute: WORDS_A_MINUTE,
            tape: true,
        }
    }
}

/// One end of a call, from a number (`+4930123456`) or a SIP URI.
#[must_use]
pub fn party(address: &str) -> Party {
    let user = address.strip_prefix("sip:").or_else(|| address.strip_prefix("sips:"));
    let number = user.map_or(address, |rest| rest.split(['@', ';']).next().unwrap_or(rest));
    let digits = number.strip_prefix('+').unwrap_or_default();
    let is_e164 = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    Party {
        uri: if user.is_some() { address.to_owned() } else { format!("sip:{address}@callbox.invalid") },
        number: is_e164.then(|| number.to_owned()),
        display_name: None,
    }
}

/// What a source answers, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourcePlan {
    /// What.
    pub answer: SourceAnswer,
    /// So long after it was asked.
    #[serde(default)]
    pub after: Millis,
    /// How long the deployment waits for it; none for 2 s. Settled before the call: a plan that comes in the middle
    /// of one does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// What the deployment does when it was asked beforehand and is late or broken. Settled likewise.
    #[serde(default)]
    pub on_failure: SourcePolicy,
}

impl SourcePlan {
    /// It answers so.
    #[must_use]
    pub const fn answers(value: Value, after: Millis) -> Self {
        Self { answer: SourceAnswer::Value(value), after, timeout: None, on_failure: SourcePolicy::Continue }
    }

    /// It fails so.
    #[must_use]
    pub const fn fails(error: HostError, after: Millis) -> Self {
        Self { answer: SourceAnswer::Failure(error), after, timeout: None, on_failure: SourcePolicy::Continue }
    }

    /// It never answers.
    #[must_use]
    pub const fn never() -> Self {
        Self { answer: SourceAnswer::Never, after: 0, timeout: None, on_failure: SourcePolicy::Continue }
    }
}

/// What a source answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceAnswer {
    /// JSON.
    Value(Value),
    /// A failure, as the script is told it.
    Failure(HostError),
    /// Nothing: the deployment's time limit passes.
    Never,
}

/// What becomes of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferPlan {
    /// What.
    pub goes: TransferGoes,
    /// So long after it was asked for.
    pub after: Millis,
    /// How long the two talk, of a bridge that is joined.
    pub talk: Millis,
}

impl Default for TransferPlan {
    /// The target answers after a second; the two talk for half a minute.
    fn default() -> Self {
        Self { goes: TransferGoes::Connected, after: 1_000, talk: 30_000 }
    }
}

/// What becomes of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferGoes {
    /// The target takes the call. A bridge ends when the caller hangs up.
    Connected,
    /// The target takes the call and hangs up before the caller does. Of a REFER the same as `Connected`: who was
    /// referred does not come back.
    Returned,
    /// The target does not take it.
    Failed {
        /// SIP status.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// It rings for ever.
    Never,
}

impl TransferGoes {
    /// 486.
    #[must_use]
    pub fn busy() -> Self {
        Self::Failed { status: 486, reason: "Busy Here".into() }
    }

    /// 480.
    #[must_use]
    pub fn no_answer() -> Self {
        Self::Failed { status: 480, reason: "Temporarily Unavailable".into() }
    }
}

/// What the callee of an outbound call does by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalleePlan {
    /// The telephone rings after so long; none for one that does not.
    pub rings: Option<Millis>,
    /// What then happens.
    pub then: CalleeThen,
    /// So long after the call was placed.
    pub after: Millis,
}

impl Default for CalleePlan {
    /// It rings after half a second and is answered after three.
    fn default() -> Self {
        Self { rings: Some(500), then: CalleeThen::Answers, after: 3_000 }
    }
}

/// How a callee decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalleeThen {
    /// The call is taken.
    Answers,
    /// The call is not taken.
    Refuses {
        /// SIP status.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// Nothing, unless the far end acts.
    Nothing,
}

impl Situation {
    /// What the engine starts from: names that the manifest declares, and what this situation gives them, as a
    /// deployment would bind them.
    #[must_use]
    pub fn setup(&self, manifest: &Manifest, assets: Vec<String>) -> Setup {
        let language =
            self.language.clone().or_else(|| manifest.languages.first().cloned()).unwrap_or_else(|| "en".to_owned());
        // Nobody has sent any to a call that we place.
        let inbound = self.direction == Direction::Inbound;
        let listed = |name: &str| inbound && manifest.headers.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let headers = self.headers.iter().filter(|(name, _)| listed(name));
        let settings = manifest.settings.iter().filter_map(|(name, declared)| {
            let value = self.settings.get(name).or(declared.default.as_ref())?;
            Some((name.clone(), value.clone()))
        });
        let sources = manifest.sources.iter().map(|(name, declared)| {
            let plan = self.sources.get(name);
            let source = Source {
                prefetch: declared.prefetch,
                timeout: plan.and_then(|plan| plan.timeout).unwrap_or(SOURCE_TIMEOUT),
                on_failure: plan.map(|plan| plan.on_failure).unwrap_or_default(),
            };
            (name.clone(), source)
        });
        let model = Model { tokens_per_call: self.model_tokens, ..Model::default() };
        Setup {
            info: CallInfo {
                id: self.id.clone(),
                direction: self.direction,
                transport: self.transport,
                caller: self.caller.clone(),
                callee: self.callee.clone(),
                language: language.clone(),
                headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
                parameters: self.parameters.as_ref().map(ToString::to_string),
            },
            started_unix_ms: self.at,
            seed: self.seed,
            voice: VoiceSettings { voice: None, language, rate: None },
            limits: self.limits.clone(),
            sources: sources.collect(),
            models: manifest.models.keys().map(|name| (name.clone(), model)).collect(),
            destinations: manifest.destinations.keys().cloned().collect(),
            settings: settings.collect(),
            assets,
            fallback: self.fallback.clone(),
            speech_recognition: self.speech_recognition,
        }
    }

    /// What this situation gives and the manifest does not know: nothing ever asks for it, so it is a mistake in one
    /// of them. For example ``the manifest declares no setting `agnet` ``.
    #[must_use]
    pub fn strangers(&self, manifest: &Manifest) -> Vec<String> {
        let settings = self.settings.keys().filter(|name| !manifest.settings.contains_key(*name));
        let sources = self.sources.keys().filter(|name| !manifest.sources.contains_key(*name));
        let models = self.models.keys().filter(|name| !manifest.models.contains_key(*name));
        let known = |name: &str| manifest.headers.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let headers = self.headers.iter().map(|(name, _)| name).filter(|name| !known(name));
        let of = |kind: &'static str| move |name: &String| format!("the manifest declares no {kind} `{name}`");
        settings
            .map(of("setting"))
            .chain(sources.map(of("source")))
            .chain(models.map(of("model")))
            .chain(headers.map(of("header")))
            .collect()
    }
}
