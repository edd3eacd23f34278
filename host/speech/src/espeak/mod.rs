//! espeak-ng as a program of its own, one process for an utterance.
//!
//! It is licensed under the GPL, so that it is never linked; and it crashes on
//! input it does not expect, which then costs one sentence and nothing else.
//!
//! What it must never see, because it obeys:
//! * control characters: U+0001 begins a command that changes the voice or
//!   plays a sound;
//! * `[[`, which begins phoneme codes;
//! * SSML: `<audio src="…">` opens any file, or hands its name to a shell (1.51
//!   runs `sox` through `system`). Markup is read by [`crate::ssml`], and what
//!   comes here is text.

mod voices;

use crate::chunks::{ChunkError, Parts, WavChunker};
use crate::error::SpeechError;
use crate::process::{Program, millis};
use crate::synthesiser::{EngineInfo, PITCHES, Part, Pending, Synthesiser, USUAL_PITCH, Utterance, check_rate, spawn};
use callbox_dialogue::leg::VoiceSettings;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc};
use tokio::time::Instant;
use voices::{Selection, Voices};

const NAME: &str = "espeak-ng";
const REMEDY: &str = "`apt-get install espeak-ng`, or configure the path of the program";
/// Longest text of one utterance, in bytes.
const MAX_TEXT: usize = 32 * 1_024;
/// Time allowed for each byte of text, on top of [`EspeakConfig::timeout`]:
/// a thousand times what it takes.
const TIMEOUT_PER_BYTE: Duration = Duration::from_millis(10);
/// Its lists of voices are 10 kB each.
const MAX_LIST: usize = 256 * 1_024;
/// After a failure the lists are asked for again, but not at once.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How espeak-ng is run.
#[derive(Clone, Debug)]
pub struct EspeakConfig {
    /// The program; found by `PATH` where it is a bare name.
    pub program: PathBuf,
    /// A render is killed after so long, and 10 ms more for each byte of text.
    pub timeout: Duration,
    /// Processes at once. One takes about 5 ms of CPU for a sentence.
    pub processes: usize,
    /// Renders that may wait for a process; more are refused.
    pub waiting: usize,
    /// Longest wait for a process.
    pub wait: Duration,
}

impl Default for EspeakConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            program: PathBuf::from(NAME),
            timeout: Duration::from_secs(5),
            processes: (2 * cores).max(4),
            waiting: 1_024,
            wait: Duration::from_secs(10),
        }
    }
}

/// The synthesiser.
pub struct Espeak {
    engine: Arc<Engine>,
}

struct Engine {
    config: EspeakConfig,
    places: Semaphore,
    waiting: AtomicUsize,
    voices: OnceLock<Arc<Voices>>,
    /// The last failure to load them; held while they are being loaded.
    failure: Mutex<Option<(SpeechError, Instant)>>,
}

impl Espeak {
    /// Starts nothing yet: a missing program is found out by
    /// [`Synthesiser::describe`] and by the first render.
    #[must_use]
    pub fn new(config: EspeakConfig) -> Self {
        let places = Semaphore::new(config.processes.clamp(1, Semaphore::MAX_PERMITS));
        let engine =
            Engine { config, places, waiting: AtomicUsize::new(0), voices: OnceLock::new(), failure: Mutex::default() };
        Self { engine: Arc::new(engine) }
    }
}

impl Synthesiser for Espeak {
    fn name(&self) -> &str {
        NAME
    }

    fn speak(&self, what: Utterance) -> mpsc::Receiver<Result<Part, SpeechError>> {
        let engine = self.engine.clone();
        spawn(|parts| async move { engine.render(&what, &parts).await })
    }

    fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError> {
        match self.engine.voices.get() {
            Some(voices) => voices.select(voice).map(drop),
            None => check_rate(voice).map(drop),
        }
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>> {
        Box::pin(async {
            let voices = self.engine.voices().await?;
            Ok(EngineInfo { version: voices.version.clone(), voices: voices.count() })
        })
    }
}

impl Engine {
    fn program(&self) -> Program<'_> {
        Program { path: &self.config.program, engine: NAME, remedy: REMEDY }
    }

    /// The voices, asked for once.
    async fn voices(&self) -> Result<Arc<Voices>, SpeechError> {
        if let Some(voices) = self.voices.get() {
            return Ok(voices.clone());
        }
        let mut failure = self.failure.lock().await;
        if let Some(voices) = self.voices.get() {
            return Ok(voices.clone());
        }
        if let Some((error, at)) = &*failure
            && at.elapsed() < RETRY_AFTER
        {
            return Err(error.clone());
        }
        match self.load_voices().await {
            Ok(voices) => Ok(self.voices.get_or_init(|| Arc::new(voices)).clone()),
            Err(error) => {
                *failure = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }

    async fn load_voices(&self) -> Result<Voices, SpeechError> {
        let ask = |argument: &'static str| async move {
            self.program().capture(&[argument], self.config.timeout, MAX_LIST).await
        };
        let (version, voices, variants) = tokio::try_join!(ask("--version"), ask("--voices"), ask("--voices=variant"))?;
        let voices = Voices::parse(&version, &voices, &variants);
        if voices.count() == 0 {
            return Err(SpeechError::EngineBroken {
                engine: NAME,
                what: format!("`{} --voices` lists no voice", self.config.program.display()),
            });
        }
        Ok(voices)
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, SpeechError> {
        if let Ok(permit) = self.places.try_acquire() {
            return Ok(permit);
        }
        let waiting = Waiting::enter(&self.waiting);
        let overloaded = SpeechError::Overloaded { waiting: waiting.others };
        if waiting.others >= self.config.waiting {
            return Err(overloaded);
        }
        match tokio::time::timeout(self.config.wait, self.places.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded),
        }
    }

    async fn render(&self, what: &Utterance, chunks: &Parts) -> Result<(), SpeechError> {
        if what.text.len() > MAX_TEXT {
            return Err(SpeechError::TooLong { what: "text of an utterance", limit: MAX_TEXT as u64 });
        }
        let selection = self.voices().await?.select(&what.voice)?;
        let text = harmless(&what.text);
        let limit = self.config.timeout + TIMEOUT_PER_BYTE * u32::try_from(text.len()).unwrap_or(u32::MAX);
        let _place = self.place().await?;
        match tokio::time::timeout(limit, self.run(&selection, what.pitch, &text, chunks)).await {
            Ok(done) => done,
            Err(_) => Err(SpeechError::TimedOut { engine: NAME, limit_ms: millis(limit) }),
        }
    }

    async fn run(&self, selection: &Selection, pitch: u16, text: &str, chunks: &Parts) -> Result<(), SpeechError> {
        let rate = selection.rate.map(|rate| rate.to_string());
        // Its 50 is the usual pitch, 0 an octave below, 99 an octave above, about.
        let of_espeak = (pitch.clamp(*PITCHES.start(), *PITCHES.end()) / 2).min(99).to_string();
        // UTF-8; no pause after the last sentence. The text goes through standard input: nothing in it is an option.
        let mut arguments = vec!["-v", &selection.voice, "-b", "1", "-z", "--stdin", "--stdout"];
        if let Some(rate) = &rate {
            arguments.extend(["-s", rate]);
        }
        if pitch != USUAL_PITCH {
            arguments.extend(["-p", &of_espeak]);
        }
        let mut running = self.program().start(&arguments)?;
        let stdin = running.stdin.take();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input fails in its own words.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let mut audio = WavChunker::new(chunks);
        let listen = async {
            let mut buffer = vec![0; 16 * 1_024];
            loop {
                let n = running.stdout.read(&mut buffer).await.map_err(|error| bad_audio(&error))?;
                if n == 0 {
                    return Ok(());
                }
                audio.push(&buffer[..n]).await.map_err(explain)?;
            }
        };
        let ((), heard) = tokio::join!(feed, listen);
        heard?;
        // A crash explains missing audio better than the audio does.
        running.finish().await?;
        audio.finish().await.map_err(explain)
    }
}

fn explain(error: ChunkError) -> SpeechError {
    error.explained(|what| SpeechError::BadAudio { engine: NAME, what })
}

fn bad_audio(what: &dyn std::fmt::Display) -> SpeechError {
    SpeechError::BadAudio { engine: NAME, what: what.to_string() }
}

/// The text without what the engine would take for commands.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c == '[' && out.ends_with('[') {
            out.push(' ');
        }
        out.push(if c.is_control() && c != '\n' { ' ' } else { c });
    }
    out
}

/// See [`crate::fuzz::voice_list`].
pub(crate) fn fuzz_voices(list: &str) {
    let voices = Voices::parse(list, list, list);
    let names = list.split_whitespace().take(64).chain(["", "en", "zh", "en+f3"]);
    for name in names {
        for (voice, language) in [(Some(name.to_owned()), "en"), (None, name)] {
            let settings = VoiceSettings { voice, language: language.to_owned(), rate: None };
            if let Ok(Selection { voice, .. }) = voices.select(&settings) {
                assert!(!voice.is_empty() && !voice.starts_with('-'), "{voice}");
            }
        }
    }
}

/// One render in the queue.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    /// How many waited before it.
    others: usize,
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Self { count, others: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The voice that is chosen for Mandarin reads hanzi, and not pinyin in
    /// English letters.
    #[tokio::test]
    async fn reads_mandarin_in_mandarin() {
        let espeak = Espeak::new(EspeakConfig::default());
        let voices = espeak.engine.voices().await.unwrap();
        for language in ["zh-CN", "cmn", "zh"] {
            let settings = VoiceSettings { voice: None, language: language.to_owned(), rate: None };
            let voice = voices.select(&settings).unwrap().voice;
            for text in ["您好", "两点三十分", "好"] {
                let arguments = ["-q", "-b", "1", "--ipa", "-v", &voice, "--", text];
                let phonemes =
                    espeak.engine.program().capture(&arguments, Duration::from_secs(5), 4_096).await.unwrap();
                assert!(!phonemes.trim().is_empty() && !phonemes.contains("(en)"), "{voice} {text}: {phonemes}");
            }
        }
    }

    #[test]
    fn takes_the_commands_out_of_a_text() {
        assert_eq!(harmless("plain text\nof two lines"), "plain text\nof two lines");
        assert_eq!(harmless("a \u{1}80S b\u{0}\u{1b}\u{85}"), "a  80S b   ");
        assert_eq!(harmless("[[h@loU]] [[[["), "[ [h@loU]] [ [ [ [");
        assert_eq!(harmless("-v -w --stdout"), "-v -w --stdout");
    }
}
