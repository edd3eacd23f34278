//! flite as a program of its own: English, small, and clearer on a telephone
//! line than espeak-ng, which is why tests have it as their caller.
//!
//! It reads a text from a file only where it can seek in its output, so that
//! what it says is an argument: other users of the machine may see it in the
//! list of processes.

use crate::chunks::{ChunkError, Parts, WavChunker};
use crate::error::SpeechError;
use crate::process::{Program, millis};
use crate::recogniser::Languages;
use crate::synthesiser::{EngineInfo, Part, Pending, Synthesiser, Utterance, check_rate, spawn};
use callbox_dialogue::leg::VoiceSettings;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, mpsc};

const NAME: &str = "flite";
const REMEDY: &str = "`apt-get install flite`, or configure the path of the program";
/// Longest text of one utterance, in bytes.
const MAX_TEXT: usize = 16 << 10;
/// Its list of voices is one line.
const MAX_LIST: usize = 16 << 10;
/// Words a minute at its own pace.
const PACE: f32 = 175.0;

/// How flite is run.
#[derive(Clone, Debug)]
pub struct FliteConfig {
    /// The program; found by `PATH` where it is a bare name.
    pub program: PathBuf,
    /// Its voice, where a script names none: `slt`, `rms`, `awb`, `kal16`.
    pub voice: String,
    /// A render is killed after so long.
    pub timeout: Duration,
    /// Processes at once. One takes about 120 ms of CPU for a sentence.
    pub processes: usize,
    /// Longest wait for a process.
    pub wait: Duration,
}

impl Default for FliteConfig {
    fn default() -> Self {
        Self {
            program: PathBuf::from(NAME),
            voice: "slt".to_owned(),
            timeout: Duration::from_secs(10),
            processes: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            wait: Duration::from_secs(10),
        }
    }
}

/// The synthesiser.
pub struct Flite {
    engine: Arc<Engine>,
}

struct Engine {
    config: FliteConfig,
    places: Semaphore,
    /// Version and voices, asked for once.
    found: OnceLock<(String, Vec<String>)>,
}

impl Flite {
    /// Starts nothing yet: a missing program is found out by
    /// [`Synthesiser::describe`] and by the first render.
    #[must_use]
    pub fn new(config: FliteConfig) -> Self {
        let places = Semaphore::new(config.processes.clamp(1, Semaphore::MAX_PERMITS));
        Self { engine: Arc::new(Engine { config, places, found: OnceLock::new() }) }
    }
}

impl Synthesiser for Flite {
    fn name(&self) -> &str {
        NAME
    }

    fn speak(&self, what: Utterance) -> mpsc::Receiver<Result<Part, SpeechError>> {
        let engine = self.engine.clone();
        spawn(|parts| async move { engine.render(&what, &parts).await })
    }

    fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError> {
        check_rate(voice)?;
        if !Languages::Some(vec!["en".to_owned()]).has(&voice.language) {
            return Err(SpeechError::UnknownLanguage { language: voice.language.chars().take(64).collect() });
        }
        let Some((_, voices)) = self.engine.found.get() else { return Ok(()) };
        match voice.voice.as_deref().map(str::trim) {
            Some(name) if !name.is_empty() && !voices.iter().any(|known| known == name) => Err(unknown(name)),
            _ => Ok(()),
        }
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>> {
        Box::pin(async {
            let (version, voices) = self.engine.found().await?;
            // The usual voice is no part of an utterance that names none.
            let version = format!("{version}, {}", self.engine.config.voice);
            Ok(EngineInfo { version, voices: voices.len() })
        })
    }
}

impl Engine {
    fn program(&self) -> Program<'_> {
        Program { path: &self.config.program, engine: NAME, remedy: REMEDY }
    }

    async fn found(&self) -> Result<&(String, Vec<String>), SpeechError> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let list = self.program().capture(&["-lv"], self.config.timeout, MAX_LIST).await?;
        let voices: Vec<String> =
            list.split_once(':').map_or("", |(_, names)| names).split_whitespace().map(str::to_owned).collect();
        if !voices.contains(&self.config.voice) {
            let what = format!("`flite -lv` lists no voice `{}`", self.config.voice);
            return Err(SpeechError::EngineBroken { engine: NAME, what });
        }
        // It says its version, and that this was a failure.
        let version = match self.program().capture(&["--version"], self.config.timeout, MAX_LIST).await {
            Ok(text) => {
                text.split_once("flite-").map(|(_, rest)| rest.chars().take_while(|c| !c.is_whitespace()).collect())
            }
            Err(_) => None,
        };
        Ok(self.found.get_or_init(|| (version.unwrap_or_else(|| "2".to_owned()), voices)))
    }

    async fn render(&self, what: &Utterance, parts: &Parts) -> Result<(), SpeechError> {
        if what.text.len() > MAX_TEXT {
            return Err(SpeechError::TooLong { what: "text of an utterance", limit: MAX_TEXT as u64 });
        }
        let (_, voices) = self.found().await?;
        let asked = what.voice.voice.as_deref().map(str::trim).filter(|name| !name.is_empty());
        // A voice may be a path or a URL to it: only those that it lists are.
        let voice = asked.unwrap_or(&self.config.voice);
        if !voices.iter().any(|known| known == voice) {
            return Err(unknown(voice));
        }
        let text: String = what.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let rate = check_rate(&what.voice)?;
        let stretch = rate.map(|rate| format!("duration_stretch={:.3}", PACE / f32::from(rate)));
        let place = tokio::time::timeout(self.config.wait, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(SpeechError::Overloaded { waiting: self.config.processes }) };
        let mut arguments = vec!["-voice", voice];
        if let Some(stretch) = &stretch {
            arguments.extend(["--setf", stretch]);
        }
        arguments.extend(["-t", &text, "-o", "/dev/stdout"]);
        match tokio::time::timeout(self.config.timeout, self.run(&arguments, parts)).await {
            Ok(done) => done,
            Err(_) => Err(SpeechError::TimedOut { engine: NAME, limit_ms: millis(self.config.timeout) }),
        }
    }

    async fn run(&self, arguments: &[&str], parts: &Parts) -> Result<(), SpeechError> {
        let bad = |what: String| SpeechError::BadAudio { engine: NAME, what };
        let explain = |error: ChunkError| error.explained(bad);
        let mut running = self.program().start(arguments)?;
        drop(running.stdin.take());
        let mut audio = WavChunker::new(parts);
        let mut buffer = vec![0; 16 << 10];
        loop {
            let n = running.stdout.read(&mut buffer).await.map_err(|error| bad(error.to_string()))?;
            if n == 0 {
                break;
            }
            audio.push(&buffer[..n]).await.map_err(explain)?;
        }
        // A crash explains missing audio better than the audio does.
        running.finish().await?;
        audio.finish().await.map_err(explain)
    }
}

fn unknown(name: &str) -> SpeechError {
    let voice = name.chars().filter(|c| !c.is_control()).take(64).collect();
    SpeechError::UnknownVoice { voice, remedy: "`flite -lv` lists the names" }
}
