//! A voice of the operator's: a model in a folder.

use super::folder::{self, VoiceKind, VoiceModel};
use super::{NAME, library, phonemes};
use crate::chunks::{Chunker, Parts};
use crate::error::SpeechError;
use crate::process::millis;
use crate::recogniser::process::{Process, Program};
use crate::recogniser::worker::Setting;
use crate::recogniser::worker::frames::SpeakJob;
use crate::recogniser::{Languages, RecogniserError};
use crate::synthesiser::{EngineInfo, Part, Pending, Synthesiser, Utterance, check_rate, named, spawn};
use callbox_dialogue::leg::VoiceSettings;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, mpsc};

/// Longest text of one utterance, in bytes.
const MAX_TEXT: usize = 16 << 10;
/// Words a minute that a model's own pace is taken to be.
const PACE: f32 = 175.0;

/// How sherpa-onnx speaks.
#[derive(Clone, Debug)]
pub struct SherpaVoiceConfig {
    /// Its name in logs and figures.
    pub name: String,
    /// The library, where it is not found by itself.
    pub library: Option<PathBuf>,
    /// The folder of the model.
    pub folder: PathBuf,
    /// What the model is, where its files do not tell.
    pub kind: Option<VoiceKind>,
    /// What it speaks.
    pub languages: Languages,
    /// The number of the speaker where nobody names one.
    pub voice: Option<String>,
    /// Speakers by language (BCP 47).
    pub voices: BTreeMap<String, String>,
    /// Threads of one render.
    pub threads: u16,
    /// Renders at once.
    pub at_once: usize,
    /// Longest wait for the next piece of audio, and for a place.
    pub patience: Duration,
    /// A program whose `recogniser-worker` is [`crate::recogniser::recogniser_worker`]: our own.
    pub worker: PathBuf,
    /// espeak-ng, for models that take phonemes.
    pub espeak: PathBuf,
}

impl Default for SherpaVoiceConfig {
    fn default() -> Self {
        Self {
            name: NAME.to_owned(),
            library: None,
            folder: PathBuf::new(),
            kind: None,
            languages: Languages::All,
            voice: None,
            voices: BTreeMap::new(),
            threads: 1,
            at_once: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            patience: Duration::from_secs(20),
            worker: PathBuf::new(),
            espeak: "espeak-ng".into(),
        }
    }
}

/// The synthesiser.
pub struct SherpaVoice {
    engine: Arc<Engine>,
}

struct Engine {
    config: SherpaVoiceConfig,
    process: OnceCell<(Process, VoiceModel)>,
    places: Semaphore,
    /// How many speakers there are, once the model has been asked.
    speakers: OnceLock<u32>,
}

impl SherpaVoice {
    /// Starts nothing yet: a folder that is no model, or a missing library, is found out by [`Synthesiser::describe`] and
    /// by the first render.
    #[must_use]
    pub fn new(config: SherpaVoiceConfig) -> Self {
        let places = Semaphore::new(config.at_once.clamp(1, Semaphore::MAX_PERMITS));
        Self { engine: Arc::new(Engine { config, process: OnceCell::new(), places, speakers: OnceLock::new() }) }
    }
}

impl Synthesiser for SherpaVoice {
    fn name(&self) -> &str {
        &self.engine.config.name
    }

    fn speak(&self, what: Utterance) -> mpsc::Receiver<Result<Part, SpeechError>> {
        let engine = self.engine.clone();
        spawn(|parts| async move { engine.render(&what, &parts).await })
    }

    fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError> {
        check_rate(voice)?;
        if !self.engine.config.languages.has(&voice.language) {
            return Err(SpeechError::UnknownLanguage { language: voice.language.chars().take(64).collect() });
        }
        self.engine.speaker(voice).map(drop)
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>> {
        Box::pin(async {
            let (version, speakers) = self.engine.ready().await?;
            // A change of anything that changes its audio changes this.
            let config = &self.engine.config;
            let folder = config.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut version = format!("{version}, {folder}");
            for (language, voice) in &config.voices {
                version.push_str(&format!(", {language} {voice}"));
            }
            if let Some(voice) = &config.voice {
                version.push_str(&format!(", speaker {voice}"));
            }
            Ok(EngineInfo { version, voices: usize::try_from(speakers).unwrap_or(usize::MAX) })
        })
    }
}

impl Engine {
    /// The number of the speaker: of the script, of the language, of the configuration, or the first.
    fn speaker(&self, settings: &VoiceSettings) -> Result<u32, SpeechError> {
        let named = named(settings, &self.config.voices, self.config.voice.as_deref());
        let Some(name) = named else { return Ok(0) };
        let known = self.speakers.get().copied().unwrap_or(u32::MAX);
        name.parse().ok().filter(|number| *number < known).ok_or_else(|| SpeechError::UnknownVoice {
            voice: name.chars().filter(|c| !c.is_control()).take(64).collect(),
            remedy: "the speakers of a sherpa-onnx model are numbers, from 0",
        })
    }

    /// The process, once the folder has been looked into.
    async fn process(&self) -> Result<&(Process, VoiceModel), SpeechError> {
        self.process.get_or_try_init(|| async { self.find() }).await
    }

    fn find(&self) -> Result<(Process, VoiceModel), SpeechError> {
        let config = &self.config;
        let model = folder::voice(&config.folder, config.kind)
            .map_err(|error| SpeechError::EngineBroken { engine: NAME, what: error.to_string() })?;
        let setting = Setting::SherpaVoice {
            library: library(config.library.as_deref(), &config.folder),
            model: model.clone(),
            threads: config.threads.max(1),
        };
        let program = Program { path: config.worker.clone(), engine: config.name.clone(), setting };
        Ok((Process::new(program), model))
    }

    /// Version and number of speakers; starts the process where it does not run.
    async fn ready(&self) -> Result<(String, u32), SpeechError> {
        let (version, speakers) = self.process().await?.0.ready().await.map_err(failed)?;
        Ok((version, *self.speakers.get_or_init(|| speakers)))
    }

    async fn render(&self, what: &Utterance, parts: &Parts) -> Result<(), SpeechError> {
        if what.text.len() > MAX_TEXT {
            return Err(SpeechError::TooLong { what: "text of an utterance", limit: MAX_TEXT as u64 });
        }
        let rate = check_rate(&what.voice)?;
        self.ready().await?;
        let speaker = self.speaker(&what.voice)?;
        let (process, model) = self.process().await?;
        let text: String = what.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let phonemes = match &model.phonemes {
            Some(voice) => Some(phonemes::of(&self.config.espeak, voice, &text).await?),
            None => None,
        };
        let speed = rate.map_or(1.0, |rate| f32::from(rate) / PACE);
        let job = SpeakJob { text: if phonemes.is_some() { String::new() } else { text }, phonemes, speaker, speed };
        let place = tokio::time::timeout(self.config.patience, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(SpeechError::Overloaded { waiting: self.config.at_once }) };
        let mut chunker = Chunker::new(parts);
        let mut speaking = process.speak(&job).await.map_err(failed)?;
        loop {
            let next = tokio::time::timeout(self.config.patience, speaking.next()).await;
            let Ok(next) = next else {
                return Err(SpeechError::TimedOut { engine: NAME, limit_ms: millis(self.config.patience) });
            };
            let explain = |what| SpeechError::BadAudio { engine: NAME, what };
            match next.map_err(failed)? {
                Some((rate, samples)) => {
                    chunker.push(rate, &samples).await.map_err(|error| error.explained(explain))?;
                }
                None => return chunker.finish().await.map_err(|error| error.explained(explain)),
            }
        }
    }
}

/// What the process says, as an error of a voice.
fn failed(error: RecogniserError) -> SpeechError {
    let what = match error {
        RecogniserError::Missing { what, remedy, .. } => format!("{what}; {remedy}"),
        RecogniserError::Broken { what, .. } | RecogniserError::Rubbish { what, .. } => what,
        RecogniserError::Crashed { .. } => return SpeechError::CutShort { engine: NAME.to_owned() },
        RecogniserError::TimedOut { limit_ms, .. } => return SpeechError::TimedOut { engine: NAME, limit_ms },
        other => other.to_string(),
    };
    SpeechError::EngineBroken { engine: NAME, what }
}
