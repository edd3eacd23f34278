//! Offer and answer of one leg, and what follows from them for its media.

use callbox_media::{MediaCommand, MediaPlan, Session};
use callbox_sip::sdp::{self, LocalMedia, Negotiated, SdpError, SessionIds};
use std::net::IpAddr;

/// The status of a re-INVITE that cannot be accepted (RFC 3261 §14.2).
const NOT_ACCEPTABLE_HERE: u16 = 488;
/// The status of an offer that comes while ours is open (RFC 3261 §14.2).
const REQUEST_PENDING: u16 = 491;

/// The state of offer and answer of one leg.
#[derive(Debug)]
pub struct Negotiation {
    sdp: sdp::Session,
    local: LocalMedia,
    /// Audio from where the signalling comes from is believed too.
    signalling_ip: Option<IpAddr>,
    /// Our answer to the INVITE's offer, until the call is answered.
    answer: Option<Vec<u8>>,
}

impl Negotiation {
    /// For a call that came in. Without an offer, ours goes with the answer. `address` is ours as
    /// the far end sees it, for a media plane that listens on all addresses.
    ///
    /// # Errors
    /// The offer cannot be met: refuse the call with the error's status.
    pub fn inbound(
        media: &Session,
        offer: Option<&[u8]>,
        signalling_ip: IpAddr,
        address: Option<IpAddr>,
        ids: SessionIds,
    ) -> Result<Self, SdpError> {
        let mut negotiation = Self::new(media, Some(signalling_ip), address, ids);
        if let Some(offer) = offer {
            let (answer, _) = negotiation.sdp.answer(&negotiation.local, offer)?;
            negotiation.answer = Some(answer);
        }
        Ok(negotiation)
    }

    /// For a call we place, and its offer.
    #[must_use]
    pub fn outbound(media: &Session, address: Option<IpAddr>, ids: SessionIds) -> (Self, Vec<u8>) {
        let mut negotiation = Self::new(media, None, address, ids);
        let offer = negotiation.sdp.offer(&negotiation.local);
        (negotiation, offer)
    }

    fn new(media: &Session, signalling_ip: Option<IpAddr>, address: Option<IpAddr>, ids: SessionIds) -> Self {
        let mut local = LocalMedia::new(media.local_rtp());
        if local.addr.is_unspecified() {
            local.addr = address.unwrap_or(local.addr);
        }
        Self { sdp: sdp::Session::new(ids), local, signalling_ip, answer: None }
    }

    /// What goes with our 200: the answer, or our offer where the INVITE had none. None once it
    /// has been asked for.
    pub(crate) fn for_answer(&mut self, media: &Session) -> Option<Vec<u8>> {
        match self.answer.take() {
            Some(answer) => {
                self.apply(media);
                Some(answer)
            }
            None if self.sdp.negotiated().is_none() && !self.sdp.has_pending_offer() => {
                Some(self.sdp.offer(&self.local))
            }
            None => None,
        }
    }

    /// The far end took the call, or our offer; `sdp` is its answer where it has one.
    ///
    /// # Errors
    /// The answer cannot be used, or is missing: end the call.
    pub fn confirmed(&mut self, sdp: Option<&[u8]>, media: &Session) -> Result<(), SdpError> {
        if !self.sdp.has_pending_offer() {
            // A 2xx or an ACK may carry the same description again: it changes nothing.
            return Ok(());
        }
        let answer = sdp.ok_or(SdpError::NoAudio)?;
        self.sdp.accept(&self.local, answer)?;
        self.apply(media);
        Ok(())
    }

    /// The far end wants to change the session: our answer, or our offer where it has none.
    ///
    /// # Errors
    /// The status to refuse it with; what was agreed stays.
    pub fn reinvited(&mut self, sdp: Option<&[u8]>, media: &Session) -> Result<Vec<u8>, u16> {
        if self.sdp.has_pending_offer() {
            return Err(REQUEST_PENDING);
        }
        let Some(offer) = sdp else { return Ok(self.sdp.offer(&self.local)) };
        match self.sdp.answer(&self.local, offer) {
            Ok((answer, _)) => {
                self.apply(media);
                Ok(answer)
            }
            Err(error) => {
                tracing::warn!(%error, "an offer in the middle of a call cannot be met");
                Err(NOT_ACCEPTABLE_HERE)
            }
        }
    }

    /// Whether both sides have agreed and no answer of ours waits to be sent.
    pub(crate) fn settled(&self) -> bool {
        self.answer.is_none() && self.sdp.negotiated().is_some()
    }

    /// Tells the media plane what is agreed.
    fn apply(&self, media: &Session) {
        let Some(agreed) = self.sdp.negotiated() else { return };
        if let Err(error) = media.send(MediaCommand::Configure(self.plan(agreed))) {
            tracing::error!(%error, "the media plane does not take what was agreed");
        }
    }

    fn plan(&self, agreed: &Negotiated) -> MediaPlan {
        MediaPlan {
            codec: agreed.codec,
            payload_type: agreed.payload_type,
            dtmf: agreed.dtmf,
            remote: agreed.remote,
            remote_rtcp: agreed.remote_rtcp,
            signalling_ip: self.signalling_ip.unwrap_or_else(|| agreed.remote.ip()),
            send: agreed.direction.sends(),
            receive: agreed.direction.receives(),
            ptime_ms: agreed.ptime_ms,
        }
    }
}
