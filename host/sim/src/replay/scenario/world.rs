//! What was given to the script: the call, the clock, settings, sources, transfers; and what it made of the call.

use super::{Maker, round};
use crate::scenario::{
    Given, IntentExpected, Moment, Pushed, SourceAnswer, SourceChange, SourceFailure, Span, Step, TransferAnswer,
    TransferExpected,
};
use crate::situation::SOURCE_TIMEOUT;
use callbox_dialogue::call::{CallInfo, Party};
use callbox_dialogue::script::{Handle, LocalTime, TransferMode, TransferOptions, TransferOutcome};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{Direction, EndCause, HostCall, HostError, HostReply, Reply, Time, Transport};
use callbox_script::tape::MASK;
use serde_json::Value;
use std::collections::BTreeMap;

/// How long a target rings before it takes a call that is given back later.
const RINGS: u64 = 2_000;

/// What became known of the world.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Unix milliseconds at the call's beginning.
    began: Option<u64>,
    zone: Option<String>,
    /// What each source did last, and after which step.
    sources: BTreeMap<String, (SourceAnswer, usize)>,
    /// Requests under way: which source, when asked.
    fetches: BTreeMap<Handle, (String, Time)>,
    /// Transfers under way: their step, when asked.
    transfers: BTreeMap<Handle, (usize, Time, TransferOptions)>,
    /// When a handle was first seen to be ready.
    ready: BTreeMap<Handle, Time>,
}

impl World {
    pub(super) fn close(&mut self, given: &mut Given) {
        let Some(moment) = self.began.and_then(Moment::from_unix_ms) else { return };
        let zone = self.zone.as_deref().and_then(|zone| jiff::tz::TimeZone::get(zone).ok());
        given.at = Some(zone.map_or(moment.clone(), |zone| Moment(moment.0.with_time_zone(zone))));
    }

    /// How long something took that was waited for.
    fn took(&self, handle: Handle, asked: Time, answered: Time) -> u64 {
        self.ready.get(&handle).copied().unwrap_or(answered).min(answered).since(asked)
    }
}

impl Maker<'_> {
    /// Takes in what the world gave, and what the script left. False where it is something else.
    pub(super) fn gives(&mut self, call: &HostCall, reply: &Reply, now: Time) -> bool {
        match (call, reply) {
            (HostCall::GetInfo, Ok(HostReply::Info(info))) => self.info(info),
            (HostCall::GetSetting { name }, Ok(HostReply::MaybeText(Some(value)))) => {
                self.given.settings.insert(name.clone(), value.clone());
            }
            (HostCall::Now, Ok(HostReply::Number(unix))) => self.world.began = Some(unix.saturating_sub(now.0)),
            (HostCall::LocalTime { zone }, Ok(HostReply::LocalTime(local))) => self.local_time(zone, *local, now),
            (HostCall::RandomNumber | HostCall::RandomBytes { .. }, _) => {
                self.note("the script draws random numbers: in the simulator they are others".into());
            }
            (HostCall::Fetch { source, .. }, reply) if !ended(reply) => {
                self.fetched(source, now.since(self.at), self.at, reply);
            }
            (HostCall::StartFetch { source, .. }, Ok(HostReply::Handle(handle))) => {
                self.world.fetches.insert(*handle, (source.clone(), now));
            }
            (HostCall::AwaitFetch { handle }, reply) if !ended(reply) => {
                let Some((source, asked)) = self.world.fetches.remove(handle) else { return true };
                let took = self.world.took(*handle, asked, now);
                self.fetched(&source, took, asked, reply);
            }
            (HostCall::Select { handles, .. }, Ok(HostReply::Ready(ready))) => {
                for handle in ready.iter().filter_map(|index| handles.get(*index as usize)) {
                    self.world.ready.entry(*handle).or_insert(now);
                }
            }
            (HostCall::Transfer { target, options }, reply) => {
                let step = self.gives_away(target, options);
                self.transferred(step, options, now.since(self.at), now, reply);
            }
            (HostCall::StartTransfer { target, options }, Ok(HostReply::Handle(handle))) => {
                let step = self.gives_away(target, options);
                self.world.transfers.insert(*handle, (step, now, options.clone()));
            }
            (HostCall::AwaitTransfer { handle }, reply) => {
                if let Some((step, asked, options)) = self.world.transfers.remove(handle) {
                    let took = self.world.took(*handle, asked, now);
                    self.transferred(step, &options, took, now, reply);
                }
            }
            (
                HostCall::SetField { value: text, .. }
                | HostCall::SetDisposition { disposition: text }
                | HostCall::AddTag { tag: text },
                Ok(_),
            ) if text.contains(MASK) => self.secret(),
            (HostCall::Push { destination, body }, Ok(_)) => {
                let is_whole = !body.contains(MASK);
                if !is_whole {
                    self.secret();
                }
                let body = is_whole.then(|| serde_json::from_str(body).ok()).flatten();
                self.step(Step::Pushed(Pushed { to: destination.clone(), body, within: None }));
            }
            (HostCall::SetField { name, value }, Ok(_)) => {
                let value = serde_json::from_str(value).unwrap_or(Value::Null);
                self.result.fields.insert(name.clone(), value);
            }
            (HostCall::SetDisposition { disposition }, Ok(_)) => {
                self.result.disposition = Some(disposition.clone());
            }
            (HostCall::SetIntent { name, grade }, Ok(_)) => {
                self.result.intent = Some(IntentExpected { name: name.clone(), grade: *grade });
            }
            (HostCall::AddTag { tag }, Ok(_)) => {
                if !self.result.tags.contains(tag) {
                    self.result.tags.push(tag.clone());
                }
            }
            (HostCall::SetOptOut, Ok(_)) => self.result.opt_out = Some(true),
            _ => return false,
        }
        true
    }

    /// What the caller gave in confidence is another thing in the scenario.
    fn secret(&mut self) {
        let entry = self.index + 1;
        self.note(format!("entry {entry} hands on what is masked: the scenario does not expect it"));
    }

    fn info(&mut self, info: &CallInfo) {
        let address = |party: &Party| Some(party.number.clone().unwrap_or_else(|| party.uri.clone()));
        let given = &mut self.given;
        given.direction = (info.direction == Direction::Outbound).then_some(info.direction);
        given.transport = (info.transport != Transport::Simulated).then_some(info.transport);
        given.caller = address(&info.caller);
        given.callee = address(&info.callee);
        given.display_name = info.caller.display_name.clone();
        given.language = Some(info.language.clone());
        given.headers = info.headers.iter().cloned().collect();
        given.parameters = info.parameters.as_deref().and_then(|text| serde_json::from_str(text).ok());
    }

    /// The wall clock, where nobody asked for the time itself.
    fn local_time(&mut self, zone: &str, local: LocalTime, now: Time) {
        self.world.zone.get_or_insert_with(|| zone.to_owned());
        if self.world.began.is_some() {
            return;
        }
        let part = |value: u8| i8::try_from(value).unwrap_or(0);
        let date_time = jiff::civil::DateTime::new(
            local.year,
            part(local.month),
            part(local.day),
            part(local.hour),
            part(local.minute),
            part(local.second),
            0,
        );
        let offset = jiff::tz::Offset::from_seconds(i32::from(local.utc_offset) * 60);
        let at = date_time.ok().zip(offset.ok()).and_then(|(time, offset)| offset.to_timestamp(time).ok());
        let at = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
        self.world.began = at.map(|at| at.saturating_sub(now.0));
    }

    /// A source was asked and did this.
    fn fetched(&mut self, source: &str, took: u64, asked: Time, reply: &Reply) {
        let mut answer = match reply {
            Ok(HostReply::Json(text)) => match serde_json::from_str(text) {
                Ok(value) => SourceAnswer::value(value),
                Err(_) => return,
            },
            Err(error @ (HostError::TimedOut | HostError::Unavailable(_) | HostError::NotFound(_))) => {
                SourceAnswer::failure(SourceFailure::of(error))
            }
            _ => return,
        };
        // One that was asked before the call has been under way since then.
        let early = self.manifest.sources.get(source).is_some_and(|declared| declared.prefetch);
        let first = !self.world.sources.contains_key(source);
        let took = if early && first && took > 0 { took.saturating_add(asked.0) } else { took };
        let took = Millis::try_from(took).unwrap_or(Millis::MAX);
        answer.after = (took > 0).then_some(Span(took));
        if took >= SOURCE_TIMEOUT {
            answer.timeout = Some(Span(took.saturating_add(1_000)));
        }
        match self.world.sources.get(source) {
            None => {
                self.given.sources.insert(source.to_owned(), answer.clone());
            }
            Some((same, _)) if same.answers == answer.answers && same.fails == answer.fails => {}
            Some((_, since)) => self.changes(source, &answer, *since),
        }
        self.world.sources.insert(source.to_owned(), (answer, self.steps.len()));
    }

    /// The source does something else from now on: since the last thing the caller did, which made the script ask.
    fn changes(&mut self, source: &str, answer: &SourceAnswer, since: usize) {
        let acts = |step: &Step| matches!(step, Step::Press(_) | Step::Say(_) | Step::Interrupt(_) | Step::Silence(_));
        let last_act = self.steps.iter().rposition(acts).filter(|index| *index >= since);
        let at = last_act.unwrap_or(self.steps.len());
        self.steps.insert(at, Step::Source(SourceChange::new(source, answer.clone())));
        self.origins.insert(at, u32::try_from(self.index + 1).unwrap_or(u32::MAX));
        for (step, ..) in self.world.transfers.values_mut() {
            *step += usize::from(*step >= at);
        }
    }

    fn gives_away(&mut self, target: &str, options: &TransferOptions) -> usize {
        let expected =
            TransferExpected { to: target.to_owned(), mode: Some(options.mode), ..TransferExpected::default() };
        let step = self.steps.len();
        self.step(Step::Transfer(expected));
        step
    }

    fn transferred(&mut self, step: usize, options: &TransferOptions, took: u64, now: Time, reply: &Reply) {
        let gone = self.caller_is_gone();
        let Some(Step::Transfer(expected)) = self.steps.get_mut(step) else { return };
        let outcome = match reply {
            // It was not over when the caller was gone.
            Ok(HostReply::Transfer(TransferOutcome::Failed(487, _))) if gone => {
                expected.answers = Some(TransferAnswer::NoAnswer);
                return self.over(&EndCause::RemoteHangup, now);
            }
            Ok(HostReply::Transfer(outcome)) => outcome,
            Err(HostError::Ended(cause)) => {
                expected.answers = Some(TransferAnswer::NoAnswer);
                return self.over(cause, now);
            }
            _ => return,
        };
        expected.after = Some(round(took));
        let talked = matches!(outcome, TransferOutcome::Connected | TransferOutcome::Returned);
        if talked && options.mode == TransferMode::Bridge {
            // How long it rang of that is not on the tape.
            expected.after = Some(round(took.min(RINGS)));
            expected.talk = Some(round(took.saturating_sub(RINGS)));
        }
        expected.answers = Some(match outcome {
            TransferOutcome::Connected => TransferAnswer::Connected,
            TransferOutcome::Returned => TransferAnswer::Returned,
            TransferOutcome::Failed(486, _) => TransferAnswer::Busy,
            TransferOutcome::Failed(408, _) if took >= u64::from(options.ring_timeout) => TransferAnswer::NoAnswer,
            TransferOutcome::Failed(status, reason) => {
                let reason = Some(reason.clone()).filter(|reason| !reason.is_empty());
                TransferAnswer::Status { status: *status, reason }
            }
        });
    }
}

impl Maker<'_> {
    /// Whether the next thing that the script is told of the line is that the caller hung up.
    fn caller_is_gone(&self) -> bool {
        let mut later = self.entries.iter().skip(self.index + 1).map(|entry| &entry.reply);
        let told = later.find(|reply| matches!(reply, Err(HostError::Ended(_)) | Ok(HostReply::Playout(_))));
        matches!(told, Some(Err(HostError::Ended(EndCause::RemoteHangup))))
    }
}

/// The call ended before there was an answer.
const fn ended(reply: &Reply) -> bool {
    matches!(reply, Err(HostError::Ended(_)))
}
