//! A call that goes on with another far end: since somebody took the place of the one it had, or since that one asked
//! us to call somebody else.

use super::SipLeg;
use crate::takeover::{self, Moved, Stayed};
use callbox_dialogue::call::{EndCause, Evidence};
use callbox_sip::IncomingCall;

impl SipLeg {
    /// An INVITE takes the place of the dialog.
    pub(super) async fn replaced(&mut self, incoming: IncomingCall) {
        if self.negotiation.is_browser() {
            // Its media speaks to that browser alone.
            return takeover::refuse(&incoming.dialog, 488, "Not Acceptable Here").await;
        }
        let source = incoming.invite.source.ip();
        let terms = self.dial.terms(self.dial.stack.media_address(source), self.policy.clone());
        match Moved::by(incoming, &self.audio.media, &terms).await {
            // One call has come for another: it has its place in the trunk.
            Some(moved) => {
                let permit = self.placed.permit.take();
                self.move_to(Moved { permit, ..moved }).await;
            }
            // The media may have been told.
            None => self.negotiation.again(&self.audio.media),
        }
    }

    /// The target of a REFER took the call, or did not.
    pub(super) async fn referred(&mut self, outcome: Result<Moved, Stayed>) {
        match outcome {
            Ok(moved) => {
                takeover::tell(&self.dialog, 200, "OK").await;
                self.move_to(moved).await;
            }
            Err(_) => {
                if let Some((cause, evidence)) = self.parting.take() {
                    self.over(cause, evidence, None);
                }
            }
        }
    }

    /// We hang up while nobody is there any more but whom we call for the far end.
    pub(super) fn parts(&mut self) {
        if self.parting.take().is_some() {
            self.over(EndCause::LocalHangup, Evidence::default(), None);
        }
    }

    async fn move_to(&mut self, moved: Moved) {
        tracing::info!(call = %self.dial.call, sip_call = moved.dialog.id(), "the call goes on with another far end");
        self.dial.signalling.add(&moved.dialog);
        self.dial.created += 1;
        self.dial.far_end_is(moved.peer, moved.known, &moved.policy);
        self.place = self.dial.places.of(&moved.dialog, &self.dial.tenant);
        let old = std::mem::replace(&mut self.dialog, moved.dialog);
        (self.dialog_events, self.negotiation, self.policy) = (moved.events, moved.negotiation, moved.policy);
        self.placed.permit = moved.permit;
        // Another device, with keys of another manner.
        (self.keys, self.sending) = (None, None);
        self.referral.give_up();
        if self.parting.take().is_none() {
            let hung_up = old.hangup(None).await;
            self.note(hung_up, "hang up");
        }
    }
}
