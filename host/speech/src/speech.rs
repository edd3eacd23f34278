//! From a segment of a prompt to audio.

use crate::assets::Assets;
use crate::cache::{CacheConfig, CacheStats, Disk, Follower, Lru, Renders};
use crate::error::SpeechError;
use crate::espeak::{Espeak, EspeakConfig};
use crate::marks;
use crate::normalise::{Spoken, normalise};
use crate::order::{Candidate, Order, Speaker};
use crate::recogniser::Languages;
use crate::sentences::sentences;
use crate::ssml::{self, Manner, Piece};
use crate::synthesiser::{Chunk, Part, Utterance, nearest_rate};
use bytes::Bytes;
use callbox_dialogue::engine::places_without_tags;
use callbox_dialogue::leg::{VoiceSettings, WordMark};
use callbox_dialogue::script::Segment;
use callbox_dialogue::time::Millis;
use callbox_media::{Clip, FRAME};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
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
/// Rehearsals that are remembered, and that may wait.
const MAX_REHEARSED: usize = 4_096;
const MAX_REHEARSALS: usize = 64;
/// How long a rehearsal waits for calls that are being served.
const LONGEST_DEFERENCE: Duration = Duration::from_secs(2);
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

/// The speech of the host: synthesisers with normalisation and a cache,
/// shared by all calls. Cheap to clone.
#[derive(Clone)]
pub struct Speech {
    room: Arc<Room>,
}

struct Room {
    order: Order,
    renders: Arc<Renders>,
    assets: Arc<Assets>,
    max_text: usize,
    /// Digests of the names of what was rendered ahead.
    rehearsed: Mutex<Lru<[u8; 32], ()>>,
    /// Rehearsals that run or wait.
    rehearsals: AtomicUsize,
    /// One of them at a time.
    stage: tokio::sync::Mutex<()>,
}

/// A rehearsal, which is counted.
struct Rehearsal {
    speech: Speech,
}

impl Rehearsal {
    fn begin(speech: Speech) -> Self {
        speech.room.rehearsals.fetch_add(1, Ordering::Relaxed);
        Self { speech }
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        self.speech.room.rehearsals.fetch_sub(1, Ordering::Relaxed);
    }
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
        Self::with_speakers(config, vec![Speaker::new(engine)])
    }

    /// The same with these synthesisers, in the order in which they are asked.
    ///
    /// Whoever has the voice that a script asks for, speaks; without one,
    /// whoever speaks the language. One that fails is followed by the next,
    /// with the sentence that it did not bring to its end, and after some
    /// failures it is left alone for a while.
    ///
    /// # Errors
    /// `CacheDirectory` when the directory cannot be used.
    pub fn with_speakers(config: SpeechConfig, speakers: Vec<Speaker>) -> Result<Self, SpeechError> {
        let CacheConfig { memory_bytes, directory, directory_bytes } = config.cache;
        let disk = directory.map(|directory| Disk::open(&directory, directory_bytes)).transpose()?;
        let room = Room {
            order: Order::new(speakers),
            renders: Renders::new(memory_bytes, disk),
            assets: Arc::new(Assets::new(config.asset_bytes)),
            max_text: config.max_text,
            rehearsed: Mutex::new(Lru::new(MAX_REHEARSED)),
            rehearsals: AtomicUsize::new(0),
            stage: tokio::sync::Mutex::default(),
        };
        Ok(Self { room: Arc::new(room) })
    }

    /// Renders one segment: text and SSML by a synthesiser, silence, and
    /// assets, whose bytes the caller finds. To be called within a tokio
    /// runtime.
    ///
    /// The first sentence is there as soon as it begins to be rendered; those
    /// after it are rendered ahead. Words are marked by their place in the
    /// segment's own text, as the script wrote it; of SSML, in its text without
    /// the tags. The channel ends after the last chunk, or after one error.
    /// Dropping it stops what nobody else waits for.
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

    /// Whether some synthesiser knows this voice, language and rate.
    ///
    /// # Errors
    /// `UnknownVoice`, `UnknownLanguage`, `InvalidRate`.
    pub fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError> {
        self.room.order.candidates(voice).map(drop)
    }

    /// Finds out whether each synthesiser works by letting it say a word, and
    /// tells its name with its version or with what is wrong: for `callbox
    /// doctor` and the start of the host.
    pub async fn check(&self) -> Vec<(String, Result<String, SpeechError>)> {
        let mut all = Vec::new();
        for post in self.room.order.posts() {
            all.push((post.speaker.name.clone(), try_out(&post.speaker).await));
        }
        all
    }

    /// Renders texts ahead, in the background and once for each `name`: what a
    /// script says in every call is in the cache then. One text at a time, and
    /// only while no call waits for a render. To be called within a tokio
    /// runtime.
    pub fn rehearse(&self, name: &str, texts: impl FnOnce() -> Vec<(String, VoiceSettings)>) {
        {
            let key: [u8; 32] = Sha256::digest(name).into();
            let mut known = self.room.rehearsed.lock().unwrap_or_else(PoisonError::into_inner);
            if known.get(&key).is_some() || self.room.rehearsals.load(Ordering::Relaxed) >= MAX_REHEARSALS {
                return;
            }
            known.insert(key, (), 1);
        }
        let rehearsal = Rehearsal::begin(self.clone());
        let texts = texts();
        tokio::spawn(async move {
            let speech = &rehearsal.speech;
            let _turn = speech.room.stage.lock().await;
            for (text, voice) in texts {
                speech.room.renders.idle(LONGEST_DEFERENCE).await;
                let mut chunks = speech.render(&Segment::Text(text), &voice, |_| None);
                while let Some(chunk) = chunks.recv().await {
                    if let Err(error) = chunk {
                        // It is said when it is needed, or fails then.
                        tracing::info!(code = error.code(), %error, "a prompt could not be rendered ahead");
                    }
                }
            }
        });
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

/// Lets an engine say a word. Not by way of the cache, which would speak for a
/// dead one.
async fn try_out(speaker: &Speaker) -> Result<String, SpeechError> {
    let engine = &speaker.engine;
    let info = engine.describe().await?;
    let language = match &speaker.languages {
        Languages::Some(languages) => languages.first().cloned(),
        Languages::All => None,
    };
    let voice = VoiceSettings { voice: None, language: language.unwrap_or_else(|| "en".to_owned()), rate: None };
    let mut parts = engine.speak(Utterance::new("hello".to_owned(), voice));
    loop {
        match parts.recv().await.transpose()? {
            Some(Part::Audio(_)) => {}
            Some(Part::End) => return Ok(format!("{}, {} voices", info.version, info.voices)),
            None => return Err(SpeechError::CutShort { engine: engine.name().to_owned() }),
        }
    }
}

/// What a segment consists of, in order.
enum Step {
    Say(Box<Sentence>),
    Pause(Arc<Clip>),
}

/// What is to be rendered, and where it stands in its segment.
struct Sentence {
    text: String,
    voice: VoiceSettings,
    manner: Manner,
    spoken: Arc<Spoken>,
    range: Range<usize>,
    /// For SSML: where each byte of it is in its text without tags.
    places: Option<Arc<[u32]>>,
}

impl Sentence {
    /// For a synthesiser that has chosen its own settings.
    fn utterance(&self, voice: VoiceSettings) -> Utterance {
        Utterance { text: self.text.clone(), voice, pitch: self.manner.pitch }
    }

    /// Words of the utterance, as words of the segment.
    fn in_segment(&self, mut words: Vec<WordMark>) -> Vec<WordMark> {
        if let Some(places) = &self.places {
            for word in &mut words {
                word.text_end = places.get(word.text_end as usize).or(places.last()).copied().unwrap_or(0);
            }
        }
        words
    }
}

/// Who says a sentence, as far as that has been found out.
struct Choice {
    voice: VoiceSettings,
    candidates: Vec<Candidate>,
    /// The first that has not failed.
    at: usize,
}

/// A sentence that is being rendered.
struct Ahead {
    sentence: Box<Sentence>,
    follower: Follower,
    /// Which choice, and who of it.
    choice: usize,
    at: usize,
}

/// The audio of a segment on its way.
struct Stream<'a> {
    chunks: &'a Chunks,
    /// Milliseconds of audio so far.
    elapsed: Millis,
}

impl Stream<'_> {
    /// `words` count from the beginning of the segment.
    async fn send(&mut self, clip: Arc<Clip>, words: Vec<WordMark>) {
        self.elapsed = self.elapsed.saturating_add(clip.duration_ms());
        // Where nobody listens, this task is about to be dropped.
        let _ = self.chunks.send(Ok(Chunk { clip, words })).await;
    }
}

impl Room {
    async fn work(&self, work: Work, voice: &VoiceSettings, chunks: &Chunks) -> Result<(), SpeechError> {
        let mut stream = Stream { chunks, elapsed: 0 };
        match work {
            Work::Text(text) => {
                self.bound(&text)?;
                let mut steps = VecDeque::new();
                let spoken = Arc::new(normalise(&text, &voice.language));
                say(&mut steps, &spoken, voice, Manner::default(), None);
                self.speak(steps, &mut stream).await
            }
            Work::Ssml(text) => {
                self.bound(&text)?;
                self.speak(steps(&text, voice)?, &mut stream).await
            }
            Work::Asset(path, bytes) => {
                let bytes = bytes.ok_or_else(|| SpeechError::AssetMissing { path: path.clone() })?;
                let clip = self.assets.clone().decode(path, bytes).await?;
                stream.send(clip, Vec::new()).await;
                Ok(())
            }
            Work::Silence(0) => Ok(()),
            Work::Silence(length) => {
                stream.send(Clip::silence(length.min(MAX_SILENCE)), Vec::new()).await;
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

    /// Says sentences in order, some of them rendered ahead.
    async fn speak(&self, mut steps: VecDeque<Step>, stream: &mut Stream<'_>) -> Result<(), SpeechError> {
        let mut choices: Vec<Choice> = Vec::new();
        let mut ahead: VecDeque<Ahead> = VecDeque::new();
        // Pauses, each before so many sentences less than there are.
        let mut pauses: VecDeque<(usize, Arc<Clip>)> = VecDeque::new();
        let (mut begun, mut said) = (0, 0);
        loop {
            while ahead.len() <= AHEAD
                && let Some(step) = steps.pop_front()
            {
                match step {
                    Step::Pause(clip) => pauses.push_back((begun, clip)),
                    Step::Say(sentence) => {
                        ahead.push_back(self.begin(sentence, &mut choices).await?);
                        begun += 1;
                    }
                }
            }
            while pauses.front().is_some_and(|(before, _)| *before <= said)
                && let Some((_, clip)) = pauses.pop_front()
            {
                stream.send(clip, Vec::new()).await;
            }
            let Some(next) = ahead.pop_front() else { return Ok(()) };
            self.bring(next, &mut choices, stream).await?;
            said += 1;
        }
    }

    /// Has a sentence rendered by the first who can.
    async fn begin(&self, sentence: Box<Sentence>, choices: &mut Vec<Choice>) -> Result<Ahead, SpeechError> {
        let choice = match choices.iter().position(|choice| choice.voice == sentence.voice) {
            Some(known) => known,
            None => {
                self.order.wake().await;
                let candidates = self.order.candidates(&sentence.voice)?;
                choices.push(Choice { voice: sentence.voice.clone(), candidates, at: 0 });
                choices.len() - 1
            }
        };
        let Choice { candidates, at, .. } = &mut choices[choice];
        loop {
            let Candidate { post, voice } = &candidates[*at];
            let last = *at + 1 == candidates.len();
            let fetched = match post.engine().describe().await {
                Ok(info) => Ok(self.renders.fetch(post, &info, sentence.utterance(voice.clone()), last)),
                Err(error) => Err(error),
            };
            match fetched {
                Ok(Some(follower)) => return Ok(Ahead { sentence, follower, choice, at: *at }),
                // It failed lately and is left alone.
                Ok(None) => *at += 1,
                Err(error) if !last => {
                    tracing::warn!(engine = post.speaker.name, code = error.code(), %error, "another voice steps in");
                    *at += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes the audio of one sentence on. Where an engine fails the next one
    /// says the sentence, from its beginning.
    async fn bring(
        &self,
        mut next: Ahead,
        choices: &mut Vec<Choice>,
        stream: &mut Stream<'_>,
    ) -> Result<(), SpeechError> {
        loop {
            if choices[next.choice].at > next.at {
                // Who was to say it has failed in the meantime.
                next = self.begin(next.sentence, choices).await?;
            }
            let Choice { candidates, .. } = &choices[next.choice];
            let post = candidates[next.at].post.clone();
            let last = next.at + 1 == candidates.len();
            match forward(next.follower, post.engine().word_times(), &next.sentence, stream).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_the_engines() && !last => {
                    tracing::warn!(engine = post.speaker.name, code = error.code(), %error, "another voice steps in");
                    let choice = &mut choices[next.choice];
                    choice.at = choice.at.max(next.at + 1);
                    next = self.begin(next.sentence, choices).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Passes the audio of one sentence on as it comes, with the times of its
/// words.
async fn forward(
    mut follower: Follower,
    word_times: bool,
    sentence: &Sentence,
    stream: &mut Stream<'_>,
) -> Result<(), SpeechError> {
    let began = stream.elapsed;
    let estimated = |duration| {
        let mut words = marks::estimate(&sentence.spoken.words(sentence.range.clone()), duration);
        words.iter_mut().for_each(|word| word.at = word.at.saturating_add(began));
        sentence.in_segment(words)
    };
    let loudness = sentence.manner.volume;
    // What is complete can be told with its beginning.
    let mut told = if word_times { Some(Vec::new()) } else { follower.complete_ms().map(estimated) };
    let all_told = told.is_some();
    while let Some(chunk) = follower.next().await {
        let Chunk { clip, mut words } = chunk?;
        if word_times {
            let base = stream.elapsed;
            marks::in_source(&mut words, &sentence.spoken, &sentence.range);
            words.iter_mut().for_each(|word| word.at = word.at.saturating_add(base));
            words = sentence.in_segment(words);
        } else {
            words = told.take().unwrap_or_default();
        }
        stream.send(at_loudness(clip, loudness), words).await;
    }
    if !all_told {
        let words = estimated(stream.elapsed - began);
        stream.send(Clip::from_pcm(Vec::new()), words).await;
    }
    Ok(())
}

/// The sentences of a text, with pauses between them.
fn say(
    steps: &mut VecDeque<Step>,
    spoken: &Arc<Spoken>,
    voice: &VoiceSettings,
    manner: Manner,
    places: Option<&Arc<[u32]>>,
) {
    for (i, range) in sentences(spoken.text()).into_iter().enumerate() {
        if i > 0 {
            steps.push_back(Step::Pause(pause_between(voice)));
        }
        let text = spoken.text()[range.clone()].to_owned();
        let (voice, spoken, places) = (voice.clone(), spoken.clone(), places.cloned());
        steps.push_back(Step::Say(Box::new(Sentence { text, voice, manner, spoken, range, places })));
    }
}

/// What an SSML document is made of.
fn steps(document: &str, voice: &VoiceSettings) -> Result<VecDeque<Step>, SpeechError> {
    let places: Arc<[u32]> = places_without_tags(document).into();
    let mut steps = VecDeque::new();
    let mut boundary = false;
    for piece in ssml::read(document, &voice.language)? {
        match piece {
            Piece::Pause(length) => {
                boundary = false;
                if length > 0 {
                    steps.push_back(Step::Pause(Clip::silence(length.next_multiple_of(FRAME_MS))));
                }
            }
            Piece::Boundary => boundary = !steps.is_empty(),
            Piece::Say(ssml::Run { spoken, language, manner }) => {
                let voice = in_manner(voice, language, manner);
                if boundary {
                    steps.push_back(Step::Pause(pause_between(&voice)));
                }
                // The next run may go on in the middle of a sentence.
                boundary = spoken.text().trim_end().ends_with(['.', '!', '?', '…', '。', '！', '？']);
                say(&mut steps, &Arc::new(spoken), &voice, manner, Some(&places));
            }
        }
    }
    Ok(steps)
}

/// A voice at another rate, and in another language by a voice of that.
fn in_manner(voice: &VoiceSettings, language: Option<String>, manner: Manner) -> VoiceSettings {
    let mut voice = voice.clone();
    if manner.rate != 100 {
        voice.rate = Some(nearest_rate(u32::from(voice.rate.unwrap_or(PACE)) * manner.rate / 100));
    }
    if let Some(language) = language {
        voice.language = language;
        voice.voice = None;
    }
    voice
}

/// A clip so many tenths of a decibel louder; silent for none.
fn at_loudness(clip: Arc<Clip>, volume: Option<i32>) -> Arc<Clip> {
    let factor = match volume {
        Some(0) => return clip,
        Some(tenths) => 10_f32.powf(tenths as f32 / 200.0),
        None => 0.0,
    };
    #[allow(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    let louder = |&sample: &i16| (f32::from(sample) * factor).round() as i16;
    Clip::from_pcm(clip.samples().iter().map(louder).collect())
}

/// Silence between two sentences, shorter for those who speak fast; whole
/// frames.
fn pause_between(voice: &VoiceSettings) -> Arc<Clip> {
    let pace = Millis::from(voice.rate.unwrap_or(PACE).max(1));
    let samples = (PAUSE_MS * Millis::from(PACE) / pace) as usize * 8;
    Clip::from_pcm(vec![0; samples.next_multiple_of(FRAME)])
}
