//! English.
use super::{Reading, Source};
pub(super) fn read(_source: &Source, _at: usize, _american: bool) -> Option<Reading> { None }
