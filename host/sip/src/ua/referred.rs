//! REFER of the peer: it asks us to call somebody else, and wants to hear how that goes (RFC 3515, 3892, 4488, 7647).
//!
//! The user decides within ten seconds. Accepted, the REFER makes a subscription inside the dialog, which outlives it:
//! whoever transfers a call hangs up as soon as it is accepted, most of the time.

use super::SipError;
use super::clients::Purpose;
use super::core::Core;
use super::event::DialogEvent;
use super::flow::TransactionId;
use super::leg::{Leg, Phase};
use super::reply::{Reply, put};
use crate::wire::{Field, Message, Method, reason_phrase};
use std::time::{Duration, Instant};

/// How long the user has to decide. The peer's transaction lives for 32 s.
const GUARD: Duration = Duration::from_secs(10);
/// How long it may take until the outcome is known: longer than a call rings.
const SUBSCRIPTION: Duration = Duration::from_secs(240);

/// One REFER of the peer.
#[derive(Debug)]
pub(crate) struct Referred {
    /// The `CSeq` of the REFER: names it where there was one before (RFC 3515 §2.4.6).
    id: u32,
    /// Whether its notifications have to say which REFER they are about.
    named: bool,
    /// Whether the peer wants no notifications (RFC 4488).
    silent: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The user has to decide.
    Asked(TransactionId, Instant),
    /// Accepted; told until then.
    Open {
        until: Instant,
        /// The NOTIFY that is not answered yet: one at a time, so that they arrive in order.
        sent: Option<TransactionId>,
        /// What to tell next.
        next: Option<(u16, String)>,
    },
}

impl Referred {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Asked(_, at) | Stage::Open { until: at, .. } => Some(at),
        }
    }
}

impl Leg {
    /// A REFER in this dialog.
    pub(crate) fn refer_came(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        request: &Message,
        cseq: u32,
    ) {
        let refused = match (&self.phase, &self.referred) {
            (Phase::Up, None) => None,
            (Phase::Up, Some(_)) => Some(Reply::new(491)),
            _ => Some(Reply::new(603)),
        };
        if let Some(reply) = refused {
            core.respond(now, transaction, reply);
            return;
        }
        // Exactly one (RFC 3515 §2.4.2).
        let one = request.headers.lines(Field::ReferTo).count() == 1;
        let Some(target) = request.refer_to().ok().flatten().filter(|_| one) else {
            core.respond(now, transaction, Reply::new(400).reason(Some("Bad Refer-To".to_owned())));
            return;
        };
        let silent = request.headers.get(Field::ReferSub);
        self.referred = Some(Referred {
            id: cseq,
            named: std::mem::replace(&mut self.referred_before, true),
            silent: silent.is_some_and(|value| value.to_ascii_lowercase().starts_with(b"false")),
            stage: Stage::Asked(transaction, now + GUARD),
        });
        let replaces = target.uri.header("Replaces");
        core.emit(
            self.id,
            DialogEvent::ReferRequested {
                target: target.uri.as_request_target().text().into_owned(),
                replaces: replaces.map(|value| String::from_utf8_lossy(&value).into_owned()),
                referred_by: request.headers.text(Field::ReferredBy),
            },
        );
    }

    /// The user's decision: 202, or a refusal.
    pub(crate) fn answer_refer(
        &mut self,
        core: &mut Core,
        now: Instant,
        decision: Result<(), u16>,
    ) -> Result<(), SipError> {
        let Some(Referred { stage: Stage::Asked(transaction, _), silent, .. }) = &self.referred else {
            return Err(SipError::NotNow("an answer to a REFER that is not there"));
        };
        let (transaction, silent) = (*transaction, *silent);
        if let Err(status) = decision {
            self.referred = None;
            core.respond(now, transaction, Reply::new(status.clamp(400, 699)));
            return Ok(());
        }
        let reply = Reply::new(202).in_dialog(self.contact.clone());
        let reply = if silent { reply.text(Field::ReferSub, "false") } else { reply };
        core.respond(now, transaction, reply);
        if let Some(referred) = &mut self.referred {
            referred.stage = Stage::Open { until: now + SUBSCRIPTION, sent: None, next: Some((100, String::new())) };
        }
        self.notify_next(core, now);
        Ok(())
    }

    /// How the call to the new target goes; 200 and more is the end of it.
    pub(crate) fn tell_referrer(
        &mut self,
        core: &mut Core,
        now: Instant,
        status: u16,
        reason: String,
    ) -> Result<(), SipError> {
        let Some(Referred { stage: Stage::Open { next, .. }, .. }) = &mut self.referred else {
            return Err(if self.ended { SipError::Ended } else { SipError::NotNow("progress of a transfer") });
        };
        *next = Some((status.clamp(100, 699), reason));
        self.notify_next(core, now);
        Ok(())
    }

    /// Sends what there is to tell, unless the NOTIFY before is still on its way.
    fn notify_next(&mut self, core: &mut Core, now: Instant) {
        let Some(Referred { stage: Stage::Open { until, sent, next }, silent, .. }) = &mut self.referred else {
            return;
        };
        if sent.is_some() {
            return;
        }
        let Some((status, reason)) = next.take() else { return };
        let left = until.saturating_duration_since(now).as_secs();
        let silent = *silent;
        if !silent {
            let state = if status >= 200 {
                "terminated;reason=noresource".to_owned()
            } else {
                format!("active;expires={left}")
            };
            let transaction = self.notify(core, now, &state, status, &reason);
            if let Some(Referred { stage: Stage::Open { sent, .. }, .. }) = &mut self.referred {
                *sent = transaction;
            }
        }
        if status >= 200 {
            self.referred = None;
        }
    }

    fn notify(
        &mut self,
        core: &mut Core,
        now: Instant,
        state: &str,
        status: u16,
        reason: &str,
    ) -> Option<TransactionId> {
        let referred = self.referred.as_ref()?;
        let event = if referred.named { format!("refer;id={}", referred.id) } else { "refer".to_owned() };
        let mut message = self.compose(core, Method::Notify)?;
        let reason = Some(reason).filter(|r| !r.is_empty() && !r.bytes().any(|b| b.is_ascii_control()));
        let reason = reason.unwrap_or_else(|| reason_phrase(status));
        put(&mut message.headers, Field::Contact, self.contact.clone());
        put(&mut message.headers, Field::Event, event);
        put(&mut message.headers, Field::SubscriptionState, state.to_owned());
        put(&mut message.headers, Field::ContentType, "message/sipfrag;version=2.0");
        message.body = format!("SIP/2.0 {status} {reason}\r\n").into();
        Some(self.send(core, now, message, Purpose::Notify))
    }

    /// A NOTIFY was challenged and sent again.
    pub(crate) fn notified_again(&mut self, again: TransactionId) {
        if let Some(Referred { stage: Stage::Open { sent, .. }, .. }) = &mut self.referred {
            *sent = Some(again);
        }
    }

    /// A NOTIFY has its final answer, or gets none. A peer that does not know it ends the subscription, and nothing
    /// else (RFC 5057 §5.1).
    pub(crate) fn notify_outcome(&mut self, core: &mut Core, now: Instant, transaction: TransactionId, status: u16) {
        let Some(Referred { stage: Stage::Open { sent, .. }, .. }) = &mut self.referred else { return };
        if *sent != Some(transaction) {
            return;
        }
        *sent = None;
        if status >= 300 {
            self.referred = None;
        } else {
            self.notify_next(core, now);
        }
    }

    /// The dialog is over. What is not decided is refused; what is open has as long as a late message may take.
    pub(crate) fn referrer_left(&mut self, core: &mut Core, now: Instant) {
        match self.referred.as_mut().map(|referred| &mut referred.stage) {
            Some(Stage::Asked(transaction, _)) => {
                let transaction = *transaction;
                self.referred = None;
                core.respond(now, transaction, Reply::new(603));
            }
            Some(Stage::Open { until, .. }) => *until = (*until).min(now + SUBSCRIPTION.min(4 * core.life())),
            None => {}
        }
    }

    pub(crate) fn referred_due(&mut self, core: &mut Core, now: Instant) {
        let Some(referred) = self.referred.as_ref().filter(|r| r.deadline().is_some_and(|at| at <= now)) else {
            return;
        };
        match referred.stage {
            Stage::Asked(transaction, _) => {
                self.referred = None;
                core.respond(now, transaction, Reply::new(603));
            }
            Stage::Open { .. } => {
                if !referred.silent {
                    self.notify(core, now, "terminated;reason=timeout", 100, "");
                }
                self.referred = None;
            }
        }
    }
}
