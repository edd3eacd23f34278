//! How a call comes to its end: hang-up and grace, a script that returns, a
//! script that fails, limits, shutdown. Never dead air, never without end.

use super::prompts::Kind;
use super::wording::Wording;
use super::{Engine, Output, Timer};
use crate::call::{EndCause, EndReason};
use crate::leg::LegCommand;
use crate::record::EndedBy;
use crate::script::{BargeIn, Event, HostError, PlayoutEnd, ScriptEnd, TransferMode, TransferOptions};
use crate::time::Millis;

/// Longest time the fallback's prompt may take, from its beginning to its end.
const FALLBACK_LIMIT: u64 = 60_000;
/// How long the fallback's transfer target may ring.
const FALLBACK_RING: Millis = 30_000;

/// Who leads the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The script.
    Script,
    /// The script has returned; what it left queued is played.
    Leaving,
    /// The script has failed.
    Fallback(Step),
}

/// How far the fallback has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A transfer that the script began comes first: it is the better way out.
    Begin,
    /// Its prompt is played.
    Saying,
    /// Its transfer runs.
    Transferring,
}

impl Engine {
    /// Fails where the call is over for the script.
    pub(super) fn alive(&self) -> Result<(), HostError> {
        match &self.ended {
            None => Ok(()),
            Some(cause) => Err(HostError::Ended(cause.clone())),
        }
    }

    /// The call is over for the script: whatever it waits for has its answer,
    /// and its grace begins. Closing the leg is another matter.
    pub(super) fn end(&mut self, cause: EndCause, reason: EndReason, by: EndedBy) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(cause.clone());
        self.journal.end_reason(reason);
        self.journal.ended_by(by);
        let reason = self.journal.record.end_reason.unwrap_or(reason);
        self.journal.note(self.now, "ended", reason.as_str());
        self.handles.end(&HostError::Ended(cause.clone()));
        self.close_listening();
        self.clear_prompts(PlayoutEnd::Stopped);
        self.close_transfer();
        for timer in [
            Timer::AutoRing,
            Timer::Ring,
            Timer::Silence,
            Timer::Drain,
            Timer::MaxDuration,
            Timer::Fallback,
            Timer::Barge,
            Timer::Prepare,
        ] {
            self.timers.clear(timer);
        }
        self.event(Event::Ended(cause));
        if self.running {
            self.timers.set(Timer::Grace, self.now + u64::from(self.setup.limits.grace));
        }
    }

    /// Ends the call from our side.
    pub(super) fn hang_up(&mut self, cause: EndCause, reason: EndReason, by: EndedBy) {
        self.end(cause, reason, by);
        self.close_line(LegCommand::Hangup);
    }

    /// Ends the call from our side, with a proper refusal where it was never
    /// answered.
    pub(super) fn part(&mut self, cause: EndCause, reason: EndReason, by: EndedBy, status: u16) {
        let unanswered = self.is_inbound() && self.line.is_unanswered();
        self.end(cause, reason, by);
        self.close_line(if unanswered { LegCommand::Reject { status, reason: None } } else { LegCommand::Hangup });
    }

    /// The grace is over.
    pub(super) fn on_grace_limit(&mut self) {
        if self.running {
            self.journal.note(self.now, "script_stopped", "its time after the end of the call is over");
            self.stop_script();
        }
    }

    fn stop_script(&mut self) {
        if self.running {
            self.outputs.push_back(Output::StopScript);
            self.script_gone();
        }
    }

    /// Nobody asks or waits any more.
    fn script_gone(&mut self) {
        self.running = false;
        self.pending = None;
        for timer in [Timer::Wait, Timer::Writer, Timer::Digits, Timer::Grace] {
            self.timers.clear(timer);
        }
        for timer in self.handles.timers() {
            self.timers.clear(Timer::After(timer));
        }
        self.forget_models();
        self.handles.clear();
        self.close_listening();
        self.events.clear();
        self.complete_all();
    }

    /// The script came to its end by itself.
    pub(super) fn on_script_ended(&mut self, end: ScriptEnd) {
        if !self.running {
            return;
        }
        self.script_gone();
        let over = self.ended.is_some();
        let (what, message, reason) = match end {
            ScriptEnd::Returned => {
                self.journal.note(self.now, "script_ended", "returned");
                if !over {
                    self.course = Course::Leaving;
                }
                return;
            }
            ScriptEnd::Failed { message } if over => {
                // Most often the `ended` of its last wait, handed on.
                self.journal.note(self.now, "script_ended", format!("returned an error: {message}"));
                return;
            }
            ScriptEnd::Failed { message } => ("returned an error", message, EndReason::ScriptTrap),
            ScriptEnd::Trapped { message } => ("trapped", message, EndReason::ScriptTrap),
            ScriptEnd::Budget { message } => ("spent its budget", message, EndReason::ScriptBudget),
            ScriptEnd::NotStarted { message } => ("could not be started", message, EndReason::PlatformError),
        };
        self.journal.script_error(self.now, format!("the script {what}: {message}"));
        if over {
            return;
        }
        let (by, status) = match reason {
            EndReason::PlatformError => (EndedBy::Platform, 503),
            _ => (EndedBy::Script, 480),
        };
        self.fall_back(reason, by, status);
    }

    /// The script's part is over, not by its will: the number's fallback runs.
    pub(super) fn fall_back(&mut self, reason: EndReason, by: EndedBy, status: u16) {
        if self.ended.is_some() || matches!(self.course, Course::Fallback(_)) {
            return;
        }
        self.stop_script();
        self.journal.note(self.now, "fallback", reason.as_str());
        self.journal.end_reason(reason);
        self.course = Course::Fallback(Step::Begin);
        self.blame = (reason, by, status);
    }

    /// Leads a call whose script is gone to its end. True where it took a step.
    pub(super) fn steer(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let idle = self.transfer.is_none() && self.prompts.is_empty();
        match self.course {
            Course::Leaving if idle => {
                self.part(EndCause::LocalHangup, EndReason::ScriptReturned, EndedBy::Script, 480);
                true
            }
            Course::Fallback(Step::Begin) if self.transfer.is_none() => {
                self.begin_fallback();
                true
            }
            Course::Fallback(Step::Saying) if idle => {
                match self.setup.fallback.transfer_to.clone() {
                    Some(target) => {
                        self.course = Course::Fallback(Step::Transferring);
                        let options = TransferOptions {
                            mode: TransferMode::Refer,
                            ring_timeout: FALLBACK_RING,
                            caller_id: None,
                            headers: Vec::new(),
                        };
                        let id = self.name_transfer();
                        self.ensure_answer();
                        self.give(id, target, options, None);
                    }
                    None => self.end_fallback(),
                }
                true
            }
            Course::Fallback(Step::Transferring) if self.transfer.is_none() => {
                self.end_fallback();
                true
            }
            Course::Script | Course::Leaving | Course::Fallback(_) => false,
        }
    }

    fn begin_fallback(&mut self) {
        self.clear_prompts(PlayoutEnd::Stopped);
        let fallback = &self.setup.fallback;
        let something = !fallback.say.is_empty() || fallback.transfer_to.is_some();
        if !something || !(self.line.is_up() || self.is_inbound()) {
            self.end_fallback();
            return;
        }
        let segments = fallback.say.clone();
        // What the script did not answer is not answered to say that it failed.
        self.ensure_audio();
        let mut wording = Wording::default();
        wording.add(&segments);
        let item = self.push_prompt(segments, wording, BargeIn::default(), self.setup.voice.clone(), Kind::Blocking);
        self.handles.remove(item);
        self.course = Course::Fallback(Step::Saying);
        self.timers.set(Timer::Fallback, self.now + FALLBACK_LIMIT);
    }

    fn end_fallback(&mut self) {
        let (reason, by, status) = self.blame;
        self.part(EndCause::LocalHangup, reason, by, status);
    }

    /// The fallback's prompt takes too long.
    pub(super) fn on_fallback_limit(&mut self) {
        match self.course {
            Course::Fallback(_) if !self.line.has_audio() => self.end_fallback(),
            Course::Fallback(Step::Saying) => self.clear_prompts(PlayoutEnd::Stopped),
            _ => {}
        }
    }

    /// The host goes down: the script is told, and has so long.
    pub(super) fn on_drain(&mut self, within: Millis) {
        if self.ended.is_some() {
            return;
        }
        let at = self.now + u64::from(within);
        if self.drain.is_none_or(|former| at < former) {
            self.drain = Some(at);
            self.timers.set(Timer::Drain, at);
            self.journal.note(self.now, "drain", format!("within {within} ms"));
            self.event(Event::Draining(within));
        }
    }

    /// Its time is over.
    pub(super) fn on_drain_limit(&mut self) {
        match self.course {
            Course::Script => self.fall_back(EndReason::PlatformShutdown, EndedBy::Platform, 503),
            Course::Leaving => {
                let cause = EndCause::Operator("the host goes down".into());
                self.part(cause, EndReason::PlatformShutdown, EndedBy::Platform, 503);
            }
            Course::Fallback(_) => {}
        }
    }

    /// The longest call.
    pub(super) fn on_max_duration(&mut self) {
        let limit = self.setup.limits.max_duration;
        let cause = EndCause::Operator(format!("a call may last {limit} ms"));
        self.hang_up(cause, EndReason::MaxDuration, EndedBy::Platform);
    }

    /// Nothing was heard and nothing said.
    pub(super) fn on_silence(&mut self) {
        let limit = self.setup.limits.silence_timeout;
        let cause = EndCause::Operator(format!("nothing was heard and nothing said for {limit} ms"));
        self.hang_up(cause, EndReason::SilenceTimeout, EndedBy::Platform);
    }

    /// The silence runs from the last prompt, key or transcript, never from
    /// the last packet: comfort noise does not keep a call alive.
    pub(super) fn arm_silence(&mut self) {
        let limit = self.setup.limits.silence_timeout;
        let quiet = self.line.is_up()
            && self.ended.is_none()
            && limit > 0
            && self.prompts.is_empty()
            && self.transfer.is_none();
        self.timers.put(Timer::Silence, quiet.then(|| self.last_active + u64::from(limit)));
    }

    /// Something was heard or said.
    pub(super) const fn active(&mut self) {
        self.last_active = self.now;
    }
}
