//! Something to hear where packets are missing: the last pitch period, repeated and faded out (in the manner of
//! G.711 appendix I).
//!
//! All lengths are in samples at 8 kHz; at 16 kHz they are twice as many.

/// What is remembered of the audio before a gap: 40 ms.
const HISTORY: usize = 320;
/// Pitch periods looked for: 50 to 200 Hz.
const LAGS: std::ops::RangeInclusive<usize> = 40..=PERIOD;
/// The longest period: 20 ms.
pub const PERIOD: usize = 160;
/// The stretch compared to find the period.
const COMPARE: usize = 80;
/// After 60 ms it is silence.
const MUTE: usize = 480;
/// Real audio fades in over 5 ms.
const CROSSFADE: usize = 40;

/// The state of one stream.
#[derive(Debug)]
pub struct Concealer {
    /// The newest samples at the end; at 8 kHz only the second half is used.
    history: [i16; 2 * HISTORY],
    /// 2 at 16 kHz.
    scale: usize,
    /// Samples made up in this gap.
    gap: usize,
    /// A period was left out before the audio that comes next.
    cut: bool,
    lag: usize,
}

impl Default for Concealer {
    fn default() -> Self {
        Self { history: [0; 2 * HISTORY], scale: 1, gap: 0, cut: false, lag: *LAGS.start() }
    }
}

impl Concealer {
    /// Another stream begins.
    pub fn forget(&mut self) {
        *self = Self { scale: self.scale, lag: *LAGS.start() * self.scale, ..Self::default() };
    }

    /// From now on at 16 kHz.
    pub fn widen(&mut self) {
        let narrow = self.history;
        for (pair, sample) in self.history.chunks_exact_mut(2).zip(&narrow[HISTORY..]) {
            pair.fill(*sample);
        }
        self.scale = 2;
        self.gap *= 2;
        self.lag *= 2;
    }

    /// Real audio: remembered, and faded in where it follows a gap or a cut.
    pub fn real(&mut self, samples: &mut [i16]) {
        if self.gap > 0 || self.cut {
            let fade = (CROSSFADE * self.scale).min(samples.len());
            for (n, sample) in samples[..fade].iter_mut().enumerate() {
                let made_up = i32::from(self.made_up(self.gap + n));
                let weight = n as i32;
                *sample = ((i32::from(*sample) * weight + made_up * (fade as i32 - weight)) / fade as i32) as i16;
            }
            self.gap = 0;
            self.cut = false;
        }
        let all = self.history.len();
        let new = samples.len().min(all);
        self.history.copy_within(new.., 0);
        self.history[all - new..].copy_from_slice(&samples[samples.len() - new..]);
    }

    /// Nothing there: fills `out`, and returns how much of it is made up rather than silence.
    pub fn missing(&mut self, out: &mut [i16]) -> usize {
        if self.gap == 0 && !self.cut {
            self.lag = self.pitch();
        }
        self.cut = false;
        let mute = MUTE * self.scale;
        let audible = mute.saturating_sub(self.gap).min(out.len());
        for (n, sample) in out[..audible].iter_mut().enumerate() {
            *sample = self.made_up(self.gap + n);
        }
        out[audible..].fill(0);
        self.gap = (self.gap + out.len()).min(mute);
        audible
    }

    /// The period of the voice heard last, in samples.
    #[must_use]
    pub fn period(&self) -> usize {
        self.pitch()
    }

    /// So many samples, a whole period, are left out of the audio that comes next: it is faded in over what would
    /// have been.
    pub const fn cut(&mut self, period: usize) {
        if self.gap == 0 {
            self.lag = period;
            self.cut = true;
        }
    }

    /// How loud it was lately, root mean square.
    #[must_use]
    pub fn background(&self) -> f32 {
        let recent = &self.history[self.history.len() - HISTORY / 2 * self.scale..];
        (recent.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / recent.len() as f32).sqrt()
    }

    /// The sample `at` samples into the gap.
    fn made_up(&self, at: usize) -> i16 {
        let sample = i32::from(self.history[self.history.len() - self.lag + at % self.lag]);
        // -6 dB in each of the first two 20 ms, to nothing in the third; in 256ths.
        let gain = match at / self.scale {
            at @ 0..160 => 256 - at * 128 / 160,
            at @ 160..320 => 128 - (at - 160) * 64 / 160,
            at @ 320..MUTE => 64 - (at - 320) * 64 / 160,
            _ => 0,
        };
        (sample * gain as i32 / 256) as i16
    }

    /// The period at which the end of the history resembles itself most. At 16 kHz every second sample is enough to
    /// find it, but it is found to the sample.
    fn pitch(&self) -> usize {
        let (scale, all) = (self.scale, self.history.len());
        let likeness = |lag: usize| {
            let (mut product, mut energy) = (0_i64, 1_i64);
            for at in (all - COMPARE * scale..all).step_by(scale) {
                let (a, b) = (i64::from(self.history[at]), i64::from(self.history[at - lag]));
                product += a * b;
                energy += b * b;
            }
            if product > 0 { product as f64 * product as f64 / energy as f64 } else { 0.0 }
        };
        let mut best = (0.0, LAGS.start() * scale);
        for lag in LAGS.map(|lag| lag * scale) {
            let likeness = likeness(lag);
            if likeness > best.0 {
                best = (likeness, lag);
            }
        }
        if scale == 2 {
            for lag in [best.1 - 1, best.1 + 1] {
                let likeness = likeness(lag);
                if likeness > best.0 {
                    best = (likeness, lag);
                }
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
