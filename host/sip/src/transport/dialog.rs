//! The handle of one call.

use super::driver::{Command, LegCommand};
use super::trace::DialogTrace;
use crate::ua::{LegId, SipError};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// One call, as its user commands it. Clones are the same call. When the last one is dropped, a call that is not over
/// is ended by whatever fits: 480, CANCEL, BYE.
///
/// Every command fails with [`SipError::Ended`] once the call is over, with [`SipError::NotNow`] in the wrong state.
#[derive(Clone, Debug)]
pub struct Dialog(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    leg: LegId,
    call_id: String,
    trace: DialogTrace,
    commands: mpsc::Sender<Command>,
    /// At most one message per leg, so that it is bounded by the calls that the endpoint admits.
    dropped: mpsc::UnboundedSender<LegId>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.dropped.send(self.leg);
    }
}

impl Dialog {
    pub(crate) fn new(
        leg: LegId,
        call_id: String,
        trace: DialogTrace,
        commands: mpsc::Sender<Command>,
        dropped: mpsc::UnboundedSender<LegId>,
    ) -> Self {
        Self(Arc::new(Handle { leg, call_id, trace, commands, dropped }))
    }

    /// The `Call-ID`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.call_id
    }

    /// The messages of this dialog, with their times.
    #[must_use]
    pub fn trace(&self) -> DialogTrace {
        self.0.trace.clone()
    }

    /// Incoming call: 180.
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn ring(&self) -> Result<(), SipError> {
        self.command(LegCommand::Ring).await
    }

    /// Incoming call: 183 with the answer, for audio before the call is answered. Where the INVITE had no offer it is
    /// ours, and its answer comes as [`DialogEvent::EarlyAnswer`](crate::DialogEvent::EarlyAnswer).
    ///
    /// # Errors
    /// See [`Dialog`]; [`SipError::NotNow`] also for an offer to a caller that does not know reliable provisional
    /// responses (RFC 3262).
    pub async fn progress(&self, sdp: Vec<u8>) -> Result<(), SipError> {
        self.command(LegCommand::Progress(sdp)).await
    }

    /// Incoming call: 200 with the answer, or with our offer where the INVITE had none. Sent again until its ACK
    /// comes, which [`DialogEvent::Confirmed`](crate::DialogEvent::Confirmed) tells.
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn answer(&self, sdp: Vec<u8>) -> Result<(), SipError> {
        self.command(LegCommand::Answer(sdp)).await
    }

    /// Incoming call: refuses with a status from 300 to 699.
    ///
    /// # Errors
    /// See [`Dialog`]; [`SipError::Header`] for a header that cannot be sent.
    pub async fn reject(
        &self,
        status: u16,
        reason: Option<String>,
        headers: Vec<(String, String)>,
    ) -> Result<(), SipError> {
        self.command(LegCommand::Reject { status, reason, headers }).await
    }

    /// Ends the call: BYE, CANCEL or a refusal, whatever fits. The reason is a Q.850 cause with a text.
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn hangup(&self, reason: Option<(u8, String)>) -> Result<(), SipError> {
        self.command(LegCommand::HangUp(reason)).await
    }

    /// Outgoing call without an offer: the answer to the offer that
    /// [`DialogEvent::Answered`](crate::DialogEvent::Answered) or
    /// [`DialogEvent::EarlyOffer`](crate::DialogEvent::EarlyOffer) brought.
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn ack(&self, sdp: Vec<u8>) -> Result<(), SipError> {
        self.command(LegCommand::Ack(sdp)).await
    }

    /// Offers a changed session: hold, resume, another address. The outcome comes as
    /// [`DialogEvent::ReinviteAnswered`](crate::DialogEvent::ReinviteAnswered) or
    /// [`DialogEvent::ReinviteFailed`](crate::DialogEvent::ReinviteFailed); collisions (491) are tried again here.
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn reinvite(&self, sdp: Vec<u8>) -> Result<(), SipError> {
        self.command(LegCommand::Reinvite(sdp)).await
    }

    /// Offers a changed session by UPDATE, which does not wait for a person and is possible before the call is answered,
    /// once the first offer has its answer (RFC 3311). The outcome comes as that of [`reinvite`](Self::reinvite).
    ///
    /// # Errors
    /// See [`Dialog`]; [`SipError::NotNow`] also where the far end does not take UPDATE.
    pub async fn update(&self, sdp: Vec<u8>) -> Result<(), SipError> {
        self.command(LegCommand::Update(sdp)).await
    }

    /// Answers [`DialogEvent::Reinvite`](crate::DialogEvent::Reinvite): with a description, or with the status of a
    /// refusal, which leaves the session as it is.
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn answer_reinvite(&self, result: Result<Vec<u8>, u16>) -> Result<(), SipError> {
        self.command(LegCommand::AnswerReinvite(result)).await
    }

    /// Asks the far end to call `target` (REFER). The outcome comes as
    /// [`DialogEvent::ReferProgress`](crate::DialogEvent::ReferProgress).
    ///
    /// # Errors
    /// See [`Dialog`]; [`SipError::Target`] and [`SipError::Header`] for what cannot be sent.
    pub async fn refer(&self, target: &str, headers: Vec<(String, String)>) -> Result<(), SipError> {
        self.command(LegCommand::Refer { target: target.to_owned(), headers }).await
    }

    /// Names the call inside its stack: what [`InviteInfo::replaces`](crate::InviteInfo) points to.
    #[must_use]
    pub fn leg(&self) -> LegId {
        self.0.leg
    }

    /// Asks the far end to take over the call with the far end of `other` (REFER with `Replaces`): the end of an
    /// attended transfer. Both calls have to be up. The outcome comes as
    /// [`DialogEvent::ReferProgress`](crate::DialogEvent::ReferProgress).
    ///
    /// # Errors
    /// See [`refer`](Self::refer).
    pub async fn refer_replacing(&self, other: &Self, headers: Vec<(String, String)>) -> Result<(), SipError> {
        self.command(LegCommand::ReferReplacing { other: other.0.leg, headers }).await
    }

    /// The `Replaces` with which an INVITE to the far end takes the place of this call.
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn replaces_value(&self) -> Result<String, SipError> {
        let (reply, outcome) = oneshot::channel();
        let command = Command::ReplacesValue(self.0.leg, reply);
        self.0.commands.send(command).await.map_err(|_| SipError::Closed)?;
        outcome.await.unwrap_or(Err(SipError::Closed))
    }

    /// Answers [`DialogEvent::ReferRequested`](crate::DialogEvent::ReferRequested): accepts the transfer, or refuses it
    /// with a status (603 says: we do not do that).
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn answer_refer(&self, decision: Result<(), u16>) -> Result<(), SipError> {
        self.command(LegCommand::AnswerRefer(decision)).await
    }

    /// Tells the far end how the call goes that it asked for: the status and phrase of what the new target answered. 200
    /// and more is the outcome. It may come after this call is over, for about two minutes.
    ///
    /// # Errors
    /// See [`Dialog`]; also when the far end does not want to hear more.
    pub async fn refer_progress(&self, status: u16, reason: &str) -> Result<(), SipError> {
        self.command(LegCommand::ReferProgress { status, reason: reason.to_owned() }).await
    }

    /// Sends a key by INFO (`application/dtmf-relay`).
    ///
    /// # Errors
    /// See [`Dialog`].
    pub async fn info_digit(&self, digit: char, duration_ms: u32) -> Result<(), SipError> {
        self.command(LegCommand::InfoDigit { digit, duration_ms }).await
    }

    async fn command(&self, command: LegCommand) -> Result<(), SipError> {
        let (reply, outcome) = oneshot::channel();
        let command = Command::Leg { leg: self.0.leg, command, reply };
        self.0.commands.send(command).await.map_err(|_| SipError::Closed)?;
        outcome.await.unwrap_or(Err(SipError::Closed))
    }
}
