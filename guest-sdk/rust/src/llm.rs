//! Talking freely: a language model at hand, under the name that the manifest
//! gives it.
//!
//! The host keeps the conversation, asks the model, and speaks its words while
//! they come. What the caller *heard* becomes the model's turn, also where the
//! caller interrupted. Tools that the model calls are done by the script:
//!
//! ```no_run
//! use callbox_guest::{Heard, listen, llm, say};
//! use serde_json::json;
//!
//! let talk = llm::with("assistant")
//!     .system("You answer for a library on the telephone. Be brief; speak in plain sentences.")
//!     .tool("renew", "Renews a book.", &json!({
//!         "type": "object",
//!         "properties": {"title": {"type": "string"}},
//!         "required": ["title"],
//!     }))
//!     .open()?;
//! talk.user("(The caller has just picked up.)")?;
//! loop {
//!     let turn = talk.ask(listen().speech(), |call| match call.name.as_str() {
//!         "renew" => {
//!             #[derive(serde::Deserialize)]
//!             struct Book { title: String }
//!             let Book { title } = call.arguments()?;
//!             Ok(format!("{title} is renewed for a month"))
//!         }
//!         other => Ok(format!("there is no {other}")),
//!     })?;
//!     match turn.heard {
//!         Heard::Speech(words) => talk.user(&words.text)?,
//!         Heard::Nothing => break,
//!         Heard::Digits(_) | Heard::NoMatch(_) => talk.user("(could not be understood)")?,
//!     }
//! }
//! say("Goodbye.")?;
//! # Ok::<(), callbox_guest::Error>(())
//! ```

use crate::ask::{Ask, Heard};
use crate::bindings::callbox::dialogue::llm as raw;
use crate::error::{Error, Result};
use crate::voice::{BargeIn, Playout};
use crate::wait::Pollable;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use raw::{Finish, Message, Role};

/// How often a model may call tools before it says something.
const ROUNDS: usize = 8;

/// Begins a conversation with a model, by the manifest's name.
pub fn with(model: impl Into<String>) -> Builder {
    Builder {
        model: model.into(),
        system: Vec::new(),
        tools: Vec::new(),
        temperature: None,
        max_tokens: None,
        extra: Vec::new(),
    }
}

/// A conversation that is being put together; see [`with`].
#[derive(Clone, Debug)]
#[must_use = "no conversation begins before `open`"]
pub struct Builder {
    model: String,
    system: Vec<String>,
    tools: Vec<(String, String, serde_json::Value)>,
    temperature: Option<f32>,
    max_tokens: Option<u32>,
    extra: Vec<(String, serde_json::Value)>,
}

impl Builder {
    /// What the model is to do, and how. Say that its words are spoken: models
    /// like to write lists.
    pub fn system(mut self, words: impl Into<String>) -> Self {
        self.system.push(words.into());
        self
    }

    /// A tool the model may call: its name, when to use it, and the JSON Schema of
    /// its arguments, which is an object.
    pub fn tool(
        mut self,
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: &serde_json::Value,
    ) -> Self {
        self.tools.push((name.into(), description.into(), parameters.clone()));
        self
    }

    /// How freely the model chooses its words, 0 to 2.
    pub const fn temperature(mut self, degree: f32) -> Self {
        self.temperature = Some(degree);
        self
    }

    /// The longest reply in tokens; the deployment may allow less.
    pub const fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Another member of the request, for example `response_format`.
    pub fn extra(mut self, name: impl Into<String>, value: serde_json::Value) -> Self {
        self.extra.push((name.into(), value));
        self
    }

    /// Begins the conversation. The model is not asked yet.
    ///
    /// # Errors
    /// [`Error::Denied`] when the manifest does not declare the model,
    /// `InvalidArgument` when a tool or a setting makes no sense.
    pub fn open(self) -> Result<Conversation> {
        let conversation = raw::Conversation::open(&self.model)?;
        for words in &self.system {
            conversation.add(Role::System, words)?;
        }
        for (name, description, parameters) in &self.tools {
            conversation.add_tool(name, description, &parameters.to_string())?;
        }
        if let Some(degree) = self.temperature {
            conversation.set_temperature(degree)?;
        }
        if let Some(tokens) = self.max_tokens {
            conversation.set_max_tokens(tokens)?;
        }
        for (name, value) in &self.extra {
            conversation.set_extra(name, &value.to_string())?;
        }
        Ok(Conversation(conversation))
    }
}

/// A conversation with a model.
#[derive(Debug)]
pub struct Conversation(raw::Conversation);

/// The model wants a tool called.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// By the name given to [`Builder::tool`].
    pub name: String,
    arguments: String,
}

impl ToolCall {
    /// What the tool is called with.
    ///
    /// # Errors
    /// [`Error::Data`] where it has another shape. Pass it on with `?`: the model is
    /// told, and tries again.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_str(&self.arguments)?)
    }
}

/// What a model said.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// All it wrote, heard or not.
    pub text: String,
    /// What the caller got of it.
    pub playout: Option<Playout>,
    /// Why it was over.
    pub finish: Finish,
}

impl Reply {
    /// Whether the caller broke in, or the script stopped it.
    #[must_use]
    pub const fn is_interrupted(&self) -> bool {
        matches!(self.finish, Finish::Interrupted)
    }
}

/// What a model said, and what the caller said then.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// What the model said.
    pub reply: Reply,
    /// What the caller said or pressed.
    pub heard: Heard,
}

impl Conversation {
    /// Adds what the caller said, or what the script says in their name.
    ///
    /// # Errors
    /// The conversation is longer than the host keeps.
    pub fn user(&self, words: impl AsRef<str>) -> Result<()> {
        Ok(self.0.add(Role::User, words.as_ref())?)
    }

    /// Adds something to what the model is to do.
    ///
    /// # Errors
    /// As [`user`](Self::user).
    pub fn system(&self, words: impl AsRef<str>) -> Result<()> {
        Ok(self.0.add(Role::System, words.as_ref())?)
    }

    /// Adds what the model is to believe it said.
    ///
    /// # Errors
    /// As [`user`](Self::user).
    pub fn assistant(&self, words: impl AsRef<str>) -> Result<()> {
        Ok(self.0.add(Role::Assistant, words.as_ref())?)
    }

    /// Lets the model speak and listens from the start: the usual turn of a
    /// dialogue. What is listened for is put together as a question without words;
    /// it also cuts the model off, unless its
    /// [`barge_in`](Ask::barge_in) says otherwise.
    ///
    /// Tools that the model calls are done by `tools`, and the model is asked again.
    /// A tool that returns [`Error::Data`] has not understood its arguments: the
    /// model is told. Any other error ends the turn.
    ///
    /// # Errors
    /// The call is over; there is no recogniser;
    /// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::LimitExceeded`] where
    /// the model fails: go on without it. What it had said by then stands in the
    /// conversation.
    pub fn ask(&self, how: Ask, mut tools: impl FnMut(&ToolCall) -> Result<String>) -> Result<Turn> {
        let barge_in = how.cut_off_by().raw();
        let options = how.options();
        for _ in 0..ROUNDS {
            let turn = self.0.ask(barge_in, &options)?;
            let reply = self.done(turn.reply, &mut tools)?;
            if let (Some(reply), Some(heard)) = (reply, turn.heard) {
                return Ok(Turn { reply, heard });
            }
        }
        Err(without_end())
    }

    /// Lets the model speak, and waits until it has been played or cut off. Tools as
    /// in [`ask`](Self::ask).
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn reply(&self, barge_in: BargeIn, mut tools: impl FnMut(&ToolCall) -> Result<String>) -> Result<Reply> {
        for _ in 0..ROUNDS {
            if let Some(reply) = self.done(self.0.reply(barge_in.raw())?, &mut tools)? {
                return Ok(reply);
            }
        }
        Err(without_end())
    }

    /// Lets the model write without speaking it. Works in the grace time after the
    /// call, too. Tools as in [`ask`](Self::ask).
    ///
    /// ```no_run
    /// # let talk = callbox_guest::llm::with("assistant").open()?;
    /// talk.system("Summarise the call in one sentence.")?;
    /// let summary = talk.complete(|_| Ok(String::new()))?.text;
    /// callbox_guest::results::set("summary", &summary)?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn complete(&self, mut tools: impl FnMut(&ToolCall) -> Result<String>) -> Result<Reply> {
        for _ in 0..ROUNDS {
            if let Some(reply) = self.done(self.0.complete()?, &mut tools)? {
                return Ok(reply);
            }
        }
        Err(without_end())
    }

    /// Lets the model speak without waiting. Its tool calls have to be answered with
    /// [`result`](Self::result) before it is asked again.
    ///
    /// # Errors
    /// The call is over, or a reply is under way.
    pub fn start_reply(&self, barge_in: BargeIn) -> Result<Replying> {
        Ok(Replying(self.0.start_reply(barge_in.raw())?))
    }

    /// Answers a tool call of [`Replying::wait`], by its id.
    ///
    /// # Errors
    /// There is no such call, or the conversation is longer than the host keeps.
    pub fn result(&self, id: &str, result: &impl Serialize) -> Result<()> {
        let text = match serde_json::to_value(result)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(self.0.add_tool_result(id, &text)?)
    }

    /// The conversation so far.
    ///
    /// # Errors
    /// None that a script has to expect.
    pub fn messages(&self) -> Result<Vec<Message>> {
        Ok(self.0.messages()?)
    }

    /// Does the tools that a reply asks for; the reply itself where it asks for none.
    fn done(&self, reply: raw::Reply, tools: &mut impl FnMut(&ToolCall) -> Result<String>) -> Result<Option<Reply>> {
        if let Finish::Broken(error) = reply.finish {
            return Err(error.into());
        }
        if reply.tool_calls.is_empty() {
            return Ok(Some(Reply { text: reply.text, playout: reply.playout, finish: reply.finish }));
        }
        for call in reply.tool_calls {
            let result = match call.problem {
                Some(problem) => format!("error: {problem}"),
                None => match tools(&ToolCall { name: call.name, arguments: call.arguments }) {
                    Err(Error::Data(problem)) => format!("error: the arguments are not as they should be: {problem}"),
                    result => result?,
                },
            };
            self.0.add_tool_result(&call.id, &result)?;
        }
        Ok(None)
    }
}

/// A model that does nothing but call tools.
fn without_end() -> Error {
    Error::Unavailable(format!("the model called tools {ROUNDS} times and said nothing"))
}

/// A reply under way; see [`Conversation::start_reply`]. Dropping it stops the model.
#[derive(Debug)]
pub struct Replying(raw::Replying);

impl Replying {
    /// Ready when [`wait`](Self::wait) would return at once.
    #[must_use]
    pub fn subscribe(&self) -> Pollable {
        self.0.subscribe()
    }

    /// Waits until the reply is over.
    ///
    /// # Errors
    /// As [`Conversation::ask`].
    pub fn wait(&self) -> Result<raw::Reply> {
        Ok(self.0.wait()?)
    }

    /// Stops the model and its voice, and tells how far they got.
    ///
    /// # Errors
    /// As [`Conversation::ask`].
    pub fn cancel(&self) -> Result<raw::Reply> {
        Ok(self.0.cancel()?)
    }
}
