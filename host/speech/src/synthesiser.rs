//! What every synthesiser is to the rest of the host.

use crate::chunks::{PLACES, Parts};
use crate::error::SpeechError;
use crate::recogniser::Languages;
use callbox_dialogue::leg::{VoiceSettings, WordMark};
use callbox_media::Clip;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Words a minute (`voice.set-default`).
const RATES: std::ops::RangeInclusive<u16> = 80..=400;
/// Percent of a voice's usual pitch.
pub(crate) const PITCHES: std::ops::RangeInclusive<u16> = 50..=200;
/// The usual pitch.
pub(crate) const USUAL_PITCH: u16 = 100;

/// Something to say: about a sentence. Numbers and dates are words already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Utterance {
    /// Plain text, never markup.
    pub text: String,
    /// Who says it.
    pub voice: VoiceSettings,
    /// How high, in percent of the voice's usual pitch: 50 to 200. An engine
    /// that cannot change it ignores it.
    pub pitch: u16,
}

impl Utterance {
    /// A text at the voice's usual pitch.
    #[must_use]
    pub const fn new(text: String, voice: VoiceSettings) -> Self {
        Self { text, voice, pitch: USUAL_PITCH }
    }
}

/// A piece of audio, in the order in which it sounds.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Mono, 8 kHz, whole 20 ms frames. Empty where only words are told.
    pub clip: Arc<Clip>,
    /// Words whose times became known with this chunk, ascending.
    ///
    /// Of a [`Synthesiser`]: `at` counts from the first sample of this chunk
    /// and may lie in a later one, `text_end` counts bytes of the utterance.
    ///
    /// Of [`crate::Speech`]: `at` counts from the first sample of the segment,
    /// `text_end` bytes of its text, for SSML of its text without tags.
    pub words: Vec<WordMark>,
}

/// What comes out of a [`Synthesiser`].
#[derive(Clone, Debug)]
pub enum Part {
    /// The next piece of audio.
    Audio(Chunk),
    /// That was all. A channel that ends without it was cut short, for example
    /// by the end of the program: what came may be played and is never cached.
    End,
}

/// What an engine says of itself once it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its version, as part of the key under which its audio is cached.
    pub version: String,
    /// Voices it has.
    pub voices: usize,
}

/// A future behind a trait object.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Turns text into audio.
///
/// The same utterance gives the same samples, whoever asks and however it is
/// cut into chunks: audio is cached, and shared between calls.
pub trait Synthesiser: Send + Sync + 'static {
    /// A short name, for example `espeak-ng`; for one that is configured, the
    /// name given there.
    fn name(&self) -> &str;

    /// Starts to render and returns at once; to be called within a tokio
    /// runtime. The channel ends after [`Part::End`] or one error; dropping it
    /// stops the rendering. It takes all that one utterance may give, so that
    /// a slow reader holds up no engine.
    fn speak(&self, what: Utterance) -> mpsc::Receiver<Result<Part, SpeechError>>;

    /// Whether it can speak so. Before [`Synthesiser::describe`] has been
    /// answered once, it may say yes to a voice that turns out to be unknown.
    ///
    /// # Errors
    /// `UnknownVoice`, `UnknownLanguage`, `InvalidRate`.
    fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError>;

    /// Whether it may have voices that [`Synthesiser::supports`] does not know
    /// of.
    fn takes_any_voice(&self) -> bool {
        false
    }

    /// Whether its chunks carry the times of their words. Where they do not,
    /// times are estimated once the utterance is complete.
    fn word_times(&self) -> bool {
        false
    }

    /// Finds out whether it works, and its version. Asked again after a
    /// failure, so that an engine that has been installed meanwhile is found.
    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>>;
}

/// Runs a render in a task of its own, which ends when nobody listens any more; with it goes what the render holds: a
/// process, a connexion.
pub(crate) fn spawn<F>(render: impl FnOnce(Parts) -> F) -> mpsc::Receiver<Result<Part, SpeechError>>
where
    F: Future<Output = Result<(), SpeechError>> + Send + 'static,
{
    let (parts, receiver) = mpsc::channel(PLACES);
    let render = render(parts.clone());
    tokio::spawn(async move {
        let done = tokio::select! {
            () = parts.closed() => Ok(()),
            done = render => done,
        };
        if let Err(error) = done {
            tracing::debug!(code = error.code(), %error, "a render failed");
            let _ = parts.send(Err(error)).await;
        }
    });
    receiver
}

/// The voice for these settings, by its engine's name: the one that they ask for, that of their language – of the very
/// tag, before one that serves it –, or the usual one.
pub(crate) fn named<'a>(
    settings: &'a VoiceSettings,
    voices: &'a BTreeMap<String, String>,
    usual: Option<&'a str>,
) -> Option<&'a str> {
    let asked = settings.voice.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let of_language = || {
        let exact = voices.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(&settings.language));
        let serves = |tag: &str| Languages::Some(vec![tag.to_owned()]).has(&settings.language);
        let near = || voices.iter().find(|(tag, _)| serves(tag));
        exact.or_else(near).map(|(_, voice)| voice.as_str())
    };
    asked.or_else(of_language).or(usual)
}

/// The rate of a voice, if it is one that can be spoken at.
pub(crate) fn check_rate(voice: &VoiceSettings) -> Result<Option<u16>, SpeechError> {
    match voice.rate {
        Some(rate) if !RATES.contains(&rate) => Err(SpeechError::InvalidRate { rate }),
        rate => Ok(rate),
    }
}

/// A rate as near to the given one as can be spoken at.
pub(crate) fn nearest_rate(rate: u32) -> u16 {
    u16::try_from(rate).unwrap_or(u16::MAX).clamp(*RATES.start(), *RATES.end())
}
