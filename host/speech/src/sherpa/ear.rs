//! A recogniser of the operator's: a model in a folder.

use super::folder::{self, EarKind, EarModel};
use super::{NAME, library};
use crate::recogniser::process::{Process, Program};
use crate::recogniser::worker::Setting;
use crate::recogniser::worker::frames::Job;
use crate::recogniser::{Abilities, Heard, Languages, Listening, Recogniser, RecogniserError, Run, Work};
use crate::remote::hints;
use crate::synthesiser::{EngineInfo, Pending};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What there is to do about a folder that is no model.
const REMEDY: &str = "docs/speech.md tells which folders are known";

/// How sherpa-onnx listens.
#[derive(Clone, Debug)]
pub struct SherpaEarConfig {
    /// Its name in logs and figures.
    pub name: String,
    /// The library, where it is not found by itself.
    pub library: Option<PathBuf>,
    /// The folder of the model.
    pub folder: PathBuf,
    /// What the model is, where its files do not tell.
    pub kind: Option<EarKind>,
    /// What the model hears.
    pub languages: Languages,
    /// Threads of one recognition: 1 is best where many calls are recognised.
    pub threads: u16,
    /// A program whose `recogniser-worker` is [`crate::recogniser::recogniser_worker`]: our own.
    pub worker: PathBuf,
}

/// The recogniser.
pub struct SherpaEar {
    engine: Arc<Engine>,
}

struct Engine {
    config: SherpaEarConfig,
    /// What the configuration says, or the name of the folder.
    streams: bool,
    process: OnceCell<(Process, EarModel)>,
}

impl SherpaEar {
    /// Starts nothing yet: a folder that is no model, or a missing library, is found out by [`Recogniser::describe`] and
    /// by the first recognition.
    #[must_use]
    pub fn new(config: SherpaEarConfig) -> Self {
        // Abilities are asked for before anything runs. A folder that cannot be read now is an error later.
        let kind = config.kind.or_else(|| folder::ear(&config.folder, None).ok().map(|model| model.kind));
        let streams = kind.is_some_and(EarKind::is_streaming);
        Self { engine: Arc::new(Engine { config, streams, process: OnceCell::new() }) }
    }

    /// The number of the process that the library runs in, once it has been started: to see what it takes, and for tests
    /// to end it.
    pub async fn process_id(&self) -> Option<u32> {
        self.engine.process.get()?.0.id().await
    }
}

impl Recogniser for SherpaEar {
    fn name(&self) -> &str {
        &self.engine.config.name
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            languages: self.engine.config.languages.clone(),
            dictation: true,
            grammars: false,
            partials: self.engine.streams,
            alternatives: false,
            word_times: true,
            own_end_pointing: false,
            // What the library has are the logarithms of its choices, which say nothing of whether they were right.
            confidence: None,
        }
    }

    fn start(&self, what: Listening) -> Run {
        let engine = self.engine.clone();
        Run::spawn(|work| async move { engine.recognise(what, work).await })
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, RecogniserError>> {
        Box::pin(async {
            let (process, model) = self.engine.process().await?;
            let version = process.version().await?;
            let folder = model.tokens.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
            Ok(EngineInfo { version: format!("{version}, {}", folder.to_string_lossy()), voices: 0 })
        })
    }
}

impl Engine {
    /// The process, once the folder has been looked into.
    async fn process(&self) -> Result<&(Process, EarModel), RecogniserError> {
        self.process.get_or_try_init(|| async { self.find() }).await
    }

    fn find(&self) -> Result<(Process, EarModel), RecogniserError> {
        let config = &self.config;
        let model = folder::ear(&config.folder, config.kind).map_err(|error| RecogniserError::Missing {
            engine: config.name.clone(),
            what: error.to_string(),
            remedy: REMEDY.to_owned(),
        })?;
        let setting = Setting::SherpaEar {
            library: library(config.library.as_deref(), &config.folder),
            model: model.clone(),
            threads: config.threads.max(1),
        };
        let program = Program { path: config.worker.clone(), engine: config.name.clone(), setting };
        Ok((Process::new(program), model))
    }

    async fn recognise(&self, what: Listening, work: Work) -> Result<Heard, RecogniserError> {
        let job = self.job(&what).await?;
        self.process().await?.0.recognise(&job, work).await
    }

    async fn job(&self, what: &Listening) -> Result<Job, RecogniserError> {
        if !matches!(what.rate_hz, 8_000 | 16_000) {
            let what = format!("{} samples a second", what.rate_hz);
            return Err(RecogniserError::InvalidSetting { engine: self.config.name.clone(), what });
        }
        let (_, model) = self.process().await?;
        let asked = what.languages.iter().find(|tag| self.config.languages.has(tag)).or(what.languages.first());
        // Those that it cannot spell are left out: they make nothing less likely.
        let hints = hints(what).iter().filter_map(|hint| model.spelt(hint)).collect();
        Ok(Job {
            rate_hz: what.rate_hz,
            partials: what.partials,
            language: asked.map_or_else(|| "en".to_owned(), Clone::clone),
            hints,
            ..Job::default()
        })
    }
}

impl Default for SherpaEarConfig {
    fn default() -> Self {
        Self {
            name: NAME.to_owned(),
            library: None,
            folder: PathBuf::new(),
            kind: None,
            languages: Languages::All,
            threads: 1,
            worker: PathBuf::new(),
        }
    }
}
