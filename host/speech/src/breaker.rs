//! Keeping away from an engine that fails, and finding out when it works again.
//!
//! A breaker is *closed* while its engine works. After some failures one after
//! the other it *opens*: nobody is let through, so that a call does not wait
//! for what will not come. When it has rested, it lets one through, the probe:
//! it closes with the probe's success, and rests twice as long after its
//! failure.

use std::time::Duration;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures one after the other that open it; at least 1.
    pub failures: u32,
    /// Its first rest.
    pub rest: Duration,
    /// Its longest rest.
    pub longest_rest: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 3, rest: Duration::from_secs(5), longest_rest: Duration::from_secs(60) }
    }
}

/// What a breaker does, for figures and for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// The engine works, as far as is known.
    Closed,
    /// It is left alone.
    Open {
        /// For so long.
        rest: Duration,
    },
    /// It has rested: the next, or the one that is under way, tells.
    HalfOpen,
}

/// The right to use the engine once. To be given back by one of
/// [`Breaker::succeeded`], [`Breaker::failed`] and [`Breaker::abandoned`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Admission {
    probe: bool,
}

/// Why nobody is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    /// Failures one after the other.
    pub failures: u32,
    /// It may be tried again in so long; zero while somebody tries.
    pub retry: Duration,
}

/// The breaker of one engine. Time is a parameter: since any moment, the same
/// one for all calls, and never going back.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    failures: u32,
    /// How long it rests the next time.
    rest: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Duration },
    Probing,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub const fn new(config: BreakerConfig) -> Self {
        Self { config, failures: 0, rest: config.rest, state: State::Closed }
    }

    /// Asks to use the engine.
    ///
    /// # Errors
    /// `Resting` while it is left alone.
    pub fn admit(&mut self, now: Duration) -> Result<Admission, Resting> {
        match self.state {
            State::Closed => Ok(Admission { probe: false }),
            State::Open { until } if now >= until => {
                self.state = State::Probing;
                Ok(Admission { probe: true })
            }
            State::Open { until } => Err(Resting { failures: self.failures, retry: until.saturating_sub(now) }),
            State::Probing => Err(Resting { failures: self.failures, retry: Duration::ZERO }),
        }
    }

    /// The engine did what it should.
    pub const fn succeeded(&mut self, admission: Admission) {
        // What was let through before it opened says nothing about the failures since.
        if admission.probe || matches!(self.state, State::Closed) {
            *self = Self::new(self.config);
        }
    }

    /// The engine failed.
    pub fn failed(&mut self, admission: Admission, now: Duration) {
        if !admission.probe && self.state != State::Closed {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if admission.probe || self.failures >= self.config.failures {
            self.state = State::Open { until: now.saturating_add(self.rest) };
            self.rest = self.rest.saturating_mul(2).min(self.config.longest_rest.max(self.config.rest));
        }
    }

    /// Nobody waited for what the engine would have done.
    pub const fn abandoned(&mut self, admission: Admission) {
        if admission.probe {
            // The next one probes.
            self.state = State::Open { until: Duration::ZERO };
        }
    }

    /// What it does now.
    #[must_use]
    pub fn state(&self, now: Duration) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open { rest: until.saturating_sub(now) },
            State::Open { .. } | State::Probing => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn config() -> BreakerConfig {
        BreakerConfig { failures: 2, rest: s(5), longest_rest: s(15) }
    }

    fn fail(breaker: &mut Breaker, now: Duration) {
        let admission = breaker.admit(now).expect("it lets through");
        breaker.failed(admission, now);
    }

    #[test]
    fn opens_rests_and_probes() {
        let mut breaker = Breaker::new(config());
        fail(&mut breaker, s(0));
        assert_eq!(breaker.state(s(0)), BreakerState::Closed);
        let admission = breaker.admit(s(1)).unwrap();
        breaker.succeeded(admission);
        // A success in between: one failure is not two in a row.
        fail(&mut breaker, s(2));
        fail(&mut breaker, s(3));
        assert_eq!(breaker.state(s(4)), BreakerState::Open { rest: s(4) });
        assert_eq!(breaker.admit(s(7)), Err(Resting { failures: 2, retry: s(1) }));
        let probe = breaker.admit(s(8)).unwrap();
        assert_eq!(breaker.admit(s(100)), Err(Resting { failures: 2, retry: s(0) }), "one probe at a time");
        breaker.failed(probe, s(9));
        assert_eq!(breaker.state(s(9)), BreakerState::Open { rest: s(10) }, "twice as long");
        fail(&mut breaker, s(19));
        assert_eq!(breaker.state(s(19)), BreakerState::Open { rest: s(15) }, "and no longer than that");
        let probe = breaker.admit(s(40)).unwrap();
        breaker.succeeded(probe);
        assert_eq!(breaker.state(s(40)), BreakerState::Closed);
        fail(&mut breaker, s(41));
        fail(&mut breaker, s(41));
        assert_eq!(breaker.state(s(41)), BreakerState::Open { rest: s(5) }, "all is forgotten");
    }

    #[test]
    fn a_probe_that_nobody_waits_for_is_followed_by_another() {
        let mut breaker = Breaker::new(config());
        fail(&mut breaker, s(0));
        fail(&mut breaker, s(0));
        let probe = breaker.admit(s(5)).unwrap();
        breaker.abandoned(probe);
        assert_eq!(breaker.state(s(5)), BreakerState::HalfOpen);
        assert!(breaker.admit(s(5)).is_ok());
    }

    #[test]
    fn late_news_from_before_it_opened_changes_nothing() {
        let mut breaker = Breaker::new(config());
        let (late, later) = (breaker.admit(s(0)).unwrap(), breaker.admit(s(0)).unwrap());
        fail(&mut breaker, s(1));
        fail(&mut breaker, s(1));
        breaker.succeeded(late);
        breaker.failed(later, s(3));
        assert_eq!(breaker.state(s(3)), BreakerState::Open { rest: s(3) });
    }

    proptest! {
        /// Whatever happens: it lets at most one through while it is not
        /// closed, and it lets somebody through again in the end.
        #[test]
        fn never_shuts_for_ever(acts in prop::collection::vec((0_u8..4, 0_u64..8), 0..200)) {
            let mut breaker = Breaker::new(config());
            let mut out = Vec::new();
            let mut now = s(0);
            for (act, pass) in acts {
                now += s(pass);
                match act {
                    0 => {
                        if let Ok(admission) = breaker.admit(now) {
                            out.push(admission);
                        }
                    }
                    1 => if let Some(admission) = out.pop() { breaker.succeeded(admission) },
                    2 => if let Some(admission) = out.pop() { breaker.failed(admission, now) },
                    _ => if let Some(admission) = out.pop() { breaker.abandoned(admission) },
                }
                prop_assert!(out.iter().filter(|admission| admission.probe).count() <= 1);
            }
            for admission in out {
                breaker.abandoned(admission);
            }
            prop_assert!(breaker.admit(now + s(15)).is_ok());
        }
    }
}
