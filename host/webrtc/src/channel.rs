//! What passes over the data channel: short messages of text, and not too many of them.

use std::collections::VecDeque;
use std::time::Duration;

/// The name of the channel. Others are closed.
pub const LABEL: &str = "callbox";
/// Messages that wait for the channel to open or to have room.
const WAITING: usize = 64;
/// Bytes of these.
const WAITING_BYTES: usize = 64 * 1_024;

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

/// Messages that wait.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<String>,
    bytes: usize,
}

impl Outbox {
    /// Puts a message behind the others; false where there is no room.
    pub(crate) fn push(&mut self, message: String) -> bool {
        let fits = self.messages.len() < WAITING && self.bytes + message.len() <= WAITING_BYTES;
        if fits {
            self.bytes += message.len();
            self.messages.push_back(message);
        }
        fits
    }

    pub(crate) fn first(&self) -> Option<&str> {
        self.messages.front().map(String::as_str)
    }

    pub(crate) fn remove_first(&mut self) {
        self.bytes -= self.messages.pop_front().map_or(0, |message| message.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
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
    fn what_waits_is_bounded_in_number_and_in_bytes() {
        let mut outbox = Outbox::default();
        assert_eq!((0..100).filter(|_| outbox.push("x".into())).count(), WAITING);
        assert_eq!(outbox.first(), Some("x"));
        let mut outbox = Outbox::default();
        assert_eq!((0..100).filter(|_| outbox.push("x".repeat(10_000))).count(), 6);
        outbox.remove_first();
        assert_eq!((outbox.len(), outbox.push("x".repeat(10_000))), (5, true));
    }
}
