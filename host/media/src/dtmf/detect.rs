//! Keys as tones in the audio (ITU-T Q.23, Q.24), for far ends that send no events.
//!
//! Each 12.75 ms the power at the eight frequencies is measured (Goertzel). A key is one tone of each group that
//! stands out in its group, of like power both, with next to nothing else beside them: speech has harmonics, and its
//! power lies elsewhere. Two such blocks in a row, and as loud as each other, for a voice is never so even, are a key;
//! so the shortest is 25 to 38 ms and 40 ms always count. Three without it end it: a pause of 40 ms does, a dropout of
//! 7 ms does not.

use super::{COLUMNS, ROWS};

/// Samples in a block: 102 make a filter wide enough for the 1.5 % a tone may be off, and narrow enough for its
/// neighbours.
const BLOCK: usize = 102;
/// The weakest tone: about -42 dBm0, in units of the measured power, for both together.
const FLOOR: f32 = 2.0e8;
/// The upper tone may be stronger by 4 dB, the lower one by 8 dB (Q.24: telephones lift one, lines damp the other).
const REVERSE_TWIST: f32 = 2.51;
const NORMAL_TWIST: f32 = 6.31;
/// A tone stands out in its group by 8 dB.
const STANDS_OUT: f32 = 6.31;
/// Of all power in the block this much is in the two tones: all of it where they are exact and undisturbed, 80 % where
/// they are off by 1.5 %.
const SHARE: f32 = 0.77;
/// From one block to the next a key's tones change by less than 2.5 dB, where it does not begin or end in it.
const EVEN: f32 = 1.78;
/// Blocks without a key that end it.
const PAUSE: u8 = 3;

/// Listens to one call at 8 kHz.
#[derive(Debug)]
pub struct Detector {
    /// The recurrences: one and two samples back, for the rows and then the columns.
    state: [(f32, f32); 8],
    factors: [f32; 8],
    energy: f32,
    count: usize,
    /// What the last block held.
    last: Option<Heard>,
    /// The key that sounds.
    key: Option<char>,
    /// Blocks without it.
    without: u8,
}

/// A key in a block, and the power of its tones.
#[derive(Clone, Copy, Debug)]
struct Heard {
    key: char,
    low: f32,
    high: f32,
}

impl Heard {
    /// Whether both blocks are of one press.
    fn goes_on(self, before: Self) -> bool {
        let even = |a: f32, b: f32| a < b * EVEN && b < a * EVEN;
        self.key == before.key && even(self.low, before.low) && even(self.high, before.high)
    }
}

impl Default for Detector {
    fn default() -> Self {
        let mut factors = [0.0; 8];
        for (factor, hertz) in factors.iter_mut().zip(ROWS.iter().chain(&COLUMNS)) {
            *factor = 2.0 * (std::f32::consts::TAU * hertz / crate::SAMPLE_RATE as f32).cos();
        }
        Self { state: [(0.0, 0.0); 8], factors, energy: 0.0, count: 0, last: None, key: None, without: 0 }
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
                self.follow(heard, &mut pressed);
            }
        }
    }

    fn follow(&mut self, heard: Option<Heard>, pressed: &mut impl FnMut(char)) {
        let before = std::mem::replace(&mut self.last, heard);
        if let Some(heard) = heard
            && self.key == Some(heard.key)
        {
            self.without = 0;
        } else if let (Some(heard), Some(before)) = (heard, before)
            && heard.goes_on(before)
        {
            self.key = Some(heard.key);
            self.without = 0;
            pressed(heard.key);
        } else {
            self.without = self.without.saturating_add(1);
            if self.without >= PAUSE {
                self.key = None;
            }
        }
    }

    /// The key in the block, if it is one.
    fn judge(&self) -> Option<Heard> {
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
        likely.then_some(Heard { key: KEYS[row][column], low, high })
    }
}

/// The strongest of a group, where it stands out.
fn strongest(group: &[f32]) -> Option<(usize, f32)> {
    let (at, most) = group.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let alone = group.iter().enumerate().all(|(other, power)| other == at || power * STANDS_OUT < most);
    alone.then_some((at, most))
}

#[cfg(test)]
mod tests {
    use super::super::{KEYS, code, tone};
    use super::*;
    use proptest::prelude::*;

    fn hear(samples: &[i16]) -> String {
        let (mut detector, mut keys) = (Detector::default(), String::new());
        // In frames, as calls do.
        for frame in samples.chunks(160) {
            detector.push(frame, |key| keys.push(key));
        }
        keys
    }

    /// Two tones, each of its amplitude and off by its share.
    fn pair(low: f32, high: f32, amplitudes: (f32, f32), samples: usize) -> Vec<i16> {
        let sine = |hertz: f32, n: usize| (n as f32 * hertz * std::f32::consts::TAU / 8_000.0).sin();
        (0..samples).map(|n| (sine(low, n) * amplitudes.0 + sine(high, n) * amplitudes.1) as i16).collect()
    }

    #[test]
    fn each_key_is_heard_once_however_long_and_through_noise() {
        for key in KEYS {
            let code = code(key).expect("a key");
            for (length, noise) in [(400, 0), (800, 0), (8_000, 0), (800, 500), (4_000, 500)] {
                let mut seed = 1_u32;
                let samples: Vec<i16> = (0..length + 1_600)
                    .map(|n| {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let noise = (seed >> 16) as i32 % (2 * noise + 1) - noise;
                        let tone = if (800..800 + length).contains(&n) { i32::from(tone(code, n - 800)) } else { 0 };
                        (tone + noise) as i16
                    })
                    .collect();
                assert_eq!(hear(&samples), key.to_string(), "{key} for {length} samples in noise of {noise}");
            }
        }
    }

    #[test]
    fn forty_milliseconds_are_enough_and_nineteen_are_not() {
        for offset in 0..160 {
            let press =
                |length| [vec![0; offset], pair(770.0, 1_336.0, (6_000.0, 6_000.0), length), vec![0; 800]].concat();
            assert_eq!(hear(&press(320)), "5", "at {offset}");
            assert_eq!(hear(&press(152)), "", "at {offset}");
        }
    }

    #[test]
    fn the_limits_of_level_twist_and_frequency_are_those_of_the_recommendation() {
        let heard = |low: f32, high: f32, amplitudes| !hear(&pair(low, high, amplitudes, 800)).is_empty();
        for (loud, soft) in [(15_000.0, 15_000.0), (300.0, 300.0), (8_000.0, 3_500.0), (3_500.0, 5_000.0)] {
            assert!(heard(697.0, 1_477.0, (loud, soft)), "{loud} {soft}");
        }
        for (low, high) in [(8_000.0, 2_000.0), (2_000.0, 8_000.0), (100.0, 100.0), (8_000.0, 0.0), (0.0, 8_000.0)] {
            assert!(!heard(697.0, 1_477.0, (low, high)), "{low} {high}");
        }
        for off in [0.985, 0.99, 1.01, 1.015] {
            assert!(heard(852.0 * off, 1_633.0 * off, (5_000.0, 5_000.0)), "{off}");
        }
        for off in [0.96, 1.04] {
            assert!(!heard(852.0 * off, 1_209.0 * off, (5_000.0, 5_000.0)), "{off}");
        }
    }

    #[test]
    fn equal_keys_with_a_pause_are_two_and_a_dropout_is_none() {
        let press = |length| pair(941.0, 1_209.0, (6_000.0, 6_000.0), length);
        assert_eq!(hear(&[press(480), vec![0; 400], press(480), vec![0; 400]].concat()), "**");
        assert_eq!(hear(&[press(480), vec![0; 60], press(480), vec![0; 400]].concat()), "*");
    }

    #[test]
    fn the_tones_of_the_network_are_no_keys() {
        for (low, high) in
            [(350.0, 440.0), (480.0, 620.0), (440.0, 480.0), (425.0, 425.0), (1_100.0, 2_100.0), (697.0, 2_600.0)]
        {
            assert_eq!(hear(&pair(low, high, (6_000.0, 6_000.0), 16_000)), "", "{low} and {high} Hz");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_heard_as_it_was_dialled(number in "[0-9A-D*#]{1,12}", press in 400_usize..1_600, pause in 400_usize..1_600, offset in 0_usize..400) {
            let mut samples = vec![0; offset];
            for key in number.chars() {
                let code = code(key).expect("a key");
                samples.extend((0..press as u32).map(|at| tone(code, at)));
                samples.extend(vec![0; pause]);
            }
            prop_assert_eq!(hear(&samples), number);
        }
    }
}
