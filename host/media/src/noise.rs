//! Comfort noise (RFC 3389): what a line sounds like on which nobody speaks.

/// The payload type of RFC 3551 for comfort noise on a clock of 8 kHz.
pub const PAYLOAD_TYPE: u8 = 13;
/// What we say our own silence sounds like, in -dBov: just enough to tell that the line is alive.
pub const SILENCE_LEVEL: u8 = 70;
/// Reflection coefficients that are used; more describe more than noise has.
const ORDER: usize = 12;
/// No louder than this, whatever is asked for: noise is background (-30 dBov).
const LOUDEST: f32 = 1_036.0;

/// Makes noise of a level and a spectrum.
#[derive(Debug)]
pub struct Noise {
    reflection: [f32; ORDER],
    /// The lattice's memory.
    memory: [f32; ORDER],
    /// What the excitation, of variance 1, is multiplied with.
    gain: f32,
    seed: u32,
}

impl Default for Noise {
    fn default() -> Self {
        Self { reflection: [0.0; ORDER], memory: [0.0; ORDER], gain: 0.0, seed: 0x2F6E_2B1D }
    }
}

impl Noise {
    /// Takes a payload (RFC 3389 §3): a level in -dBov, then reflection coefficients, if any. An empty one means
    /// nothing.
    pub fn describe(&mut self, payload: &[u8]) {
        let Some((level, spectrum)) = payload.split_first() else { return };
        let mut reflection = [0.0; ORDER];
        for (coefficient, byte) in reflection.iter_mut().zip(spectrum) {
            // §3.2; kept off 1, where the filter would ring for ever.
            *coefficient = ((f32::from(*byte) - 127.0) * 258.0 / 32_768.0).clamp(-0.98, 0.98);
        }
        self.shape(10_f32.powf(f32::from(level & 0x7F) / -20.0) * 32_768.0, reflection);
    }

    /// White noise, as loud as that.
    pub fn like(&mut self, rms: f32) {
        self.shape(rms, [0.0; ORDER]);
    }

    fn shape(&mut self, rms: f32, reflection: [f32; ORDER]) {
        // Each stage of the lattice makes its input louder by 1/(1 - k²).
        let loss: f32 = reflection.iter().map(|k| k.mul_add(-k, 1.0)).product();
        self.reflection = reflection;
        self.gain = rms.min(LOUDEST) * loss.sqrt();
    }

    /// The next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            let mut forward = self.excitation() * self.gain;
            for stage in (0..ORDER).rev() {
                forward -= self.reflection[stage] * self.memory[stage];
                if stage + 1 < ORDER {
                    self.memory[stage + 1] = self.reflection[stage].mul_add(forward, self.memory[stage]);
                }
            }
            self.memory[0] = forward;
            *sample = forward as i16;
        }
    }

    /// A sample of variance 1: three equal distributions are normal enough for the ear.
    fn excitation(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..3 {
            // xorshift (Marsaglia 2003).
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 17;
            self.seed ^= self.seed << 5;
            sum += (self.seed >> 8) as f32 / (1 << 24) as f32 - 0.5;
        }
        sum * 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms(samples: &[i16]) -> f64 {
        (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn is_as_loud_as_the_payload_says() {
        for level in [35, 50, 60] {
            for spectrum in [&[][..], &[60, 140, 127], &[10, 200, 90, 127, 127, 130, 127, 127, 127, 127]] {
                let mut noise = Noise::default();
                noise.describe(&[&[level], spectrum].concat());
                let mut out = vec![0; 80_000];
                noise.fill(&mut out);
                let decibels = 20.0 * (rms(&out[8_000..]) / 32_768.0).log10();
                assert!((decibels + f64::from(level)).abs() < 1.5, "{decibels} for -{level} with {spectrum:?}");
            }
        }
    }

    #[test]
    fn the_first_coefficient_tilts_the_spectrum() {
        // k below zero: neighbours are alike, a deep noise.
        let likeness = |byte| {
            let mut noise = Noise::default();
            noise.describe(&[40, byte]);
            let mut out = vec![0; 8_000];
            noise.fill(&mut out);
            out.windows(2).map(|pair| f64::from(pair[0]) * f64::from(pair[1])).sum::<f64>()
                / 8_000.0
                / rms(&out).powi(2)
        };
        assert!(likeness(40) > 0.6 && likeness(127).abs() < 0.05 && likeness(214) < -0.6);
    }

    #[test]
    fn any_payload_makes_bounded_noise() {
        for byte in 0..=255 {
            let mut noise = Noise::default();
            noise.describe(&[byte; 40]);
            let mut out = vec![0; 16_000];
            noise.fill(&mut out);
            assert!(rms(&out) < 2_500.0, "{byte}: {}", rms(&out));
        }
    }
}
