//! What goes over the wire: the names, clocks and rates of the codecs, and each codec in a file of its own.

mod decode;
mod encode;
mod g711;
mod shared;

pub(crate) use decode::{Decoders, MOST, length};
pub(crate) use encode::{Encoder, MAX_PAYLOAD, OpusSettings, packet_time};
pub use g711::Law;
pub(crate) use shared::{Before, Packets};

use serde::{Deserialize, Serialize};
use std::fmt;

/// How audio is put into packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// G.711 µ-law, static payload type 0.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
    /// G.722 at 64 kbit/s, static payload type 9: 16 kHz of audio on a clock of 8 kHz, by an old error of RFC 1890
    /// (RFC 3551 §4.5.2).
    G722,
    /// Opus (RFC 7587), mono at 16 kHz here.
    Opus,
    /// G.729 with annex A, static payload type 18. Spoken only where the feature `g729` is compiled in.
    G729,
}

impl Codec {
    /// What this build speaks, the best for telephony first.
    #[cfg(not(feature = "g729"))]
    pub const ALL: &'static [Self] = &[Self::Opus, Self::G722, Self::Pcmu, Self::Pcma];
    /// What this build speaks, the best for telephony first.
    #[cfg(feature = "g729")]
    pub const ALL: &'static [Self] = &[Self::Opus, Self::G722, Self::Pcmu, Self::Pcma, Self::G729];
    /// What every telephone of the world speaks, and what costs nothing.
    pub const G711: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// The static payload type of RFC 3551; none for Opus, whose number each description chooses from 96 to 127.
    #[must_use]
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::Opus => None,
            Self::G729 => Some(18),
        }
    }

    /// The encoding name for SDP; compared without regard to case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
            Self::G729 => "G729",
        }
    }

    /// Ticks a second of RTP timestamps, as SDP says it. Telephone-events beside this codec run on the same clock.
    #[must_use]
    pub const fn rtp_clock(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma | Self::G722 | Self::G729 => 8_000,
        }
    }

    /// Samples a second of the audio that we put in and take out.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::G722 | Self::Opus => 16_000,
            Self::Pcmu | Self::Pcma | Self::G729 => 8_000,
        }
    }

    /// Channels that SDP names: two for Opus, always (RFC 7587 §7), whatever is sent.
    #[must_use]
    pub const fn channels_in_sdp(self) -> u8 {
        match self {
            Self::Opus => 2,
            Self::Pcmu | Self::Pcma | Self::G722 | Self::G729 => 1,
        }
    }

    /// The law, where this is G.711.
    #[must_use]
    pub const fn law(self) -> Option<Law> {
        match self {
            Self::Pcmu => Some(Law::Mu),
            Self::Pcma => Some(Law::A),
            Self::G722 | Self::Opus | Self::G729 => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_the_registry() {
        for codec in Codec::ALL {
            let (number, clock) = match codec {
                Codec::Pcmu => (Some(0), 8_000),
                Codec::Pcma => (Some(8), 8_000),
                Codec::G722 => (Some(9), 8_000),
                Codec::Opus => (None, 48_000),
                Codec::G729 => (Some(18), 8_000),
            };
            assert_eq!((codec.static_payload_type(), codec.rtp_clock()), (number, clock), "{codec}");
            assert_eq!(codec.law().is_some(), Codec::G711.contains(codec));
        }
        assert_eq!(Codec::ALL.contains(&Codec::G729), cfg!(feature = "g729"));
    }
}
