//! `POST /v1/chat/completions`.

use crate::script::{Answer, Failure, Last};
use crate::{Shared, refuse};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Messages of a conversation.
const MAX_MESSAGES: usize = 1_000;
/// The slowest and the fastest that words come.
const PACES: std::ops::RangeInclusive<f64> = 0.1..=10_000.0;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    model: String,
    messages: Vec<Said>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
struct Said {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Vec<Called>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

/// A text, or parts of which some are text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Debug, Deserialize)]
struct ContentPart {
    #[serde(default)]
    text: String,
}

#[derive(Debug, Deserialize)]
struct Called {
    id: String,
    function: Function,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
}

impl Said {
    fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => parts.iter().map(|part| part.text.as_str()).collect(),
        }
    }
}

/// Answers a conversation by the script.
pub(crate) async fn completions(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Response {
    shared.journal.write(json!({"path": "/v1/chat/completions", "body": body}));
    let asked: Asked = match serde_json::from_value(body) {
        Ok(asked) => asked,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if asked.messages.len() > MAX_MESSAGES {
        return refuse(StatusCode::BAD_REQUEST, "too many messages");
    }
    let Some(last) = asked.messages.iter().rev().find(|said| matches!(said.role.as_str(), "user" | "tool")) else {
        return refuse(StatusCode::BAD_REQUEST, "no message of a user or a tool");
    };
    let text = last.text();
    let last = match (&last.tool_call_id, last.role.as_str()) {
        (Some(id), "tool") => {
            let calls = asked.messages.iter().flat_map(|said| &said.tool_calls);
            let Some(call) = calls.into_iter().find(|call| call.id == *id) else {
                return refuse(StatusCode::BAD_REQUEST, "a result without its call");
            };
            Last::Tool { name: &call.function.name, result: &text }
        }
        (None, "tool") => return refuse(StatusCode::BAD_REQUEST, "a result without `tool_call_id`"),
        _ => Last::User(&text),
    };
    let answer = shared.settings.script.answer(&asked.model, &last);
    if let Some(Failure::Status(status)) = answer.fails {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return refuse(status, "as the script has it");
    }
    let id = format!("chatcmpl-{}", asked.messages.len());
    if asked.stream {
        let usage = asked.stream_options.is_some_and(|options| options.include_usage);
        return streamed(&id, &asked.model, answer, usage);
    }
    whole(&id, &asked.model, answer).await
}

/// The answer at once, when all of it has been said.
async fn whole(id: &str, model: &str, answer: Answer) -> Response {
    let words = words(&answer.says);
    let pace = pace(&answer);
    tokio::time::sleep(Duration::from_millis(answer.first_token_ms) + pace * u32::try_from(words.len()).unwrap_or(0))
        .await;
    match answer.fails {
        Some(Failure::Stalls | Failure::Endless) => return std::future::pending().await,
        Some(Failure::Rubbish | Failure::Closes) => return "{\"choices\": [".into_response(),
        Some(Failure::Status(_)) | None => {}
    }
    let calls: Vec<Value> = answer
        .calls
        .iter()
        .enumerate()
        .map(|(i, call)| {
            let function = json!({"name": call.name, "arguments": call.arguments.to_string()});
            json!({"id": call_id(id, i), "type": "function", "function": function})
        })
        .collect();
    let mut message = json!({"role": "assistant", "content": answer.says});
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let choice = json!({"index": 0, "message": message, "finish_reason": reason(&answer)});
    Json(json!({
        "id": id, "object": "chat.completion", "created": 0, "model": model,
        "choices": [choice], "usage": usage(&answer),
    }))
    .into_response()
}

/// What is sent, and how long after the one before.
enum Next {
    Data(String),
    Close,
    Stall,
}

/// The answer word by word, as server-sent events.
fn streamed(id: &str, model: &str, answer: Answer, with_usage: bool) -> Response {
    let chunk = |choices: Value| json!({"id": id, "object": "chat.completion.chunk", "created": 0, "model": model, "choices": choices});
    let delta = |delta: Value, reason: Value| {
        Next::Data(chunk(json!([{"index": 0, "delta": delta, "finish_reason": reason}])).to_string())
    };
    let pace = pace(&answer);
    let words = words(&answer.says);
    let middle = words.len() / 2;
    let mut steps: VecDeque<(Duration, Next)> = VecDeque::new();
    let first = Duration::from_millis(answer.first_token_ms);
    steps.push_back((first, delta(json!({"role": "assistant", "content": ""}), Value::Null)));
    for (i, word) in words.iter().enumerate() {
        if i == middle {
            steps.extend(trouble(answer.fails));
        }
        steps.push_back((pace, delta(json!({"content": word}), Value::Null)));
    }
    if words.is_empty() {
        steps.extend(trouble(answer.fails));
    }
    for (i, call) in answer.calls.iter().enumerate() {
        let function = json!({"name": call.name, "arguments": ""});
        let begin =
            json!({"tool_calls": [{"index": i, "id": call_id(id, i), "type": "function", "function": function}]});
        steps.push_back((pace, delta(begin, Value::Null)));
        for piece in pieces(&call.arguments.to_string()) {
            let more = json!({"tool_calls": [{"index": i, "function": {"arguments": piece}}]});
            steps.push_back((pace, delta(more, Value::Null)));
        }
    }
    let endless = (answer.fails == Some(Failure::Endless)).then(|| {
        chunk(json!([{
            "index": 0, "delta": {"content": " and so on"}, "finish_reason": null,
        }]))
        .to_string()
    });
    if endless.is_none() {
        steps.push_back((Duration::ZERO, delta(json!({}), reason(&answer))));
        if with_usage {
            let mut last = chunk(json!([]));
            last["usage"] = usage(&answer);
            steps.push_back((Duration::ZERO, Next::Data(last.to_string())));
        }
        steps.push_back((Duration::ZERO, Next::Data("[DONE]".to_owned())));
    }
    let events = stream::unfold((steps, endless), move |(mut steps, endless)| async move {
        let (wait, next) = match (steps.pop_front(), &endless) {
            (Some(step), _) => step,
            (None, Some(data)) => (pace, Next::Data(data.clone())),
            (None, None) => return None,
        };
        tokio::time::sleep(wait).await;
        // Where the pace is no pace, whoever stops listening is noticed here.
        tokio::task::yield_now().await;
        let event = match next {
            Next::Data(data) => Ok(Event::default().data(data)),
            Next::Close => Err(io::Error::other("as the script has it")),
            Next::Stall => std::future::pending().await,
        };
        Some((event, (steps, endless)))
    });
    Sse::new(events).into_response()
}

/// What goes wrong in the middle.
fn trouble(fails: Option<Failure>) -> Option<(Duration, Next)> {
    let next = match fails? {
        Failure::Closes => Next::Close,
        Failure::Stalls => Next::Stall,
        Failure::Rubbish => Next::Data("{\"choices\": [".to_owned()),
        Failure::Endless | Failure::Status(_) => return None,
    };
    Some((Duration::ZERO, next))
}

/// Between two words.
fn pace(answer: &Answer) -> Duration {
    answer.tokens_per_second.map_or(Duration::ZERO, |pace| {
        Duration::from_secs_f64(1.0 / if pace.is_finite() { pace.clamp(*PACES.start(), *PACES.end()) } else { 1.0 })
    })
}

/// Words with the space before them.
fn words(text: &str) -> Vec<&str> {
    text.split_inclusive(' ').collect()
}

/// Arguments in pieces, as models write them.
fn pieces(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(8).map(|piece| piece.iter().collect()).collect()
}

fn call_id(id: &str, index: usize) -> String {
    format!("call_{}_{index}", id.trim_start_matches("chatcmpl-"))
}

fn reason(answer: &Answer) -> Value {
    if answer.calls.is_empty() { "stop".into() } else { "tool_calls".into() }
}

fn usage(answer: &Answer) -> Value {
    let said = words(&answer.says).len();
    json!({"prompt_tokens": 1, "completion_tokens": said, "total_tokens": said + 1})
}
