//! What is counted of calls that are over, for the operator's figures: how they ended, how long callers waited, and
//! what was asked of systems outside.

use callbox_dialogue::call::EndReason;
use callbox_dialogue::record::{CallRecord, With};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Upper bounds of the buckets of a histogram, in milliseconds; a last one has no bound.
pub const BUCKETS_MS: [u64; 12] = [10, 25, 50, 100, 200, 350, 500, 900, 1_500, 3_000, 6_000, 15_000];

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// In each bucket of [`BUCKETS_MS`], and behind the last of them.
    pub buckets: [u64; BUCKETS_MS.len() + 1],
    /// All together, in milliseconds.
    pub sum_ms: u64,
}

impl Spread {
    /// How often.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The same while it is counted.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    sum_ms: AtomicU64,
}

impl Histogram {
    fn took(&self, ms: u64) {
        let at = BUCKETS_MS.iter().position(|most| ms <= *most).unwrap_or(BUCKETS_MS.len());
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn read(&self) -> Spread {
        let buckets = std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed));
        Spread { buckets, sum_ms: self.sum_ms.load(Ordering::Relaxed) }
    }
}

/// What is counted of calls that are over.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    turns: [Histogram; PARTS.len()],
    /// By end reason: as many as there are.
    ended: Mutex<BTreeMap<&'static str, u64>>,
    exchanges: [Outside; 2],
}

/// What was asked of one kind of system.
#[derive(Debug, Default)]
struct Outside {
    answered: AtomicU64,
    failed: AtomicU64,
    took: Histogram,
}

/// The parts of a turn's latency, in their order, and the whole.
const PARTS: [&str; 6] = ["endpointing", "recognition", "script", "synthesis", "playout", "total"];

/// The same at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// How long callers waited for answers, by part; the last is `total`.
    pub turns: Vec<(&'static str, Spread)>,
    /// Calls that are over, by `end_reason`.
    pub ended: Vec<(&'static str, u64)>,
    /// Requests to context sources.
    pub sources: OutsideCounts,
    /// Requests to language models.
    pub models: OutsideCounts,
}

/// What was asked of one kind of system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutsideCounts {
    /// It gave an answer that could be used.
    pub answered: u64,
    /// It did not.
    pub failed: u64,
    /// How long that took.
    pub took: Spread,
}

impl Figures {
    /// A call is over.
    pub(crate) fn over(&self, record: &CallRecord) {
        for latency in record.latencies() {
            let parts = [
                latency.endpointing_ms,
                latency.recognition_ms,
                latency.script_ms,
                latency.synthesis_ms,
                latency.playout_ms,
                latency.total_ms,
            ];
            self.turns.iter().zip(parts).for_each(|(histogram, ms)| histogram.took(ms.into()));
        }
        let reason = record.end_reason.map_or("unknown", EndReason::as_str);
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
        for exchange in &record.exchanges {
            // What was still waited for when the call ended is neither.
            let Some(over) = exchange.over else { continue };
            let [sources, models] = &self.exchanges;
            let of = match exchange.with {
                With::Source => sources,
                With::Model => models,
            };
            if exchange.failed { &of.failed } else { &of.answered }.fetch_add(1, Ordering::Relaxed);
            of.took.took(over.since(exchange.asked));
        }
    }

    pub(crate) fn read(&self) -> CallCounts {
        let outside = |of: &Outside| OutsideCounts {
            answered: of.answered.load(Ordering::Relaxed),
            failed: of.failed.load(Ordering::Relaxed),
            took: of.took.read(),
        };
        let [sources, models] = &self.exchanges;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        CallCounts {
            turns: PARTS.into_iter().zip(self.turns.iter().map(Histogram::read)).collect(),
            ended: ended.iter().map(|(reason, count)| (*reason, *count)).collect(),
            sources: outside(sources),
            models: outside(models),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::Time;
    use callbox_dialogue::record::{Exchange, Latency, Role, Turn};

    #[test]
    fn a_call_is_counted_once_by_all_that_it_was() {
        let figures = Figures::default();
        let latency = Latency { endpointing_ms: 300, script_ms: 10, total_ms: 20_000, ..Latency::default() };
        let turn = Turn {
            seq: 1,
            role: Role::Robot,
            text: String::new(),
            heard_text: None,
            digits: None,
            start_ms: 0,
            end_ms: 0,
            node: None,
            interrupted_by: None,
            confidence: None,
            latency: Some(latency),
        };
        let exchange = |with, over, failed| Exchange { with, name: "x".into(), asked: Time(5), over, failed };
        let record = CallRecord {
            end_reason: Some(EndReason::CallerHangup),
            transcript: vec![turn.clone(), Turn { latency: None, ..turn }],
            exchanges: vec![
                exchange(With::Source, Some(Time(35)), false),
                exchange(With::Source, Some(Time(5)), true),
                exchange(With::Model, None, false),
            ],
            ..CallRecord::default()
        };
        figures.over(&record);
        figures.over(&CallRecord::default());
        let counts = figures.read();
        assert_eq!(counts.ended, [("caller_hangup", 1), ("unknown", 1)]);
        let of = |part: &str| counts.turns.iter().find(|(name, _)| *name == part).unwrap().1;
        let bucket = |part: &str| of(part).buckets.iter().position(|count| *count == 1).unwrap();
        assert_eq!((bucket("endpointing"), bucket("script"), bucket("total")), (5, 0, BUCKETS_MS.len()));
        assert_eq!((of("total").sum_ms, of("recognition").count()), (20_000, 1));
        let sources = counts.sources;
        assert_eq!((sources.answered, sources.failed, sources.took.sum_ms), (1, 1, 30));
        assert_eq!(counts.models, OutsideCounts::default());
    }
}
