//! What is wrong with a scenario file, and where.

use crate::trace::printable;
use std::fmt;

/// A place in a file. Lines and columns count from 1; a column is a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Place {
    /// The beginning of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// Something that is wrong with a scenario file: where, what, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}:{}: {message}", place.line, place.column)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// How to mend it, where that can be said.
    pub help: Option<String>,
}

/// A problem before its file, and perhaps its place, are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Option<Place>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Here, unless something closer is known already.
    pub(super) fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    pub(super) fn of(self, file: &str) -> Problem {
        let Self { place, message, help } = self;
        Problem { file: file.to_owned(), place: place.unwrap_or(Place::START), message, help }
    }
}

/// A word that somebody may have meant, or else all that are known.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known are {}", list(&known))),
    }
}

/// The known word that is nearest, if it is near enough to have been meant.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    if word.chars().count() > 64 {
        return None;
    }
    let (distance, meant) = known.map(|other| (distance(&word, &plain(other)), other)).min()?;
    // One letter in three may be wrong.
    (distance <= meant.chars().count().div_ceil(3)).then_some(meant)
}

/// Letters to change, insert, delete or swap with their neighbour to come from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let change = last[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

/// `a`, `b` and `c`.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [most @ .., last] => {
            let most: Vec<_> = most.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", most.join(", "))
        }
    }
}

/// A word for a message: short, without what could move a cursor.
pub(super) fn shown(text: &str) -> String {
    printable(text, 60)
}

/// Several problems as one text, for whoever has no better way to show them.
pub fn tell(problems: &[Problem]) -> impl fmt::Display + '_ {
    fmt::from_fn(move |f| {
        for (n, problem) in problems.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
            if let Some(help) = &problem.help {
                write!(f, "\n  help: {help}")?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_were_meant_are_suggested() {
        let known = ["expect", "press", "say", "silence", "hang_up"];
        for (word, meant) in [
            ("pres", "press"),
            ("perss", "press"),
            ("Expects", "expect"),
            ("hangup", "hang_up"),
            ("hang-up", "hang_up"),
            ("silnce", "silence"),
        ] {
            assert_eq!(suggest(word, known), Some(format!("did you mean `{meant}`?")));
        }
        assert_eq!(suggest("dance", known).unwrap_or_default(), format!("known are {}", list(&known)));
        assert_eq!(suggest(&"x".repeat(10_000), ["a"]), Some("known are `a`".into()));
        assert_eq!(suggest("x", []), None);
    }
}
