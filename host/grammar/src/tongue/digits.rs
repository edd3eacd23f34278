//! Digits, as they are said one by one and in groups.

use super::Tongue;
use crate::rule::{Rule, Written, any, rare, seq, words};
use crate::tag::Tag;

/// One digit.
pub(crate) fn single(tongue: &dyn Tongue) -> Rule {
    any((0..10).map(|digit| spoken(tongue.digit(digit), [digit])))
}

/// One digit or a group of them – "forty-seven", "double five", "three hundred", figures –, and how many that are. Of
/// "twenty three", 23 goes before 20 and 3: fewer groups do.
pub(crate) fn groups(tongue: &dyn Tongue, hundred: &str, thousand: &str) -> Vec<(usize, Rule)> {
    let one = |n: usize| words(tongue.digit(n));
    let times = |count: usize, repeated: &str| {
        any((0..10).map(|n| seq([words(repeated), one(n)].into_iter().chain(vec![digit(n); count]))))
    };
    let scaled = |zeros: usize, scale: &str| {
        any((1..10).map(|n| seq([one(n), words(scale), digit(n)].into_iter().chain(vec![digit(0); zeros]))))
    };
    let [twice, thrice] = tongue.repeated();
    vec![
        (1, single(tongue)),
        // As many as they are; they are not waited for.
        (1, Rule::Written(Written::Digits)),
        (2, rare(any((10..100).map(|n| spoken(&tongue.below_hundred(n), [n / 10, n % 10]))))),
        (2, rare(times(2, twice))),
        (3, rare(times(3, thrice))),
        (3, rare(scaled(2, hundred))),
        (4, rare(scaled(3, thousand))),
    ]
}

fn spoken<const N: usize>(notation: &str, digits: [usize; N]) -> Rule {
    seq([words(notation)].into_iter().chain(digits.map(digit)))
}

const fn digit(digit: usize) -> Rule {
    Rule::Means(Tag::Digit(digit as u8))
}
