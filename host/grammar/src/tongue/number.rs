//! Whole numbers of a range, and no others: the recogniser is told exactly those, and "ninety" is no beginning of a
//! number below fifty.

use crate::rule::{Rule, Written, any, fold, opt, rare, seq, words};
use crate::tag::{Tag, as_millions, as_thousands, as_year};

/// The largest that can be said.
pub(crate) const GREATEST: u32 = 999_999_999;

/// How a European language builds its numbers.
pub(crate) struct Scales {
    /// Below a hundred, each with its meaning.
    pub(crate) small: &'static [Rule],
    /// The hundreds, in the order of their number; the first is nothing.
    pub(crate) hundreds: &'static [Rule],
    /// What may stand between hundreds and what follows.
    pub(crate) and: &'static str,
    /// A thousand, and "thousand" after a number.
    pub(crate) thousand: [&'static str; 2],
    /// A million, and "million" after a number.
    pub(crate) million: [&'static str; 2],
}

/// The rules of the numbers below a hundred.
pub(crate) fn small(below_hundred: impl Fn(usize) -> String) -> Vec<Rule> {
    (0..100).map(|n| seq([words(&below_hundred(n)), Rule::Means(Tag::Add(n as u32))])).collect()
}

/// The rules of the hundreds.
pub(crate) fn hundreds(hundred: impl Fn(usize) -> String) -> Vec<Rule> {
    let rule = |n: usize| seq([words(&hundred(n)), Rule::Means(Tag::Add(100 * n as u32))]);
    (0..10).map(|n| if n == 0 { any([]) } else { rule(n) }).collect()
}

/// The numbers from `min` to `max`, in words and in figures.
pub(crate) fn whole(scales: &Scales, min: u32, max: u32) -> Rule {
    let max = max.min(GREATEST);
    any([Rule::Written(Written::Whole(min, max)), scales.spoken(min, max)])
}

impl Scales {
    fn spoken(&self, min: u32, max: u32) -> Rule {
        let below = |min, max| self.spoken(min, max);
        let rest = |from, to| {
            let rest = self.spoken(from, to);
            if self.and.is_empty() { rest } else { seq([opt(words(self.and)), rest]) }
        };
        let parts = |scale, times: &dyn Fn(u32, u32) -> Rule| parts(min, max, scale, &below, times, &rest);
        if min > max {
            return any([]);
        }
        match max {
            0..100 => known(&self.small[min as usize..=max as usize]),
            100..1_000 => parts(100, &|first, last| known(&self.hundreds[first as usize..=last as usize])),
            1_000..1_000_000 => parts(1_000, &|first, last| self.times(first, last, self.thousand, as_thousands)),
            _ => parts(1_000_000, &|first, last| self.times(first, last, self.million, as_millions)),
        }
    }

    /// So many thousands.
    fn times(&self, first: u32, last: u32, [one, many]: [&str; 2], scaled: fn(&[Tag]) -> Option<Tag>) -> Rule {
        let mut all = Vec::new();
        if first <= 1 && last >= 1 {
            all.push(fold(seq([words(one), Rule::Means(Tag::Add(1))]), scaled));
        }
        if last > 1 {
            all.push(fold(seq([self.spoken(first.max(2), last), words(many)]), scaled));
        }
        any(all)
    }
}

/// Any of these.
pub(crate) fn known(rules: &'static [Rule]) -> Rule {
    any(rules.iter().map(Rule::Known))
}

/// The numbers from `min` to `max` that are `below` the scale, and those of so many `times` it, with the `rest` that may
/// follow. Where the range cuts through what follows, that is another.
pub(crate) fn parts(
    min: u32,
    max: u32,
    scale: u32,
    below: &dyn Fn(u32, u32) -> Rule,
    times: &dyn Fn(u32, u32) -> Rule,
    rest: &dyn Fn(u32, u32) -> Rule,
) -> Rule {
    let mut all = Vec::new();
    if min < scale {
        all.push(below(min, scale - 1));
    }
    let with = |first: u32, last: u32, from: u32, to: u32| {
        let follows = match (from, to) {
            (0, 0) => seq([]),
            (0, to) => opt(rest(1, to)),
            (from, to) => rest(from, to),
        };
        seq([times(first, last), follows])
    };
    let (mut first, mut last) = ((min / scale).max(1), max / scale);
    let (low, high) = (if min < scale { 0 } else { min % scale }, max % scale);
    if first == last {
        all.push(with(first, last, low, high));
        return any(all);
    }
    if low > 0 {
        all.push(with(first, first, low, scale - 1));
        first += 1;
    }
    let cut = high < scale - 1;
    if cut {
        last -= 1;
    }
    if first <= last {
        all.push(with(first, last, 0, scale - 1));
    }
    if cut {
        all.push(with(last + 1, last + 1, 0, high));
    }
    any(all)
}

/// The years that are said in two halves, "twenty twenty-six", and in one.
pub(crate) fn year(halves: &[(&str, u32)], rest: &Rule, whole: Rule) -> Rule {
    let half = |(spoken, century): &(&str, u32)| seq([words(spoken), Rule::Means(Tag::Add(*century)), rest.clone()]);
    let spoken = any(halves.iter().map(half).chain([whole]));
    any([Rule::Written(Written::As(1_900, 2_199, as_year)), rare(fold(spoken, as_year))])
}
