//! Recognisers and synthesisers that are somebody's service.
//!
//! | kind | synthesiser | recogniser |
//! |---|---|---|
//! | OpenAI-compatible | [`OpenAiVoice`]: `POST …/audio/speech` | [`OpenAiEar`]: `POST …/audio/transcriptions`, an utterance at a time |
//! | Deepgram-style | [`DeepgramVoice`]: WebSocket `…/v1/speak` | [`DeepgramEar`]: WebSocket `…/v1/listen` |
//! | jambonz custom speech | [`CustomVoice`]: HTTP or WebSocket | [`CustomEar`]: WebSocket |
//!
//! The operator chooses whom we ask, so that the addresses are not guarded as
//! customers' are. Still: no redirect is followed, no proxy of the environment
//! used, no body or message read beyond a limit, nothing awaited without one,
//! and neither a key nor the query of a URL stands in any text of ours.

mod custom_ear;
mod custom_voice;
mod deepgram_ear;
mod deepgram_voice;
mod dial;
mod ear;
mod failure;
mod openai_ear;
mod openai_voice;
mod sse;
mod voice;

pub use custom_ear::CustomEar;
pub use custom_voice::CustomVoice;
pub use deepgram_ear::DeepgramEar;
pub use deepgram_voice::DeepgramVoice;
pub use dial::{Dialer, DialerError};
pub use ear::RemoteEar;
pub(crate) use ear::hints;
pub use failure::ProviderFailure;
pub use openai_ear::OpenAiEar;
pub use openai_voice::OpenAiVoice;
pub use voice::RemoteVoice;

use crate::error::SpeechError;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// A key, which is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Arc<str>);

impl Key {
    /// Takes a key as the provider gave it.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self(key.into())
    }

    /// For the header that carries it.
    fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// How long a provider may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To connect: name, TCP, TLS and, for WebSocket, the handshake.
    pub connect: Duration,
    /// From a request to the first piece of its answer.
    pub first: Duration,
    /// Between two pieces of an answer.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), first: Duration::from_secs(4), stall: Duration::from_secs(4) }
    }
}

/// Whom we ask, and how.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in the configuration: in errors, and before the names of its voices (`NAME/voice`).
    pub name: Arc<str>,
    /// `http`, `https`, `ws` or `wss`. May have a query, which each request then carries.
    pub url: Url,
    /// What it asks for.
    pub key: Option<Key>,
    /// Its model, by its own name.
    pub model: Option<String>,
    /// How long it may take.
    pub patience: Patience,
}

impl Provider {
    /// Its URL with `path` after its own path, unless that ends so already.
    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let own = url.path().trim_end_matches('/').to_owned();
        if !own.ends_with(path) {
            url.set_path(&format!("{own}{path}"));
        }
        url
    }

    /// Where it is, for people: without path and query.
    fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    fn failed(&self, failure: ProviderFailure) -> SpeechError {
        SpeechError::Provider { provider: self.name.clone(), failure }
    }
}

/// What a stranger says about itself, fit for a log: one short line.
fn shorten(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    line.trim().to_owned()
}

/// See [`crate::fuzz::messages`].
pub(crate) fn fuzz_messages(text: &str) -> Vec<ProviderFailure> {
    [
        openai_voice::read_event(text).err(),
        openai_ear::read_event(text).err(),
        openai_ear::read_answer(text).err(),
        deepgram_voice::read(text).err(),
        deepgram_ear::read(text).err(),
        custom_voice::read(text).err(),
        custom_ear::read(text, "en").err(),
        Some(ProviderFailure::of_status(400, Some(text), text)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
