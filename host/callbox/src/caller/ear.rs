//! Hearing by energy: when something sounds, and for how long. Good enough to
//! tell speech from silence on a line that carries nothing else.

/// Mean amplitude above which a 20 ms frame sounds, of 32,767.
const THRESHOLD: u32 = 120;
/// Silence that ends a sound: longer than a pause between words.
const PAUSE_FRAMES: u32 = 35;

/// What has become of the sound.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sound {
    /// Something sounds.
    Began,
    /// It has been silent for a while.
    Ended {
        /// How long it sounded.
        ms: u32,
    },
}

/// Listens to one call.
#[derive(Debug, Default)]
pub(super) struct Ear {
    sounding: Option<Run>,
}

#[derive(Debug)]
struct Run {
    frames: u32,
    silent: u32,
}

impl Ear {
    /// Takes 20 ms.
    pub(super) fn hear(&mut self, samples: &[i16]) -> Option<Sound> {
        let sum: u32 = samples.iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
        let count = u32::try_from(samples.len()).unwrap_or(u32::MAX).max(1);
        let loud = sum / count > THRESHOLD;
        match (&mut self.sounding, loud) {
            (None, false) => None,
            (None, true) => {
                self.sounding = Some(Run { frames: 1, silent: 0 });
                Some(Sound::Began)
            }
            (Some(run), true) => {
                run.frames = run.frames.saturating_add(1 + run.silent);
                run.silent = 0;
                None
            }
            (Some(run), false) => {
                run.silent += 1;
                if run.silent < PAUSE_FRAMES {
                    return None;
                }
                let ms = run.frames.saturating_mul(20);
                self.sounding = None;
                Some(Sound::Ended { ms })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ear, PAUSE_FRAMES, Sound};

    #[test]
    fn a_sound_ends_after_a_pause_and_short_gaps_belong_to_it() {
        let (loud, silent) = ([1_000_i16; 160], [0_i16; 160]);
        let mut ear = Ear::default();
        assert_eq!(ear.hear(&silent), None);
        assert_eq!(ear.hear(&loud), Some(Sound::Began));
        assert_eq!(ear.hear(&silent), None);
        assert_eq!(ear.hear(&loud), None);
        let ends: Vec<_> = (0..PAUSE_FRAMES).filter_map(|_| ear.hear(&silent)).collect();
        assert_eq!(ends, [Sound::Ended { ms: 60 }]);
    }
}
