//! Session descriptions: SDP read and written, offer and answer as pure functions (RFC 3264, RFC 8866).
//!
//! One audio stream, with digits by telephone-event, plain or protected. A [`Session`] keeps what one dialog has agreed
//! on: it answers offers, makes offers and takes their answers, and numbers its own descriptions. It never changes what
//! is agreed when something fails, and never has two streams.
//!
//! * `remote` reads, `payload` names, `protection` exchanges keys, `negotiate` decides, `policy` says what we want
//!
//! ICE, bundles, bandwidths and labels of the far end mean nothing here, and nothing is said about them: it sees a peer
//! that does plain symmetric RTP.
//!
//! What it never does: read a clock, draw a number, resolve a name, or panic on any input.

mod error;
mod negotiate;
mod payload;
mod policy;
mod protection;
mod remote;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use callbox_media::{Codec, DtlsRole, Fingerprint, Security, SrtpKeys, SrtpSuite};

pub use error::SdpError;
pub use negotiate::{Session, answer};
pub use policy::{CodecOrder, Encryption, Keying, Need, OfferStyle};
pub use protection::Secrets;

/// Media lines in a description that are looked at; a telephone call has one or two.
pub const MAX_MEDIA: usize = 32;

/// The payload type we give to telephone-event at 8 kHz when the number is ours to choose.
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
    /// The address to name in an offer.
    pub addr: IpAddr,
    /// Our address of the other family, where we have one: for a far end that names one of that family.
    pub other: Option<IpAddr>,
    /// Where audio for a far end goes that names a host instead of an address: where its signalling comes from. None
    /// refuses it.
    pub signalling: Option<IpAddr>,
    /// Where we receive RTP.
    pub rtp_port: u16,
    /// Where we receive RTCP.
    pub rtcp_port: u16,
    /// What we speak, the best first. An offer lists all.
    pub codecs: Vec<Codec>,
    /// Whether an answer of ours follows this order or the offer's.
    pub codec_order: CodecOrder,
    /// Whether telephone-event is spoken.
    pub dtmf: bool,
    /// Whether comfort noise is agreed on where the far end offers it.
    pub comfort_noise: bool,
    /// Milliseconds of audio that we would like in a packet; what the far end asks for wins.
    pub ptime_ms: u8,
    /// What we want: [`Direction::SendOnly`] or [`Direction::Inactive`] to hold the far end.
    pub direction: Direction,
    /// Whether RTCP may come to the RTP port when the far end proposes that.
    pub rtcp_mux: bool,
    /// Whether packets are protected.
    pub encryption: Encryption,
    /// Of our DTLS certificate; without one there is no DTLS-SRTP.
    pub fingerprint: Option<Fingerprint>,
}

impl LocalMedia {
    /// All codecs, digits, both ways, packets of 20 ms, RTCP on the next port, protection as offered.
    pub fn new(rtp: SocketAddr) -> Self {
        Self {
            addr: rtp.ip(),
            other: None,
            signalling: None,
            rtp_port: rtp.port(),
            rtcp_port: rtp.port().checked_add(1).unwrap_or(rtp.port()),
            codecs: Codec::ALL.to_vec(),
            codec_order: CodecOrder::default(),
            dtmf: true,
            comfort_noise: true,
            ptime_ms: 20,
            direction: Direction::SendRecv,
            rtcp_mux: true,
            encryption: Encryption::default(),
            fingerprint: None,
        }
    }

    /// The same, in that direction.
    #[must_use]
    pub fn with_direction(self, direction: Direction) -> Self {
        Self { direction, ..self }
    }

    /// Our address of the family of that one.
    fn address_towards(&self, remote: IpAddr) -> Option<IpAddr> {
        [Some(self.addr), self.other].into_iter().flatten().find(|ours| ours.is_ipv4() == remote.is_ipv4())
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
    /// What the far end may send, by payload type: as both sides have named it.
    pub formats: Vec<(u8, Codec)>,
    /// The payload type of telephone-event in what we send, on the clock of the codec; `None` when the far end does not
    /// speak it.
    pub dtmf: Option<u8>,
    /// Other payload types by which the far end may send telephone-events.
    pub events: Vec<u8>,
    /// The payload type of comfort noise, where the far end takes it.
    pub comfort_noise: Option<u8>,
    /// The far end can use the second, coarser copy of the audio that Opus puts into the next packet.
    pub fec: bool,
    /// The far end would rather have pauses than silence in Opus.
    pub dtx: bool,
    /// Where to send RTP. An unspecified address means nowhere: the far end holds us in the way of RFC 2543.
    pub remote: SocketAddr,
    /// Where to send RTCP; the same as `remote` with rtcp-mux.
    pub remote_rtcp: SocketAddr,
    /// What we do: send, listen.
    pub direction: Direction,
    /// Milliseconds of audio per packet that the far end asked for: 10 to 60 in steps of 10.
    pub ptime_ms: u8,
    /// How packets are protected.
    pub security: Security,
}
