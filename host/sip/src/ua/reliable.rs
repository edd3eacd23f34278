//! Our reliable provisional responses (RFC 3262 §3): one at a time, sent again until its PRACK comes.

use super::SipError;
use super::core::Core;
use super::event::DialogEvent;
use super::flow::{Flow, TransactionId, Transmit};
use super::leg::{Ending, Kind, Leg, PROVISIONAL_REFRESH, Phase, Served};
use super::policy::Reliable;
use super::reason;
use super::reply::Reply;
use crate::wire::{Field, Message, Method};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Provisional responses that may wait for the PRACK of the one before.
const MAX_WAITING: usize = 8;

/// How far offer and answer got before the call is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Exchange {
    #[default]
    Open,
    /// Our offer went out reliably and waits for the answer in the PRACK.
    Offered(Bytes),
    Done,
}

/// A reliable provisional response without its PRACK.
#[derive(Debug)]
struct Unconfirmed {
    rseq: u32,
    cseq: u32,
    bytes: Bytes,
    flow: Flow,
    /// Whether it has a description: then the 2xx waits for its PRACK (§3).
    described: bool,
    at: Instant,
    wait: Duration,
    give_up: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Provisionals {
    /// Whether the caller knows them, and whether it insists.
    known: bool,
    required: bool,
    /// Whether a network between us and the caller lets early media pass for those alone who ask (RFC 5009).
    gated: bool,
    /// Of the last one; 0 before the first.
    rseq: u32,
    unconfirmed: Option<Unconfirmed>,
    /// `RSeq` and `CSeq` of one that the answer overtook: its PRACK may be on its way.
    overtaken: Option<(u32, u32)>,
    waiting: VecDeque<(u16, Option<Bytes>)>,
    /// The 2xx that its user wants sent, as soon as nothing holds it back.
    answer: Option<Bytes>,
    exchange: Exchange,
}

impl Provisionals {
    /// What a caller that sent this INVITE gets.
    pub(crate) fn towards(invite: &Message, policy: Reliable) -> Self {
        let required = invite.headers.lists(Field::Require, "100rel");
        let known = required || invite.headers.lists(Field::Supported, "100rel");
        Self {
            known: known && policy != Reliable::Off,
            required: required || policy == Reliable::Required,
            gated: invite.headers.lists(Field::PEarlyMedia, "supported"),
            ..Self::default()
        }
    }

    /// Plain ringing is worth no extra round trip unless the caller insists.
    fn reliably(&self, described: bool) -> bool {
        self.known && (self.required || described)
    }

    /// Asks for leave to be heard before the answer, and to hear, where that has to be asked for.
    fn asking(&self, reply: Reply, described: bool) -> Reply {
        if described && self.gated { reply.text(Field::PEarlyMedia, "sendrecv") } else { reply }
    }

    /// Whether nothing waits for its PRACK.
    pub(crate) fn is_settled(&self) -> bool {
        self.unconfirmed.is_none()
    }

    /// Whether the first offer has its answer, so that another may be made.
    pub(crate) fn agreed(&self) -> bool {
        self.exchange == Exchange::Done
    }

    pub(crate) fn offering(&self) -> bool {
        matches!(self.exchange, Exchange::Offered(_))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.unconfirmed.as_ref().map(|unconfirmed| unconfirmed.at.min(unconfirmed.give_up))
    }

    /// The INVITE has its final response: nothing is repeated or waited for any more.
    pub(crate) fn clear(&mut self) {
        self.unconfirmed = None;
        self.waiting.clear();
        self.answer = None;
    }
}

impl Leg {
    /// 180, or 183 with a description.
    pub(crate) fn provisional(&mut self, core: &mut Core, now: Instant, sdp: Option<Bytes>) -> Result<(), SipError> {
        let transaction = self.ringing()?;
        if self.provisionals.answer.is_some() {
            return Err(SipError::NotNow("a provisional response after the answer"));
        }
        let status = if sdp.is_some() { 183 } else { 180 };
        // What was said reliably is not said again: it could only be taken for another offer.
        let sdp = sdp.filter(|sdp| !(self.provisionals.agreed() && self.agreed.ours().as_ref() == Some(sdp)));
        if sdp.is_some() && self.provisionals.exchange != Exchange::Open {
            return Err(SipError::NotNow("another description in a provisional response; an UPDATE is"));
        }
        if self.provisionals.reliably(sdp.is_some()) {
            if self.provisionals.unconfirmed.is_none() {
                self.provisional_reliably(core, now, transaction, status, sdp);
            } else if self.provisionals.waiting.len() >= MAX_WAITING {
                return Err(SipError::NotNow("one more provisional response while others wait to be acknowledged"));
            } else if !self.provisionals.waiting.contains(&(status, sdp.clone())) {
                self.provisionals.waiting.push_back((status, sdp));
            }
            return Ok(());
        }
        if sdp.is_some() && !self.offer {
            // RFC 3261 §13.2.1: an offer goes in a message that is sure to arrive.
            return Err(SipError::NotNow("an offer before the answer, to a caller that does not know 100rel,"));
        }
        let reply = Reply::new(status).in_dialog(self.contact.clone());
        let reply = self.provisionals.asking(reply, sdp.is_some());
        core.respond(now, transaction, reply.sdp(sdp));
        self.refresh = Some(now + PROVISIONAL_REFRESH);
        Ok(())
    }

    fn provisional_reliably(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        status: u16,
        sdp: Option<Bytes>,
    ) {
        let cseq = self.invite_cseq;
        let provisionals = &mut self.provisionals;
        // §3: the first is random, each further one higher by one.
        provisionals.rseq = match provisionals.rseq {
            0 => 1 + core.names.below(1 << 30),
            last => last + 1,
        };
        let reply = Reply::new(status)
            .in_dialog(self.contact.clone())
            .text(Field::Allow, super::reply::ALLOW)
            .text(Field::Require, "100rel")
            .header(Field::RSeq, provisionals.rseq.to_string());
        let reply = provisionals.asking(reply, sdp.is_some()).sdp(sdp.clone());
        let Some((bytes, flow)) = core.respond(now, transaction, reply) else { return };
        let timing = core.config.timing;
        provisionals.unconfirmed = Some(Unconfirmed {
            rseq: provisionals.rseq,
            cseq,
            bytes,
            flow,
            described: sdp.is_some(),
            at: now + timing.t1,
            wait: timing.t1,
            give_up: now + timing.transaction_life(),
        });
        if let Some(sdp) = sdp {
            match &self.asked_us {
                Some(offer) => {
                    self.agreed.given(offer, &sdp);
                    provisionals.exchange = Exchange::Done;
                }
                None => provisionals.exchange = Exchange::Offered(sdp),
            }
        }
        self.refresh = Some(now + PROVISIONAL_REFRESH);
    }

    /// Repeats what waits for its PRACK, and gives up in the end.
    pub(crate) fn provisional_due(&mut self, core: &mut Core, now: Instant) {
        let Some(unconfirmed) = &mut self.provisionals.unconfirmed else { return };
        if unconfirmed.give_up <= now {
            let reply = Reply::new(504).header(Field::Reason, reason::sip(504, "no PRACK"));
            let end = Ending {
                by_remote: true,
                status: Some(504),
                reason: Some("our provisional response was never acknowledged".to_owned()),
                ..Ending::default()
            };
            self.refuse_with(core, now, reply, end);
        } else if unconfirmed.at <= now {
            // Without a ceiling (§3).
            unconfirmed.wait *= 2;
            unconfirmed.at = now + unconfirmed.wait;
            let transmit = Transmit { flow: unconfirmed.flow, bytes: unconfirmed.bytes.clone(), transaction: None };
            core.stats.retransmissions_sent += 1;
            core.transmit(transmit);
        }
    }

    /// A PRACK came. It has a transaction of its own, so a repetition never gets here.
    pub(crate) fn prack_came(&mut self, core: &mut Core, now: Instant, transaction: TransactionId, prack: &Message) {
        let Ok(Some(rack)) = prack.rack() else {
            core.respond(now, transaction, Reply::new(400).reason(Some("Bad Request (RAck)".to_owned())));
            return;
        };
        let of = |open: &mut Unconfirmed| {
            open.rseq == rack.rseq && open.cseq == rack.cseq.seq && rack.cseq.method == Method::Invite
        };
        let late = |open: &mut (u32, u32)| *open == (rack.rseq, rack.cseq.seq) && rack.cseq.method == Method::Invite;
        if self.provisionals.overtaken.take_if(late).is_some() {
            // §3: it is taken after the answer as well. A 481 would tell the caller that there is no call.
            let described = prack.sdp().found().is_some();
            core.respond(now, transaction, Reply::new(if described { 488 } else { 200 }));
            return;
        }
        if !matches!(self.phase, Phase::Ringing(_)) || self.provisionals.unconfirmed.take_if(of).is_none() {
            core.respond(now, transaction, Reply::new(481));
            return;
        }
        let sdp = prack.sdp().found();
        match (std::mem::take(&mut self.provisionals.exchange), sdp) {
            (Exchange::Offered(ours), Some(answer)) => {
                core.respond(now, transaction, Reply::new(200));
                self.agreed.got(&ours, &answer);
                self.provisionals.exchange = Exchange::Done;
                core.emit(self.id, DialogEvent::EarlyAnswer { sdp: answer.to_vec() });
            }
            (Exchange::Offered(_), None) => {
                core.respond(now, transaction, Reply::new(200));
                let reply = Reply::new(488).header(Field::Reason, reason::sip(488, "no answer in PRACK"));
                let end = Ending { reason: Some("our offer was not answered".to_owned()), ..Ending::ours(Some(488)) };
                return self.refuse_with(core, now, reply, end);
            }
            (Exchange::Done, Some(offer)) => {
                self.provisionals.exchange = Exchange::Done;
                if self.served.is_some() || self.is_offering() {
                    core.respond(now, transaction, Reply::new(491));
                } else {
                    let served = Served::new(now, transaction, Kind::Prack, 0, Some(offer), None);
                    self.serve(core, served);
                }
            }
            (Exchange::Open, Some(_)) => {
                // Its first offer has no answer yet (RFC 3264 §4).
                core.respond(now, transaction, Reply::new(488));
            }
            (exchange, None) => {
                self.provisionals.exchange = exchange;
                core.respond(now, transaction, Reply::new(200));
            }
        }
        self.after_prack(core, now);
    }

    /// What waited for a PRACK, or for the answer to an early offer, goes on.
    pub(crate) fn after_prack(&mut self, core: &mut Core, now: Instant) {
        let Phase::Ringing(transaction) = self.phase else { return };
        if self.provisionals.answer.is_some() {
            if !self.holds_answer() {
                let sdp = self.provisionals.answer.take();
                self.answer_now(core, now, transaction, sdp);
            }
        } else if self.provisionals.unconfirmed.is_none()
            && let Some((status, sdp)) = self.provisionals.waiting.pop_front()
        {
            self.provisional_reliably(core, now, transaction, status, sdp);
        }
    }

    /// Whether the 2xx has to wait: for the PRACK of a description (§3), or for the answer to an offer that came
    /// meanwhile.
    fn holds_answer(&self) -> bool {
        self.provisionals.unconfirmed.as_ref().is_some_and(|open| open.described)
            || self.served.is_some()
            || self.is_offering()
    }

    /// 200 with a description: the answer, or our offer where the INVITE had none.
    pub(crate) fn answer(&mut self, core: &mut Core, now: Instant, sdp: Bytes) -> Result<(), SipError> {
        let transaction = self.ringing()?;
        if self.provisionals.answer.is_some() {
            return Err(SipError::NotNow("a second answer"));
        }
        self.provisionals.waiting.clear();
        if self.holds_answer() {
            self.provisionals.answer = Some(sdp);
        } else {
            self.answer_now(core, now, transaction, Some(sdp));
        }
        Ok(())
    }

    fn answer_now(&mut self, core: &mut Core, now: Instant, transaction: TransactionId, sdp: Option<Bytes>) {
        // What was agreed in provisional responses is not said again (RFC 6337 §2.2).
        let sdp = sdp.filter(|_| !self.provisionals.agreed());
        self.provisionals.overtaken = self.provisionals.unconfirmed.as_ref().map(|open| (open.rseq, open.cseq));
        self.provisionals.clear();
        let (offer, grant) = (self.asked_us.take(), self.grant.take());
        self.accept(core, now, transaction, self.invite_cseq, offer, sdp, grant);
        self.phase = Phase::Up;
        self.limit = None;
        self.refresh = None;
    }
}
