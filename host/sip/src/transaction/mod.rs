//! Transactions: the four state machines of RFC 3261 §17, with the Accepted state of RFC 6026.
//!
//! A machine knows no message and no socket. It is told what happened and says what is to be done: its owner, the
//! user agent, keeps the bytes that are sent again and the table that finds a machine by its key. Time is a
//! parameter; [`deadline`](ClientTransaction::deadline) says when the machine wants to be asked again.

mod client;
mod server;

pub use client::{ClientReaction, ClientTransaction};
pub use server::{ServerReaction, ServerTransaction};

use std::time::{Duration, Instant};

/// The base timers of RFC 3261 §17.1.1.1, from which all others follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Round-trip estimate: the first wait before something is sent again.
    pub t1: Duration,
    /// The longest wait between two sendings of a non-INVITE request or of a response to an INVITE.
    pub t2: Duration,
    /// How long a message may stay in the network.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timing {
    /// 64·T1, the life of a transaction (timers B, F, H, J, L, M): 32 s by default.
    #[must_use]
    pub fn transaction_life(&self) -> Duration {
        self.t1 * 64
    }
}

/// What a machine wants done when one of its timers fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing was due.
    Nothing,
    /// Send the request, or the last response, once more.
    Retransmit,
    /// The other side never answered: tell the user and forget the transaction.
    TimedOut,
    /// The transaction did its work: forget it.
    Finished,
}

/// A doubling wait with a ceiling, as timers A, E and G use.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    at: Instant,
    wait: Duration,
    ceiling: Option<Duration>,
}

impl Backoff {
    fn start(now: Instant, first: Duration, ceiling: Option<Duration>) -> Self {
        Self { at: now + first, wait: first, ceiling }
    }

    /// Moves on when due; says whether it was.
    fn fire(&mut self, now: Instant) -> bool {
        if now < self.at {
            return false;
        }
        self.wait *= 2;
        if let Some(ceiling) = self.ceiling {
            self.wait = self.wait.min(ceiling);
        }
        // From now and not from the missed moment: a late driver must not send a burst.
        self.at = now + self.wait;
        true
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
