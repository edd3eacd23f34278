//! Keeping away from language models that fail: a breaker for each binding, the one that recognisers and voices have
//! (`callbox_speech::Breaker`). A script whose model is away is told at once, and goes on without it, rather than have
//! every caller wait for what will not come.

use callbox_dialogue::script::HostError;
use callbox_dialogue::time::Millis;
use callbox_speech::{Admission, Breaker, BreakerConfig, BreakerState};
use callbox_store::TenantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A model as a tenant has bound it. Bound to another URL it is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    pub(crate) tenant: TenantId,
    pub(crate) script: String,
    pub(crate) model: String,
    pub(crate) url: String,
}

/// The breakers of all models that failed lately. Cheap to clone; shared by all calls.
#[derive(Clone, Debug)]
pub(crate) struct Breakers {
    began: Instant,
    /// Of those that failed alone: as many as there are bindings that do not work.
    failing: Arc<Mutex<HashMap<Bound, Breaker>>>,
}

impl Breakers {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), failing: Arc::default() }
    }

    /// Asks to use a model.
    ///
    /// # Errors
    /// While it is left alone.
    pub(crate) fn admit(&self, bound: Bound) -> Result<Trial, HostError> {
        self.admit_at(bound, self.began.elapsed())
    }

    fn admit_at(&self, bound: Bound, now: Duration) -> Result<Trial, HostError> {
        let admission = match self.lock().get_mut(&bound) {
            Some(breaker) => breaker.admit(now),
            None => closed().admit(now),
        };
        match admission {
            Ok(admission) => Ok(Trial { breakers: self.clone(), bound, admission: Some(admission) }),
            Err(resting) => Err(HostError::Unavailable(format!(
                "model {}: it failed {} times in a row and is left alone for {} s",
                bound.model,
                resting.failures,
                resting.retry.as_secs_f32().ceil()
            ))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bound, Breaker>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> Breaker {
    Breaker::new(BreakerConfig::default())
}

/// One use of a model. Dropped, it says nothing about the model: nobody waited for the end.
#[derive(Debug)]
pub(crate) struct Trial {
    breakers: Breakers,
    bound: Bound,
    admission: Option<Admission>,
}

impl Trial {
    /// The model did what it should.
    pub(crate) fn succeeded(mut self) {
        let Some(admission) = self.admission.take() else { return };
        let now = self.breakers.began.elapsed();
        let mut failing = self.breakers.lock();
        if let Some(breaker) = failing.get_mut(&self.bound) {
            breaker.succeeded(admission);
            if breaker.state(now) == BreakerState::Closed {
                // As good as new.
                failing.remove(&self.bound);
            }
        }
    }

    /// The model failed.
    pub(crate) fn failed(self) {
        let now = self.breakers.began.elapsed();
        self.failed_at(now);
    }

    fn failed_at(mut self, now: Duration) {
        let Some(admission) = self.admission.take() else { return };
        let mut failing = self.breakers.lock();
        let breaker = failing.entry(self.bound.clone()).or_insert_with(closed);
        breaker.failed(admission, now);
        if matches!(breaker.state(now), BreakerState::Open { .. }) {
            tracing::warn!(
                tenant = %self.bound.tenant,
                script = self.bound.script,
                model = self.bound.model,
                "a language model fails and is left alone for a while"
            );
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let Some(admission) = self.admission.take() else { return };
        if let Some(breaker) = self.breakers.lock().get_mut(&self.bound) {
            breaker.abandoned(admission);
        }
    }
}

/// Watches an answer that comes bit by bit. Broken off after a silence as long as the binding allows, the model has
/// failed; broken off before, by a caller who interrupts for example, it has not.
#[derive(Debug)]
pub(crate) struct Watch {
    trial: Option<Trial>,
    patience: Duration,
    sign: Instant,
}

impl Watch {
    pub(crate) fn new(trial: Trial, patience: Millis) -> Self {
        Self { trial: Some(trial), patience: Duration::from_millis(patience.into()), sign: Instant::now() }
    }

    /// The model did something.
    pub(crate) fn sign(&mut self) {
        self.sign = Instant::now();
    }

    /// It came to its end.
    pub(crate) fn over(mut self, good: bool) {
        match self.trial.take() {
            Some(trial) if good => trial.succeeded(),
            Some(trial) => trial.failed(),
            None => {}
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The engine began to count a moment before.
        let silent = self.sign.elapsed() * 10 >= self.patience * 9;
        if let Some(trial) = self.trial.take().filter(|_| silent) {
            trial.failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(url: &str) -> Bound {
        Bound { tenant: TenantId("ten_1".into()), script: "scr_1".into(), model: "assistant".into(), url: url.into() }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_model_that_fails_is_left_alone_and_tried_again() {
        let breakers = Breakers::new();
        let fails = |at| breakers.admit_at(bound("a"), at).unwrap().failed_at(at);
        (0..3).for_each(|second| fails(s(second)));
        let error = breakers.admit_at(bound("a"), s(4)).unwrap_err().to_string();
        assert!(error.contains("failed 3 times in a row and is left alone for 3 s"), "{error}");
        drop(breakers.admit_at(bound("another"), s(4)).expect("another model is another matter"));
        let probe = breakers.admit_at(bound("a"), s(7)).expect("it has rested");
        assert!(breakers.admit_at(bound("a"), s(7)).is_err(), "one probe at a time");
        drop(probe);
        breakers.admit_at(bound("a"), s(7)).expect("the next one probes").succeeded();
        assert!(breakers.lock().is_empty(), "nothing is kept of what works");
        fails(s(8));
        drop(breakers.admit_at(bound("a"), s(8)).expect("one failure is none"));
    }

    #[test]
    fn what_is_broken_off_counts_only_after_a_silence() {
        let breakers = Breakers::new();
        let watch = |patience| Watch::new(breakers.admit(bound("a")).unwrap(), patience);
        drop(watch(60_000));
        watch(0).over(true);
        assert!(breakers.lock().is_empty());
        drop(watch(0));
        watch(60_000).over(false);
        assert_eq!(breakers.lock().len(), 1);
        drop(watch(0));
        assert!(breakers.admit(bound("a")).is_err(), "three in a row");
    }
}
