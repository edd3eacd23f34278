//! A transfer by a second leg: the host dials the target and joins both.
//!
//! One task owns the second leg from the INVITE to its end. Dropping the
//! [`Bridge`] ends the task, and with it the second leg: CANCEL or BYE,
//! whatever fits.

use crate::leg::LegSignal;
use crate::negotiation::Negotiation;
use crate::outbound::{Dial, Target};
use crate::policy::DtmfManner;
use crate::takeover::{self, Following, Moved, Place, Referral};
use crate::trunks::{Ask, Attempt, NoWay};
use callbox_dialogue::leg::{TransferId, TransferResult};
use callbox_media::{MediaCommand, MediaEvent, Session};
use callbox_sip::{Dialog, DialogEvent};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Keys of the caller on their way to the target.
const KEYS: usize = 16;
/// How long a key that is sent by INFO was pressed, in milliseconds.
pub(crate) const KEY_MS: u32 = 160;
/// The status of a call whose media cannot be agreed on.
pub(crate) const NOT_ACCEPTABLE_HERE: u16 = 488;
/// Why such a call is hung up (Q.850).
pub(crate) const INCOMPATIBLE: Cause = Cause(88, "Incompatible destination");

/// A cause of Q.850 and its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause(u8, &'static str);

impl From<Cause> for (u8, String) {
    fn from(Cause(cause, text): Cause) -> Self {
        (cause, text.to_owned())
    }
}

/// What a script asked for.
#[derive(Clone, Debug)]
pub(crate) struct BridgeRequest {
    pub(crate) target: String,
    pub(crate) caller_id: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) ring_timeout: Duration,
}

/// How a bridge came to its end while the caller stayed.
#[derive(Debug)]
pub(crate) enum BridgeEnd {
    /// The target did not take the call.
    NotAnswered {
        /// SIP status.
        status: u16,
        /// Its reason.
        reason: String,
    },
    /// The target was joined and hung up.
    TargetLeft,
}

/// A second leg on its way or joined.
#[derive(Debug)]
pub(crate) struct Bridge {
    joined: Arc<AtomicBool>,
    keys: mpsc::Sender<char>,
    task: AbortHandle,
}

impl Bridge {
    /// Dials. The end is reported as [`LegSignal::Bridge`].
    pub(crate) fn start(
        id: TransferId,
        target: Target,
        request: BridgeRequest,
        dial: &Dial,
        caller: &Arc<Session>,
        signals: mpsc::Sender<LegSignal>,
    ) -> Self {
        let joined = Arc::new(AtomicBool::new(false));
        let (keys, receiver) = mpsc::channel(KEYS);
        let second = SecondLeg { dial: dial.clone(), caller: caller.clone(), joined: joined.clone(), keys: receiver };
        let task = tokio::spawn(async move {
            let end = second.run(target, request).await;
            // A closed channel means that the call is over.
            let _ = signals.send(LegSignal::Bridge(id, end)).await;
        });
        Self { joined, keys, task: task.abort_handle() }
    }

    /// Whether the two talk.
    pub(crate) fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// The caller pressed a key that is not in its audio. Beyond what anybody presses they are lost.
    pub(crate) fn key(&self, digit: char) {
        if self.is_joined() {
            let _ = self.keys.try_send(digit);
        }
    }

    /// The caller hung up: what the transfer came to.
    pub(crate) fn caller_left(self) -> TransferResult {
        if self.is_joined() {
            TransferResult::Connected
        } else {
            TransferResult::Failed { status: 487, reason: "the caller hung up".into() }
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct SecondLeg {
    dial: Dial,
    caller: Arc<Session>,
    joined: Arc<AtomicBool>,
    /// Keys of the caller that are not in its audio.
    keys: mpsc::Receiver<char>,
}

impl SecondLeg {
    async fn run(mut self, target: Target, request: BridgeRequest) -> BridgeEnd {
        let ended = self.talk(target, request).await;
        if !self.is_joined() {
            let Failure { status, reason, .. } = ended.err().unwrap_or_else(Failure::lost);
            return BridgeEnd::NotAnswered { status, reason };
        }
        if let Err(Failure { status, reason, .. }) = ended {
            tracing::warn!(call = %self.dial.call, status, reason, "a bridge broke off");
        }
        // The caller is ours again, alone. Should this find no place, its media notices by itself that the other side
        // is gone.
        if let Err(error) = self.caller.send(MediaCommand::Unbridge) {
            tracing::debug!(call = %self.dial.call, %error, "the caller was not parted from the target");
        }
        BridgeEnd::TargetLeft
    }

    /// Dials, joins, and waits for the target to leave. Whatever ends it ends the second leg with it: dropping its
    /// dialog sends CANCEL or BYE.
    async fn talk(&mut self, target: Target, request: BridgeRequest) -> Result<(), Failure> {
        let (media, mut media_events) = self.dial.media.open(&self.dial.call).map_err(Failure::host)?;
        self.dial.packets.of(&media);
        let media = Arc::new(media);
        // What the target may ask for goes to where it is, not to where the caller is.
        (self.dial.peer, self.dial.known) = (Some(target.host.clone()), target.is_own());
        let ask = Ask {
            caller: request.caller_id.or_else(|| self.dial.caller.clone()),
            trunk: self.dial.trunk.clone(),
            headers: request.headers,
            ring_timeout: request.ring_timeout,
        };
        let mut attempts = self.dial.attempts(&target, ask).await.map_err(Failure::no_way)?;
        loop {
            let attempt = attempts.next(&media).await.map_err(Failure::no_way)?;
            match self.reach(attempt, &media, &mut media_events).await {
                Err(failure) if !self.is_joined() && attempts.goes_on(failure.status, failure.rang) => {}
                ended => return ended,
            }
        }
    }

    /// One attempt, to its end.
    async fn reach(
        &mut self,
        attempt: Attempt,
        media: &Arc<Session>,
        media_events: &mut mpsc::Receiver<MediaEvent>,
    ) -> Result<(), Failure> {
        let Attempt { mut dialog, mut events, mut negotiation, mut policy, mut permit, .. } = attempt;
        self.dial.signalling.add(&dialog);
        self.dial.manners = policy.clone();
        let mut place = self.dial.places.of(&dialog, &self.dial.tenant);
        let mut referral = Following::default();
        // The target has hung up, since it has been told that its transfer is under way.
        let mut parted = false;
        let mut heard = false;
        let mut rang = false;
        loop {
            let event = tokio::select! {
                event = events.recv(), if !parted => event.ok_or_else(Failure::lost)?,
                incoming = place.wanted(), if self.is_joined() => {
                    let source = incoming.invite.source.ip();
                    let terms = self.dial.terms(self.dial.stack.media_address(source), policy.clone());
                    match Moved::by(incoming, media, &terms).await {
                        Some(moved) => {
                            let old = self.moved(moved, &mut dialog, &mut events, &mut negotiation, &mut place);
                            Self::hang_up(&old, None).await;
                        }
                        None => negotiation.again(media),
                    }
                    continue;
                }
                outcome = referral.outcome() => {
                    match outcome {
                        Ok(mut moved) => {
                            (policy, permit) = (moved.policy.clone(), moved.permit.take());
                            let old = self.moved(moved, &mut dialog, &mut events, &mut negotiation, &mut place);
                            takeover::tell(&old, 200, "OK").await;
                            if !std::mem::take(&mut parted) {
                                Self::hang_up(&old, None).await;
                            }
                        }
                        Err(_) if parted => return Ok(()),
                        Err(_) => {}
                    }
                    continue;
                }
                event = media_events.recv() => match event {
                    // Nobody has to say anything before the answer, or while it is being replaced.
                    Some(MediaEvent::MediaTimeout) if self.is_joined() && !referral.is_under_way() => {
                        return Err(Failure::new(408, "nothing was heard of the target"));
                    }
                    Some(MediaEvent::SecurityFailed { why }) => {
                        self.incompatible(&dialog).await;
                        return Err(Failure::new(NOT_ACCEPTABLE_HERE, &why));
                    }
                    Some(MediaEvent::Closed(_)) | None => return Err(Failure::new(500, "the target's media ended")),
                    Some(_) => continue,
                },
                Some(key) = self.keys.recv() => {
                    let sent = match policy.dtmf {
                        DtmfManner::Info => dialog.info_digit(key, KEY_MS).await.map_err(|error| error.to_string()),
                        _ => media.send(MediaCommand::SendDigits { digits: key.into() }).map_err(|e| e.to_string()),
                    };
                    if let Err(error) = sent {
                        tracing::debug!(call = %self.dial.call, error, "a key of the caller does not get through");
                    }
                    continue;
                }
            };
            rang |= matches!(event, DialogEvent::Ringing | DialogEvent::Progress { .. });
            match event {
                DialogEvent::Progress { sdp: Some(sdp), branch } => {
                    // The caller hears the target's own ringing or announcement.
                    let plays = negotiation.early(&sdp, branch, media);
                    if plays && !std::mem::replace(&mut heard, true) {
                        self.caller.send(MediaCommand::Bridge { with: media.id() }).map_err(Failure::host)?;
                    }
                }
                DialogEvent::Answered { sdp } | DialogEvent::Confirmed { sdp } => {
                    if let Err(error) = negotiation.confirmed(sdp.as_deref(), media) {
                        self.incompatible(&dialog).await;
                        return Err(Failure::new(NOT_ACCEPTABLE_HERE, &error.to_string()));
                    }
                    if !std::mem::replace(&mut heard, true) {
                        self.caller.send(MediaCommand::Bridge { with: media.id() }).map_err(Failure::host)?;
                    }
                    if let Some(permit) = &permit {
                        permit.answered();
                    }
                    self.joined.store(true, Ordering::Relaxed);
                }
                DialogEvent::Reinvite { sdp } => negotiation.reinvite(sdp.as_deref(), media, &dialog).await,
                // What is not in the target's audio has to be put into the caller's.
                DialogEvent::Digit { digit, .. } if self.is_joined() => {
                    if let Err(error) = self.caller.send(MediaCommand::SendDigits { digits: digit.into() }) {
                        tracing::debug!(call = %self.dial.call, %error, "a key of the target does not get through");
                    }
                }
                DialogEvent::ReferRequested { target, replaces, referred_by } => {
                    let request = Referral { target, replaces, referred_by };
                    let free = self.is_joined() && !referral.is_under_way();
                    referral.begin(request, free, &self.dial, media, &dialog).await;
                }
                DialogEvent::Ended { .. } if referral.is_under_way() => parted = true,
                DialogEvent::Ended { status, reason, .. } => {
                    let reason = reason.unwrap_or_else(|| "not answered".into());
                    let failure = Failure { status: status.unwrap_or(480), reason, rang };
                    return if self.is_joined() { Ok(()) } else { Err(failure) };
                }
                _ => {}
            }
            if let Some(why) = negotiation.take_fault() {
                return Err(Failure::new(500, &why));
            }
        }
    }

    fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    async fn incompatible(&self, dialog: &Dialog) {
        Self::hang_up(dialog, Some(INCOMPATIBLE.into())).await;
    }

    async fn hang_up(dialog: &Dialog, reason: Option<(u8, String)>) {
        if let Err(error) = dialog.hangup(reason).await {
            tracing::debug!(sip_call = dialog.id(), %error, "the second leg could not be hung up");
        }
    }

    /// The second leg goes on with somebody else; gives the dialog that it had.
    fn moved(
        &mut self,
        moved: Moved,
        dialog: &mut Dialog,
        events: &mut mpsc::Receiver<DialogEvent>,
        negotiation: &mut Negotiation,
        place: &mut Place,
    ) -> Dialog {
        tracing::info!(call = %self.dial.call, sip_call = moved.dialog.id(), "the target of a bridge is another now");
        self.dial.signalling.add(&moved.dialog);
        *place = self.dial.places.of(&moved.dialog, &self.dial.tenant);
        self.dial.far_end_is(moved.peer, moved.known, &moved.policy);
        (*events, *negotiation) = (moved.events, moved.negotiation);
        std::mem::replace(dialog, moved.dialog)
    }
}

struct Failure {
    status: u16,
    reason: String,
    /// The target's telephone had rung before.
    rang: bool,
}

impl Failure {
    fn new(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.to_owned(), rang: false }
    }

    fn lost() -> Self {
        Self::new(500, "the second leg was lost")
    }

    fn host(error: callbox_media::MediaError) -> Self {
        Self::new(503, &error.to_string())
    }

    fn no_way(error: NoWay) -> Self {
        Self::new(error.status(), &error.to_string())
    }
}
