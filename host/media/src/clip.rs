//! A piece of audio that is ready to be played to any number of calls.

use crate::codec::{Law, Packets};
use callbox_dialogue::time::Millis;
use std::sync::{Arc, OnceLock};

/// The longest silence a clip can hold: ten minutes.
pub const MAX_SILENCE: Millis = 600_000;

/// Mono PCM at 8 kHz, with its G.711 encodings made once, on first use, outside the media threads, and with the packets
/// of Opus that calls have made of it.
pub struct Clip {
    samples: Box<[i16]>,
    pcmu: OnceLock<Box<[u8]>>,
    pcma: OnceLock<Box<[u8]>>,
    opus: OnceLock<Packets>,
}

impl Clip {
    /// Bytes that each sample takes once the clip has been played by every codec: two, one for each law of G.711, and one
    /// for the packets of Opus.
    pub const BYTES_PER_SAMPLE: usize = 5;

    /// Takes samples of 16 bits at 8 kHz.
    #[must_use]
    pub fn from_pcm(samples: Vec<i16>) -> Arc<Self> {
        let samples = samples.into_boxed_slice();
        Arc::new(Self { samples, pcmu: OnceLock::new(), pcma: OnceLock::new(), opus: OnceLock::new() })
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
    pub fn encoded(&self, law: Law) -> &[u8] {
        self.cell(law).get_or_init(|| self.samples.iter().map(|sample| law.encode_sample(*sample)).collect())
    }

    /// One byte a sample where [`Self::encoded`] has been called before. Media threads ask this way and encode what
    /// they need frame by frame otherwise: they never encode a whole clip.
    #[must_use]
    pub fn already_encoded(&self, law: Law) -> Option<&[u8]> {
        self.cell(law).get().map(|bytes| &**bytes)
    }

    /// Makes room for packets of Opus, so that calls which play this one after another share them; not for silence, whose
    /// packets are all the same. Media threads do not allocate: what is played without this is encoded by each call.
    pub fn share_opus(&self) {
        if self.opus.get().is_none() && self.samples.iter().any(|sample| *sample != 0) {
            self.opus.get_or_init(|| Packets::new(self.samples.len()));
        }
    }

    /// The packets of Opus that calls have made, where [`Self::share_opus`] has been called before.
    pub(crate) fn opus(&self) -> Option<&Packets> {
        self.opus.get()
    }

    const fn cell(&self, law: Law) -> &OnceLock<Box<[u8]>> {
        match law {
            Law::Mu => &self.pcmu,
            Law::A => &self.pcma,
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
        assert!(clip.already_encoded(Law::A).is_none());
        let first = clip.encoded(Law::A).as_ptr();
        assert_eq!(first, clip.encoded(Law::A).as_ptr());
        assert!(clip.already_encoded(Law::Mu).is_none());
        assert_eq!(clip.encoded(Law::Mu)[0], Law::Mu.silence());
        assert_eq!(clip.encoded(Law::Mu).len(), 4);
    }

    #[test]
    fn silence_is_bounded() {
        assert_eq!(Clip::silence(250).duration_ms(), 250);
        assert_eq!(Clip::silence(Millis::MAX).duration_ms(), MAX_SILENCE);
    }
}
