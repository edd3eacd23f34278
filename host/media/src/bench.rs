//! What the example `codecs` measures. Not for anybody else.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use crate::codec::{Codec, Decoders, Encoder, MAX_PAYLOAD, MOST, OpusSettings};
use crate::halfband::Upsampler;
use std::time::{Duration, Instant};

/// The cost of a packet of 20 ms: the median, so that what else the machine does counts little.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How many were measured.
    pub packets: usize,
    /// Their payloads.
    pub bytes: usize,
    /// With the way from 8 to 16 kHz where the codec needs it.
    pub encode: Duration,
    /// To the codec's rate.
    pub decode: Duration,
}

/// Encodes and decodes speech at 8 kHz; none for a codec that is not compiled in, or no speech.
#[must_use]
pub fn codec(codec: Codec, opus_complexity: u8, speech: &[i16]) -> Option<Cost> {
    let mut encoder = Encoder::new(codec, OpusSettings { complexity: opus_complexity, fec: false, packet_ms: 20 })?;
    let (mut decoders, mut up) = (Decoders::default(), Upsampler::default());
    let wide = codec.sample_rate() == 16_000;
    let (mut encode, mut decode, mut bytes) = (Vec::new(), Vec::new(), 0);
    let (mut voice, mut payload, mut out) = ([0; 320], [0; MAX_PAYLOAD], [0; MOST]);
    for frame in speech.chunks_exact(160) {
        let start = Instant::now();
        let length = if wide {
            up.push(frame, &mut voice);
            encoder.encode(&voice, &mut payload)
        } else {
            encoder.encode(frame, &mut payload)
        };
        encode.push(start.elapsed());
        let start = Instant::now();
        decoders.decode(codec, &payload[..length], wide, &mut out);
        decode.push(start.elapsed());
        bytes += length;
    }
    let packets = encode.len();
    Some(Cost { packets, bytes, encode: median(encode)?, decode: median(decode)? })
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}
