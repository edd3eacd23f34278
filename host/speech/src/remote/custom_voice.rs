//! jambonz's custom speech vendors, for synthesis: whoever has an adapter for
//! jambonz has one for us.
//!
//! * `http`, `https`: `POST {language, voice, type, text}`, answered by a WAV
//!   file. (Compressed audio is refused by name.)
//! * `ws`, `wss`: the server says `connect`, with its sample rate; we send
//!   `stream` with the text and `flush`; audio comes in binary messages, or in
//!   `data` messages as base64. The protocol does not say when the audio of a
//!   flush is complete: it is when the server says so (`flushed`, `done`,
//!   `end`), when it closes, or when it has been quiet for 700 ms.

use super::dial::{Came, Dialer, Socket, bearer};
use super::openai_voice::words;
use super::voice::{Pcm, RemoteVoice};
use super::{ProviderFailure, shorten};
use crate::chunks::{Chunker, Parts};
use crate::error::SpeechError;
use crate::synthesiser::{EngineInfo, Part, Pending, Synthesiser, Utterance, spawn};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use callbox_dialogue::leg::VoiceSettings;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use url::Url;

/// After so long without audio a flush is complete.
const QUIET: Duration = Duration::from_millis(700);
/// Bytes of audio of one utterance: five minutes at 48 kHz.
const MAX_AUDIO: usize = 32 << 20;

/// A synthesiser that speaks jambonz's protocols for custom speech.
pub struct CustomVoice {
    shared: Arc<Shared>,
}

struct Shared {
    voice: RemoteVoice,
    dialer: Dialer,
}

impl CustomVoice {
    /// The URL of the provider is the vendor's own, which decides between HTTP and WebSocket.
    #[must_use]
    pub fn new(voice: RemoteVoice, dialer: Dialer) -> Self {
        Self { shared: Arc::new(Shared { voice, dialer }) }
    }
}

impl Synthesiser for CustomVoice {
    fn name(&self) -> &str {
        &self.shared.voice.provider.name
    }

    fn speak(&self, what: Utterance) -> mpsc::Receiver<Result<Part, SpeechError>> {
        let shared = self.shared.clone();
        spawn(|parts| async move {
            match shared.voice.provider.url.scheme() {
                "ws" | "wss" => shared.stream(&what, &parts).await,
                _ => shared.post(&what, &parts).await,
            }
        })
    }

    fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError> {
        self.shared.voice.supports(voice)
    }

    fn takes_any_voice(&self) -> bool {
        true
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>> {
        Box::pin(std::future::ready(Ok(self.shared.voice.info("jambonz custom speech"))))
    }
}

impl Shared {
    async fn post(&self, what: &Utterance, parts: &Parts) -> Result<(), SpeechError> {
        let provider = &self.voice.provider;
        let asked = json!({
            "language": what.voice.language,
            "voice": self.voice.named(&what.voice).unwrap_or_default(),
            "type": "text",
            "text": what.text,
        });
        let request = self.dialer.post(provider, provider.url.clone()).header("accept", "audio/wav").json(&asked);
        let body = self.dialer.exchange(provider, request).await.map_err(|failure| provider.failed(failure))?;
        self.voice.play(body, parts).await
    }

    async fn stream(&self, what: &Utterance, parts: &Parts) -> Result<(), SpeechError> {
        let provider = &self.voice.provider;
        let failed = |failure| provider.failed(failure);
        let authorization = bearer(provider.key.as_ref());
        let mut socket =
            self.dialer.websocket(provider, &self.url(&what.voice), authorization).await.map_err(failed)?;
        let rate = self.greeting(&mut socket).await.map_err(failed)?;
        socket.text(&json!({"type": "stream", "text": what.text})).await.map_err(failed)?;
        socket.text(&json!({"type": "flush"})).await.map_err(failed)?;
        let (mut pcm, mut chunker, mut heard) = (Pcm::default(), Chunker::new(parts), 0);
        loop {
            let (waited_for, limit) = match heard {
                0 => ("the first piece", provider.patience.first),
                _ => ("the next piece", QUIET),
            };
            let bytes = match socket.next_within(waited_for, limit).await {
                Ok(Came::Binary(bytes)) => bytes.to_vec(),
                Ok(Came::Text(text)) => match read(&text).map_err(failed)? {
                    Told::Audio(bytes) => bytes,
                    Told::Complete if heard > 0 => break,
                    Told::Complete | Told::Connect { .. } | Told::Other => continue,
                },
                Ok(Came::Closed { normally: true, .. }) if heard > 0 => break,
                Ok(Came::Closed { reason, .. }) => return Err(failed(ProviderFailure::Closed(reason))),
                // The protocol has no other end.
                Err(ProviderFailure::TimedOut { .. }) if heard > 0 => break,
                Err(failure) => return Err(failed(failure)),
            };
            heard += bytes.len();
            if heard > MAX_AUDIO {
                return Err(failed(ProviderFailure::TooMuch { what: "audio", limit: MAX_AUDIO }));
            }
            chunker.push(rate, &pcm.push(&bytes)).await.map_err(|error| self.voice.unusable(error))?;
        }
        chunker.finish().await.map_err(|error| self.voice.unusable(error))?;
        // Everything has been said; how the goodbye is taken does not matter.
        let _ = socket.text(&json!({"type": "stop"})).await;
        socket.close().await;
        Ok(())
    }

    fn url(&self, settings: &VoiceSettings) -> Url {
        let mut url = self.voice.provider.url.clone();
        url.query_pairs_mut()
            .append_pair("voice", self.voice.named(settings).unwrap_or_default())
            .append_pair("language", &settings.language)
            .append_pair("sampleRate", &self.voice.rate_hz.to_string());
        url
    }

    /// Waits for what the server says of its audio: samples a second.
    async fn greeting(&self, socket: &mut Socket) -> Result<u32, ProviderFailure> {
        loop {
            match socket.next_within("its `connect`", self.voice.provider.patience.first).await? {
                Came::Text(text) => {
                    if let Told::Connect { sample_rate } = read(&text)? {
                        return Ok(sample_rate.unwrap_or(self.voice.rate_hz));
                    }
                }
                Came::Binary(_) => return Err(ProviderFailure::Rubbish("audio before `connect`".to_owned())),
                Came::Closed { reason, .. } => return Err(ProviderFailure::Closed(reason)),
            }
        }
    }
}

/// What a text message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Connect {
        sample_rate: Option<u32>,
    },
    Audio(Vec<u8>),
    /// That was all of a flush.
    Complete,
    Other,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    sample_rate: Option<u32>,
    #[serde(default)]
    audio: Option<String>,
}

/// Reads a text message. Audio in text is base64 whether that was announced or not: JSON has no other way.
pub(super) fn read(text: &str) -> Result<Told, ProviderFailure> {
    let envelope: Envelope = serde_json::from_str(text)
        .map_err(|error| ProviderFailure::Rubbish(format!("a message that is no such JSON: {error}")))?;
    match (envelope.kind.as_str(), envelope.data) {
        ("connect", data) => Ok(Told::Connect { sample_rate: data.and_then(|data| data.sample_rate) }),
        (_, Some(Data { audio: Some(audio), .. })) => BASE64_STANDARD
            .decode(audio.as_bytes())
            .map(Told::Audio)
            .map_err(|_| ProviderFailure::Rubbish("audio that is no base64".to_owned())),
        ("error", _) => Err(ProviderFailure::Reported(envelope.error.as_ref().map_or_else(String::new, words))),
        ("flushed" | "done" | "end", _) => Ok(Told::Complete),
        _ => match envelope.error {
            Some(error) => Err(ProviderFailure::Reported(shorten(&words(&error)))),
            None => Ok(Told::Other),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        for (text, told) in [
            (
                r#"{"type":"connect","data":{"sample_rate":8000,"base64_encoding":true}}"#,
                Told::Connect { sample_rate: Some(8_000) },
            ),
            (r#"{"type":"connect"}"#, Told::Connect { sample_rate: None }),
            (r#"{"type":"data","data":{"audio":"AAEC"}}"#, Told::Audio(vec![0, 1, 2])),
            (r#"{"type":"flushed"}"#, Told::Complete),
            (r#"{"type":"whatever"}"#, Told::Other),
        ] {
            assert_eq!(read(text), Ok(told), "{text}");
        }
        for (text, failure) in [
            (r#"{"type":"error","error":"no such voice"}"#, "reports an error: no such voice"),
            (r#"{"type":"data","data":{"audio":"?"}}"#, "no base64"),
            (r#"{"type":"data","data":{"audio":7}}"#, "no such JSON"),
            ("", "no such JSON"),
        ] {
            assert!(read(text).unwrap_err().to_string().contains(failure), "{text}");
        }
    }
}
