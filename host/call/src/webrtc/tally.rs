//! What is counted of calls by WebRTC that come by HTTP, for the operator's figures.

use super::VisitError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the process began.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    begun: AtomicU64,
    connected: AtomicU64,
    failed: AtomicU64,
    tokens: AtomicU64,
    limits: AtomicU64,
    numbers: AtomicU64,
    offers: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebCounts {
    /// Offers that were answered.
    pub begun: u64,
    /// Calls whose media came.
    pub connected: u64,
    /// Calls whose media did not.
    pub failed: u64,
    /// Refused for the token or the page.
    pub refused_tokens: u64,
    /// Refused for a limit, or because the host could not.
    pub refused_limits: u64,
    /// Refused since the number is gone or answers nothing.
    pub refused_numbers: u64,
    /// Refused for the offer.
    pub refused_offers: u64,
}

fn more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    pub(super) fn begun(&self) {
        more(&self.begun);
    }

    pub(super) fn connected(&self) {
        more(&self.connected);
    }

    pub(super) fn failed(&self) {
        more(&self.failed);
    }

    pub(super) fn refused(&self, why: &VisitError) {
        more(match why {
            VisitError::Token(_) => &self.tokens,
            VisitError::Offer(_) => &self.offers,
            VisitError::NumberGone | VisitError::NumberClosed(_) => &self.numbers,
            VisitError::Unavailable(_) | VisitError::Off | VisitError::Busy | VisitError::Store(_) => &self.limits,
        });
    }

    pub(super) fn refused_token(&self) {
        more(&self.tokens);
    }

    pub(super) fn counts(&self) -> WebCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WebCounts {
            begun: read(&self.begun),
            connected: read(&self.connected),
            failed: read(&self.failed),
            refused_tokens: read(&self.tokens),
            refused_limits: read(&self.limits),
            refused_numbers: read(&self.numbers),
            refused_offers: read(&self.offers),
        }
    }
}
