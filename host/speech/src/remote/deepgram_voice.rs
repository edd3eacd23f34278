//! `wss://…/v1/speak`, as Deepgram has it and others do: text messages to say
//! something, binary messages with the audio, and one connection for many
//! utterances, since setting one up takes longer than the first audio.

use super::dial::{Came, Dialer, Socket, credentials};
use super::voice::{Pcm, RemoteVoice};
use super::{ProviderFailure, shorten};
use crate::chunks::{Chunker, Parts};
use crate::error::SpeechError;
use crate::synthesiser::{EngineInfo, Part, Pending, Synthesiser, Utterance};
use callbox_dialogue::leg::VoiceSettings;
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use url::Url;

/// Connections that wait for the next utterance.
const MAX_IDLE: usize = 8;
/// A connection that waited for so long may be dead without a word.
const IDLE: Duration = Duration::from_secs(20);
/// Utterances of one connection: it may be flushed 20 times a minute.
const MAX_USES: u32 = 15;
/// How long a connection has to fall silent after an interruption.
const CLEAR: Duration = Duration::from_secs(1);
/// Bytes of audio of one utterance: five minutes at 48 kHz.
const MAX_AUDIO: usize = 32 << 20;

/// A synthesiser that speaks Deepgram's WebSocket protocol.
pub struct DeepgramVoice {
    shared: Arc<Shared>,
}

struct Shared {
    voice: RemoteVoice,
    dialer: Dialer,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// A connection, which speaks with one voice.
struct Line {
    socket: Socket,
    url: Url,
    uses: u32,
}

impl DeepgramVoice {
    /// The URL of the provider is that of its API, for example `wss://api.deepgram.com/v1`.
    #[must_use]
    pub fn new(voice: RemoteVoice, dialer: Dialer) -> Self {
        Self { shared: Arc::new(Shared { voice, dialer, idle: Mutex::default() }) }
    }
}

impl Synthesiser for DeepgramVoice {
    fn name(&self) -> &str {
        &self.shared.voice.provider.name
    }

    fn speak(&self, what: Utterance) -> mpsc::Receiver<Result<Part, SpeechError>> {
        let shared = self.shared.clone();
        // What nobody waits for any more is cleared rather than cut off, so that the connection can be used again.
        let (parts, receiver) = mpsc::channel(crate::chunks::PLACES);
        tokio::spawn(async move {
            if let Err(error) = shared.render(&what, &parts).await {
                tracing::debug!(code = error.code(), %error, "a render failed");
                let _ = parts.send(Err(error)).await;
            }
        });
        receiver
    }

    fn supports(&self, voice: &VoiceSettings) -> Result<(), SpeechError> {
        self.shared.voice.supports(voice)
    }

    fn takes_any_voice(&self) -> bool {
        true
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>> {
        Box::pin(std::future::ready(Ok(self.shared.voice.info("Deepgram-style"))))
    }
}

/// How an utterance ended that did not fail.
enum Ended {
    Spoken,
    /// Nobody listens any more.
    Abandoned,
}

impl Shared {
    async fn render(&self, what: &Utterance, parts: &Parts) -> Result<(), SpeechError> {
        let url = self.url(&what.voice);
        let mut used = self.take(&url);
        loop {
            let (mut line, fresh) = match used.take() {
                Some(line) => (line, false),
                None => tokio::select! {
                    () = parts.closed() => return Ok(()),
                    dialled = self.dial(&url) => (dialled?, true),
                },
            };
            let mut heard = 0;
            match self.utter(&mut line, &what.text, parts, &mut heard).await {
                Ok(Ended::Spoken) => {
                    self.put(line);
                    return Ok(());
                }
                Ok(Ended::Abandoned) => {
                    if clear(&mut line.socket).await {
                        self.put(line);
                    }
                    return Ok(());
                }
                // It may have been closed while it waited.
                Err(SpeechError::Provider { failure: ProviderFailure::Closed(_), .. }) if !fresh && heard == 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where a voice is.
    fn url(&self, settings: &VoiceSettings) -> Url {
        let provider = &self.voice.provider;
        let mut url = provider.at("/speak");
        let mut query = url.query_pairs_mut();
        // A voice is a model here.
        if let Some(model) = self.voice.named(settings).or(provider.model.as_deref()) {
            query.append_pair("model", model);
        }
        query.append_pair("encoding", "linear16").append_pair("sample_rate", &self.voice.rate_hz.to_string());
        drop(query);
        url
    }

    async fn dial(&self, url: &Url) -> Result<Line, SpeechError> {
        let provider = &self.voice.provider;
        let authorization = credentials("Token", provider.key.as_ref());
        let socket = self.dialer.websocket(provider, url, authorization).await;
        let socket = socket.map_err(|failure| provider.failed(failure))?;
        Ok(Line { socket, url: url.clone(), uses: 0 })
    }

    async fn utter(&self, line: &mut Line, text: &str, parts: &Parts, heard: &mut usize) -> Result<Ended, SpeechError> {
        let provider = &self.voice.provider;
        let failed = |failure| provider.failed(failure);
        line.uses += 1;
        line.socket.text(&json!({"type": "Speak", "text": text})).await.map_err(failed)?;
        line.socket.text(&json!({"type": "Flush"})).await.map_err(failed)?;
        let (mut pcm, mut chunker) = (Pcm::default(), Chunker::new(parts));
        loop {
            let (what, limit) = match heard {
                0 => ("the first piece", provider.patience.first),
                _ => ("the next piece", provider.patience.stall),
            };
            let came = tokio::select! {
                () = parts.closed() => return Ok(Ended::Abandoned),
                came = line.socket.next_within(what, limit) => came.map_err(failed)?,
            };
            match came {
                Came::Binary(bytes) => {
                    *heard += bytes.len();
                    if *heard > MAX_AUDIO {
                        return Err(failed(ProviderFailure::TooMuch { what: "audio", limit: MAX_AUDIO }));
                    }
                    let samples = pcm.push(&bytes);
                    chunker.push(self.voice.rate_hz, &samples).await.map_err(|error| self.voice.unusable(error))?;
                }
                Came::Text(text) => match read(&text).map_err(failed)? {
                    Told::Flushed => {
                        chunker.finish().await.map_err(|error| self.voice.unusable(error))?;
                        return Ok(Ended::Spoken);
                    }
                    Told::Warning(words) => tracing::warn!(provider = &*provider.name, words, "a provider warns"),
                    Told::Other => {}
                },
                Came::Closed { reason, .. } => return Err(failed(ProviderFailure::Closed(reason))),
            }
        }
    }

    fn take(&self, url: &Url) -> Option<Line> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < IDLE);
        let at = idle.iter().rposition(|idle| idle.line.url == *url)?;
        Some(idle.swap_remove(at).line)
    }

    fn put(&self, line: Line) {
        if line.uses >= MAX_USES {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < IDLE);
        if idle.len() < MAX_IDLE {
            idle.push(Idle { line, since: Instant::now() });
        }
    }
}

/// Makes a connection fall silent; whether it did.
async fn clear(socket: &mut Socket) -> bool {
    let cleared = async {
        socket.text(&json!({"type": "Clear"})).await.ok()?;
        loop {
            match socket.next().await.ok()? {
                Came::Text(text) if message_type(&text).as_deref() == Some("Cleared") => return Some(()),
                Came::Closed { .. } => return None,
                // Audio and confirmations that were on their way.
                Came::Text(_) | Came::Binary(_) => {}
            }
        }
    };
    matches!(timeout(CLEAR, cleared).await, Ok(Some(())))
}

/// What a text message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// All that was asked for has been sent.
    Flushed,
    Warning(String),
    /// Metadata, and what is to come.
    Other,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, alias = "warn_msg", alias = "err_msg", alias = "message")]
    description: Option<String>,
}

fn message_type(text: &str) -> Option<String> {
    serde_json::from_str(text).ok().map(|envelope: Envelope| envelope.kind)
}

/// Reads a text message.
pub(super) fn read(text: &str) -> Result<Told, ProviderFailure> {
    let envelope: Envelope = serde_json::from_str(text)
        .map_err(|error| ProviderFailure::Rubbish(format!("a message that is no such JSON: {error}")))?;
    let words = shorten(&envelope.description.unwrap_or_default());
    Ok(match envelope.kind.as_str() {
        "Flushed" => Told::Flushed,
        "Warning" => Told::Warning(words),
        "Error" => return Err(ProviderFailure::Reported(words)),
        _ => Told::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        for (text, told) in [
            (r#"{"type":"Flushed","sequence_id":0}"#, Told::Flushed),
            (r#"{"type":"Cleared","sequence_id":0}"#, Told::Other),
            (r#"{"type":"Metadata","request_id":"x","model_name":"aura-asteria-en","model_version":"1"}"#, Told::Other),
            (
                r#"{"type":"Warning","description":"Exceeded number of allowed flushes","code":"FLUSH"}"#,
                Told::Warning("Exceeded number of allowed flushes".to_owned()),
            ),
        ] {
            assert_eq!(read(text), Ok(told), "{text}");
        }
        assert_eq!(
            read(r#"{"type":"Error","err_code":"DATA-0000","err_msg":"no such model"}"#),
            Err(ProviderFailure::Reported("no such model".to_owned()))
        );
        assert!(matches!(read("nonsense"), Err(ProviderFailure::Rubbish(_))));
    }
}
