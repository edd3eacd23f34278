//! What is due when.

use super::flow::{LegId, TransactionId};
use super::registration::RegistrationId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Whose timer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Client(TransactionId),
    Server(TransactionId),
    Leg(LegId),
    Registration(RegistrationId),
    Registrar,
}

/// A heap of wake-ups. An entry is a hint: whoever is woken looks at its own timers, and one that is gone or was
/// moved later is woken for nothing. That keeps cancelling free.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<(Instant, Due)>>,
}

impl Schedule {
    /// Asks for a wake-up, unless `armed` – the wake-up asked for before – comes early enough.
    pub(crate) fn arm(&mut self, armed: &mut Option<Instant>, at: Option<Instant>, due: Due) {
        let Some(at) = at else { return };
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.heap.push(Reverse((at, due)));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, due))| due)
    }
}
