//! Session descriptions: SDP read and written, offer and answer as pure functions (RFC 3264, RFC 8866).
//!
//! One audio stream of G.711 with digits by telephone-event. A [`Session`] keeps what one dialog has agreed on: it
//! answers offers, makes offers and takes their answers, and numbers its own descriptions. It never changes what is
//! agreed when something fails.
//!
//! What it never does: read a clock, draw a number, resolve a name, or panic on any input.

mod error;
mod negotiate;
mod policy;
mod remote;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use callbox_media::Codec;

pub use error::SdpError;
pub use negotiate::{Session, accept, answer, offer};
pub use policy::{CodecOrder, Encryption, Keying, Need, OfferStyle};

/// Media lines in a description that are looked at; a telephone call has one or two.
pub const MAX_MEDIA: usize = 32;

/// The payload type we give to telephone-event when the number is ours to choose.
pub const DTMF_PAYLOAD_TYPE: u8 = 101;

/// Who sends and who listens, seen from the side that says it (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// It sends and does not listen: it holds the other side.
    SendOnly,
    /// It listens and does not send.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The direction with these two halves.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether that side sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether that side listens.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The attribute that says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// Our side of the audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// The address to name; its family is that of the media.
    pub addr: IpAddr,
    /// Where we receive RTP.
    pub rtp_port: u16,
    /// Where we receive RTCP.
    pub rtcp_port: u16,
    /// What we speak, the best first. An offer lists all; an answer follows the order of the offer.
    pub codecs: Vec<Codec>,
    /// Whether telephone-event is spoken.
    pub dtmf: bool,
    /// What we want: [`Direction::SendOnly`] or [`Direction::Inactive`] to hold the far end.
    pub direction: Direction,
    /// Whether RTCP may come to the RTP port when the far end proposes that.
    pub rtcp_mux: bool,
}

impl LocalMedia {
    /// Both codecs, digits, both ways, RTCP on the next port.
    pub fn new(rtp: SocketAddr) -> Self {
        Self {
            addr: rtp.ip(),
            rtp_port: rtp.port(),
            rtcp_port: rtp.port().checked_add(1).unwrap_or(rtp.port()),
            codecs: Codec::G711.to_vec(),
            dtmf: true,
            direction: Direction::SendRecv,
            rtcp_mux: true,
        }
    }

    /// The same, in that direction.
    #[must_use]
    pub fn with_direction(self, direction: Direction) -> Self {
        Self { direction, ..self }
    }
}

/// The numbers of our `o=` line. Both start anywhere below 2⁶²; the version counts our descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionIds {
    /// Constant for the life of the dialog.
    pub id: u64,
    /// One more for each description that differs from the one before.
    pub version: u64,
}

/// What both sides agreed on, as the media plane needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The codec that we send.
    pub codec: Codec,
    /// Its payload type in what we send.
    pub payload_type: u8,
    /// The payload type of telephone-event in what we send; `None` when the far end does not speak it.
    pub dtmf: Option<u8>,
    /// Where to send RTP. An unspecified address means nowhere: the far end holds us in the way of RFC 2543.
    pub remote: SocketAddr,
    /// Where to send RTCP; the same as `remote` with rtcp-mux.
    pub remote_rtcp: SocketAddr,
    /// What we do: send, listen.
    pub direction: Direction,
    /// Milliseconds of audio per packet that the far end asked for: 10 to 60 in steps of 10.
    pub ptime_ms: u8,
}
