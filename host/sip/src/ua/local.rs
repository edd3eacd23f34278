//! What we ask within a dialog: re-INVITE, INFO, and what becomes of each request of ours.

use super::SipError;
use super::clients::Purpose;
use super::core::Core;
use super::digits;
use super::event::DialogEvent;
use super::flow::TransactionId;
use super::leg::{By, Bye, Ending, Leg, Offered, Phase};
use super::reply::put;
use super::uac::{again, attach};
use crate::wire::{Field, Message, Method, StartLine};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How often a re-INVITE that collided is tried again.
const MAX_COLLISIONS: u8 = 5;

impl Leg {
    /// Whether requests can be sent in the dialog.
    pub(crate) fn up(&self) -> Result<(), SipError> {
        match self.phase {
            _ if self.ended => Err(SipError::Ended),
            Phase::Up => Ok(()),
            _ => Err(SipError::NotNow("a request within the dialog")),
        }
    }

    /// Offers a changed session.
    pub(crate) fn reinvite(&mut self, core: &mut Core, now: Instant, sdp: Bytes) -> Result<(), SipError> {
        self.up()?;
        // One offer at a time, in either direction (RFC 3264 §4, RFC 3261 §14.1).
        if self.offered.is_some() || self.served.is_some() || self.accepted.is_some() || self.late_ack.is_some() {
            return Err(SipError::NotNow("a re-INVITE while another offer is open"));
        }
        self.offered = Some(Offered { by: By::Invite, sdp, transaction: None, retry: None, collisions: 0 });
        self.offer_again(core, now);
        Ok(())
    }

    /// Offers a changed session by UPDATE.
    pub(crate) fn update(&mut self, core: &mut Core, now: Instant, sdp: Bytes) -> Result<(), SipError> {
        self.up()?;
        if self.offered.is_some() || self.served.is_some() || self.accepted.is_some() || self.late_ack.is_some() {
            return Err(SipError::NotNow("an UPDATE while another offer is open"));
        }
        self.offered = Some(Offered { by: By::Update, sdp, transaction: None, retry: None, collisions: 0 });
        self.offer_again(core, now);
        Ok(())
    }

    /// Sends the re-INVITE, for the first time or after a collision.
    pub(crate) fn offer_again(&mut self, core: &mut Core, now: Instant) {
        let Some(offered) = &mut self.offered else { return };
        offered.retry = None;
        if self.served.is_some() || self.accepted.is_some() {
            // Theirs is being answered: a little later, then.
            offered.retry = Some(now + Duration::from_millis(500));
            return;
        }
        let (sdp, by) = (offered.sdp.clone(), offered.by);
        let (method, purpose) = match by {
            By::Invite => (Method::Invite, Purpose::Reinvite),
            By::Update => (Method::Update, Purpose::Update),
        };
        let Some(mut message) = self.compose(core, method) else { return };
        attach(&mut message, Some(sdp));
        let transaction = self.send(core, now, message, purpose);
        if let Some(offered) = &mut self.offered {
            offered.transaction = Some(transaction);
        }
    }

    /// Sends a key by INFO.
    pub(crate) fn info_digit(
        &mut self,
        core: &mut Core,
        now: Instant,
        digit: char,
        duration_ms: u32,
    ) -> Result<(), SipError> {
        self.up()?;
        if !matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
            return Err(SipError::Digit(digit));
        }
        let Some(mut message) = self.compose(core, Method::Info) else { return Err(SipError::Ended) };
        put(&mut message.headers, Field::ContentType, "application/dtmf-relay");
        message.body = digits::relay_body(digit, duration_ms).into();
        self.send(core, now, message, Purpose::Info);
        Ok(())
    }

    /// Something became of a request within the dialog.
    pub(crate) fn request_outcome(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        purpose: Purpose,
        outcome: Result<(&Message, u16), u16>,
    ) {
        if let Ok((response, 401 | 407)) = outcome
            && let Some(again) = self.try_again(core, now, transaction, purpose, response)
        {
            match purpose {
                Purpose::Bye => self.bye = Bye::Sent(again),
                Purpose::Reinvite | Purpose::Update => {
                    if let Some(offered) = &mut self.offered {
                        offered.transaction = Some(again);
                    }
                }
                _ => {}
            }
            return;
        }
        let status = outcome.map_or_else(|status| status, |(_, status)| status);
        if status < 200 {
            return;
        }
        match purpose {
            Purpose::Bye => return self.bye_outcome(transaction),
            Purpose::Reinvite | Purpose::Update => self.offer_outcome(core, now, transaction, purpose, outcome),
            Purpose::Refer => self.refer_outcome(core, outcome),
            Purpose::Info | Purpose::Invite | Purpose::Cancel | Purpose::Forked => {}
        }
        // RFC 5057: the peer does not know the dialog, or is not there any more.
        match outcome {
            Ok((_, 481)) => {
                self.phase = Phase::Down;
                self.drop_served(core, now, 481);
                let reason = Some("the far end does not know the call".to_owned());
                self.end(core, now, Ending { by_remote: true, status: Some(481), reason, ..Ending::default() });
            }
            Ok((_, 408)) | Err(408) if !self.ended => {
                self.say_goodbye(core, now, None, Ending::failed(status));
            }
            _ => {}
        }
    }

    fn offer_outcome(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        purpose: Purpose,
        outcome: Result<(&Message, u16), u16>,
    ) {
        if let Ok((response, 200..=299)) = outcome {
            if let Some(dialog) = &mut self.dialog {
                dialog.refresh_target(response);
            }
            if purpose == Purpose::Reinvite
                && let Some(cseq) = core.clients.get(transaction).and_then(|client| client.request.cseq().ok())
            {
                self.send_ack(core, transaction, cseq.seq, None);
            }
        }
        let Some(offered) = self.offered.as_mut().filter(|offered| offered.transaction == Some(transaction)) else {
            return;
        };
        if let Ok((_, 491)) = outcome
            && offered.collisions < MAX_COLLISIONS
        {
            offered.collisions += 1;
            offered.transaction = None;
            // RFC 3261 §14.1: whoever made the Call-ID waits longer, so that the two do not meet again.
            let wait = if self.outgoing { 2_100 + core.names.below(191) * 10 } else { core.names.below(201) * 10 };
            offered.retry = Some(now + Duration::from_millis(wait.into()));
            return;
        }
        self.offered = None;
        if self.ended {
            return;
        }
        let event = match outcome {
            Ok((response, 200..=299)) => {
                DialogEvent::ReinviteAnswered { sdp: response.sdp().found().map(|sdp| sdp.to_vec()) }
            }
            Ok((response, status)) => DialogEvent::ReinviteFailed { status, reason: phrase(response) },
            Err(status) => DialogEvent::ReinviteFailed { status, reason: String::new() },
        };
        core.emit(self.id, event);
    }

    /// Answers a challenge within the dialog, once per request.
    fn try_again(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        purpose: Purpose,
        response: &Message,
    ) -> Option<TransactionId> {
        let request = core.clients.get(transaction)?.request.clone();
        let (digest, dialog) = (self.digest.as_mut()?, self.dialog.as_mut()?);
        let message = again(core, digest, request, dialog.next_cseq(), response)?;
        Some(self.send(core, now, message, purpose))
    }
}

/// The reason phrase of a response.
pub(crate) fn phrase(response: &Message) -> String {
    match &response.start {
        StartLine::Response { reason, .. } => reason.clone(),
        StartLine::Request { .. } => String::new(),
    }
}
