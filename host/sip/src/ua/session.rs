//! What the peer asks within a dialog (RFC 3261 §12.2.2, §14.2, §15; RFC 3311; RFC 6086).

use super::SipError;
use super::core::Core;
use super::digits;
use super::event::DialogEvent;
use super::flow::{Flow, TransactionId};
use super::leg::{Ending, Kind, Leg, Phase, Served};
use super::policy::Reliable;
use super::reply::{ACCEPT_INFO, ALLOW, Reply, supported};
use super::timers::{self, Grant};
use crate::dialog::Order;
use crate::wire::{Body, Field, Message, Method};
use bytes::Bytes;
use std::time::Instant;

impl Leg {
    /// A request of this dialog, other than ACK and CANCEL, in a transaction of its own.
    pub(crate) fn requested(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        method: &Method,
        request: &Message,
        flow: Flow,
    ) {
        let Ok(cseq) = request.cseq() else { return };
        let from = request.from().ok().and_then(|from| from.tag());
        if let Some(dialog) = self.dialog_with(from.as_deref()) {
            if dialog.order(cseq.seq, method) == Order::Late {
                core.respond(now, transaction, Reply::new(500).reason(Some("Out Of Order".to_owned())));
                return;
            }
            dialog.seen_on(flow);
        }
        if matches!(method, Method::Invite | Method::Update) {
            self.note_abilities(request);
        }
        match method {
            Method::Bye => self.bye_came(core, now, transaction, request),
            Method::Notify => {
                let status = self.notified(core, request);
                let reply = Reply::new(status);
                let reply = if status == 489 { reply.text(Field::AllowEvents, "refer") } else { reply };
                core.respond(now, transaction, reply);
            }
            _ if self.over() => {
                core.respond(now, transaction, Reply::new(481));
            }
            Method::Invite => self.reinvite_came(core, now, transaction, request, cseq.seq),
            Method::Update => self.update_came(core, now, transaction, request, from.as_deref()),
            Method::Prack => self.prack_came(core, now, transaction, request),
            Method::Info => self.info_came(core, now, transaction, request),
            Method::Refer => self.refer_came(core, now, transaction, request, cseq.seq),
            Method::Subscribe => {
                core.respond(now, transaction, bad_event());
            }
            Method::Options => {
                let reply = capabilities(core.config.policy.reliable, ALLOW);
                core.respond(now, transaction, reply);
            }
            _ => {
                core.respond(now, transaction, Reply::new(405).text(Field::Allow, ALLOW));
            }
        }
    }

    fn bye_came(&mut self, core: &mut Core, now: Instant, transaction: TransactionId, bye: &Message) {
        core.respond(now, transaction, Reply::new(200));
        match self.phase {
            // Allowed to the caller only, and the same as a CANCEL.
            Phase::Ringing(invite) => {
                core.respond(now, invite, Reply::new(487));
            }
            // A callee may not (§15); the final response to our INVITE says what is.
            Phase::Calling(_) => return,
            Phase::Up | Phase::Down => {}
        }
        self.phase = Phase::Down;
        // BYE before ACK: our 2xx arrived, that much is clear.
        self.accepted = None;
        self.offered = None;
        self.provisionals.clear();
        if matches!(self.bye, super::leg::Bye::Wanted(_)) {
            self.bye = super::leg::Bye::No;
        }
        self.drop_served(core, now, 487);
        self.end(core, now, Ending::theirs(bye, None));
    }

    fn reinvite_came(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        request: &Message,
        cseq: u32,
    ) {
        let grant = match self.refuse_offer(core).map_or_else(|| self.grant_for(core, request), Err) {
            Ok(grant) => grant,
            Err(reply) => {
                core.respond(now, transaction, reply);
                return;
            }
        };
        // It shows that the peer has our 2xx, though its ACK was overtaken.
        self.taken_as_acknowledged(core);
        if let Some(dialog) = &mut self.dialog {
            dialog.refresh_target(request);
        }
        core.respond(now, transaction, Reply::new(100));
        let offer = request.sdp().found();
        if let Some(answer) = offer.as_ref().and_then(|offer| self.agreed.repeated(offer)) {
            self.accept(core, now, transaction, cseq, offer, Some(answer), grant);
            if let Some(accepted) = &mut self.accepted {
                accepted.quiet = true;
            }
            return;
        }
        self.serve(core, Served::new(now, transaction, Kind::Invite, cseq, offer, grant));
    }

    fn update_came(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        request: &Message,
        from: Option<&str>,
    ) {
        let offer = request.sdp().found();
        let refusal = offer.as_ref().and_then(|_| self.refuse_update(core, from));
        let grant = match refusal.map_or_else(|| self.grant_for(core, request), Err) {
            Ok(grant) => grant,
            Err(reply) => {
                core.respond(now, transaction, reply);
                return;
            }
        };
        if let Some(dialog) = self.dialog_with(from) {
            dialog.refresh_target(request);
        }
        let answer = offer.as_ref().and_then(|offer| self.agreed.repeated(offer));
        if offer.is_none() || answer.is_some() {
            return self.accept_update(core, now, transaction, answer, grant);
        }
        self.serve(core, Served::new(now, transaction, Kind::Update, 0, offer, grant));
    }

    /// 200 to an UPDATE.
    fn accept_update(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        answer: Option<Bytes>,
        grant: Option<Grant>,
    ) {
        // The timer is that of the session, which an early dialog has not yet.
        let grant = grant.filter(|_| matches!(self.phase, Phase::Up));
        let reply = Reply::new(200)
            .in_dialog(self.contact.clone())
            .text(Field::Allow, ALLOW)
            .text(Field::Supported, supported(core.config.policy.reliable))
            .granting(grant)
            .sdp(answer);
        if core.respond(now, transaction, reply).is_some() && matches!(self.phase, Phase::Up) {
            self.granted(now, grant);
        }
    }

    fn grant_for(&self, core: &Core, request: &Message) -> Result<Option<Grant>, Reply> {
        timers::grant(&core.config.policy, request, self.timer.as_ref())
    }

    /// What an offer gets that comes at the wrong time (RFC 3261 §14.2).
    fn refuse_offer(&self, core: &mut Core) -> Option<Reply> {
        if matches!(self.phase, Phase::Ringing(_)) || self.served.is_some() {
            return Some(not_yet(core));
        }
        (self.is_busy() || matches!(self.phase, Phase::Calling(_))).then(|| Reply::new(491))
    }

    /// The same for an UPDATE, which may come before the INVITE has its answer (RFC 3311 §5.2).
    fn refuse_update(&self, core: &mut Core, from: Option<&str>) -> Option<Reply> {
        match &self.phase {
            _ if self.served.is_some() => Some(not_yet(core)),
            // The offer of their INVITE is not answered yet.
            Phase::Ringing(_) if self.asked_us.is_some() && !self.provisionals.agreed() => Some(not_yet(core)),
            Phase::Ringing(_) if self.provisionals.offering() => Some(Reply::new(491)),
            // Without a word of ours there is nothing to update.
            Phase::Ringing(_) if !self.provisionals.agreed() => Some(not_yet(core)),
            Phase::Calling(calling) => match calling.forks.agreed() {
                Some(early) if early.is(from) => self.is_busy().then(|| Reply::new(491)),
                // One session at a time: what another branch of the fork would change is not heard.
                Some(_) => Some(Reply::new(488)),
                None => Some(Reply::new(491)),
            },
            _ => self.is_busy().then(|| Reply::new(491)),
        }
    }

    /// Whether an offer of ours has no answer yet, or an answer of theirs is still on its way.
    fn is_busy(&self) -> bool {
        let late = self.accepted.as_ref().is_some_and(|accepted| accepted.offer.is_some());
        self.is_offering() || late || self.late_ack.is_some()
    }

    pub(crate) fn serve(&mut self, core: &mut Core, served: Served) {
        let sdp = served.offer.as_ref().map(|sdp| sdp.to_vec());
        self.served = Some(served);
        core.emit(self.id, DialogEvent::Reinvite { sdp });
    }

    /// The user's answer to a re-INVITE, UPDATE or PRACK.
    pub(crate) fn answer_reinvite(
        &mut self,
        core: &mut Core,
        now: Instant,
        result: Result<Bytes, u16>,
    ) -> Result<(), SipError> {
        let served = self.served.take().ok_or(if self.over() {
            SipError::Ended
        } else {
            SipError::NotNow("an answer to a re-INVITE that is not there")
        })?;
        let Served { transaction, kind, cseq, offer, grant, .. } = served;
        match (result, kind) {
            (Ok(sdp), Kind::Invite) => self.accept(core, now, transaction, cseq, offer, Some(sdp), grant),
            (Ok(sdp), Kind::Update | Kind::Prack) => {
                if let Some(offer) = &offer {
                    self.agreed.given(offer, &sdp);
                }
                if kind == Kind::Update {
                    self.accept_update(core, now, transaction, Some(sdp), grant);
                } else {
                    core.respond(now, transaction, Reply::new(200).sdp(Some(sdp)));
                }
            }
            (Err(status), _) => {
                core.respond(now, transaction, Reply::new(status.clamp(400, 699)));
            }
        }
        self.after_prack(core, now);
        Ok(())
    }

    fn info_came(&mut self, core: &mut Core, now: Instant, transaction: TransactionId, request: &Message) {
        if request.headers.contains("Info-Package") {
            // RFC 6086 §4.2.2: we have invited to none.
            core.respond(now, transaction, Reply::new(469));
            return;
        }
        let (relay, plain) = (request.body_of("application/dtmf-relay"), request.body_of("application/dtmf"));
        let digit = match (relay, plain) {
            (Body::Empty, _) => {
                core.respond(now, transaction, Reply::new(200));
                return;
            }
            (Body::Found(body), _) => digits::parse(true, &body),
            (_, Body::Found(body)) => digits::parse(false, &body),
            _ => {
                core.respond(now, transaction, Reply::new(415).text(Field::Accept, ACCEPT_INFO));
                return;
            }
        };
        // What is no digit (hook flash, say) is taken and means nothing here.
        core.respond(now, transaction, Reply::new(200));
        if let Some((digit, duration_ms)) = digit {
            core.emit(self.id, DialogEvent::Digit { digit, duration_ms });
        }
    }
}

/// What OPTIONS is answered with.
pub(crate) fn capabilities(reliable: Reliable, allow: &'static str) -> Reply {
    Reply::new(200)
        .text(Field::Allow, allow)
        .text(Field::Accept, super::reply::ACCEPT)
        .text(Field::AcceptEncoding, "identity")
        .text(Field::AllowEvents, "refer")
        .text(Field::Supported, supported(reliable))
}

/// What a request outside of any dialog gets that is no call and asks for nothing we have; `None` for all others.
pub(crate) fn outside(request: &Message, method: &Method) -> Option<Reply> {
    let event = request.headers.text(Field::Event);
    match (method, event) {
        // RFC 6665 §4.2.1.3; without the field it is no subscription, but a method that is not allowed.
        (Method::Subscribe, Some(_)) => Some(bad_event()),
        // Registrars tell of waiting messages unasked (RFC 3842). A refusal would only be told again.
        (Method::Notify, Some(event)) if is_event(&event, "message-summary") => Some(Reply::new(200)),
        _ => None,
    }
}

fn is_event(value: &str, package: &str) -> bool {
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(package)
}

/// What a subscription gets: there is nothing here to subscribe to, but the course of a transfer (RFC 6665 §4.2.1.3).
pub(crate) fn bad_event() -> Reply {
    Reply::new(489).text(Field::AllowEvents, "refer")
}

/// An offer of theirs is open already (RFC 3261 §14.2): later, at a moment that two of us do not choose alike.
fn not_yet(core: &mut Core) -> Reply {
    let seconds = core.names.below(11).to_string();
    Reply::new(500).header(Field::RetryAfter, seconds)
}
