//! Times counted in fixed buckets: written by one thread without a lock, read by any.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of 250 µs: up to 128 ms; the last one takes what is longer.
const BUCKETS: usize = 512;
const WIDTH_US: u64 = 250;

/// Times of one thread.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
    max_us: AtomicU64,
}

/// Some percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many times were measured.
    pub count: u64,
    /// Half of them are at most this.
    pub p50_ms: f32,
    /// 99 % of them are at most this.
    pub p99_ms: f32,
    /// 99.9 % of them are at most this.
    pub p999_ms: f32,
    /// The longest.
    pub max_ms: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]), max_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(crate) fn record(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = usize::try_from(us / WIDTH_US).unwrap_or(BUCKETS).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    /// Percentiles over several threads' times.
    pub(crate) fn percentiles<'a>(histograms: impl Iterator<Item = &'a Self>) -> Percentiles {
        let (mut sums, mut max) = ([0; BUCKETS], 0);
        for histogram in histograms {
            for (sum, bucket) in sums.iter_mut().zip(histogram.buckets.iter()) {
                *sum += bucket.load(Ordering::Relaxed);
            }
            max = max.max(histogram.max_us.load(Ordering::Relaxed));
        }
        let count: u64 = sums.iter().sum();
        let max_ms = max as f32 / 1_000.0;
        let at = |permille: u64| {
            let rank = (count * permille).div_ceil(1_000);
            let mut seen = 0;
            let bucket = sums.iter().position(|sum| {
                seen += sum;
                seen >= rank
            });
            // The upper end of the bucket; nothing is longer than the longest.
            bucket.map_or(0.0, |bucket| ((bucket + 1) as f32 * WIDTH_US as f32 / 1_000.0).min(max_ms))
        };
        Percentiles { count, p50_ms: at(500), p99_ms: at(990), p999_ms: at(999), max_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_several_threads() {
        let (one, other) = (Histogram::default(), Histogram::default());
        for _ in 0..990 {
            one.record(Duration::from_millis(20));
        }
        for _ in 0..10 {
            other.record(Duration::from_millis(35));
        }
        other.record(Duration::from_secs(2));
        let figures = Histogram::percentiles([one, other].iter());
        assert_eq!(figures.count, 1_001);
        assert!((figures.p50_ms - 20.25).abs() < 0.01);
        assert!((figures.p99_ms - 35.25).abs() < 0.01 || (figures.p99_ms - 20.25).abs() < 0.01);
        assert!((figures.max_ms - 2_000.0).abs() < 0.01);
        assert_eq!(Histogram::percentiles([].iter()), Percentiles::default());
    }
}
