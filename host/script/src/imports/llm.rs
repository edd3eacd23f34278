//! `llm`.

use super::{Outcome, State, answer, name, text};
use crate::bindings::callbox::dialogue::{llm, voice};
use crate::resources::{Conversation, JSON, ListenOptionsBuilder, Pollable, Replying};
use callbox_dialogue::llm::{Finish, Message, ModelReply, ModelTurn, Role, Setting, Tool, ToolCall};
use callbox_dialogue::script::Handle;
use callbox_dialogue::{HostCall, HostReply};
use wasmtime::component::Resource;

impl State {
    fn conversation(&self, this: &Resource<Conversation>) -> wasmtime::Result<Handle> {
        Ok(self.table.get(this)?.0)
    }

    async fn set_model(&mut self, this: &Resource<Conversation>, setting: Setting) -> Outcome<()> {
        let handle = self.conversation(this)?;
        answer!(self, HostCall::SetModel { handle, setting }, HostReply::Done => ())
    }
}

impl llm::Host for State {}

impl llm::HostConversation for State {
    async fn open(&mut self, model: String) -> Outcome<Resource<Conversation>> {
        name("conversation.open: the model", &model)?;
        Self::open(self, HostCall::OpenConversation { model }, Conversation).await
    }

    async fn add(&mut self, this: Resource<Conversation>, role: llm::Role, words: String) -> Outcome<()> {
        text("conversation.add: the text", &words, JSON)?;
        let handle = self.conversation(&this)?;
        answer!(self, HostCall::AddMessage { handle, role: role.into(), text: words }, HostReply::Done => ())
    }

    async fn add_tool(
        &mut self,
        this: Resource<Conversation>,
        tool: String,
        description: String,
        parameters: String,
    ) -> Outcome<()> {
        name("conversation.add-tool: the name", &tool)?;
        text("conversation.add-tool: the description", &description, JSON)?;
        text("conversation.add-tool: the parameters", &parameters, JSON)?;
        let handle = self.conversation(&this)?;
        let tool = Tool { name: tool, description, parameters };
        answer!(self, HostCall::AddTool { handle, tool }, HostReply::Done => ())
    }

    async fn add_tool_result(&mut self, this: Resource<Conversation>, id: String, content: String) -> Outcome<()> {
        name("conversation.add-tool-result: the id", &id)?;
        text("conversation.add-tool-result: the content", &content, JSON)?;
        let handle = self.conversation(&this)?;
        answer!(self, HostCall::AddToolResult { handle, id, content }, HostReply::Done => ())
    }

    async fn set_temperature(&mut self, this: Resource<Conversation>, temperature: f32) -> Outcome<()> {
        self.set_model(&this, Setting::Temperature(temperature)).await
    }

    async fn set_max_tokens(&mut self, this: Resource<Conversation>, tokens: u32) -> Outcome<()> {
        self.set_model(&this, Setting::MaxTokens(tokens)).await
    }

    async fn set_extra(&mut self, this: Resource<Conversation>, member: String, value: String) -> Outcome<()> {
        name("conversation.set-extra: the name", &member)?;
        text("conversation.set-extra: the value", &value, JSON)?;
        self.set_model(&this, Setting::Extra(member, value)).await
    }

    async fn reply(&mut self, this: Resource<Conversation>, barge_in: voice::BargeIn) -> Outcome<llm::Reply> {
        let (handle, barge_in) = (self.conversation(&this)?, barge_in.into());
        answer!(self, HostCall::ModelReply { handle, barge_in }, HostReply::ModelReply(reply) => (*reply).into())
    }

    async fn start_reply(
        &mut self,
        this: Resource<Conversation>,
        barge_in: voice::BargeIn,
    ) -> Outcome<Resource<Replying>> {
        let (handle, barge_in) = (self.conversation(&this)?, barge_in.into());
        Self::open(self, HostCall::StartModelReply { handle, barge_in }, Replying).await
    }

    async fn ask(
        &mut self,
        this: Resource<Conversation>,
        barge_in: voice::BargeIn,
        options: Resource<ListenOptionsBuilder>,
    ) -> Outcome<llm::Turn> {
        let (handle, barge_in) = (self.conversation(&this)?, barge_in.into());
        let options = self.listen_options(&options)?;
        answer!(self, HostCall::AskModel { handle, barge_in, options }, HostReply::ModelTurn(turn) => (*turn).into())
    }

    async fn complete(&mut self, this: Resource<Conversation>) -> Outcome<llm::Reply> {
        let handle = self.conversation(&this)?;
        answer!(self, HostCall::Complete { handle }, HostReply::ModelReply(reply) => (*reply).into())
    }

    async fn start_complete(&mut self, this: Resource<Conversation>) -> Outcome<Resource<Replying>> {
        let handle = self.conversation(&this)?;
        Self::open(self, HostCall::StartComplete { handle }, Replying).await
    }

    async fn messages(&mut self, this: Resource<Conversation>) -> Outcome<Vec<llm::Message>> {
        let handle = self.conversation(&this)?;
        answer!(self, HostCall::ModelMessages { handle }, HostReply::Messages(all) => {
            all.into_iter().map(Into::into).collect()
        })
    }

    async fn drop(&mut self, this: Resource<Conversation>) -> wasmtime::Result<()> {
        let Conversation(handle) = self.remove(this)?;
        self.release(handle).await
    }
}

impl llm::HostReplying for State {
    fn subscribe(&mut self, this: Resource<Replying>) -> wasmtime::Result<Resource<Pollable>> {
        let handle = self.table.get(&this)?.0;
        self.view(handle)
    }

    async fn wait(&mut self, this: Resource<Replying>) -> Outcome<llm::Reply> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::AwaitModelReply { handle }, HostReply::ModelReply(reply) => (*reply).into())
    }

    async fn cancel(&mut self, this: Resource<Replying>) -> Outcome<llm::Reply> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::CancelModelReply { handle }, HostReply::ModelReply(reply) => (*reply).into())
    }

    async fn drop(&mut self, this: Resource<Replying>) -> wasmtime::Result<()> {
        let Replying(handle) = self.remove(this)?;
        self.release(handle).await
    }
}

impl From<llm::Role> for Role {
    fn from(role: llm::Role) -> Self {
        match role {
            llm::Role::System => Self::System,
            llm::Role::User => Self::User,
            llm::Role::Assistant => Self::Assistant,
            llm::Role::Tool => Self::Tool,
        }
    }
}

impl From<Role> for llm::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::System => Self::System,
            Role::User => Self::User,
            Role::Assistant => Self::Assistant,
            Role::Tool => Self::Tool,
        }
    }
}

impl From<Message> for llm::Message {
    fn from(message: Message) -> Self {
        Self {
            role: message.role.into(),
            text: message.text,
            tool_calls: message.tool_calls.into_iter().map(Into::into).collect(),
            tool_call_id: message.tool_call_id,
        }
    }
}

impl From<ToolCall> for llm::ToolCall {
    fn from(call: ToolCall) -> Self {
        Self { id: call.id, name: call.name, arguments: call.arguments, problem: call.problem }
    }
}

impl From<ModelReply> for llm::Reply {
    fn from(reply: ModelReply) -> Self {
        Self {
            text: reply.text,
            playout: reply.playout.map(Into::into),
            tool_calls: reply.tool_calls.into_iter().map(Into::into).collect(),
            finish: match reply.finish {
                Finish::Done => llm::Finish::Done,
                Finish::ToolCalls => llm::Finish::ToolCalls,
                Finish::Length => llm::Finish::Length,
                Finish::Interrupted => llm::Finish::Interrupted,
                Finish::Broken(error) => llm::Finish::Broken(error.into()),
                Finish::Other(word) => llm::Finish::Other(word),
            },
        }
    }
}

impl From<ModelTurn> for llm::Turn {
    fn from(turn: ModelTurn) -> Self {
        Self { reply: turn.reply.into(), heard: turn.heard.map(Into::into) }
    }
}
