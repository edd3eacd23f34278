//! Offer and answer of one leg, and what follows from them for its media.

use crate::policy::{DtmfManner, LegPolicy};
use callbox_media::webrtc::{Answer, Offer};
use callbox_media::{Fingerprint, MediaCommand, MediaPlan, MediaPlane, Session};
use callbox_sip::sdp::{self, LocalMedia, Negotiated, SdpError, Secrets, SessionIds};
use callbox_sip::{Dialog, SipStack};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The status of a re-INVITE that cannot be accepted (RFC 3261 §14.2).
const NOT_ACCEPTABLE_HERE: u16 = 488;
/// The status of an offer that comes while ours is open (RFC 3261 §14.2).
const REQUEST_PENDING: u16 = 491;
/// TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): they stand for the world outside; nothing is sent
/// there.
const OUTSIDE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// What a leg goes into its negotiation with.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Our address as the far end sees it, for a media plane that listens on all addresses.
    pub address: Option<IpAddr>,
    /// Our address of the other family, for a far end that names one of that.
    pub other: Option<IpAddr>,
    /// Of the media plane's certificate, for DTLS-SRTP.
    pub fingerprint: Option<Fingerprint>,
    /// When the call was created, in Unix milliseconds: for the name of the session.
    pub created: u64,
    /// What the far end's trunk wants.
    pub policy: LegPolicy,
}

impl Terms {
    /// For a far end that sees us at `address`.
    pub(crate) fn new(
        stack: &SipStack,
        plane: &MediaPlane,
        address: Option<IpAddr>,
        created: u64,
        policy: LegPolicy,
    ) -> Self {
        let other = OUTSIDE.into_iter().find(|outside| address.is_some_and(|ours| ours.is_ipv4() != outside.is_ipv4()));
        let other = other.and_then(|outside| stack.media_address(outside));
        Self { address, other, fingerprint: Some(plane.fingerprint()), created, policy }
    }
}

/// The state of offer and answer of one leg.
#[derive(Clone, Debug)]
pub struct Negotiation {
    sdp: sdp::Session,
    local: LocalMedia,
    dtmf: DtmfManner,
    early_media: bool,
    /// Audio from where the signalling comes from is believed too.
    signalling_ip: Option<IpAddr>,
    /// What goes with our 200, where it is known before: our answer to the INVITE's offer, or our own offer of early
    /// media.
    answer: Option<Vec<u8>>,
    /// The far end's answer in a provisional response, and of which branch of a forked call.
    early: Option<(u8, Vec<u8>)>,
    /// What the media plane was told last.
    plan: Option<MediaPlan>,
    /// Why the media plane did not take what was agreed last.
    fault: Option<String>,
    /// The far end is a browser: the media plane has agreed with it.
    browser: Option<Browser>,
}

/// What is left to say to a browser.
#[derive(Clone, Debug)]
struct Browser {
    /// Our answer, until it has gone out with a 200.
    answer: Option<Vec<u8>>,
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

    /// For a call of a browser, to which the media plane has this answer.
    pub(crate) fn browser(media: &Session, terms: &Terms, answer: Answer) -> Self {
        let browser = Browser { answer: Some(answer.sdp.into_bytes()) };
        Self { browser: Some(browser), ..Self::new(media, None, terms) }
    }

    /// Whether the far end is a browser, with which nothing is agreed here.
    pub(crate) const fn is_browser(&self) -> bool {
        self.browser.is_some()
    }

    fn new(media: &Session, signalling_ip: Option<IpAddr>, terms: &Terms) -> Self {
        let policy = &terms.policy;
        let bound = media.local_rtp();
        let mut local = LocalMedia::new(bound);
        if bound.ip().is_unspecified() {
            // A socket of IPv6 that listens on all addresses serves IPv4 as well; one of IPv4 does not.
            let serves = |ours: &IpAddr| bound.is_ipv6() || ours.is_ipv4();
            let mut ours = [terms.address, terms.other].into_iter().flatten().filter(serves);
            local.addr = ours.next().unwrap_or(local.addr);
            local.other = ours.next();
        }
        if !policy.codecs.is_empty() {
            local.codecs.clone_from(&policy.codecs);
        }
        local.codec_order = policy.codec_order;
        local.encryption = policy.encryption;
        local.fingerprint = terms.fingerprint;
        local.signalling = signalling_ip;
        local.ptime_ms = policy.ptime_ms.unwrap_or(20).clamp(10, 60) / 10 * 10;
        // Keys that come in another way would be heard twice.
        local.dtmf = matches!(policy.dtmf, DtmfManner::Auto | DtmfManner::Rfc4733);
        // Unique for our address (RFC 8866 §5.2): no two sessions have the same port in one millisecond.
        let ids = SessionIds { id: terms.created << 16 | u64::from(local.rtp_port), version: 1 };
        let mut seed = [0; 32];
        let sdp = sdp::Session::new(ids);
        let sdp = match getrandom::fill(&mut seed) {
            Ok(()) => sdp.with_secrets(Secrets::new(seed)),
            Err(error) => {
                tracing::error!(%error, "the system gives no randomness: no keys in session descriptions");
                sdp
            }
        };
        Self {
            sdp,
            local,
            dtmf: policy.dtmf,
            early_media: policy.early_media,
            signalling_ip,
            answer: None,
            early: None,
            plan: None,
            fault: None,
            browser: None,
        }
    }

    /// What goes with our 183, to be heard before the call is answered: the answer, which our 200 repeats, or our offer
    /// where the INVITE had none. None once the call has been answered.
    pub(crate) fn for_early_media(&mut self, media: &Session) -> Option<Vec<u8>> {
        if let Some(browser) = &self.browser {
            return browser.answer.clone();
        }
        if self.answer.is_none() && self.sdp.negotiated().is_none() && !self.sdp.has_pending_offer() {
            self.answer = Some(self.sdp.offer(&self.local));
        }
        let sdp = self.answer.clone()?;
        self.apply(media);
        Some(sdp)
    }

    /// Whether both sides have agreed on something, be it for early media.
    pub(crate) fn agreed(&self) -> bool {
        self.is_browser() || self.sdp.negotiated().is_some()
    }

    /// What goes with our 200: the answer, or our offer where the INVITE had none. None once it
    /// has been asked for.
    pub(crate) fn for_answer(&mut self, media: &Session) -> Option<Vec<u8>> {
        if let Some(browser) = &mut self.browser {
            return browser.answer.take();
        }
        match self.answer.take() {
            Some(answer) => {
                // Again where it was heard before: from now on the far end's audio is expected, and may come from
                // somewhere else.
                self.again(media);
                Some(answer)
            }
            None if self.sdp.negotiated().is_none() && !self.sdp.has_pending_offer() => {
                Some(self.sdp.offer(&self.local))
            }
            None => None,
        }
    }

    /// The far end plays something before it takes the call: it is heard where the policy allows that. It promises
    /// nothing, so that our offer stays open; only the first branch of a forked call is heard. Tells whether it is.
    pub(crate) fn early(&mut self, sdp: &[u8], branch: u8, media: &Session) -> bool {
        let ours = self.early.as_ref().is_none_or(|(first, _)| *first == branch);
        if !self.early_media || !ours || !self.sdp.has_pending_offer() {
            return false;
        }
        match self.sdp.preview(&self.local, sdp) {
            Ok(agreed) => {
                self.early = Some((branch, sdp.to_vec()));
                self.configure(&agreed, media);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "an early answer cannot be used; the final one counts");
                false
            }
        }
    }

    /// The far end took the call, or our offer; `sdp` is its answer where it has one.
    ///
    /// # Errors
    /// The answer cannot be used, or is missing: end the call.
    pub fn confirmed(&mut self, sdp: Option<&[u8]>, media: &Session) -> Result<(), SdpError> {
        if !self.sdp.has_pending_offer() {
            // A 2xx or an ACK may carry the same description again: it changes nothing. A browser has its answer.
            return Ok(());
        }
        let early = self.early.take();
        let answer = sdp.or(early.as_ref().map(|(_, answer)| answer.as_slice())).ok_or(SdpError::NoAudio)?;
        self.sdp.accept(&self.local, answer)?;
        self.apply(media);
        Ok(())
    }

    /// The far end wants to change the session: our answer, or our offer where it has none; or the status to refuse it
    /// with, and what was agreed stays.
    fn reinvited(&mut self, sdp: Option<&[u8]>, media: &Session) -> Result<Vec<u8>, u16> {
        if self.sdp.has_pending_offer() {
            // Before the call is answered an offer can only come when ours has been answered for good, in a reliable
            // provisional response (RFC 6337 §2.2).
            let early = self.early.take().ok_or(REQUEST_PENDING)?;
            self.sdp.accept(&self.local, &early.1).map_err(|_| REQUEST_PENDING)?;
        }
        let Some(offer) = sdp else { return Ok(self.sdp.offer(&self.local)) };
        match self.sdp.answer(&self.local, offer) {
            Ok((answer, _)) => {
                // Our 200 to the INVITE brings no other answer than this any more.
                self.answer = self.answer.take().map(|_| answer.clone());
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
        if self.is_browser() {
            let answer = renegotiated(sdp, media).await;
            if let Err(error) = dialog.answer_reinvite(answer).await {
                tracing::debug!(sip_call = dialog.id(), %error, "a re-INVITE could not be answered");
            }
            return;
        }
        let before = self.clone();
        let answer = self.reinvited(sdp, media);
        if let Err(error) = dialog.answer_reinvite(answer).await {
            tracing::debug!(sip_call = dialog.id(), %error, "a re-INVITE could not be answered");
            let told = self.plan.take();
            *self = Self { plan: told, ..before };
            self.apply(media);
        }
    }

    /// Tells the media plane again what is agreed: it was told something else meanwhile.
    pub(crate) fn again(&mut self, media: &Session) {
        self.plan = None;
        self.apply(media);
    }

    /// Why the media plane did not take what was agreed, where it did not.
    pub(crate) fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    /// Whether both sides have agreed and no answer of ours waits to be sent.
    pub(crate) fn settled(&self) -> bool {
        if let Some(browser) = &self.browser {
            return browser.answer.is_none();
        }
        self.answer.is_none() && self.sdp.negotiated().is_some()
    }

    /// Tells the media plane what is agreed.
    fn apply(&mut self, media: &Session) {
        if let Some(agreed) = self.sdp.negotiated().cloned() {
            self.configure(&agreed, media);
        }
    }

    /// Nothing new is not told: a refresh of the session must not be heard.
    fn configure(&mut self, agreed: &Negotiated, media: &Session) {
        let plan = self.plan_of(agreed);
        if self.plan.as_ref() == Some(&plan) {
            return;
        }
        self.plan = Some(plan.clone());
        self.fault = media.send(MediaCommand::Configure(plan)).err().map(|error| error.to_string());
    }

    fn plan_of(&self, agreed: &Negotiated) -> MediaPlan {
        MediaPlan {
            formats: agreed.formats.clone(),
            dtmf: agreed.dtmf,
            events: agreed.events.clone(),
            comfort_noise: agreed.comfort_noise,
            dtx: agreed.dtx,
            fec: agreed.fec,
            detect_tones: match self.dtmf {
                DtmfManner::Auto => agreed.dtmf.is_none(),
                DtmfManner::Inband => true,
                DtmfManner::Rfc4733 | DtmfManner::Info => false,
            },
            remote_rtcp: agreed.remote_rtcp,
            signalling_ip: self.signalling_ip.unwrap_or_else(|| agreed.remote.ip()),
            send: agreed.direction.sends(),
            receive: agreed.direction.receives(),
            ptime_ms: agreed.ptime_ms,
            security: agreed.security.clone(),
            ..MediaPlan::new(agreed.codec, agreed.payload_type, agreed.remote)
        }
    }
}

/// The answer to a later offer of a browser: to hold, to resume, after its network has changed. An offer of ours, for
/// which a re-INVITE without one asks, it cannot have: nothing in its call is ours to change.
async fn renegotiated(sdp: Option<&[u8]>, media: &Session) -> Result<Vec<u8>, u16> {
    let refused = |error: String| {
        tracing::info!(error, "an offer of a browser in the middle of a call cannot be met");
        NOT_ACCEPTABLE_HERE
    };
    let text = sdp.and_then(|sdp| std::str::from_utf8(sdp).ok()).ok_or(NOT_ACCEPTABLE_HERE)?;
    let offer = Offer::parse(text).map_err(|error| refused(error.to_string()))?;
    let answer = media.renegotiate(offer).await.map_err(|error| refused(error.to_string()))?;
    Ok(answer.sdp.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::CallId;
    use callbox_media::{MediaConfig, MediaPlane};
    use callbox_sip::sdp::Codec;

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

    fn early(offer: &[u8], codec: Codec) -> (Vec<u8>, Negotiated) {
        let local = LocalMedia { codecs: vec![codec], ..LocalMedia::new("127.0.0.1:4000".parse().unwrap()) };
        sdp::answer(&local, &SessionIds { id: 9, version: 1 }, offer).unwrap()
    }

    #[test]
    fn early_media_promises_nothing() {
        let (_plane, [ours, _]) = sessions();
        let (mut here, offer) = Negotiation::outbound(&ours, &terms(1));
        let (first, _) = early(&offer, Codec::Pcma);
        let (second, _) = early(&offer, Codec::Pcmu);
        assert!(here.early(&first, 0, &ours));
        assert_eq!(here.plan.as_ref().unwrap().codec, Codec::Pcma);
        assert!(!here.early(&second, 1, &ours), "another branch of a fork is not heard");
        assert!(!here.settled());
        assert!(!here.early(b"v=0", 0, &ours), "a broken one is passed over");
        // The branch that answers counts; where its 2xx says nothing, what it said before does.
        let mut silent = here.clone();
        silent.confirmed(None, &ours).unwrap();
        assert_eq!(silent.plan.as_ref().unwrap().codec, Codec::Pcma);
        here.confirmed(Some(&second), &ours).unwrap();
        assert_eq!(here.plan.as_ref().unwrap().codec, Codec::Pcmu);
        assert!(here.settled() && !here.early(&first, 0, &ours), "too late");

        let deaf = LegPolicy { early_media: false, ..LegPolicy::default() };
        let (mut here, _) = Negotiation::outbound(&ours, &Terms { policy: deaf, ..terms(1) });
        assert!(!here.early(&first, 0, &ours) && here.plan.is_none());
    }

    /// RFC 3261 §13.3.1.1: what is said early is what the 2xx says.
    #[test]
    fn who_hears_us_early_has_no_answer_yet() {
        let (_plane, [ours, theirs]) = sessions();
        let (_, offer) = Negotiation::outbound(&theirs, &terms(1));
        let ip = theirs.local_rtp().ip();
        let mut here = Negotiation::inbound(&ours, Some(&offer), ip, &terms(1)).unwrap();
        let early = here.for_early_media(&ours).unwrap();
        assert!(here.plan.is_some() && !here.settled());
        assert_eq!(here.for_early_media(&ours), Some(early.clone()), "asked again");
        assert_eq!(here.for_answer(&ours), Some(early));
        assert!(here.settled());
        assert_eq!(here.for_early_media(&ours), None, "it is answered");

        let mut here = Negotiation::inbound(&ours, None, ip, &terms(1)).unwrap();
        let early = here.for_early_media(&ours).unwrap();
        assert!(here.plan.is_none() && !here.agreed(), "our offer has no answer yet");
        assert_eq!(here.for_answer(&ours), Some(early), "the offer is the same");
    }

    /// RFC 3311: an offer before the answer to the call, once ours has been answered for good.
    #[test]
    fn an_early_offer_of_the_far_end_settles_ours() {
        let (_plane, [ours, _]) = sessions();
        let (mut here, offer) = Negotiation::outbound(&ours, &terms(1));
        let (answer, _) = early(&offer, Codec::Pcma);
        assert_eq!(here.reinvited(Some(&offer), &ours), Err(REQUEST_PENDING), "nothing was answered yet");
        assert!(here.early(&answer, 0, &ours));
        let update = String::from_utf8(answer).unwrap().replace("a=sendrecv", "a=sendonly");
        assert!(here.reinvited(Some(update.as_bytes()), &ours).is_ok());
        assert!(here.settled() && !here.plan.as_ref().unwrap().send);
        assert!(here.confirmed(None, &ours).is_ok());
    }

    #[test]
    fn what_a_trunk_wants_is_what_is_negotiated() {
        let (_plane, [ours, _]) = sessions();
        let plan = |policy: LegPolicy| {
            let (mut here, offer) = Negotiation::outbound(&ours, &Terms { policy, ..terms(1) });
            let local = LocalMedia::new("127.0.0.1:4000".parse().unwrap());
            let (answer, _) = sdp::answer(&local, &SessionIds { id: 9, version: 1 }, &offer).unwrap();
            here.confirmed(Some(&answer), &ours).unwrap();
            (String::from_utf8(offer).unwrap(), here.plan.unwrap())
        };
        let narrow = LegPolicy { codecs: vec![Codec::Pcma], ptime_ms: Some(30), ..LegPolicy::default() };
        let (offer, agreed) = plan(narrow);
        assert!(offer.contains(" RTP/AVP 8 101\r\n") && offer.contains("a=ptime:30\r\n"), "{offer}");
        assert_eq!((agreed.codec, agreed.dtmf, agreed.detect_tones), (Codec::Pcma, Some(101), false));
        for (dtmf, events, tones) in [
            (DtmfManner::Auto, true, false),
            (DtmfManner::Rfc4733, true, false),
            (DtmfManner::Info, false, false),
            (DtmfManner::Inband, false, true),
        ] {
            let (_, agreed) = plan(LegPolicy { dtmf, ..LegPolicy::default() });
            assert_eq!((agreed.dtmf.is_some(), agreed.detect_tones), (events, tones), "{dtmf:?}");
        }
    }
}
