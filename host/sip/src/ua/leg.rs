//! A leg: one INVITE, the dialog it made, and all that goes on inside until nothing of it is left.
//!
//! What both directions share is here; [`super::uas`] has the incoming call before its answer, [`super::uac`] the
//! outgoing one, [`super::session`] what the peer asks within the dialog, [`super::local`] what we ask.

use super::SipError;
use super::clients::{Owner, Purpose, Ways};
use super::core::Core;
use super::event::DialogEvent;
use super::flow::{Flow, LegId, TransactionId, Transmit};
use super::reason;
use super::refer::Referral;
use super::reply::Reply;
use super::schedule::Due;
use super::uac::{Calling, LateAck, authorise};
use crate::dialog::DialogState;
use crate::digest;
use crate::overload::TokenBucket;
use crate::wire::{Field, Message, Method, NameAddr};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Where the INVITE stands.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Theirs, and not answered yet.
    Ringing(TransactionId),
    /// Ours, and not answered yet.
    Calling(Calling),
    /// Answered with a 2xx.
    Up,
    /// Refused, or over.
    Down,
}

/// A 2xx of ours to an INVITE, sent again until its ACK comes (RFC 3261 §13.3.1.4), over TCP as well.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) cseq: u32,
    pub(crate) bytes: Bytes,
    pub(crate) flow: Flow,
    /// Whether it carried our offer, so that the ACK has to bring the answer.
    pub(crate) offer: bool,
    pub(crate) at: Instant,
    pub(crate) wait: Duration,
    pub(crate) give_up: Instant,
}

/// A re-INVITE or UPDATE of the peer that our user has yet to answer.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) transaction: TransactionId,
    pub(crate) invite: bool,
    pub(crate) cseq: u32,
    /// Whether it brought an offer; else our answer is one.
    pub(crate) offer: bool,
    pub(crate) guard: Instant,
}

/// A re-INVITE or UPDATE of ours.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) by: By,
    pub(crate) sdp: Bytes,
    /// None while it waits to be sent again after a collision (491).
    pub(crate) transaction: Option<TransactionId>,
    pub(crate) retry: Option<Instant>,
    pub(crate) collisions: u8,
}

/// What an offer of ours goes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Invite,
    Update,
}

/// Our BYE.
#[derive(Debug)]
pub(crate) enum Bye {
    No,
    /// To be sent when the ACK of our 2xx came, or will not come any more (RFC 3261 §15).
    Wanted(Option<Bytes>),
    Sent(TransactionId),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) call_id: Bytes,
    pub(crate) local_tag: String,
    pub(crate) phase: Phase,
    /// There from the INVITE on where it was theirs, from the 2xx on where it was ours.
    pub(crate) dialog: Option<DialogState>,
    /// Whether the user was told that it is over. Nothing is told after that.
    pub(crate) ended: bool,
    /// Our `Contact`.
    pub(crate) contact: Bytes,
    pub(crate) outgoing: bool,
    /// Whether the INVITE brought an offer.
    pub(crate) offer: bool,
    pub(crate) accepted: Option<Accepted>,
    pub(crate) late_ack: Option<LateAck>,
    pub(crate) served: Option<Served>,
    pub(crate) offered: Option<Offered>,
    pub(crate) bye: Bye,
    pub(crate) referral: Option<Referral>,
    /// Answers challenges, and remembers them for the later requests of the dialog.
    pub(crate) digest: Option<digest::Client>,
    /// When ringing ends.
    pub(crate) limit: Option<Instant>,
    /// When the provisional response is sent again, so that proxies do not give up (§13.3.1.1).
    pub(crate) refresh: Option<Instant>,
    /// The name already handed out for looking up.
    pub(crate) looked_up: Option<super::NextHop>,
    /// How many requests the peer may still make.
    pub(crate) pace: TokenBucket,
    /// Whether the caller's `Expires` sets the limit: then its end is a 487 (RFC 3261 §13.3.1).
    pub(crate) expires: bool,
    armed: Option<Instant>,
}

impl Leg {
    pub(crate) fn new(id: LegId, call_id: Bytes, local_tag: String, phase: Phase) -> Self {
        Self {
            id,
            call_id,
            local_tag,
            phase,
            dialog: None,
            ended: false,
            contact: Bytes::new(),
            outgoing: false,
            offer: false,
            accepted: None,
            late_ack: None,
            served: None,
            offered: None,
            bye: Bye::No,
            referral: None,
            digest: None,
            limit: None,
            refresh: None,
            looked_up: None,
            pace: TokenBucket::default(),
            expires: false,
            armed: None,
        }
    }

    /// Whether a request with this `From` tag is of this leg.
    pub(crate) fn is_with(&self, tag: Option<&str>) -> bool {
        match (&self.dialog, &self.phase) {
            (Some(dialog), _) => dialog.is_with(tag),
            (None, Phase::Calling(calling)) => tag.is_some_and(|tag| calling.early.iter().any(|early| early == tag)),
            (None, _) => false,
        }
    }

    /// Whether nothing is left to be done, so that the leg can be forgotten.
    pub(crate) fn done(&self) -> bool {
        let settled = !matches!(self.phase, Phase::Ringing(_) | Phase::Calling(_)) && matches!(self.bye, Bye::No);
        self.ended && settled && self.referral.as_ref().is_none_or(|r| r.linger.is_none())
    }

    /// Tells the user that it is over, once.
    pub(crate) fn end(&mut self, core: &mut Core, now: Instant, end: Ending) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.limit = None;
        self.refresh = None;
        self.late_ack = None;
        if let Some(referral) = &mut self.referral {
            referral.dialog_ended(now + core.life());
        }
        let Ending { by_remote, status, reason, q850, contacts } = end;
        core.emit(self.id, DialogEvent::Ended { by_remote, status, reason, q850, contacts });
    }

    /// Ends the leg by whatever fits its phase: a refusal, a CANCEL, a BYE.
    pub(crate) fn hang_up(
        &mut self,
        core: &mut Core,
        now: Instant,
        reason: Option<(u8, String)>,
    ) -> Result<(), SipError> {
        if self.ended {
            return Err(SipError::Ended);
        }
        let header = reason.as_ref().map(|(cause, text)| reason::q850(*cause, text));
        match &self.phase {
            Phase::Ringing(_) => {
                let status = reason.as_ref().map_or(480, |(cause, _)| reason::status_for(*cause));
                let mut reply = Reply::new(status);
                if let Some(header) = header {
                    reply = reply.header(Field::Reason, header);
                }
                self.refuse(core, now, reply);
            }
            Phase::Calling(_) => {
                self.end(core, now, Ending::ours(Some(487)));
                self.cancel(core, now, header);
            }
            Phase::Up => self.say_goodbye(core, now, header, Ending::ours(None)),
            Phase::Down => return Err(SipError::Ended),
        }
        Ok(())
    }

    /// BYE now, or when the ACK has come.
    pub(crate) fn say_goodbye(&mut self, core: &mut Core, now: Instant, reason: Option<Bytes>, end: Ending) {
        self.acknowledge_empty(core);
        self.end(core, now, end);
        self.offered = None;
        self.drop_served(core, now, 487);
        if !matches!(self.bye, Bye::No) {
            return;
        }
        if self.accepted.is_some() {
            self.bye = Bye::Wanted(reason);
        } else {
            self.send_bye(core, now, reason);
        }
    }

    pub(crate) fn send_bye(&mut self, core: &mut Core, now: Instant, reason: Option<Bytes>) {
        self.phase = Phase::Down;
        let Some(mut bye) = self.compose(core, Method::Bye) else {
            self.bye = Bye::No;
            return;
        };
        if let Some(reason) = reason {
            bye.headers.push_checked(Field::Reason.into(), reason);
        }
        self.bye = Bye::Sent(self.send(core, now, bye, Purpose::Bye));
    }

    /// The peer's re-INVITE or UPDATE gets no answer of the user any more.
    pub(crate) fn drop_served(&mut self, core: &mut Core, now: Instant, status: u16) {
        if let Some(served) = self.served.take() {
            core.respond(now, served.transaction, Reply::new(status));
        }
    }

    /// A new request in the dialog.
    pub(crate) fn compose(&mut self, core: &mut Core, method: Method) -> Option<Message> {
        let dialog = self.dialog.as_mut()?;
        let seq = dialog.next_cseq();
        let refreshes = matches!(method, Method::Invite | Method::Refer | Method::Update);
        let mut message = dialog.request(method, seq);
        if refreshes {
            message.headers.push_checked(Field::Contact.into(), self.contact.clone());
        }
        if !core.config.user_agent.is_empty() {
            let name = Bytes::copy_from_slice(core.config.user_agent.as_bytes());
            message.headers.push_checked(Field::UserAgent.into(), name);
        }
        if let Some(digest) = &mut self.digest {
            authorise(core, digest, &mut message);
        }
        Some(message)
    }

    /// Sends a request of this dialog the way the dialog goes.
    pub(crate) fn send(&self, core: &mut Core, now: Instant, message: Message, purpose: Purpose) -> TransactionId {
        let owner = Owner { leg: self.id, purpose };
        match self.dialog.as_ref().map(DialogState::ways) {
            Some((flow, others)) => {
                let flow = core.settle_listener(flow);
                core.request_by(now, message, Ways { flow, or_tcp: false, others }, owner)
            }
            // Not reached: a request is composed from a dialog.
            None => core.next_transaction(),
        }
    }

    /// The earliest of the leg's own timers.
    fn deadline(&self) -> Option<Instant> {
        [
            self.limit,
            self.refresh,
            self.accepted.as_ref().map(|a| a.at.min(a.give_up)),
            self.served.as_ref().map(|s| s.guard),
            self.offered.as_ref().and_then(|o| o.retry),
            self.referral.as_ref().and_then(|r| r.linger),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn arm(&mut self, core: &mut Core) {
        let deadline = self.deadline();
        core.schedule.arm(&mut self.armed, deadline, Due::Leg(self.id));
    }

    pub(crate) fn due(&mut self, core: &mut Core, now: Instant) {
        self.armed = None;
        if self.limit.is_some_and(|at| at <= now) {
            self.limit = None;
            self.rang_out(core, now);
        }
        if self.refresh.is_some_and(|at| at <= now) {
            self.refresh = Some(now + PROVISIONAL_REFRESH);
            if let Phase::Ringing(transaction) = self.phase {
                core.resend_last(transaction);
            }
        }
        if let Some(accepted) = &mut self.accepted {
            if accepted.give_up <= now {
                self.accepted = None;
                self.unacknowledged(core, now);
            } else if accepted.at <= now {
                accepted.wait = (accepted.wait * 2).min(core.config.timing.t2);
                accepted.at = now + accepted.wait;
                let transmit = Transmit { flow: accepted.flow, bytes: accepted.bytes.clone(), transaction: None };
                core.stats.retransmissions_sent += 1;
                core.transmit(transmit);
            }
        }
        if self.served.as_ref().is_some_and(|served| served.guard <= now) {
            tracing::warn!(sip_call = %self.name(), "a re-INVITE was not answered by the call in time");
            self.drop_served(core, now, 500);
        }
        if self.offered.as_ref().is_some_and(|offered| offered.retry.is_some_and(|at| at <= now)) {
            self.offer_again(core, now);
        }
        if let Some(referral) = &mut self.referral
            && referral.linger.is_some_and(|at| at <= now)
        {
            self.referral = None;
        }
    }

    /// How long it may ring is over.
    fn rang_out(&mut self, core: &mut Core, now: Instant) {
        match self.phase {
            Phase::Ringing(_) => self.refuse(core, now, Reply::new(if self.expires { 487 } else { 480 })),
            Phase::Calling(_) => {
                let end = Ending { reason: Some("nobody answered".to_owned()), ..Ending::ours(Some(408)) };
                self.end(core, now, end);
                self.cancel(core, now, None);
            }
            Phase::Up | Phase::Down => {}
        }
    }

    /// Our 2xx was never acknowledged: the session is there and has to be taken down (RFC 3261 §13.3.1.4).
    fn unacknowledged(&mut self, core: &mut Core, now: Instant) {
        let reason = match std::mem::replace(&mut self.bye, Bye::No) {
            Bye::Wanted(reason) => reason,
            Bye::Sent(transaction) => {
                self.bye = Bye::Sent(transaction);
                return;
            }
            Bye::No => Some(reason::sip(408, "no ACK")),
        };
        let end = Ending {
            by_remote: true,
            status: Some(408),
            reason: Some("our answer was never acknowledged".to_owned()),
            ..Ending::default()
        };
        self.say_goodbye(core, now, reason, end);
    }

    /// Hands out the name of the next hop for looking up, once per name, and not before the call is answered: a
    /// stranger's INVITE alone makes no work for the resolver.
    pub(crate) fn look_up(&mut self, core: &mut Core) {
        if self.ended || !matches!(self.phase, Phase::Up) {
            return;
        }
        let Some(lookup) = self.dialog.as_ref().and_then(DialogState::lookup) else { return };
        if self.looked_up.as_ref() != Some(&lookup) {
            self.looked_up = Some(lookup.clone());
            core.outputs.push_back(super::Output::Resolve { leg: self.id, hop: lookup });
        }
    }

    /// For the logs.
    pub(crate) fn name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.call_id)
    }
}

/// RFC 3261 §13.3.1.1 says every minute, since proxies wait for three.
pub(crate) const PROVISIONAL_REFRESH: Duration = Duration::from_secs(60);

/// How a leg ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    pub(crate) by_remote: bool,
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<String>,
    pub(crate) q850: Option<u8>,
    pub(crate) contacts: Vec<String>,
}

impl Ending {
    /// Our doing.
    pub(crate) fn ours(status: Option<u16>) -> Self {
        Self { status, ..Self::default() }
    }

    /// The peer's doing, in the words of its message.
    pub(crate) fn theirs(message: &Message, status: Option<u16>) -> Self {
        let (q850, text) = reason::read(message);
        Self { by_remote: true, status, reason: text, q850, contacts: Vec::new() }
    }

    /// A final response that is no success.
    pub(crate) fn refused(response: &Message, status: u16) -> Self {
        let mut end = Self::theirs(response, Some(status));
        if end.reason.is_none()
            && let crate::wire::StartLine::Response { reason, .. } = &response.start
        {
            end.reason = Some(reason.clone()).filter(|reason| !reason.is_empty());
        }
        if (300..400).contains(&status) {
            let contacts = response.addresses(Field::Contact).unwrap_or_default();
            end.contacts = contacts.iter().map(|c: &NameAddr| c.uri.text().into_owned()).take(16).collect();
        }
        end
    }

    /// No response at all, or none that could be sent for.
    pub(crate) fn failed(status: u16) -> Self {
        let reason = if status == 408 { "no response" } else { "the request could not be sent" };
        Self { by_remote: true, status: Some(status), reason: Some(reason.to_owned()), ..Self::default() }
    }
}
