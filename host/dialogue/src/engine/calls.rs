//! Every import of a script: checked, begun, and either answered at once or
//! left pending.

use super::handles::Item;
use super::prompts::Kind;
use super::waits::Pending;
use super::wording::floor;
use super::{Engine, Output, Timer, arguments};
use crate::call::{EndCause, EndReason};
use crate::leg::LegCommand;
use crate::record::{EndedBy, Intent};
use crate::script::{
    BargeIn, Handle, HostCall, HostError, HostReply, ListenOptions, LocalTime, LogLevel, PlayoutEnd, Prompt, Queueing,
};
use crate::time::Time;
use jiff::Zoned;
use jiff::tz::TimeZoneDatabase;
use rand_chacha::rand_core::Rng;
use std::sync::LazyLock;

/// Fields of a record.
const FIELDS: usize = 128;
/// Tags of a record.
const TAGS: usize = 64;
/// Bytes of one draw.
const RANDOM_BYTES: u32 = 1_024;
/// Handles of one select.
const SELECT: usize = 1_024;

/// The time zones of the binary: the same on every machine, and no file is read.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// What a call comes to.
pub(super) enum Step {
    /// Answered.
    Done(HostReply),
    /// Answered when the time comes.
    Wait(Pending),
}

use Step::{Done, Wait};

impl Engine {
    /// Begins a call of the script.
    pub(super) fn call(&mut self, call: HostCall) -> Result<Step, HostError> {
        match call {
            HostCall::GetInfo => Ok(Done(HostReply::Info(Box::new(self.setup.info.clone())))),
            HostCall::Ring => {
                self.alive()?;
                self.ring();
                Ok(Done(HostReply::Done))
            }
            HostCall::EarlyMedia => {
                self.alive()?;
                self.open_early();
                Ok(Wait(Pending::EarlyMedia))
            }
            HostCall::Answer => {
                self.alive()?;
                self.ensure_answer();
                Ok(Wait(Pending::Answer))
            }
            HostCall::Reject { status, reason } => self.reject(status, reason),
            HostCall::Hangup => {
                self.alive()?;
                self.hang_up(EndCause::LocalHangup, EndReason::ScriptHangup, EndedBy::Script);
                Ok(Done(HostReply::Done))
            }
            HostCall::SendDigits { digits } => {
                self.alive()?;
                let digits = arguments::digits(&digits)?;
                if digits.is_empty() {
                    return Ok(Done(HostReply::Done));
                }
                self.ensure_answer();
                Ok(Wait(Pending::Digits { digits, number: None }))
            }
            HostCall::StartTransfer { target, options } => {
                self.start_transfer(target, options, true).map(|handle| Done(HostReply::Handle(handle)))
            }
            HostCall::Transfer { target, options } => {
                let handle = self.start_transfer(target, options, false)?;
                Ok(Wait(Pending::Transfer { handle, own: true }))
            }
            HostCall::AwaitTransfer { handle } => Ok(Wait(Pending::Transfer { handle, own: false })),
            HostCall::CancelTransfer { handle } => match self.handles.get(handle) {
                Some(Item::Transfer { transfer, result }) => {
                    let (transfer, over) = (*transfer, result.is_some());
                    if !over {
                        self.cancel_transfer(transfer);
                    }
                    Ok(Done(HostReply::Done))
                }
                _ => Err(HostError::NotFound(format!("handle {}: no transfer", handle.0))),
            },
            HostCall::SetDefault { name, value } => self.set_default(&name, value),
            HostCall::Say { prompt } => {
                let handle = self.say(prompt, Kind::Blocking)?;
                Ok(Wait(Pending::Playback { handle, own: true }))
            }
            HostCall::StartSay { prompt } => {
                self.say(prompt, Kind::Handle).map(|handle| Done(HostReply::Handle(handle)))
            }
            HostCall::AwaitPlayback { handle } => Ok(Wait(Pending::Playback { handle, own: false })),
            HostCall::StopPlayback { handle } => {
                if let Some(Item::Playback { prompt, .. }) = self.handles.get(handle) {
                    let prompt = *prompt;
                    self.stop_prompt(prompt, PlayoutEnd::Stopped);
                }
                Ok(Wait(Pending::Playback { handle, own: false }))
            }
            HostCall::AwaitQuiet => {
                self.alive()?;
                self.no_open_writer()?;
                Ok(Wait(Pending::Quiet))
            }
            HostCall::OpenWriter { barge_in } => self.open_writer(barge_in),
            HostCall::Write { handle, text } => {
                self.write_text(handle, &text)?;
                Ok(Wait(Pending::Write { handle }))
            }
            HostCall::FinishWriter { handle } => self.finish_writer(handle),
            HostCall::Listen { options } => {
                let handle = self.listen(options, false)?;
                Ok(Wait(Pending::Heard { handle, own: true }))
            }
            HostCall::StartListen { options } => {
                self.listen(options, true).map(|handle| Done(HostReply::Handle(handle)))
            }
            HostCall::Ask { prompt, options } => self.ask(prompt, options),
            HostCall::AwaitListening { handle } => Ok(Wait(Pending::Heard { handle, own: false })),
            HostCall::NextPartial { handle } => Ok(Wait(Pending::Partial { handle })),
            HostCall::Alternatives { handle } => Ok(Wait(Pending::Alternatives { handle })),
            HostCall::Meaning { handle } => Ok(Wait(Pending::Meaning { handle })),
            HostCall::StopListening { handle } => {
                self.stop_listening(handle);
                Ok(Wait(Pending::Heard { handle, own: false }))
            }
            HostCall::NextEvent { timeout } => Ok(Wait(Pending::Event { until: self.until(timeout) })),
            HostCall::EnableEvent { kind: _ } => Ok(Done(HostReply::Flag(false))),
            HostCall::After { delay } => {
                self.handles.room(self.setup.limits.max_handles)?;
                let at = self.now + u64::from(delay);
                let handle = self.handles.add(Item::Timer { at }, true);
                self.timers.set(Timer::After(handle), at);
                Ok(Done(HostReply::Handle(handle)))
            }
            HostCall::Sleep { delay } => Ok(Wait(Pending::Sleep { until: self.now + u64::from(delay) })),
            HostCall::Select { handles, timeout } => {
                if handles.len() > SELECT {
                    return Err(HostError::LimitExceeded(format!("handles: {}, at most {SELECT}", handles.len())));
                }
                Ok(Wait(Pending::Select { handles, until: self.until(timeout) }))
            }
            HostCall::IsReady { handle } => Ok(Done(HostReply::Flag(self.is_ready(handle)))),
            HostCall::Release { handle } => {
                self.release(handle);
                Ok(Done(HostReply::Done))
            }
            HostCall::Now => Ok(Done(HostReply::Number(self.unix_ms()))),
            HostCall::Elapsed => Ok(Done(HostReply::Number(self.now.0))),
            HostCall::LocalTime { zone } => self.local_time(&zone),
            HostCall::RandomNumber => Ok(Done(HostReply::Number(self.random.next_u64()))),
            HostCall::RandomBytes { count } => {
                if count > RANDOM_BYTES {
                    return Err(HostError::InvalidArgument(format!("count: {count}, at most {RANDOM_BYTES}")));
                }
                let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
                self.random.fill_bytes(&mut bytes);
                Ok(Done(HostReply::Bytes(bytes)))
            }
            HostCall::Fetch { source, parameters } => {
                let handle = self.start_fetch(source, parameters, false)?;
                Ok(Wait(Pending::Fetch { handle, own: true }))
            }
            HostCall::StartFetch { source, parameters } => {
                self.start_fetch(source, parameters, true).map(|handle| Done(HostReply::Handle(handle)))
            }
            HostCall::AwaitFetch { handle } => Ok(Wait(Pending::Fetch { handle, own: false })),
            HostCall::OpenConversation { .. }
            | HostCall::AddMessage { .. }
            | HostCall::AddTool { .. }
            | HostCall::AddToolResult { .. }
            | HostCall::SetModel { .. }
            | HostCall::ModelReply { .. }
            | HostCall::StartModelReply { .. }
            | HostCall::AskModel { .. }
            | HostCall::Complete { .. }
            | HostCall::StartComplete { .. }
            | HostCall::AwaitModelReply { .. }
            | HostCall::CancelModelReply { .. }
            | HostCall::ModelMessages { .. } => self.call_model(call),
            HostCall::SetField { name, value } => self.set_field(name, &value),
            HostCall::SetDisposition { disposition } => {
                arguments::name("disposition", &disposition)?;
                self.journal.record.disposition = Some(disposition);
                Ok(Done(HostReply::Done))
            }
            HostCall::SetIntent { name, grade } => {
                arguments::name("intent", &name)?;
                if grade.is_some_and(|grade| !('A'..='F').contains(&grade)) {
                    return Err(HostError::InvalidArgument("grade: A to F".into()));
                }
                self.journal.record.intent = Some(Intent { name, grade });
                Ok(Done(HostReply::Done))
            }
            HostCall::AddTag { tag } => self.add_tag(tag),
            HostCall::SetOptOut => {
                self.journal.record.opt_out = true;
                Ok(Done(HostReply::Done))
            }
            HostCall::EnterNode { name } => {
                arguments::name("node", &name)?;
                self.journal.note(self.now, "node", name.clone());
                self.journal.node = Some(name);
                Ok(Done(HostReply::Done))
            }
            HostCall::Push { destination, body } => self.push(destination, body),
            HostCall::GetSetting { name } => Ok(Done(HostReply::MaybeText(self.setup.settings.get(&name).cloned()))),
            HostCall::Log { level, message } => {
                self.log(level, message);
                Ok(Done(HostReply::Done))
            }
        }
    }

    fn reject(&mut self, status: u16, reason: Option<String>) -> Result<Step, HostError> {
        self.alive()?;
        if !(400..=699).contains(&status) {
            return Err(HostError::InvalidArgument(format!("status: {status}, but 400 to 699 decline a call")));
        }
        if let Some(reason) = &reason {
            arguments::name("reason", reason)?;
        }
        if !self.is_inbound() || !self.line.is_unanswered() {
            let what = "only an inbound call that was not answered can be declined; hang up instead";
            return Err(HostError::InvalidArgument(what.into()));
        }
        self.end(EndCause::LocalHangup, EndReason::Rejected, EndedBy::Script);
        self.close_line(LegCommand::Reject { status, reason });
        Ok(Done(HostReply::Done))
    }

    fn set_default(&mut self, name: &str, value: String) -> Result<Step, HostError> {
        match name {
            "voice" => {
                arguments::name("voice", &value)?;
                self.voice.voice = Some(value);
            }
            "language" => {
                arguments::name("language", &value)?;
                if !value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                    return Err(HostError::InvalidArgument(format!("language: {value:?} is no BCP 47 tag")));
                }
                self.voice.language = value;
            }
            "rate" => match value.parse::<u16>() {
                Ok(rate) if (80..=400).contains(&rate) => self.voice.rate = Some(rate),
                _ => return Err(HostError::InvalidArgument("rate: 80 to 400 words a minute".into())),
            },
            _ => {
                let name = &name[..floor(name, 128)];
                return Err(HostError::NotFound(format!("default {name:?}: there are voice, language and rate")));
            }
        }
        Ok(Done(HostReply::Done))
    }

    /// Queues a prompt of the script.
    fn say(&mut self, prompt: Prompt, kind: Kind) -> Result<Handle, HostError> {
        self.alive()?;
        if kind == Kind::Blocking && prompt.queueing == Queueing::Append {
            self.no_open_writer()?;
        }
        let handle = self.queue_prompt(prompt.segments, prompt.barge_in, prompt.queueing, kind)?;
        self.ensure_audio();
        Ok(handle)
    }

    /// A script that waits cannot write: it would wait for ever.
    fn no_open_writer(&self) -> Result<(), HostError> {
        if self.prompts.has_open() {
            return Err(HostError::InvalidArgument(
                "a speech writer is open; finish it before waiting behind it".into(),
            ));
        }
        Ok(())
    }

    fn listen(&mut self, options: Box<ListenOptions>, held: bool) -> Result<Handle, HostError> {
        self.alive()?;
        let plan = self.plan_listening(options)?;
        if held {
            self.handles.room(self.setup.limits.max_handles)?;
        } else {
            self.no_open_writer()?;
        }
        self.ensure_audio();
        Ok(self.begin_listening(plan, None, held))
    }

    fn ask(&mut self, prompt: Prompt, options: Box<ListenOptions>) -> Result<Step, HostError> {
        self.alive()?;
        let plan = self.plan_listening(options)?;
        let playback = self.say(prompt, Kind::Blocking)?;
        let id = match self.handles.get(playback) {
            Some(Item::Playback { prompt, .. }) => Some(*prompt),
            _ => None,
        };
        let listening = self.begin_listening(plan, id, false);
        Ok(Wait(Pending::Ask { playback, listening }))
    }

    fn open_writer(&mut self, barge_in: BargeIn) -> Result<Step, HostError> {
        self.alive()?;
        let handle = self.queue_prompt(Vec::new(), barge_in, Queueing::Append, Kind::Writer)?;
        self.ensure_audio();
        Ok(Done(HostReply::Handle(handle)))
    }

    fn finish_writer(&mut self, handle: Handle) -> Result<Step, HostError> {
        let Some(Item::Playback { prompt, writer: true, .. }) = self.handles.get(handle) else {
            return Err(HostError::NotFound(format!("writer {}: unknown or dropped", handle.0)));
        };
        let prompt = *prompt;
        self.flush_writer(prompt);
        self.complete(prompt);
        Ok(Done(HostReply::Handle(handle)))
    }

    /// The script has dropped a handle. A listening ends; a writer has written
    /// its last; a prompt or a transfer goes on without anybody to tell.
    fn release(&mut self, handle: Handle) {
        match self.handles.remove(handle) {
            Some(Item::Listening { .. }) => self.drop_listening(handle),
            Some(Item::Playback { prompt, writer: true, .. }) => {
                self.flush_writer(prompt);
                self.complete(prompt);
            }
            Some(Item::Timer { .. }) => self.timers.clear(Timer::After(handle)),
            Some(Item::Conversation) => self.drop_conversation(handle),
            Some(Item::ModelReply { .. }) => self.interrupt(handle, false),
            Some(Item::Playback { .. } | Item::Transfer { .. } | Item::Fetch { .. } | Item::ModelVoice { .. })
            | None => {}
        }
    }

    fn until(&self, timeout: Option<u32>) -> Option<Time> {
        timeout.map(|timeout| self.now + u64::from(timeout))
    }

    const fn unix_ms(&self) -> u64 {
        self.setup.started_unix_ms.saturating_add(self.now.0)
    }

    /// The wall clock in a time zone.
    pub(super) fn local(&self, zone: &str) -> Result<Zoned, HostError> {
        arguments::name("zone", zone)?;
        let Ok(zone) = ZONES.get(zone) else {
            return Err(HostError::NotFound(format!("zone {zone:?}: no such time zone; use an IANA name")));
        };
        let moment = i64::try_from(self.unix_ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let Some(moment) = moment else {
            return Err(HostError::Other("the clock is beyond the calendar".into()));
        };
        Ok(moment.to_zoned(zone))
    }

    fn local_time(&self, zone: &str) -> Result<Step, HostError> {
        let local = self.local(zone)?;
        let part = |value: i8| u8::try_from(value).unwrap_or(0);
        Ok(Done(HostReply::LocalTime(LocalTime {
            year: local.year(),
            month: part(local.month()),
            day: part(local.day()),
            weekday: part(local.weekday().to_monday_one_offset()),
            hour: part(local.hour()),
            minute: part(local.minute()),
            second: part(local.second()),
            utc_offset: i16::try_from(local.offset().seconds() / 60).unwrap_or(0),
        })))
    }

    fn set_field(&mut self, name: String, value: &str) -> Result<Step, HostError> {
        arguments::name("field", &name)?;
        let value = arguments::json("field", value)?;
        let fields = &mut self.journal.record.fields;
        if fields.len() >= FIELDS && !fields.contains_key(&name) {
            return Err(HostError::LimitExceeded(format!("fields: a record has at most {FIELDS}")));
        }
        fields.insert(name, value);
        Ok(Done(HostReply::Done))
    }

    fn add_tag(&mut self, tag: String) -> Result<Step, HostError> {
        arguments::name("tag", &tag)?;
        let tags = &mut self.journal.record.tags;
        if !tags.contains(&tag) {
            if tags.len() >= TAGS {
                return Err(HostError::LimitExceeded(format!("tags: a record has at most {TAGS}")));
            }
            tags.push(tag);
        }
        Ok(Done(HostReply::Done))
    }

    fn push(&mut self, destination: String, body: String) -> Result<Step, HostError> {
        if !self.setup.destinations.contains(&destination) {
            let name = &destination[..floor(&destination, 128)];
            let what = format!("the manifest declares no destination {name:?}; add it to `destinations`");
            return Err(HostError::Denied(what));
        }
        arguments::json("body", &body)?;
        let most = self.setup.limits.max_pushes;
        if self.pushes >= u32::from(most) {
            return Err(HostError::LimitExceeded(format!("pushes: a call makes at most {most}")));
        }
        self.pushes += 1;
        let seq = self.pushes;
        self.journal.note(self.now, "push", format!("{seq} to {destination}"));
        self.outputs.push_back(Output::Push { seq, destination, body });
        Ok(Done(HostReply::Text(self.setup.info.id.push_id(seq))))
    }

    fn log(&mut self, level: LogLevel, mut message: String) {
        self.journal.secrets.clean(&mut message);
        message.truncate(floor(&message, 8 * 1_024));
        self.journal.note(self.now, "log", format!("{}: {message}", level.as_str()));
        self.outputs.push_back(Output::Log { level, message });
    }
}
