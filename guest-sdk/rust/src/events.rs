//! What happens by itself, for scripts written as a loop over events.

use crate::bindings::callbox::dialogue::events as raw;
use crate::wait::{Pollable, millis};
use std::time::Duration;

pub use raw::Event;

/// The next event in order; none when `timeout` passes first.
///
/// ```no_run
/// use callbox_guest::events::{self, Event};
///
/// while let Some(event) = events::next(None) {
///     match event {
///         Event::Digit(key) => callbox_guest::info!("pressed {key}"),
///         Event::Ended(_) => break,
///         _ => {}
///     }
/// }
/// ```
#[must_use]
pub fn next(timeout: Option<Duration>) -> Option<Event> {
    raw::next(timeout.map(millis))
}

/// Ready while an event waits; see [`wait::select`](crate::wait::select).
///
/// ```no_run
/// use callbox_guest::{events, secs, voice, wait};
///
/// let playing = voice::start_say("Press any key to skip this.")?;
/// let (event, over) = (events::subscribe(), playing.subscribe());
/// wait::select(&[&event, &over], Some(secs(30)));
/// # Ok::<(), callbox_guest::Error>(())
/// ```
#[must_use]
pub fn subscribe() -> Pollable {
    raw::subscribe()
}

/// Asks for a kind of event this version of the contract has no case for, and
/// says whether the host knows it.
///
/// ```no_run
/// if !callbox_guest::events::enable("fax-tone") {
///     callbox_guest::info!("this host cannot hear fax machines");
/// }
/// ```
#[must_use]
pub fn enable(kind: &str) -> bool {
    raw::enable(kind)
}
