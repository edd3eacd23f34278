//! Synthesis over HTTP, and what all synthesis here shares.

use crate::{Shared, refuse};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use callbox_dialogue::leg::VoiceSettings;
use callbox_speech::{Part, SpeechError, Utterance};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Samples a second of what synthesisers give.
const OURS: u32 = 8_000;
/// Words a minute at the usual speed.
const PACE: f64 = 175.0;
/// Characters of one request, as OpenAI has it.
const MAX_INPUT: usize = 4_096;

/// Audio that is being rendered, at some rate.
pub(crate) struct Rendering {
    parts: mpsc::Receiver<Result<Part, SpeechError>>,
    factor: usize,
    last: i16,
}

impl Shared {
    /// Starts to say something, by a voice of this name where the engine has it, else by one of the language.
    pub(crate) fn say(&self, text: &str, voice: &str, language: &str, speed: f64, rate_hz: u32) -> Rendering {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
        let rate = ((speed - 1.0).abs() > 0.001).then(|| (speed * PACE).round().clamp(80.0, 400.0) as u16);
        let language = if language.is_empty() { "en" } else { language };
        let mut settings = VoiceSettings { voice: Some(voice.to_owned()), language: language.to_owned(), rate };
        if voice.is_empty() || self.voice.supports(&settings).is_err() {
            settings.voice = None;
        }
        let parts = self.voice.speak(Utterance::new(text.to_owned(), settings));
        Rendering { parts, factor: (rate_hz / OURS).max(1) as usize, last: 0 }
    }
}

/// Rates that can be asked for.
pub(crate) fn rate_is_possible(rate_hz: u32) -> bool {
    matches!(rate_hz, 8_000 | 16_000 | 24_000 | 48_000)
}

impl Rendering {
    /// The next samples as bytes; none at the end. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<u8>, SpeechError>> {
        match self.parts.recv().await? {
            Ok(Part::Audio(chunk)) => Some(Ok(self.stretch(chunk.clip.samples()))),
            Ok(Part::End) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// So many samples for each, on straight lines between them.
    fn stretch(&mut self, samples: &[i16]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(samples.len() * self.factor * 2);
        for &sample in samples {
            for step in 1..=self.factor {
                let share = i32::try_from(step).unwrap_or(1);
                let whole = i32::try_from(self.factor).unwrap_or(1);
                let between = i32::from(self.last) + (i32::from(sample) - i32::from(self.last)) * share / whole;
                bytes.extend(i16::try_from(between).unwrap_or(sample).to_le_bytes());
            }
            self.last = sample;
        }
        bytes
    }

    /// All of it.
    async fn whole(mut self) -> Result<Vec<u8>, SpeechError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await {
            all.extend(bytes?);
        }
        Ok(all)
    }
}

#[derive(Debug, Deserialize)]
struct Asked {
    input: String,
    #[serde(default)]
    voice: String,
    #[serde(default)]
    response_format: Option<String>,
    #[serde(default)]
    stream_format: Option<String>,
    #[serde(default)]
    speed: Option<f64>,
}

/// `POST /v1/audio/speech`.
pub(crate) async fn openai(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Response {
    shared.journal.write(json!({"path": "/v1/audio/speech", "body": body}));
    let asked: Asked = match serde_json::from_value(body) {
        Ok(asked) => asked,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let speed = asked.speed.unwrap_or(1.0);
    if asked.input.is_empty() || asked.input.len() > MAX_INPUT || !(0.25..=4.0).contains(&speed) {
        return refuse(StatusCode::BAD_REQUEST, "`input` has 1 to 4096 characters, `speed` is from 0.25 to 4");
    }
    let rendering = shared.say(&asked.input, &asked.voice, "en", speed, 24_000);
    match (asked.response_format.as_deref(), asked.stream_format.as_deref()) {
        (Some("pcm"), Some("sse")) => events(rendering),
        (Some("pcm"), _) => {
            ([(header::CONTENT_TYPE, "audio/pcm")], Body::from_stream(pieces(rendering))).into_response()
        }
        (Some("wav"), _) => wav(rendering, 24_000).await,
        _ => refuse(StatusCode::BAD_REQUEST, "`response_format` can be pcm or wav here"),
    }
}

#[derive(Debug, Deserialize)]
struct Custom {
    text: String,
    #[serde(default)]
    voice: String,
    #[serde(default)]
    language: String,
}

/// `POST /custom/tts`.
pub(crate) async fn custom(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Response {
    shared.journal.write(json!({"path": "/custom/tts", "body": body}));
    match serde_json::from_value::<Custom>(body) {
        Ok(asked) => wav(shared.say(&asked.text, &asked.voice, &asked.language, 1.0, OURS), OURS).await,
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// Samples as they are rendered.
fn pieces(rendering: Rendering) -> impl stream::Stream<Item = io::Result<Vec<u8>>> {
    stream::unfold(rendering, |mut rendering| async move {
        let piece = rendering.next().await?;
        Some((piece.map_err(io::Error::other), rendering))
    })
}

fn events(rendering: Rendering) -> Response {
    let pieces = pieces(rendering).map(|piece| {
        let audio = BASE64_STANDARD.encode(piece?);
        Ok(Event::default().data(json!({"type": "speech.audio.delta", "audio": audio}).to_string()))
    });
    let done =
        stream::iter([Ok::<_, io::Error>(Event::default().data(json!({"type": "speech.audio.done"}).to_string()))]);
    Sse::new(pieces.chain(done)).into_response()
}

/// A WAV file with a length that nobody knew when it began.
async fn wav(rendering: Rendering, rate: u32) -> Response {
    match rendering.whole().await {
        Ok(samples) => {
            let mut file = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
            file.extend(rate.to_le_bytes());
            file.extend((rate * 2).to_le_bytes());
            file.extend(b"\x02\0\x10\0data\xff\xff\xff\xff");
            file.extend(samples);
            ([(header::CONTENT_TYPE, "audio/wav")], file).into_response()
        }
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
