//! Matching what was said against a rule: all ways at once, in the order in which the rules prefer them.

use crate::lex::{Kind, Token};
use crate::rule::{Rule, Written};
use crate::tag::Tag;
use crate::written;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::HashSet;

/// Ways that are followed at once. Languages have a few; more would be somebody's game.
const MOST_WAYS: usize = 64;

/// One way through the text so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Way {
    /// The next token.
    at: usize,
    /// What the words meant.
    pub(crate) tags: Vec<Tag>,
}

/// What came of matching.
#[derive(Debug)]
pub(crate) struct Matched {
    /// The ways that take all of the text, the preferred one first.
    pub(crate) whole: Vec<Vec<Tag>>,
    /// The text can be gone on with.
    pub(crate) begun: bool,
    /// Words that can follow change what is meant.
    pub(crate) may_go_on: bool,
}

/// Matches all of `tokens`.
pub(crate) fn matched(rule: &Rule, tokens: &[Token]) -> Matched {
    let text = Text { tokens, begun: Cell::new(false), may_go_on: Cell::new(false) };
    let whole = text.follow(rule, &[Way { at: 0, tags: Vec::new() }], false);
    let whole = whole.into_iter().filter(|way| text.rest_is_idle(way.at)).map(|way| way.tags).collect();
    Matched { whole, begun: text.begun.get(), may_go_on: text.may_go_on.get() }
}

/// The pieces of `tokens` that the rule takes: where each begins and ends, and what it means. Of those that begin at
/// the same word only the longest.
pub(crate) fn spotted(rule: &Rule, tokens: &[Token]) -> Vec<(usize, usize, Vec<Tag>)> {
    let text = Text { tokens, begun: Cell::new(false), may_go_on: Cell::new(false) };
    let mut found = Vec::new();
    for from in 0..tokens.len() {
        let ways = text.follow(rule, &[Way { at: from, tags: Vec::new() }], false);
        let longest = ways.iter().map(|way| way.at).max().unwrap_or(from);
        if longest > from {
            found.extend(ways.into_iter().filter(|way| way.at == longest).map(|way| (from, longest, way.tags)));
        }
    }
    found
}

struct Text<'a> {
    tokens: &'a [Token],
    begun: Cell<bool>,
    may_go_on: Cell<bool>,
}

impl Text<'_> {
    /// The ways on from `ways`; `aside` when what follows changes nothing.
    fn follow(&self, rule: &Rule, ways: &[Way], aside: bool) -> Vec<Way> {
        match rule {
            Rule::Word(word) => self.next(ways, aside, |token| token.is(word).then(Vec::new)),
            Rule::Written(what) => self.written(*what, ways),
            Rule::Means(tag) => ways.iter().map(|way| way.and(&[*tag])).collect(),
            Rule::Seq(rules) => {
                let mut here = ways.to_vec();
                for rule in rules {
                    if here.is_empty() {
                        break;
                    }
                    here = self.follow(rule, &here, aside);
                }
                here
            }
            Rule::Any(rules) => {
                let mut all = Vec::new();
                for rule in rules {
                    join(&mut all, self.follow(rule, ways, aside));
                }
                all
            }
            Rule::Opt(rule) => {
                let mut all = self.follow(rule, ways, aside);
                join(&mut all, ways.to_vec());
                all
            }
            Rule::Rare(rule) => self.follow(rule, ways, aside),
            Rule::Known(rule) => self.follow(rule, ways, aside),
            Rule::Aside(rule) => self.follow(rule, ways, true),
            Rule::Run { units, min, max } => self.run(units, *min, *max, ways, aside),
            Rule::Fold(rule, how) => {
                let mut all = Vec::new();
                for way in ways {
                    let inner = self.follow(rule, &[Way { at: way.at, tags: Vec::new() }], aside);
                    let folded = inner.into_iter().filter_map(|inner| {
                        let tag = how(&inner.tags)?;
                        Some(Way { at: inner.at, ..way.and(&[tag]) })
                    });
                    join(&mut all, folded.collect());
                }
                all
            }
            Rule::Rest(but) => {
                let fits =
                    |way: &&Way| !self.tokens[way.at..].iter().any(|token| but.iter().any(|word| token.is(word)));
                ways.iter().filter(fits).map(|way| Way { at: self.tokens.len(), tags: way.tags.clone() }).collect()
            }
        }
    }

    /// One more token, which may have others before it that count for nothing.
    fn next(&self, ways: &[Way], aside: bool, fits: impl Fn(&Token) -> Option<Vec<Tag>>) -> Vec<Way> {
        let mut all = Vec::new();
        for way in ways {
            let mut at = way.at;
            loop {
                let Some(token) = self.tokens.get(at) else {
                    self.begun.set(true);
                    if !aside {
                        self.may_go_on.set(true);
                    }
                    break;
                };
                if let Some(tags) = fits(token) {
                    all.push(Way { at: at + 1, ..way.and(&tags) });
                }
                if !token.idle {
                    break;
                }
                at += 1;
            }
        }
        all
    }

    /// Figures: what can be written can be spoken too, so nothing is waited for on their account.
    fn written(&self, what: Written, ways: &[Way]) -> Vec<Way> {
        let mut all = Vec::new();
        for way in ways {
            let mut at = way.at;
            while self.tokens.get(at).is_some_and(|token| token.idle) {
                at += 1;
            }
            let Some(token) = self.tokens.get(at) else { continue };
            let tags = match (token.kind, what) {
                (Kind::Sign, Written::Sign(sign)) => (token.text == sign).then(Vec::new),
                (Kind::Figures, what) => written::read(what, &token.text),
                _ => None,
            };
            if let Some(tags) = tags {
                all.push(Way { at: at + 1, ..way.and(&tags) });
            }
        }
        all
    }

    fn run(&self, units: &[(usize, Rule)], min: usize, max: usize, ways: &[Way], aside: bool) -> Vec<Way> {
        let mut all = Vec::new();
        for way in ways {
            let mut here = vec![Way { at: way.at, tags: Vec::new() }];
            let mut done: Vec<Way> = Vec::new();
            // Of two ways to as many digits at the same place, the one of fewer groups is preferred: it came first.
            let mut seen = HashSet::new();
            while !here.is_empty() {
                done.extend(here.iter().filter(|run| run.tags.len() >= min).cloned());
                let mut next = Vec::new();
                for (size, unit) in units {
                    // Where there is no room for a group its words are not waited for.
                    let room: Vec<Way> = here.iter().filter(|run| run.tags.len() + size <= max).cloned().collect();
                    let fresh = |run: &Way| run.tags.len() <= max && seen.insert((run.at, run.tags.len()));
                    next.extend(self.follow(unit, &room, aside).into_iter().filter(fresh));
                }
                here = next;
            }
            // Should there be too many in the end, the short ones are lost.
            done.sort_by_key(|run| Reverse(run.at));
            all.extend(done.iter().map(|run| Way { at: run.at, ..way.and(&run.tags) }));
        }
        all
    }

    fn rest_is_idle(&self, at: usize) -> bool {
        self.tokens[at..].iter().all(|token| token.idle)
    }
}

impl Way {
    fn and(&self, tags: &[Tag]) -> Self {
        let mut all = Vec::with_capacity(self.tags.len() + tags.len());
        all.extend_from_slice(&self.tags);
        all.extend_from_slice(tags);
        Self { at: self.at, tags: all }
    }
}

/// Adds the ways that are not there yet.
fn join(all: &mut Vec<Way>, more: Vec<Way>) {
    for way in more {
        if all.len() < MOST_WAYS && !all.contains(&way) {
            all.push(way);
        }
    }
}
