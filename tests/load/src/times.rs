//! Times counted in buckets of 50 µs.

use serde_json::{Value, json};

const BUCKETS: usize = 20_000;
const WIDTH: u64 = 50_000;

/// Some times, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Times {
    buckets: Vec<u32>,
    count: u64,
    max: u64,
    /// Above 40 ms: two packets of a call further apart than a jitter buffer likes.
    above_40_ms: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

impl Times {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: 0, above_40_ms: 0 }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// One more.
    pub fn add(&mut self, ns: u64) {
        let bucket = usize::try_from(ns / WIDTH).unwrap_or(BUCKETS).min(BUCKETS - 1);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
        self.above_40_ms += u64::from(ns > 40_000_000);
    }

    fn at(&self, permille: u64) -> f64 {
        let rank = (self.count * permille).div_ceil(1_000);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        let upper = (bucket.unwrap_or_default() as u64 + 1) * WIDTH;
        upper.min(self.max) as f64 / 1e6
    }

    /// The figures, in milliseconds. What is longer than a second counts as one, but for `max_ms`.
    #[must_use]
    pub fn told(&self) -> Value {
        json!({
            "count": self.count, "p50_ms": self.at(500), "p99_ms": self.at(990), "p999_ms": self.at(999),
            "max_ms": self.max as f64 / 1e6, "above_40_ms": self.above_40_ms,
        })
    }
}
