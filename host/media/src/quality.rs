//! How good a call sounded: the E-model of ITU-T G.107, cut down to what a receiver of G.711 can know.

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
