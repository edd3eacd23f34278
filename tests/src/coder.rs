//! How a telephone of ours puts its voice into packets, a frame of 20 ms at a time, and takes others' out of them.

use crate::{compress, expand};
use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};
use callbox_media::Codec;
use callbox_media::halfband::Upsampler;
use callbox_media::resample::Resampler;
use opus_rs::{Application, OpusDecoder, OpusEncoder};

/// Samples in 20 ms at 16 kHz.
const WIDE: usize = 320;
/// Bits a second of Opus.
const BITRATE: i32 = 24_000;

pub(crate) enum Coder {
    /// G.711, written out beside the telephone.
    Pcmu,
    G722 {
        encoder: Box<G722Encoder>,
        decoder: Box<G722Decoder>,
        rates: Rates,
    },
    Opus {
        encoder: Box<OpusEncoder>,
        decoder: Box<OpusDecoder>,
        rates: Rates,
    },
}

/// From 8 kHz to 16, and back.
pub(crate) struct Rates {
    up: Upsampler,
    down: Resampler,
}

impl Rates {
    fn new() -> Self {
        Self { up: Upsampler::default(), down: Resampler::new(16_000).unwrap() }
    }

    fn up(&mut self, samples: &[i16]) -> [i16; WIDE] {
        let mut wide = [0; WIDE];
        self.up.push(samples, &mut wide);
        wide
    }

    fn down(&mut self, samples: &[i16]) -> Vec<i16> {
        let mut narrow = Vec::new();
        self.down.push(samples, &mut narrow);
        narrow
    }
}

impl Coder {
    pub(crate) fn new(codec: Codec) -> Self {
        match codec {
            Codec::G722 => Self::G722 { encoder: Box::default(), decoder: Box::default(), rates: Rates::new() },
            Codec::Opus => {
                let mut encoder = Box::new(OpusEncoder::new(16_000, 1, Application::Voip).unwrap());
                encoder.bitrate_bps = BITRATE;
                // As the host has it where nothing else is configured.
                encoder.complexity = 0;
                let decoder = Box::new(OpusDecoder::new(16_000, 1).unwrap());
                Self::Opus { encoder, decoder, rates: Rates::new() }
            }
            _ => Self::Pcmu,
        }
    }

    pub(crate) const fn codec(&self) -> Codec {
        match self {
            Self::Pcmu => Codec::Pcmu,
            Self::G722 { .. } => Codec::G722,
            Self::Opus { .. } => Codec::Opus,
        }
    }

    /// A packet of 20 ms.
    pub(crate) fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        let mut packet = vec![0; 1_276];
        let length = match self {
            Self::Pcmu => return samples.iter().map(|sample| compress(*sample)).collect(),
            Self::G722 { encoder, rates, .. } => encoder.encode_into(&rates.up(samples), &mut packet).unwrap(),
            Self::Opus { encoder, rates, .. } => encoder.encode_i16(&rates.up(samples), WIDE, &mut packet).unwrap(),
        };
        packet.truncate(length);
        packet
    }

    /// What is in a packet. What the resampler waits for comes with the next one.
    pub(crate) fn decode(&mut self, packet: &[u8]) -> Vec<i16> {
        match self {
            Self::Pcmu => packet.iter().map(|&byte| expand(byte)).collect(),
            Self::G722 { decoder, rates, .. } => {
                let mut wide = [0; WIDE];
                let count = decoder.decode_into(packet, &mut wide).unwrap();
                rates.down(&wide[..count])
            }
            Self::Opus { decoder, rates, .. } => {
                let mut wide = [0.0; WIDE];
                let count = decoder.decode(packet, WIDE, &mut wide).unwrap();
                #[allow(clippy::cast_possible_truncation, reason = "it saturates")]
                let wide: Vec<i16> = wide[..count].iter().map(|sample| (sample * 32_768.0) as i16).collect();
                rates.down(&wide)
            }
        }
    }
}

/// What a codec alone makes of somebody who speaks, at 8 kHz: so that what the host makes of it can be told apart.
#[must_use]
pub fn through(codec: Codec, samples: &[i16]) -> Vec<i16> {
    let mut coder = Coder::new(codec);
    let frames = samples.as_chunks::<160>().0;
    frames
        .iter()
        .flat_map(|frame| {
            let packet = coder.encode(frame);
            coder.decode(&packet)
        })
        .collect()
}
