//! From what a scenario gives to the situation of its call.

use super::given::{Given, OnFailure, SourceAnswer, SourceFailure, TransferAnswer, TransferPlan};
use super::model::ModelAnswer;
use super::player::phrase;
use super::span::Span;
use super::step::Step;
use super::suite::Run;
use crate::far_end::Hearing;
use crate::model::ModelPlan;
use crate::situation::{self, CalleeThen, Situation, TransferGoes, party};
use callbox_dialogue::HostError;
use callbox_dialogue::script::Segment;
use callbox_dialogue::setup::SourcePolicy;

/// How long it rings before nobody has picked up.
const NO_ANSWER: Span = Span(60_000);

impl Run {
    /// The situation of the call.
    #[must_use]
    pub fn situation(&self) -> Situation {
        let mut situation = self.given.situation();
        if self.steps.iter().any(|placed| matches!(placed.step, Step::PickUp(_) | Step::Refuse(_))) {
            situation.callee_plan.then = CalleeThen::Nothing;
        }
        situation
    }
}

impl Given {
    /// The situation of a call of which this is given, without a tape.
    #[must_use]
    pub fn situation(&self) -> Situation {
        let mut it = Situation { tape: false, ..Situation::default() };
        if let Some(at) = &self.at {
            it.at = at.unix_ms();
        }
        it.direction = self.direction.unwrap_or(it.direction);
        it.transport = self.transport.unwrap_or(it.transport);
        if let Some(caller) = &self.caller {
            it.caller = party(caller);
        }
        if let Some(callee) = &self.callee {
            it.callee = party(callee);
        }
        it.caller.display_name.clone_from(&self.display_name);
        it.language.clone_from(&self.language);
        it.headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        it.parameters.clone_from(&self.parameters);
        it.settings.clone_from(&self.settings);
        it.sources = self.sources.iter().map(|(name, source)| (name.clone(), source_plan(source))).collect();
        it.models = self.models.iter().map(|(name, answers)| (name.clone(), model_plans(answers))).collect();
        it.transfers = self.transfers.iter().map(|(to, plan)| (to.clone(), transfer_plan(plan))).collect();
        it.speech_recognition = self.speech_recognition.unwrap_or(it.speech_recognition);
        it.words_a_minute = self.words_a_minute.unwrap_or(it.words_a_minute);
        if let Some(seed) = self.seed {
            it.seed[..8].copy_from_slice(&seed.to_le_bytes());
        }
        if let Some(given) = self.limits {
            it.model_tokens = given.model_tokens.unwrap_or(it.model_tokens);
            let limits = &mut it.limits;
            for (limit, given) in [
                (&mut limits.grace, given.grace),
                (&mut limits.max_duration, given.max_duration),
                (&mut limits.ring_timeout, given.ring_timeout),
                (&mut limits.silence_timeout, given.silence_timeout),
            ] {
                *limit = given.map_or(*limit, |given| given.0);
            }
        }
        if let Some(fallback) = &self.fallback {
            it.fallback.say = fallback.say.iter().map(|text| Segment::Text(text.clone())).collect();
            it.fallback.transfer_to.clone_from(&fallback.transfer_to);
        }
        it
    }
}

/// What a source does.
pub(super) fn source_plan(source: &SourceAnswer) -> situation::SourcePlan {
    let answer = match (&source.answers, source.fails) {
        (Some(value), _) => situation::SourceAnswer::Value(value.clone()),
        (None, Some(failure)) => situation::SourceAnswer::Failure(match failure {
            SourceFailure::Unavailable => HostError::Unavailable("the scenario's source is down".into()),
            SourceFailure::TimedOut => HostError::TimedOut,
            SourceFailure::NotFound => HostError::NotFound("the scenario's source does not know it".into()),
        }),
        (None, None) => situation::SourceAnswer::Never,
    };
    situation::SourcePlan {
        answer,
        after: source.after.unwrap_or_default().0,
        timeout: source.timeout.map(|timeout| timeout.0),
        on_failure: match source.on_failure.unwrap_or_default() {
            OnFailure::Continue => SourcePolicy::Continue,
            OnFailure::Fallback => SourcePolicy::Fallback,
            OnFailure::Reject => SourcePolicy::Reject,
        },
    }
}

/// What a model does.
pub(super) fn model_plans(answers: &[ModelAnswer]) -> Vec<ModelPlan> {
    answers.iter().map(ModelAnswer::plan).collect()
}

/// How a transfer goes.
pub(super) fn transfer_plan(plan: &TransferPlan) -> situation::TransferPlan {
    let usual = situation::TransferPlan::default();
    let (goes, after) = match &plan.answers {
        TransferAnswer::Connected => (TransferGoes::Connected, None),
        TransferAnswer::Returned => (TransferGoes::Returned, None),
        TransferAnswer::Busy => (TransferGoes::busy(), None),
        // A bridge gives up by itself before that.
        TransferAnswer::NoAnswer => (TransferGoes::no_answer(), Some(NO_ANSWER)),
        TransferAnswer::Status { status, reason } => {
            let reason = reason.clone().unwrap_or_else(|| phrase(*status).to_owned());
            (TransferGoes::Failed { status: *status, reason }, None)
        }
    };
    situation::TransferPlan {
        goes,
        after: plan.after.or(after).map_or(usual.after, |after| after.0),
        talk: plan.talk.map_or(usual.talk, |talk| talk.0),
    }
}

/// A recogniser that hears this.
pub(super) fn hearing(text: &str, confidence: Option<f32>) -> Hearing {
    Hearing::As(vec![(text.to_owned(), confidence)])
}
