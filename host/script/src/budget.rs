//! What a script has used, and whether it may use more. Time and CPU time are
//! parameters; who reads the clocks is [`crate::run`].

use crate::config::ScriptLimits;
use callbox_dialogue::Time;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::ResourceLimiter;

/// Why a script was stopped from outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// It spent a budget. Says which, and what was allowed.
    #[error("{0}")]
    Budget(String),
    /// It used an import in a way to which there is no answer.
    #[error("{0}")]
    Misuse(String),
    /// The platform gave an answer that does not fit the question.
    #[error("{0}")]
    Platform(String),
    /// The session does not go on.
    #[error("its session is over")]
    Over,
}

/// CPU time of a call that is free of queueing, in nanoseconds; and then so much
/// of its time.
const FREE: u64 = 20_000_000;
/// One in so many.
const SHARE: u64 = 20;

/// CPU time of one script, counted while the guest itself computes: not while it
/// waits, and not while the host works for it.
///
/// The counters are shared by whoever polls the guest and by the host functions
/// that run inside it. Both are on the same thread at any moment, so relaxed
/// atomics suffice.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// The guest computes, or will when it is polled next.
    in_guest: AtomicBool,
    /// Somebody polls the guest.
    polled: AtomicBool,
    /// The thread's CPU clock when counting began.
    since: AtomicU64,
    turn: AtomicU64,
    call: AtomicU64,
    turn_limit: u64,
    call_limit: u64,
}

impl Meter {
    pub(crate) fn new(limits: &ScriptLimits) -> Self {
        Self {
            in_guest: AtomicBool::new(true),
            turn_limit: u64::from(limits.cpu_per_turn_ms).saturating_mul(1_000_000),
            call_limit: u64::from(limits.cpu_per_call_ms).saturating_mul(1_000_000),
            ..Self::default()
        }
    }

    /// The guest is about to be polled. `now` is the thread's CPU clock in
    /// nanoseconds, here and below.
    pub(crate) fn resume(&self, now: u64) {
        self.polled.store(true, Relaxed);
        self.since.store(now, Relaxed);
    }

    /// The poll is over.
    pub(crate) fn suspend(&self, now: u64) {
        self.count(now);
        self.polled.store(false, Relaxed);
    }

    /// The guest calls the host.
    pub(crate) fn leave_guest(&self, now: u64) -> Result<(), Stop> {
        self.check(now)?;
        self.in_guest.store(false, Relaxed);
        Ok(())
    }

    /// The host returns to the guest; a turn begins when the call may have waited.
    pub(crate) fn enter_guest(&self, now: u64, waited: bool) {
        self.in_guest.store(true, Relaxed);
        self.since.store(now, Relaxed);
        if waited {
            self.turn.store(0, Relaxed);
        }
    }

    /// Counts up to now, and says when too much is spent.
    pub(crate) fn check(&self, now: u64) -> Result<(), Stop> {
        self.count(now);
        if self.turn.load(Relaxed) > self.turn_limit {
            let ms = self.turn_limit / 1_000_000;
            return Err(Stop::Budget(format!("it computed for more than {ms} ms without waiting for anything")));
        }
        if self.call.load(Relaxed) > self.call_limit {
            let ms = self.call_limit / 1_000_000;
            return Err(Stop::Budget(format!("it used more than {ms} ms of CPU time in this call")));
        }
        Ok(())
    }

    /// Whether the script computes more than its share of the call's time. Then it
    /// goes on only by the [`Turnstile`].
    pub(crate) fn is_over_share(&self, at: Time) -> bool {
        let share = at.0.saturating_mul(1_000_000) / SHARE;
        self.call.load(Relaxed) > share.saturating_add(FREE)
    }

    /// CPU time of the call so far, in microseconds.
    pub(crate) fn used_us(&self) -> u64 {
        self.call.load(Relaxed) / 1_000
    }

    fn count(&self, now: u64) {
        if self.in_guest.load(Relaxed) && self.polled.load(Relaxed) {
            let spent = now.saturating_sub(self.since.swap(now, Relaxed));
            self.turn.fetch_add(spent, Relaxed);
            self.call.fetch_add(spent, Relaxed);
        }
    }
}

/// Where scripts that compute much wait for one another, so that a crowd of them
/// takes no more of the machine than a few, and those that compute little find it
/// free. Passed again each tick.
#[derive(Clone, Debug)]
pub(crate) struct Turnstile {
    gate: Arc<Semaphore>,
    inside: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Turnstile {
    /// Of a gate that all scripts share.
    pub(crate) fn new(gate: Arc<Semaphore>) -> Self {
        Self { gate, inside: Arc::default() }
    }

    /// Waits until it is this script's turn to compute.
    pub(crate) async fn pass(self) {
        let permit = self.gate.acquire_owned().await.ok();
        // With the place in hand: tokio wakes those who yield once nobody else is
        // ready and the sockets have been looked at, so each slice of computing
        // comes after everything else.
        tokio::task::yield_now().await;
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }

    /// The script does not compute any more.
    pub(crate) fn leave(&self) {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Memory and tables of one script.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    limit: u64,
    used: u64,
    peak: u64,
    /// What the last growth that was refused would have come to.
    denied: Option<u64>,
    table_limit: u64,
    table_used: u64,
    table_denied: bool,
    /// A growth that was allowed and may yet fail.
    pending: u64,
    table_pending: u64,
}

impl MemoryLimit {
    pub(crate) const fn new(limits: &ScriptLimits) -> Self {
        Self {
            limit: limits.memory,
            used: 0,
            peak: 0,
            denied: None,
            table_limit: limits.table_elements as u64,
            table_used: 0,
            table_denied: false,
            pending: 0,
            table_pending: 0,
        }
    }

    /// Most bytes at once.
    pub(crate) const fn peak(&self) -> u64 {
        self.peak
    }

    /// The script went on after a refusal: what ends it later has another reason.
    pub(crate) const fn coped(&mut self) {
        self.denied = None;
        self.table_denied = false;
    }

    /// Why a script that gave up may have done so.
    pub(crate) fn denied(&self) -> Option<String> {
        if let Some(wanted) = self.denied {
            return Some(format!(
                "memory: it asked for {} KiB in all; {} KiB are allowed",
                wanted >> 10,
                self.limit >> 10
            ));
        }
        self.table_denied.then(|| format!("tables: more than {} elements", self.table_limit))
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = (desired as u64).saturating_sub(current as u64);
        let wanted = self.used.saturating_add(more);
        if wanted > self.limit {
            self.denied = Some(wanted);
            return Ok(false);
        }
        self.used = wanted;
        self.peak = self.peak.max(wanted);
        self.pending = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.pending));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = (desired as u64).saturating_sub(current as u64);
        let wanted = self.table_used.saturating_add(more);
        if wanted > self.table_limit {
            self.table_denied = true;
            return Ok(false);
        }
        self.table_used = wanted;
        self.table_pending = more;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_used = self.table_used.saturating_sub(std::mem::take(&mut self.table_pending));
        Ok(())
    }

    fn instances(&self) -> usize {
        128
    }

    fn memories(&self) -> usize {
        8
    }

    fn tables(&self) -> usize {
        32
    }
}

/// So much a second, and so much saved up.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: u64,
    /// In thousandths.
    full: u64,
    level: u64,
    at: Time,
}

impl Bucket {
    /// A full one.
    pub(crate) const fn new(per_second: u32, burst: u32) -> Self {
        let full = burst as u64 * 1_000;
        Self { per_second: per_second as u64, full, level: full, at: Time::ZERO }
    }

    /// The call's time has come to this. Never goes back.
    pub(crate) fn advance(&mut self, now: Time) {
        let gained = now.since(self.at).saturating_mul(self.per_second);
        self.level = self.level.saturating_add(gained).min(self.full);
        self.at = self.at.max(now);
    }

    /// Takes one, if there is one.
    pub(crate) const fn take(&mut self) -> bool {
        if self.level < 1_000 {
            return false;
        }
        self.level -= 1_000;
        true
    }
}

/// What a script writes to its log.
#[derive(Debug)]
pub(crate) struct LogLimit {
    bytes_left: u64,
    lines: Bucket,
    dropped: u64,
}

impl LogLimit {
    pub(crate) const fn new(limits: &ScriptLimits) -> Self {
        let burst = limits.log_lines_per_second.saturating_mul(10);
        Self {
            bytes_left: limits.log_bytes_per_call,
            lines: Bucket::new(limits.log_lines_per_second, burst),
            dropped: 0,
        }
    }

    pub(crate) fn advance(&mut self, now: Time) {
        self.lines.advance(now);
    }

    /// Whether a line of so many bytes may be written. What may not is counted.
    pub(crate) const fn admit(&mut self, bytes: u64) -> bool {
        if bytes > self.bytes_left || !self.lines.take() {
            self.dropped += 1;
            return false;
        }
        self.bytes_left -= bytes;
        true
    }

    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn limits() -> ScriptLimits {
        ScriptLimits { cpu_per_turn_ms: 10, cpu_per_call_ms: 25, memory: 200, table_elements: 10, ..Default::default() }
    }

    #[test]
    fn only_the_guests_own_time_counts() {
        let meter = Meter::new(&limits());
        meter.resume(100 * MS);
        meter.leave_guest(104 * MS).unwrap();
        meter.suspend(150 * MS); // the host worked for 46 ms, then waits
        meter.resume(7 * MS); // on another thread
        meter.enter_guest(9 * MS, false);
        meter.suspend(14 * MS);
        assert_eq!(meter.used_us(), 9_000);
        meter.resume(0);
        assert!(meter.check(MS).is_ok());
        let stop = meter.check(3 * MS).unwrap_err();
        assert!(matches!(&stop, Stop::Budget(m) if m.contains("10 ms")), "{stop}");
    }

    #[test]
    fn waiting_begins_a_turn_but_not_a_call() {
        let meter = Meter::new(&limits());
        let mut now = 0;
        for turn in 0..3 {
            meter.resume(now);
            now += 9 * MS;
            let left = meter.leave_guest(now);
            assert_eq!(left.is_err(), turn == 2, "27 ms are more than the call's 25");
            meter.enter_guest(now, true);
            meter.suspend(now);
        }
    }

    #[test]
    fn a_call_has_a_share_of_its_time() {
        let meter = Meter::new(&ScriptLimits::default());
        meter.resume(0);
        meter.check(20 * MS).unwrap();
        assert!(!meter.is_over_share(Time::ZERO));
        meter.check(120 * MS).unwrap();
        assert!(meter.is_over_share(Time(1_999)));
        assert!(!meter.is_over_share(Time(2_000)), "100 ms are 5 % of two seconds");
    }

    #[test]
    fn memory_is_counted_over_all_memories_and_refusals_are_remembered() {
        let mut memory = MemoryLimit::new(&limits());
        assert!(memory.memory_growing(0, 100, None).unwrap());
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.denied().is_none());
        assert!(!memory.memory_growing(100, 141, None).unwrap());
        assert!(memory.denied().unwrap().starts_with("memory"));
        assert!(memory.memory_growing(100, 140, None).unwrap());
        memory.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(memory.memory_growing(60, 100, None).unwrap());
        assert_eq!(memory.peak(), 200);
        memory.coped();
        assert!(memory.denied().is_none());
        assert!(!memory.table_growing(0, 11, None).unwrap());
    }

    proptest! {
        #[test]
        fn a_bucket_gives_no_more_than_burst_and_rate(
            rate in 1u32..100, burst in 0u32..50, steps in proptest::collection::vec(0u64..2_000, 1..200)
        ) {
            let mut bucket = Bucket::new(rate, burst);
            let (mut now, mut taken) = (0u64, 0u64);
            for step in steps {
                now += step;
                bucket.advance(Time(now));
                bucket.advance(Time(now / 2)); // an older time changes nothing
                while bucket.take() {
                    taken += 1;
                }
                prop_assert!(taken * 1_000 <= u64::from(burst) * 1_000 + now * u64::from(rate));
            }
        }
    }
}
