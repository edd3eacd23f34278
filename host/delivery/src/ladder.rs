//! When a delivery that failed is tried again: a pure function of what happened,
//! the time and a random number.

use callbox_store::UnixMs;

/// Pauses between attempts, milliseconds: 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 6 h, 12 h.
pub const LADDER_MS: [i64; 8] = [5_000, 30_000, 120_000, 600_000, 1_800_000, 7_200_000, 21_600_000, 43_200_000];

/// Longest pause a receiver can ask for: a day.
pub const MAX_RETRY_AFTER_MS: i64 = 86_400_000;

/// When to try again after an attempt that failed at `now`; none at the end of the
/// ladder. `tries` attempts were made before that one since the delivery was queued.
/// `jitter`, 0 to 1, spreads each pause over a fifth of its length, so that what
/// failed together does not come back together. A receiver may ask for a longer
/// pause (`Retry-After`), not for a shorter one.
#[must_use]
pub fn next_attempt(tries: u32, now: UnixMs, jitter: f64, retry_after_ms: Option<i64>) -> Option<UnixMs> {
    let pause = *LADDER_MS.get(usize::try_from(tries).unwrap_or(usize::MAX))?;
    let fifth = i32::try_from(pause / 5).unwrap_or(i32::MAX);
    let spread = (f64::from(fifth) * jitter.clamp(0.0, 1.0)).round();
    #[allow(clippy::cast_possible_truncation, reason = "between 0 and a fifth of twelve hours")]
    let pause = pause + spread as i64;
    Some(now.plus(pause.max(retry_after_ms.unwrap_or(0).clamp(0, MAX_RETRY_AFTER_MS))))
}

/// Reads `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date. Milliseconds
/// from `now`, never negative.
#[must_use]
pub fn retry_after(value: &str, now: UnixMs) -> Option<i64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = value.parse::<i64>().unwrap_or(i64::MAX);
        return Some(seconds.saturating_mul(1_000).min(MAX_RETRY_AFTER_MS));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(UnixMs(at.as_millisecond()).since(now).clamp(0, MAX_RETRY_AFTER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs(1_795_251_940_000);

    #[test]
    fn the_ladder_is_the_one_that_is_promised() {
        let steps: Vec<_> = (0..10).map(|n| next_attempt(n, UnixMs(0), 0.0, None).map(|at| at.0 / 1_000)).collect();
        let promised = [5, 30, 120, 600, 1_800, 7_200, 21_600, 43_200].map(Some);
        assert_eq!(steps[..8], promised);
        assert_eq!(steps[8..], [None, None]);
        assert_eq!(next_attempt(u32::MAX, NOW, 0.5, Some(1)), None);
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        let cases = [
            ("0", Some(0)),
            ("120", Some(120_000)),
            (" 7 ", Some(7_000)),
            ("99999999999999999999999", Some(MAX_RETRY_AFTER_MS)),
            ("Sat, 21 Nov 2026 09:06:40 GMT", Some(60_000)),
            ("Sat, 21 Nov 2020 09:06:40 GMT", Some(0)),
            ("Sun, 22 Nov 2099 09:06:40 GMT", Some(MAX_RETRY_AFTER_MS)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(retry_after(value, NOW), expected, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pause_is_the_step_plus_at_most_a_fifth(tries in 0_u32..8, jitter in 0.0..=1.0_f64) {
            let pause = next_attempt(tries, NOW, jitter, None).unwrap().since(NOW);
            let step = LADDER_MS[tries as usize];
            prop_assert!(pause >= step && pause <= step + step / 5);
        }

        #[test]
        fn a_receiver_can_only_ask_for_more(tries in 0_u32..8, jitter: f64, wish: i64) {
            let plain = next_attempt(tries, NOW, jitter, None).unwrap();
            let asked = next_attempt(tries, NOW, jitter, Some(wish)).unwrap();
            prop_assert!(asked >= plain);
            prop_assert!(asked <= plain.max(NOW.plus(MAX_RETRY_AFTER_MS)));
            if (0..=MAX_RETRY_AFTER_MS).contains(&wish) {
                prop_assert!(asked.since(NOW) >= wish);
            }
        }

        #[test]
        fn no_header_panics(value in ".{0,60}", now: i64) {
            let _ = retry_after(&value, UnixMs(now));
        }
    }
}
