//! What all recognisers that are somebody's service share.

use super::{Provider, ProviderFailure};
use crate::recogniser::{Languages, Listening, RecogniserError, Sound, Work};
use callbox_grammar::{Answer, Grammar};
use std::sync::Arc;

/// Words that a provider is told to expect.
const MAX_HINTS: usize = 100;
/// Bytes of all of them.
const MAX_HINT_BYTES: usize = 4_096;
/// Audio that is kept while a connection is being made, and the longest
/// utterance of a provider that wants all of it: two minutes at 16 kHz.
pub(super) const MAX_SAMPLES: usize = 120 * 16_000;
/// Bytes of messages of one recognition.
pub(super) const MAX_MESSAGES: usize = 8 << 20;

/// A provider that listens.
#[derive(Clone, Debug)]
pub struct RemoteEar {
    /// Whom we ask.
    pub provider: Provider,
    /// What it hears.
    pub languages: Languages,
}

impl RemoteEar {
    /// A failed exchange, as an error of this recogniser.
    pub(super) fn failed(&self, failure: ProviderFailure) -> RecogniserError {
        let engine = self.provider.name.to_string();
        let words = failure.to_string();
        match failure {
            ProviderFailure::TimedOut { what, limit_ms } => RecogniserError::TimedOut { engine, what, limit_ms },
            ProviderFailure::Unreachable(_) => RecogniserError::Broken { engine, what: words },
            ProviderFailure::Closed(_) => RecogniserError::Crashed { engine, what: words },
            ProviderFailure::Rubbish(_) | ProviderFailure::TooMuch { .. } => {
                RecogniserError::Rubbish { engine, what: words }
            }
            ProviderFailure::Unauthorised { .. }
            | ProviderFailure::Throttled { .. }
            | ProviderFailure::Status { .. }
            | ProviderFailure::Reported(_) => RecogniserError::Refused { engine, what: words },
        }
    }

    /// The language it is asked for: the first of those wanted that it hears.
    pub(super) fn language<'a>(&self, what: &'a Listening) -> &'a str {
        let heard = what.languages.iter().find(|tag| self.languages.has(tag)).or(what.languages.first());
        heard.map_or("en", String::as_str)
    }
}

/// What comes from the caller next; none where nobody speaks any more, which
/// is the end of an abandoned run.
pub(super) async fn sound(work: &mut Work) -> Option<Sound> {
    work.sound.recv().await
}

/// Words and phrases to expect: what the script hinted at, and what the
/// grammar's choices are called. Bounded.
pub(crate) fn hints(what: &Listening) -> Vec<String> {
    let phrases = what.grammar.as_ref().map_or_else(Vec::new, phrases);
    let mut hints: Vec<String> = Vec::new();
    let mut bytes = 0;
    for hint in what.hints.iter().chain(&phrases) {
        let hint = hint.trim();
        if hint.is_empty() || hints.iter().any(|known| known == hint) {
            continue;
        }
        bytes += hint.len();
        if hints.len() == MAX_HINTS || bytes > MAX_HINT_BYTES {
            break;
        }
        hints.push(hint.to_owned());
    }
    hints
}

fn phrases(grammar: &Arc<Grammar>) -> Vec<String> {
    match &grammar.answer {
        Answer::Choices { choices, .. } => choices.iter().flat_map(|choice| choice.phrases.clone()).collect(),
        _ => Vec::new(),
    }
}

/// Samples as bytes, little-endian.
pub(super) fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}
