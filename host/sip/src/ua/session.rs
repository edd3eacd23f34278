//! What the peer asks within a dialog (RFC 3261 §12.2.2, §14.2, §15; RFC 3311; RFC 6086).

use super::SipError;
use super::core::Core;
use super::digits;
use super::event::DialogEvent;
use super::flow::{Flow, TransactionId};
use super::leg::{Ending, Leg, Phase, Served};
use super::reply::{ACCEPT_INFO, ALLOW, Reply, SUPPORTED};
use crate::dialog::Order;
use crate::wire::{Body, Field, Message, Method};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long the user has to answer a re-INVITE. The peer's transaction lives for 32 s.
const SERVED_GUARD: Duration = Duration::from_secs(10);

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
        if let Some(dialog) = &mut self.dialog {
            if dialog.order(cseq.seq, method) == Order::Late {
                core.respond(now, transaction, Reply::new(500).reason(Some("Out Of Order".to_owned())));
                return;
            }
            dialog.seen_on(flow);
        }
        match method {
            Method::Bye => self.bye_came(core, now, transaction, request),
            Method::Notify => {
                let status = self.notified(core, request);
                let reply = Reply::new(status);
                let reply = if status == 489 { reply.text(Field::AllowEvents, "refer") } else { reply };
                core.respond(now, transaction, reply);
            }
            _ if self.ended => {
                core.respond(now, transaction, Reply::new(481));
            }
            Method::Invite => self.reinvite_came(core, now, transaction, request, cseq.seq),
            Method::Update => self.update_came(core, now, transaction, request, cseq.seq),
            Method::Info => self.info_came(core, now, transaction, request),
            Method::Refer => {
                core.respond(now, transaction, Reply::new(603));
                let target = request.refer_to().ok().flatten();
                let target = target.map(|to| to.uri.text().into_owned()).unwrap_or_default();
                core.emit(self.id, DialogEvent::ReferRequested { target });
            }
            Method::Options => {
                core.respond(now, transaction, capabilities());
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
        if let Some(reply) = self.refuse_offer(core) {
            core.respond(now, transaction, reply);
            return;
        }
        // It shows that the peer has our 2xx, though its ACK was overtaken.
        self.taken_as_acknowledged(core);
        if let Some(dialog) = &mut self.dialog {
            dialog.refresh_target(request);
        }
        core.respond(now, transaction, Reply::new(100));
        self.serve(core, now, transaction, true, cseq, request.sdp().found());
    }

    fn update_came(&mut self, core: &mut Core, now: Instant, transaction: TransactionId, request: &Message, cseq: u32) {
        let offer = request.sdp().found();
        if offer.is_some()
            && let Some(reply) = self.refuse_offer(core)
        {
            core.respond(now, transaction, reply);
            return;
        }
        if let Some(dialog) = &mut self.dialog {
            dialog.refresh_target(request);
        }
        if offer.is_none() {
            core.respond(now, transaction, Reply::new(200).in_dialog(self.contact.clone()).text(Field::Allow, ALLOW));
            return;
        }
        self.serve(core, now, transaction, false, cseq, offer);
    }

    /// What an offer gets that comes at the wrong time (RFC 3261 §14.2, RFC 3311 §5.2).
    fn refuse_offer(&self, core: &mut Core) -> Option<Reply> {
        let waiting = matches!(self.phase, Phase::Ringing(_)) || self.served.is_some();
        if waiting {
            // Theirs is not answered yet.
            let seconds = core.names.below(11).to_string();
            return Some(Reply::new(500).header(Field::RetryAfter, seconds));
        }
        let ours = self.offered.as_ref().is_some_and(|offered| offered.transaction.is_some());
        // The ACK of our 2xx is on its way, and brings the answer to our offer.
        let late = self.accepted.as_ref().is_some_and(|accepted| accepted.offer);
        (ours || late || matches!(self.phase, Phase::Calling(_)) || self.late_ack.is_some()).then(|| Reply::new(491))
    }

    fn serve(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        invite: bool,
        cseq: u32,
        sdp: Option<Bytes>,
    ) {
        self.served = Some(Served { transaction, invite, cseq, offer: sdp.is_some(), guard: now + SERVED_GUARD });
        core.emit(self.id, DialogEvent::Reinvite { sdp: sdp.map(|sdp| sdp.to_vec()) });
    }

    /// The user's answer to a re-INVITE or UPDATE.
    pub(crate) fn answer_reinvite(
        &mut self,
        core: &mut Core,
        now: Instant,
        result: Result<Bytes, u16>,
    ) -> Result<(), SipError> {
        let served = self.served.take().ok_or(if self.ended {
            SipError::Ended
        } else {
            SipError::NotNow("an answer to a re-INVITE that is not there")
        })?;
        match result {
            Ok(sdp) if served.invite => {
                self.accept(core, now, served.transaction, served.cseq, !served.offer, sdp);
            }
            Ok(sdp) => {
                let reply = Reply::new(200).in_dialog(self.contact.clone()).text(Field::Allow, ALLOW).sdp(Some(sdp));
                core.respond(now, served.transaction, reply);
            }
            Err(status) => {
                core.respond(now, served.transaction, Reply::new(status.clamp(400, 699)));
            }
        }
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
pub(crate) fn capabilities() -> Reply {
    Reply::new(200)
        .text(Field::Allow, ALLOW)
        .text(Field::Accept, super::reply::ACCEPT)
        .text(Field::AcceptEncoding, "identity")
        .text(Field::AllowEvents, "refer")
        .text(Field::Supported, SUPPORTED)
}
