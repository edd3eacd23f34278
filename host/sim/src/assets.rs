//! How long an audio file sounds, by its header. Whether it can be played is found out at the upload.

use callbox_dialogue::time::Millis;

/// Sizes from here on are written by programs that do not know the length yet: the data reaches to the end.
const UNKNOWN: u32 = 0x7FFF_F000;

/// The length of a WAV file.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn length(file: &[u8]) -> Result<Millis, String> {
    if file.get(..4) != Some(b"RIFF") || file.get(8..12) != Some(b"WAVE") {
        return Err("not a WAV file: it does not begin with RIFF....WAVE".into());
    }
    let mut rate = None;
    let mut rest = &file[12..];
    while let (Some(name), Some(size)) = (rest.get(..4), word(rest, 4)) {
        let body = &rest[8..];
        match name {
            b"fmt " => rate = word(body, 8).filter(|bytes| *bytes > 0),
            b"data" => {
                let rate = rate.ok_or("the WAV file has no format before its audio")?;
                let left = u64::try_from(body.len()).unwrap_or(u64::MAX);
                let bytes = if size >= UNKNOWN { left } else { left.min(size.into()) };
                return Ok(Millis::try_from(bytes.saturating_mul(1_000) / u64::from(rate)).unwrap_or(Millis::MAX));
            }
            _ => {}
        }
        // Chunks begin at even places.
        let next = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(8).saturating_add(size as usize % 2);
        rest = rest.get(next..).unwrap_or_default();
    }
    Err("the WAV file has no audio".into())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 8 kHz, 16 bits, mono.
    pub(crate) fn wav(samples: u32) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0".to_vec();
        file.extend(b"LIST\x03\0\0\0abc\0data");
        file.extend((samples * 2).to_le_bytes());
        file.resize(file.len() + samples as usize * 2, 0);
        file
    }

    #[test]
    fn a_file_is_as_long_as_its_audio() {
        assert_eq!(length(&wav(4_000)), Ok(500));
        assert_eq!(length(&wav(0)), Ok(0));
        let mut piped = wav(800);
        let at = piped.len() - 1_604;
        piped[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&piped), Ok(100), "a program that wrote into a pipe");
        for broken in [&b""[..], b"RIFF\x04\0\0\0WAVE", b"RIFF\0\0\0\0WAVEdata\x02\0\0\0\0\0", &wav(10)[..30]] {
            assert!(length(broken).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_bytes_have_a_length_or_an_error(mut file in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = length(&file);
            file.splice(0..0, *b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0\x01\0\x01\0data");
            let _ = length(&file);
        }
    }
}
