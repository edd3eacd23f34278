//! From payloads to samples.

use super::{Codec, Law};
use crate::halfband::{Downsampler, Upsampler};
use audio_codec::g722::G722Decoder;
use opus_rs::OpusDecoder;

/// Samples of the longest packet, at 16 kHz: 200 ms of G.711 or G.722.
pub(crate) const MOST: usize = 3_200;
/// Samples of the longest packet of Opus, at 16 kHz: 60 ms. We ask for no longer ones, and decoding 120 ms takes so
/// long that an attacker could make use of it.
const OPUS_MOST: usize = 960;
/// Bytes of the longest payload of the others: 200 ms.
const BYTES_MOST: usize = 1_600;

/// Milliseconds times 8 in a payload: its length on a clock of 8 kHz. None for what the codec cannot have sent or is
/// too long.
pub(crate) fn length(codec: Codec, payload: &[u8]) -> Option<usize> {
    let length = match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => payload.len(),
        // Frames of 10 bytes; a last one of 2 says how silence sounds (annex B), which has no length.
        Codec::G729 => payload.len() / 10 * 80,
        Codec::Opus => opus_length(payload)?,
    };
    let most = if codec == Codec::Opus { OPUS_MOST / 2 } else { BYTES_MOST };
    (1..=most).contains(&length).then_some(length)
}

/// RFC 6716 §3.1: the first byte says how long a frame is, and, with the second, how many there are.
fn opus_length(payload: &[u8]) -> Option<usize> {
    let toc = *payload.first()?;
    let frame = match toc >> 3 {
        config @ 0..12 => [80, 160, 320, 480][usize::from(config & 3)],
        config @ 12..16 => [80, 160][usize::from(config & 1)],
        config => [20, 40, 80, 160][usize::from(config & 3)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => usize::from(payload.get(1)? & 0x3F),
    };
    Some(frame * count)
}

/// The decoders of one call, each made when it is first needed and kept, so that a far end that goes to and fro
/// between codecs costs memory once.
#[derive(Default)]
pub(crate) struct Decoders {
    g722: Option<Box<G722Decoder>>,
    opus: Option<Box<OpusDecoder>>,
    #[cfg(feature = "g729")]
    g729: Option<Box<audio_codec::g729::G729Decoder>>,
    up: Upsampler,
    down: Downsampler,
}

impl Decoders {
    /// Decodes a payload whose [`length`] is known, to 16 kHz where that is `wide` and to 8 kHz otherwise. Returns the
    /// number of samples, which may be less than the length for what is damaged.
    pub(crate) fn decode(&mut self, codec: Codec, payload: &[u8], wide: bool, out: &mut [i16; MOST]) -> usize {
        let mut raw = [0; MOST];
        let count = match codec {
            Codec::Pcmu | Codec::Pcma => {
                let law = if codec == Codec::Pcmu { Law::Mu } else { Law::A };
                law.decode(payload, &mut raw);
                payload.len().min(BYTES_MOST)
            }
            Codec::G722 => {
                use audio_codec::Decoder as _;
                self.g722.get_or_insert_default().decode_into(payload, &mut raw).unwrap_or(0)
            }
            Codec::Opus => self.opus(&mut raw, |opus, out| opus.decode(payload, OPUS_MOST, out)),
            #[cfg(feature = "g729")]
            Codec::G729 => {
                use audio_codec::Decoder as _;
                let voice = &payload[..payload.len() / 10 * 10];
                self.g729.get_or_insert_default().decode_into(voice, &mut raw).unwrap_or(0)
            }
            #[cfg(not(feature = "g729"))]
            Codec::G729 => 0,
        };
        self.at_rate(codec, &raw[..count], wide, out)
    }

    /// A stream of this codec begins, of an encoder without a memory. That of Opus stays: it costs an allocation to
    /// have another, and it is made to find its way after any loss.
    pub(crate) fn forget(&mut self, codec: Codec) {
        match codec {
            Codec::G722 => {
                if let Some(g722) = &mut self.g722 {
                    **g722 = G722Decoder::new();
                }
            }
            #[cfg(feature = "g729")]
            Codec::G729 => {
                if let Some(g729) = &mut self.g729 {
                    **g729 = audio_codec::g729::G729Decoder::new();
                }
            }
            _ => {}
        }
    }

    /// What Opus makes up for lost audio: `length` as in [`length`], a multiple of 20 (2.5 ms), 60 ms at most. With
    /// `next`, the packet behind the gap, the end of it is read from what that repeats of it (FEC), where it does.
    pub(crate) fn conceal(&mut self, length: usize, next: Option<&[u8]>, wide: bool, out: &mut [i16; MOST]) -> usize {
        let mut raw = [0; MOST];
        let length = (2 * length).min(OPUS_MOST);
        let count = self.opus(&mut raw, |opus, out| match next {
            Some(next) => opus.decode_fec(next, length, &mut out[..length]),
            None => opus.decode(&[], length, &mut out[..length]),
        });
        self.at_rate(Codec::Opus, &raw[..count], wide, out)
    }

    fn opus<E>(
        &mut self,
        out: &mut [i16; MOST],
        decode: impl FnOnce(&mut OpusDecoder, &mut [f32]) -> Result<usize, E>,
    ) -> usize {
        if self.opus.is_none() {
            // Neither the rate nor the channels can be refused. Stereo packets come out as one channel.
            self.opus = OpusDecoder::new(16_000, 1).ok().map(Box::new);
        }
        let Some(opus) = &mut self.opus else { return 0 };
        let mut samples = [0.0; OPUS_MOST];
        let count = decode(opus, &mut samples).unwrap_or(0).min(OPUS_MOST);
        for (out, sample) in out.iter_mut().zip(&samples[..count]) {
            // Hostile packets decode to anything: `as` saturates and turns NaN into 0.
            *out = (sample * 32_768.0) as i16;
        }
        count
    }

    fn at_rate(&mut self, codec: Codec, samples: &[i16], wide: bool, out: &mut [i16; MOST]) -> usize {
        match (codec.sample_rate() == 16_000, wide) {
            (true, false) => self.down.push(samples, out),
            (false, true) => self.up.push(samples, out),
            _ => {
                out[..samples.len()].copy_from_slice(samples);
                samples.len()
            }
        }
    }
}
