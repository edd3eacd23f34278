//! What the user of a leg can ask of it.

use super::core::Core;
use super::flow::LegId;
use super::leg::Leg;
use super::{Endpoint, SipError};
use crate::dialog::DialogState;
use crate::overload::Offence;
use crate::wire::{HeaderName, Uri};
use bytes::Bytes;
use std::time::Instant;

impl Endpoint {
    /// 180.
    ///
    /// # Errors
    /// As for all commands to a leg: [`SipError::Ended`] when it is over, [`SipError::NotNow`] in the wrong state.
    pub fn ring(&mut self, now: Instant, leg: LegId) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.provisional(core, now, None))
    }

    /// 183 with a description.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn progress(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.provisional(core, now, Some(sdp)))
    }

    /// 200, sent again until its ACK comes.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn answer(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.answer(core, now, sdp))
    }

    /// A final response that is no success; the status is brought into 300–699.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn reject(
        &mut self,
        now: Instant,
        leg: LegId,
        status: u16,
        reason: Option<String>,
        headers: Vec<(HeaderName, Bytes)>,
    ) -> Result<(), SipError> {
        // Who calls one number after the other that nobody has, looks for one.
        if matches!(status, 404 | 604)
            && let Some(source) = self.legs.get(&leg).and_then(|leg| leg.dialog.as_ref()).map(DialogState::peer)
        {
            self.core.admission.offence(now, source, Offence::UnknownUser);
        }
        self.command(leg, |leg, core| leg.reject(core, now, status, reason, headers))
    }

    /// BYE, CANCEL or a refusal, whatever fits; the reason is a Q.850 cause with a text.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn hang_up(&mut self, now: Instant, leg: LegId, reason: Option<(u8, String)>) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.hang_up(core, now, reason))
    }

    /// Acknowledges a 2xx, or before it a reliable provisional response, that brought an offer, with the answer.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn ack(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.ack(core, now, sdp))
    }

    /// Offers a changed session.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn reinvite(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.reinvite(core, now, sdp))
    }

    /// Offers a changed session by UPDATE, which is possible before the call is answered, too (RFC 3311).
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn update(&mut self, now: Instant, leg: LegId, sdp: Bytes) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.update(core, now, sdp))
    }

    /// Answers a re-INVITE or UPDATE of the peer; an error is the status of the refusal.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn answer_reinvite(&mut self, now: Instant, leg: LegId, result: Result<Bytes, u16>) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.answer_reinvite(core, now, result))
    }

    /// Sends a key by INFO.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn info_digit(&mut self, now: Instant, leg: LegId, digit: char, duration_ms: u32) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.info_digit(core, now, digit, duration_ms))
    }

    /// Asks the peer to call `target`.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn refer(
        &mut self,
        now: Instant,
        leg: LegId,
        target: &Uri,
        headers: Vec<(HeaderName, Bytes)>,
    ) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.refer(core, now, target, headers))
    }

    /// Answers the peer's REFER ([`DialogEvent::ReferRequested`](super::DialogEvent::ReferRequested)): accepts it, or refuses it with a status.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn answer_refer(&mut self, now: Instant, leg: LegId, decision: Result<(), u16>) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.answer_refer(core, now, decision))
    }

    /// Tells the peer how the call goes that it asked for.
    ///
    /// # Errors
    /// As [`ring`](Self::ring); it may be told after the dialog is over.
    pub fn refer_progress(&mut self, now: Instant, leg: LegId, status: u16, reason: String) -> Result<(), SipError> {
        self.command(leg, |leg, core| leg.tell_referrer(core, now, status, reason))
    }

    fn command(
        &mut self,
        leg: LegId,
        act: impl FnOnce(&mut Leg, &mut Core) -> Result<(), SipError>,
    ) -> Result<(), SipError> {
        self.with(leg, act).unwrap_or(Err(SipError::Ended))
    }
}
