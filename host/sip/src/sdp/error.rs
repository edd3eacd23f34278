//! Why a session description leads to no session.

/// Why an offer or an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// No session description, or one that no reader could make sense of.
    #[error("session description does not read: {0}")]
    Syntax(String),
    /// More media lines than [`MAX_MEDIA`](super::MAX_MEDIA).
    #[error("more than {} media lines", super::MAX_MEDIA)]
    TooManyMedia,
    /// No audio line, or only ones that are switched off.
    #[error("no audio offered")]
    NoAudio,
    /// Audio over nothing but transports that are not served, or that this far end may not use.
    #[error("audio over {0} is not served here")]
    Transport(String),
    /// SRTP, but no key or fingerprint that can be used.
    #[error("audio over {0} without keys that can be used: SDES of a common suite or a DTLS fingerprint needed")]
    Keys(String),
    /// Plain RTP where encryption is required.
    #[error("audio is not encrypted, which is required here")]
    Unprotected,
    /// Audio, but in no codec that is spoken here.
    #[error("no codec in common")]
    NoCodec,
    /// No address, a host name, or one of a family that we have no address of.
    #[error("media address cannot be used: {0}")]
    Address(String),
    /// The answer does not have the media lines of the offer.
    #[error("answer does not match the offer")]
    Shape,
    /// The answer switches our audio off.
    #[error("answer refuses audio")]
    Refused,
    /// An answer without an offer of ours.
    #[error("answer without an offer")]
    NoOffer,
}

impl SdpError {
    /// The status that refuses an INVITE with such an offer (RFC 3261 §21.4.26).
    pub fn status(&self) -> u16 {
        match self {
            Self::Syntax(_) => 400,
            _ => 488,
        }
    }

    /// The value of a `Warning` header that tells the caller what to change (RFC 3261 §20.43).
    pub fn warning(&self) -> Option<&'static str> {
        Some(match self {
            Self::Address(_) => "301 callbox \"Incompatible network address formats\"",
            Self::Transport(_) | Self::Keys(_) | Self::Unprotected => "302 callbox \"Incompatible transport protocol\"",
            Self::NoAudio | Self::TooManyMedia => "304 callbox \"Media type not available\"",
            Self::NoCodec => "305 callbox \"Incompatible media format\"",
            Self::Syntax(_) | Self::Shape | Self::Refused | Self::NoOffer => return None,
        })
    }
}
