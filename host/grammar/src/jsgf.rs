//! The sentences of a grammar, for a recogniser that must be told them.

use crate::rule::Rule;
use crate::sentences::said;
use crate::tongue::tongue;
use crate::{Answer, Grammar, GrammarError};
use std::collections::{BTreeMap, BTreeSet};

/// A grammar in the JSpeech Grammar Format (JSGF 1.0), as pocketsphinx reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jsgf {
    /// The grammar, with one public rule, `<answer>`. Its words are lower case.
    pub text: String,
    /// Every word in it: a recogniser's dictionary must have them all.
    pub words: BTreeSet<String>,
    /// The pronunciations that came with the grammar, in ARPABET.
    pub pronunciations: BTreeMap<String, String>,
}

impl Grammar {
    /// The sentences of this grammar as JSGF: of English only, as the recogniser that needs it has no other model.
    /// Every one of them is [understood](Self::understand). Digits are said one by one there, and exactly as many as
    /// are asked for: with an open number of them a recogniser hears too many.
    ///
    /// ```
    /// # use callbox_grammar::{Answer, Grammar};
    /// let jsgf = Grammar::new(Answer::YesNo).jsgf("en-US")?;
    /// assert!(jsgf.text.starts_with("#JSGF V1.0;") && jsgf.words.contains("yes"));
    /// # Ok::<(), callbox_grammar::GrammarError>(())
    /// ```
    ///
    /// # Errors
    /// [`GrammarError::NoSentences`] for free text and other languages; what [`check`](Self::check) finds.
    pub fn jsgf(&self, language: &str) -> Result<Jsgf, GrammarError> {
        self.check(&[language])?;
        let why = if self.answer == Answer::Text {
            "free text takes a recogniser with dictation"
        } else if !language.get(..2).is_some_and(|tag| tag.eq_ignore_ascii_case("en")) {
            "use a recogniser with a model of that language"
        } else {
            ""
        };
        if !why.is_empty() {
            let (language, what) = (language.to_owned(), self.answer.kind());
            return Err(GrammarError::NoSentences { language, what, why });
        }
        let tongue = tongue(language);
        let mut words = BTreeSet::new();
        let rules = [self.rules(tongue).0, self.universal_rule(tongue)];
        let printed: Vec<String> = rules
            .iter()
            .filter_map(|rule| match expansion(rule, &mut words) {
                Expansion::Text(text) => Some(text),
                Expansion::Silence | Expansion::Never => None,
            })
            .collect();
        let text = format!("#JSGF V1.0;\ngrammar callbox;\npublic <answer> = {};\n", printed.join("\n  | "));
        let pronunciations = match &self.answer {
            Answer::Choices { choices } => choices.iter().flat_map(|choice| choice.pronunciations.clone()).collect(),
            _ => BTreeMap::new(),
        };
        Ok(Jsgf { text, words, pronunciations })
    }
}

enum Expansion {
    /// It is not spoken.
    Never,
    /// It is spoken by saying nothing.
    Silence,
    Text(String),
}

/// A rule as JSGF writes it.
fn expansion(rule: &Rule, words: &mut BTreeSet<String>) -> Expansion {
    match rule {
        Rule::Word(word) if !said(word) => Expansion::Never,
        Rule::Word(word) => {
            words.insert(word.to_string());
            Expansion::Text(word.to_string())
        }
        Rule::Means(_) => Expansion::Silence,
        Rule::Written(_) | Rule::Rare(_) | Rule::Rest(_) => Expansion::Never,
        Rule::Seq(rules) => {
            // A part that is never spoken makes that of the whole: its words must not be listed.
            let mut own = BTreeSet::new();
            let mut parts = Vec::new();
            for rule in rules {
                match expansion(rule, &mut own) {
                    Expansion::Never => return Expansion::Never,
                    Expansion::Silence => {}
                    Expansion::Text(text) => parts.push(text),
                }
            }
            words.append(&mut own);
            if parts.is_empty() { Expansion::Silence } else { Expansion::Text(parts.join(" ")) }
        }
        Rule::Any(rules) => {
            let (mut silent, mut parts) = (false, Vec::new());
            for rule in rules {
                match expansion(rule, words) {
                    Expansion::Never => {}
                    Expansion::Silence => silent = true,
                    Expansion::Text(text) => parts.push(text),
                }
            }
            match (parts.len(), silent) {
                (0, false) => Expansion::Never,
                (0, true) => Expansion::Silence,
                (_, true) => Expansion::Text(format!("[{}]", parts.join(" | "))),
                (1, false) => Expansion::Text(parts.swap_remove(0)),
                (_, false) => Expansion::Text(format!("({})", parts.join(" | "))),
            }
        }
        Rule::Opt(rule) => match expansion(rule, words) {
            Expansion::Never | Expansion::Silence => Expansion::Silence,
            Expansion::Text(text) => Expansion::Text(format!("[{text}]")),
        },
        Rule::Aside(rule) | Rule::Fold(rule, _) => expansion(rule, words),
        Rule::Known(rule) => expansion(rule, words),
        Rule::Run { units, min, max } => {
            let unit = units.first().map(|(_, unit)| expansion(unit, words));
            let Some(Expansion::Text(unit)) = unit else { return Expansion::Never };
            let more = max.saturating_sub(*min);
            let mut text = vec![unit.as_str(); *min].join(" ");
            for _ in 0..more {
                text.push_str(" [");
                text.push_str(&unit);
            }
            text.push_str(&"]".repeat(more));
            Expansion::Text(text)
        }
    }
}
