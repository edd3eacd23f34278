//! A piece of audio that is ready to be played to any number of calls.

use crate::codec::Codec;
use callbox_dialogue::time::Millis;
use std::sync::{Arc, OnceLock};

/// The longest silence a clip can hold: ten minutes.
pub const MAX_SILENCE: Millis = 600_000;

/// Mono PCM at 8 kHz, with its G.711 encodings made once, on first use, outside the media threads.
pub struct Clip {
    samples: Box<[i16]>,
    pcmu: OnceLock<Box<[u8]>>,
    pcma: OnceLock<Box<[u8]>>,
}

impl Clip {
    /// Takes samples of 16 bits at 8 kHz.
    #[must_use]
    pub fn from_pcm(samples: Vec<i16>) -> Arc<Self> {
        Arc::new(Self { samples: samples.into_boxed_slice(), pcmu: OnceLock::new(), pcma: OnceLock::new() })
    }

    /// Silence of at most [`MAX_SILENCE`].
    #[must_use]
    pub fn silence(length: Millis) -> Arc<Self> {
        Self::from_pcm(vec![0; length.min(MAX_SILENCE) as usize * 8])
    }

    /// The samples at 8 kHz.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// How long it sounds, rounded down to the millisecond.
    #[must_use]
    pub fn duration_ms(&self) -> Millis {
        Millis::try_from(self.samples.len() / 8).unwrap_or(Millis::MAX)
    }

    /// One byte a sample; encoded now unless that has been done before.
    pub fn encoded(&self, codec: Codec) -> &[u8] {
        self.cell(codec).get_or_init(|| self.samples.iter().map(|sample| codec.encode_sample(*sample)).collect())
    }

    /// One byte a sample where [`Self::encoded`] has been called before. Media threads ask this way and encode what
    /// they need frame by frame otherwise: they never encode a whole clip.
    #[must_use]
    pub fn already_encoded(&self, codec: Codec) -> Option<&[u8]> {
        self.cell(codec).get().map(|bytes| &**bytes)
    }

    const fn cell(&self, codec: Codec) -> &OnceLock<Box<[u8]>> {
        match codec {
            Codec::Pcmu => &self.pcmu,
            Codec::Pcma => &self.pcma,
        }
    }
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clip").field("samples", &self.samples.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_encoded_on_first_use_only() {
        let clip = Clip::from_pcm(vec![0, 1_000, -1_000, 32_767]);
        assert!(clip.already_encoded(Codec::Pcma).is_none());
        let first = clip.encoded(Codec::Pcma).as_ptr();
        assert_eq!(first, clip.encoded(Codec::Pcma).as_ptr());
        assert!(clip.already_encoded(Codec::Pcmu).is_none());
        assert_eq!(clip.encoded(Codec::Pcmu)[0], Codec::Pcmu.silence());
        assert_eq!(clip.encoded(Codec::Pcmu).len(), 4);
    }

    #[test]
    fn silence_is_bounded() {
        assert_eq!(Clip::silence(250).duration_ms(), 250);
        assert_eq!(Clip::silence(Millis::MAX).duration_ms(), MAX_SILENCE);
    }
}
