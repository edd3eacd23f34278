//! A transfer by a second leg: the host dials the target and joins both.
//!
//! One task owns the second leg from the INVITE to its end. Dropping the
//! [`Bridge`] ends the task, and with it the second leg: CANCEL or BYE,
//! whatever fits.

use crate::leg::LegSignal;
use crate::negotiation::Negotiation;
use crate::outbound::{Dial, Target};
use callbox_dialogue::leg::{TransferId, TransferResult};
use callbox_media::{MediaCommand, MediaEvent, Session};
use callbox_sip::{Dialog, DialogEvent, SipError};
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
        match self.talk(target, request).await {
            Ok(end) => end,
            Err(Failure { status, reason }) => BridgeEnd::NotAnswered { status, reason },
        }
    }

    async fn talk(&self, target: Target, request: BridgeRequest) -> Result<BridgeEnd, Failure> {
        let (media, mut media_events) = self.dial.media.open(&self.dial.call).map_err(Failure::host)?;
        let (mut negotiation, offer) = Negotiation::outbound(&media, self.dial.address, self.dial.ids);
        let call = self.dial.outgoing(target, request, offer);
        let (dialog, mut events) = self.dial.stack.call(call).await.map_err(Failure::sip)?;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                Some(event) = media_events.recv() => {
                    if matches!(event, MediaEvent::MediaTimeout) {
                        self.end(&dialog).await;
                    }
                    continue;
                }
            };
            match event {
                Some(DialogEvent::Answered { sdp } | DialogEvent::Confirmed { sdp }) => {
                    if let Err(error) = negotiation.confirmed(sdp.as_deref(), &media) {
                        self.end(&dialog).await;
                        return Err(Failure { status: 488, reason: error.to_string() });
                    }
                    self.caller.send(MediaCommand::Bridge { with: media.id() }).map_err(Failure::host)?;
                    self.joined.store(true, Ordering::Relaxed);
                }
                Some(DialogEvent::Reinvite { sdp }) => {
                    let answer = negotiation.reinvited(sdp.as_deref(), &media);
                    dialog.answer_reinvite(answer).await.map_err(Failure::sip)?;
                }
                Some(DialogEvent::Ended { status, reason, .. }) => {
                    if self.joined.load(Ordering::Relaxed) {
                        // The caller is ours again, alone.
                        self.caller.send(MediaCommand::Unbridge).map_err(Failure::host)?;
                        return Ok(BridgeEnd::TargetLeft);
                    }
                    let reason = reason.unwrap_or_else(|| "not answered".into());
                    return Err(Failure { status: status.unwrap_or(480), reason });
                }
                Some(_) => {}
                None => return Err(Failure { status: 500, reason: "the second leg was lost".into() }),
            }
        }
    }
}

impl SecondLeg {
    async fn end(&self, dialog: &Dialog) {
        if let Err(error) = dialog.hangup(None).await {
            tracing::warn!(call = %self.dial.call, %error, "the second leg could not be ended");
        }
    }
}

struct Failure {
    status: u16,
    reason: String,
}

impl Failure {
    fn host(error: callbox_media::MediaError) -> Self {
        Self { status: 503, reason: error.to_string() }
    }

    fn sip(error: SipError) -> Self {
        Self { status: 500, reason: error.to_string() }
    }
}
