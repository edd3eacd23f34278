//! Calls by WebRTC: how the plane is reached by browsers, and what opening such a call gives.
//!
//! Such a session has no port of its own. All share one UDP port, and one TCP port for those whom UDP does not reach.

pub(crate) mod connection;
pub(crate) mod gate;
pub(crate) mod names;
pub(crate) mod reach;

use crate::codec::Codec;
use crate::command::{MediaEvent, MediaPlan};
use crate::dtls::Credentials;
use crate::plane::Session;
use crate::webrtc::names::Name;
use callbox_webrtc as rtc;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub use self::reach::network_of;
pub use callbox_webrtc::{IceFragment, LONGEST_OFFER, Offer, OfferError};

/// How browsers reach a plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebRtcConfig {
    /// The UDP ports of all calls: one, or one for each family of addresses. Port 0 takes a free one, for tests. An
    /// address of a host with several should be named: from a wildcard the system chooses the sender of what we send.
    pub udp: Vec<SocketAddr>,
    /// The TCP ports that wait for those whom UDP does not reach (ICE-TCP, RFC 6544); none for no fall-back.
    pub tcp: Vec<SocketAddr>,
    /// The addresses that candidates name, the best first: the public ones behind a one-to-one NAT. With none it is
    /// those that are bound.
    pub advertise: Vec<IpAddr>,
    /// The longest from the answer to the end of the DTLS handshake; then [`MediaEvent::SecurityFailed`].
    pub connect_timeout: Duration,
    /// Bytes of the longest message on a data channel, either way.
    pub max_message: usize,
    /// Messages that a far end may send in a second, and as many more in one go; more are dropped and counted.
    pub messages_per_second: u32,
    /// TCP connections at a time, over all calls.
    pub max_tcp: usize,
    /// Of these, from one address (IPv6: from one network of 64 bits) before it is known whose call they are.
    pub max_tcp_strangers: usize,
}

impl WebRtcConfig {
    /// On this UDP port alone, with the usual limits.
    #[must_use]
    pub fn new(udp: SocketAddr) -> Self {
        Self {
            udp: vec![udp],
            tcp: Vec::new(),
            advertise: Vec::new(),
            connect_timeout: Duration::from_secs(20),
            max_message: 16 * 1_024,
            messages_per_second: 20,
            max_tcp: 1_024,
            max_tcp_strangers: 8,
        }
    }
}

/// What we want in the answer to a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebRtcPolicy {
    /// What may be spoken, the best first: Opus, G.722 and G.711 are what browsers have; others are skipped.
    pub codecs: Vec<Codec>,
    /// The far end's order counts, not ours.
    pub follow_offer: bool,
    /// Both sides may pause while nobody speaks, where the far end understands it.
    pub dtx: bool,
}

impl Default for WebRtcPolicy {
    fn default() -> Self {
        Self { codecs: vec![Codec::Opus, Codec::Pcmu, Codec::Pcma], follow_offer: false, dtx: false }
    }
}

impl WebRtcPolicy {
    pub(crate) fn in_rtc(&self) -> rtc::Policy {
        let codecs = self.codecs.iter().filter_map(|codec| match codec {
            Codec::Opus => Some(rtc::Codec::Opus),
            Codec::G722 => Some(rtc::Codec::G722),
            Codec::Pcmu => Some(rtc::Codec::Pcmu),
            Codec::Pcma => Some(rtc::Codec::Pcma),
            Codec::G729 => None,
        });
        rtc::Policy { codecs: codecs.collect(), follow_offer: self.follow_offer, dtx: self.dtx }
    }
}

/// A call by WebRTC that is open: its media begins by itself as soon as the far end has come and DTLS is done
/// ([`MediaEvent::SecurityEstablished`]). [`crate::MediaCommand::Configure`] means nothing to it: what is agreed on is
/// what the answer says.
#[derive(Debug)]
pub struct Opened {
    /// The session, as any other.
    pub session: Session,
    /// What it reports, as any other.
    pub events: mpsc::Receiver<MediaEvent>,
    /// What to send back.
    pub answer: Answer,
}

/// The answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The description, `application/sdp`.
    pub sdp: String,
    /// The name of this session of ICE, for an `ETag` (RFC 9725 §4.3.1): another one after each restart.
    pub ice_session: String,
    /// What is spoken.
    pub codec: Codec,
    /// Digits come and go as telephone-events; else they are tones in the audio.
    pub dtmf: bool,
    /// There will be a data channel.
    pub data: bool,
    /// We send audio: the far end does not hold us.
    pub send: bool,
    /// The far end sends audio.
    pub receive: bool,
}

/// What came of a client's ICE fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceAnswer {
    /// It told candidates of the session that there is: nothing to answer (204).
    Unchanged,
    /// ICE begins anew.
    Restarted {
        /// Our side, `application/trickle-ice-sdpfrag`.
        fragment: String,
        /// As in [`Answer::ice_session`].
        ice_session: String,
    },
}

impl Answer {
    pub(crate) fn new(answered: rtc::Answered, credentials: &rtc::IceCredentials) -> Self {
        let rtc::Answered { sdp, agreed } = answered;
        Self {
            sdp,
            ice_session: credentials.ufrag.clone(),
            codec: codec(agreed.codec),
            dtmf: agreed.dtmf.is_some(),
            data: agreed.data,
            send: agreed.send,
            receive: agreed.receive,
        }
    }
}

/// What every peer of a plane is made with, but for its candidates.
pub(crate) fn peers(config: &WebRtcConfig, credentials: &Credentials, start: Instant) -> rtc::PeerConfig {
    let certificate = credentials.certificate().clone();
    rtc::PeerConfig {
        fingerprint: rtc::fingerprint(&certificate),
        certificate,
        candidates: Vec::new(),
        max_message: config.max_message,
        messages_per_second: config.messages_per_second,
        connect_timeout: config.connect_timeout,
        start,
    }
}

const fn codec(codec: rtc::Codec) -> Codec {
    match codec {
        rtc::Codec::Opus => Codec::Opus,
        rtc::Codec::G722 => Codec::G722,
        rtc::Codec::Pcmu => Codec::Pcmu,
        rtc::Codec::Pcma => Codec::Pcma,
    }
}

/// What is agreed on, as a plan whose far end is there: nowhere yet.
pub(crate) fn plan(agreed: &rtc::Agreement, far: Option<SocketAddr>) -> MediaPlan {
    let far = far.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
    MediaPlan {
        dtmf: agreed.dtmf,
        events: agreed.events.clone(),
        comfort_noise: agreed.comfort_noise,
        dtx: agreed.dtx,
        fec: agreed.fec,
        detect_tones: agreed.dtmf.is_none(),
        remote_rtcp: far,
        send: agreed.send,
        receive: agreed.receive,
        ptime_ms: agreed.ptime_ms,
        ..MediaPlan::new(codec(agreed.codec), agreed.payload_type, far)
    }
}

/// What a session of WebRTC has instead of ports.
pub(crate) struct Browser {
    pub(crate) peer: rtc::Peer,
    pub(crate) policy: rtc::Policy,
    /// By which checks find it: the name of now, and the one before a restart.
    pub(crate) names: Vec<Name>,
    /// That nothing comes has been told.
    pub(crate) silent: bool,
}

/// What is asked of a session of WebRTC that needs an answer.
pub(crate) enum Question {
    Offer(Offer),
    Fragment(IceFragment),
}

/// The answer.
pub(crate) enum Reply {
    Offer(Answer),
    Fragment(IceAnswer),
}
