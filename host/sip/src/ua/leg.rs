//! A leg: one INVITE, the dialog it made, and all that goes on inside until nothing of it is left.
//!
//! What both directions share is here; [`super::uas`] and [`super::reliable`] have the incoming call before its answer,
//! [`super::uac`], [`super::forks`] and [`super::redirect`] the outgoing one, [`super::session`] what the peer asks
//! within the dialog, [`super::local`] what we ask, [`super::timers`] what keeps a session from being forgotten.

use super::SipError;
use super::agreed::Agreed;
use super::clients::{Owner, Purpose, Ways};
use super::core::Core;
use super::event::DialogEvent;
use super::flow::{Flow, LegId, TransactionId, Transmit};
use super::reason;
use super::redirect::{self, Redirect};
use super::refer::Referral;
use super::referred::Referred;
use super::reliable::Provisionals;
use super::reply::{ALLOW, Reply, put, supported};
use super::schedule::Due;
use super::timers::{Asked, Grant, SessionTimer};
use super::uac::{Calling, LateAck, authorise};
use crate::dialog::DialogState;
use crate::digest;
use crate::overload::TokenBucket;
use crate::wire::{Field, Message, Method};
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
    /// Our offer where it carried one, so that the ACK has to bring the answer.
    pub(crate) offer: Option<Bytes>,
    /// Whether its user knows nothing of it: the answer to a refresh.
    pub(crate) quiet: bool,
    pub(crate) at: Instant,
    pub(crate) wait: Duration,
    pub(crate) give_up: Instant,
}

/// What an offer of the peer came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Invite,
    Update,
    Prack,
}

/// A re-INVITE, UPDATE or PRACK of the peer that our user has yet to answer.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) transaction: TransactionId,
    pub(crate) kind: Kind,
    pub(crate) cseq: u32,
    /// The offer it brought; else our answer is one.
    pub(crate) offer: Option<Bytes>,
    pub(crate) grant: Option<Grant>,
    pub(crate) guard: Instant,
}

/// How long the user has to answer it. The peer's transaction lives for 32 s.
const SERVED_GUARD: Duration = Duration::from_secs(10);

impl Served {
    pub(crate) fn new(
        now: Instant,
        transaction: TransactionId,
        kind: Kind,
        cseq: u32,
        offer: Option<Bytes>,
        grant: Option<Grant>,
    ) -> Self {
        Self { transaction, kind, cseq, offer, grant, guard: now + SERVED_GUARD }
    }
}

/// A re-INVITE or UPDATE of ours.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) by: By,
    /// None for a refresh of the session, which repeats what we said last.
    pub(crate) sdp: Option<Bytes>,
    /// None while it waits to be sent again after a collision (491).
    pub(crate) transaction: Option<TransactionId>,
    pub(crate) retry: Option<Instant>,
    pub(crate) collisions: u8,
}

impl Offered {
    pub(crate) fn new(by: By, sdp: Option<Bytes>) -> Self {
        Self { by, sdp, transaction: None, retry: None, collisions: 0 }
    }
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
    /// The offer of an INVITE that has no answer yet.
    pub(crate) asked_us: Option<Bytes>,
    /// Branches of a fork that another one beat to the answer, and the number of our last request to each.
    pub(crate) left: Vec<(String, u32)>,
    /// The number of the INVITE that we have to answer.
    pub(crate) invite_cseq: u32,
    /// What both sides described last.
    pub(crate) agreed: Agreed,
    /// Our provisional responses.
    pub(crate) provisionals: Provisionals,
    /// Whether the peer takes UPDATE.
    pub(crate) peer_updates: bool,
    /// The session timer, what we ask for, and what the answer to the INVITE says of it.
    pub(crate) timer: Option<SessionTimer>,
    pub(crate) asked: Asked,
    pub(crate) grant: Option<Grant>,
    /// Where else the call may go.
    pub(crate) redirect: Redirect,
    pub(crate) accepted: Option<Accepted>,
    pub(crate) late_ack: Option<LateAck>,
    pub(crate) served: Option<Served>,
    pub(crate) offered: Option<Offered>,
    /// What its user offered while a refresh was on its way.
    pub(crate) queued: Option<Offered>,
    pub(crate) bye: Bye,
    /// The end that is not told before the outcome of a transfer is, or nobody waits for that any more.
    pub(crate) held: Option<Held>,
    pub(crate) referral: Option<Referral>,
    /// What the peer asked us to call, and whether it asked before.
    pub(crate) referred: Option<Referred>,
    pub(crate) referred_before: bool,
    /// Answers challenges, and remembers them for the later requests of the dialog.
    pub(crate) digest: Option<digest::Client>,
    /// Challenges within the dialog since a request was last taken.
    pub(crate) challenges: u8,
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
    pub(crate) fn new(core: &Core, id: LegId, call_id: Bytes, local_tag: String, phase: Phase) -> Self {
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
            asked_us: None,
            left: Vec::new(),
            invite_cseq: 0,
            agreed: Agreed::default(),
            provisionals: Provisionals::default(),
            peer_updates: false,
            timer: None,
            asked: Asked::of(&core.config.policy),
            grant: None,
            redirect: Redirect::default(),
            accepted: None,
            late_ack: None,
            served: None,
            offered: None,
            queued: None,
            bye: Bye::No,
            held: None,
            referral: None,
            referred: None,
            referred_before: false,
            digest: None,
            challenges: 0,
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
            (None, Phase::Calling(calling)) => calling.forks.with(tag).is_some(),
            (None, _) => false,
        }
    }

    /// What a message of the peer says of its abilities.
    pub(crate) fn note_abilities(&mut self, message: &Message) {
        if message.headers.contains(Field::Allow) {
            self.peer_updates = message.headers.lists(Field::Allow, "UPDATE");
        }
    }

    /// Whether nothing is left to be done, so that the leg can be forgotten.
    pub(crate) fn done(&self) -> bool {
        let settled = !matches!(self.phase, Phase::Ringing(_) | Phase::Calling(_)) && matches!(self.bye, Bye::No);
        self.ended && settled && self.referral.as_ref().is_none_or(|r| r.linger.is_none()) && self.referred.is_none()
    }

    /// Whether it is over, told or not.
    pub(crate) fn over(&self) -> bool {
        self.ended || self.held.is_some()
    }

    /// Whether an offer of ours is on its way.
    pub(crate) fn is_offering(&self) -> bool {
        self.offered.as_ref().is_some_and(|offered| offered.transaction.is_some())
    }

    /// Tells the user that it is over, once.
    pub(crate) fn end(&mut self, core: &mut Core, now: Instant, end: Ending) {
        if self.over() {
            return;
        }
        self.limit = None;
        self.refresh = None;
        self.late_ack = None;
        self.timer = None;
        self.offered = None;
        self.drop_served(core, now, 487);
        self.queued = None;
        self.provisionals.clear();
        self.referrer_left(core, now);
        if let Some(referral) = &mut self.referral {
            referral.dialog_ended(now + core.life());
            if end.by_remote && end.status.is_none() && referral.is_open() {
                self.held = Some(Held { end, until: now + REFERRAL_GRACE });
                return;
            }
        }
        self.tell_end(core, end);
    }

    /// The end that waited for the outcome of a transfer is told.
    pub(crate) fn release(&mut self, core: &mut Core) {
        if let Some(held) = self.held.take() {
            self.tell_end(core, held.end);
        }
    }

    fn tell_end(&mut self, core: &mut Core, end: Ending) {
        self.ended = true;
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
        if self.held.is_some() {
            self.release(core);
            return Ok(());
        }
        let header = reason.as_ref().map(|(cause, text)| reason::q850(*cause, text));
        match &self.phase {
            Phase::Ringing(_) => {
                let status = reason.as_ref().map_or(480, |(cause, _)| reason::status_for_cause(*cause));
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

    /// A new request in the dialog, or in the early one whose session is agreed on.
    pub(crate) fn compose(&mut self, core: &mut Core, method: Method) -> Option<Message> {
        let tag = self.partner()?;
        self.compose_towards(core, method, tag.as_deref())
    }

    /// A new request in the dialog with the peer of this tag.
    pub(crate) fn compose_towards(&mut self, core: &mut Core, method: Method, tag: Option<&str>) -> Option<Message> {
        let offers = matches!(method, Method::Invite | Method::Update);
        let refreshes = offers || method == Method::Refer;
        let dialog = self.dialog_with(tag)?;
        let seq = dialog.next_cseq();
        let mut message = dialog.request(method, seq);
        if refreshes {
            put(&mut message.headers, Field::Contact, self.contact.clone());
        }
        if offers {
            put(&mut message.headers, Field::Allow, ALLOW);
            put(&mut message.headers, Field::Supported, supported(core.config.policy.reliable));
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
    pub(crate) fn send(&mut self, core: &mut Core, now: Instant, message: Message, purpose: Purpose) -> TransactionId {
        let owner = Owner { leg: self.id, purpose };
        let tag = message.to().ok().and_then(|to| to.tag());
        match self.dialog_with(tag.as_deref()).map(|dialog| dialog.ways()) {
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
            self.provisionals.deadline(),
            self.timer.as_ref().map(SessionTimer::deadline),
            self.held.as_ref().map(|held| held.until),
            self.redirect.deadline(),
            self.referred.as_ref().and_then(Referred::deadline),
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
            self.after_prack(core, now);
        }
        self.provisional_due(core, now);
        self.timer_due(core, now);
        self.redirect_due(core, now);
        if self.held.as_ref().is_some_and(|held| held.until <= now) {
            self.release(core);
        }
        if self.offered.as_ref().is_some_and(|offered| offered.retry.is_some_and(|at| at <= now)) {
            self.offer_again(core, now);
        }
        if let Some(referral) = &mut self.referral
            && referral.linger.is_some_and(|at| at <= now)
        {
            self.referral = None;
        }
        self.referred_due(core, now);
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
        if self.over() || !matches!(self.phase, Phase::Up) {
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

/// How long the outcome of a transfer is waited for when the transferee hung up before it told: its NOTIFY was overtaken,
/// or lost and repeated twice.
const REFERRAL_GRACE: Duration = Duration::from_secs(5);

/// An end that is not told yet.
#[derive(Debug)]
pub(crate) struct Held {
    end: Ending,
    until: Instant,
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
            end.contacts = redirect::targets(response).iter().map(|uri| uri.text().into_owned()).collect();
        }
        end
    }

    /// No response at all, or none that could be sent for.
    pub(crate) fn failed(status: u16) -> Self {
        let reason = if status == 408 { "no response" } else { "the request could not be sent" };
        Self { by_remote: true, status: Some(status), reason: Some(reason.to_owned()), ..Self::default() }
    }
}
