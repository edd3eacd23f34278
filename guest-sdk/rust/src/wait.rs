//! Waiting: for a moment, or for the first of several things.

use crate::bindings::callbox::dialogue::wait as raw;
use std::time::Duration;

/// Something that will have happened; stays ready once it is.
///
/// [`Playback`](crate::voice::Playback), [`Listening`](crate::voice::Listening),
/// [`Transferring`](crate::call::Transferring), [`Fetching`](crate::context::Fetching),
/// [`after`] and [`events::subscribe`](crate::events::subscribe) give one.
pub use raw::Pollable;

/// A timer. It is ready early when the call ends.
///
/// ```no_run
/// use callbox_guest::{ms, wait};
///
/// let timer = wait::after(ms(1_500));
/// assert!(!timer.ready());
/// timer.block();
/// ```
#[must_use]
pub fn after(delay: Duration) -> Pollable {
    raw::after(millis(delay))
}

/// Does nothing for so long, or until the call ends.
///
/// ```no_run
/// callbox_guest::wait::sleep(callbox_guest::secs(2));
/// ```
pub fn sleep(delay: Duration) {
    raw::sleep(millis(delay));
}

/// Blocks until at least one of `handles` is ready or `timeout` has passed, and
/// returns the indexes of those that are ready, in ascending order; none when
/// the time passed first. `None` as `timeout` waits as long as it takes.
///
/// ```no_run
/// use callbox_guest::{context, secs, voice, wait};
///
/// let music = voice::start_say(voice::asset("hold.wav"))?;
/// let order = context::start_fetch("order", &[("number", "4711")])?;
/// let (heard, found) = (music.subscribe(), order.subscribe());
/// match wait::select(&[&heard, &found], Some(secs(10)))[..] {
///     [] => callbox_guest::say("This takes longer than usual.")?,
///     _ if found.ready() => music.stop()?,
///     _ => callbox_guest::say("Still looking.")?,
/// };
/// # Ok::<(), callbox_guest::Error>(())
/// ```
#[must_use]
pub fn select(handles: &[&Pollable], timeout: Option<Duration>) -> Vec<usize> {
    raw::select(handles, timeout.map(millis)).into_iter().map(|index| index as usize).collect()
}

/// So many seconds, to write `secs(5)` where a [`Duration`] is asked for.
///
/// ```no_run
/// assert_eq!(callbox_guest::secs(2), callbox_guest::ms(2_000));
/// ```
#[must_use]
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many milliseconds, to write `ms(300)` where a [`Duration`] is asked for.
#[must_use]
pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The contract counts in milliseconds of 32 bits; what is longer (49 days) is
/// as good as for ever.
pub(crate) fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_cut_to_what_the_contract_can_say() {
        assert_eq!(millis(ms(300)), 300);
        assert_eq!(millis(secs(5)), 5_000);
        assert_eq!(millis(Duration::from_micros(1_999)), 1);
        assert_eq!(millis(Duration::MAX), u32::MAX);
    }
}
