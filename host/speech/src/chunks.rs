//! From an engine's samples, as they come, to the chunks of an utterance.

use crate::error::SpeechError;
use crate::pipe_wav::{PipeWav, PipeWavError};
use crate::resample::Resampler;
use crate::synthesiser::{Chunk, Part};
use callbox_media::{Clip, FRAME};
use tokio::sync::mpsc;

/// Samples of a chunk: 240 ms.
const CHUNK: usize = 12 * FRAME;
/// Longest audio of one utterance: five minutes.
const MAX_SAMPLES: usize = 300 * 8_000;
/// Places for all that one utterance may give, and for its end: an engine
/// never waits for the reader.
pub(crate) const PLACES: usize = MAX_SAMPLES / CHUNK + 4;

/// Where the parts of an utterance go.
pub(crate) type Parts = mpsc::Sender<Result<Part, SpeechError>>;

/// Why samples make no utterance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("{0} samples a second")]
    Rate(u32),
    #[error("more than {} s of audio", MAX_SAMPLES / 8_000)]
    TooLong,
    #[error("no samples")]
    Empty,
    #[error(transparent)]
    Wav(#[from] PipeWavError),
}

impl ChunkError {
    /// As an error of an engine; `bad` says how that engine's audio is wrong.
    pub(crate) fn explained(self, bad: impl FnOnce(String) -> SpeechError) -> SpeechError {
        match self {
            Self::TooLong => SpeechError::TooLong { what: "audio of an utterance", limit: MAX_SAMPLES as u64 / 8 },
            Self::Rate(_) | Self::Empty | Self::Wav(_) => bad(self.to_string()),
        }
    }
}

/// Resamples, cuts and sends.
pub(crate) struct Chunker<'a> {
    parts: &'a Parts,
    resampler: Option<(u32, Resampler)>,
    ready: Vec<i16>,
    sent: usize,
}

impl<'a> Chunker<'a> {
    pub(crate) const fn new(parts: &'a Parts) -> Self {
        Self { parts, resampler: None, ready: Vec::new(), sent: 0 }
    }

    /// Takes samples of a rate, which stays the same over an utterance.
    pub(crate) async fn push(&mut self, rate: u32, samples: &[i16]) -> Result<(), ChunkError> {
        if self.resampler.as_ref().is_none_or(|(known, _)| *known != rate) {
            if let Some((_, old)) = self.resampler.take() {
                old.finish(&mut self.ready);
            }
            self.resampler = Some((rate, Resampler::new(rate).ok_or(ChunkError::Rate(rate))?));
        }
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.push(samples, &mut self.ready);
        }
        self.send().await
    }

    /// The rest, and the end.
    pub(crate) async fn finish(mut self) -> Result<(), ChunkError> {
        if let Some((_, resampler)) = self.resampler.take() {
            resampler.finish(&mut self.ready);
        }
        if self.sent + self.ready.len() == 0 {
            return Err(ChunkError::Empty);
        }
        self.ready.resize(self.ready.len().next_multiple_of(FRAME), 0);
        self.send().await?;
        if !self.ready.is_empty() {
            let rest = std::mem::take(&mut self.ready);
            self.emit(rest).await;
        }
        let _ = self.parts.send(Ok(Part::End)).await;
        Ok(())
    }

    /// Sends all full chunks.
    async fn send(&mut self) -> Result<(), ChunkError> {
        if self.sent + self.ready.len() > MAX_SAMPLES {
            return Err(ChunkError::TooLong);
        }
        while self.ready.len() >= CHUNK {
            let later = self.ready.split_off(CHUNK);
            let now = std::mem::replace(&mut self.ready, later);
            self.emit(now).await;
        }
        Ok(())
    }

    async fn emit(&mut self, samples: Vec<i16>) {
        self.sent += samples.len();
        let chunk = Chunk { clip: Clip::from_pcm(samples), words: Vec::new() };
        // Where nobody listens, the task that holds us is about to be dropped.
        let _ = self.parts.send(Ok(Part::Audio(chunk))).await;
    }
}

/// A [`Chunker`] for a WAV stream.
pub(crate) struct WavChunker<'a> {
    chunker: Chunker<'a>,
    wav: PipeWav,
    raw: Vec<i16>,
}

impl<'a> WavChunker<'a> {
    pub(crate) fn new(parts: &'a Parts) -> Self {
        Self { chunker: Chunker::new(parts), wav: PipeWav::new(), raw: Vec::new() }
    }

    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        self.wav.push(bytes, &mut self.raw)?;
        let Some(rate) = self.wav.rate() else { return Ok(()) };
        self.chunker.push(rate, &self.raw).await?;
        self.raw.clear();
        Ok(())
    }

    /// The stream is over.
    pub(crate) async fn finish(self) -> Result<(), ChunkError> {
        self.wav.finish()?;
        self.chunker.finish().await
    }
}
