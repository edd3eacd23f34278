//! What can go wrong between the caller of this room and its threads.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Why the plane did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Nothing to take a port pair from. Answer 503 with `Retry-After`.
    #[error("no free pair of RTP ports in {}-{}: all {pairs} pairs are taken by our calls or by other programs", .range.start(), .range.end())]
    PortsExhausted {
        /// The configured range.
        range: RangeInclusive<u16>,
        /// Pairs in it.
        pairs: usize,
    },
    /// As many sessions as the configuration allows. Answer 503 with `Retry-After`.
    #[error("the limit of {0} media sessions is reached")]
    SessionLimit(usize),
    /// The address cannot be bound at all.
    #[error("cannot open an RTP socket on {address}: {source}")]
    Bind {
        /// The address of the configuration.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A port for browsers cannot be bound.
    #[error("cannot open the WebRTC port {address}: {source}")]
    BindWebRtc {
        /// The address of the configuration.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A configuration that cannot work.
    #[error("media configuration: {0}")]
    Config(String),
    /// The system did not give what a plane needs to start.
    #[error("cannot start the media threads: {what}: {source}")]
    Start {
        /// What was missing.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The session or its worker has more commands waiting than it should ever have; the caller is too fast.
    #[error("the media thread has too many commands waiting")]
    Busy,
    /// The plane has been shut down.
    #[error("the media plane is shut down")]
    Stopped,
    /// Not digits.
    #[error("cannot send {0:?} as digits: use up to {max} of 0-9 * # A-D and the comma", max = crate::dtmf::MAX_DIGITS)]
    InvalidDigits(String),
    /// Bridging with itself or with a session of another plane.
    #[error("session {0} cannot be bridged: it is this one, or not of this plane")]
    InvalidBridge(crate::SessionId),
    /// The plane has no port for browsers.
    #[error("WebRTC is not configured: there is no UDP port for it")]
    WebRtcOff,
    /// A telephone's session was asked for what only a browser's has.
    #[error("this session is not one of WebRTC")]
    NotWebRtc,
    /// A browser's offer that cannot be answered. Answer 488, or 400 and 422 by HTTP.
    #[error(transparent)]
    Offer(#[from] callbox_webrtc::OfferError),
}
