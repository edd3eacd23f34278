//! jambonz's custom speech vendors, for recognition: whoever has an adapter
//! for jambonz has one for us.
//!
//! We connect, say `start`, send audio as binary messages and say `stop`. The
//! server sends `transcription`s, the final one when it finds that the
//! utterance is over or after `stop`, and closes the connection.

use super::dial::{Came, Dialer, Socket, bearer};
use super::ear::{self, MAX_MESSAGES, MAX_SAMPLES, RemoteEar, hints};
use super::openai_voice::words;
use super::{ProviderFailure, shorten};
use crate::recogniser::{
    Abilities, Confidence, Heard, Hypothesis, Listening, Recogniser, RecogniserError, Run, Sound, Work,
};
use crate::synthesiser::{EngineInfo, Pending};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// Samples of one message of what was kept.
const MAX_PIECE: usize = 16_000;

/// A recogniser that speaks jambonz's protocol for custom speech.
pub struct CustomEar {
    shared: Arc<Shared>,
}

struct Shared {
    ear: RemoteEar,
    dialer: Dialer,
}

impl CustomEar {
    /// The URL of the provider is the vendor's own.
    #[must_use]
    pub fn new(ear: RemoteEar, dialer: Dialer) -> Self {
        Self { shared: Arc::new(Shared { ear, dialer }) }
    }
}

impl Recogniser for CustomEar {
    fn name(&self) -> &str {
        &self.shared.ear.provider.name
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            languages: self.shared.ear.languages.clone(),
            dictation: true,
            grammars: false,
            partials: true,
            alternatives: true,
            word_times: false,
            own_end_pointing: true,
            confidence: Some(Confidence::Claimed),
        }
    }

    fn start(&self, what: Listening) -> Run {
        let shared = self.shared.clone();
        Run::spawn(|work| async move { shared.recognise(what, work).await })
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, RecogniserError>> {
        Box::pin(async {
            let ear = &self.shared.ear;
            self.shared.dial().await.map_err(|failure| ear.failed(failure))?.close().await;
            let version = format!("jambonz custom speech, at {}", ear.provider.place());
            Ok(EngineInfo { version, voices: 0 })
        })
    }
}

impl Shared {
    async fn dial(&self) -> Result<Socket, ProviderFailure> {
        let provider = &self.ear.provider;
        self.dialer.websocket(provider, &provider.url, bearer(provider.key.as_ref())).await
    }

    /// What the recognition is to be; options are hints and the script's own settings.
    fn beginning(&self, what: &Listening) -> Value {
        let mut options = json!({});
        for (name, value) in &what.extra {
            options[name.as_str()] = serde_json::from_str(value).unwrap_or(Value::Null);
        }
        let hints = hints(what);
        if !hints.is_empty() {
            options["hints"] = json!(hints);
        }
        json!({
            "type": "start", "language": self.ear.language(what), "format": "raw", "encoding": "LINEAR16",
            "interimResults": what.partials, "sampleRateHz": what.rate_hz, "options": options,
        })
    }

    async fn recognise(&self, what: Listening, mut work: Work) -> Result<Heard, RecogniserError> {
        let failed = |failure| self.ear.failed(failure);
        let cut = || RecogniserError::cut_short(&self.ear.provider.name);
        // The caller speaks already: what is said meanwhile is kept.
        let mut kept: Vec<i16> = Vec::new();
        let mut ended = false;
        let mut socket = {
            let dial = self.dial();
            tokio::pin!(dial);
            loop {
                tokio::select! {
                    dialled = &mut dial => break dialled.map_err(failed)?,
                    sound = ear::sound(&mut work), if !ended => match sound.ok_or_else(cut)? {
                        Sound::Frame(frame) if kept.len() < MAX_SAMPLES => kept.extend_from_slice(&frame),
                        Sound::Frame(_) => {}
                        Sound::EndOfUtterance => ended = true,
                    },
                }
            }
        };
        socket.text(&self.beginning(&what)).await.map_err(failed)?;
        for piece in kept.chunks(MAX_PIECE) {
            socket.binary(ear::bytes(piece)).await.map_err(failed)?;
        }
        let patience = self.ear.provider.patience.first;
        let mut deadline = Instant::now() + patience;
        if ended {
            socket.text(&json!({"type": "stop"})).await.map_err(failed)?;
        }
        let mut read_bytes = 0;
        loop {
            tokio::select! {
                sound = ear::sound(&mut work), if !ended => match sound.ok_or_else(cut)? {
                    Sound::Frame(frame) => socket.binary(ear::bytes(&frame)).await.map_err(failed)?,
                    Sound::EndOfUtterance => {
                        socket.text(&json!({"type": "stop"})).await.map_err(failed)?;
                        (ended, deadline) = (true, Instant::now() + patience);
                    }
                },
                came = socket.next() => {
                    let text = match came.map_err(failed)? {
                        Came::Text(text) => text,
                        Came::Binary(_) => return Err(failed(ProviderFailure::Rubbish("a binary message".to_owned()))),
                        // It had nothing to say.
                        Came::Closed { normally: true, .. } if ended => return Ok(Heard::Final(Vec::new())),
                        Came::Closed { reason, .. } => return Err(failed(ProviderFailure::Closed(reason))),
                    };
                    read_bytes += text.len();
                    if read_bytes > MAX_MESSAGES {
                        return Err(failed(ProviderFailure::TooMuch { what: "messages", limit: MAX_MESSAGES }));
                    }
                    let Some(told) = read(&text, self.ear.language(&what)).map_err(failed)? else { continue };
                    if !told.last {
                        if let Some(partial) = told.hypotheses.into_iter().next() {
                            // A reader that is slow gets the later ones.
                            let _ = work.heard.try_send(Ok(Heard::Partial(partial)));
                        }
                    } else if ended || !told.hypotheses.is_empty() {
                        if !ended {
                            let _ = socket.text(&json!({"type": "stop"})).await;
                        }
                        socket.close().await;
                        return Ok(Heard::Final(told.hypotheses));
                    }
                }
                () = tokio::time::sleep_until(deadline), if ended => {
                    let limit_ms = crate::process::millis(patience);
                    return Err(failed(ProviderFailure::TimedOut { what: "its result", limit_ms }));
                }
            }
        }
    }
}

/// A transcription.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    /// Nothing of it will change.
    last: bool,
    hypotheses: Vec<Hypothesis>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    is_final: bool,
    #[serde(default)]
    alternatives: Vec<Alternative>,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Alternative {
    #[serde(default)]
    transcript: String,
    #[serde(default)]
    confidence: Option<f32>,
}

/// Reads a text message; none for one that says nothing of what was heard.
pub(super) fn read(text: &str, asked: &str) -> Result<Option<Told>, ProviderFailure> {
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| {
        ProviderFailure::Rubbish(format!("a message that is no such JSON: {}", shorten(&error.to_string())))
    })?;
    match envelope.kind.as_str() {
        "transcription" => {
            let language = envelope.language.filter(|tag| !tag.is_empty()).unwrap_or_else(|| asked.to_owned());
            let heard = envelope.alternatives.into_iter().filter(|one| !one.transcript.trim().is_empty());
            let hypotheses = heard
                .map(|one| Hypothesis {
                    text: one.transcript,
                    confidence: one.confidence,
                    language: language.clone(),
                    words: Vec::new(),
                })
                .collect();
            Ok(Some(Told { last: envelope.is_final, hypotheses }))
        }
        "error" => Err(ProviderFailure::Reported(envelope.error.as_ref().map_or_else(String::new, words))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        let told = read(
            r#"{"type":"transcription","is_final":true,"language":"en-US","channel":1,
                "alternatives":[{"transcript":"yes please","confidence":0.9},{"transcript":"guess"}]}"#,
            "en",
        );
        let told = told.unwrap().unwrap();
        assert!(told.last);
        let heard: Vec<_> = told.hypotheses.iter().map(|one| (one.text.as_str(), one.confidence)).collect();
        assert_eq!(heard, [("yes please", Some(0.9)), ("guess", None)]);
        assert_eq!(told.hypotheses[0].language, "en-US");
        let partial = read(r#"{"type":"transcription","is_final":false,"alternatives":[{"transcript":"ye"}]}"#, "de");
        assert_eq!(partial.unwrap().unwrap().hypotheses[0].language, "de");
        assert_eq!(read(r#"{"type":"something"}"#, "en"), Ok(None));
        let error = read(r#"{"type":"error","error":"no credits"}"#, "en");
        assert_eq!(error, Err(ProviderFailure::Reported("no credits".to_owned())));
        for text in ["", "7", r#"{"type":"transcription","alternatives":7}"#] {
            assert!(matches!(read(text, "en"), Err(ProviderFailure::Rubbish(_))), "{text}");
        }
    }
}
