//! What the example `codecs` measures. Not for anybody else.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use crate::codec::{Codec, Decoders, Encoder, MAX_PAYLOAD, MOST, OpusSettings};
use crate::halfband::Upsampler;
use std::time::{Duration, Instant};

/// The cost of packets of 20 ms.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How many.
    pub packets: u32,
    /// Their payloads.
    pub bytes: u32,
    /// For all of them, with the way from 8 to 16 kHz where the codec needs it.
    pub encode: Duration,
    /// For all of them.
    pub decode: Duration,
}

/// Encodes and decodes speech at 8 kHz; none for a codec that is not compiled in.
#[must_use]
pub fn codec(codec: Codec, opus_complexity: u8, speech: &[i16]) -> Option<Cost> {
    let mut encoder = Encoder::new(codec, OpusSettings { complexity: opus_complexity, fec: false, packet_ms: 20 })?;
    let (mut decoders, mut up) = (Decoders::default(), Upsampler::default());
    let wide = codec.sample_rate() == 16_000;
    let mut cost = Cost { packets: 0, bytes: 0, encode: Duration::ZERO, decode: Duration::ZERO };
    let (mut voice, mut payload, mut out) = ([0; 320], [0; MAX_PAYLOAD], [0; MOST]);
    for frame in speech.chunks_exact(160) {
        let start = Instant::now();
        let length = if wide {
            up.push(frame, &mut voice);
            encoder.encode(&voice, &mut payload)
        } else {
            encoder.encode(frame, &mut payload)
        };
        cost.encode += start.elapsed();
        let start = Instant::now();
        decoders.decode(codec, &payload[..length], wide, &mut out);
        cost.decode += start.elapsed();
        cost.packets += 1;
        cost.bytes += length as u32;
    }
    Some(cost)
}
