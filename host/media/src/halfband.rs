//! Between 8 and 16 kHz, sample by sample, without delay beyond 1.5 ms and without allocation: wideband codecs meet
//! narrowband prompts, taps and recordings here. Files are resampled elsewhere, better and slower ([`crate::resample`]).

/// Pairs of taps beside the middle one. 47 taps in all: flat to 3.4 kHz, 50 dB down from 4.6 kHz on.
const PAIRS: usize = 12;
/// The most input one call takes: 200 ms at 8 kHz.
const MOST: usize = 1_600;

/// The taps at odd distances from the middle; those at even ones are zero, which is the point of a half-band filter.
fn taps() -> [f32; PAIRS] {
    std::array::from_fn(|pair| {
        let at = (2 * pair + 1) as f32;
        let sinc = if pair.is_multiple_of(2) { 1.0 } else { -1.0 } / (std::f32::consts::PI * at);
        let hamming = 0.46f32.mul_add((std::f32::consts::PI * at / (2 * PAIRS) as f32).cos(), 0.54);
        sinc * hamming
    })
}

/// Saturates; a half-band filter overshoots at steps.
fn to_i16(sample: f32) -> i16 {
    sample.round() as i16
}

/// 8 kHz in, 16 kHz out.
#[derive(Debug)]
pub struct Upsampler {
    taps: [f32; PAIRS],
    history: [f32; 2 * PAIRS],
}

impl Default for Upsampler {
    fn default() -> Self {
        Self { taps: taps(), history: [0.0; 2 * PAIRS] }
    }
}

impl Upsampler {
    /// Fills `out` with two samples for each of `samples`: as many as both hold, 200 ms at most. Returns how many.
    pub fn push(&mut self, samples: &[i16], out: &mut [i16]) -> usize {
        let count = samples.len().min(out.len() / 2).min(MOST);
        let mut line = [0.0; 2 * PAIRS + MOST];
        line[..2 * PAIRS].copy_from_slice(&self.history);
        for (place, sample) in line[2 * PAIRS..].iter_mut().zip(&samples[..count]) {
            *place = f32::from(*sample);
        }
        for (at, pair) in out.chunks_exact_mut(2).take(count).enumerate() {
            // The middle lies between `line[at + PAIRS]` and the next.
            let (before, after) = line[at + 1..at + 1 + 2 * PAIRS].split_at(PAIRS);
            let sum: f32 = (self.taps.iter().zip(before.iter().rev()).zip(after))
                .map(|((tap, left), right)| tap * (left + right))
                .sum();
            pair[0] = to_i16(before[PAIRS - 1]);
            pair[1] = to_i16(2.0 * sum);
        }
        self.history.copy_from_slice(&line[count..count + 2 * PAIRS]);
        2 * count
    }
}

/// 16 kHz in, 8 kHz out.
#[derive(Debug)]
pub(crate) struct Downsampler {
    taps: [f32; PAIRS],
    history: [f32; 4 * PAIRS],
}

impl Default for Downsampler {
    fn default() -> Self {
        Self { taps: taps(), history: [0.0; 4 * PAIRS] }
    }
}

impl Downsampler {
    /// Fills `out` with one sample for each two of `samples`: as many as both hold, 200 ms at most. Returns how many.
    pub(crate) fn push(&mut self, samples: &[i16], out: &mut [i16]) -> usize {
        let count = (samples.len() / 2).min(out.len()).min(MOST);
        let mut line = [0.0; 4 * PAIRS + 2 * MOST];
        line[..4 * PAIRS].copy_from_slice(&self.history);
        for (place, sample) in line[4 * PAIRS..].iter_mut().zip(&samples[..2 * count]) {
            *place = f32::from(*sample);
        }
        for (at, out) in out.iter_mut().take(count).enumerate() {
            let window = &line[2 * at + 2..2 * at + 2 + 4 * PAIRS];
            let middle = 2 * PAIRS;
            let sum: f32 = (self.taps.iter().enumerate())
                .map(|(pair, tap)| tap * (window[middle - 2 * pair - 1] + window[middle + 2 * pair + 1]))
                .sum();
            *out = to_i16(0.5f32.mul_add(window[middle], sum));
        }
        self.history.copy_from_slice(&line[2 * count..2 * count + 4 * PAIRS]);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: f64, hertz: f64, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| ((n as f64 * hertz * std::f64::consts::TAU / rate).sin() * 16_000.0) as i16).collect()
    }

    fn rms(samples: &[i16]) -> f64 {
        (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn voice_passes_both_ways_and_comes_back_as_it_was() {
        for hertz in [200.0, 1_000.0, 3_000.0, 3_300.0] {
            let voice = tone(8_000.0, hertz, 4_000);
            let (mut up, mut down) = (Upsampler::default(), Downsampler::default());
            let (mut wide, mut back) = (vec![0; 8_000], vec![0; 4_000]);
            // In pieces, as calls do.
            for (n, piece) in voice.chunks(160).enumerate() {
                assert_eq!(up.push(piece, &mut wide[n * 320..]), 320);
                assert_eq!(down.push(&wide[n * 320..n * 320 + 320], &mut back[n * 160..]), 160);
            }
            let error: Vec<i16> = back[100..].iter().zip(&voice[100 - 23..]).map(|(a, b)| a - b).collect();
            assert!(rms(&error) < 11_300.0 / 30.0, "{hertz}: {}", rms(&error));
            // And in between nothing but the tone itself.
            let expected = tone(16_000.0, hertz, 8_000);
            let error: Vec<i16> = wide[200..].iter().zip(&expected[200 - 24..]).map(|(a, b)| a - b).collect();
            assert!(rms(&error) < 11_300.0 / 30.0, "{hertz} at 16 kHz: {}", rms(&error));
        }
    }

    #[test]
    fn what_8_khz_cannot_hold_is_not_folded_into_it() {
        for hertz in [4_700.0, 5_500.0, 7_000.0] {
            let mut out = vec![0; 1_600];
            Downsampler::default().push(&tone(16_000.0, hertz, 3_200), &mut out);
            assert!(rms(&out[100..]) < 11_300.0 / 200.0, "{hertz}: {}", rms(&out[100..]));
        }
    }

    #[test]
    fn the_loudest_step_saturates() {
        let samples: Vec<i16> = (0..320).map(|n| if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let mut out = vec![0; 640];
        Upsampler::default().push(&samples, &mut out);
        assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN));
    }
}
