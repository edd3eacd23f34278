//! What every synthesiser is to the rest of the host.

use crate::error::SpeechError;
use callbox_dialogue::leg::{VoiceSettings, WordMark};
use callbox_media::Clip;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Something to say: about a sentence. Numbers and dates are words already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Utterance {
    /// Plain text; SSML of our own making where `markup` is set.
    pub text: String,
    /// The text is SSML written by [`crate::ssml`]; never what a script sent.
    pub markup: bool,
    /// Who says it.
    pub voice: VoiceSettings,
}

/// A piece of audio, in the order in which it sounds.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Mono, 8 kHz, whole 20 ms frames.
    pub clip: Arc<Clip>,
    /// Words whose times became known with this chunk, ascending. `at` counts
    /// from the first sample of this chunk and may lie in a later one;
    /// `text_end` counts bytes of the text this is the audio of: the segment
    /// for a chunk of [`crate::Speech`], the utterance for one of a
    /// [`Synthesiser`].
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

/// What a synthesiser says of itself once it runs.
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
    /// A short name, for example `espeak-ng`.
    fn name(&self) -> &'static str;

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

    /// Whether it reads SSML.
    fn ssml(&self) -> bool;

    /// Whether its chunks carry the times of their words. Where they do not,
    /// times are estimated from the length of the whole utterance, which
    /// therefore is awaited before its first chunk goes on.
    fn word_times(&self) -> bool;

    /// Finds out whether it works, and its version. Asked again after a
    /// failure, so that an engine that has been installed meanwhile is found.
    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>>;
}
