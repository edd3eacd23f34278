//! Conversations with language models: what a script adds to one, and what a
//! model is asked. What becomes of its reply is in [`reply`].

mod reply;

use self::reply::Run;
use super::calls::Step;
use super::handles::Item;
use super::waits::Pending;
use super::wording::floor;
use super::{Engine, arguments};
use crate::llm::{Message, Model, Request, Role, Setting, Tool, ToolCall, estimate};
use crate::script::{BargeIn, Handle, HostCall, HostError, HostReply, ListenOptions, PlayoutEnd};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Conversations of one call at once.
const CONVERSATIONS: usize = 8;
/// Turns of one conversation.
const TURNS: usize = 256;
/// Bytes of one conversation.
const BYTES: usize = 256 * 1_024;
/// Tools of one conversation.
const TOOLS: usize = 32;
/// Bytes of one tool.
const TOOL: usize = 16 * 1_024;
/// Extra members of a request.
const EXTRA: usize = 16;
/// Members of a request that are the host's own.
const OWN: [&str; 9] = [
    "messages",
    "model",
    "stream",
    "stream_options",
    "tools",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "n",
];

/// The conversations of one call.
#[derive(Debug, Default)]
pub(super) struct Models {
    conversations: BTreeMap<Handle, Conversation>,
    runs: BTreeMap<Handle, Run>,
    /// Tokens used so far, by model.
    used: BTreeMap<String, u64>,
}

/// One conversation.
#[derive(Debug)]
struct Conversation {
    model: String,
    messages: Vec<Message>,
    tools: Vec<Tool>,
    temperature: Option<f32>,
    max_tokens: Option<u32>,
    extra: Vec<(String, String)>,
    /// The reply under way.
    run: Option<Handle>,
    /// Tool calls without a result.
    owed: Vec<String>,
}

impl Conversation {
    fn bytes(&self) -> usize {
        self.messages.iter().map(Message::bytes).sum()
    }

    /// Whether a turn of so many bytes fits.
    fn room(&self, bytes: usize) -> Result<(), HostError> {
        let (turns, all) = (self.messages.len(), self.bytes() + bytes);
        if turns >= TURNS || all > BYTES {
            let what = format!("conversation: {turns} turns, {all} bytes; at most {TURNS} turns and {BYTES} bytes");
            return Err(HostError::LimitExceeded(what));
        }
        Ok(())
    }

    /// About how many tokens the model has to read.
    fn tokens(&self) -> u64 {
        let tools: usize =
            self.tools.iter().map(|tool| tool.name.len() + tool.description.len() + tool.parameters.len()).sum();
        estimate(self.bytes() + tools)
    }

    /// Looks at the tools that the model calls: what cannot be called gets its
    /// reason, and every call an id of its own.
    fn inspect(&self, calls: Vec<ToolCall>) -> Vec<ToolCall> {
        let mut inspected: Vec<ToolCall> = Vec::new();
        for mut call in calls {
            call.name.truncate(floor(&call.name, 64));
            let known = |id: &str| {
                let calls = self.messages.iter().flat_map(|message| &message.tool_calls);
                calls.chain(&inspected).any(|other| other.id == id)
            };
            if call.id.is_empty() || call.id.len() > 128 || known(&call.id) {
                let id = (1_u32..).map(|n| format!("call_{n}")).find(|id| !known(id));
                call.id = id.unwrap_or_default();
            }
            if call.arguments.trim().is_empty() {
                // What many models write where a tool takes no arguments.
                call.arguments = "{}".into();
            }
            call.problem = self.problem(&call);
            if call.problem.is_some() {
                call.arguments = "{}".into();
            }
            inspected.push(call);
        }
        inspected
    }

    fn problem(&self, call: &ToolCall) -> Option<String> {
        if !self.tools.iter().any(|tool| tool.name == call.name) {
            let names: Vec<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
            return Some(format!("there is no tool {:?}; there are: {}", call.name, names.join(", ")));
        }
        match arguments::json("arguments", &call.arguments) {
            Ok(json) if json.get().starts_with('{') => None,
            Ok(_) => Some("the arguments must be a JSON object".into()),
            Err(HostError::InvalidArgument(what) | HostError::LimitExceeded(what)) => Some(what),
            Err(other) => Some(other.to_string()),
        }
    }
}

impl Engine {
    /// Begins a call of `llm`.
    pub(super) fn call_model(&mut self, call: HostCall) -> Result<Step, HostError> {
        match call {
            HostCall::OpenConversation { model } => self.open_conversation(model),
            HostCall::AddMessage { handle, role, text } => self.add_message(handle, role, text),
            HostCall::AddTool { handle, tool } => self.add_tool(handle, tool),
            HostCall::AddToolResult { handle, id, content } => self.add_tool_result(handle, id, content),
            HostCall::SetModel { handle, setting } => self.set_model(handle, setting),
            HostCall::ModelMessages { handle } => {
                Ok(Step::Done(HostReply::Messages(self.conversation(handle)?.messages.clone())))
            }
            HostCall::ModelReply { handle, barge_in } => {
                let handle = self.start_reply(handle, Some(barge_in), false)?;
                Ok(Step::Wait(Pending::ModelReply { handle, own: true }))
            }
            HostCall::StartModelReply { handle, barge_in } => {
                self.start_reply(handle, Some(barge_in), true).map(|handle| Step::Done(HostReply::Handle(handle)))
            }
            HostCall::AskModel { handle, barge_in, options } => self.ask_model(handle, barge_in, options),
            HostCall::Complete { handle } => {
                let handle = self.start_reply(handle, None, false)?;
                Ok(Step::Wait(Pending::ModelReply { handle, own: true }))
            }
            HostCall::StartComplete { handle } => {
                self.start_reply(handle, None, true).map(|handle| Step::Done(HostReply::Handle(handle)))
            }
            HostCall::CancelModelReply { handle } => {
                self.interrupt(handle, true);
                Ok(Step::Wait(Pending::ModelReply { handle, own: false }))
            }
            HostCall::AwaitModelReply { handle } => Ok(Step::Wait(Pending::ModelReply { handle, own: false })),
            _ => Err(HostError::Other("not a call of `llm`".into())),
        }
    }

    fn conversation(&mut self, handle: Handle) -> Result<&mut Conversation, HostError> {
        let unknown = || HostError::NotFound(format!("conversation {}: unknown or dropped", handle.0));
        self.models.conversations.get_mut(&handle).ok_or_else(unknown)
    }

    fn open_conversation(&mut self, mut model: String) -> Result<Step, HostError> {
        if !self.setup.models.contains_key(&model) {
            model.truncate(floor(&model, 128));
            return Err(HostError::Denied(format!("the manifest declares no model {model:?}; add it to `models`")));
        }
        self.handles.room(self.setup.limits.max_handles)?;
        if self.models.conversations.len() >= CONVERSATIONS {
            return Err(HostError::LimitExceeded(format!("conversations: {CONVERSATIONS} are open; drop one")));
        }
        let handle = self.handles.add(Item::Conversation, true);
        let conversation = Conversation {
            model,
            messages: Vec::new(),
            tools: Vec::new(),
            temperature: None,
            max_tokens: None,
            extra: Vec::new(),
            run: None,
            owed: Vec::new(),
        };
        self.models.conversations.insert(handle, conversation);
        Ok(Step::Done(HostReply::Handle(handle)))
    }

    /// The script has dropped a conversation. A reply under way goes on.
    pub(super) fn drop_conversation(&mut self, handle: Handle) {
        self.models.conversations.remove(&handle);
    }

    fn add_message(&mut self, handle: Handle, role: Role, text: String) -> Result<Step, HostError> {
        let conversation = self.conversation(handle)?;
        if role == Role::Tool {
            return Err(HostError::InvalidArgument("role: the result of a tool is added with its call's id".into()));
        }
        conversation.settled()?;
        conversation.room(text.len())?;
        conversation.messages.push(Message::new(role, text));
        Ok(Step::Done(HostReply::Done))
    }

    fn add_tool(&mut self, handle: Handle, tool: Tool) -> Result<Step, HostError> {
        let conversation = self.conversation(handle)?;
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if tool.name.is_empty() || tool.name.len() > 64 || !tool.name.chars().all(good) {
            return Err(HostError::InvalidArgument("tool: a name has 1 to 64 letters, digits, `_`, `-`".into()));
        }
        let bytes = tool.description.len() + tool.parameters.len();
        if bytes > TOOL {
            return Err(HostError::LimitExceeded(format!("tool {}: {bytes} bytes, at most {TOOL}", tool.name)));
        }
        object(&format!("parameters of {}", tool.name), &tool.parameters)?;
        conversation.tools.retain(|other| other.name != tool.name);
        if conversation.tools.len() >= TOOLS {
            return Err(HostError::LimitExceeded(format!("tools: a conversation has at most {TOOLS}")));
        }
        conversation.tools.push(tool);
        Ok(Step::Done(HostReply::Done))
    }

    fn add_tool_result(&mut self, handle: Handle, id: String, content: String) -> Result<Step, HostError> {
        let conversation = self.conversation(handle)?;
        let Some(index) = conversation.owed.iter().position(|owed| *owed == id) else {
            let mut id = id;
            id.truncate(floor(&id, 128));
            return Err(HostError::NotFound(format!("tool call {id:?}: is not waiting for a result")));
        };
        conversation.room(content.len())?;
        conversation.owed.remove(index);
        let message = Message { tool_call_id: Some(id), ..Message::new(Role::Tool, content) };
        conversation.messages.push(message);
        Ok(Step::Done(HostReply::Done))
    }

    fn set_model(&mut self, handle: Handle, setting: Setting) -> Result<Step, HostError> {
        let conversation = self.conversation(handle)?;
        match setting {
            Setting::Temperature(degree) if (0.0..=2.0).contains(&degree) => conversation.temperature = Some(degree),
            Setting::Temperature(_) => return Err(HostError::InvalidArgument("temperature: 0 to 2".into())),
            Setting::MaxTokens(0) => return Err(HostError::InvalidArgument("max-tokens: at least 1".into())),
            Setting::MaxTokens(tokens) => conversation.max_tokens = Some(tokens),
            Setting::Extra(name, value) => {
                arguments::name("extra", &name)?;
                if OWN.contains(&name.as_str()) {
                    return Err(HostError::InvalidArgument(format!("extra: the host sets {name:?} itself")));
                }
                arguments::text("extra", &value)?;
                arguments::json("extra", &value)?;
                conversation.extra.retain(|(other, _)| *other != name);
                if conversation.extra.len() >= EXTRA {
                    return Err(HostError::LimitExceeded(format!("extra: at most {EXTRA} members")));
                }
                conversation.extra.push((name, value));
            }
        }
        Ok(Step::Done(HostReply::Done))
    }

    fn ask_model(
        &mut self,
        conversation: Handle,
        barge_in: BargeIn,
        options: Box<ListenOptions>,
    ) -> Result<Step, HostError> {
        self.alive()?;
        let plan = self.plan_listening(options)?;
        let reply = self.start_reply(conversation, Some(barge_in), false)?;
        let prompt = self.models.runs.get(&reply).and_then(Run::prompt);
        let listening = self.begin_listening(plan, prompt, false);
        Ok(Step::Wait(Pending::ModelTurn { reply, listening }))
    }

    /// What to ask a model, and what it may cost: all that can be wrong with it
    /// is found before anything happens.
    fn model_request(&mut self, handle: Handle) -> Result<(Request, Model), HostError> {
        let over = self.ended.is_some();
        let conversation = self.conversation(handle)?;
        conversation.settled()?;
        // What was being spoken when the call ended is nobody's reply any more.
        if conversation.run.is_some() && !over {
            return Err(HostError::LimitExceeded("a reply of this conversation is under way; wait for it".into()));
        }
        if conversation.messages.is_empty() {
            return Err(HostError::InvalidArgument("the conversation is empty; add a turn first".into()));
        }
        let mut request = Request {
            model: conversation.model.clone(),
            messages: conversation.messages.clone(),
            tools: conversation.tools.clone(),
            temperature: conversation.temperature,
            max_tokens: conversation.max_tokens.unwrap_or(u32::MAX),
            extra: conversation.extra.clone(),
        };
        let reads = conversation.tokens();
        let model = self.setup.models.get(&request.model).copied().unwrap_or_default();
        let used = self.models.used.get(&request.model).copied().unwrap_or(0);
        let left = model.tokens_per_call.saturating_sub(used).saturating_sub(reads);
        if left == 0 {
            return Err(HostError::LimitExceeded(format!(
                "tokens: a call may use {} with {:?}; {used} are used, and the conversation has about {reads}",
                model.tokens_per_call, request.model
            )));
        }
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        request.max_tokens = request.max_tokens.min(model.max_tokens).min(left).max(1);
        Ok((request, model))
    }

    /// Stops the voice of a reply.
    fn silence_reply(&mut self, reply: Handle) {
        if let Some(prompt) = self.models.runs.get(&reply).and_then(Run::prompt) {
            self.stop_prompt(prompt, PlayoutEnd::Stopped);
        }
    }
}

impl Conversation {
    /// Whether every tool call has its result.
    fn settled(&self) -> Result<(), HostError> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let what = format!("tool calls without a result: {}; add it first", self.owed.join(", "));
        Err(HostError::InvalidArgument(what))
    }
}

/// A JSON object.
fn object(what: &str, given: &str) -> Result<(), HostError> {
    let json: std::sync::Arc<RawValue> = arguments::json(what, given)?;
    if json.get().starts_with('{') {
        return Ok(());
    }
    Err(HostError::InvalidArgument(format!("{what}: is JSON but not an object")))
}
