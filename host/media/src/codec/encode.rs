//! From samples to payloads.

use super::{Codec, Law};
use audio_codec::Encoder as _;
use audio_codec::g722::G722Encoder;
use opus_rs::{Application, OpusEncoder};

/// The longest payload that an encoder writes: an Opus frame at its largest (RFC 6716 §3.2.1).
pub(crate) const MAX_PAYLOAD: usize = 1_276;
/// Bits a second of Opus: what RFC 7587 §3.1.1 recommends for speech at 16 kHz, and a little more for music on hold.
const OPUS_BITRATE: i32 = 24_000;
/// Loss that the far end's request for FEC makes us expect, in percent. Without any the encoder spends nothing on it.
const OPUS_EXPECTED_LOSS: i32 = 10;

/// How Opus is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpusSettings {
    /// 0 to 10; the encoder looks at it once, when it begins.
    pub(crate) complexity: u8,
    /// Each packet's audio once more in the one behind it.
    pub(crate) fec: bool,
    /// All packets of one encoder are of this length: the one we use panics where it changes.
    pub(crate) packet_ms: u8,
}

/// An encoder and what it remembers of the audio before.
///
/// Codecs with a memory are encoded live, frame by frame, and not clip by clip like G.711: the far end's decoder must
/// have the memory that the encoder assumes. Where a clip is cut off, where silence or a bridged voice goes on behind it,
/// or where a clip ends within a word because it came in pieces, bytes that were made from another state would click.
/// Of Opus, which finds its way after any loss, calls share packets where they come from the same audio: see
/// [`Packets`](super::Packets).
pub(crate) enum Encoder {
    G711(Law),
    G722(Box<G722Encoder>),
    Opus(Box<OpusEncoder>),
    #[cfg(feature = "g729")]
    G729(Box<audio_codec::g729::G729Encoder>),
}

impl Encoder {
    /// A fresh one; none for a codec that is not compiled in.
    pub(crate) fn new(codec: Codec, opus: OpusSettings) -> Option<Self> {
        match codec {
            Codec::Pcmu => Some(Self::G711(Law::Mu)),
            Codec::Pcma => Some(Self::G711(Law::A)),
            Codec::G722 => Some(Self::G722(Box::default())),
            Codec::Opus => {
                let mut encoder = Box::new(OpusEncoder::new(16_000, 1, Application::Voip).ok()?);
                encoder.bitrate_bps = OPUS_BITRATE;
                encoder.complexity = i32::from(opus.complexity);
                encoder.use_inband_fec = opus.fec;
                encoder.packet_loss_perc = if opus.fec { OPUS_EXPECTED_LOSS } else { 0 };
                Some(Self::Opus(encoder))
            }
            #[cfg(feature = "g729")]
            Codec::G729 => Some(Self::G729(Box::new(audio_codec::g729::G729Encoder::new()))),
            #[cfg(not(feature = "g729"))]
            Codec::G729 => None,
        }
    }

    /// One packet: samples at the codec's rate into at most [`MAX_PAYLOAD`] bytes. Returns how many; none where the
    /// codec cannot make a packet of so many samples, which [`packet_time`] prevents.
    pub(crate) fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        match self {
            Self::G711(law) => {
                law.encode(samples, out);
                samples.len().min(out.len())
            }
            Self::G722(encoder) => encoder.encode_into(samples, out).unwrap_or(0),
            Self::Opus(encoder) => encoder.encode_i16(samples, samples.len(), out).unwrap_or(0),
            #[cfg(feature = "g729")]
            Self::G729(encoder) => encoder.encode_into(samples, out).unwrap_or(0),
        }
    }
}

/// The packet time that is used where this one is wished for, in milliseconds: 10 to 60 in steps of 10, and for Opus
/// one that a frame can have (RFC 6716 §2.1.4).
pub(crate) fn packet_time(codec: Codec, wished: u8) -> u8 {
    let ptime = match wished {
        0 => 20,
        wished => (wished / 10).clamp(1, 6) * 10,
    };
    match (codec, ptime) {
        (Codec::Opus, 30 | 50) => ptime - 10,
        _ => ptime,
    }
}
