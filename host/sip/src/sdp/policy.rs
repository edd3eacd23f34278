//! What our side of the audio insists on, wants, or leaves to the far end.

/// Whose order of codecs counts in an answer of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CodecOrder {
    /// The offerer's: its first codec that we speak (RFC 3264 §6.1 leaves it to us; what the far end prefers is seldom
    /// wrong).
    #[default]
    Theirs,
    /// Ours: the first of our codecs that was offered.
    Ours,
}

/// Whether media is encrypted, by what means, and how that is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encryption {
    /// How much it matters.
    pub need: Need,
    /// How keys are agreed on.
    pub keying: Keying,
    /// How an offer of ours puts it where it is preferred but not required.
    pub style: OfferStyle,
}

impl Encryption {
    /// Nothing but plain RTP.
    pub const OFF: Self = Self { need: Need::Off, keying: Keying::Any, style: OfferStyle::OneLine };

    /// Nothing but SRTP, with keys agreed on in that manner.
    #[must_use]
    pub fn required(keying: Keying) -> Self {
        Self { need: Need::Required, keying, style: OfferStyle::OneLine }
    }

    /// SRTP where the far end speaks it, plain RTP otherwise.
    #[must_use]
    pub fn preferred(keying: Keying, style: OfferStyle) -> Self {
        Self { need: Need::Preferred, keying, style }
    }
}

/// How much encryption matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Need {
    /// It is neither offered nor accepted: an offer of nothing but SRTP is refused.
    Off,
    /// It is accepted where the far end offers it; our own offers are plain.
    #[default]
    Accepted,
    /// It is offered beside plain RTP.
    Preferred,
    /// Plain RTP is refused, in offers and in answers.
    Required,
}

/// How the keys of SRTP are agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keying {
    /// Either; DTLS-SRTP where the far end leaves the choice, since its keys do not pass through the servers between
    /// us. An offer that has to choose takes SDES, which more telephones speak.
    #[default]
    Any,
    /// Keys in the description (RFC 4568). The signalling should be TLS.
    Sdes,
    /// Keys by a handshake in the media, fingerprints in the description (RFC 5763).
    Dtls,
}

/// How an offer of ours puts encryption that is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OfferStyle {
    /// One line of `RTP/AVP` with keys beside it, which a far end without SRTP ignores (RFC 8643).
    #[default]
    OneLine,
    /// Two lines on one port, the encrypted one first: of those a far end takes one.
    TwoLines,
}
