//! Time as a parameter.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};

/// A span in milliseconds, as scripts count it.
pub type Millis = u32;

/// A moment, in milliseconds since the call began. Monotonic: whoever drives
/// the engine never hands in a smaller one than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The beginning of the call.
    pub const ZERO: Self = Self(0);

    /// Milliseconds since an earlier moment; 0 where it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Time {
    type Output = Self;
    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Sub<u64> for Time {
    type Output = Self;
    fn sub(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}
