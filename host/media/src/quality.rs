//! How good a call sounded: the E-model of ITU-T G.107, cut down to what a receiver of G.711 can know.

use serde::{Deserialize, Serialize};

/// A figure over the intervals between two reports of ours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least of them.
    pub min: f32,
    /// Their mean.
    pub avg: f32,
    /// The most of them.
    pub max: f32,
}

/// How a call went on its way: what each interval of about five seconds was like. A figure that no interval had is
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Intervals that there were.
    pub intervals: u32,
    /// Received packets lost, in percent of those expected.
    pub loss_pct: Option<Spread>,
    /// Interarrival jitter.
    pub jitter_ms: Option<Spread>,
    /// The score of what was heard.
    pub mos: Option<Spread>,
    /// Round trip.
    pub rtt_ms: Option<Spread>,
    /// What the far end reported as lost of ours.
    pub remote_loss_pct: Option<Spread>,
    /// The jitter that it reported.
    pub remote_jitter_ms: Option<Spread>,
}

/// Adds up what becomes a [`Spread`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    count: u32,
    sum: f32,
    min: f32,
    max: f32,
}

impl Tally {
    /// One more interval.
    pub(crate) fn add(&mut self, figure: f32) {
        self.min = if self.count == 0 { figure } else { self.min.min(figure) };
        self.max = if self.count == 0 { figure } else { self.max.max(figure) };
        self.sum += figure;
        self.count = self.count.saturating_add(1);
    }

    /// The figures so far.
    pub(crate) fn spread(&self) -> Option<Spread> {
        let avg = self.sum / self.count as f32;
        (self.count > 0).then_some(Spread { min: self.min, avg, max: self.max })
    }
}

/// Robustness of G.711 with concealment against random loss (G.113 appendix I).
const LOSS_ROBUSTNESS: f32 = 25.1;

/// Mean opinion score, 1 to about 4.4, from loss in percent (late packets count as lost) and one-way delay in ms.
#[must_use]
pub fn mos(loss_pct: f32, delay_ms: f32) -> f32 {
    let loss = loss_pct.clamp(0.0, 100.0);
    let delay = delay_ms.clamp(0.0, 2_000.0);
    let delay_impairment = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let loss_impairment = 95.0 * loss / (loss + LOSS_ROBUSTNESS);
    let r = (93.2 - delay_impairment - loss_impairment).clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_g107_gives() {
        assert!((mos(0.0, 0.0) - 4.41).abs() < 0.01, "{}", mos(0.0, 0.0));
        // R = 93.2 - 2.4 - 95 * 1 / 26.1 = 87.2.
        assert!((mos(1.0, 100.0) - 4.26).abs() < 0.02, "{}", mos(1.0, 100.0));
        assert!(mos(20.0, 50.0) < 2.8);
        assert!((mos(100.0, 1_000.0) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn intervals_add_up() {
        let mut tally = Tally::default();
        assert_eq!(tally.spread(), None);
        for figure in [3.0, 1.0, 2.0] {
            tally.add(figure);
        }
        assert_eq!(tally.spread(), Some(Spread { min: 1.0, avg: 2.0, max: 3.0 }));
    }

    #[test]
    fn never_leaves_its_scale_and_never_rises_with_loss_or_delay() {
        let mut worse = 5.0;
        for loss in 0..=100 {
            let score = mos(loss as f32, 40.0);
            assert!((1.0..=4.5).contains(&score) && score <= worse);
            worse = score;
        }
        assert!(mos(f32::NAN, 0.0).is_nan() || mos(f32::NAN, 0.0) >= 1.0);
    }
}
