//! A call we placed that goes another way, since the one before failed before anybody answered.

use super::{LegSignal, SipLeg};
use crate::trunks::{Attempt, Attempts, NoWay, Permit, TrunkUsed};
use callbox_dialogue::call::{EndCause, Evidence};

/// How a call went out.
#[derive(Default)]
pub(crate) struct Placed {
    /// The ways that are left, until it is answered.
    pub(crate) attempts: Option<Attempts>,
    /// The trunk, where it was one.
    pub(crate) used: Option<TrunkUsed>,
    /// The call's place in its trunk, whoever called whom, as long as the dialog lasts.
    pub(crate) permit: Option<Permit>,
    /// The callee's telephone rings, or something is played instead.
    pub(crate) rang: bool,
}

/// What came of trying another way.
pub(crate) struct Redialled {
    attempts: Attempts,
    attempt: Result<Attempt, NoWay>,
    /// How the way before ended.
    before: Evidence,
}

impl SipLeg {
    /// Whether another way is tried now that the call ended so.
    pub(super) fn redials(&mut self, evidence: &Evidence) -> bool {
        let Some(status) = evidence.sip_status.filter(|_| !self.answered && !self.ended) else { return false };
        let Some(mut attempts) = self.placed.attempts.take() else { return false };
        if !attempts.goes_on(status, self.placed.rang) {
            return false;
        }
        self.placed.permit = None;
        self.redialling = true;
        let (media, signals, before) = (self.audio.media.clone(), self.signal_sender.clone(), evidence.clone());
        tokio::spawn(async move {
            let attempt = attempts.next(&media).await;
            // A closed channel means that the call is over: what was begun ends with its dialog.
            let redialled = Box::new(Redialled { attempts, attempt, before });
            let _ = signals.send(LegSignal::Redialled(redialled)).await;
        });
        true
    }

    /// Another INVITE is on its way, or none could be sent.
    pub(super) fn redialled(&mut self, redialled: Redialled) {
        let Redialled { attempts, attempt, before } = redialled;
        self.redialling = false;
        if self.ended {
            return;
        }
        match attempt {
            Ok(attempt) => {
                self.dial.signalling.add(&attempt.dialog);
                self.place = self.dial.places.of(&attempt.dialog, &self.dial.tenant);
                self.dialog = attempt.dialog;
                self.dialog_events = attempt.events;
                self.negotiation = attempt.negotiation;
                self.dial.manners = attempt.policy.clone();
                self.policy = attempt.policy;
                self.placed =
                    Placed { attempts: Some(attempts), used: attempt.used, permit: attempt.permit, rang: false };
            }
            Err(error) => {
                tracing::warn!(call = %self.dial.call, %error, "no other way to the callee could be tried");
                self.over(EndCause::RemoteHangup, before, None);
            }
        }
    }

    /// We give the call up: no other way is tried. Between two ways nobody else would say that it is over.
    pub(super) fn gives_up(&mut self) {
        self.placed.attempts = None;
        if self.redialling {
            let evidence = Evidence { sip_status: Some(487), ..Evidence::default() };
            self.over(EndCause::LocalHangup, evidence, None);
        }
    }
}
