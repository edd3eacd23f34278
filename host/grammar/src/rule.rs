//! Rules: which words make an answer, and what they mean. One rule is matched against what was said, written down for a
//! recogniser, and drawn sentences from.

use crate::lex;
use crate::tag::Tag;
use std::borrow::Cow;

/// A rule.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// This word, as [`lex`] leaves it.
    Word(Cow<'static, str>),
    /// Figures or a sign: how recognisers write numbers down. It is not spoken, so it is no part of a sentence.
    Written(Written),
    /// No word, but a meaning.
    Means(Tag),
    /// All of them, in order.
    Seq(Vec<Self>),
    /// One of them; of two that fit, the earlier goes before.
    Any(Vec<Self>),
    /// It, or nothing.
    Opt(Box<Self>),
    /// Understood, but not offered to a recogniser as something to listen for.
    Rare(Box<Self>),
    /// Words that change nothing about what is meant: no reason to wait for them.
    Aside(Box<Self>),
    /// Digits, one after the other.
    Run {
        /// One, or a group of so many; the first is what a recogniser is told.
        units: &'static [(usize, Self)],
        /// The fewest digits.
        min: usize,
        /// The most.
        max: usize,
    },
    /// What the meanings of a rule come to together.
    Fold(Box<Self>, fn(&[Tag]) -> Option<Tag>),
    /// Everything to the end, unless one of these words is in it.
    Rest(&'static [&'static str]),
    /// A rule of a language that is made once.
    Known(&'static Self),
}

/// What is written in figures and signs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Written {
    /// Digits one by one: `12-34`.
    Digits,
    /// A whole number of this range: `1,234`.
    Whole(u32, u32),
    /// The same, for the day of a month, the hour and so on.
    As(u32, u32, fn(&[Tag]) -> Option<Tag>),
    /// Units, and cents if there are: `12.50`.
    Money,
    /// `14:30`, `1430`.
    Clock,
    /// `2026-12-01`, `1/12`, `1.12.2026`; with the month first where that is how it is done.
    Date {
        /// `12/1` is the first of December.
        month_first: bool,
    },
    /// This sign.
    Sign(&'static str),
}

/// Nothing at all.
pub(crate) const fn nothing() -> Rule {
    Rule::Seq(Vec::new())
}

pub(crate) fn seq(rules: impl IntoIterator<Item = Rule>) -> Rule {
    Rule::Seq(rules.into_iter().collect())
}

pub(crate) fn any(rules: impl IntoIterator<Item = Rule>) -> Rule {
    Rule::Any(rules.into_iter().collect())
}

pub(crate) fn opt(rule: Rule) -> Rule {
    Rule::Opt(Box::new(rule))
}

pub(crate) fn rare(rule: Rule) -> Rule {
    Rule::Rare(Box::new(rule))
}

pub(crate) fn aside(rule: Rule) -> Rule {
    Rule::Aside(Box::new(rule))
}

pub(crate) fn fold(rule: Rule, how: fn(&[Tag]) -> Option<Tag>) -> Rule {
    Rule::Fold(Box::new(rule), how)
}

/// What is spoken so, and means this.
pub(crate) fn means(spoken: &str, tag: Tag) -> Rule {
    seq([words(spoken), Rule::Means(tag)])
}

/// What is spoken so: words in order, `[may be left out]`, `one|or|another`, `(in one)`.
pub(crate) fn words(notation: &str) -> Rule {
    pattern(notation, &|_| None)
}

/// The same with `<names>` of other rules in it.
pub(crate) fn pattern(notation: &str, named: &dyn Fn(&str) -> Option<Rule>) -> Rule {
    let mut reader = Reader { rest: notation, named };
    reader.alternatives()
}

struct Reader<'a> {
    rest: &'a str,
    named: &'a dyn Fn(&str) -> Option<Rule>,
}

impl Reader<'_> {
    fn alternatives(&mut self) -> Rule {
        let mut all = vec![self.sequence()];
        while self.eat('|') {
            all.push(self.sequence());
        }
        if all.len() == 1 { all.swap_remove(0) } else { Rule::Any(all) }
    }

    fn sequence(&mut self) -> Rule {
        let mut all = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            let Some(c) = self.rest.chars().next() else { break };
            match c {
                '|' | ']' | ')' => break,
                '[' => {
                    self.eat('[');
                    let inner = self.alternatives();
                    self.eat(']');
                    all.push(opt(inner));
                }
                '(' => {
                    self.eat('(');
                    let inner = self.alternatives();
                    self.eat(')');
                    all.push(inner);
                }
                '<' => {
                    let end = self.rest.find('>').unwrap_or(self.rest.len());
                    let name = self.rest.get(1..end).unwrap_or_default();
                    // A name that nobody knows is a rule that nothing fits.
                    all.push((self.named)(name).unwrap_or(Rule::Any(Vec::new())));
                    self.rest = self.rest.get(end + 1..).unwrap_or_default();
                }
                _ => {
                    let end = self.rest.find(|c: char| c.is_whitespace() || "|[]()<".contains(c));
                    let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                    self.rest = rest;
                    all.extend(spoken(word));
                }
            }
        }
        if all.len() == 1 { all.swap_remove(0) } else { Rule::Seq(all) }
    }

    fn eat(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        let Some(rest) = self.rest.strip_prefix(c) else { return false };
        self.rest = rest;
        true
    }
}

/// The rules of one word of a notation: several in a script without spaces.
fn spoken(word: &str) -> impl Iterator<Item = Rule> {
    let tokens = lex::tokens(word, None).unwrap_or_default();
    tokens.into_iter().map(|token| Rule::Word(Cow::Owned(token.text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notation_reads_as_it_is_written() {
        let rule = words("[that's] (right|correct) | 对的");
        let word = |word: &'static str| Rule::Word(Cow::Borrowed(word));
        let expected =
            any([seq([opt(word("that's")), any([word("right"), word("correct")])]), seq([word("对"), word("的")])]);
        assert_eq!(format!("{rule:?}"), format!("{expected:?}"));
        let named = pattern("on <day>", &|name| (name == "day").then(nothing));
        assert_eq!(format!("{named:?}"), format!("{:?}", seq([word("on"), nothing()])));
    }
}
