//! The time. In tests it is the scenario's, and on a replay what it was.

use crate::bindings::callbox::dialogue::clock as raw;
use crate::error::Result;
use std::time::Duration;

pub use raw::LocalTime;

/// Milliseconds since 1970-01-01T00:00:00Z.
///
/// ```no_run
/// let asked_at = callbox_guest::clock::now_ms();
/// ```
#[must_use]
pub fn now_ms() -> u64 {
    raw::now()
}

/// Time since the call began; never jumps.
///
/// ```no_run
/// if callbox_guest::clock::elapsed() > callbox_guest::secs(120) {
///     callbox_guest::warn!("this is taking long");
/// }
/// ```
#[must_use]
pub fn elapsed() -> Duration {
    Duration::from_millis(raw::elapsed())
}

/// The wall clock of an IANA time zone.
///
/// ```no_run
/// let there = callbox_guest::clock::local("Asia/Shanghai")?;
/// if there.hour < 9 || there.hour >= 18 || there.is_weekend() {
///     callbox_guest::say("We are closed.")?;
/// }
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotFound`](crate::Error::NotFound) for an unknown zone.
pub fn local(zone: &str) -> Result<LocalTime> {
    Ok(raw::local(zone)?)
}

impl LocalTime {
    /// Whether it is Saturday or Sunday.
    #[must_use]
    pub const fn is_weekend(&self) -> bool {
        self.weekday >= 6
    }
}
