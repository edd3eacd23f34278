//! The leg as the engine sees it: ringing, heard before it is answered, up, being closed, gone.

use super::{Engine, Output, Timer};
use crate::call::{Direction, EndCause, EndReason, Evidence};
use crate::leg::LegCommand;
use crate::record::{CallRecord, EndedBy, Outcome};
use crate::script::HostError;
use crate::time::Time;

use super::wording::floor;

/// Longest wait for a leg to end after it was told to: a little more than SIP
/// takes to give up on a peer that does not answer (64·T1 of RFC 3261).
const HANGUP_LIMIT: u64 = 34_000;

/// State of the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Not answered yet.
    Early {
        /// An inbound call was told to be answered.
        answering: bool,
        /// It rings.
        ringing: bool,
        /// Its audio, of an inbound call.
        audio: Audio,
    },
    /// Audio flows.
    Up,
    /// Told to end, at this time.
    Closing(Time),
    /// Gone.
    Over,
}

/// The audio of a call that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audio {
    /// It comes with the answer.
    Closed,
    /// The leg was told to open it.
    Opening,
    /// Early media (RFC 3960).
    Open,
}

impl Line {
    /// The call is answered.
    pub(super) const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }

    /// Something can be said and heard: the call is answered, or has early media.
    pub(super) const fn has_audio(self) -> bool {
        matches!(self, Self::Up | Self::Early { audio: Audio::Open, .. })
    }

    /// The leg was told to open the audio, and has not said yet whether it could.
    pub(super) const fn is_opening(self) -> bool {
        matches!(self, Self::Early { audio: Audio::Opening, .. })
    }

    /// An inbound call could still be declined.
    pub(super) const fn is_unanswered(self) -> bool {
        matches!(self, Self::Early { answering: false, .. })
    }
}

impl Engine {
    /// Orders something of the leg, unless it is told to end or gone.
    pub(super) fn leg(&mut self, command: LegCommand) {
        if matches!(self.line, Line::Early { .. } | Line::Up) {
            self.outputs.push_back(Output::Leg(command));
        }
    }

    /// Ends the leg, once.
    pub(super) fn close_line(&mut self, command: LegCommand) {
        if matches!(self.line, Line::Early { .. } | Line::Up) {
            if let LegCommand::Reject { status, .. } = &command {
                self.refused_with = Some(*status);
            }
            self.leg(command);
            self.line = Line::Closing(self.now);
            self.timers.set(Timer::Hangup, self.now + HANGUP_LIMIT);
        }
    }

    pub(super) const fn is_inbound(&self) -> bool {
        matches!(self.setup.info.direction, Direction::Inbound)
    }

    /// Lets the caller of an unanswered inbound call hear ringing, once.
    pub(super) fn ring(&mut self) {
        // Who hears us already would hear the ringing in between.
        let silent = Line::Early { answering: false, ringing: false, audio: Audio::Closed };
        if self.is_inbound() && self.line == silent {
            self.line = Line::Early { answering: false, ringing: true, audio: Audio::Closed };
            self.timers.clear(Timer::AutoRing);
            self.leg(LegCommand::Ring);
            self.rang();
        }
    }

    fn rang(&mut self) {
        if self.journal.record.ringing.is_none() {
            self.journal.record.ringing = Some(self.now);
            self.journal.note(self.now, "ringing", "");
        }
    }

    /// An outbound call rings.
    pub(super) fn on_ringing(&mut self) {
        if !self.is_inbound() && matches!(self.line, Line::Early { .. }) {
            self.rang();
        }
    }

    /// Opens the audio of an inbound call without answering it. On any other
    /// call nothing happens.
    pub(super) fn open_early(&mut self) {
        if let (true, Line::Early { answering: false, ringing, audio: Audio::Closed }) = (self.is_inbound(), self.line)
        {
            self.line = Line::Early { answering: false, ringing, audio: Audio::Opening };
            self.timers.clear(Timer::AutoRing);
            self.leg(LegCommand::EarlyMedia);
        }
    }

    /// The caller of an unanswered call hears us.
    pub(super) fn on_early_media(&mut self) {
        let Line::Early { answering, ringing, audio: Audio::Opening } = self.line else { return };
        self.line = Line::Early { answering, ringing, audio: Audio::Open };
        self.journal.note(self.now, "early_media", "");
        self.prompts.quiet_since = self.now;
        self.active();
    }

    /// Nothing is heard before the answer.
    pub(super) fn on_early_media_failed(&mut self, error: HostError) {
        let Line::Early { answering, ringing, audio: Audio::Opening } = self.line else { return };
        self.line = Line::Early { answering, ringing, audio: Audio::Closed };
        self.journal.note(self.now, "early_media", error.to_string());
        self.no_early_media = Some(error);
    }

    /// Something is to be said or heard: as early media where the script has
    /// asked for that, else the call is answered first.
    pub(super) fn ensure_audio(&mut self) {
        if !self.line.has_audio() {
            self.ensure_answer();
        }
    }

    /// An inbound call is answered, an outbound one is waited for.
    pub(super) fn ensure_answer(&mut self) {
        if let (true, Line::Early { answering: false, ringing, audio }) = (self.is_inbound(), self.line) {
            self.line = Line::Early { answering: true, ringing, audio };
            self.timers.clear(Timer::AutoRing);
            self.leg(LegCommand::Answer);
        }
    }

    pub(super) fn on_answered(&mut self) {
        if !matches!(self.line, Line::Early { .. }) {
            return;
        }
        let heard_before = self.line.has_audio();
        self.line = Line::Up;
        self.journal.record.answered = Some(self.now);
        self.journal.note(self.now, "answered", "");
        self.timers.clear(Timer::AutoRing);
        self.timers.clear(Timer::Ring);
        self.timers.set(Timer::MaxDuration, self.now + u64::from(self.setup.limits.max_duration));
        if !heard_before {
            // What waits for quiet has waited for the call so far.
            self.prompts.quiet_since = self.now;
        }
        self.active();
    }

    /// Nobody answered in time.
    pub(super) fn on_ring_limit(&mut self) {
        let limit = self.setup.limits.ring_timeout;
        let was_open = self.line.is_unanswered();
        self.no_answer = true;
        self.end(EndCause::Operator(format!("not answered within {limit} ms")), EndReason::Rejected, EndedBy::Platform);
        if self.is_inbound() && was_open {
            self.close_line(LegCommand::Reject { status: 480, reason: None });
        } else {
            self.close_line(LegCommand::Hangup);
        }
    }

    /// The leg is gone.
    pub(super) fn on_leg_ended(&mut self, cause: EndCause, mut evidence: Evidence, reason: Option<EndReason>) {
        if self.line == Line::Over {
            return;
        }
        if let Some(text) = &mut evidence.sip_reason {
            text.truncate(floor(text, 256));
        }
        self.journal.record.evidence = evidence;
        self.leg_over(self.now);
        let answered = self.journal.record.answered.is_some();
        let by = match cause {
            EndCause::RemoteHangup => EndedBy::Caller,
            EndCause::LocalHangup | EndCause::Transferred => EndedBy::Script,
            EndCause::NetworkFailure | EndCause::Operator(_) | EndCause::Other(_) => EndedBy::Platform,
        };
        let reason = reason.unwrap_or(match cause {
            EndCause::RemoteHangup if answered || self.is_inbound() => EndReason::CallerHangup,
            EndCause::RemoteHangup => EndReason::Rejected,
            EndCause::LocalHangup => EndReason::ScriptHangup,
            EndCause::Transferred => EndReason::TransferCompleted,
            EndCause::NetworkFailure => EndReason::TrunkLost,
            EndCause::Operator(_) => EndReason::OperatorHangup,
            EndCause::Other(_) if !answered && !self.is_inbound() => EndReason::Rejected,
            EndCause::Other(_) => EndReason::PlatformError,
        });
        self.end(cause, reason, by);
        self.silence_prompts();
    }

    /// A leg that was told to end does not report it: it is over all the same.
    pub(super) fn on_hangup_limit(&mut self) {
        if let Line::Closing(at) = self.line {
            self.journal.note(self.now, "leg_silent", format!("no end reported within {} s", HANGUP_LIMIT / 1_000));
            self.leg_over(at);
            self.silence_prompts();
        }
    }

    fn leg_over(&mut self, at: Time) {
        self.line = Line::Over;
        self.timers.clear(Timer::Hangup);
        self.journal.record.ended = Some(at);
    }

    /// What came of the call.
    pub(super) fn settle_outcome(&mut self) {
        let record = &mut self.journal.record;
        let answered = record.answered.is_some();
        let status = record.evidence.sip_status.or(self.refused_with);
        record.outcome = Some(if self.no_answer && !answered {
            Outcome::NoAnswer
        } else {
            CallRecord::outcome_for(self.setup.info.direction, answered, status)
        });
    }
}
