//! Something to hear where packets are missing: the last pitch period, repeated and faded out (in the manner of
//! G.711 appendix I).

/// What is remembered of the audio before a gap: 40 ms.
const HISTORY: usize = 320;
/// Pitch periods looked for: 50 to 200 Hz.
const LAGS: std::ops::RangeInclusive<usize> = 40..=160;
/// The stretch compared to find the period.
const COMPARE: usize = 80;
/// After 60 ms it is silence.
const MUTE: usize = 480;
/// Real audio fades in over 5 ms.
const CROSSFADE: usize = 40;

/// The state of one stream.
#[derive(Debug)]
pub struct Concealer {
    history: [i16; HISTORY],
    /// Samples made up in this gap.
    gap: usize,
    lag: usize,
}

impl Default for Concealer {
    fn default() -> Self {
        Self { history: [0; HISTORY], gap: 0, lag: *LAGS.start() }
    }
}

impl Concealer {
    /// Real audio: remembered, and faded in where it follows a gap.
    pub fn real(&mut self, samples: &mut [i16]) {
        if self.gap > 0 {
            let fade = CROSSFADE.min(samples.len());
            for (n, sample) in samples[..fade].iter_mut().enumerate() {
                let made_up = i32::from(self.made_up(self.gap + n));
                let weight = n as i32;
                *sample = ((i32::from(*sample) * weight + made_up * (fade as i32 - weight)) / fade as i32) as i16;
            }
            self.gap = 0;
        }
        let new = samples.len().min(HISTORY);
        self.history.copy_within(new.., 0);
        self.history[HISTORY - new..].copy_from_slice(&samples[samples.len() - new..]);
    }

    /// Nothing there: fills `out`, and returns how much of it is made up rather than silence.
    pub fn missing(&mut self, out: &mut [i16]) -> usize {
        if self.gap == 0 {
            self.lag = self.pitch();
        }
        let audible = MUTE.saturating_sub(self.gap).min(out.len());
        for (n, sample) in out[..audible].iter_mut().enumerate() {
            *sample = self.made_up(self.gap + n);
        }
        out[audible..].fill(0);
        self.gap = (self.gap + out.len()).min(MUTE);
        audible
    }

    /// The sample `at` samples into the gap.
    fn made_up(&self, at: usize) -> i16 {
        if at >= MUTE {
            return 0;
        }
        let sample = i32::from(self.history[HISTORY - self.lag + at % self.lag]);
        // -6 dB in each of the first two 20 ms, to nothing in the third; in 256ths.
        let gain = match at {
            0..160 => 256 - at * 128 / 160,
            160..320 => 128 - (at - 160) * 64 / 160,
            _ => 64 - (at - 320) * 64 / 160,
        };
        (sample * gain as i32 / 256) as i16
    }

    /// The period at which the end of the history resembles itself most.
    fn pitch(&self) -> usize {
        let end = &self.history[HISTORY - COMPARE..];
        let mut best = (0.0, *LAGS.start());
        for lag in LAGS {
            let before = &self.history[HISTORY - COMPARE - lag..HISTORY - lag];
            let (mut product, mut energy) = (0_i64, 1_i64);
            for (a, b) in end.iter().zip(before) {
                product += i64::from(*a) * i64::from(*b);
                energy += i64::from(*b) * i64::from(*b);
            }
            let likeness = if product > 0 { product as f64 * product as f64 / energy as f64 } else { 0.0 };
            if likeness > best.0 {
                best = (likeness, lag);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(at: usize) -> i16 {
        // 125 Hz: a period of 64 samples, with an overtone.
        let phase = at as f64 * std::f64::consts::TAU / 64.0;
        (phase.sin() * 8_000.0 + (phase * 3.0).sin() * 3_000.0) as i16
    }

    #[test]
    fn a_voice_goes_on_at_its_pitch() {
        let mut concealer = Concealer::default();
        let mut samples: Vec<i16> = (0..HISTORY).map(voice).collect();
        concealer.real(&mut samples);
        let mut out = [0; 40];
        assert_eq!(concealer.missing(&mut out), 40);
        for (n, sample) in out.iter().enumerate() {
            let expected = i32::from(voice(HISTORY + n));
            assert!((i32::from(*sample) - expected).abs() < 1_500, "{n}: {sample} for {expected}");
        }
    }

    #[test]
    fn fades_to_silence_in_60_ms_and_back_without_a_click() {
        let mut concealer = Concealer::default();
        let mut samples: Vec<i16> = (0..HISTORY).map(voice).collect();
        concealer.real(&mut samples);
        let mut peaks = Vec::new();
        for _ in 0..4 {
            let mut out = [1; 160];
            concealer.missing(&mut out);
            peaks.push(out.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0));
        }
        assert!(peaks.is_sorted_by(|a, b| a > b), "{peaks:?}");
        assert_eq!(peaks[3], 0);
        let mut back = [8_000; 160];
        concealer.real(&mut back);
        assert_eq!(back[0], 0);
        assert!(back[..41].is_sorted(), "fades in");
        assert_eq!(back[40..], [8_000; 120]);
    }

    #[test]
    fn real_audio_without_a_gap_is_not_touched() {
        let mut concealer = Concealer::default();
        let mut samples: Vec<i16> = (0..1_000).map(voice).collect();
        let before = samples.clone();
        concealer.real(&mut samples);
        assert_eq!(samples, before);
    }
}
