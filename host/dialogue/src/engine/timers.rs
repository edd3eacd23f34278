//! What is due when.

use crate::script::Handle;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// Everything an engine waits for by the clock. Where several are due in the
/// same millisecond they fire in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The script's pending call gives up.
    Wait,
    /// A timer of the script.
    After(Handle),
    /// The caller has been speaking long enough to pause or cut the prompt, or has been silent long enough to let it
    /// go on.
    Barge,
    /// Nobody spoke or dialled.
    Start,
    /// No further key.
    DigitGap,
    /// The caller is done, or has said enough.
    Utterance,
    /// The recogniser owes its result.
    Final,
    /// A prompt takes too long to get ready.
    Prepare,
    /// A stopped prompt owes its end.
    Stopping,
    /// Enough of a writer's text has been spoken to take more.
    Writer,
    /// Digits take too long to be sent.
    Digits,
    /// A context source is late.
    Fetch(Handle),
    /// A language model is late.
    Model(Handle),
    /// A transfer takes too long.
    Transfer,
    /// Let the caller hear ringing.
    AutoRing,
    /// Not answered.
    Ring,
    /// Nothing was heard and nothing said.
    Silence,
    /// The host goes down.
    Drain,
    /// The longest call.
    MaxDuration,
    /// The fallback takes too long.
    Fallback,
    /// The script's time after the call is over.
    Grace,
    /// The leg owes its end.
    Hangup,
}

/// The timers of one call, each set at most once.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Time>,
    due: BTreeSet<(Time, Timer)>,
}

impl Timers {
    /// Sets a timer, in place of its former time.
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        if let Some(former) = self.at.insert(timer, at) {
            self.due.remove(&(former, timer));
        }
        self.due.insert((at, timer));
    }

    /// Forgets a timer.
    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(former) = self.at.remove(&timer) {
            self.due.remove(&(former, timer));
        }
    }

    /// Sets or forgets.
    pub(super) fn put(&mut self, timer: Timer, at: Option<Time>) {
        match at {
            Some(at) => self.set(timer, at),
            None => self.clear(timer),
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the next one that is due by `now`.
    pub(super) fn pop(&mut self, now: Time) -> Option<(Time, Timer)> {
        let (at, timer) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some((at, timer))
    }
}
