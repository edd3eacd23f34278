//! Keys as tones in the audio (ITU-T Q.23, Q.24), for far ends that send no events.
//!
//! Each 12.75 ms the power at the eight frequencies is measured (Goertzel). A key is one tone of each group that
//! stands out in its group, of like power both, with next to nothing else beside them: speech has harmonics, and its
//! power lies elsewhere. Two such blocks in a row are a key, so the shortest is 25 to 38 ms and 40 ms always count; two
//! without it end it, so a dropout of one block does not make two keys of one.

use super::{COLUMNS, ROWS};

/// Samples in a block: 102 make a filter wide enough for the 1.5 % a tone may be off, and narrow enough for its
/// neighbours.
const BLOCK: usize = 102;
/// The weakest tone: about -42 dBm0, in units of the measured power, for both together.
const FLOOR: f32 = 5.0e8;
/// The upper tone may be stronger by 4 dB, the lower one by 8 dB (Q.24: telephones lift one, lines damp the other).
const REVERSE_TWIST: f32 = 2.51;
const NORMAL_TWIST: f32 = 6.31;
/// A tone stands out in its group by 8 dB.
const STANDS_OUT: f32 = 6.31;
/// Of all power in the block this much is in the two tones. Of undisturbed tones all of it is.
const SHARE: f32 = 0.82;

/// Listens to one call at 8 kHz.
#[derive(Debug)]
pub struct Detector {
    /// The recurrences: one and two samples back, for the rows and then the columns.
    state: [(f32, f32); 8],
    factors: [f32; 8],
    energy: f32,
    count: usize,
    /// What the last block held.
    last: Option<char>,
    /// The key that sounds.
    key: Option<char>,
}

impl Default for Detector {
    fn default() -> Self {
        let mut factors = [0.0; 8];
        for (factor, hertz) in factors.iter_mut().zip(ROWS.iter().chain(&COLUMNS)) {
            *factor = 2.0 * (std::f32::consts::TAU * hertz / crate::SAMPLE_RATE as f32).cos();
        }
        Self { state: [(0.0, 0.0); 8], factors, energy: 0.0, count: 0, last: None, key: None }
    }
}

impl Detector {
    /// Takes samples and calls `pressed` for each key that begins.
    pub fn push(&mut self, mut samples: &[i16], mut pressed: impl FnMut(char)) {
        while !samples.is_empty() {
            let (block, rest) = samples.split_at(samples.len().min(BLOCK - self.count));
            samples = rest;
            for sample in block {
                let sample = f32::from(*sample);
                self.energy += sample * sample;
                for ((one, two), factor) in self.state.iter_mut().zip(&self.factors) {
                    (*one, *two) = (factor.mul_add(*one, sample) - *two, *one);
                }
            }
            self.count += block.len();
            if self.count == BLOCK {
                let heard = self.judge();
                self.state = [(0.0, 0.0); 8];
                self.energy = 0.0;
                self.count = 0;
                if heard != self.key && self.last == heard {
                    // The second block in a row of something else: another key, or none.
                    self.key = heard;
                    if let Some(key) = heard {
                        pressed(key);
                    }
                }
                self.last = heard;
            }
        }
    }

    /// The key in the block, if it is one.
    fn judge(&self) -> Option<char> {
        const KEYS: [[char; 4]; 4] =
            [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
        let mut power = [0.0; 8];
        for ((power, (one, two)), factor) in power.iter_mut().zip(&self.state).zip(&self.factors) {
            *power = one * one + two * two - factor * one * two;
        }
        let (row, low) = strongest(&power[..4])?;
        let (column, high) = strongest(&power[4..])?;
        // A tone alone in the block has this measured power for its energy: half the block's length.
        let share = (low + high) / (self.energy * BLOCK as f32 / 2.0);
        let likely = low + high > FLOOR && high < low * REVERSE_TWIST && low < high * NORMAL_TWIST && share > SHARE;
        likely.then_some(KEYS[row][column])
    }
}

/// The strongest of a group, where it stands out.
fn strongest(group: &[f32]) -> Option<(usize, f32)> {
    let (at, most) = group.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let alone = group.iter().enumerate().all(|(other, power)| other == at || power * STANDS_OUT < most);
    alone.then_some((at, most))
}
