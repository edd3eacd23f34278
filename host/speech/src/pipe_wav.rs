//! A WAV file as it comes out of a pipe.
//!
//! A program that writes WAV to a pipe cannot go back to fill in the length,
//! and writes a bogus one (espeak-ng: 0x7ffff000). Such a length means "to the
//! end"; a plausible one is believed.

/// Header bytes after which the data must have begun.
const MAX_HEADER: usize = 4_096;
/// Lengths from here on are placeholders.
const BOGUS_LENGTH: u32 = 0x7fff_0000;

/// Reads a WAV stream, 16-bit mono PCM of any rate.
#[derive(Debug, Default)]
pub struct PipeWav {
    /// Bytes of the header that is not complete yet.
    header: Vec<u8>,
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    rate: u32,
    /// Bytes still to come; none for "to the end".
    left: Option<u64>,
    /// The first byte of a sample whose second is still to come.
    odd: Option<u8>,
}

/// Why a stream is no WAV we can play.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipeWavError {
    /// It does not begin like a WAV file.
    #[error("it does not begin with a RIFF WAVE header")]
    NotWav,
    /// No sample data within the first bytes.
    #[error("no sample data within the first {MAX_HEADER} bytes")]
    HeaderTooLong,
    /// The data comes before its format.
    #[error("a data chunk without a format")]
    NoFormat,
    /// Not 16-bit mono PCM.
    #[error("not 16-bit mono PCM: format {format}, {channels} channels, {bits} bits")]
    Format {
        /// 1 for PCM.
        format: u16,
        /// 1 for mono.
        channels: u16,
        /// Bits of a sample.
        bits: u16,
    },
    /// The stream ended early.
    #[error("the stream ended {0}")]
    Truncated(&'static str),
}

impl PipeWav {
    /// A reader at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples a second, once the header has been read.
    #[must_use]
    pub fn rate(&self) -> Option<u32> {
        self.body.as_ref().map(|body| body.rate)
    }

    /// Takes bytes in and appends the samples they complete.
    ///
    /// # Errors
    /// When the stream is no WAV of our kind; nothing more can come of it.
    pub fn push(&mut self, bytes: &[u8], samples: &mut Vec<i16>) -> Result<(), PipeWavError> {
        if let Some(body) = &mut self.body {
            body.take(bytes, samples);
            return Ok(());
        }
        self.header.extend_from_slice(bytes);
        match read_header(&self.header) {
            Header::Complete { rate, length, at } => {
                let left = (length != 0 && length < BOGUS_LENGTH).then_some(u64::from(length));
                let body = self.body.insert(Body { rate, left, odd: None });
                body.take(&self.header[at..], samples);
                self.header = Vec::new();
                Ok(())
            }
            Header::Incomplete if self.header.len() >= MAX_HEADER => Err(PipeWavError::HeaderTooLong),
            Header::Incomplete => Ok(()),
            Header::Broken(error) => Err(error),
        }
    }

    /// The stream is over.
    ///
    /// # Errors
    /// `Truncated` when that was too early.
    pub fn finish(self) -> Result<(), PipeWavError> {
        match self.body {
            None => Err(PipeWavError::Truncated("before any sample")),
            Some(Body { odd: Some(_), .. }) => Err(PipeWavError::Truncated("in the middle of a sample")),
            Some(Body { left: Some(1..), .. }) => Err(PipeWavError::Truncated("before the length it announced")),
            Some(_) => Ok(()),
        }
    }
}

impl Body {
    fn take(&mut self, bytes: &[u8], samples: &mut Vec<i16>) {
        let mut bytes = bytes;
        if let Some(left) = &mut self.left {
            let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= taken as u64;
            bytes = &bytes[..taken];
        }
        if let (Some(low), Some((&high, rest))) = (self.odd, bytes.split_first()) {
            samples.push(i16::from_le_bytes([low, high]));
            self.odd = None;
            bytes = rest;
        }
        let (pairs, rest) = bytes.as_chunks::<2>();
        samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
        if let Some(&byte) = rest.first() {
            self.odd = Some(byte);
        }
    }
}

enum Header {
    Incomplete,
    Complete { rate: u32, length: u32, at: usize },
    Broken(PipeWavError),
}

fn read_header(bytes: &[u8]) -> Header {
    // Refuse what is wrong already in its first bytes: more of it would not help.
    for (at, want) in [(0, b"RIFF"), (8, b"WAVE")] {
        let have = bytes.get(at..bytes.len().min(at + 4)).unwrap_or_default();
        if !want.starts_with(have) {
            return Header::Broken(PipeWavError::NotWav);
        }
    }
    let mut rate = None;
    let mut at = 12;
    loop {
        let (Some(id), Some(length)) = (bytes.get(at..at + 4), le32(bytes, at + 4)) else { return Header::Incomplete };
        let content = at + 8;
        match id {
            b"data" => {
                return match rate {
                    Some(rate) => Header::Complete { rate, length, at: content },
                    None => Header::Broken(PipeWavError::NoFormat),
                };
            }
            b"fmt " => {
                let (Some(format), Some(channels), Some(hertz), Some(bits)) = (
                    le16(bytes, content),
                    le16(bytes, content + 2),
                    le32(bytes, content + 4),
                    le16(bytes, content + 14),
                ) else {
                    return Header::Incomplete;
                };
                if (format, channels, bits) != (1, 1, 16) {
                    return Header::Broken(PipeWavError::Format { format, channels, bits });
                }
                rate = Some(hertz);
            }
            _ => {}
        }
        // Chunks begin at even offsets. A length past the limit is found out there.
        let next = content.saturating_add(length as usize).saturating_add(length as usize % 2);
        if next >= MAX_HEADER {
            return Header::Broken(PipeWavError::HeaderTooLong);
        }
        at = next;
    }
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stream like espeak-ng's.
    fn stream(length: u32, extra: &[u8], samples: &[i16]) -> Vec<u8> {
        let mut out = b"RIFF\x24\xf0\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        out.extend(22_050_u32.to_le_bytes());
        out.extend(44_100_u32.to_le_bytes());
        out.extend([2, 0, 16, 0]);
        out.extend(extra);
        out.extend(b"data");
        out.extend(length.to_le_bytes());
        out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        out
    }

    fn read(bytes: &[u8]) -> Result<(u32, Vec<i16>), PipeWavError> {
        let (mut wav, mut samples) = (PipeWav::new(), Vec::new());
        wav.push(bytes, &mut samples)?;
        let rate = wav.rate();
        wav.finish()?;
        Ok((rate.unwrap(), samples))
    }

    #[test]
    fn reads_to_the_end_where_the_length_is_bogus() {
        for length in [0x7fff_f000, 0xffff_ffff, 0] {
            assert_eq!(read(&stream(length, &[], &[1, -2, 3])), Ok((22_050, vec![1, -2, 3])));
        }
    }

    #[test]
    fn believes_a_plausible_length() {
        let mut bytes = stream(4, &[], &[1, -2]);
        bytes.extend(b"LIST\x04\0\0\0junk");
        assert_eq!(read(&bytes), Ok((22_050, vec![1, -2])));
        let short = PipeWavError::Truncated("before the length it announced");
        assert_eq!(read(&stream(6, &[], &[1, -2])), Err(short));
    }

    #[test]
    fn skips_chunks_before_the_data() {
        let bytes = stream(0x7fff_f000, b"LIST\x03\0\0\0abc\0", &[7]);
        assert_eq!(read(&bytes), Ok((22_050, vec![7])));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(read(b"hello"), Err(PipeWavError::NotWav));
        assert_eq!(read(b"RIFF\0\0\0\0AIFF"), Err(PipeWavError::NotWav));
        assert_eq!(read(b""), Err(PipeWavError::Truncated("before any sample")));
        assert_eq!(read(b"RIFF\0\0\0\0WAVEdata\x04\0\0\0"), Err(PipeWavError::NoFormat));
        assert_eq!(read(b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff"), Err(PipeWavError::HeaderTooLong));
        let mut stereo = stream(0, &[], &[]);
        stereo[22] = 2;
        assert_eq!(read(&stereo), Err(PipeWavError::Format { format: 1, channels: 2, bits: 16 }));
        let mut odd = stream(0, &[], &[1]);
        odd.pop();
        assert_eq!(read(&odd), Err(PipeWavError::Truncated("in the middle of a sample")));
        let mut long = b"RIFF\0\0\0\0WAVE".to_vec();
        long.extend(b"junk\0\0\0\0".repeat(600));
        assert_eq!(read(&long), Err(PipeWavError::HeaderTooLong));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            samples in prop::collection::vec(any::<i16>(), 0..300),
            cut in prop::collection::vec(1_usize..40, 1..100),
            bogus in any::<bool>(),
        ) {
            let length = if bogus { 0x7fff_f000 } else { u32::try_from(samples.len() * 2).unwrap() };
            let bytes = stream(length, &[], &samples);
            let (mut wav, mut out) = (PipeWav::new(), Vec::new());
            let (mut rest, mut cuts) = (bytes.as_slice(), cut.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                wav.push(now, &mut out).unwrap();
                rest = later;
            }
            prop_assert_eq!(wav.rate(), Some(22_050));
            prop_assert_eq!(wav.finish(), Ok(()));
            prop_assert_eq!(out, samples);
        }
    }
}
