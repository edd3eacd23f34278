//! Language models: one request to a server that speaks OpenAI's chat
//! completions (`POST …/v1/chat/completions`), and its answer as it comes.
//!
//! The request goes out through the guarded client, with the headers of its
//! binding, the key among them. It is made once: whoever asks decides whether to
//! ask again. The answer is a stream of server-sent events, or, from servers that
//! do not stream, one JSON document. Dropping a [`ModelAnswer`] breaks it off.

mod answer;

pub(crate) use self::answer::{Broken, Chat};

use crate::egress::{Egress, EgressError, Post};
use bytes::Bytes;
use callbox_dialogue::HostError;
use callbox_dialogue::llm::{Event, Message, Request, Role};
use callbox_store::bindings::Credentials;
use eventsource_stream::{EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

/// Longest answer of a model, bytes as they come: far more than the engine lets one write.
pub const MAX_ANSWER: usize = 8 << 20;
/// Bytes read of a refusal, for its code.
const REFUSAL: usize = 4 << 10;

/// What to ask, and whom.
#[derive(Debug)]
pub struct ModelRequest<'a> {
    /// Of the binding: chat completions.
    pub url: &'a str,
    /// The server's name of the model.
    pub model: &'a str,
    /// Of [`callbox_store::Store::model_credentials`].
    pub credentials: &'a Credentials,
    /// What the engine asks.
    pub request: &'a Request,
}

/// Why a model gives no answer. No text holds the URL, the key or what was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Nobody there, not allowed to go there, or the exchange broke.
    #[error("{0}")]
    Egress(#[from] EgressError),
    /// The answer is not a success. Redirects are not followed.
    #[error("the answer has status {status}{}", code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Status {
        /// HTTP.
        status: u16,
        /// The server's own code, where it is one word.
        code: Option<String>,
    },
    /// The answer is not what it should be.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl From<ModelError> for HostError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Egress(EgressError::TimedOut) => Self::TimedOut,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// A model's answer, as it comes.
pub struct ModelAnswer {
    body: Pin<Box<dyn Stream<Item = Result<String, ModelError>> + Send>>,
    chat: Chat,
    ready: VecDeque<Event>,
    over: bool,
}

impl std::fmt::Debug for ModelAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelAnswer").field("over", &self.over).finish_non_exhaustive()
    }
}

/// Asks a model, and waits for the head of its answer at most `timeout`.
///
/// # Errors
/// When there is none, or it is not a success.
pub async fn ask_model(egress: &Egress, ask: ModelRequest<'_>, timeout: Duration) -> Result<ModelAnswer, ModelError> {
    let mut headers = vec![("accept".to_owned(), "text/event-stream, application/json".to_owned())];
    headers.extend(ask.credentials.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
    let post = Post { url: ask.url, headers, body: Bytes::from(body(&ask).to_string()), timeout };
    let answer = egress.exchange(post, async |answer| Ok(answer)).await?;
    if !(200..300).contains(&answer.status) {
        let status = answer.status;
        let said = answer.beginning(REFUSAL, Duration::from_secs(1)).await;
        return Err(ModelError::Status { status, code: answer::code(&said) });
    }
    let streams = answer.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/event-stream"));
    let body: Pin<Box<dyn Stream<Item = Result<String, ModelError>> + Send>> = if streams {
        let events = answer.stream(MAX_ANSWER).eventsource();
        Box::pin(events.map(|event| match event {
            Ok(event) => Ok(event.data),
            Err(EventStreamError::Transport(error)) => Err(error.into()),
            Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_)) => Err(Broken::NotEvents.into()),
        }))
    } else {
        Box::pin(futures_util::stream::once(async move {
            let whole = answer.body(MAX_ANSWER).await?;
            Ok(String::from_utf8(whole).map_err(|_| Broken::NotJson { line: 0, column: 0 })?)
        }))
    };
    Ok(ModelAnswer { body, chat: Chat::default(), ready: VecDeque::new(), over: false })
}

impl ModelAnswer {
    /// What the model does next. After [`Event::Done`] and [`Event::Failed`] none. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let taken = match self.body.next().await {
                Some(Ok(data)) => self.chat.take(&data).map_err(ModelError::from),
                Some(Err(error)) => Err(error),
                None => {
                    self.over = true;
                    self.chat.end().map_err(ModelError::from)
                }
            };
            match taken {
                Ok(events) => {
                    self.over |= events.iter().any(|event| matches!(event, Event::Done { .. }));
                    self.ready.extend(events);
                }
                Err(error) => {
                    self.over = true;
                    self.ready.push_back(Event::Failed { error: error.into() });
                }
            }
        }
    }
}

/// The request's body.
fn body(ask: &ModelRequest<'_>) -> Value {
    let request = ask.request;
    let mut body = Map::new();
    // What the script adds comes first: what the host sets stands over it.
    for (name, value) in &request.extra {
        body.insert(name.clone(), serde_json::from_str(value).unwrap_or(Value::Null));
    }
    body.insert("model".into(), ask.model.into());
    body.insert("messages".into(), request.messages.iter().map(message).collect());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    body.insert("max_tokens".into(), request.max_tokens.into());
    if let Some(temperature) = request.temperature {
        // As it was written, and not the nearest number of twice the size.
        body.insert("temperature".into(), serde_json::from_str(&temperature.to_string()).unwrap_or(Value::Null));
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let parameters: Value = serde_json::from_str(&tool.parameters).unwrap_or_else(|_| json!({}));
            let function = json!({ "name": tool.name, "description": tool.description, "parameters": parameters });
            json!({ "type": "function", "function": function })
        });
        body.insert("tools".into(), tools.collect());
    }
    body.into()
}

fn message(message: &Message) -> Value {
    let mut written = json!({ "role": message.role.as_str(), "content": message.text });
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let function = json!({ "name": call.name, "arguments": call.arguments });
            json!({ "id": call.id, "type": "function", "function": function })
        });
        written["tool_calls"] = calls.collect();
        if message.text.is_empty() {
            written["content"] = Value::Null;
        }
    }
    if let (Role::Tool, Some(id)) = (message.role, &message.tool_call_id) {
        written["tool_call_id"] = id.as_str().into();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::llm::{Tool, ToolCall};

    #[test]
    fn a_request_is_written_as_the_protocol_wants_it() {
        let call = ToolCall { id: "c1".into(), name: "slots".into(), arguments: "{\"day\":1}".into(), problem: None };
        let request = Request {
            model: "assistant".into(),
            messages: vec![
                Message::new(Role::System, "Be brief."),
                Message::new(Role::User, "Hello"),
                Message { tool_calls: vec![call], ..Message::new(Role::Assistant, "") },
                Message { tool_call_id: Some("c1".into()), ..Message::new(Role::Tool, "nine") },
            ],
            tools: vec![Tool {
                name: "slots".into(),
                description: "Free times".into(),
                parameters: r#"{"type":"object"}"#.into(),
            }],
            temperature: Some(0.2),
            max_tokens: 64,
            extra: vec![("seed".into(), "7".into()), ("model".into(), "\"another\"".into())],
        };
        let credentials = Credentials { signing: Vec::new(), headers: Vec::new() };
        let ask = ModelRequest { url: "https://x", model: "tiny", credentials: &credentials, request: &request };
        let expected = json!({
            "seed": 7, "model": "tiny", "stream": true, "stream_options": {"include_usage": true},
            "max_tokens": 64, "temperature": 0.2,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "slots", "arguments": "{\"day\":1}"}}]},
                {"role": "tool", "content": "nine", "tool_call_id": "c1"}
            ],
            "tools": [{"type": "function", "function": {
                "name": "slots", "description": "Free times", "parameters": {"type": "object"}}}]
        });
        assert_eq!(body(&ask), expected);
    }
}
