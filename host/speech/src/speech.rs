//! From a segment of a prompt to audio.

use crate::assets::Assets;
use crate::cache::{CacheConfig, CacheStats, Disk, Follower, Renders};
use crate::error::SpeechError;
use crate::espeak::{Espeak, EspeakConfig};
use crate::marks;
use crate::normalise::{Spoken, normalise};
use crate::sentences::sentences;
use crate::ssml::{self, Document};
use crate::synthesiser::{Chunk, Part, Synthesiser, Utterance};
use bytes::Bytes;
use callbox_dialogue::leg::{VoiceSettings, WordMark};
use callbox_dialogue::script::Segment;
use callbox_dialogue::time::Millis;
use callbox_media::{Clip, FRAME};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Sentences that are rendered ahead of the one whose turn it is.
const AHEAD: usize = 2;
/// Chunks that wait for a slow reader.
const CHUNKS: usize = 16;
/// The pause between two sentences at 175 words a minute: espeak-ng's own.
const PAUSE_MS: Millis = 300;
const PACE: u16 = 175;
/// One frame of audio.
const FRAME_MS: Millis = 20;
/// Longest silence of a segment (`voice.segment`).
const MAX_SILENCE: Millis = 60_000;

/// How speech is made.
#[derive(Clone, Debug)]
pub struct SpeechConfig {
    /// The embedded synthesiser.
    pub espeak: EspeakConfig,
    /// Where rendered audio is kept.
    pub cache: CacheConfig,
    /// Bytes of the decoded audio assets that are kept.
    pub asset_bytes: usize,
    /// Longest text of one segment, in bytes.
    pub max_text: usize,
}

impl Default for SpeechConfig {
    fn default() -> Self {
        Self {
            espeak: EspeakConfig::default(),
            cache: CacheConfig::default(),
            asset_bytes: 64 << 20,
            max_text: 16 << 10,
        }
    }
}

/// The speech of the host: a synthesiser with normalisation and a cache,
/// shared by all calls. Cheap to clone.
#[derive(Clone)]
pub struct Speech {
    room: Arc<Room>,
}

struct Room {
    engine: Arc<dyn Synthesiser>,
    renders: Arc<Renders>,
    assets: Arc<Assets>,
    max_text: usize,
}

/// Where the audio of a segment goes.
type Chunks = mpsc::Sender<Result<Chunk, SpeechError>>;

impl Speech {
    /// Opens the cache; the synthesiser is only started when it is needed
    /// ([`Speech::check`] finds out whether it is there).
    ///
    /// # Errors
    /// `CacheDirectory` when the directory cannot be used.
    pub fn new(config: SpeechConfig) -> Result<Self, SpeechError> {
        let engine = Arc::new(Espeak::new(config.espeak.clone()));
        Self::with_synthesiser(config, engine)
    }

    /// The same with another synthesiser.
    ///
    /// # Errors
    /// `CacheDirectory` when the directory cannot be used.
    pub fn with_synthesiser(config: SpeechConfig, engine: Arc<dyn Synthesiser>) -> Result<Self, SpeechError> {
        let CacheConfig { memory_bytes, directory, directory_bytes } = config.cache;
        let disk = directory.map(|directory| Disk::open(&directory, directory_bytes)).transpose()?;
        let room = Room {
            engine,
            renders: Renders::new(memory_bytes, disk),
            assets: Arc::new(Assets::new(config.asset_bytes)),
            max_text: config.max_text,
        };
        Ok(Self { room: Arc::new(room) })
    }

    /// Renders one segment: text and SSML by the synthesiser, silence, and
    /// assets, whose bytes the caller finds. To be called within a tokio
    /// runtime.
    ///
    /// The first sentence is there as soon as it is rendered; those after it
    /// are rendered ahead. Words of plain text are marked by their place in
    /// the segment's own text, as the script wrote it; SSML has no marks. The
    /// channel ends after the last chunk, or after one error. Dropping it
    /// stops what nobody else waits for.
    pub fn render(
        &self,
        segment: &Segment,
        voice: &VoiceSettings,
        asset: impl FnOnce(&str) -> Option<Bytes>,
    ) -> mpsc::Receiver<Result<Chunk, SpeechError>> {
        let (chunks, receiver) = mpsc::channel(CHUNKS);
        let room = self.room.clone();
        let work = match segment {
            Segment::Text(text) => Work::Text(text.clone()),
            Segment::Ssml(text) => Work::Ssml(text.clone()),
            Segment::Asset(path) => Work::Asset(path.clone(), asset(path)),
            Segment::Silence(length) => Work::Silence(*length),
        };
        let voice = voice.clone();
        tokio::spawn(async move {
            let done = tokio::select! {
                () = chunks.closed() => Ok(()),
                done = room.work(work, &voice, &chunks) => done,
            };
            if let Err(error) = done {
                let _ = chunks.send(Err(error)).await;
            }
        });
        receiver
    }

    /// Whether the synthesiser knows this voice, language and rate.
    ///
    /// # Errors
    /// `UnknownVoice`, `UnknownLanguage`, `InvalidRate`.
    pub fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError> {
        self.room.engine.supports(voice)
    }

    /// Finds out whether the synthesiser works by letting it say a word, and
    /// returns its name and version: for `callbox doctor` and the start of the
    /// host.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub async fn check(&self) -> Result<String, SpeechError> {
        let name = self.room.engine.name();
        let info = self.room.engine.describe().await?;
        let voice = VoiceSettings { voice: None, language: "en".to_owned(), rate: None };
        // Not by way of the cache, which would speak for a dead engine.
        let mut parts = self.room.engine.speak(Utterance { text: "hello".to_owned(), markup: false, voice });
        loop {
            match parts.recv().await.transpose()? {
                Some(Part::Audio(_)) => {}
                Some(Part::End) => break,
                None => return Err(SpeechError::EngineBroken { engine: name, what: "it was cut short".to_owned() }),
            }
        }
        Ok(format!("{name} {}, {} voices", info.version, info.voices))
    }

    /// How the cache does.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.room.renders.stats()
    }
}

enum Work {
    Text(String),
    Ssml(String),
    Asset(String, Option<Bytes>),
    Silence(Millis),
}

/// What is to be rendered, and where it stands in its segment.
struct Sentence {
    utterance: Utterance,
    /// The segment's text and this sentence's part of it; none for SSML.
    origin: Option<(Arc<Spoken>, Range<usize>)>,
}

impl Room {
    async fn work(&self, work: Work, voice: &VoiceSettings, chunks: &Chunks) -> Result<(), SpeechError> {
        match work {
            Work::Text(text) => {
                self.bound(&text)?;
                self.speak(self.sentences(&text, voice), voice, chunks).await
            }
            Work::Ssml(text) => {
                self.bound(&text)?;
                if !self.engine.ssml() {
                    return Err(SpeechError::SsmlUnsupported { engine: self.engine.name().to_owned() });
                }
                let Document { lead, markup } = ssml::rewrite(&text, &voice.language)?;
                if lead > 0 {
                    send(chunks, Clip::silence(lead.next_multiple_of(FRAME_MS)), Vec::new()).await;
                }
                if markup.is_empty() {
                    return Ok(());
                }
                let utterance = Utterance { text: markup, markup: true, voice: voice.clone() };
                self.speak(vec![Sentence { utterance, origin: None }], voice, chunks).await
            }
            Work::Asset(path, bytes) => {
                let bytes = bytes.ok_or_else(|| SpeechError::AssetMissing { path: path.clone() })?;
                let clip = self.assets.clone().decode(path, bytes).await?;
                send(chunks, clip, Vec::new()).await;
                Ok(())
            }
            Work::Silence(0) => Ok(()),
            Work::Silence(length) => {
                send(chunks, Clip::silence(length.min(MAX_SILENCE)), Vec::new()).await;
                Ok(())
            }
        }
    }

    fn bound(&self, text: &str) -> Result<(), SpeechError> {
        if text.len() > self.max_text {
            return Err(SpeechError::TooLong { what: "text of a segment", limit: self.max_text as u64 });
        }
        Ok(())
    }

    fn sentences(&self, text: &str, voice: &VoiceSettings) -> Vec<Sentence> {
        let spoken = Arc::new(normalise(text, &voice.language));
        sentences(spoken.text())
            .into_iter()
            .map(|range| {
                let text = spoken.text()[range.clone()].to_owned();
                let utterance = Utterance { text, markup: false, voice: voice.clone() };
                Sentence { utterance, origin: Some((spoken.clone(), range)) }
            })
            .collect()
    }

    /// Renders sentences in order, some of them ahead.
    async fn speak(&self, sentences: Vec<Sentence>, voice: &VoiceSettings, chunks: &Chunks) -> Result<(), SpeechError> {
        if sentences.is_empty() {
            return Ok(());
        }
        let info = self.engine.describe().await?;
        let mut sentences = sentences.into_iter();
        let mut ahead = VecDeque::new();
        let mut pause = None;
        loop {
            while ahead.len() <= AHEAD
                && let Some(sentence) = sentences.next()
            {
                ahead.push_back((self.renders.fetch(&self.engine, &info, sentence.utterance), sentence.origin));
            }
            let Some((follower, origin)) = ahead.pop_front() else { return Ok(()) };
            if let Some(pause) = pause.replace(pause_between(voice)) {
                send(chunks, pause, Vec::new()).await;
            }
            self.forward(follower, origin, chunks).await?;
        }
    }

    /// Passes the audio of one sentence on, with the times of its words.
    async fn forward(
        &self,
        mut follower: Follower,
        origin: Option<(Arc<Spoken>, Range<usize>)>,
        chunks: &Chunks,
    ) -> Result<(), SpeechError> {
        if self.engine.word_times() {
            while let Some(chunk) = follower.next().await {
                let Chunk { clip, mut words } = chunk?;
                match &origin {
                    Some((spoken, range)) => marks::in_source(&mut words, spoken, range),
                    None => words.clear(),
                }
                send(chunks, clip, words).await;
            }
            return Ok(());
        }
        let rendered = follower.whole().await?;
        let mut words = match origin {
            Some((spoken, range)) => marks::estimate(&spoken.words(range), rendered.duration_ms()),
            None => Vec::new(),
        };
        for chunk in &rendered.chunks {
            send(chunks, chunk.clip.clone(), std::mem::take(&mut words)).await;
        }
        Ok(())
    }
}

/// Silence between two sentences, shorter for those who speak fast; whole
/// frames.
fn pause_between(voice: &VoiceSettings) -> Arc<Clip> {
    let pace = Millis::from(voice.rate.unwrap_or(PACE).max(1));
    let samples = (PAUSE_MS * Millis::from(PACE) / pace) as usize * 8;
    Clip::from_pcm(vec![0; samples.next_multiple_of(FRAME)])
}

async fn send(chunks: &Chunks, clip: Arc<Clip>, words: Vec<WordMark>) {
    // Where nobody listens, this task is about to be dropped.
    let _ = chunks.send(Ok(Chunk { clip, words })).await;
}
