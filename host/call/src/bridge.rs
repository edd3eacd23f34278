//! A transfer by a second leg: the host dials the target and joins both.
//!
//! One task owns the second leg from the INVITE to its end. Dropping the
//! [`Bridge`] ends the task, and with it the second leg: CANCEL or BYE,
//! whatever fits.

use crate::leg::LegSignal;
use crate::negotiation::{Negotiation, Terms};
use crate::outbound::{Dial, Target};
use callbox_dialogue::leg::{TransferId, TransferResult};
use callbox_media::{MediaCommand, MediaEvent, Session};
use callbox_sip::{DialogEvent, SipError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

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
        let second = SecondLeg { dial: dial.clone(), caller: caller.clone(), joined: joined.clone() };
        let task = tokio::spawn(async move {
            let end = second.run(target, request).await;
            // A closed channel means that the call is over.
            let _ = signals.send(LegSignal::Bridge(id, end)).await;
        });
        Self { joined, task: task.abort_handle() }
    }

    /// The caller hung up: what the transfer came to.
    pub(crate) fn caller_left(self) -> TransferResult {
        if self.joined.load(Ordering::Relaxed) {
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
}

impl SecondLeg {
    async fn run(self, target: Target, request: BridgeRequest) -> BridgeEnd {
        let ended = self.talk(target, request).await;
        if !self.joined.load(Ordering::Relaxed) {
            let Failure { status, reason } = ended.err().unwrap_or_else(Failure::lost);
            return BridgeEnd::NotAnswered { status, reason };
        }
        if let Err(Failure { status, reason }) = ended {
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
    async fn talk(&self, target: Target, request: BridgeRequest) -> Result<(), Failure> {
        let Dial { media, stack, policy, call, created, .. } = &self.dial;
        let (media, mut media_events) = media.open(call).map_err(Failure::host)?;
        let address = policy.address_towards(&target, stack);
        let terms = Terms { address, created: *created, policy: policy.leg_policy(&target) };
        let (mut negotiation, offer) = Negotiation::outbound(&media, &terms);
        let outgoing = self.dial.outgoing(target, request, offer);
        let (dialog, mut events) = stack.call(outgoing).await.map_err(Failure::sip)?;
        self.dial.signalling.add(&dialog);
        loop {
            let event = tokio::select! {
                event = events.recv() => event.ok_or_else(Failure::lost)?,
                event = media_events.recv() => match event {
                    Some(MediaEvent::MediaTimeout) => return Err(Failure::new(408, "nothing was heard of the target")),
                    Some(MediaEvent::Closed(_)) | None => return Err(Failure::new(500, "the target's media ended")),
                    Some(_) => continue,
                },
            };
            match event {
                DialogEvent::Answered { sdp } | DialogEvent::Confirmed { sdp } => {
                    negotiation.confirmed(sdp.as_deref(), &media).map_err(|e| Failure::new(488, &e.to_string()))?;
                    // Once: the ACK of a re-INVITE confirms, too.
                    if !self.joined.load(Ordering::Relaxed) {
                        self.caller.send(MediaCommand::Bridge { with: media.id() }).map_err(Failure::host)?;
                        self.joined.store(true, Ordering::Relaxed);
                    }
                }
                DialogEvent::Reinvite { sdp } => negotiation.reinvite(sdp.as_deref(), &media, &dialog).await,
                DialogEvent::Ended { status, reason, .. } => {
                    let reason = reason.unwrap_or_else(|| "not answered".into());
                    let failure = Failure { status: status.unwrap_or(480), reason };
                    return if self.joined.load(Ordering::Relaxed) { Ok(()) } else { Err(failure) };
                }
                _ => {}
            }
        }
    }
}

struct Failure {
    status: u16,
    reason: String,
}

impl Failure {
    fn new(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.to_owned() }
    }

    fn lost() -> Self {
        Self::new(500, "the second leg was lost")
    }

    fn host(error: callbox_media::MediaError) -> Self {
        Self { status: 503, reason: error.to_string() }
    }

    fn sip(error: SipError) -> Self {
        Self { status: 500, reason: error.to_string() }
    }
}
