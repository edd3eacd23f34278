//! The incoming call until its answer, and the ACK of each answer of ours (RFC 3261 §13.3).

use super::SipError;
use super::core::Core;
use super::event::{DialogEvent, Identity, InviteInfo};
use super::flow::{Flow, LegId, TransactionId};
use super::leg::{Accepted, Bye, Ending, Leg, Phase};
use super::reason;
use super::reliable::Provisionals;
use super::reply::{ALLOW, Reply, supported};
use super::timers::Grant;
use crate::dialog::DialogState;
use crate::wire::{Field, HeaderName, Message, NameAddr};
use bytes::Bytes;
use std::time::{Duration, Instant};

impl Leg {
    /// A leg for an INVITE outside of any dialog. `flow` is the way it came.
    pub(crate) fn incoming(
        core: &Core,
        now: Instant,
        id: LegId,
        invite: &Message,
        dialog: DialogState,
        offer: Option<Bytes>,
        transaction: TransactionId,
    ) -> Self {
        let phase = Phase::Ringing(transaction);
        let mut leg = Self::new(core, id, dialog.call_id.clone(), dialog.local_tag.clone(), phase);
        if let Some(uri) = invite.request_uri() {
            leg.contact = core.contact(&dialog.made_on(), uri);
        }
        leg.offer = offer.is_some();
        leg.asked_us = offer;
        leg.invite_cseq = dialog.remote_cseq().unwrap_or(0);
        leg.provisionals = Provisionals::towards(invite, core.config.policy.reliable);
        leg.note_abilities(invite);
        leg.dialog = Some(dialog);
        let wait = core.config.limits.max_ringing;
        let asked = invite.expires().filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
        leg.expires = asked.is_some_and(|asked| asked <= wait);
        leg.limit = Some(now + asked.map_or(wait, |asked| asked.min(wait)));
        leg
    }

    pub(crate) fn ringing(&self) -> Result<TransactionId, SipError> {
        match self.phase {
            Phase::Ringing(transaction) => Ok(transaction),
            _ if self.ended => Err(SipError::Ended),
            _ => Err(SipError::NotNow("a provisional or final response to the INVITE")),
        }
    }

    /// Sends a 2xx to an INVITE and begins to repeat it. `offer` is theirs, which `sdp` answers; without one `sdp` is
    /// ours, and without that all was agreed before.
    #[allow(clippy::too_many_arguments, reason = "all of it goes into one response")]
    pub(crate) fn accept(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        cseq: u32,
        offer: Option<Bytes>,
        sdp: Option<Bytes>,
        grant: Option<Grant>,
    ) {
        let reply = Reply::new(200)
            .in_dialog(self.contact.clone())
            .text(Field::Allow, ALLOW)
            .text(Field::Supported, supported(core.config.policy.reliable))
            .granting(grant)
            .sdp(sdp.clone());
        let Some((bytes, flow)) = core.respond(now, transaction, reply) else { return };
        self.granted(now, grant);
        if let (Some(offer), Some(answer)) = (&offer, &sdp) {
            self.agreed.given(offer, answer);
        }
        let timing = core.config.timing;
        self.accepted = Some(Accepted {
            cseq,
            bytes,
            flow,
            offer: sdp.filter(|_| offer.is_none()),
            quiet: false,
            at: now + timing.t1,
            wait: timing.t1,
            give_up: now + timing.transaction_life(),
        });
    }

    /// Refuses with 3xx–6xx on behalf of the user.
    pub(crate) fn reject(
        &mut self,
        core: &mut Core,
        now: Instant,
        status: u16,
        reason: Option<String>,
        headers: Vec<(HeaderName, Bytes)>,
    ) -> Result<(), SipError> {
        self.ringing()?;
        let mut reply = Reply::new(status.clamp(300, 699)).reason(reason);
        reply.headers = headers;
        self.refuse(core, now, reply);
        Ok(())
    }

    /// Sends a final response that is no success, and ends.
    pub(crate) fn refuse(&mut self, core: &mut Core, now: Instant, reply: Reply) {
        let end = Ending::ours(Some(reply.status));
        self.refuse_with(core, now, reply, end);
    }

    /// The same, with what its user is told.
    pub(crate) fn refuse_with(&mut self, core: &mut Core, now: Instant, reply: Reply, end: Ending) {
        let Phase::Ringing(transaction) = self.phase else { return };
        core.respond(now, transaction, reply);
        self.phase = Phase::Down;
        self.drop_served(core, now, 487);
        self.offered = None;
        self.end(core, now, end);
    }

    /// The caller gave up (RFC 3261 §9.2). The CANCEL itself has its 200 already.
    pub(crate) fn cancelled(&mut self, core: &mut Core, now: Instant, transaction: TransactionId, cancel: &Message) {
        if matches!(self.phase, Phase::Ringing(invite) if invite == transaction) {
            self.refuse_with(core, now, Reply::new(487), Ending::theirs(cancel, Some(487)));
        } else if self.served.as_ref().is_some_and(|served| served.transaction == transaction) {
            self.drop_served(core, now, 487);
        }
    }

    /// An ACK for a 2xx of ours.
    pub(crate) fn acknowledged(&mut self, core: &mut Core, now: Instant, ack: &Message) {
        let Ok(cseq) = ack.cseq() else { return };
        let Some(accepted) = self.accepted.take_if(|accepted| accepted.cseq == cseq.seq) else {
            core.stats.strays += 1;
            return;
        };
        if let Bye::Wanted(reason) = std::mem::replace(&mut self.bye, Bye::No) {
            self.send_bye(core, now, reason);
            return;
        }
        // A part of it that we cannot use is as good as none.
        let sdp = ack.sdp().found();
        if accepted.offer.is_some() && sdp.is_none() {
            let end = Ending { reason: Some("our offer was not answered".to_owned()), ..Ending::ours(Some(488)) };
            self.say_goodbye(core, now, Some(reason::sip(488, "no answer in ACK")), end);
            return;
        }
        let sdp = sdp.filter(|_| accepted.offer.is_some());
        if let (Some(ours), Some(theirs)) = (&accepted.offer, &sdp) {
            self.agreed.got(ours, theirs);
        }
        if !self.over() && !accepted.quiet {
            core.emit(self.id, DialogEvent::Confirmed { sdp: sdp.map(|sdp| sdp.to_vec()) });
        }
    }

    /// A later request shows that our 2xx arrived, though its ACK is on the way or lost.
    pub(crate) fn taken_as_acknowledged(&mut self, core: &mut Core) {
        if self.accepted.take().is_some_and(|accepted| !accepted.quiet) && !self.over() {
            core.emit(self.id, DialogEvent::Confirmed { sdp: None });
        }
    }
}

/// What the user is told of an INVITE.
pub(crate) fn describe(invite: &Message, offer: Option<Bytes>, flow: Flow) -> InviteInfo {
    let uri = invite.request_uri();
    InviteInfo {
        request_uri: uri.map(|uri| uri.text().into_owned()).unwrap_or_default(),
        request_user: uri.and_then(crate::wire::Uri::user_text),
        from: invite.from().map(|from| identity(&from)).unwrap_or_default(),
        to: invite.to().map(|to| identity(&to)).unwrap_or_default(),
        call_id: invite.call_id().map(|id| String::from_utf8_lossy(id).into_owned()).unwrap_or_default(),
        headers: invite
            .headers
            .iter()
            // Credentials are between the peer and the stack.
            .filter(|h| {
                h.name != HeaderName::Known(Field::Authorization)
                    && h.name != HeaderName::Known(Field::ProxyAuthorization)
            })
            .map(|h| (h.name.as_str().to_ascii_lowercase(), String::from_utf8_lossy(h.value()).into_owned()))
            .collect(),
        offer: offer.map(|sdp| sdp.to_vec()),
        source: flow.remote,
        local: flow.local,
        transport: flow.transport,
        // The edge knows the connection and fills this in.
        tls_identity: None,
        account: None,
        registration: None,
        replaces: None,
        tls_identities: Vec::new(),
    }
}

fn identity(address: &NameAddr) -> Identity {
    Identity {
        display_name: Some(address.display_text()).filter(|name| !name.is_empty()),
        uri: address.uri.text().into_owned(),
        user: address.uri.user_text(),
    }
}
