//! A call that moves to another dialog while it goes on: by an INVITE with `Replaces` that comes in (RFC 3891), or by a
//! REFER, for which we call the new far end ourselves (RFC 3515, RFC 5589).
//!
//! The media session stays what it is, with its ports: only where it sends, in what, and by which keys is agreed anew.

use crate::bridge::{INCOMPATIBLE, NOT_ACCEPTABLE_HERE};
use crate::negotiation::{Negotiation, Terms};
use crate::outbound::{Dial, Target};
use crate::policy::LegPolicy;
use crate::trunks::{Ask, Attempt, NoWay, Permit};
use callbox_media::Session;
use callbox_sip::{Dialog, DialogEvent, IncomingCall, LegId};
use callbox_store::TenantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// How long the target of a REFER may ring. The subscription of the REFER lasts longer.
const RING: Duration = Duration::from_secs(60);
/// The status of a REFER to a target that is not allowed (RFC 3261 §21.6.2).
pub(crate) const DECLINED: u16 = 603;
/// The status of an INVITE whose `Replaces` names nothing that can be replaced (RFC 3891 §3).
const NO_SUCH_DIALOG: u16 = 481;

/// What the far end asks for by REFER.
#[derive(Clone, Debug)]
pub(crate) struct Referral {
    /// A SIP URI.
    pub(crate) target: String,
    /// The `Replaces` that our INVITE has to carry.
    pub(crate) replaces: Option<String>,
    /// The `Referred-By` that it has to repeat.
    pub(crate) referred_by: Option<String>,
}

/// A new far end, which has taken the call; the media session speaks to it already.
pub(crate) struct Moved {
    pub(crate) dialog: Dialog,
    pub(crate) events: mpsc::Receiver<DialogEvent>,
    pub(crate) negotiation: Negotiation,
    pub(crate) policy: LegPolicy,
    /// Its place in its trunk.
    pub(crate) permit: Option<Permit>,
    /// Where it is, as we know it.
    pub(crate) peer: String,
    /// It is one of the tenant's own, which may ask for more than a stranger.
    pub(crate) known: bool,
}

/// Why a call did not move.
#[derive(Clone, Debug)]
pub(crate) struct Stayed {
    pub(crate) status: u16,
    pub(crate) reason: String,
}

impl Referral {
    /// Calls the target with the media of the call as it is, and tells `old`, whose far end wants to hear of it, how that
    /// goes, up to its failure. Of its success it is told when the call has moved. Dropping this cancels the new call.
    pub(crate) async fn follow(
        self,
        dial: Dial,
        target: Target,
        media: Arc<Session>,
        old: Dialog,
    ) -> Result<Moved, Stayed> {
        let outcome = self.place(&dial, &target, &media, &old).await;
        if let Err(Stayed { status, reason }) = &outcome {
            tracing::info!(call = %dial.call, status, reason, "a transfer by the far end failed");
            tell(&old, *status, reason).await;
        }
        outcome
    }

    async fn place(self, dial: &Dial, target: &Target, media: &Session, old: &Dialog) -> Result<Moved, Stayed> {
        let replaces = self.replaces.map(|value| ("Replaces".to_owned(), value));
        let referred_by = self.referred_by.map(|value| ("Referred-By".to_owned(), value));
        let ask = Ask {
            caller: dial.caller.clone(),
            trunk: dial.trunk.clone(),
            headers: replaces.into_iter().chain(referred_by).collect(),
            ring_timeout: RING,
        };
        // One millisecond on: another name for the session than that with the far end it had.
        let dial = Dial { created: dial.created + 1, ..dial.clone() };
        let mut attempts = dial.attempts(target, ask).await?;
        loop {
            let attempt = attempts.next(media).await?;
            dial.signalling.add(&attempt.dialog);
            let mut rang = false;
            match reach(attempt, target, media, old, &mut rang).await {
                Err(stayed) if attempts.goes_on(stayed.status, rang) => {}
                outcome => return outcome,
            }
        }
    }
}

/// One attempt, to its answer or its end, and whether it `rang`.
async fn reach(
    attempt: Attempt,
    target: &Target,
    media: &Session,
    old: &Dialog,
    rang: &mut bool,
) -> Result<Moved, Stayed> {
    let Attempt { dialog, mut events, mut negotiation, policy, permit, .. } = attempt;
    loop {
        match events.recv().await {
            Some(DialogEvent::Ringing | DialogEvent::Progress { .. }) => {
                *rang = true;
                tell(old, 180, "Ringing").await;
            }
            Some(DialogEvent::Answered { sdp }) => match negotiation.confirmed(sdp.as_deref(), media) {
                Ok(()) => {
                    let (peer, known) = (target.host.clone(), target.is_own());
                    if let Some(permit) = &permit {
                        permit.answered();
                    }
                    return Ok(Moved { dialog, events, negotiation, policy, permit, peer, known });
                }
                Err(error) => {
                    if let Err(error) = dialog.hangup(Some(INCOMPATIBLE.into())).await {
                        tracing::debug!(sip_call = dialog.id(), %error, "a call could not be hung up");
                    }
                    return Err(Stayed { status: NOT_ACCEPTABLE_HERE, reason: error.to_string() });
                }
            },
            // What it would say early is not heard before the call has moved.
            Some(DialogEvent::Reinvite { .. }) => {
                if let Err(error) = dialog.answer_reinvite(Err(NOT_ACCEPTABLE_HERE)).await {
                    tracing::debug!(sip_call = dialog.id(), %error, "an early offer could not be refused");
                }
            }
            Some(DialogEvent::Ended { status, reason, .. }) => {
                let reason = reason.unwrap_or_else(|| "not answered".to_owned());
                return Err(Stayed { status: status.filter(|status| *status >= 300).unwrap_or(480), reason });
            }
            Some(_) => {}
            None => return Err(Stayed { status: 500, reason: "the new call was lost".to_owned() }),
        }
    }
}

impl From<NoWay> for Stayed {
    fn from(error: NoWay) -> Self {
        Self { status: error.status(), reason: error.to_string() }
    }
}

impl Moved {
    /// The answer to an INVITE that takes the place of a call. Nothing changes where it cannot be met: the INVITE is
    /// refused then.
    pub(crate) async fn by(incoming: IncomingCall, media: &Session, terms: &Terms) -> Option<Self> {
        let IncomingCall { dialog, events, invite } = incoming;
        let source = invite.source.ip();
        let mut negotiation = match Negotiation::inbound(media, invite.offer.as_deref(), source, terms) {
            Ok(negotiation) => negotiation,
            Err(error) => {
                refuse(&dialog, error.status(), "Not Acceptable Here").await;
                return None;
            }
        };
        let sdp = negotiation.for_answer(media)?;
        match dialog.answer(sdp).await {
            Ok(()) => {
                let (policy, peer) = (terms.policy.clone(), source.to_canonical().to_string());
                Some(Self { dialog, events, negotiation, policy, permit: None, peer, known: false })
            }
            Err(error) => {
                tracing::debug!(sip_call = dialog.id(), %error, "a call that would take another's place is over");
                None
            }
        }
    }
}

/// The transfer of one far end that is under way, if any.
#[derive(Default)]
pub(crate) struct Following(Option<AbortOnDropHandle<Result<Moved, Stayed>>>);

impl Following {
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Begins to follow a REFER of `old`'s far end, where the call is `free` to move and the target allowed; else
    /// declines it.
    pub(crate) async fn begin(
        &mut self,
        referral: Referral,
        free: bool,
        dial: &Dial,
        media: &Arc<Session>,
        old: &Dialog,
    ) {
        let target = dial.referred(&referral.target).filter(|_| free);
        let decision = if target.is_some() { Ok(()) } else { Err(DECLINED) };
        tracing::info!(call = %dial.call, to = referral.target, followed = decision.is_ok(), "the far end transfers the call");
        match (old.answer_refer(decision).await, target) {
            (Ok(()), Some(target)) => {
                let following = referral.follow(dial.clone(), target, media.clone(), old.clone());
                self.0 = Some(AbortOnDropHandle::new(tokio::spawn(following)));
            }
            (Ok(()), None) => {}
            (Err(error), _) => tracing::debug!(sip_call = old.id(), %error, "a REFER could not be answered"),
        }
    }

    /// What comes of it; pending for ever where there is none. Cancel-safe.
    pub(crate) async fn outcome(&mut self) -> Result<Moved, Stayed> {
        let Some(following) = &mut self.0 else { return std::future::pending().await };
        let outcome = following.await;
        self.0 = None;
        outcome.unwrap_or_else(|error| Err(Stayed { status: 500, reason: error.to_string() }))
    }

    /// Gives it up: the new call is cancelled.
    pub(crate) fn give_up(&mut self) {
        self.0 = None;
    }
}

/// Tells the far end of a REFER. Whoever has hung up, or does not want to hear, is not told.
pub(crate) async fn tell(old: &Dialog, status: u16, reason: &str) {
    if let Err(error) = old.refer_progress(status, reason).await {
        tracing::debug!(sip_call = old.id(), %error, "nobody hears how a transfer goes");
    }
}

/// Refuses an INVITE that would take a place.
pub(crate) async fn refuse(dialog: &Dialog, status: u16, reason: &str) {
    if let Err(error) = dialog.reject(status, Some(reason.to_owned()), Vec::new()).await {
        tracing::debug!(sip_call = dialog.id(), %error, "there is nobody to refuse any more");
    }
}

/// The dialogs of this host whose place an INVITE may take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<LegId, Owner>>>);

/// Whose call has a dialog, and how it is told.
#[derive(Clone, Debug)]
struct Owner {
    tenant: TenantId,
    calls: mpsc::Sender<IncomingCall>,
}

/// One of them, as long as it is kept.
#[derive(Debug)]
pub(crate) struct Place {
    leg: LegId,
    places: Places,
    calls: mpsc::Receiver<IncomingCall>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<LegId, Owner>> {
        // A panic while it was held cannot leave a half-made entry: the map is valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a dialog of a tenant's call.
    pub(crate) fn of(&self, dialog: &Dialog, tenant: &TenantId) -> Place {
        let (sender, calls) = mpsc::channel(1);
        self.lock().insert(dialog.leg(), Owner { tenant: tenant.clone(), calls: sender });
        Place { leg: dialog.leg(), places: self.clone(), calls }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whose call has this dialog.
    pub(crate) fn owner(&self, leg: LegId) -> Option<TenantId> {
        self.lock().get(&leg).map(|owner| owner.tenant.clone())
    }

    /// Hands an INVITE to the call whose place it wants; refuses it where there is none. Whether it may take it has been
    /// looked at.
    pub(crate) async fn hand_over(&self, leg: LegId, incoming: IncomingCall) {
        let owner = self.lock().get(&leg).cloned();
        let refused = match owner {
            Some(owner) => owner.calls.try_send(incoming).err().map(mpsc::error::TrySendError::into_inner),
            None => Some(incoming),
        };
        if let Some(incoming) = refused {
            refuse(&incoming.dialog, NO_SUCH_DIALOG, "Call/Transaction Does Not Exist").await;
        }
    }
}

impl Place {
    /// The next INVITE that wants this place. Cancel-safe.
    pub(crate) async fn wanted(&mut self) -> IncomingCall {
        match self.calls.recv().await {
            Some(incoming) => incoming,
            // The map holds a sender as long as this is there, unless the stack gave its name to another.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.leg);
    }
}
