//! Recognition over HTTP, and what all recognition here shares.

use crate::{Shared, refuse};
use axum::Json;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use callbox_grammar::Grammar;
use callbox_speech::pipe_wav::PipeWav;
use callbox_speech::recogniser::Listening;
use futures_util::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) confidence: Option<f32>,
}

impl Shared {
    /// What somebody said: by the recogniser, which listens for the hints, else by the script.
    pub(crate) async fn hear(&self, samples: &[i16], rate_hz: u32, language: &str, hints: &[String]) -> Said {
        if let (Some(ear), Some(grammar)) = (&self.settings.ear, choices(hints)) {
            let what = Listening {
                languages: vec![if language.is_empty() { "en" } else { language }.to_owned()],
                grammar: Some(Arc::new(grammar)),
                rate_hz,
                ..Listening::default()
            };
            match ear.start(what).whole(samples, rate_hz).await {
                Ok(heard) => {
                    let best = heard.into_iter().next().unwrap_or_default();
                    return Said { text: best.text, confidence: best.confidence };
                }
                Err(error) => tracing::warn!(%error, "the recogniser failed; the script answers"),
            }
        }
        let transcripts = &self.settings.script.transcripts;
        let turn = self.transcribed.fetch_add(1, Ordering::Relaxed);
        let said = transcripts.get(turn).or(transcripts.last());
        said.map_or_else(Said::default, |said| Said { text: said.text.clone(), confidence: said.confidence })
    }

    /// What the next utterance will be by the script, for hypotheses on the way to it.
    pub(crate) fn coming(&self) -> Option<&str> {
        let transcripts = &self.settings.script.transcripts;
        let turn = self.transcribed.load(Ordering::Relaxed);
        transcripts.get(turn).or(transcripts.last()).map(|said| said.text.as_str())
    }
}

/// A grammar of the words that are hinted at.
fn choices(hints: &[String]) -> Option<Grammar> {
    let choices: Vec<Value> = hints.iter().map(|hint| json!({"value": hint, "phrases": [hint]})).collect();
    let grammar = json!({"answer": {"kind": "choices", "choices": choices}});
    if choices.is_empty() { None } else { Grammar::read(&grammar.to_string()).ok() }
}

/// `POST /v1/audio/transcriptions`.
pub(crate) async fn openai(State(shared): State<Arc<Shared>>, mut form: Multipart) -> Response {
    let mut fields = json!({});
    let mut file = None;
    loop {
        match form.next_field().await {
            Ok(None) => break,
            Ok(Some(field)) => {
                let name = field.name().unwrap_or_default().to_owned();
                match (name.as_str(), field.bytes().await) {
                    ("file", Ok(bytes)) => file = Some(bytes),
                    (_, Ok(bytes)) => fields[name] = String::from_utf8_lossy(&bytes).into(),
                    (_, Err(error)) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
                }
            }
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }
    shared.journal.write(json!({"path": "/v1/audio/transcriptions", "body": fields}));
    let (mut wav, mut samples) = (PipeWav::new(), Vec::new());
    let read = wav.push(&file.unwrap_or_default(), &mut samples).map(|()| wav.rate());
    let Ok(Some(rate)) = read else {
        return refuse(StatusCode::BAD_REQUEST, "`file` is no WAV of 16 bits");
    };
    let text = |name: &str| fields[name].as_str().unwrap_or_default();
    let hints: Vec<String> = text("prompt").split(", ").filter(|hint| !hint.is_empty()).map(str::to_owned).collect();
    let said = shared.hear(&samples, rate, text("language"), &hints).await;
    match (text("response_format"), text("stream")) {
        (_, "true") => events(&said.text),
        ("text", _) => said.text.into_response(),
        _ => Json(json!({"text": said.text})).into_response(),
    }
}

fn events(text: &str) -> Response {
    let event = |value: Value| Ok::<_, Infallible>(Event::default().data(value.to_string()));
    let mut events: Vec<_> =
        text.split_inclusive(' ').map(|word| event(json!({"type": "transcript.text.delta", "delta": word}))).collect();
    events.push(event(json!({"type": "transcript.text.done", "text": text})));
    Sse::new(stream::iter(events)).into_response()
}
