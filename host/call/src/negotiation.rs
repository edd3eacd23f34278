//! Offer and answer of one leg, and what follows from them for its media.

use crate::policy::LegPolicy;
use callbox_media::{MediaCommand, MediaPlan, Session};
use callbox_sip::Dialog;
use callbox_sip::sdp::{self, Codec, LocalMedia, Negotiated, SdpError, SessionIds};
use std::net::IpAddr;

/// The status of a re-INVITE that cannot be accepted (RFC 3261 §14.2).
const NOT_ACCEPTABLE_HERE: u16 = 488;
/// The status of an offer that comes while ours is open (RFC 3261 §14.2).
const REQUEST_PENDING: u16 = 491;

/// What a leg goes into its negotiation with.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Our address as the far end sees it, for a media plane that listens on all addresses.
    pub address: Option<IpAddr>,
    /// When the call was created, in Unix milliseconds: for the name of the session.
    pub created: u64,
    /// What the far end's trunk wants.
    pub policy: LegPolicy,
}

/// The state of offer and answer of one leg.
#[derive(Clone, Debug)]
pub struct Negotiation {
    sdp: sdp::Session,
    local: LocalMedia,
    /// Audio from where the signalling comes from is believed too.
    signalling_ip: Option<IpAddr>,
    /// Our answer to the INVITE's offer, until the call is answered.
    answer: Option<Vec<u8>>,
    /// Why the media plane did not take what was agreed last.
    fault: Option<String>,
}

impl Negotiation {
    /// For a call that came in. Without an offer, ours goes with the answer.
    ///
    /// # Errors
    /// The offer cannot be met: refuse the call with the error's status.
    pub fn inbound(
        media: &Session,
        offer: Option<&[u8]>,
        signalling_ip: IpAddr,
        terms: &Terms,
    ) -> Result<Self, SdpError> {
        let mut negotiation = Self::new(media, Some(signalling_ip), terms);
        if let Some(offer) = offer {
            let (answer, _) = negotiation.sdp.answer(&negotiation.local, offer)?;
            negotiation.answer = Some(answer);
        }
        Ok(negotiation)
    }

    /// For a call we place, and its offer.
    #[must_use]
    pub fn outbound(media: &Session, terms: &Terms) -> (Self, Vec<u8>) {
        let mut negotiation = Self::new(media, None, terms);
        let offer = negotiation.sdp.offer(&negotiation.local);
        (negotiation, offer)
    }

    fn new(media: &Session, signalling_ip: Option<IpAddr>, terms: &Terms) -> Self {
        let mut local = LocalMedia::new(media.local_rtp());
        if local.addr.is_unspecified() {
            local.addr = terms.address.unwrap_or(local.addr);
        }
        let wanted = &terms.policy.codecs;
        local.codecs = if wanted.is_empty() { Codec::G711.to_vec() } else { wanted.clone() };
        // Unique for our address (RFC 8866 §5.2): no two sessions have the same port in one millisecond.
        let ids = SessionIds { id: terms.created << 16 | u64::from(local.rtp_port), version: 1 };
        Self { sdp: sdp::Session::new(ids), local, signalling_ip, answer: None, fault: None }
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

    /// The far end wants to change the session: our answer, or our offer where it has none; or the status to refuse it
    /// with, and what was agreed stays.
    fn reinvited(&mut self, sdp: Option<&[u8]>, media: &Session) -> Result<Vec<u8>, u16> {
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
                tracing::info!(%error, "an offer in the middle of a call cannot be met");
                Err(NOT_ACCEPTABLE_HERE)
            }
        }
    }

    /// Answers a re-INVITE. Where the answer does not get out, since the far end has given up or the call is over,
    /// what was agreed before holds.
    pub async fn reinvite(&mut self, sdp: Option<&[u8]>, media: &Session, dialog: &Dialog) {
        let before = self.clone();
        let answer = self.reinvited(sdp, media);
        if let Err(error) = dialog.answer_reinvite(answer).await {
            tracing::debug!(sip_call = dialog.id(), %error, "a re-INVITE could not be answered");
            *self = before;
            self.apply(media);
        }
    }

    /// Why the media plane did not take what was agreed, where it did not.
    pub(crate) fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    /// Whether both sides have agreed and no answer of ours waits to be sent.
    pub(crate) fn settled(&self) -> bool {
        self.answer.is_none() && self.sdp.negotiated().is_some()
    }

    /// Tells the media plane what is agreed.
    fn apply(&mut self, media: &Session) {
        let Some(agreed) = self.sdp.negotiated() else { return };
        self.fault = media.send(MediaCommand::Configure(self.plan(agreed))).err().map(|error| error.to_string());
    }

    fn plan(&self, agreed: &Negotiated) -> MediaPlan {
        MediaPlan {
            formats: agreed.formats.clone(),
            dtmf: agreed.dtmf,
            events: agreed.events.clone(),
            comfort_noise: agreed.comfort_noise,
            dtx: agreed.dtx,
            fec: agreed.fec,
            detect_tones: agreed.dtmf.is_none(),
            security: agreed.security.clone(),
            remote_rtcp: agreed.remote_rtcp,
            signalling_ip: self.signalling_ip.unwrap_or_else(|| agreed.remote.ip()),
            send: agreed.direction.sends(),
            receive: agreed.direction.receives(),
            ptime_ms: agreed.ptime_ms,
            ..MediaPlan::new(agreed.codec, agreed.payload_type, agreed.remote)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::CallId;
    use callbox_media::{MediaConfig, MediaPlane};

    fn sessions() -> (MediaPlane, [Session; 2]) {
        let plane = MediaPlane::start(MediaConfig { ports: 0..=0, workers: 1, ..MediaConfig::default() }).unwrap();
        let open = |name: &str| plane.open(&CallId(name.into())).unwrap().0;
        let both = [open("a"), open("b")];
        (plane, both)
    }

    fn terms(created: u64) -> Terms {
        Terms { created, ..Terms::default() }
    }

    fn origin(sdp: &[u8]) -> String {
        let text = std::str::from_utf8(sdp).unwrap();
        text.lines().find(|line| line.starts_with("o=")).unwrap().to_owned()
    }

    #[test]
    fn no_two_sessions_of_a_moment_have_the_same_name() {
        let (_plane, [one, other]) = sessions();
        let offers = [&one, &other].map(|session| Negotiation::outbound(session, &terms(1_795_251_940_000)).1);
        assert_ne!(origin(&offers[0]), origin(&offers[1]));
    }

    #[test]
    fn an_offer_of_ours_is_open_until_it_is_answered_or_taken_back() {
        let (_plane, [ours, theirs]) = sessions();
        let (_, offer) = Negotiation::outbound(&theirs, &terms(1));
        let ip = theirs.local_rtp().ip();
        let mut here = Negotiation::inbound(&ours, Some(&offer), ip, &terms(1)).unwrap();
        assert!(!here.settled(), "our answer is not out yet");
        assert!(here.for_answer(&ours).is_some() && here.for_answer(&ours).is_none());
        assert!(here.settled());
        let before = here.clone();
        assert!(here.reinvited(None, &ours).is_ok(), "asked for our offer");
        assert_eq!(here.reinvited(Some(&offer), &ours), Err(REQUEST_PENDING));
        assert!(here.confirmed(None, &ours).is_err(), "its answer is missing");
        here = before;
        assert!(here.reinvited(Some(&offer), &ours).is_ok());
        assert_eq!(here.reinvited(Some(b"v=0"), &ours), Err(NOT_ACCEPTABLE_HERE));
        assert!(here.settled(), "what was agreed stays");
        assert_eq!(here.take_fault(), None);
    }
}
