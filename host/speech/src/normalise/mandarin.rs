//! Mandarin.
use super::{Reading, Source};
pub(super) fn read(_source: &Source, _at: usize) -> Option<Reading> { None }
