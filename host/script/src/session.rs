//! The other side of a script: whoever answers its calls.

use callbox_dialogue::llm::Setting;
use callbox_dialogue::{HostCall, HostError, HostReply, Reply, Time};
use std::future::Future;
use std::pin::Pin;

/// Answers the calls of one script, one at a time: a live call, a simulation, a
/// tape.
pub trait Session: Send + 'static {
    /// Answers a call. Waits as long as the call says; dropped when the script is
    /// ended meanwhile.
    fn call(&mut self, call: HostCall) -> impl Future<Output = Answered> + Send;

    /// Whether nothing goes on after what was just asked. Then the script ends in
    /// that very call, which counts as not answered; [`crate::ScriptRun::end`] says
    /// in which functions it was. For sessions that have an end of their own: a
    /// replay whose tape is over.
    fn is_over(&self) -> bool {
        false
    }
}

/// An answer, and when it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The answer.
    pub reply: Reply,
    /// It holds what the caller gave in confidence: the tape masks it.
    pub sensitive: bool,
    /// The call's time. The budgets that count by the second follow it.
    pub at: Time,
}

impl Answered {
    /// An answer that is no secret.
    #[must_use]
    pub const fn plain(at: Time, reply: Reply) -> Self {
        Self { reply, sensitive: false, at }
    }
}

/// The same with the type left out, so that one linker serves all.
pub(crate) trait AnySession: Send {
    fn call(&mut self, call: HostCall) -> Pin<Box<dyn Future<Output = Answered> + Send + '_>>;
    fn is_over(&self) -> bool;
}

impl<S: Session> AnySession for S {
    fn call(&mut self, call: HostCall) -> Pin<Box<dyn Future<Output = Answered> + Send + '_>> {
        Box::pin(Session::call(self, call))
    }

    fn is_over(&self) -> bool {
        Session::is_over(self)
    }
}

/// The name of a call as a script's author knows it.
#[must_use]
pub const fn import_name(call: &HostCall) -> &'static str {
    match call {
        HostCall::GetInfo => "call.get-info",
        HostCall::Ring => "call.ring",
        HostCall::EarlyMedia => "call.early-media",
        HostCall::Answer => "call.answer",
        HostCall::Reject { .. } => "call.reject",
        HostCall::Hangup => "call.hangup",
        HostCall::SendDigits { .. } => "call.send-digits",
        HostCall::StartTransfer { .. } => "call.start-transfer",
        HostCall::AwaitTransfer { .. } => "transferring.wait",
        HostCall::Transfer { .. } => "call.transfer",
        HostCall::CancelTransfer { .. } => "transferring.cancel",
        HostCall::SetDefault { .. } => "voice.set-default",
        HostCall::Say { .. } => "voice.say",
        HostCall::StartSay { .. } => "voice.start-say",
        HostCall::AwaitPlayback { .. } => "playback.wait",
        HostCall::StopPlayback { .. } => "playback.stop",
        HostCall::AwaitQuiet => "voice.wait-until-quiet",
        HostCall::OpenWriter { .. } => "speech-writer.open",
        HostCall::Write { .. } => "speech-writer.write",
        HostCall::FinishWriter { .. } => "speech-writer.finish",
        HostCall::Listen { .. } => "voice.listen",
        HostCall::Ask { .. } => "voice.ask",
        HostCall::StartListen { .. } => "voice.start-listen",
        HostCall::AwaitListening { .. } => "listening.wait",
        HostCall::NextPartial { .. } => "listening.next-partial",
        HostCall::Alternatives { .. } => "listening.alternatives",
        HostCall::StopListening { .. } => "listening.stop",
        HostCall::Meaning { handle: Some(_) } => "listening.meaning",
        HostCall::Meaning { handle: None } => "voice.meaning",
        HostCall::NextEvent { .. } => "events.next",
        HostCall::EnableEvent { .. } => "events.enable",
        HostCall::After { .. } => "wait.after",
        HostCall::Sleep { .. } => "wait.sleep",
        HostCall::Select { .. } => "wait.select",
        HostCall::IsReady { .. } => "pollable.ready",
        HostCall::Release { .. } => "dropping a handle",
        HostCall::Now => "clock.now",
        HostCall::Elapsed => "clock.elapsed",
        HostCall::LocalTime { .. } => "clock.local",
        HostCall::RandomNumber => "random.number",
        HostCall::RandomBytes { .. } => "random.bytes",
        HostCall::Fetch { .. } => "context.fetch",
        HostCall::StartFetch { .. } => "context.start-fetch",
        HostCall::AwaitFetch { .. } => "fetching.wait",
        HostCall::OpenConversation { .. } => "conversation.open",
        HostCall::AddMessage { .. } => "conversation.add",
        HostCall::AddTool { .. } => "conversation.add-tool",
        HostCall::AddToolResult { .. } => "conversation.add-tool-result",
        HostCall::SetModel { setting: Setting::Temperature(_), .. } => "conversation.set-temperature",
        HostCall::SetModel { setting: Setting::MaxTokens(_), .. } => "conversation.set-max-tokens",
        HostCall::SetModel { setting: Setting::Extra(..), .. } => "conversation.set-extra",
        HostCall::ModelReply { .. } => "conversation.reply",
        HostCall::StartModelReply { .. } => "conversation.start-reply",
        HostCall::AskModel { .. } => "conversation.ask",
        HostCall::Complete { .. } => "conversation.complete",
        HostCall::StartComplete { .. } => "conversation.start-complete",
        HostCall::AwaitModelReply { .. } => "replying.wait",
        HostCall::CancelModelReply { .. } => "replying.cancel",
        HostCall::ModelMessages { .. } => "conversation.messages",
        HostCall::SetField { .. } => "results.set",
        HostCall::SetDisposition { .. } => "results.set-disposition",
        HostCall::SetIntent { .. } => "results.set-intent",
        HostCall::AddTag { .. } => "results.add-tag",
        HostCall::SetOptOut => "results.set-opt-out",
        HostCall::EnterNode { .. } => "results.enter-node",
        HostCall::Push { .. } => "results.push",
        HostCall::GetSetting { .. } => "settings.get",
        HostCall::Log { .. } => "log.write",
    }
}

/// Whether a call may wait for the world. What a script computes between two of
/// these is a turn.
pub(crate) const fn may_wait(call: &HostCall) -> bool {
    matches!(
        call,
        HostCall::EarlyMedia
            | HostCall::Answer
            | HostCall::SendDigits { .. }
            | HostCall::AwaitTransfer { .. }
            | HostCall::Transfer { .. }
            | HostCall::Say { .. }
            | HostCall::AwaitPlayback { .. }
            | HostCall::AwaitQuiet
            | HostCall::Write { .. }
            | HostCall::Listen { .. }
            | HostCall::Ask { .. }
            | HostCall::AwaitListening { .. }
            | HostCall::NextPartial { .. }
            | HostCall::NextEvent { .. }
            | HostCall::Sleep { .. }
            | HostCall::Select { .. }
            | HostCall::Fetch { .. }
            | HostCall::AwaitFetch { .. }
            | HostCall::ModelReply { .. }
            | HostCall::AskModel { .. }
            | HostCall::Complete { .. }
            | HostCall::AwaitModelReply { .. }
            | HostCall::CancelModelReply { .. }
    )
}

/// What kind of reply it is, without what it says.
pub(crate) const fn reply_name(reply: &Reply) -> &'static str {
    match reply {
        Ok(HostReply::Done) => "done",
        Ok(HostReply::Info(_)) => "info",
        Ok(HostReply::Handle(_)) => "handle",
        Ok(HostReply::Playout(_)) => "playout",
        Ok(HostReply::MaybePlayout(_)) => "maybe-playout",
        Ok(HostReply::Heard(_)) => "heard",
        Ok(HostReply::Answer { .. }) => "answer",
        Ok(HostReply::MaybeUtterance(_)) => "maybe-utterance",
        Ok(HostReply::Utterances(_)) => "utterances",
        Ok(HostReply::Transfer(_)) => "transfer",
        Ok(HostReply::MaybeEvent(_)) => "maybe-event",
        Ok(HostReply::Ready(_)) => "ready",
        Ok(HostReply::Flag(_)) => "flag",
        Ok(HostReply::Number(_)) => "number",
        Ok(HostReply::Bytes(_)) => "bytes",
        Ok(HostReply::LocalTime(_)) => "local-time",
        Ok(HostReply::Json(_)) => "json",
        Ok(HostReply::MaybeJson(_)) => "maybe-json",
        Ok(HostReply::Text(_)) => "text",
        Ok(HostReply::MaybeText(_)) => "maybe-text",
        Ok(HostReply::ModelReply(_)) => "model-reply",
        Ok(HostReply::ModelTurn(_)) => "model-turn",
        Ok(HostReply::Messages(_)) => "messages",
        Err(HostError::Ended(_)) => "error ended",
        Err(_) => "error",
    }
}
