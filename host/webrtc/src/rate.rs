//! How often something may happen: what a stranger sends costs no more than this.

use std::time::Duration;

/// How often something may happen: so many a second, and as many more at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u32,
    /// How many may happen now, in thousandths.
    credit: u64,
    at: Duration,
}

impl Rate {
    pub(crate) fn new(per_second: u32, now: Duration) -> Self {
        Self { per_second, credit: u64::from(per_second) * 2_000, at: now }
    }

    /// Counts one; false where it is one too many.
    pub(crate) fn allows(&mut self, now: Duration) -> bool {
        let passed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        self.at = self.at.max(now);
        let most = u64::from(self.per_second) * 2_000;
        self.credit = self.credit.saturating_add(passed.saturating_mul(u64::from(self.per_second))).min(most);
        let allowed = self.credit >= 1_000;
        self.credit -= if allowed { 1_000 } else { 0 };
        allowed
    }
}

/// So many in each second of the clock: coarser than [`Rate`], and nothing to settle beforehand.
#[derive(Debug, Default)]
pub(crate) struct PerSecond {
    second: u64,
    count: u32,
}

impl PerSecond {
    /// Counts one; false where it is one too many.
    pub(crate) const fn allows(&mut self, now: Duration, most: u32) -> bool {
        if self.second != now.as_secs() {
            (self.second, self.count) = (now.as_secs(), 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_time_and_a_burst_is_forgiven() {
        let mut rate = Rate::new(10, Duration::ZERO);
        let allowed = |rate: &mut Rate, ms| (0..100).filter(|_| rate.allows(Duration::from_millis(ms))).count();
        assert_eq!(allowed(&mut rate, 0), 20);
        assert_eq!(allowed(&mut rate, 50), 0);
        assert_eq!(allowed(&mut rate, 100), 1);
        assert_eq!(allowed(&mut rate, 1_100), 10);
        assert_eq!(allowed(&mut rate, 100_000), 20);
        assert_eq!(allowed(&mut rate, 0), 0, "time does not go back");
    }

    #[test]
    fn each_second_has_its_own() {
        let mut checks = PerSecond::default();
        let allowed =
            |checks: &mut PerSecond, ms| (0..5).filter(|_| checks.allows(Duration::from_millis(ms), 3)).count();
        assert_eq!([0, 999, 1_000].map(|ms| allowed(&mut checks, ms)), [3, 0, 3]);
    }
}
