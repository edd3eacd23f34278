//! `POST …/audio/transcriptions`, as OpenAI has it and many others do: a whole
//! utterance as a WAV file, answered by JSON, by text, or by server-sent
//! events. There is no confidence in it, and none is made up.

use super::dial::Dialer;
use super::ear::{self, MAX_MESSAGES, MAX_SAMPLES, RemoteEar, hints};
use super::openai_voice::words;
use super::sse::Events;
use super::{ProviderFailure, shorten};
use crate::recogniser::{Abilities, Heard, Hypothesis, Listening, Recogniser, RecogniserError, Run, Sound, Work};
use crate::synthesiser::{EngineInfo, Pending};
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use std::sync::Arc;

/// Bytes of an answer.
const MAX_ANSWER: usize = 256 << 10;

/// A recogniser that speaks OpenAI's HTTP protocol, an utterance at a time.
pub struct OpenAiEar {
    shared: Arc<Shared>,
}

struct Shared {
    ear: RemoteEar,
    dialer: Dialer,
}

impl OpenAiEar {
    /// The URL of the provider is that of its API, for example `https://api.openai.com/v1`.
    #[must_use]
    pub fn new(ear: RemoteEar, dialer: Dialer) -> Self {
        Self { shared: Arc::new(Shared { ear, dialer }) }
    }
}

impl Recogniser for OpenAiEar {
    fn name(&self) -> &str {
        &self.shared.ear.provider.name
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            languages: self.shared.ear.languages.clone(),
            dictation: true,
            grammars: false,
            partials: false,
            alternatives: false,
            word_times: false,
            own_end_pointing: false,
            confidence: None,
        }
    }

    fn start(&self, what: Listening) -> Run {
        let shared = self.shared.clone();
        Run::spawn(|work| async move { shared.recognise(what, work).await })
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, RecogniserError>> {
        let provider = &self.shared.ear.provider;
        let model = provider.model.as_deref().unwrap_or("its own model");
        let version = format!("OpenAI-compatible, {model}, at {}", provider.place());
        Box::pin(std::future::ready(Ok(EngineInfo { version, voices: 0 })))
    }
}

impl Shared {
    async fn recognise(&self, what: Listening, mut work: Work) -> Result<Heard, RecogniserError> {
        let mut samples: Vec<i16> = Vec::new();
        loop {
            match ear::sound(&mut work).await {
                Some(Sound::Frame(frame)) if samples.len() + frame.len() <= MAX_SAMPLES => {
                    samples.extend_from_slice(&frame);
                }
                Some(Sound::Frame(_)) => {
                    return Err(RecogniserError::TooMuch {
                        what: "samples of an utterance",
                        limit: MAX_SAMPLES as u64,
                    });
                }
                Some(Sound::EndOfUtterance) => break,
                None => return Err(RecogniserError::cut_short(&self.ear.provider.name)),
            }
        }
        if samples.is_empty() {
            return Ok(Heard::Final(Vec::new()));
        }
        let text = self.transcribe(&what, &samples, &work).await.map_err(|failure| self.ear.failed(failure))?;
        let language = self.ear.language(&what).to_owned();
        let heard = (!text.trim().is_empty()).then(|| Hypothesis { text, language, ..Hypothesis::default() });
        Ok(Heard::Final(heard.into_iter().collect()))
    }

    async fn transcribe(&self, what: &Listening, samples: &[i16], work: &Work) -> Result<String, ProviderFailure> {
        let provider = &self.ear.provider;
        let file = Part::bytes(wav(samples, what.rate_hz)).file_name("utterance.wav").mime_str("audio/wav");
        let file = file.map_err(|error| ProviderFailure::of_http(error, 0))?;
        let language = self.ear.language(what);
        let mut form = Form::new()
            .part("file", file)
            .text("model", provider.model.clone().unwrap_or_else(|| "whisper-1".to_owned()))
            .text("language", language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase())
            .text("response_format", "json");
        let hints = hints(what);
        if !hints.is_empty() {
            form = form.text("prompt", hints.join(", "));
        }
        if what.partials {
            form = form.text("stream", "true");
        }
        let request = self.dialer.post(provider, provider.at("/audio/transcriptions")).multipart(form);
        let body = self.dialer.exchange(provider, request).await?;
        if body.content_type.starts_with("text/event-stream") {
            return self.follow(Events::new(body, MAX_MESSAGES), what, work).await;
        }
        let plain = body.content_type.starts_with("text/plain");
        let body = body.whole(MAX_ANSWER).await?;
        let body =
            String::from_utf8(body).map_err(|_| ProviderFailure::Rubbish("an answer that is no UTF-8".into()))?;
        if plain { Ok(body) } else { read_answer(&body) }
    }

    /// Reads an answer that comes in pieces.
    async fn follow(&self, mut events: Events, what: &Listening, work: &Work) -> Result<String, ProviderFailure> {
        let mut so_far = String::new();
        while let Some(data) = events.next().await? {
            match read_event(&data)? {
                Event::More(piece) => {
                    so_far.push_str(&piece);
                    if so_far.len() > MAX_ANSWER {
                        return Err(ProviderFailure::TooMuch { what: "a transcript", limit: MAX_ANSWER });
                    }
                    let language = self.ear.language(what).to_owned();
                    let partial = Hypothesis { text: so_far.clone(), language, ..Hypothesis::default() };
                    // A reader that is slow gets the later ones.
                    let _ = work.heard.try_send(Ok(Heard::Partial(partial)));
                }
                Event::Done(text) => return Ok(text.unwrap_or(so_far)),
                Event::Other => {}
            }
        }
        Err(ProviderFailure::Closed("before `transcript.text.done`".to_owned()))
    }
}

/// A WAV file.
fn wav(samples: &[i16], rate: u32) -> Vec<u8> {
    let length = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend(ear::bytes(samples));
    file
}

#[derive(Deserialize)]
struct Transcript {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    delta: Option<String>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

fn read(json: &str) -> Result<Transcript, ProviderFailure> {
    let read: Transcript = serde_json::from_str(json)
        .map_err(|error| ProviderFailure::Rubbish(format!("no transcript in JSON: {}", shorten(&error.to_string()))))?;
    match read.error {
        Some(error) => Err(ProviderFailure::Reported(words(&error))),
        None => Ok(read),
    }
}

/// Reads a JSON answer.
pub(super) fn read_answer(json: &str) -> Result<String, ProviderFailure> {
    read(json)?.text.ok_or_else(|| ProviderFailure::Rubbish("an answer without `text`".to_owned()))
}

/// What an event of a stream is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    More(String),
    Done(Option<String>),
    Other,
}

/// Reads the data of one event.
pub(super) fn read_event(data: &str) -> Result<Event, ProviderFailure> {
    if data.trim() == "[DONE]" {
        return Ok(Event::Done(None));
    }
    let told = read(data)?;
    Ok(match told.kind.as_str() {
        "transcript.text.delta" => Event::More(told.delta.unwrap_or_default()),
        "transcript.text.done" => Event::Done(told.text),
        _ => Event::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        assert_eq!(
            read_answer(r#"{"text":"Yes, please.","usage":{"type":"duration","seconds":1}}"#),
            Ok("Yes, please.".into())
        );
        for (data, event) in [
            (r#"{"type":"transcript.text.delta","delta":"Yes","logprobs":[]}"#, Event::More("Yes".into())),
            (r#"{"type":"transcript.text.done","text":"Yes."}"#, Event::Done(Some("Yes.".into()))),
            ("[DONE]", Event::Done(None)),
            (r#"{"type":"transcript.text.segment","text":"x"}"#, Event::Other),
        ] {
            assert_eq!(read_event(data), Ok(event), "{data}");
        }
        for (json, failure) in [
            ("<html>", "no transcript in JSON"),
            ("{}", "an answer without `text`"),
            (r#"{"error":{"message":"no such model"}}"#, "it reports an error: no such model"),
        ] {
            assert!(read_answer(json).unwrap_err().to_string().contains(failure), "{json}");
        }
    }
}
