//! Synthesis over WebSockets.

use crate::socket::{Came, Socket, accept, parameters};
use crate::voice::{Rendering, rate_is_possible};
use crate::{Shared, refuse};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Bytes of text that wait for a flush.
const MAX_TEXT: usize = 16 << 10;

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: String,
}

/// `GET /v1/speak`.
pub(crate) async fn deepgram(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (query, _) = parameters(&request);
    shared.journal.write(json!({"path": "/v1/speak", "query": query}));
    let rate = query.get("sample_rate").map_or(Some(24_000), |rate| rate.parse().ok()).filter(|&r| rate_is_possible(r));
    let (Some(rate), "linear16") = (rate, query.get("encoding").map_or("linear16", String::as_str)) else {
        return refuse(StatusCode::BAD_REQUEST, "`encoding` is linear16, `sample_rate` 8000, 16000, 24000 or 48000");
    };
    let model = query.get("model").cloned().unwrap_or_default();
    accept(request, move |socket| speak(shared, socket, model, rate))
}

async fn speak(shared: Arc<Shared>, mut socket: Socket, model: String, rate: u32) {
    let mut text = String::new();
    let mut rendering: Option<Rendering> = None;
    let mut flushed = 0;
    loop {
        tokio::select! {
            came = socket.next() => {
                let Some(Came::Text(message)) = came else { return };
                let told: Told = match serde_json::from_str(&message) {
                    Ok(told) => told,
                    Err(error) => {
                        let message = json!({"type": "Warning", "description": error.to_string(), "code": "DATA-0000"});
                        if !socket.text(&message).await {
                            return;
                        }
                        continue;
                    }
                };
                match told.kind.as_str() {
                    "Speak" if text.len() + told.text.len() <= MAX_TEXT => text.push_str(&told.text),
                    "Flush" => rendering = Some(shared.say(&std::mem::take(&mut text), &model, "en", 1.0, rate)),
                    "Clear" => {
                        text.clear();
                        rendering = None;
                        if !socket.text(&json!({"type": "Cleared", "sequence_id": flushed})).await {
                            return;
                        }
                    }
                    "Close" => return socket.close().await,
                    _ => {
                        let message = json!({"type": "Warning", "description": "not understood", "code": "DATA-0001"});
                        if !socket.text(&message).await {
                            return;
                        }
                    }
                }
            }
            piece = next(&mut rendering) => {
                let there = match piece {
                    Some(Ok(bytes)) => socket.binary(bytes).await,
                    Some(Err(error)) => {
                        rendering = None;
                        socket.text(&json!({"type": "Error", "description": error, "code": "SPEECHD"})).await
                    }
                    None => {
                        rendering = None;
                        flushed += 1;
                        socket.text(&json!({"type": "Flushed", "sequence_id": flushed - 1})).await
                    }
                };
                if !there {
                    return;
                }
            }
        }
    }
}

/// `GET /custom/tts`.
pub(crate) async fn custom(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (query, _) = parameters(&request);
    shared.journal.write(json!({"path": "/custom/tts", "query": query}));
    let value = |name: &str| query.get(name).cloned().unwrap_or_default();
    let rate = value("sampleRate").parse().ok().filter(|&rate| rate_is_possible(rate)).unwrap_or(8_000);
    let (voice, language) = (value("voice"), value("language"));
    accept(request, move |socket| stream(shared, socket, voice, language, rate))
}

async fn stream(shared: Arc<Shared>, mut socket: Socket, voice: String, language: String, rate: u32) {
    let hello = json!({"type": "connect", "data": {"sample_rate": rate, "base64_encoding": false}});
    if !socket.text(&hello).await {
        return;
    }
    let mut text = String::new();
    let mut rendering: Option<Rendering> = None;
    loop {
        tokio::select! {
            came = socket.next() => {
                let Some(Came::Text(message)) = came else { return };
                let told: Told = match serde_json::from_str(&message) {
                    Ok(told) => told,
                    Err(error) => {
                        socket.text(&json!({"type": "error", "error": error.to_string()})).await;
                        return socket.close().await;
                    }
                };
                match told.kind.as_str() {
                    "stream" if text.len() + told.text.len() <= MAX_TEXT => text.push_str(&told.text),
                    "flush" => rendering = Some(shared.say(&std::mem::take(&mut text), &voice, &language, 1.0, rate)),
                    "stop" => return socket.close().await,
                    _ => {}
                }
            }
            piece = next(&mut rendering) => {
                let there = match piece {
                    Some(Ok(bytes)) => socket.binary(bytes).await,
                    Some(Err(error)) => {
                        socket.text(&json!({"type": "error", "error": error})).await;
                        return socket.close().await;
                    }
                    // The protocol has no word for the end of a flush.
                    None => {
                        rendering = None;
                        true
                    }
                };
                if !there {
                    return;
                }
            }
        }
    }
}

/// The next piece of what is being rendered; for ever, where nothing is.
async fn next(rendering: &mut Option<Rendering>) -> Option<Result<Vec<u8>, String>> {
    match rendering {
        Some(rendering) => Some(rendering.next().await?.map_err(|error| error.to_string())),
        None => std::future::pending().await,
    }
}
