//! Reading what a model answers, piece by piece: no socket, no clock.
//!
//! Servers differ. What is read here: text in `delta.content` or
//! `message.content`, as a string or in parts; tool calls in fragments, by index
//! or by id, or whole; `finish_reason` in a piece of its own, with the usage in
//! one behind it, or not at all; `[DONE]`, or simply the end; an error object in
//! the middle of it all. What is not read: what a model thinks aloud
//! (`reasoning_content`, and a first `<think>` block in its text), which is
//! nothing to say on the telephone.

use callbox_dialogue::llm::{Event, ToolCall, Usage};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Tool calls of one answer; the engine takes fewer.
const CALLS: usize = 64;
/// Bytes of the arguments of one, a little more than the engine takes, so that it can say what is wrong.
const ARGUMENTS: usize = 80 << 10;
/// Begins and ends what a model thinks.
const THINKS: (&str, &str) = ("<think>", "</think>");

/// What is wrong with an answer. No text holds what was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The stream is no stream of events.
    #[error("the answer is not a stream of server-sent events")]
    NotEvents,
    /// A piece of it cannot be read.
    #[error("the answer is not JSON of chat completions: line {line} column {column}")]
    NotJson {
        /// Counts from 1.
        line: usize,
        /// Counts from 1.
        column: usize,
    },
    /// It ended before the model had finished.
    #[error("the answer broke off")]
    BrokeOff,
    /// The server says that it failed.
    #[error("the server failed{}", code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Failed {
        /// Its own code, where it is one word.
        code: Option<String>,
    },
    /// Too many tool calls, or too long ones.
    #[error("the answer calls more tools than there can be")]
    TooManyCalls,
}

/// An answer that is being read.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    calls: BTreeMap<usize, ToolCall>,
    reason: Option<String>,
    usage: Option<Usage>,
    thought: Thought,
    over: bool,
}

/// Whether what the model writes is meant for the caller yet.
#[derive(Debug)]
enum Thought {
    /// What came so far may still become `<think>`.
    Begins(String),
    /// Nobody is to hear it. The last few characters, which may begin its end.
    Thinks(String),
    /// It is.
    Over,
}

impl Default for Thought {
    fn default() -> Self {
        Self::Begins(String::new())
    }
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Fragment>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
struct Fragment {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<Arguments>,
}

/// A text by the protocol; some servers write the object itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Arguments {
    Text(String),
    Object(serde_json::Map<String, serde_json::Value>),
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

impl Chat {
    /// Takes the data of one event, or a whole document.
    pub(crate) fn take(&mut self, data: &str) -> Result<Vec<Event>, Broken> {
        if self.over || data.trim().is_empty() {
            return Ok(Vec::new());
        }
        if data.trim() == "[DONE]" {
            return self.finish(true);
        }
        let piece: Piece = serde_json::from_str(data)
            .map_err(|error| Broken::NotJson { line: error.line(), column: error.column() })?;
        if let Some(error) = piece.error {
            return Err(Broken::Failed { code: code_of(&error) });
        }
        if let Some(Counts { prompt_tokens, completion_tokens }) = piece.usage
            && (prompt_tokens.is_some() || completion_tokens.is_some())
        {
            self.usage = Some(Usage { input: prompt_tokens.unwrap_or(0), output: completion_tokens.unwrap_or(0) });
        }
        let mut events = Vec::new();
        // One choice was asked for; of more only the first is anybody's business.
        for choice in piece.choices.unwrap_or_default() {
            if choice.index.is_some_and(|index| index > 0) {
                continue;
            }
            if let Some(delta) = choice.delta {
                self.delta(delta, &mut events)?;
            }
            if let Some(reason) = choice.finish_reason {
                self.reason = Some(reason);
            }
        }
        Ok(events)
    }

    fn delta(&mut self, delta: Delta, events: &mut Vec<Event>) -> Result<(), Broken> {
        let text = match delta.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => parts.into_iter().filter_map(|part| part.text).collect(),
            None => delta.refusal.unwrap_or_default(),
        };
        if let Some(text) = self.spoken(text) {
            events.push(Event::Text { text });
        }
        for fragment in delta.tool_calls.unwrap_or_default() {
            self.fragment(fragment)?;
        }
        Ok(())
    }

    fn fragment(&mut self, fragment: Fragment) -> Result<(), Broken> {
        let last = self.calls.last_key_value().map(|(index, call)| (*index, call.id.clone()));
        let given = fragment.id.filter(|id| !id.is_empty());
        // Without an index a new id is a new call, and none goes on with the last.
        let index = match (fragment.index, last, &given) {
            (Some(index), ..) => index,
            (None, None, _) => 0,
            (None, Some((index, id)), Some(given)) if *given != id => index.saturating_add(1),
            (None, Some((index, _)), _) => index,
        };
        if self.calls.len() >= CALLS && !self.calls.contains_key(&index) {
            return Err(Broken::TooManyCalls);
        }
        let call = self.calls.entry(index).or_insert_with(|| ToolCall {
            id: String::new(),
            name: String::new(),
            arguments: String::new(),
            problem: None,
        });
        if let Some(id) = given {
            call.id = id;
        }
        let Some(function) = fragment.function else { return Ok(()) };
        if let Some(name) = function.name.filter(|name| call.name != *name) {
            call.name.push_str(&name);
        }
        match function.arguments {
            Some(Arguments::Text(text)) => call.arguments.push_str(&text),
            Some(Arguments::Object(object)) => call.arguments = serde_json::Value::from(object).to_string(),
            None => {}
        }
        if call.arguments.len() > ARGUMENTS || call.name.len() > ARGUMENTS || call.id.len() > ARGUMENTS {
            return Err(Broken::TooManyCalls);
        }
        Ok(())
    }

    /// The text without what the model thinks aloud before it speaks; none where nothing is left.
    fn spoken(&mut self, text: String) -> Option<String> {
        let (begin, end) = THINKS;
        match &mut self.thought {
            Thought::Over => Some(text).filter(|text| !text.is_empty()),
            Thought::Begins(held) => {
                held.push_str(&text);
                let start = held.trim_start();
                if let Some(thought) = start.strip_prefix(begin) {
                    let thought = thought.to_owned();
                    self.thought = Thought::Thinks(String::new());
                    return self.spoken(thought);
                }
                if begin.starts_with(start) {
                    return None;
                }
                let held = std::mem::take(held);
                self.thought = Thought::Over;
                Some(held)
            }
            Thought::Thinks(tail) => {
                tail.push_str(&text);
                if let Some(at) = tail.find(end) {
                    let rest = tail[at + end.len()..].trim_start().to_owned();
                    self.thought = Thought::Over;
                    return Some(rest).filter(|rest| !rest.is_empty());
                }
                let mut keep = tail.len().saturating_sub(end.len());
                while !tail.is_char_boundary(keep) {
                    keep -= 1;
                }
                tail.drain(..keep);
                None
            }
        }
    }

    /// The stream is over.
    pub(crate) fn end(&mut self) -> Result<Vec<Event>, Broken> {
        if self.over { Ok(Vec::new()) } else { self.finish(false) }
    }

    fn finish(&mut self, announced: bool) -> Result<Vec<Event>, Broken> {
        self.over = true;
        let reason = match self.reason.take() {
            Some(reason) => reason,
            None if announced => "stop".to_owned(),
            None => return Err(Broken::BrokeOff),
        };
        let mut events = Vec::new();
        if let Thought::Begins(held) = std::mem::take(&mut self.thought)
            && !held.trim().is_empty()
        {
            events.push(Event::Text { text: held });
        }
        events.extend(std::mem::take(&mut self.calls).into_values().map(Event::ToolCall));
        events.push(Event::Done { reason, usage: self.usage });
        Ok(events)
    }
}

/// The code of a refusal, where its body is the usual error object.
pub(super) fn code(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    code_of(body.get("error").unwrap_or(&body))
}

/// One word of the server's own: its code, else its type. Its message may hold anything, a piece of the key among it.
fn code_of(error: &serde_json::Value) -> Option<String> {
    let word = |name: &str| {
        let word = error.get(name)?.as_str()?;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
        (!word.is_empty() && word.len() <= 48 && word.chars().all(good)).then(|| word.to_owned())
    };
    word("code").or_else(|| word("type"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

    /// All events of an answer in pieces, or what is wrong with it.
    fn read(pieces: &[&str]) -> Result<Vec<Event>, Broken> {
        let mut chat = Chat::default();
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(chat.take(piece)?);
        }
        events.extend(chat.end()?);
        Ok(events)
    }

    fn text(words: &str) -> Event {
        Event::Text { text: words.into() }
    }

    fn done(reason: &str) -> Event {
        Event::Done { reason: reason.into(), usage: None }
    }

    fn call(id: &str, name: &str, arguments: &str) -> Event {
        Event::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), problem: None })
    }

    fn delta(delta: serde_json::Value) -> String {
        json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}).to_string()
    }

    #[test]
    fn text_comes_as_it_is_written_and_usage_behind_the_end() {
        let pieces = [
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"content": "Hel"})),
            delta(json!({"content": "lo."})),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string(),
            json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}).to_string(),
            "[DONE]".to_owned(),
            "what comes after the end is nobody's".to_owned(),
        ];
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let usage = Some(Usage { input: 9, output: 2 });
        let end = Event::Done { reason: "stop".into(), usage };
        assert_eq!(read(&pieces), Ok(vec![text("Hel"), text("lo."), end]));
    }

    #[test]
    fn tool_calls_are_put_together_by_index_by_id_or_taken_whole() {
        let by_index = [
            delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "slots", "arguments": ""}}]})),
            delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"day\":"}}]})),
            delta(json!({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "book", "arguments": "{}"}}]})),
            delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]})),
        ];
        let by_id = [
            delta(json!({"tool_calls": [{"id": "a", "function": {"name": "slots", "arguments": "{\"day\":"}}]})),
            delta(json!({"tool_calls": [{"function": {"arguments": "1}"}}]})),
            delta(json!({"tool_calls": [{"id": "b", "function": {"name": "book", "arguments": {}}}]})),
        ];
        let whole = [json!({"choices": [{"message": {"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "slots", "arguments": "{\"day\":1}"}},
            {"id": "b", "type": "function", "function": {"name": "book", "arguments": "{}"}}]},
            "finish_reason": "tool_calls"}]})
        .to_string()];
        for pieces in [&by_index[..], &by_id, &whole] {
            let mut pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let end = delta(json!({})).replace("null", "\"tool_calls\"");
            pieces.push(&end);
            let expected = vec![call("a", "slots", "{\"day\":1}"), call("b", "book", "{}"), done("tool_calls")];
            assert_eq!(read(&pieces), Ok(expected), "{pieces:?}");
        }
    }

    #[test]
    fn what_a_model_thinks_aloud_is_not_for_the_caller() {
        let thinking = "<think>The caller wants < 5 ... </thin king</think>\n\nHello.";
        // In one piece, and character by character.
        let whole = [delta(json!({"content": thinking}))];
        let single: Vec<String> = thinking.chars().map(|c| delta(json!({"content": c.to_string()}))).collect();
        for pieces in [&whole[..], &single] {
            let mut pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            pieces.push("[DONE]");
            let said: String = read(&pieces)
                .unwrap()
                .into_iter()
                .filter_map(|event| match event {
                    Event::Text { text } => Some(text),
                    _ => None,
                })
                .collect();
            assert_eq!(said.trim(), "Hello.");
        }
        let short = delta(json!({"content": "<th"}));
        assert_eq!(read(&[&short, "[DONE]"]), Ok(vec![text("<th"), done("stop")]));
        let apart = delta(json!({"reasoning_content": "hm", "content": "Hi"}));
        assert_eq!(read(&[&apart, "[DONE]"]), Ok(vec![text("Hi"), done("stop")]));
    }

    #[test]
    fn answers_in_another_shape_are_typed_errors_that_quote_nothing() {
        let begun = delta(json!({"content": "Hello"}));
        assert_eq!(read(&[&begun]), Err(Broken::BrokeOff));
        assert_eq!(read(&[]), Err(Broken::BrokeOff));
        assert!(matches!(read(&["<html>secret</html>"]), Err(Broken::NotJson { line: 1, .. })));
        assert!(matches!(read(&["[1]", "[DONE]"]), Err(Broken::NotJson { .. })));
        let failed = json!({"error": {"message": "your key sk-123 is bad", "type": "auth_error", "code": null}});
        let error = read(&[&begun, &failed.to_string()]).unwrap_err();
        assert_eq!(error.to_string(), "the server failed (auth_error)");
        let failed = json!({"error": "your key sk-123 is bad"}).to_string();
        assert_eq!(read(&[&failed]).unwrap_err().to_string(), "the server failed");
        // Nothing at all is the engine's business.
        assert_eq!(read(&["{}", "[DONE]"]), Ok(vec![done("stop")]));
        let parts = delta(json!({"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]}));
        assert_eq!(read(&[&parts, "[DONE]"]), Ok(vec![text("ab"), done("stop")]));
        let second = json!({"choices": [{"index": 1, "delta": {"content": "other"}}]}).to_string();
        assert_eq!(read(&[&second, "[DONE]"]), Ok(vec![done("stop")]));
    }

    #[test]
    fn no_model_makes_the_list_of_calls_or_their_arguments_long() {
        let many: Vec<_> = (0..100).map(|n| json!({"index": n, "id": n.to_string()})).collect();
        assert_eq!(read(&[&delta(json!({"tool_calls": many}))]), Err(Broken::TooManyCalls));
        let long = delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "x".repeat(50_000)}}]}));
        assert_eq!(read(&[&long, &long]), Err(Broken::TooManyCalls));
    }

    #[test]
    fn the_code_of_a_refusal_is_one_word() {
        assert_eq!(
            code(br#"{"error":{"code":"context_length_exceeded"}}"#).as_deref(),
            Some("context_length_exceeded")
        );
        assert_eq!(
            code(br#"{"error":{"code":"Incorrect key sk-1","type":"invalid_request_error"}}"#).as_deref(),
            Some("invalid_request_error")
        );
        assert_eq!(code(br#"{"detail":"Not Found"}"#), None);
        assert_eq!(code(b"<html>"), None);
    }
}
