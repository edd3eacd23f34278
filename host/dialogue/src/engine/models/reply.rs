//! A model's reply under way: spoken while it is written, stopped when the
//! caller interrupts, and written down as it was heard.
//!
//! A reply has two ends, in either order: the model finishes, or is stopped
//! (`Run::finish`), and its prompt has been played or cut (`Item::ModelVoice`).
//! It is over when both are there. Nothing here is triggered by the prompt: after
//! every input [`Engine::advance_models`] looks at what became of it.

use super::super::handles::Item;
use super::super::prompts::Kind;
use super::super::{Engine, Output, Timer};
use crate::leg::PromptId;
use crate::llm::{Event, Finish, Message, Model, ModelReply, Role, ToolCall, Usage, estimate};
use crate::record::With;
use crate::script::{BargeIn, Handle, HostError, Playout, PlayoutEnd, Queueing};
use crate::time::{Millis, Time};

/// Replies under way at once.
const RUNNING: usize = 4;
/// Tools called at once.
const CALLS: usize = 16;
/// Bytes of one reply.
const TEXT: usize = 48 * 1_024;

/// A reply under way.
#[derive(Debug)]
pub(super) struct Run {
    conversation: Handle,
    model: String,
    limits: Model,
    voice: Option<Voice>,
    asked: Time,
    /// The first token.
    first: Option<Time>,
    text: String,
    calls: Vec<ToolCall>,
    /// The longest reply, in tokens.
    max_tokens: u32,
    /// Tokens the model had to read, by a rule of thumb.
    reads: u64,
    /// Pieces of text: about as many tokens.
    pieces: u64,
    /// Where it is noted.
    exchange: Option<usize>,
    /// Why the model writes no more; none while it does.
    finish: Option<Result<Finish, HostError>>,
}

/// What a reply is spoken by.
#[derive(Clone, Copy, Debug)]
struct Voice {
    prompt: PromptId,
    item: Handle,
}

impl Run {
    /// What it is spoken by.
    pub(super) fn prompt(&self) -> Option<PromptId> {
        self.voice.map(|voice| voice.prompt)
    }

    fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

impl Engine {
    /// Asks a model. `barge_in` where its reply is to be spoken.
    pub(super) fn start_reply(
        &mut self,
        conversation: Handle,
        barge_in: Option<BargeIn>,
        held: bool,
    ) -> Result<Handle, HostError> {
        if barge_in.is_some() {
            self.alive()?;
        } else if !self.running {
            return Err(HostError::Other("the script is gone".into()));
        }
        let (request, limits) = self.model_request(conversation)?;
        if self.models.runs.len() >= RUNNING {
            return Err(HostError::LimitExceeded(format!("replies: {RUNNING} are under way; wait for one")));
        }
        if held {
            self.handles.room(self.setup.limits.max_handles)?;
        }
        let voice = match barge_in {
            None => None,
            Some(barge_in) => {
                let item = self.queue_prompt(Vec::new(), barge_in, Queueing::Append, Kind::Model)?;
                self.ensure_audio();
                self.prompts.last().map(|prompt| Voice { prompt: prompt.id, item })
            }
        };
        let run = self.handles.add(Item::ModelReply { spoken: voice.is_some(), result: None }, held);
        let reads = self.conversation(conversation)?.tokens();
        self.conversation(conversation)?.run = Some(run);
        self.journal.note(self.now, "model", request.model.clone());
        let exchange = self.journal.asks(self.now, With::Model, &request.model);
        let under_way = Run {
            conversation,
            model: request.model.clone(),
            limits,
            voice,
            asked: self.now,
            first: None,
            text: String::new(),
            calls: Vec::new(),
            max_tokens: request.max_tokens,
            reads,
            pieces: 0,
            exchange,
            finish: None,
        };
        self.models.runs.insert(run, under_way);
        self.wait_for_model(run);
        self.outputs.push_back(Output::Model { run, request: Box::new(request) });
        Ok(run)
    }

    /// The model has so long for its next sign.
    fn wait_for_model(&mut self, run: Handle) {
        let Some(under_way) = self.models.runs.get(&run) else { return };
        let whole = under_way.asked + u64::from(under_way.limits.timeout);
        let next = self.now + u64::from(under_way.limits.patience);
        self.timers.set(Timer::Model(run), next.min(whole));
    }

    /// A model does something.
    pub(in super::super) fn on_model(&mut self, run: Handle, event: Event) {
        let now = self.now;
        let Some(under_way) = self.models.runs.get_mut(&run).filter(|run| run.finish.is_none()) else { return };
        match event {
            Event::Text { text } => {
                under_way.first.get_or_insert(now);
                under_way.pieces += 1;
                let most = TEXT.min(6 * usize::try_from(under_way.max_tokens).unwrap_or(TEXT) + 256);
                let room = most.saturating_sub(under_way.text.len());
                let fits = super::floor(&text, room);
                under_way.text.push_str(&text[..fits]);
                let voice = under_way.voice;
                if let Some(voice) = voice {
                    self.feed(voice.prompt, &text[..fits]);
                }
                if fits < text.len() {
                    // It was told how much it may write, and goes on writing.
                    self.stop_model(run, Ok(Finish::Length));
                } else {
                    self.wait_for_model(run);
                }
            }
            Event::ToolCall(call) => {
                under_way.first.get_or_insert(now);
                if under_way.calls.len() >= CALLS {
                    let error = HostError::Unavailable(format!("the model calls more than {CALLS} tools at once"));
                    self.fail_model(run, error);
                    return;
                }
                under_way.calls.push(call);
                self.wait_for_model(run);
            }
            Event::Done { reason, usage } => {
                let finish = match reason.as_str() {
                    _ if !under_way.calls.is_empty() => Ok(Finish::ToolCalls),
                    _ if under_way.is_blank() => {
                        let mut reason = reason;
                        reason.truncate(super::floor(&reason, 64));
                        Err(HostError::Unavailable(format!("the model answered nothing ({reason:?})")))
                    }
                    "stop" | "tool_calls" | "" => Ok(Finish::Done),
                    "length" => Ok(Finish::Length),
                    other => Ok(Finish::Other(other[..super::floor(other, 64)].to_owned())),
                };
                self.model_done(run, finish, usage);
            }
            Event::Failed { error } => self.fail_model(run, error),
        }
    }

    /// A model is late.
    pub(in super::super) fn on_model_late(&mut self, run: Handle) {
        if self.models.runs.get(&run).is_some_and(|run| run.finish.is_none()) {
            self.outputs.push_back(Output::StopModel { run });
            self.fail_model(run, HostError::TimedOut);
        }
    }

    /// The model writes no more, and not by its will. What it has written so far is spoken to its end.
    fn fail_model(&mut self, run: Handle, error: HostError) {
        let Some(under_way) = self.models.runs.get_mut(&run) else { return };
        under_way.calls.clear();
        let begun = under_way.voice.is_some() && !under_way.is_blank();
        self.model_done(run, if begun { Ok(Finish::Broken(error)) } else { Err(error) }, None);
    }

    /// Nobody wants more of it.
    fn stop_model(&mut self, run: Handle, finish: Result<Finish, HostError>) {
        if self.models.runs.get(&run).is_some_and(|run| run.finish.is_none()) {
            self.outputs.push_back(Output::StopModel { run });
            self.model_done(run, finish, None);
        }
    }

    /// The model's part is over: what it used is counted, and its prompt has all its text.
    fn model_done(&mut self, run: Handle, finish: Result<Finish, HostError>, usage: Option<Usage>) {
        self.timers.clear(Timer::Model(run));
        let Some(under_way) = self.models.runs.get_mut(&run).filter(|run| run.finish.is_none()) else { return };
        let written = estimate(under_way.text.len()).max(under_way.pieces);
        let usage = usage.unwrap_or(Usage { input: under_way.reads, output: written });
        // A model that counts less than there is gives nothing away.
        let tokens = usage.input.saturating_add(usage.output).max(under_way.reads / 2);
        let used = self.models.used.entry(under_way.model.clone()).or_default();
        *used = used.saturating_add(tokens);
        let first = under_way.first.map(|first| first.since(under_way.asked));
        let what = match &finish {
            Ok(Finish::Done) => "done".to_owned(),
            Ok(Finish::ToolCalls) => {
                let names: Vec<&str> = under_way.calls.iter().take(CALLS).map(|call| call.name.as_str()).collect();
                format!("calls {}", names.join(", "))
            }
            Ok(Finish::Length) => "wrote as much as it may".to_owned(),
            Ok(Finish::Interrupted) => "interrupted".to_owned(),
            Ok(Finish::Broken(error)) | Err(error) => error.to_string(),
            Ok(Finish::Other(word)) => word.clone(),
        };
        let first = first.map_or_else(|| "no token".to_owned(), |first| format!("first token after {first} ms"));
        let detail = format!("{}: {what}; {first}, {tokens} tokens", under_way.model);
        let (exchange, failed) = (under_way.exchange, matches!(finish, Ok(Finish::Broken(_)) | Err(_)));
        under_way.finish = Some(finish);
        let (voice, blank) = (under_way.voice, under_way.is_blank());
        self.journal.note(self.now, "model_replied", detail);
        self.journal.answered(self.now, exchange, failed);
        if let Some(voice) = voice {
            if blank {
                // Nothing to say: what is queued behind it need not wait, and nobody for what is before it.
                self.stop_prompt(voice.prompt, PlayoutEnd::Stopped);
            }
            self.flush_writer(voice.prompt);
            self.complete(voice.prompt);
        }
    }

    /// How long the model took to the first token of what this prompt says, where one writes it.
    pub(in super::super) fn first_token(&self, prompt: PromptId) -> Option<Millis> {
        let run = self.models.runs.values().find(|run| run.prompt() == Some(prompt))?;
        Some(Millis::try_from(run.first?.since(run.asked)).unwrap_or(Millis::MAX))
    }

    /// The script wants no more of a reply; `silent` where not even what is written already.
    pub(in super::super) fn interrupt(&mut self, run: Handle, silent: bool) {
        self.stop_model(run, Ok(Finish::Interrupted));
        if silent {
            self.silence_reply(run);
        }
    }

    /// Nobody is there any more who could want a reply.
    pub(in super::super) fn forget_models(&mut self) {
        let runs: Vec<Handle> = self.models.runs.keys().copied().collect();
        for run in runs {
            self.stop_model(run, Ok(Finish::Interrupted));
        }
        self.models.runs.clear();
        self.models.conversations.clear();
    }

    /// Moves every reply on as far as it goes. True where one changed.
    pub(in super::super) fn advance_models(&mut self) -> bool {
        let runs: Vec<Handle> = self.models.runs.keys().copied().collect();
        let mut changed = false;
        for run in runs {
            changed |= self.advance_reply(run);
        }
        changed
    }

    fn advance_reply(&mut self, run: Handle) -> bool {
        let Some(under_way) = self.models.runs.get(&run) else { return false };
        let mut played = None;
        if let Some(Voice { prompt, item }) = under_way.voice {
            played = match self.handles.get(item) {
                Some(Item::ModelVoice { result }) => result.clone(),
                _ => None,
            };
            let cut = match self.prompts.get_mut(prompt) {
                Some(prompt) => prompt.is_stopping(),
                // The leg is gone, and every prompt with it.
                None => {
                    played.get_or_insert_with(|| Err(HostError::Other("the prompt of the reply is gone".into())));
                    true
                }
            };
            if under_way.finish.is_none() && (cut || played.is_some()) {
                self.stop_model(run, Ok(Finish::Interrupted));
                return true;
            }
            if played.is_none() {
                return false;
            }
        }
        if under_way.finish.is_none() {
            return false;
        }
        self.end_reply(run, played);
        true
    }

    /// Both ends are there: the conversation is written on, and whoever waits is told.
    fn end_reply(&mut self, run: Handle, played: Option<Result<Playout, HostError>>) {
        let Some(under_way) = self.models.runs.remove(&run) else { return };
        let Run { conversation, voice, text, calls, finish, .. } = under_way;
        if let Some(voice) = voice {
            self.handles.remove(voice.item);
        }
        let blank = text.trim().is_empty();
        let played = played.filter(|_| !blank).transpose();
        let result = match (finish.unwrap_or(Ok(Finish::Interrupted)), played) {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(finish), Ok(playout)) => {
                let cut = playout.as_ref().is_some_and(|playout| playout.end != PlayoutEnd::Finished);
                let finish = if cut && !matches!(finish, Finish::Broken(_)) { Finish::Interrupted } else { finish };
                Ok(ModelReply { text, playout, tool_calls: calls, finish })
            }
        };
        let result = result.map(|reply| self.write_reply(conversation, run, reply));
        if let Some(conversation) = self.models.conversations.get_mut(&conversation)
            && conversation.run == Some(run)
        {
            conversation.run = None;
        }
        self.handles.replied(run, result);
    }

    /// Writes a reply into its conversation, as it was heard.
    fn write_reply(&mut self, conversation: Handle, run: Handle, mut reply: ModelReply) -> ModelReply {
        let Some(conversation) = self.models.conversations.get_mut(&conversation) else { return reply };
        reply.tool_calls = match reply.finish {
            // What the caller did not let the model announce is not done either.
            Finish::Interrupted | Finish::Broken(_) => Vec::new(),
            _ => conversation.inspect(std::mem::take(&mut reply.tool_calls)),
        };
        let heard = match &reply.playout {
            Some(playout) if playout.end != PlayoutEnd::Finished => playout.heard_text.trim(),
            _ => reply.text.trim(),
        };
        // A reply that the script did not wait for while the call ended must not come after a later one.
        let current = conversation.run == Some(run);
        if current && !(heard.is_empty() && reply.tool_calls.is_empty()) {
            conversation.owed = reply.tool_calls.iter().map(|call| call.id.clone()).collect();
            let message = Message { tool_calls: reply.tool_calls.clone(), ..Message::new(Role::Assistant, heard) };
            conversation.messages.push(message);
        }
        reply
    }
}
