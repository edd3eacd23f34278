//! The call's trace: lines for the author, in order with all else that happened.

use crate::bindings::callbox::dialogue::log as raw;

pub use raw::Level;

/// Writes a line. The macros [`debug!`](crate::debug), [`info!`](crate::info),
/// [`warn!`](crate::warn) and [`error!`](crate::error) are shorter. Rate and volume are limited;
/// what is over is counted and dropped.
///
/// ```no_run
/// use callbox_guest::log::{self, Level};
///
/// log::write(Level::Debug, "in the menu");
/// ```
pub fn write(level: Level, message: &str) {
    raw::write(level, message);
}

/// Writes a line for the author into the call's trace, as `format!` would.
#[macro_export]
macro_rules! debug {
    ($($what:tt)+) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($what)+)) };
}

/// Writes a line worth knowing into the call's trace, as `format!` would.
///
/// ```no_run
/// let attempts = 2;
/// callbox_guest::info!("confirmed after {attempts} attempts");
/// ```
#[macro_export]
macro_rules! info {
    ($($what:tt)+) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($what)+)) };
}

/// Writes a line about something that is not as it should be into the call's
/// trace, as `format!` would.
#[macro_export]
macro_rules! warn {
    ($($what:tt)+) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($what)+)) };
}

/// Writes a line about a failure into the call's trace, as `format!` would.
#[macro_export]
macro_rules! error {
    ($($what:tt)+) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($what)+)) };
}
