//! Any common sample rate down (or up) to 8 kHz, in one go or as a stream.

use crate::SAMPLE_RATE;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// Rates that are understood. Others are mistakes more often than audio.
pub const RATES: [u32; 12] =
    [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000];

/// Output samples of one pass of the filter: 40 ms. Shorter ones would roll off the upper voice band.
const BLOCK: usize = 320;

/// A rate that is not in [`RATES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "sample rate {0} Hz is not supported; use 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200 or 96000"
)]
pub struct UnsupportedRate(pub u32);

/// Turns a stream of samples at one rate into 8 kHz, low-passed below 4 kHz. The output is aligned with the input
/// (the filter's delay is cut off) and has `ceil(input * 8000 / rate)` samples in total.
pub struct Resampler {
    rate: u32,
    /// None where the rate is 8 kHz already.
    filter: Option<Fft<f32>>,
    input: Vec<f32>,
    output: Vec<f32>,
    /// Output samples still to be cut off at the beginning.
    delay: usize,
    taken: u64,
    given: u64,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler").field("rate", &self.rate).field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Resampler {
    /// A resampler from `rate` Hz.
    ///
    /// # Errors
    /// [`UnsupportedRate`] for a rate that is not in [`RATES`].
    pub fn new(rate: u32) -> Result<Self, UnsupportedRate> {
        if !RATES.contains(&rate) {
            return Err(UnsupportedRate(rate));
        }
        let mut resampler =
            Self { rate, filter: None, input: Vec::new(), output: Vec::new(), delay: 0, taken: 0, given: 0 };
        if rate != SAMPLE_RATE {
            let mut chunk = BLOCK * rate as usize / SAMPLE_RATE as usize;
            // The middle of a filter of odd length lies between two samples: the output would be shifted by a part
            // of one.
            chunk <<= chunk % 2;
            let filter = Fft::new_custom(
                rate as usize,
                SAMPLE_RATE as usize,
                chunk,
                1,
                1,
                WindowFunction::BlackmanHarris2,
                FixedSync::Both,
            )
            .map_err(|_| UnsupportedRate(rate))?;
            resampler.delay = filter.output_delay();
            resampler.output = vec![0.0; filter.output_frames_max()];
            resampler.filter = Some(filter);
        }
        Ok(resampler)
    }

    /// Takes input and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        self.taken += samples.len() as u64;
        if self.filter.is_none() {
            out.extend_from_slice(samples);
            return;
        }
        self.input.extend(samples.iter().map(|sample| f32::from(*sample) / 32_768.0));
        self.drain(out);
    }

    /// The input is over: appends the rest.
    pub fn finish(mut self, out: &mut Vec<i16>) {
        let Some(chunk) = self.filter.as_ref().map(|filter| filter.input_frames_next()) else { return };
        let total = (self.taken * u64::from(SAMPLE_RATE)).div_ceil(u64::from(self.rate));
        while self.given < total {
            // Silence pushes what is left out of the filter.
            let padded = self.input.len().max(1).div_ceil(chunk) * chunk;
            self.input.resize(padded, 0.0);
            self.drain(out);
        }
        let surplus = usize::try_from(self.given - total).unwrap_or(0);
        out.truncate(out.len() - surplus);
    }

    /// Runs the filter over all whole chunks of the input.
    fn drain(&mut self, out: &mut Vec<i16>) {
        let Some(filter) = &mut self.filter else { return };
        let chunk = filter.input_frames_next();
        let mut done = 0;
        while self.input.len() - done >= chunk {
            let frames = self.output.len();
            let source = InterleavedSlice::new(&self.input[done..done + chunk], 1, chunk);
            let sink = InterleavedSlice::new_mut(&mut self.output[..], 1, frames);
            done += chunk;
            // Buffers are sized by the filter's own figures, so neither of these can fail.
            let (Ok(source), Ok(mut sink)) = (source, sink) else { continue };
            let Ok((_, written)) = filter.process_into_buffer(&source, &mut sink, None) else { continue };
            let cut = self.delay.min(written);
            self.delay -= cut;
            self.given += (written - cut) as u64;
            out.extend(self.output[cut..written].iter().map(|sample| to_i16(*sample)));
        }
        self.input.drain(..done);
    }
}

fn to_i16(sample: f32) -> i16 {
    // `as` saturates and turns NaN into 0.
    (sample * 32_768.0).round() as i16
}

/// All samples of a clip at once.
///
/// # Errors
/// [`UnsupportedRate`] for a rate that is not in [`RATES`].
pub fn to_8k(samples: &[i16], rate: u32) -> Result<Vec<i16>, UnsupportedRate> {
    let mut resampler = Resampler::new(rate)?;
    let mut out = Vec::with_capacity(samples.len() * SAMPLE_RATE as usize / rate as usize + 2 * BLOCK);
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f64, seconds: f64) -> Vec<i16> {
        (0..(f64::from(rate) * seconds) as usize)
            .map(|n| ((n as f64 * hertz * std::f64::consts::TAU / f64::from(rate)).sin() * 16_000.0) as i16)
            .collect()
    }

    fn rms(samples: &[i16]) -> f64 {
        (samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn tones_in_the_voice_band_pass_in_phase_and_those_above_vanish() {
        for rate in RATES {
            let passed = to_8k(&tone(rate, 1_000.0, 0.5), rate).expect("a known rate");
            assert_eq!(passed.len(), 4_000, "{rate}");
            let expected = tone(8_000, 1_000.0, 0.5);
            let middle = 1_000..3_000;
            let worst = passed[middle.clone()].iter().zip(&expected[middle]).map(|(a, b)| (a - b).abs()).max();
            assert!(worst < Some(160), "{rate}: off by {worst:?} of 16000");
            if rate > 11_025 {
                let aliased = to_8k(&tone(rate, 5_200.0, 0.5), rate).expect("a known rate");
                assert!(rms(&aliased[500..3_500]) < 16.0, "{rate}: {} gets through", rms(&aliased[500..3_500]));
            }
            let upper = to_8k(&tone(rate, 3_400.0, 0.5), rate).expect("a known rate");
            assert!(rms(&upper[500..3_500]) > 10_000.0, "{rate}: the voice band ends at {}", rms(&upper[500..3_500]));
        }
    }

    #[test]
    fn a_stream_in_any_pieces_is_the_same_as_the_whole() {
        let samples = tone(22_050, 440.0, 0.37);
        let whole = to_8k(&samples, 22_050).expect("a known rate");
        assert_eq!(whole.len(), (samples.len() * 8_000).div_ceil(22_050));
        for piece in [1, 7, 441, 5_000] {
            let mut resampler = Resampler::new(22_050).expect("a known rate");
            let mut out = Vec::new();
            for part in samples.chunks(piece) {
                resampler.push(part, &mut out);
            }
            resampler.finish(&mut out);
            assert_eq!(out, whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn short_and_empty_input() {
        for rate in RATES {
            assert_eq!(to_8k(&[], rate), Ok(Vec::new()));
            assert_eq!(to_8k(&[1_000; 3], rate).map(|out| out.len()), Ok((3 * 8_000_usize).div_ceil(rate as usize)));
        }
        assert_eq!(to_8k(&[0], 8_001), Err(UnsupportedRate(8_001)));
    }
}
