//! The outgoing call until its answer (RFC 3261 §13.2), with digest, forks and CANCEL.

use super::SipError;
use super::clients::{Owner, Purpose, Ways};
use super::core::Core;
use super::event::DialogEvent;
use super::flow::{Flow, LegId, TransactionId};
use super::forks::Forks;
use super::leg::{Bye, Ending, Leg, Phase};
use super::policy::{Redirects, Reliable};
use super::reason;
use super::redirect::Redirect;
use super::reply::{ALLOW, put, supported};
use super::timers::Asked;
use crate::dialog::DialogState;
use crate::wire::{Field, HeaderName, Message, Method, NameAddr, Uri};
use bytes::Bytes;
use std::time::{Duration, Instant};

use crate::digest::{self, Credentials};

/// A call to place.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Whom to call: the request URI and `To`.
    pub target: Uri,
    /// Who calls: the URI in `From`.
    pub from: Uri,
    /// The display name in `From`.
    pub display_name: Option<String>,
    /// The way to the next hop.
    pub flow: Flow,
    /// Whether a large INVITE may go by TCP, the transport being our choice.
    pub or_tcp: bool,
    /// Tried one after the other where the first fails, keeps silent or answers 503 (RFC 3263 §4.3).
    pub others: Vec<Flow>,
    /// `Route` values, nearest first; `flow` leads to the first.
    pub routes: Vec<Bytes>,
    /// What to answer a 401 or 407 with.
    pub credentials: Option<Credentials>,
    /// Further header fields, checked already.
    pub headers: Vec<(HeaderName, Bytes)>,
    /// The offer; none asks for the far end's.
    pub offer: Option<Vec<u8>>,
    /// How long it may ring.
    pub ring_timeout: Duration,
    /// Which redirects are followed.
    pub redirects: Redirects,
    /// Whether the flow leads to a proxy, which redirected calls go by as well; else they go where they are sent.
    pub by_proxy: bool,
}

/// An INVITE of ours without a final response.
#[derive(Debug)]
pub(crate) struct Calling {
    pub(crate) invite: TransactionId,
    /// The early dialogs that provisional responses made.
    pub(crate) forks: Forks,
    cancel: Cancel,
    challenges: u8,
}

#[derive(Debug)]
enum Cancel {
    No,
    /// To be sent with the first provisional response (§9.1).
    Wanted(Option<Bytes>),
    Sent,
}

/// A 2xx with the peer's offer, to be acknowledged with our answer.
#[derive(Debug)]
pub(crate) struct LateAck {
    invite: TransactionId,
    cseq: u32,
    offer: Bytes,
}

/// An INVITE to be sent once more: elsewhere, or with what the far end missed in it.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) message: Message,
    /// At first where the one before went.
    pub(crate) ways: Ways,
}

impl Again {
    pub(crate) fn of(core: &Core, transaction: TransactionId) -> Option<Self> {
        core.clients.get(transaction).map(|client| Self { message: client.request.clone(), ways: client.flow.into() })
    }
}

/// How often one request is sent again with an answer to a challenge: a proxy's, the server's, a stale nonce.
pub(crate) const MAX_CHALLENGES: u8 = 3;

impl Leg {
    /// Places a call.
    pub(crate) fn outgoing(core: &mut Core, now: Instant, id: LegId, call: Invite) -> Self {
        let (call_id, tag) = (Bytes::from(core.names.call_id()), core.names.tag());
        let mut message = Message::request(Method::Invite, call.target.as_request_target());
        let headers = &mut message.headers;
        put(headers, Field::Via, Bytes::new());
        put(headers, Field::MaxForwards, "70");
        for route in call.routes {
            put(headers, Field::Route, route);
        }
        put(
            headers,
            Field::From,
            NameAddr::new(call.display_name.as_deref(), call.from.clone()).with_tag(&tag).to_bytes(),
        );
        put(headers, Field::To, NameAddr::new(None, call.target.as_request_target()).to_bytes());
        put(headers, Field::CallId, call_id.clone());
        put(headers, Field::CSeq, "1 INVITE");
        let contact = core.contact(&call.flow, &call.from);
        put(headers, Field::Contact, contact.clone());
        put(headers, Field::Allow, ALLOW);
        let reliable = core.config.policy.reliable;
        put(headers, Field::Supported, supported(reliable));
        if reliable == Reliable::Required {
            put(headers, Field::Require, "100rel");
        }
        if !core.config.user_agent.is_empty() {
            put(headers, Field::UserAgent, core.config.user_agent.clone());
        }
        for (name, value) in call.headers {
            headers.push_checked(name, value);
        }
        let asked = Asked::of(&core.config.policy);
        asked.write(&mut message);
        let offer = call.offer.is_some();
        attach(&mut message, call.offer.map(Bytes::from));
        let owner = Owner { leg: id, purpose: Purpose::Invite };
        let invite =
            core.request_by(now, message, Ways { flow: call.flow, or_tcp: call.or_tcp, others: call.others }, owner);
        let calling = Calling { invite, forks: Forks::default(), cancel: Cancel::No, challenges: 0 };
        let mut leg = Self::new(core, id, call_id, tag, Phase::Calling(calling));
        leg.outgoing = true;
        leg.redirect = Redirect::new(call.redirects, call.by_proxy, call.target.as_request_target());
        leg.offer = offer;
        leg.contact = contact;
        leg.digest = call.credentials.map(digest::Client::new);
        leg.limit = Some(now + call.ring_timeout);
        leg
    }

    /// Gives the INVITE up: CANCEL now, or with the first sign of life.
    pub(crate) fn cancel(&mut self, core: &mut Core, now: Instant, reason: Option<Bytes>) {
        if self.redirect_given_up() {
            return;
        }
        let Phase::Calling(calling) = &mut self.phase else { return };
        if !matches!(calling.cancel, Cancel::No) {
            return;
        }
        core.give_up(calling.invite);
        if core.clients.unanswered(calling.invite) {
            calling.cancel = Cancel::Wanted(reason);
        } else {
            calling.cancel = Cancel::Sent;
            core.cancel(now, calling.invite, reason);
        }
    }

    /// Something became of the INVITE that made the leg.
    pub(crate) fn invite_outcome(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        outcome: Result<(&Message, u16, Flow), u16>,
    ) {
        match outcome {
            Ok((response, status @ 200..=299, flow)) => self.answered(core, now, transaction, response, status, flow),
            _ if !self.is_calling(transaction) => {}
            Ok((response, status @ ..=199, flow)) => self.provisional_came(core, now, response, status, flow),
            Ok((response, 401 | 407, _)) if self.challenged(core, now, transaction, response) => {}
            Ok((response, 422, _)) if !self.over() && self.timer_refused(core, now, transaction, response) => {}
            Ok((response, status, _)) if self.redirected(core, now, transaction, response, status) => {}
            Ok((response, status, _)) => {
                self.phase = Phase::Down;
                self.end(core, now, Ending::refused(response, status));
            }
            Err(status) => {
                self.phase = Phase::Down;
                self.end(core, now, Ending::failed(status));
            }
        }
    }

    fn is_calling(&self, transaction: TransactionId) -> bool {
        matches!(&self.phase, Phase::Calling(calling) if calling.invite == transaction)
    }

    fn provisional_came(&mut self, core: &mut Core, now: Instant, response: &Message, status: u16, flow: Flow) {
        let Phase::Calling(calling) = &mut self.phase else { return };
        if let Cancel::Wanted(_) = &calling.cancel
            && let Cancel::Wanted(reason) = std::mem::replace(&mut calling.cancel, Cancel::Sent)
        {
            core.cancel(now, calling.invite, reason);
        }
        if status > 100 {
            self.early_came(core, now, response, status, flow);
        }
    }

    fn answered(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        response: &Message,
        status: u16,
        flow: Flow,
    ) {
        if !self.is_calling(transaction) {
            let tag = response.to().ok().and_then(|to| to.tag());
            let known = self.dialog.as_ref().is_some_and(|dialog| dialog.is_with(tag.as_deref()));
            // The 2xx that still waits for our answer, again; else another branch of a fork picked up as well.
            if !known {
                let sent = self.sent_to(tag.as_deref());
                core.acknowledge_and_leave(now, transaction, self.id, response, flow, sent);
            }
            return;
        }
        let Some(client) = core.clients.get(transaction) else { return };
        let Ok(cseq) = client.request.cseq() else { return };
        let dialog = DialogState::from_response(&client.request, self.local_tag.clone(), response, flow);
        let offer = client.request.sdp().found();
        let mut dialog = match dialog {
            Ok(dialog) => dialog,
            Err(error) => {
                tracing::warn!(sip_call = %self.name(), %error, status, "the answer cannot be acknowledged");
                self.phase = Phase::Down;
                let reason = Some(format!("the answer cannot be read: {error}"));
                self.end(core, now, Ending { by_remote: true, status: Some(502), reason, ..Ending::default() });
                return;
            }
        };
        // The server that answers may have been reached from another address of ours than the first.
        if let Some(contact) = client.request.headers.get(Field::Contact) {
            self.contact = contact.clone();
        }
        let before = self.branch_answered(&mut dialog);
        self.dialog = Some(dialog);
        self.phase = Phase::Up;
        self.limit = None;
        self.note_abilities(response);
        let said = response.sdp().found();
        if self.ended {
            // Our CANCEL and this answer crossed: take it and hang up (§15.1.1 has no other way).
            self.send_ack(core, transaction, cseq.seq, None);
            self.send_bye(core, now, Some(reason::sip(487, "cancelled")));
            return;
        }
        self.timer_taken(core, now, response);
        let mut sdp = said;
        if let Some(ours) = offer {
            sdp = if before.agreed {
                // Nothing is an answer any more, and the early one may have been updated since; but some say with the
                // answer that all is different now.
                let last = if before.kept { self.agreed.answer() } else { before.answer.clone() };
                sdp.filter(|sdp| before.answer.as_ref() != Some(sdp)).or(last)
            } else {
                sdp.or(before.answer)
            };
            if let Some(theirs) = sdp.as_ref().filter(|theirs| !self.agreed.is_known(theirs)) {
                let ours = self.agreed.ours().filter(|_| before.kept).unwrap_or(ours);
                self.agreed.got(&ours, theirs);
            }
            self.send_ack(core, transaction, cseq.seq, None);
        } else if before.agreed {
            // Everything is said (RFC 6337 §2.2).
            sdp = None;
            self.send_ack(core, transaction, cseq.seq, None);
        } else if let Some(offer) = sdp.clone().or(before.owed) {
            self.late_ack = Some(LateAck { invite: transaction, cseq: cseq.seq, offer });
        } else {
            self.send_ack(core, transaction, cseq.seq, None);
            let end = Ending { reason: Some("the answer made no offer".to_owned()), ..Ending::ours(Some(488)) };
            self.say_goodbye(core, now, Some(reason::sip(488, "no offer")), end);
            return;
        }
        core.emit(self.id, DialogEvent::Answered { sdp: sdp.map(|sdp| sdp.to_vec()) });
    }

    /// Acknowledges the 2xx that brought the peer's offer, with our answer.
    pub(crate) fn ack(&mut self, core: &mut Core, now: Instant, sdp: Bytes) -> Result<(), SipError> {
        if let Some(done) = self.answer_early(core, now, &sdp) {
            return done;
        }
        let late = self.late_ack.take().ok_or(if self.ended {
            SipError::Ended
        } else {
            SipError::NotNow("an ACK with a session description")
        })?;
        self.agreed.given(&late.offer, &sdp);
        self.send_ack(core, late.invite, late.cseq, Some(sdp));
        Ok(())
    }

    /// The call ends before its user answered the peer's offer: the 2xx is acknowledged all the same, before the BYE.
    pub(crate) fn acknowledge_empty(&mut self, core: &mut Core) {
        if let Some(late) = self.late_ack.take() {
            self.send_ack(core, late.invite, late.cseq, None);
        }
    }

    /// The ACK of a 2xx: CSeq number and credentials of the INVITE, a transaction of its own.
    pub(crate) fn send_ack(&self, core: &mut Core, invite: TransactionId, cseq: u32, sdp: Option<Bytes>) {
        let Some(dialog) = &self.dialog else { return };
        let mut ack = dialog.request(Method::Ack, cseq);
        if let Some(client) = core.clients.get(invite) {
            for field in [Field::Authorization, Field::ProxyAuthorization] {
                ack.headers.copy(field, &client.request.headers);
            }
        }
        attach(&mut ack, sdp);
        let flow = core.settle_listener(dialog.flow());
        core.acknowledge(invite, dialog.remote_tag.clone(), ack, flow);
    }

    /// Tries again with an answer to the challenge; false when there is none to give.
    fn challenged(&mut self, core: &mut Core, now: Instant, transaction: TransactionId, response: &Message) -> bool {
        let Phase::Calling(calling) = &mut self.phase else { return false };
        if !matches!(calling.cancel, Cancel::No) || calling.challenges >= MAX_CHALLENGES {
            return false;
        }
        let Some(client) = core.clients.get(transaction) else { return false };
        let (request, flow) = (client.request.clone(), client.flow);
        let (Some(digest), Ok(cseq)) = (&mut self.digest, request.cseq()) else { return false };
        let Some(message) = again(core, digest, request, cseq.seq + 1, response) else { return false };
        calling.challenges += 1;
        let owner = Owner { leg: self.id, purpose: Purpose::Invite };
        let invite = core.request(now, message, flow, false, owner);
        self.start_over(invite);
        true
    }

    /// Sends the INVITE once more, as a new one of the same call.
    pub(crate) fn invite_once_more(&mut self, core: &mut Core, now: Instant, again: Again) {
        let Again { mut message, ways } = again;
        let seq = message.cseq().map_or(1, |cseq| cseq.seq.saturating_add(1));
        message.headers.set_checked(Field::CSeq, Bytes::from(format!("{seq} INVITE")));
        let owner = Owner { leg: self.id, purpose: Purpose::Invite };
        let invite = core.request_by(now, message, ways, owner);
        self.start_over(invite);
    }
}

/// The request once more, with an answer to the challenge in `response`; `None` where it cannot be answered, or the
/// credentials were refused.
pub(crate) fn again(
    core: &mut Core,
    digest: &mut digest::Client,
    mut request: Message,
    cseq: u32,
    response: &Message,
) -> Option<Message> {
    digest.challenged(response).ok()?;
    let method = request.method()?.clone();
    request.headers.set_checked(Field::CSeq, Bytes::from(format!("{cseq} {method}")));
    authorise(core, digest, &mut request);
    Some(request)
}

/// Adds credentials for every realm that asked so far.
pub(crate) fn authorise(core: &mut Core, digest: &mut digest::Client, request: &mut Message) {
    let (Some(method), Some(uri)) = (request.method(), request.request_uri()) else { return };
    let lines = digest.authorize(method, uri.as_bytes(), &core.names.tag());
    for field in [Field::Authorization, Field::ProxyAuthorization] {
        request.headers.remove(field);
    }
    for (field, value) in lines {
        put(&mut request.headers, field, value);
    }
}

/// Gives a message of ours a session description.
pub(crate) fn attach(message: &mut Message, sdp: Option<Bytes>) {
    if let Some(sdp) = sdp {
        put(&mut message.headers, Field::ContentType, "application/sdp");
        message.body = sdp;
    }
}

impl Core {
    /// A 2xx that nobody waits for – the second of a fork, or after the leg is gone – is acknowledged and ended at
    /// once, as one unit (RFC 3261 §13.2.2.4). `sent` is the number of the last request in its early dialog.
    pub(crate) fn acknowledge_and_leave(
        &mut self,
        now: Instant,
        invite: TransactionId,
        leg: LegId,
        response: &Message,
        flow: Flow,
        sent: u32,
    ) {
        let Some(client) = self.clients.get(invite) else { return };
        let Ok(from) = client.request.from() else { return };
        // The answer to a re-INVITE needs its ACK and no BYE: the dialog it is of has its own end.
        let reinvite = client.owner.purpose == Purpose::Reinvite;
        let tag = from.tag().unwrap_or_default();
        let Ok(cseq) = client.request.cseq() else { return };
        let Ok(mut dialog) = DialogState::from_response(&client.request, tag, response, flow) else { return };
        let flow = self.settle_listener(dialog.flow());
        let ack = dialog.request(Method::Ack, cseq.seq);
        self.acknowledge(invite, dialog.remote_tag.clone(), ack, flow);
        if !reinvite {
            dialog.after(sent);
            let seq = dialog.next_cseq();
            let bye = dialog.request(Method::Bye, seq);
            self.request(now, bye, flow, false, Owner { leg, purpose: Purpose::Forked });
        }
    }
}

impl Leg {
    /// Our BYE has its answer, or will get none.
    pub(crate) fn bye_outcome(&mut self, transaction: TransactionId) {
        if matches!(self.bye, Bye::Sent(sent) if sent == transaction) {
            self.bye = Bye::No;
        }
    }
}
