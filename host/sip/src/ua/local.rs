//! What we ask within a dialog: re-INVITE, INFO, and what becomes of each request of ours.

use super::SipError;
use super::clients::Purpose;
use super::core::Core;
use super::digits;
use super::event::DialogEvent;
use super::flow::TransactionId;
use super::leg::{By, Bye, Ending, Leg, Offered, Phase};
use super::reply::put;
use super::uac::{MAX_CHALLENGES, again, attach};
use crate::wire::{Field, Message, Method, StartLine};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How often a re-INVITE that collided is tried again.
const MAX_COLLISIONS: u8 = 5;

impl Leg {
    /// Whether requests can be sent in the dialog.
    pub(crate) fn up(&self) -> Result<(), SipError> {
        match self.phase {
            _ if self.over() => Err(SipError::Ended),
            Phase::Up => Ok(()),
            _ => Err(SipError::NotNow("a request within the dialog")),
        }
    }

    /// Offers a changed session.
    pub(crate) fn reinvite(&mut self, core: &mut Core, now: Instant, sdp: Bytes) -> Result<(), SipError> {
        self.up()?;
        self.offer(core, now, Offered::new(By::Invite, Some(sdp)))
    }

    /// Offers a changed session by UPDATE.
    pub(crate) fn update(&mut self, core: &mut Core, now: Instant, sdp: Bytes) -> Result<(), SipError> {
        let (agreed, takes) = match &self.phase {
            _ if self.over() => return Err(SipError::Ended),
            Phase::Up => (true, self.peer_updates),
            Phase::Ringing(_) => (self.provisionals.agreed() && self.provisionals.is_settled(), self.peer_updates),
            Phase::Calling(calling) => match calling.forks.agreed() {
                Some(early) => (true, early.updates),
                None => (false, false),
            },
            Phase::Down => return Err(SipError::Ended),
        };
        if !agreed {
            return Err(SipError::NotNow("an UPDATE before the first offer has its answer"));
        }
        if !takes {
            return Err(SipError::NotNow("an UPDATE, which the far end does not allow,"));
        }
        self.offer(core, now, Offered::new(By::Update, Some(sdp)))
    }

    /// One offer at a time, in either direction (RFC 3264 §4, RFC 3261 §14.1).
    fn offer(&mut self, core: &mut Core, now: Instant, offer: Offered) -> Result<(), SipError> {
        let refreshing = self.offered.as_ref().is_some_and(|offered| offered.sdp.is_none());
        if refreshing && self.queued.is_none() {
            // Its user knows nothing of the refresh, and shall not have to wait for it.
            self.queued = Some(offer);
            return Ok(());
        }
        let quiet = self.accepted.as_ref().is_some_and(|accepted| accepted.quiet);
        let accepted = self.accepted.is_some() && !quiet;
        if self.offered.is_some() || self.served.is_some() || accepted || self.late_ack.is_some() {
            return Err(SipError::NotNow("an offer while another one is open"));
        }
        self.offered = Some(offer);
        self.offer_again(core, now);
        Ok(())
    }

    /// Sends the re-INVITE or UPDATE, for the first time or after a collision.
    pub(crate) fn offer_again(&mut self, core: &mut Core, now: Instant) {
        let Some(offered) = &mut self.offered else { return };
        offered.retry = None;
        if self.served.is_some() || self.accepted.is_some() {
            // Theirs is being answered: a little later, then.
            offered.retry = Some(now + Duration::from_millis(500));
            return;
        }
        let by = offered.by;
        let Some(sdp) = offered.sdp.clone().or_else(|| self.agreed.ours()) else { return };
        let (method, purpose) = match by {
            By::Invite => (Method::Invite, Purpose::Reinvite),
            By::Update => (Method::Update, Purpose::Update),
        };
        let Some(mut message) = self.compose(core, method) else {
            self.offered = None;
            return;
        };
        if matches!(self.phase, Phase::Up) {
            self.write_timer(&mut message);
        }
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
            && self.challenges < MAX_CHALLENGES
            && let Some(again) = self.try_again(core, now, transaction, purpose, response)
        {
            self.challenges += 1;
            match purpose {
                Purpose::Bye => self.bye = Bye::Sent(again),
                Purpose::Notify => self.notified_again(again),
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
        self.challenges = 0;
        match purpose {
            Purpose::Bye => return self.bye_outcome(transaction),
            Purpose::Notify => return self.notify_outcome(core, now, transaction, status),
            Purpose::Reinvite | Purpose::Update => self.offer_outcome(core, now, transaction, purpose, outcome),
            Purpose::Refer => self.refer_outcome(core, outcome),
            Purpose::Refresh => self.refresh_outcome(core, now, outcome),
            // Nothing follows from it for the call, whose INVITE has an end of its own.
            Purpose::Prack => return,
            Purpose::Info
            | Purpose::Invite
            | Purpose::Cancel
            | Purpose::Forked
            | Purpose::Register
            | Purpose::Probe => {}
        }
        // RFC 5057: the peer does not know the dialog, or is not there any more.
        match outcome {
            Ok((_, 481)) if !matches!(self.phase, Phase::Ringing(_) | Phase::Calling(_)) => {
                self.phase = Phase::Down;
                self.drop_served(core, now, 481);
                let reason = Some("the far end does not know the call".to_owned());
                self.end(core, now, Ending { by_remote: true, status: Some(481), reason, ..Ending::default() });
            }
            // Before the answer the INVITE tells what becomes of the call.
            Ok((_, 408)) | Err(408) if !self.over() && matches!(self.phase, Phase::Up) => {
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
        let sent = core.clients.get(transaction).map(|client| client.request.clone());
        let tag = sent.as_ref().and_then(|sent| sent.to().ok()).and_then(|to| to.tag());
        if let (Ok((response, 200..=299)), Some(sent)) = (outcome, &sent) {
            if let Some(dialog) = self.dialog_with(tag.as_deref()) {
                dialog.refresh_target(response);
            }
            if matches!(self.phase, Phase::Up) {
                self.note_abilities(response);
                self.timer_taken(core, now, response);
            }
            if purpose == Purpose::Reinvite
                && let Ok(cseq) = sent.cseq()
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
            return self.after_prack(core, now);
        }
        let refresh = offered.sdp.is_none();
        if let Ok((response, 422)) = outcome
            && self.raised(response)
        {
            return self.offer_again(core, now);
        }
        self.offered = None;
        if self.over() {
            return;
        }
        let event = match outcome {
            Ok((response, 200..=299)) => {
                let answer = response.sdp().found();
                let news = answer.as_ref().is_none_or(|answer| !self.agreed.is_known(answer));
                if let (Some(ours), Some(theirs)) = (sent.and_then(|sent| sent.sdp().found()), &answer) {
                    self.agreed.got(&ours, theirs);
                }
                (news || !refresh).then(|| DialogEvent::ReinviteAnswered { sdp: answer.map(|sdp| sdp.to_vec()) })
            }
            _ if refresh => {
                self.refresh_failed(now);
                None
            }
            Ok((response, status)) => Some(DialogEvent::ReinviteFailed { status, reason: phrase(response) }),
            Err(status) => Some(DialogEvent::ReinviteFailed { status, reason: String::new() }),
        };
        if let Some(event) = event {
            core.emit(self.id, event);
        }
        if let Some(queued) = self.queued.take() {
            self.offered = Some(queued);
            self.offer_again(core, now);
        }
        self.after_prack(core, now);
    }

    /// Answers a challenge within the dialog.
    fn try_again(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        purpose: Purpose,
        response: &Message,
    ) -> Option<TransactionId> {
        let request = core.clients.get(transaction)?.request.clone();
        let tag = request.to().ok()?.tag();
        self.digest.as_ref()?;
        let seq = self.dialog_with(tag.as_deref())?.next_cseq();
        let message = again(core, self.digest.as_mut()?, request, seq, response)?;
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
