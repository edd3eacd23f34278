//! Randomness, recorded so that a replay sees the same.

use crate::bindings::callbox::dialogue::random as raw;

/// A number of 0 to 2^64-1.
///
/// ```no_run
/// let heads = callbox_guest::random::number() % 2 == 0;
/// ```
#[must_use]
pub fn number() -> u64 {
    raw::number()
}

/// So many bytes, 1,024 at most.
///
/// ```no_run
/// let nonce = callbox_guest::random::bytes(16);
/// ```
#[must_use]
pub fn bytes(count: u32) -> Vec<u8> {
    raw::bytes(count)
}

/// One of several, each as likely as the others; `None` of none.
///
/// ```no_run
/// let greeting = callbox_guest::random::pick(&["Hello.", "Good day."]);
/// ```
#[must_use]
pub fn pick<T>(of: &[T]) -> Option<&T> {
    at(of, if of.is_empty() { 0 } else { number() })
}

/// Scales instead of taking a remainder: no choice is preferred.
fn at<T>(of: &[T], number: u64) -> Option<&T> {
    let index = (u128::from(number) * of.len() as u128) >> 64;
    of.get(usize::try_from(index).ok()?)
}

#[cfg(test)]
mod tests {
    use super::at;

    #[test]
    fn every_number_picks_one_and_the_ends_are_reached() {
        assert_eq!(at(&['a', 'b', 'c'], 0), Some(&'a'));
        assert_eq!(at(&['a', 'b', 'c'], u64::MAX / 2), Some(&'b'));
        assert_eq!(at(&['a', 'b', 'c'], u64::MAX), Some(&'c'));
        assert_eq!(at::<char>(&[], 7), None);
    }
}
