//! From the engine's sample rate to the telephone's 8 kHz, piece by piece.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// The rate of everything that leaves this room.
pub const TELEPHONE_RATE: u32 = 8_000;

/// Rates a speech engine may use. A closed list, so that the block sizes of
/// the filter are known to be small.
const RATES: [u32; 8] = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// Length of one block of the filter: long enough for a steep edge below
/// 4 kHz, short enough that it cannot be heard ringing.
const BLOCK_MS: u32 = 40;

/// Converts a stream of samples. The result depends only on the samples, not
/// on the pieces in which they come, and is as long as the input.
pub struct Resampler {
    /// None where the rates are the same.
    filter: Option<Filter>,
    rate: u32,
    samples_in: u64,
    samples_out: u64,
}

struct Filter {
    fft: Fft<f32>,
    block_in: usize,
    pending: Vec<f32>,
    output: Vec<f32>,
    /// Samples of the filter's delay that are still to be dropped.
    skip: usize,
}

impl Resampler {
    /// A resampler from `rate`; none for a rate no engine uses.
    #[must_use]
    pub fn new(rate: u32) -> Option<Self> {
        if !RATES.contains(&rate) {
            return None;
        }
        let filter = if rate == TELEPHONE_RATE { None } else { Some(Filter::new(rate)?) };
        Some(Self { filter, rate, samples_in: 0, samples_out: 0 })
    }

    /// Takes samples in and appends to `out` what is ready.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        self.samples_in += samples.len() as u64;
        let before = out.len();
        match &mut self.filter {
            None => out.extend_from_slice(samples),
            Some(filter) => {
                for &sample in samples {
                    filter.pending.push(f32::from(sample));
                    if filter.pending.len() == filter.block_in {
                        filter.run(out);
                    }
                }
            }
        }
        self.samples_out += (out.len() - before) as u64;
    }

    /// The rest: `out` has now been given as much audio as came in.
    pub fn finish(mut self, out: &mut Vec<i16>) {
        let Some(filter) = &mut self.filter else { return };
        let wanted = (self.samples_in * u64::from(TELEPHONE_RATE)).div_ceil(u64::from(self.rate));
        let mut missing = usize::try_from(wanted.saturating_sub(self.samples_out)).unwrap_or(usize::MAX);
        let mut tail = Vec::new();
        // The delay is shorter than a block, so that two blocks of silence push out all that is inside.
        for _ in 0..3 {
            if missing == 0 {
                break;
            }
            filter.pending.resize(filter.block_in, 0.0);
            tail.clear();
            filter.run(&mut tail);
            tail.truncate(missing);
            missing -= tail.len();
            out.append(&mut tail);
        }
    }
}

impl Filter {
    fn new(rate: u32) -> Option<Self> {
        let block = usize::try_from(rate * BLOCK_MS / 1_000).ok()?;
        let fft = Fft::<f32>::new_custom(
            usize::try_from(rate).ok()?,
            usize::try_from(TELEPHONE_RATE).ok()?,
            block,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .ok()?;
        let block_in = fft.input_frames_next();
        let output = vec![0.0; fft.output_frames_max()];
        let skip = fft.output_delay();
        Some(Self { fft, block_in, pending: Vec::with_capacity(block_in), output, skip })
    }

    /// Converts the full block in `pending`.
    fn run(&mut self, out: &mut Vec<i16>) {
        let (frames_in, frames_out) = (self.pending.len(), self.output.len());
        let (Ok(input), Ok(mut output)) = (
            InterleavedSlice::new(&self.pending, 1, frames_in),
            InterleavedSlice::new_mut(&mut self.output, 1, frames_out),
        ) else {
            return;
        };
        // Both sizes are what the filter asked for when it was made, so that it has nothing to refuse.
        let made = self.fft.process_into_buffer(&input, &mut output, None).map_or(0, |(_, made)| made);
        self.pending.clear();
        let skipped = self.skip.min(made);
        self.skip -= skipped;
        out.extend(self.output[skipped..made].iter().map(|&sample| to_sample(sample)));
    }
}

/// Rounds and saturates.
fn to_sample(sample: f32) -> i16 {
    #[allow(clippy::cast_possible_truncation, reason = "clamped to the range of i16 first")]
    let rounded = sample.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16;
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(rate: u32, hertz: f32, ms: u32) -> Vec<i16> {
        let n = rate * ms / 1_000;
        (0..n).map(|i| to_sample(10_000.0 * (i as f32 * hertz * std::f32::consts::TAU / rate as f32).sin())).collect()
    }

    fn whole(rate: u32, samples: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(rate).unwrap();
        let mut out = Vec::new();
        resampler.push(samples, &mut out);
        resampler.finish(&mut out);
        out
    }

    /// Root mean square of the middle, away from the edges.
    fn level(samples: &[i16]) -> f32 {
        let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
        (middle.iter().map(|&s| f32::from(s).powi(2)).sum::<f32>() / middle.len() as f32).sqrt()
    }

    #[test]
    fn keeps_what_a_telephone_carries_and_nothing_above() {
        for rate in [11_025, 16_000, 22_050, 24_000, 44_100, 48_000] {
            for hertz in [300.0, 1_000.0, 3_400.0] {
                let out = whole(rate, &tone(rate, hertz, 500));
                let want = 10_000.0 / 2.0_f32.sqrt();
                assert!((level(&out) / want - 1.0).abs() < 0.02, "{rate} {hertz}: {}", level(&out));
            }
            for hertz in [4_300.0, 5_000.0, 5_400.0] {
                let out = whole(rate, &tone(rate, hertz, 500));
                assert!(level(&out) < 10.0, "{rate} {hertz} folds back: {}", level(&out));
            }
        }
    }

    #[test]
    fn is_as_long_as_the_input_and_not_late() {
        for rate in RATES {
            for n in [0_usize, 1, 2, 100, 441, 882, 883, 10_000] {
                let mut samples = vec![0_i16; n];
                if n > 400 {
                    samples[n / 2] = 20_000;
                }
                let out = whole(rate, &samples);
                assert_eq!(out.len() as u64, (n as u64 * 8_000).div_ceil(u64::from(rate)), "{rate} {n}");
                if n > 400 {
                    let peak = (0..out.len()).max_by_key(|&i| out[i].unsigned_abs()).unwrap();
                    let want = (n / 2) as f64 * 8_000.0 / f64::from(rate);
                    assert!((peak as f64 - want).abs() <= 1.0, "{rate} {n}: {peak} for {want}");
                }
            }
        }
    }

    #[test]
    fn refuses_rates_no_engine_uses() {
        for rate in [0, 1, 7_999, 22_051, 96_000, u32::MAX] {
            assert!(Resampler::new(rate).is_none());
        }
    }

    #[test]
    fn saturates() {
        assert_eq!(to_sample(40_000.0), i16::MAX);
        assert_eq!(to_sample(-40_000.0), i16::MIN);
        assert_eq!(to_sample(f32::NAN), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pieces_do_not_matter(
            samples in prop::collection::vec(any::<i16>(), 0..6_000),
            cuts in prop::collection::vec(0_usize..2_000, 0..20),
            rate in prop::sample::select(RATES.to_vec()),
        ) {
            let mut resampler = Resampler::new(rate).unwrap();
            let mut out = Vec::new();
            let mut rest = samples.as_slice();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                resampler.push(now, &mut out);
                rest = later;
            }
            resampler.push(rest, &mut out);
            resampler.finish(&mut out);
            prop_assert_eq!(out, whole(rate, &samples));
        }
    }
}
