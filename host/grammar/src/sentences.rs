//! Sentences that a grammar accepts.

use crate::rule::Rule;
use crate::tongue::tongue;
use crate::{Answer, Grammar, GrammarError};

/// Whether a word of a rule can be told to a recogniser: Latin letters and apostrophes.
pub(crate) fn said(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'\'')
}

impl Grammar {
    /// A sentence that is an answer by the rules of a language, as somebody might say it: to try out a recogniser, or a
    /// script. `draw` picks one of so many; the same picks make the same sentence.
    ///
    /// With `usual` it is one of those that a recogniser is told to listen for, see [`jsgf`](Self::jsgf). Words are
    /// apart by blanks in every language, and without accents, as rules have them.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`GrammarError::NoSentences`] for free text.
    pub fn sentence(
        &self,
        language: &str,
        usual: bool,
        draw: &mut dyn FnMut(usize) -> usize,
    ) -> Result<String, GrammarError> {
        self.check(&[language])?;
        if self.answer == Answer::Text {
            let why = "anything may be said";
            return Err(GrammarError::NoSentences { language: language.to_owned(), what: "text", why });
        }
        let tongue = tongue(language);
        let (rule, _) = self.rules(tongue);
        let latin = language.get(..2).is_some_and(|tag| tag.eq_ignore_ascii_case("en"));
        let mut drawn = Drawn { usual, latin: usual && latin, draw, words: Vec::new() };
        drawn.say(&rule);
        Ok(drawn.words.join(" "))
    }
}

struct Drawn<'a> {
    usual: bool,
    /// Only words that a recogniser can be told.
    latin: bool,
    draw: &'a mut dyn FnMut(usize) -> usize,
    words: Vec<String>,
}

impl Drawn<'_> {
    fn can(&self, rule: &Rule) -> bool {
        match rule {
            Rule::Word(word) => !self.latin || said(word),
            Rule::Means(_) | Rule::Opt(_) => true,
            Rule::Written(_) | Rule::Rest(_) => false,
            Rule::Rare(rule) => !self.usual && self.can(rule),
            Rule::Seq(rules) => rules.iter().all(|rule| self.can(rule)),
            Rule::Any(rules) => rules.iter().any(|rule| self.can(rule)),
            Rule::Aside(rule) | Rule::Fold(rule, _) => self.can(rule),
            Rule::Known(rule) => self.can(rule),
            Rule::Run { units, .. } => units.first().is_some_and(|(_, unit)| self.can(unit)),
        }
    }

    fn pick(&mut self, of: usize) -> usize {
        (self.draw)(of).min(of.saturating_sub(1))
    }

    fn say(&mut self, rule: &Rule) {
        match rule {
            Rule::Word(word) => self.words.push(word.to_string()),
            Rule::Means(_) | Rule::Written(_) | Rule::Rest(_) => {}
            Rule::Seq(rules) => rules.iter().for_each(|rule| self.say(rule)),
            Rule::Any(rules) => {
                let can: Vec<&Rule> = rules.iter().filter(|rule| self.can(rule)).collect();
                let index = self.pick(can.len());
                if let Some(rule) = can.get(index) {
                    self.say(rule);
                }
            }
            Rule::Opt(rule) => {
                if self.can(rule) && self.pick(2) == 1 {
                    self.say(rule);
                }
            }
            Rule::Rare(rule) | Rule::Aside(rule) | Rule::Fold(rule, _) => self.say(rule),
            Rule::Known(rule) => self.say(rule),
            Rule::Run { units, min, max } => {
                let mut left = min + self.pick(max - min + 1);
                while left > 0 {
                    let can: Vec<_> = units.iter().filter(|(size, unit)| *size <= left && self.can(unit)).collect();
                    let index = self.pick(can.len());
                    let Some((size, unit)) = can.get(index) else { break };
                    self.say(unit);
                    left -= size;
                }
            }
        }
    }
}
