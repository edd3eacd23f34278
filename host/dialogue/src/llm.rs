//! What is said between a script, a language model and the engine
//! (`callbox:dialogue/llm`).
//!
//! The engine keeps a conversation and decides what becomes of a reply; whoever
//! drives it ([`Output::Model`](crate::Output::Model)) carries a [`Request`] to a
//! model and reports what comes back as [`Event`]s, in any protocol.

use crate::script::{Heard, HostError, Playout};
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// Whose words they are (`llm.role`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What the model is to do.
    System,
    /// What the caller said.
    User,
    /// What the model said, as far as it was heard.
    Assistant,
    /// What came of a tool.
    Tool,
}

impl Role {
    /// As the protocols of the trade write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One turn of a conversation (`llm.message`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Whose.
    pub role: Role,
    /// The words; of a tool its result.
    pub text: String,
    /// The tools that the model called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool: the call that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// Somebody's words, and nothing else.
    #[must_use]
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), tool_calls: Vec::new(), tool_call_id: None }
    }

    /// Bytes of it, for limits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let calls = self.tool_calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len());
        self.text.len() + self.tool_call_id.as_ref().map_or(0, String::len) + calls.sum::<usize>()
    }
}

/// The model wants a tool called (`llm.tool-call`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Names the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// JSON text, as the model wrote it; an object once the engine has looked at it.
    pub arguments: String,
    /// Why it cannot be done, in words for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// 1 to 64 letters, digits, `_`, `-`.
    pub name: String,
    /// When to use it.
    pub description: String,
    /// JSON Schema of its arguments, as text: an object.
    pub parameters: String,
}

/// How a model is to write: one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// 0 to 2.
    Temperature(f32),
    /// The longest reply.
    MaxTokens(u32),
    /// Another member of the request, and its value as JSON text.
    Extra(String, String),
}

/// Why a reply is over (`llm.finish`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finish", content = "detail", rename_all = "snake_case")]
pub enum Finish {
    /// The model has written all it wanted.
    Done,
    /// It waits for the results of its tool calls.
    ToolCalls,
    /// It wrote as much as it may.
    Length,
    /// The caller interrupted, or the script did.
    Interrupted,
    /// It broke off after some of it had been spoken.
    Broken(HostError),
    /// In the model's own word.
    Other(String),
}

/// What a model replied (`llm.reply`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReply {
    /// All it wrote, heard or not.
    pub text: String,
    /// What the caller got of it; none where nothing was to be spoken.
    pub playout: Option<Playout>,
    /// The tools it wants called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why it is over.
    pub finish: Finish,
}

/// What came of a reply and the listening that went with it (`llm.turn`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelTurn {
    /// What the model replied.
    pub reply: ModelReply,
    /// What the caller said then, where the model did not want something else first.
    pub heard: Option<Heard>,
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// By the manifest's name.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// What it may call.
    pub tools: Vec<Tool>,
    /// 0 to 2; none for the model's own.
    pub temperature: Option<f32>,
    /// The longest reply.
    pub max_tokens: u32,
    /// Other members of the request: names, and values as JSON text.
    pub extra: Vec<(String, String)>,
}

/// What a model does, in the order in which it does it. After [`Event::Done`] and [`Event::Failed`] nothing follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It writes.
    Text {
        /// The next few characters.
        text: String,
    },
    /// It calls a tool. Its arguments are what it wrote, which may be no JSON.
    ToolCall(ToolCall),
    /// It has finished.
    Done {
        /// `stop`, `tool_calls`, `length`; any other word is its own.
        reason: String,
        /// What it cost, where the model says so.
        usage: Option<Usage>,
    },
    /// It failed: `Unavailable`, `TimedOut`, `LimitExceeded`.
    Failed {
        /// For the script.
        error: HostError,
    },
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Read.
    pub input: u64,
    /// Written.
    pub output: u64,
}

/// A model as the engine sees it: no address, no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// The longest reply, in tokens.
    pub max_tokens: u32,
    /// Longest wait for its next sign: the first token, and each that follows.
    pub patience: Millis,
    /// Longest time for a whole reply.
    pub timeout: Millis,
    /// Tokens that one call may use, read and written.
    pub tokens_per_call: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self { max_tokens: 512, patience: 5_000, timeout: 60_000, tokens_per_call: 50_000 }
    }
}

/// About how many tokens a text is, where nobody has counted: four bytes to one, as in English, and fewer characters of
/// other scripts to one, which have more bytes each.
#[must_use]
pub fn estimate(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}
