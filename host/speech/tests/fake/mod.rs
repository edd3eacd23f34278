//! Engines that misbehave, as small shell scripts, and what tests ask of all
//! engines.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests, each of which uses a part and may panic")]

use callbox_dialogue::leg::{VoiceSettings, WordMark};
use callbox_dialogue::script::Segment;
use callbox_speech::{CacheConfig, Chunk, EspeakConfig, Part, Speech, SpeechConfig, SpeechError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A script that answers like espeak-ng until it is asked to speak.
pub(crate) struct FakeEngine {
    directory: TempDir,
}

impl FakeEngine {
    /// `body` is shell; it runs in the engine's own directory and finds one
    /// second of a tone in `tone.wav`.
    pub(crate) fn new(body: &str) -> Self {
        Self::answering(LISTS, body)
    }

    pub(crate) fn answering(lists: &str, body: &str) -> Self {
        let fake = Self { directory: TempDir::new().unwrap() };
        let directory = fake.directory.path().display();
        let script = format!("#!/bin/sh\ncd '{directory}' || exit 99\n{lists}\n{body}\n");
        fake.put("tone.wav", &tone(22_050));
        // Written by another process: a file that any of ours has open for writing cannot be executed.
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(fake.program())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        fake
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.path("engine")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Lines of a file that the script writes.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Patient, for machines that do much else.
    pub(crate) fn config(&self) -> EspeakConfig {
        let patient = Duration::from_secs(60);
        EspeakConfig { program: self.program(), timeout: patient, wait: patient, ..EspeakConfig::default() }
    }

    pub(crate) fn speech(&self) -> Speech {
        self.speech_with(self.config(), None)
    }

    /// What a check of it finds.
    pub(crate) async fn check(&self, espeak: EspeakConfig) -> Result<String, SpeechError> {
        check(&self.speech_with(espeak, None)).await
    }

    pub(crate) fn speech_with(&self, espeak: EspeakConfig, directory: Option<&Path>) -> Speech {
        let cache = CacheConfig { directory: directory.map(Path::to_owned), ..CacheConfig::default() };
        Speech::new(SpeechConfig { espeak, cache, ..SpeechConfig::default() }).unwrap()
    }
}

const LISTS: &str = r#"
case "$1" in
--version) echo 'eSpeak NG text-to-speech: 1.51  Data at: /nowhere'; exit;;
--voices=variant) echo 'Pty Language Age/Gender VoiceName File Other'; exit;;
--voices)
    echo 'Pty Language Age/Gender VoiceName File Other'
    echo ' 2  en-gb  --/M  English_(Great_Britain)  gmw/en  (en 2)'
    exit;;
esac"#;

/// One second of 440 Hz, with the length that a pipe gets.
pub(crate) fn tone(rate: u32) -> Vec<u8> {
    let mut out = b"RIFF\x24\xf0\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    out.extend(rate.to_le_bytes());
    out.extend((rate * 2).to_le_bytes());
    out.extend(b"\x02\0\x10\0data\0\xf0\xff\x7f");
    let sample = |i: u32| (8_000.0 * (i as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin()) as i16;
    out.extend((0..rate).flat_map(|i| sample(i).to_le_bytes()));
    out
}

/// What a check of the only engine finds.
pub(crate) async fn check(speech: &Speech) -> Result<String, SpeechError> {
    let mut checked = speech.check().await;
    assert_eq!(checked.len(), 1);
    checked.remove(0).1
}

pub(crate) fn voice(language: &str) -> VoiceSettings {
    VoiceSettings { voice: None, language: language.to_owned(), rate: None }
}

pub(crate) fn text(text: &str) -> Segment {
    Segment::Text(text.to_owned())
}

/// All that a channel gives.
pub(crate) async fn collect(mut chunks: mpsc::Receiver<Result<Chunk, SpeechError>>) -> Result<Vec<Chunk>, SpeechError> {
    let mut all = Vec::new();
    while let Some(chunk) = within(chunks.recv()).await {
        all.push(chunk?);
    }
    Ok(all)
}

/// All that an engine gives; it must end as it should.
pub(crate) async fn speak_all(mut parts: mpsc::Receiver<Result<Part, SpeechError>>) -> Result<Vec<Chunk>, SpeechError> {
    let mut all = Vec::new();
    loop {
        match within(parts.recv()).await {
            Some(Ok(Part::Audio(chunk))) => all.push(chunk),
            Some(Ok(Part::End)) => {
                assert!(within(parts.recv()).await.is_none(), "something after the end");
                return Ok(all);
            }
            Some(Err(error)) => {
                assert!(within(parts.recv()).await.is_none(), "something after an error");
                return Err(error);
            }
            None => panic!("the channel ended without an end"),
        }
    }
}

pub(crate) async fn render(speech: &Speech, what: &str, language: &str) -> Result<Vec<Chunk>, SpeechError> {
    collect(speech.render(&text(what), &voice(language), |_| None)).await
}

pub(crate) fn samples(chunks: &[Chunk]) -> Vec<i16> {
    chunks.iter().flat_map(|chunk| chunk.clip.samples().to_vec()).collect()
}

/// All marks of a segment.
pub(crate) fn marks(chunks: &[Chunk]) -> Vec<WordMark> {
    chunks.iter().flat_map(|chunk| chunk.words.clone()).collect()
}

pub(crate) fn duration(chunks: &[Chunk]) -> u32 {
    chunks.iter().map(|chunk| chunk.clip.duration_ms()).sum()
}

/// Nothing in these tests takes long; what does has failed.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), work).await.expect("it takes too long")
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// Whether a process with this number exists and is no zombie.
pub(crate) fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}
