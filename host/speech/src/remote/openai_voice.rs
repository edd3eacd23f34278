//! `POST …/audio/speech`, as OpenAI has it and many others do.
//!
//! Servers differ in what they make of `response_format` and stream as they
//! like, so that what came is told by its `Content-Type` and its first bytes:
//! WAV, raw samples, or server-sent events with pieces of samples in base64.

use super::dial::{Body, Dialer};
use super::sse::Events;
use super::voice::{Pcm, RemoteVoice};
use super::{ProviderFailure, shorten};
use crate::chunks::{Chunker, Parts, WavChunker};
use crate::error::SpeechError;
use crate::synthesiser::{EngineInfo, Part, Pending, Synthesiser, Utterance, spawn};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use callbox_dialogue::leg::VoiceSettings;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes of one answer: five minutes at 48 kHz.
const MAX_ANSWER: usize = 32 << 20;
/// Bytes of a refusal that came with a status of success.
const MAX_WORDS: usize = 64 << 10;
/// How fast it can be asked to speak.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=4.0;

/// A synthesiser that speaks OpenAI's HTTP protocol, an utterance at a time.
pub struct OpenAiVoice {
    shared: Arc<Shared>,
}

struct Shared {
    voice: RemoteVoice,
    dialer: Dialer,
}

impl OpenAiVoice {
    /// The URL of the provider is that of its API, for example `https://api.openai.com/v1`.
    #[must_use]
    pub fn new(voice: RemoteVoice, dialer: Dialer) -> Self {
        Self { shared: Arc::new(Shared { voice, dialer }) }
    }
}

impl Synthesiser for OpenAiVoice {
    fn name(&self) -> &str {
        &self.shared.voice.provider.name
    }

    fn speak(&self, what: Utterance) -> mpsc::Receiver<Result<Part, SpeechError>> {
        let shared = self.shared.clone();
        spawn(|parts| async move { shared.render(&what, &parts).await })
    }

    fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError> {
        self.shared.voice.supports(voice)
    }

    fn takes_any_voice(&self) -> bool {
        true
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>> {
        Box::pin(std::future::ready(Ok(self.shared.voice.info("OpenAI-compatible"))))
    }
}

impl Shared {
    async fn render(&self, what: &Utterance, parts: &Parts) -> Result<(), SpeechError> {
        let provider = &self.voice.provider;
        let mut asked = json!({
            "model": provider.model.as_deref().unwrap_or("tts-1"),
            "input": what.text,
            "voice": self.voice.named(&what.voice).unwrap_or("alloy"),
            "response_format": "pcm",
        });
        if let Some(speed) = self.voice.speed(&what.voice) {
            asked["speed"] = json!(speed.clamp(*SPEEDS.start(), *SPEEDS.end()));
        }
        let request = self.dialer.post(provider, provider.at("/audio/speech")).json(&asked);
        let body = self.dialer.exchange(provider, request).await.map_err(|failure| provider.failed(failure))?;
        self.voice.play(body, parts).await
    }
}

impl RemoteVoice {
    /// Passes on the audio of an HTTP answer.
    pub(super) async fn play(&self, body: Body, parts: &Parts) -> Result<(), SpeechError> {
        let kind = body.content_type.split(';').next().unwrap_or_default().trim().to_owned();
        let failed = |failure| self.provider.failed(failure);
        match kind.as_str() {
            "text/event-stream" => self.play_events(Events::new(body, MAX_ANSWER), parts).await,
            "application/json" | "text/html" | "text/plain" => {
                let words = body.whole(MAX_WORDS).await.map_err(failed)?;
                let words = shorten(&String::from_utf8_lossy(&words));
                Err(failed(ProviderFailure::Rubbish(format!("{kind} instead of audio: {words}"))))
            }
            "audio/mpeg" | "audio/mp3" | "audio/ogg" | "audio/opus" | "audio/aac" | "audio/flac" => {
                let what = format!("{kind}; what can be played is WAV, and raw samples of 16 bits");
                Err(failed(ProviderFailure::Rubbish(what)))
            }
            _ => self.play_bytes(body, parts).await,
        }
    }

    async fn play_bytes(&self, mut body: Body, parts: &Parts) -> Result<(), SpeechError> {
        // What begins with RIFF is WAV, whatever it was called.
        let mut head = Vec::new();
        while head.len() < 4
            && let Some(piece) = self.piece(&mut body).await?
        {
            head.extend_from_slice(&piece);
        }
        if head.starts_with(b"RIFF") {
            let mut wav = WavChunker::new(parts);
            wav.push(&head).await.map_err(|error| self.unusable(error))?;
            while let Some(piece) = self.piece(&mut body).await? {
                wav.push(&piece).await.map_err(|error| self.unusable(error))?;
            }
            return wav.finish().await.map_err(|error| self.unusable(error));
        }
        let rate = parameter(&body.content_type, "rate").unwrap_or(self.rate_hz);
        let (mut pcm, mut chunker) = (Pcm::default(), Chunker::new(parts));
        chunker.push(rate, &pcm.push(&head)).await.map_err(|error| self.unusable(error))?;
        while let Some(piece) = self.piece(&mut body).await? {
            chunker.push(rate, &pcm.push(&piece)).await.map_err(|error| self.unusable(error))?;
        }
        chunker.finish().await.map_err(|error| self.unusable(error))
    }

    async fn piece(&self, body: &mut Body) -> Result<Option<bytes::Bytes>, SpeechError> {
        body.next(MAX_ANSWER).await.map_err(|failure| self.provider.failed(failure))
    }

    async fn play_events(&self, mut events: Events, parts: &Parts) -> Result<(), SpeechError> {
        let failed = |failure| self.provider.failed(failure);
        let (mut pcm, mut chunker) = (Pcm::default(), Chunker::new(parts));
        while let Some(data) = events.next().await.map_err(failed)? {
            match read_event(&data).map_err(failed)? {
                Event::Audio(bytes) => {
                    let samples = pcm.push(&bytes);
                    chunker.push(self.rate_hz, &samples).await.map_err(|error| self.unusable(error))?;
                }
                Event::Done => return chunker.finish().await.map_err(|error| self.unusable(error)),
                Event::Other => {}
            }
        }
        Err(failed(ProviderFailure::Closed("before `speech.audio.done`".to_owned())))
    }
}

/// A number among the parameters of a content type.
fn parameter(content_type: &str, name: &str) -> Option<u32> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        (key.trim() == name).then(|| value.trim().parse().ok())?
    })
}

/// What an event of a stream is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Audio(Vec<u8>),
    Done,
    /// For others: usage, and what is to come.
    Other,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    audio: Option<String>,
    #[serde(default)]
    delta: Option<String>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

/// Reads the data of one event.
pub(super) fn read_event(data: &str) -> Result<Event, ProviderFailure> {
    if data.trim() == "[DONE]" {
        return Ok(Event::Done);
    }
    let told: Told = serde_json::from_str(data)
        .map_err(|error| ProviderFailure::Rubbish(format!("an event that is no such JSON: {error}")))?;
    match (told.kind.as_str(), told.audio.or(told.delta)) {
        ("speech.audio.delta", Some(audio)) => BASE64_STANDARD
            .decode(audio.as_bytes())
            .map(Event::Audio)
            .map_err(|_| ProviderFailure::Rubbish("audio that is no base64".to_owned())),
        ("speech.audio.delta", None) => Err(ProviderFailure::Rubbish("an event without its audio".to_owned())),
        ("speech.audio.done", _) => Ok(Event::Done),
        _ => match told.error {
            Some(error) => Err(ProviderFailure::Reported(words(&error))),
            None => Ok(Event::Other),
        },
    }
}

/// The message of an error object, or all of it.
pub(super) fn words(error: &serde_json::Value) -> String {
    let message = error.get("message").and_then(|message| message.as_str()).or_else(|| error.as_str());
    message.map_or_else(|| shorten(&error.to_string()), shorten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        for (data, event) in [
            (r#"{"type":"speech.audio.delta","audio":"AAEC"}"#, Event::Audio(vec![0, 1, 2])),
            (
                r#"{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}"#,
                Event::Done,
            ),
            ("[DONE]", Event::Done),
            (r#"{"type":"speech.something.new"}"#, Event::Other),
        ] {
            assert_eq!(read_event(data), Ok(event), "{data}");
        }
        for (data, failure) in [
            ("{", "no such JSON"),
            ("7", "no such JSON"),
            (r#"{"type":"speech.audio.delta"}"#, "without its audio"),
            (r#"{"type":"speech.audio.delta","audio":"?"}"#, "no base64"),
            (r#"{"type":"error","error":{"message":"quota"}}"#, "it reports an error: quota"),
        ] {
            assert!(read_event(data).unwrap_err().to_string().contains(failure), "{data}");
        }
    }

    #[test]
    fn finds_the_rate_of_raw_audio() {
        assert_eq!(parameter("audio/pcm; rate=16000", "rate"), Some(16_000));
        assert_eq!(parameter("audio/pcm;bits=16;rate=8000", "rate"), Some(8_000));
        assert_eq!(parameter("audio/pcm", "rate"), None);
        assert_eq!(parameter("audio/pcm; rate=fast", "rate"), None);
    }
}
