//! From audio to what the model was trained with: mel-frequency cepstra, a vector for each 10 ms.
//!
//! libsphinxbase makes them, too, but its own way to take noise away leaves little of what a model of clean voices
//! knows again. So this does what it does – the figures are those of the model's `feat.params` – and lets
//! [`super::clean`] see the bands before their cepstra are taken.

use super::passage::RATE;
use std::f32::consts::PI;

/// Bands of the mel scale.
pub(super) const BANDS: usize = 25;
/// Cepstra of a frame.
pub(super) const CEPSTRA: usize = 13;

/// The energies of a frame's bands, or their logarithms.
pub(super) type Bands = [f32; BANDS];
/// What a decoder takes of a frame.
pub(super) type Cepstra = [f32; CEPSTRA];

/// What the model has to be trained with: a name of its `feat.params`, the value, and what it is where it is not given.
const TRAINED_WITH: [(&str, &str, &str); 8] = [
    ("-lowerf", "130", "133.33334"),
    ("-upperf", "6800", "6855.4976"),
    ("-nfilt", "25", "40"),
    ("-transform", "dct", "legacy"),
    ("-lifter", "22", "0"),
    ("-feat", "1s_c_d_dd", "1s_c_d_dd"),
    ("-ncep", "13", "13"),
    ("-ceplen", "13", "13"),
];
/// The edges of the lowest and of the highest band.
const LOWEST_HZ: f32 = 130.0;
const HIGHEST_HZ: f32 = 6_800.0;
/// Up to here a telephone's audio is to be believed.
const TELEPHONE_HZ: f32 = 3_500.0;

/// Samples from one frame to the next.
const STEP: usize = RATE / 100;
/// Samples of a frame.
const WINDOW: usize = 410;
/// Samples of its spectrum.
const POINTS: usize = 512;
const BIN_HZ: f32 = RATE as f32 / POINTS as f32;
const PRE_EMPHASIS: f32 = 0.97;
const LIFTER: f32 = 22.0;
/// Energy that is in every band, so that one in which nothing is has a level: that of a sample that is one off.
const FLOOR: f32 = 100.0;

/// Why a model with these `feat.params` cannot be used; none where it can.
pub(super) fn mismatch(parameters: &str) -> Option<String> {
    let mut words = parameters.split_whitespace();
    let mut given = Vec::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        given.push((name, value));
    }
    TRAINED_WITH.into_iter().find_map(|(name, wanted, otherwise)| {
        let found = given.iter().rfind(|(of, _)| *of == name).map_or(otherwise, |(_, value)| value);
        (found != wanted).then(|| format!("`{name}` is {found} and not {wanted}"))
    })
}

/// The tables that it takes.
pub(super) struct Features {
    window: Vec<f32>,
    /// e^(-2πik/512) for the first half of k: real and imaginary parts.
    turns: Vec<(f32, f32)>,
    /// Which bins make a band, from the first on, and with what weight.
    filters: Vec<(usize, Vec<f32>)>,
    /// Cosines of each cepstrum, to unit length; without the lifter.
    cosines: [Bands; CEPSTRA],
    lifter: Cepstra,
    /// How many bands a telephone carries.
    narrow: usize,
}

impl Features {
    pub(super) fn new() -> Self {
        let window = (0..WINDOW).map(|n| 0.54 - 0.46 * (2.0 * PI * n as f32 / (WINDOW - 1) as f32).cos()).collect();
        let turns = (0..POINTS / 2).map(|k| (2.0 * PI * k as f32 / POINTS as f32).sin_cos()).map(|(s, c)| (c, -s));
        let filters: Vec<_> = (0..BANDS).map(filter).collect();
        // Half of the last of them at least is below the limit.
        let within = |(first, weights): &&(usize, Vec<f32>)| {
            let below = weights.iter().enumerate().filter(|(bin, _)| (first + bin) as f32 * BIN_HZ <= TELEPHONE_HZ);
            2.0 * below.map(|(_, weight)| weight).sum::<f32>() >= weights.iter().sum()
        };
        let narrow = filters.iter().take_while(within).count();
        let unit = |i: usize| (if i == 0 { 1.0 } else { 2.0 } / BANDS as f32).sqrt();
        let cosine = |i: usize, j: usize| (PI * i as f32 * (j as f32 + 0.5) / BANDS as f32).cos() * unit(i);
        Self {
            window,
            turns: turns.collect(),
            filters,
            cosines: std::array::from_fn(|i| std::array::from_fn(|j| cosine(i, j))),
            lifter: std::array::from_fn(|i| 1.0 + LIFTER / 2.0 * (PI * i as f32 / LIFTER).sin()),
            narrow,
        }
    }

    /// How many bands there is anything in, from the lowest on.
    pub(super) const fn carried(&self, rate_hz: u32) -> usize {
        if rate_hz == 8_000 { self.narrow } else { BANDS }
    }

    /// The energy of the bands in each frame of audio.
    pub(super) fn bands(&self, audio: &[i16]) -> Vec<Bands> {
        let frames = audio.windows(WINDOW).step_by(STEP).enumerate();
        frames
            .map(|(frame, samples)| self.frame(if frame == 0 { None } else { Some(audio[frame * STEP - 1]) }, samples))
            .collect()
    }

    /// The bands of one frame, before which there was this sample.
    fn frame(&self, before: Option<i16>, samples: &[i16]) -> Bands {
        let mut points = [(0.0, 0.0); POINTS];
        let mut last = before.map_or(0.0, f32::from);
        for ((point, weight), &sample) in points.iter_mut().zip(&self.window).zip(samples) {
            let sample = f32::from(sample);
            point.0 = weight * PRE_EMPHASIS.mul_add(-last, sample);
            last = sample;
        }
        self.transform(&mut points);
        let energy = |&(re, im): &(f32, f32)| re * re + im * im;
        std::array::from_fn(|band| {
            let (first, weights) = &self.filters[band];
            let sum: f32 = weights.iter().zip(&points[*first..]).map(|(weight, point)| weight * energy(point)).sum();
            sum + FLOOR
        })
    }

    /// The Fourier transform in its place: Cooley and Tukey's, of powers of two.
    fn transform(&self, points: &mut [(f32, f32); POINTS]) {
        for at in 0..POINTS {
            let other = at.reverse_bits() >> (usize::BITS - POINTS.ilog2());
            if at < other {
                points.swap(at, other);
            }
        }
        let mut half = 1;
        while half < POINTS {
            for pair in points.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                let turns = self.turns.iter().step_by(POINTS / 2 / half);
                for ((low, high), turn) in low.iter_mut().zip(high).zip(turns) {
                    let turned = (high.0 * turn.0 - high.1 * turn.1, high.0 * turn.1 + high.1 * turn.0);
                    *high = (low.0 - turned.0, low.1 - turned.1);
                    *low = (low.0 + turned.0, low.1 + turned.1);
                }
            }
            half *= 2;
        }
    }

    /// The cepstra of a frame, of the logarithms of its bands.
    pub(super) fn cepstra(&self, levels: &Bands) -> Cepstra {
        std::array::from_fn(|i| {
            self.lifter[i] * self.cosines[i].iter().zip(levels).map(|(c, level)| c * level).sum::<f32>()
        })
    }

    /// The smoothest bands that have these cepstra.
    pub(super) fn levels(&self, cepstra: &Cepstra) -> Bands {
        std::array::from_fn(|band| (0..CEPSTRA).map(|i| cepstra[i] / self.lifter[i] * self.cosines[i][band]).sum())
    }

    /// How these bands vary where the cepstra vary like that, each by itself.
    pub(super) fn variances(&self, cepstra: &Cepstra) -> Bands {
        let share = |i: usize, band: usize| (self.cosines[i][band] / self.lifter[i]).powi(2);
        std::array::from_fn(|band| (0..CEPSTRA).map(|i| cepstra[i] * share(i, band)).sum())
    }
}

/// A band as a triangle over its bins, of the same area as every other.
fn filter(band: usize) -> (usize, Vec<f32>) {
    let mel = |hz: f32| 2_595.0 * (1.0 + hz / 700.0).log10();
    let hz = |mel: f32| 700.0 * (10_f32.powf(mel / 2_595.0) - 1.0);
    let width = (mel(HIGHEST_HZ) - mel(LOWEST_HZ)) / (BANDS + 1) as f32;
    let edge = |i: usize| (hz(mel(LOWEST_HZ) + i as f32 * width) / BIN_HZ).round();
    let (low, middle, high) = (edge(band), edge(band + 1), edge(band + 2));
    let area = 2.0 / ((high - low) * BIN_HZ);
    let weight = |bin: usize| {
        let bin = bin as f32;
        area * ((bin - low) / (middle - low)).min((high - bin) / (high - middle)).max(0.0)
    };
    (low as usize, (low as usize..=high as usize).map(weight).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_in_the_band_of_its_frequency() {
        let features = Features::new();
        let tone: Vec<i16> =
            (0..RATE / 2).map(|n| (8_000.0 * (2.0 * PI * 1_000.0 * n as f32 / RATE as f32).sin()) as i16).collect();
        let frames = features.bands(&tone);
        assert_eq!(frames.len(), (tone.len() - WINDOW) / STEP + 1);
        let loudest = |bands: &Bands| (0..BANDS).max_by(|&a, &b| bands[a].total_cmp(&bands[b])).unwrap();
        for bands in &frames {
            let (first, weights) = &features.filters[loudest(bands)];
            let (low, high) = (*first as f32 * BIN_HZ, (first + weights.len()) as f32 * BIN_HZ);
            assert!(low < 1_000.0 && 1_000.0 < high, "{low} to {high} Hz");
        }
        assert!(features.bands(&tone[..WINDOW - 1]).is_empty(), "too short for a frame");
    }

    #[test]
    fn all_energy_is_in_the_spectrum() {
        // Parseval's theorem, for a sequence that is like nothing.
        let features = Features::new();
        let mut points: [(f32, f32); POINTS] = std::array::from_fn(|n| (((n * n * 7) % 101) as f32 - 50.0, 0.0));
        let energy = |points: &[(f32, f32)]| points.iter().map(|(re, im)| re * re + im * im).sum::<f32>();
        let before = energy(&points);
        features.transform(&mut points);
        assert!((energy(&points) / POINTS as f32 / before - 1.0).abs() < 1e-4);
    }

    #[test]
    fn bands_of_cepstra_have_these_cepstra() {
        let features = Features::new();
        let cepstra = std::array::from_fn(|i| 40.0 - 7.0 * i as f32);
        for (is, was) in features.cepstra(&features.levels(&cepstra)).iter().zip(cepstra) {
            assert!((is - was).abs() < 0.01, "{is} {was}");
        }
        assert!((8..BANDS).contains(&features.carried(8_000)) && features.carried(16_000) == BANDS);
    }

    #[test]
    fn a_model_of_other_features_is_told() {
        let ours = "-lowerf 130\n-upperf 6800\n-nfilt 25\n-transform dct\n-lifter 22\n-feat 1s_c_d_dd\n-agc none\n";
        assert_eq!(mismatch(ours), None);
        assert!(mismatch(&ours.replace("6800", "3500")).is_some_and(|what| what.contains("`-upperf` is 3500")));
        assert!(mismatch("").is_some());
    }
}
