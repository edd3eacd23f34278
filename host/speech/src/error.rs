//! What can go wrong between a text and its audio.

use crate::remote::ProviderFailure;
use callbox_dialogue::script::HostError;
use std::path::PathBuf;
use std::sync::Arc;

/// Why something cannot be said. Cheap to clone: everybody who waits for the
/// same audio gets the same error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpeechError {
    /// The program of the synthesiser is not there.
    #[error("the synthesiser is missing: no program `{}`; {remedy}", program.display())]
    EngineMissing {
        /// As configured.
        program: PathBuf,
        /// What to do, for example `apt-get install espeak-ng`.
        remedy: &'static str,
    },
    /// The program is there and cannot be started, or is not what it should be.
    #[error("the synthesiser {engine} does not work: {what}")]
    EngineBroken {
        /// Its name.
        engine: &'static str,
        /// What happened.
        what: String,
    },
    /// The engine has no voice of this name.
    #[error("unknown voice `{voice}`: {remedy}")]
    UnknownVoice {
        /// As asked for.
        voice: String,
        /// Where names come from.
        remedy: &'static str,
    },
    /// The engine has no voice for this language.
    #[error("no voice speaks `{language}`")]
    UnknownLanguage {
        /// As asked for.
        language: String,
    },
    /// Outside 80 to 400 words a minute.
    #[error("a speaking rate of {rate} words a minute; 80 to 400 are possible")]
    InvalidRate {
        /// As asked for.
        rate: u16,
    },
    /// The engine was killed because it took too long.
    #[error("the synthesiser {engine} took longer than {limit_ms} ms and was stopped")]
    TimedOut {
        /// Its name.
        engine: &'static str,
        /// What it was allowed.
        limit_ms: u64,
    },
    /// The engine died or reported failure.
    #[error("the synthesiser {engine} failed ({how}){}{stderr}", if stderr.is_empty() { "" } else { ": " })]
    Crashed {
        /// Its name.
        engine: &'static str,
        /// Exit status or signal.
        how: String,
        /// The last line it wrote to standard error, shortened.
        stderr: String,
    },
    /// The engine wrote something that is not the audio it should be.
    #[error("the synthesiser {engine} gave no usable audio: {what}")]
    BadAudio {
        /// Its name.
        engine: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The engine stopped in the middle, without a word why.
    #[error("the engine {engine} was cut short")]
    CutShort {
        /// Its name.
        engine: String,
    },
    /// A provider's service failed, or refused.
    #[error("the provider {provider}: {failure}")]
    Provider {
        /// Its name, as configured.
        provider: Arc<str>,
        /// What became of the exchange.
        failure: ProviderFailure,
    },
    /// More than one prompt may hold.
    #[error("too long: {what} over the limit of {limit}")]
    TooLong {
        /// Text or audio.
        what: &'static str,
        /// Bytes of text, or milliseconds of audio.
        limit: u64,
    },
    /// Too many renders wait already.
    #[error("the synthesiser is overloaded: {waiting} renders wait")]
    Overloaded {
        /// How many.
        waiting: usize,
    },
    /// The engine does not speak SSML.
    #[error("the synthesiser {engine} does not speak SSML")]
    SsmlUnsupported {
        /// Its name.
        engine: String,
    },
    /// The SSML is broken or holds what this host does not read.
    #[error("SSML at byte {at}: {what}")]
    BadSsml {
        /// Offset in the document.
        at: usize,
        /// What is wrong.
        what: String,
    },
    /// The component carries no such file.
    #[error("the script has no audio asset `{path}`")]
    AssetMissing {
        /// As asked for.
        path: String,
    },
    /// The file is no WAV that can be played.
    #[error("the audio asset `{path}` cannot be played: {what}")]
    BadAsset {
        /// As asked for.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The directory of the audio cache cannot be used.
    #[error("the audio cache `{}` cannot be used: {what}", path.display())]
    CacheDirectory {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
}

impl SpeechError {
    /// A stable word for logs, metrics and the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EngineMissing { .. } => "speech_engine_missing",
            Self::EngineBroken { .. } => "speech_engine_broken",
            Self::UnknownVoice { .. } => "speech_unknown_voice",
            Self::UnknownLanguage { .. } => "speech_unknown_language",
            Self::InvalidRate { .. } => "speech_invalid_rate",
            Self::TimedOut { .. } => "speech_timed_out",
            Self::Crashed { .. } => "speech_crashed",
            Self::BadAudio { .. } => "speech_bad_audio",
            Self::CutShort { .. } => "speech_cut_short",
            Self::Provider { failure, .. } => failure.code(),
            Self::TooLong { .. } => "speech_too_long",
            Self::Overloaded { .. } => "speech_overloaded",
            Self::SsmlUnsupported { .. } => "speech_ssml_unsupported",
            Self::BadSsml { .. } => "speech_bad_ssml",
            Self::AssetMissing { .. } => "speech_asset_missing",
            Self::BadAsset { .. } => "speech_bad_asset",
            Self::CacheDirectory { .. } => "speech_cache_directory",
        }
    }

    /// Whether another engine may do better: this one failed, and not what it
    /// was asked for.
    #[must_use]
    pub const fn is_the_engines(&self) -> bool {
        matches!(
            self,
            Self::EngineMissing { .. }
                | Self::EngineBroken { .. }
                | Self::TimedOut { .. }
                | Self::Crashed { .. }
                | Self::BadAudio { .. }
                | Self::CutShort { .. }
                | Self::Provider { .. }
                | Self::Overloaded { .. }
        )
    }

    /// What the script is told. A failing engine is `unavailable`: the wait's
    /// own time limit (`timed-out`) is another matter.
    #[must_use]
    pub fn to_host_error(&self) -> HostError {
        let words = self.to_string();
        match self {
            Self::UnknownVoice { .. } | Self::UnknownLanguage { .. } | Self::AssetMissing { .. } => {
                HostError::NotFound(words)
            }
            Self::InvalidRate { .. } | Self::BadSsml { .. } | Self::BadAsset { .. } => {
                HostError::InvalidArgument(words)
            }
            Self::TooLong { .. } => HostError::LimitExceeded(words),
            Self::EngineMissing { .. }
            | Self::EngineBroken { .. }
            | Self::TimedOut { .. }
            | Self::Crashed { .. }
            | Self::BadAudio { .. }
            | Self::CutShort { .. }
            | Self::Provider { .. }
            | Self::Overloaded { .. }
            | Self::SsmlUnsupported { .. }
            | Self::CacheDirectory { .. } => HostError::Unavailable(words),
        }
    }
}

impl From<SpeechError> for HostError {
    fn from(error: SpeechError) -> Self {
        error.to_host_error()
    }
}
