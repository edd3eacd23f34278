//! Which part of the audio is worth decoding, and when.
//!
//! The model's features are measured against their mean over the utterance. A
//! mean that is learnt as one goes is wrong for the first seconds, which on the
//! telephone are all there is: strings of four digits came out right in one
//! case of eight, and in six with the mean of the whole. So a passage is
//! decoded as a whole: when the caller pauses, and now and then while they go
//! on, each time half as much again, so that all of that is no more than three
//! times the passage.

use callbox_media::halfband::Upsampler;

/// Samples a second of the model.
pub(super) const RATE: usize = 16_000;
/// Levels are taken over 20 ms.
const BLOCK: usize = RATE / 50;
/// Kept before the first sound, and after the last.
const MARGIN: usize = RATE / 5;
/// So long it has to be quiet after a sound to be a pause.
const PAUSE: usize = RATE * 3 / 25;
/// Before that there is no word to be found.
const FIRST: usize = RATE / 2;
/// The longest passage; what follows is not listened to.
const LONGEST: usize = 60 * RATE;
/// A sound is louder than the background by this factor of amplitude (6 dB) …
const STANDS_OUT: f32 = 2.0;
/// … and than the rounding of a codec.
const SOFTEST: f32 = 24.0;
/// The background is the softest of a second, which may rise by this factor with each block.
const RISES: f32 = 1.01;

/// Audio as it comes.
pub(super) struct Passage {
    /// 16 kHz, from shortly before the first sound.
    audio: Vec<i16>,
    /// Samples that were before it.
    before: usize,
    upsampler: Option<Upsampler>,
    /// Samples that are not a whole block yet.
    pending: Vec<i16>,
    background: f32,
    /// Where the last sound ended, in `audio`; none before the first.
    sounded: Option<usize>,
    /// Where the last sound ended when it was last decoded.
    decoded: usize,
}

impl Passage {
    /// Audio of this rate: 8 000 is doubled, anything else is as the model has it.
    pub(super) fn new(rate_hz: u32) -> Self {
        Self {
            audio: Vec::new(),
            before: 0,
            upsampler: (rate_hz == 8_000).then(Upsampler::default),
            pending: Vec::new(),
            background: f32::MAX,
            sounded: None,
            decoded: 0,
        }
    }

    pub(super) fn push(&mut self, samples: &[i16]) {
        let mut wide = [0; 2 * BLOCK];
        for part in samples.chunks(BLOCK) {
            match &mut self.upsampler {
                Some(upsampler) => {
                    let made = upsampler.push(part, &mut wide);
                    self.pending.extend_from_slice(&wide[..made]);
                }
                None => self.pending.extend_from_slice(part),
            }
        }
        let mut pending = std::mem::take(&mut self.pending);
        let mut blocks = pending.chunks_exact(BLOCK);
        for block in &mut blocks {
            self.take(block);
        }
        let rest = blocks.remainder().len();
        pending.drain(..pending.len() - rest);
        self.pending = pending;
    }

    fn take(&mut self, block: &[i16]) {
        if self.audio.len() + BLOCK > LONGEST {
            return;
        }
        let energy: f32 = block.iter().map(|&sample| f32::from(sample).powi(2)).sum();
        let level = (energy / BLOCK as f32).sqrt();
        self.background = level.min(self.background * RISES).max(1.0);
        self.audio.extend_from_slice(block);
        if level > SOFTEST && level > self.background * STANDS_OUT {
            self.sounded = Some(self.audio.len());
        } else if self.sounded.is_none() && self.audio.len() > MARGIN {
            let over = self.audio.len() - MARGIN;
            self.audio.drain(..over);
            self.before += over;
        }
    }

    /// Whether it is time to decode, as the caller pauses or has said much more.
    pub(super) fn is_due(&self) -> bool {
        let Some(sounded) = self.sounded else { return false };
        let pauses = self.audio.len() - sounded >= PAUSE;
        let more = sounded >= FIRST && sounded * 2 >= self.decoded * 3;
        sounded > self.decoded && (pauses || more)
    }

    /// Whether something was said since it was last decoded.
    pub(super) fn has_more(&self) -> bool {
        self.sounded.is_some_and(|sounded| sounded > self.decoded)
    }

    /// What is to be decoded, and how many samples were before it: from
    /// shortly before the first sound to shortly after the last. None where
    /// there was no sound.
    pub(super) fn decode(&mut self) -> Option<(&[i16], usize)> {
        let sounded = self.sounded?;
        self.decoded = sounded;
        let end = (sounded + MARGIN).min(self.audio.len());
        Some((&self.audio[..end], self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(ms: usize, amplitude: f32) -> Vec<i16> {
        (0..ms * 8).map(|n| (amplitude * (n as f32 * 0.5).sin()) as i16).collect()
    }

    #[test]
    fn silence_is_nothing_to_decode() {
        let mut passage = Passage::new(8_000);
        passage.push(&vec![0; 80_000]);
        passage.push(&tone(5_000, 8.0));
        assert!(!passage.is_due() && !passage.has_more());
        assert!(passage.decode().is_none());
        assert!(passage.audio.len() <= MARGIN + BLOCK, "silence is not kept");
    }

    #[test]
    fn a_passage_is_what_sounds_and_a_little_around_it() {
        let mut passage = Passage::new(8_000);
        passage.push(&tone(1_000, 10.0));
        passage.push(&tone(240, 3_000.0));
        assert!(!passage.is_due(), "too short, and no pause yet");
        passage.push(&tone(160, 3_000.0));
        passage.push(&tone(200, 10.0));
        assert!(passage.is_due() && passage.has_more());
        let (audio, before) = passage.decode().unwrap();
        let (audio, before) = (audio.len() / 16, before / 16);
        assert!((780..=800).contains(&before), "{before}");
        assert!((780..=820).contains(&audio), "{audio}");
        assert!(!passage.is_due() && !passage.has_more(), "nothing new");
        passage.push(&tone(400, 3_000.0));
        assert!(passage.has_more());
    }

    #[test]
    fn who_goes_on_is_decoded_now_and_then() {
        let mut passage = Passage::new(16_000);
        passage.push(&[0; RATE / 4]);
        let (mut decodes, mut decoded) = (0, 0);
        for _ in 0..100 {
            passage.push(&[3_000; RATE / 10].map(|_: i16| 3_000));
            if passage.is_due() {
                decodes += 1;
                decoded += passage.decode().unwrap().0.len();
            }
        }
        assert!((5..=10).contains(&decodes), "{decodes}");
        assert!(decoded <= 3 * 10 * RATE, "{decoded}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pieces_do_not_matter(cuts in prop::collection::vec(0_usize..700, 0..30), wide in any::<bool>()) {
            let rate = if wide { 16_000 } else { 8_000 };
            let audio = [tone(500, 20.0), tone(600, 9_000.0), tone(500, 20.0)].concat();
            let (mut whole, mut pieces) = (Passage::new(rate), Passage::new(rate));
            whole.push(&audio);
            let mut rest = audio.as_slice();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                pieces.push(now);
                rest = later;
            }
            pieces.push(rest);
            prop_assert_eq!(whole.decode(), pieces.decode());
        }
    }
}
