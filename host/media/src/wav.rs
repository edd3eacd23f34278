//! WAV files: a strict reader of what people upload as prompts, and a small writer.
//!
//! Read are PCM of 8 and 16 bits and G.711, mono or stereo, at the rates of [`crate::resample::RATES`], also in the
//! `WAVE_FORMAT_EXTENSIBLE` dress. Anything else is refused with what is wrong, where, and what to do.

use crate::clip::Clip;
use crate::codec::Law;
use crate::resample;
use std::sync::Arc;

/// The longest audio that is read: ten minutes.
pub const MAX_SECONDS: u32 = 600;
/// Chunks looked at before giving up; real files have a handful.
const MAX_CHUNKS: usize = 128;
/// Sizes from here on are what programs write that do not know the length yet (espeak-ng, ffmpeg into a pipe):
/// the data then reaches to the end of the file.
const UNKNOWN_SIZE: u32 = 0x7FFF_F000;
/// The part of every extensible sub-format GUID behind the format tag.
const GUID_TAIL: [u8; 14] = [0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71];

/// Why a file is not audio we can play.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// It does not begin with RIFF and WAVE.
    #[error("not a WAV file: it does not begin with RIFF....WAVE")]
    NotWav,
    /// A chunk reaches past the end of the file.
    #[error("the WAV file is cut off: the chunk {chunk:?} at byte {at} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The name of the chunk.
        chunk: String,
        /// Where it begins.
        at: usize,
        /// How long it says it is.
        needed: u32,
        /// What there is.
        left: usize,
    },
    /// A chunk is missing.
    #[error("the WAV file has no {0:?} chunk")]
    Missing(&'static str),
    /// More chunks than any program writes.
    #[error("the WAV file has more than {MAX_CHUNKS} chunks before its audio")]
    TooManyChunks,
    /// The format chunk contradicts itself.
    #[error("the format chunk of the WAV file is broken: {0}")]
    BrokenFormat(&'static str),
    /// Not PCM of 8 or 16 bits and not G.711.
    #[error("WAV format {tag:#06x} with {bits} bits is not supported; convert to 16-bit PCM")]
    Format {
        /// The format tag.
        tag: u16,
        /// Bits a sample.
        bits: u16,
    },
    /// Neither mono nor stereo.
    #[error("WAV files of {0} channels are not supported; use mono or stereo")]
    Channels(u16),
    /// A rate we do not know.
    #[error(transparent)]
    Rate(#[from] resample::UnsupportedRate),
    /// Too long to be a prompt.
    #[error("the WAV file is longer than {MAX_SECONDS} s")]
    TooLong,
    /// Half a sample at the end.
    #[error("the audio of the WAV file is {bytes} bytes long, not a multiple of {block}")]
    Ragged {
        /// Length of the data chunk.
        bytes: usize,
        /// Bytes of one sample of all channels.
        block: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    /// Unsigned, 128 is silence.
    Pcm8,
    Pcm16,
    G711(Law),
}

#[derive(Clone, Copy, Debug)]
struct Format {
    encoding: Encoding,
    channels: u16,
    rate: u32,
}

impl Format {
    const fn block(self) -> usize {
        let sample = match self.encoding {
            Encoding::Pcm16 => 2,
            Encoding::Pcm8 | Encoding::G711(_) => 1,
        };
        sample * self.channels as usize
    }

    fn parse(chunk: &[u8]) -> Result<Self, WavError> {
        let short = || WavError::BrokenFormat("it is shorter than 16 bytes");
        let field = |at: usize| u16_at(chunk, at).ok_or_else(short);
        let (mut tag, channels, rate) = (field(0)?, field(2)?, u32_at(chunk, 4).ok_or_else(short)?);
        let (block, bits) = (field(12)?, field(14)?);
        if tag == 0xFFFE {
            let guid = chunk.get(24..40).ok_or(WavError::BrokenFormat("the extensible part is missing"))?;
            if guid[2..] != GUID_TAIL {
                return Err(WavError::Format { tag, bits });
            }
            tag = u16::from_le_bytes([guid[0], guid[1]]);
        }
        let encoding = match (tag, bits) {
            (1, 8) => Encoding::Pcm8,
            (1, 16) => Encoding::Pcm16,
            (6, 8) => Encoding::G711(Law::A),
            (7, 8) => Encoding::G711(Law::Mu),
            _ => return Err(WavError::Format { tag, bits }),
        };
        if !(1..=2).contains(&channels) {
            return Err(WavError::Channels(channels));
        }
        let format = Self { encoding, channels, rate };
        if usize::from(block) != format.block() {
            return Err(WavError::BrokenFormat("the block size is not channels times sample size"));
        }
        if !resample::RATES.contains(&rate) {
            return Err(resample::UnsupportedRate(rate).into());
        }
        Ok(format)
    }

    /// One channel of 16 bits; stereo is averaged.
    fn decode(self, data: &[u8]) -> Vec<i16> {
        let sample = |bytes: &[u8]| match (self.encoding, bytes) {
            (Encoding::Pcm16, [low, high]) => i16::from_le_bytes([*low, *high]),
            (Encoding::Pcm8, [byte]) => (i16::from(*byte) - 128) << 8,
            (Encoding::G711(law), [byte]) => law.decode_sample(*byte),
            _ => 0,
        };
        let width = self.block() / usize::from(self.channels);
        data.chunks_exact(self.block())
            .map(|block| {
                let sum: i32 = block.chunks_exact(width).map(|bytes| i32::from(sample(bytes))).sum();
                // An average of i16 is an i16.
                (sum / i32::from(self.channels)) as i16
            })
            .collect()
    }
}

/// Reads a WAV file into samples at 8 kHz, mono.
///
/// # Errors
/// [`WavError`], which says what is wrong with the file.
pub fn read_samples(file: &[u8]) -> Result<Vec<i16>, WavError> {
    if file.get(..4) != Some(b"RIFF") || file.get(8..12) != Some(b"WAVE") {
        return Err(WavError::NotWav);
    }
    let mut format = None;
    let mut at = 12;
    for _ in 0..MAX_CHUNKS {
        let (Some(name), Some(size)) = (file.get(at..at + 4), u32_at(file, at + 4)) else {
            return Err(WavError::Missing(if format.is_none() { "fmt " } else { "data" }));
        };
        let body = &file[at + 8..];
        let unknown = name == b"data" && size >= UNKNOWN_SIZE;
        let length = if unknown { body.len() } else { usize::try_from(size).unwrap_or(usize::MAX) };
        let Some(chunk) = body.get(..length) else {
            let chunk = String::from_utf8_lossy(name).into_owned();
            return Err(WavError::Truncated { chunk, at, needed: size, left: body.len() });
        };
        match name {
            b"fmt " => format = Some(Format::parse(chunk)?),
            b"data" => {
                let format: Format = format.ok_or(WavError::Missing("fmt "))?;
                return audio(format, chunk, unknown);
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        at += 8 + length + length % 2;
    }
    Err(WavError::TooManyChunks)
}

fn audio(format: Format, data: &[u8], unknown_size: bool) -> Result<Vec<i16>, WavError> {
    let block = format.block();
    if !data.len().is_multiple_of(block) && !unknown_size {
        return Err(WavError::Ragged { bytes: data.len(), block });
    }
    if data.len() / block > (MAX_SECONDS * format.rate) as usize {
        return Err(WavError::TooLong);
    }
    Ok(resample::to_8k(&format.decode(data), format.rate)?)
}

/// Reads a WAV file into a clip.
///
/// # Errors
/// [`WavError`], which says what is wrong with the file.
pub fn read(file: &[u8]) -> Result<Arc<Clip>, WavError> {
    read_samples(file).map(Clip::from_pcm)
}

/// Bytes before the samples of what we write.
pub const HEADER: usize = 44;

/// The 44 bytes before 16-bit PCM. Lengths beyond what the format can say are cut to its limit.
#[must_use]
pub fn header(channels: u16, rate: u32, data_bytes: u64) -> [u8; HEADER] {
    let data = u32::try_from(data_bytes).unwrap_or(u32::MAX - 36).min(u32::MAX - 36);
    let block = channels * 2;
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(b"RIFF");
    header[4..8].copy_from_slice(&(data + 36).to_le_bytes());
    header[8..16].copy_from_slice(b"WAVEfmt ");
    header[16..20].copy_from_slice(&16_u32.to_le_bytes());
    header[20..22].copy_from_slice(&1_u16.to_le_bytes());
    header[22..24].copy_from_slice(&channels.to_le_bytes());
    header[24..28].copy_from_slice(&rate.to_le_bytes());
    header[28..32].copy_from_slice(&(rate * u32::from(block)).to_le_bytes());
    header[32..34].copy_from_slice(&block.to_le_bytes());
    header[34..36].copy_from_slice(&16_u16.to_le_bytes());
    header[36..40].copy_from_slice(b"data");
    header[40..44].copy_from_slice(&data.to_le_bytes());
    header
}

/// A mono WAV file of 16 bits at 8 kHz.
#[must_use]
pub fn write(samples: &[i16]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER + samples.len() * 2);
    file.extend_from_slice(&header(1, crate::SAMPLE_RATE, samples.len() as u64 * 2));
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::io::Cursor;

    fn file(tag: u16, bits: u16, channels: u16, rate: u32, data: &[u8]) -> Vec<u8> {
        let block = channels * bits / 8;
        let mut file = Vec::new();
        file.extend_from_slice(b"RIFF");
        file.extend_from_slice(&(36 + data.len() as u32).to_le_bytes());
        file.extend_from_slice(b"WAVEfmt ");
        file.extend_from_slice(&16_u32.to_le_bytes());
        for field in [tag, channels] {
            file.extend_from_slice(&field.to_le_bytes());
        }
        file.extend_from_slice(&rate.to_le_bytes());
        file.extend_from_slice(&(rate * u32::from(block)).to_le_bytes());
        for field in [block, bits] {
            file.extend_from_slice(&field.to_le_bytes());
        }
        file.extend_from_slice(b"data");
        file.extend_from_slice(&(data.len() as u32).to_le_bytes());
        file.extend_from_slice(data);
        file
    }

    #[test]
    fn what_is_written_is_read_by_others_and_by_us() {
        let samples: Vec<i16> = (0..1_000).map(|n| n * 30 - 15_000).collect();
        let bytes = write(&samples);
        let mut other = hound::WavReader::new(Cursor::new(&bytes)).unwrap();
        assert_eq!(other.spec().sample_rate, 8_000);
        assert_eq!(other.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), samples);
        assert_eq!(read_samples(&bytes).unwrap(), samples);
    }

    #[test]
    fn what_others_write_is_read() {
        for (rate, channels) in [(8_000, 1), (8_000, 2), (16_000, 2), (44_100, 2), (48_000, 1)] {
            let mut bytes = Cursor::new(Vec::new());
            let spec = hound::WavSpec {
                channels,
                sample_rate: rate,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            };
            let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
            for _ in 0..rate / 10 * u32::from(channels) {
                writer.write_sample(0_i16).unwrap();
            }
            writer.finalize().unwrap();
            assert_eq!(read_samples(bytes.get_ref()).unwrap().len(), 800, "{rate} {channels}");
        }
    }

    #[test]
    fn every_encoding_gives_its_samples() {
        assert_eq!(read_samples(&file(1, 8, 1, 8_000, &[128, 255, 0])).unwrap(), [0, 127 << 8, -32_768]);
        assert_eq!(read_samples(&file(7, 8, 1, 8_000, &[0xFF, 0x80])).unwrap(), [0, 32_124]);
        assert_eq!(read_samples(&file(6, 8, 1, 8_000, &[0xD5, 0xAA])).unwrap(), [8, 32_256]);
        let stereo = [100_i16, 300, -7, -8].map(i16::to_le_bytes).concat();
        assert_eq!(read_samples(&file(1, 16, 2, 8_000, &stereo)).unwrap(), [200, -7]);
    }

    #[test]
    fn extensible_odd_chunks_and_unknown_lengths() {
        let mut extensible = file(0xFFFE, 16, 1, 8_000, &[]);
        extensible.truncate(36);
        extensible[16] = 40;
        extensible.extend_from_slice(&[22, 0, 16, 0, 4, 0, 0, 0, 1, 0]);
        extensible.extend_from_slice(&GUID_TAIL);
        // An odd chunk is padded by a byte.
        extensible.extend_from_slice(b"LIST\x03\0\0\0abc\0");
        extensible.extend_from_slice(b"data\xFF\xFF\xFF\xFF\x05\x00\x06\x00\x07");
        assert_eq!(read_samples(&extensible).unwrap(), [5, 6]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let pcm = |data: &[u8]| file(1, 16, 1, 8_000, data);
        assert_eq!(read_samples(b"OggS"), Err(WavError::NotWav));
        assert_eq!(read_samples(b""), Err(WavError::NotWav));
        assert_eq!(read_samples(&pcm(&[])[..12]), Err(WavError::Missing("fmt ")));
        assert_eq!(read_samples(&pcm(&[])[..36]), Err(WavError::Missing("data")));
        assert!(matches!(
            read_samples(&pcm(&[0; 8])[..50]),
            Err(WavError::Truncated { left: 6, needed: 8, at: 36, .. })
        ));
        assert_eq!(read_samples(&pcm(&[0; 3])), Err(WavError::Ragged { bytes: 3, block: 2 }));
        assert_eq!(read_samples(&file(1, 24, 1, 8_000, &[])), Err(WavError::Format { tag: 1, bits: 24 }));
        assert_eq!(read_samples(&file(1, 16, 3, 8_000, &[])), Err(WavError::Channels(3)));
        assert_eq!(read_samples(&file(1, 16, 0, 8_000, &[])), Err(WavError::Channels(0)));
        assert!(matches!(read_samples(&file(1, 16, 1, 0, &[])), Err(WavError::Rate(_))));
        let mut broken = pcm(&[]);
        broken[32] = 7;
        assert!(matches!(read_samples(&broken), Err(WavError::BrokenFormat(_))));
        let long = file(7, 8, 1, 8_000, &vec![0xFF; 8_000 * 600 + 1]);
        assert_eq!(read_samples(&long), Err(WavError::TooLong));
        let mut chunks = b"RIFF\0\0\0\0WAVE".to_vec();
        chunks.extend(b"junk\0\0\0\0".repeat(200));
        assert_eq!(read_samples(&chunks), Err(WavError::TooManyChunks));
    }
}
