//! `wss://…/v1/listen`, as Deepgram has it and others do: audio as binary
//! messages, hypotheses as text.
//!
//! A result with `is_final` is a segment that will not change; what follows is
//! the next one, and the utterance is all of them. Its end is ours to say
//! (`Finalize`), unless the server finds that no word has come for a second
//! (`UtteranceEnd`), which it sees also in noise that looks like speech. The
//! script's setting `endpointing` (milliseconds) has `speech_final` end it too.

use super::dial::{Came, Dialer, Socket, credentials};
use super::ear::{self, MAX_MESSAGES, MAX_SAMPLES, RemoteEar, hints};
use super::{ProviderFailure, shorten};
use crate::recogniser::{
    Abilities, Confidence, Heard, Hypothesis, Listening, Recogniser, RecogniserError, Run, Sound, Word, Work,
};
use crate::synthesiser::{EngineInfo, Pending};
use callbox_dialogue::time::Millis;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// Without audio for ten seconds the server hangs up.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// The pause after which the server calls a segment final, for lower latency.
const ENDPOINTING_MS: u64 = 300;
/// The pause after the last word after which it says `UtteranceEnd`.
const UTTERANCE_END_MS: u64 = 1_000;
/// Words of one utterance.
const MAX_WORDS: usize = 2_000;

/// A recogniser that speaks Deepgram's WebSocket protocol.
pub struct DeepgramEar {
    shared: Arc<Shared>,
}

struct Shared {
    ear: RemoteEar,
    dialer: Dialer,
}

impl DeepgramEar {
    /// The URL of the provider is that of its API, for example `wss://api.deepgram.com/v1`.
    #[must_use]
    pub fn new(ear: RemoteEar, dialer: Dialer) -> Self {
        Self { shared: Arc::new(Shared { ear, dialer }) }
    }
}

impl Recogniser for DeepgramEar {
    fn name(&self) -> &str {
        &self.shared.ear.provider.name
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            languages: self.shared.ear.languages.clone(),
            dictation: true,
            grammars: false,
            partials: true,
            alternatives: false,
            word_times: true,
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
            // Whether it lets us in is found out by coming in.
            self.shared.dial(&Listening::default(), None).await.map_err(|failure| ear.failed(failure))?.close().await;
            let model = ear.provider.model.as_deref().unwrap_or("its own model");
            let version = format!("Deepgram-style, {model}, at {}", ear.provider.place());
            Ok(EngineInfo { version, voices: 0 })
        })
    }
}

impl Shared {
    fn url(&self, what: &Listening, endpointing: Option<u64>) -> Url {
        let provider = &self.ear.provider;
        let mut url = provider.at("/listen");
        let mut query = url.query_pairs_mut();
        if let Some(model) = &provider.model {
            query.append_pair("model", model);
        }
        query
            .append_pair("language", self.ear.language(what))
            .append_pair("encoding", "linear16")
            .append_pair("sample_rate", &what.rate_hz.to_string())
            .append_pair("channels", "1")
            .append_pair("interim_results", "true")
            .append_pair("vad_events", "true")
            .append_pair("endpointing", &endpointing.unwrap_or(ENDPOINTING_MS).to_string())
            .append_pair("utterance_end_ms", &UTTERANCE_END_MS.to_string());
        for hint in hints(what) {
            query.append_pair("keyterm", &hint);
        }
        drop(query);
        url
    }

    async fn dial(&self, what: &Listening, endpointing: Option<u64>) -> Result<Socket, ProviderFailure> {
        let provider = &self.ear.provider;
        let authorization = credentials("Token", provider.key.as_ref());
        self.dialer.websocket(provider, &self.url(what, endpointing), authorization).await
    }

    async fn recognise(&self, what: Listening, mut work: Work) -> Result<Heard, RecogniserError> {
        let endpointing = endpointing(&what, &self.ear.provider.name)?;
        let failed = |failure| self.ear.failed(failure);
        // The caller speaks already: what is said meanwhile is kept.
        let mut kept: Vec<i16> = Vec::new();
        let mut ended = false;
        let mut socket = {
            let dial = self.dial(&what, endpointing);
            tokio::pin!(dial);
            loop {
                tokio::select! {
                    dialled = &mut dial => break dialled.map_err(failed)?,
                    sound = ear::sound(&mut work), if !ended => match sound {
                        Some(Sound::Frame(frame)) => {
                            if kept.len() < MAX_SAMPLES {
                                kept.extend_from_slice(&frame);
                            }
                        }
                        Some(Sound::EndOfUtterance) => ended = true,
                        None => return Err(RecogniserError::cut_short(&self.ear.provider.name)),
                    },
                }
            }
        };
        for piece in kept.chunks(MAX_PIECE) {
            socket.binary(ear::bytes(piece)).await.map_err(failed)?;
        }
        if ended {
            socket.text(&json!({"type": "Finalize"})).await.map_err(failed)?;
        }
        let heard = self.follow(&what, &mut work, &mut socket, ended, endpointing.is_some()).await?;
        // The result is there; how the goodbye is taken does not matter.
        let _ = socket.text(&json!({"type": "CloseStream"})).await;
        socket.close().await;
        Ok(heard)
    }

    /// Passes sound on and hypotheses back until the utterance is over.
    async fn follow(
        &self,
        what: &Listening,
        work: &mut Work,
        socket: &mut Socket,
        mut ended: bool,
        speech_final_ends: bool,
    ) -> Result<Heard, RecogniserError> {
        let failed = |failure| self.ear.failed(failure);
        let patience = self.ear.provider.patience.first;
        let mut spoken = Spoken::new(self.ear.language(what));
        let (mut last_sound, mut deadline, mut read_bytes) = (Instant::now(), Instant::now() + patience, 0);
        loop {
            tokio::select! {
                sound = ear::sound(work), if !ended => match sound {
                    Some(Sound::Frame(frame)) => {
                        socket.binary(ear::bytes(&frame)).await.map_err(failed)?;
                        last_sound = Instant::now();
                    }
                    Some(Sound::EndOfUtterance) => {
                        socket.text(&json!({"type": "Finalize"})).await.map_err(failed)?;
                        (ended, deadline) = (true, Instant::now() + patience);
                    }
                    None => return Err(RecogniserError::cut_short(&self.ear.provider.name)),
                },
                came = socket.next() => {
                    let text = match came.map_err(failed)? {
                        Came::Text(text) => text,
                        Came::Binary(_) => {
                            return Err(failed(ProviderFailure::Rubbish("a binary message".to_owned())));
                        }
                        Came::Closed { normally: true, .. } if ended => return Ok(spoken.result()),
                        Came::Closed { reason, .. } => return Err(failed(ProviderFailure::Closed(reason))),
                    };
                    read_bytes += text.len();
                    if read_bytes > MAX_MESSAGES {
                        return Err(failed(ProviderFailure::TooMuch { what: "messages", limit: MAX_MESSAGES }));
                    }
                    match read(&text).map_err(failed)? {
                        Told::Results(results) => {
                            let (last, complete) = (results.from_finalize, results.speech_final);
                            let partial = spoken.take(results).map_err(failed)?;
                            if ended && last || complete && speech_final_ends && spoken.has_words() {
                                return Ok(spoken.result());
                            }
                            // A reader that is slow gets the later ones.
                            let _ = work.heard.try_send(Ok(Heard::Partial(partial)));
                        }
                        Told::UtteranceEnd if spoken.has_words() => return Ok(spoken.result()),
                        Told::UtteranceEnd | Told::Other => {}
                    }
                }
                () = tokio::time::sleep_until(last_sound + KEEP_ALIVE), if !ended => {
                    socket.text(&json!({"type": "KeepAlive"})).await.map_err(failed)?;
                    last_sound = Instant::now();
                }
                () = tokio::time::sleep_until(deadline), if ended => {
                    let limit_ms = crate::process::millis(patience);
                    return Err(failed(ProviderFailure::TimedOut { what: "its result", limit_ms }));
                }
            }
        }
    }
}

/// Samples of one message of what was kept.
const MAX_PIECE: usize = 16_000;

/// The script's own setting, if it has one.
fn endpointing(what: &Listening, engine: &str) -> Result<Option<u64>, RecogniserError> {
    let Some((_, json)) = what.extra.iter().find(|(name, _)| name == "endpointing") else { return Ok(None) };
    match serde_json::from_str::<u64>(json) {
        Ok(ms @ 10..=10_000) => Ok(Some(ms)),
        _ => Err(RecogniserError::InvalidSetting {
            engine: engine.to_owned(),
            what: "`endpointing`: it is a number of milliseconds from 10 to 10000".to_owned(),
        }),
    }
}

/// An utterance so far.
struct Spoken {
    language: String,
    segments: Vec<String>,
    words: Vec<Word>,
    /// Sum of confidences, each as often as its segment has words, and of those.
    confidence: (f32, f32),
}

impl Spoken {
    fn new(language: &str) -> Self {
        Self { language: language.to_owned(), segments: Vec::new(), words: Vec::new(), confidence: (0.0, 0.0) }
    }

    fn has_words(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Takes a result; what seems to have been said so far.
    fn take(&mut self, results: Results) -> Result<Hypothesis, ProviderFailure> {
        let Some(best) = results.channel.alternatives.into_iter().next() else { return Ok(self.hypothesis()) };
        let text = best.transcript.trim().to_owned();
        if !results.is_final {
            let mut partial = self.hypothesis();
            if !text.is_empty() {
                let gap = if partial.text.is_empty() { "" } else { " " };
                partial.text = format!("{}{gap}{text}", partial.text);
            }
            partial.confidence = None;
            return Ok(partial);
        }
        if !text.is_empty() {
            let weight = best.words.len().max(1) as f32;
            if let Some(confidence) = best.confidence {
                self.confidence.0 += confidence * weight;
                self.confidence.1 += weight;
            }
            self.segments.push(text);
            self.words.extend(best.words.into_iter().map(Timed::word));
            if self.words.len() > MAX_WORDS || self.segments.len() > MAX_WORDS {
                return Err(ProviderFailure::TooMuch { what: "words", limit: MAX_WORDS });
            }
        }
        Ok(self.hypothesis())
    }

    fn hypothesis(&self) -> Hypothesis {
        let (sum, weight) = self.confidence;
        Hypothesis {
            text: self.segments.join(" "),
            confidence: (weight > 0.0).then(|| sum / weight),
            language: self.language.clone(),
            words: self.words.clone(),
        }
    }

    fn result(&self) -> Heard {
        Heard::Final(if self.has_words() { vec![self.hypothesis()] } else { Vec::new() })
    }
}

/// What a text message says.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    Results(Results),
    /// No word has come for a while.
    UtteranceEnd,
    /// Metadata, the beginning of speech, and what is to come.
    Other,
}

/// A hypothesis for a stretch of audio.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Results {
    #[serde(default)]
    is_final: bool,
    #[serde(default)]
    speech_final: bool,
    #[serde(default)]
    from_finalize: bool,
    channel: Channel,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Channel {
    #[serde(default)]
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Alternative {
    #[serde(default)]
    transcript: String,
    #[serde(default)]
    confidence: Option<f32>,
    #[serde(default)]
    words: Vec<Timed>,
}

/// A word with its times in seconds.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct Timed {
    #[serde(default)]
    word: String,
    #[serde(default)]
    start: f64,
    #[serde(default)]
    end: f64,
    #[serde(default)]
    confidence: Option<f32>,
}

impl Timed {
    fn word(self) -> Word {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
        let ms = |seconds: f64| (seconds * 1_000.0).round() as Millis;
        Word { text: self.word, start: ms(self.start), end: ms(self.end), confidence: self.confidence }
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, alias = "err_msg", alias = "message")]
    description: Option<String>,
}

/// Reads a text message.
pub(super) fn read(text: &str) -> Result<Told, ProviderFailure> {
    let rubbish = |error: serde_json::Error| {
        ProviderFailure::Rubbish(format!("a message that is no such JSON: {}", shorten(&error.to_string())))
    };
    let envelope: Envelope = serde_json::from_str(text).map_err(rubbish)?;
    match envelope.kind.as_str() {
        "Results" => serde_json::from_str(text).map(Told::Results).map_err(rubbish),
        "UtteranceEnd" => Ok(Told::UtteranceEnd),
        "Error" => Err(ProviderFailure::Reported(shorten(&envelope.description.unwrap_or_default()))),
        _ => Ok(Told::Other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    /// As the documentation shows it, without what we do not read.
    const INTERIM: &str = r#"{"type":"Results","channel_index":[0,1],"duration":1.0,"start":0.0,"is_final":false,
        "speech_final":false,"channel":{"alternatives":[{"transcript":"i would","confidence":0.9,"words":[]}]}}"#;
    const FINAL: &str = r#"{"type":"Results","channel_index":[0,1],"duration":1.98,"start":5.99,"is_final":true,
        "speech_final":true,"channel":{"alternatives":[{"transcript":"I would like","confidence":0.8,
        "words":[{"word":"i","start":5.99,"end":6.1,"confidence":0.9,"punctuated_word":"I"},
        {"word":"would","start":6.1,"end":6.3,"confidence":0.7},{"word":"like","start":6.3,"end":6.5,"confidence":0.8}]}]},
        "metadata":{"request_id":"x"},"from_finalize":false}"#;
    const EMPTY: &str = r#"{"type":"Results","is_final":true,"speech_final":false,"from_finalize":true,
        "channel":{"alternatives":[{"transcript":"","confidence":0.0,"words":[]}]}}"#;

    fn results(text: &str) -> Results {
        match read(text).unwrap() {
            Told::Results(results) => results,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn joins_segments() {
        let mut spoken = Spoken::new("en");
        assert_eq!(spoken.take(results(INTERIM)).unwrap().text, "i would");
        assert!(!spoken.has_words());
        spoken.take(results(FINAL)).unwrap();
        assert_eq!(spoken.take(results(INTERIM)).unwrap().text, "I would like i would");
        spoken.take(results(EMPTY)).unwrap();
        let Heard::Final(heard) = spoken.result() else { panic!() };
        assert_eq!((heard[0].text.as_str(), heard[0].words.len()), ("I would like", 3));
        assert_eq!((heard[0].words[1].start, heard[0].words[1].end), (6_100, 6_300));
        assert!((heard[0].confidence.unwrap() - 0.8).abs() < 0.001);
        assert_eq!(Spoken::new("en").result(), Heard::Final(Vec::new()));
    }

    #[test]
    fn reads_the_other_messages() {
        for (text, told) in [
            (r#"{"type":"UtteranceEnd","channel":[0,1],"last_word_end":2.395}"#, Told::UtteranceEnd),
            (r#"{"type":"SpeechStarted","channel":[0,1],"timestamp":9.54}"#, Told::Other),
            (r#"{"type":"Metadata","transaction_key":"deprecated","duration":1.0,"channels":1}"#, Told::Other),
        ] {
            assert_eq!(read(text).unwrap(), told, "{text}");
        }
        for text in ["", "null", "{\"type\":7}", "{\"type\":\"Results\"}", "{\"type\":\"Results\",\"channel\":7}"] {
            assert!(matches!(read(text), Err(ProviderFailure::Rubbish(_))), "{text}");
        }
        let error = read(r#"{"type":"Error","description":"no","message":"x"}"#);
        assert!(error.is_err());
    }

    #[test]
    fn a_setting_of_the_script_is_checked() {
        let what = |json: &str| Listening { extra: vec![("endpointing".into(), json.into())], ..Listening::default() };
        assert_eq!(endpointing(&Listening::default(), "x"), Ok(None));
        assert_eq!(endpointing(&what("500"), "x"), Ok(Some(500)));
        for json in ["0", "-1", "\"500\"", "99999", ""] {
            assert!(matches!(endpointing(&what(json), "x"), Err(RecogniserError::InvalidSetting { .. })), "{json}");
        }
    }
}
