//! Recognition over WebSockets.

use crate::socket::{Came, Socket, accept, parameters};
use crate::{Shared, refuse};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Louder than this is speech: the mean of a frame's samples without their signs.
const LOUD: u64 = 300;
/// Audio of one utterance: two minutes at 16 kHz.
const MAX_SAMPLES: usize = 120 * 16_000;

/// The audio of an utterance, and when somebody spoke in it.
struct Sound {
    rate: u32,
    samples: Vec<i16>,
    /// Samples before the present utterance.
    before: usize,
    spoken: bool,
    /// Samples since somebody spoke.
    quiet: usize,
    partial_told: bool,
}

impl Sound {
    const fn new(rate: u32) -> Self {
        Self { rate, samples: Vec::new(), before: 0, spoken: false, quiet: 0, partial_told: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        let (pairs, _) = bytes.as_chunks::<2>();
        let samples: Vec<i16> = pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        for frame in samples.chunks((self.rate / 50) as usize) {
            let mean = frame.iter().map(|s| u64::from(s.unsigned_abs())).sum::<u64>() / frame.len().max(1) as u64;
            if mean > LOUD {
                (self.spoken, self.quiet) = (true, 0);
            } else {
                self.quiet += frame.len();
            }
        }
        if self.samples.len() + samples.len() <= MAX_SAMPLES {
            self.samples.extend(samples);
        }
    }

    fn quiet_ms(&self) -> u64 {
        self.quiet as u64 * 1_000 / u64::from(self.rate)
    }

    fn seconds(&self, samples: usize) -> f64 {
        samples as f64 / f64::from(self.rate)
    }

    /// The utterance is over.
    fn take(&mut self) -> Vec<i16> {
        self.before += self.samples.len();
        (self.spoken, self.partial_told, self.quiet) = (false, false, 0);
        std::mem::take(&mut self.samples)
    }
}

/// `GET /v1/listen`.
pub(crate) async fn deepgram(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (query, terms) = parameters(&request);
    shared.journal.write(json!({"path": "/v1/listen", "query": query, "keyterms": terms}));
    let number = |name: &str, usual: u64| query.get(name).map_or(Some(usual), |value| value.parse().ok());
    let rate = number("sample_rate", 8_000).filter(|rate| matches!(rate, 8_000 | 16_000));
    let (Some(rate), Some("linear16")) = (rate, query.get("encoding").map(String::as_str)) else {
        return refuse(StatusCode::BAD_REQUEST, "`encoding` is linear16, `sample_rate` 8000 or 16000");
    };
    let listening = Listening {
        shared,
        language: query.get("language").cloned().unwrap_or_default(),
        hints: terms,
        interim: query.get("interim_results").is_some_and(|value| value == "true"),
        endpointing: number("endpointing", 10).unwrap_or(10),
        utterance_end: query.get("utterance_end_ms").and_then(|value| value.parse().ok()),
        sound: Sound::new(u32::try_from(rate).unwrap_or(8_000)),
    };
    accept(request, move |socket| listening.serve(socket))
}

struct Listening {
    shared: Arc<Shared>,
    language: String,
    hints: Vec<String>,
    interim: bool,
    endpointing: u64,
    utterance_end: Option<u64>,
    sound: Sound,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type", default)]
    kind: String,
}

impl Listening {
    async fn serve(mut self, mut socket: Socket) {
        // A segment was final, and its utterance is not over.
        let mut open = false;
        while let Some(came) = socket.next().await {
            let there = match came {
                Came::Binary(bytes) => {
                    let spoke = self.sound.spoken;
                    self.sound.push(&bytes);
                    let mut there = true;
                    if self.sound.spoken && !spoke {
                        there =
                            socket.text(&json!({"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.0})).await;
                    }
                    if let Some(partial) = self.partial() {
                        there = there && socket.text(&partial).await;
                    }
                    let quiet = self.sound.quiet_ms();
                    if self.sound.spoken && quiet >= self.endpointing {
                        let results = self.results(true, false).await;
                        there = there && socket.text(&results).await;
                        open = true;
                        self.sound.quiet = usize::try_from(quiet * u64::from(self.sound.rate) / 1_000).unwrap_or(0);
                    }
                    if open && self.utterance_end.is_some_and(|end| self.sound.quiet_ms() >= end) {
                        open = false;
                        let end = self.sound.seconds(self.sound.before);
                        there = there
                            && socket
                                .text(&json!({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": end}))
                                .await;
                    }
                    there
                }
                Came::Text(text) => match serde_json::from_str::<Told>(&text).map(|told| told.kind).as_deref() {
                    Ok("KeepAlive") => true,
                    Ok("Finalize") => {
                        open = false;
                        let results = self.results(false, true).await;
                        socket.text(&results).await
                    }
                    Ok("CloseStream") => {
                        socket.text(&json!({"type": "Metadata", "channels": 1})).await;
                        return socket.close().await;
                    }
                    _ => {
                        socket.text(&json!({"type": "Error", "description": "not understood"})).await;
                        return socket.close().await;
                    }
                },
            };
            if !there {
                return;
            }
        }
    }

    /// A hypothesis on the way, once for each utterance: the first half of what the script has.
    fn partial(&mut self) -> Option<Value> {
        if !self.interim || !self.sound.spoken || self.sound.partial_told {
            return None;
        }
        self.sound.partial_told = true;
        let words: Vec<&str> = self.shared.coming()?.split(' ').collect();
        let text = words[..words.len().div_ceil(2)].join(" ");
        Some(results(&text, None, 0.0, 0.0, [false, false, false]))
    }

    /// What was said since the last segment.
    async fn results(&mut self, speech_final: bool, from_finalize: bool) -> Value {
        let (spoken, start) = (self.sound.spoken, self.sound.seconds(self.sound.before));
        let samples = self.sound.take();
        let said = if spoken {
            self.shared.hear(&samples, self.sound.rate, &self.language, &self.hints).await
        } else {
            crate::ear::Said::default()
        };
        let length = self.sound.seconds(samples.len());
        results(&said.text, said.confidence, start, length, [true, speech_final, from_finalize])
    }
}

fn results(text: &str, confidence: Option<f32>, start: f64, length: f64, flags: [bool; 3]) -> Value {
    let words: Vec<&str> = text.split_whitespace().collect();
    let each = length / words.len().max(1) as f64;
    let confidence = confidence.unwrap_or(0.0);
    let timed: Vec<Value> = (words.iter().enumerate())
        .map(|(i, word)| {
            let start = start + each * i as f64;
            json!({"word": word, "start": start, "end": start + each, "confidence": confidence})
        })
        .collect();
    let [is_final, speech_final, from_finalize] = flags;
    json!({
        "type": "Results", "channel_index": [0, 1], "start": start, "duration": length,
        "is_final": is_final, "speech_final": speech_final, "from_finalize": from_finalize,
        "channel": {"alternatives": [{"transcript": text, "confidence": confidence, "words": timed}]},
    })
}

/// `GET /custom/stt`.
pub(crate) async fn custom(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    accept(request, move |socket| transcribe(shared, socket))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begin {
    #[serde(default)]
    language: String,
    #[serde(default)]
    interim_results: bool,
    #[serde(default)]
    sample_rate_hz: u32,
    #[serde(default)]
    options: Value,
}

async fn transcribe(shared: Arc<Shared>, mut socket: Socket) {
    let mut begun: Option<(Begin, Sound)> = None;
    while let Some(came) = socket.next().await {
        match (came, &mut begun) {
            (Came::Binary(bytes), Some((begin, sound))) => {
                sound.push(&bytes);
                if begin.interim_results
                    && sound.spoken
                    && !std::mem::replace(&mut sound.partial_told, true)
                    && let Some(coming) = shared.coming()
                {
                    let word = coming.split(' ').next().unwrap_or_default();
                    if !socket.text(&transcription(word, None, &begin.language, false)).await {
                        return;
                    }
                }
            }
            (Came::Text(text), begun) => {
                let value: Value = serde_json::from_str(&text).unwrap_or_default();
                match (value["type"].as_str(), begun.take()) {
                    (Some("start"), None) => {
                        shared.journal.write(json!({"path": "/custom/stt", "body": value}));
                        match serde_json::from_value::<Begin>(value) {
                            Ok(begin) if matches!(begin.sample_rate_hz, 8_000 | 16_000) => {
                                let sound = Sound::new(begin.sample_rate_hz);
                                *begun = Some((begin, sound));
                            }
                            _ => return fail(socket, "`sampleRateHz` is 8000 or 16000").await,
                        }
                    }
                    (Some("stop"), Some((begin, mut sound))) => {
                        let said = if sound.spoken {
                            let hints = begin.options["hints"].as_array().cloned().unwrap_or_default();
                            let hints: Vec<String> =
                                hints.iter().filter_map(|hint| hint.as_str().map(str::to_owned)).collect();
                            shared.hear(&sound.take(), begin.sample_rate_hz, &begin.language, &hints).await
                        } else {
                            crate::ear::Said::default()
                        };
                        socket.text(&transcription(&said.text, said.confidence, &begin.language, true)).await;
                        return socket.close().await;
                    }
                    _ => return fail(socket, "`start`, audio, `stop`").await,
                }
            }
            (Came::Binary(_), None) => return fail(socket, "audio before `start`").await,
        }
    }
}

async fn fail(mut socket: Socket, why: &str) {
    socket.text(&json!({"type": "error", "error": why})).await;
    socket.close().await;
}

fn transcription(text: &str, confidence: Option<f32>, language: &str, last: bool) -> Value {
    let best = json!({"transcript": text, "confidence": confidence});
    json!({"type": "transcription", "is_final": last, "alternatives": [best], "language": language, "channel": 1})
}
