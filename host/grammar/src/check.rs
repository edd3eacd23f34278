//! Whether a grammar makes sense.

use crate::lex;
use crate::sentences::said;
use crate::tongue::{number::GREATEST, tongue};
use crate::{Answer, Choice, Grammar, GrammarError, money, phone};
use std::collections::{BTreeMap, BTreeSet};

const MOST_CHOICES: usize = 500;
const MOST_PHRASES: usize = 32;
const MOST_WORDS: usize = 16;
const LONGEST_PHRASE: usize = 200;
const LONGEST_VALUE: usize = 200;
const MOST_PRONUNCIATIONS: usize = 32;
const MOST_DIGITS: u8 = 32;
const MOST_LANGUAGES: usize = 16;

/// The sounds of the dictionary that recognisers of English have.
const PHONES: [&str; 39] = [
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
];

impl Grammar {
    /// Whether it can be used to listen in these languages (BCP 47 tags).
    ///
    /// # Errors
    /// The first thing that is wrong, and its place: `choices[2].phrases[0]`.
    pub fn check<L: AsRef<str>>(&self, languages: &[L]) -> Result<(), GrammarError> {
        too_much("languages", languages.len(), MOST_LANGUAGES, "languages")?;
        self.answer.check()?;
        for language in languages {
            let language = language.as_ref();
            let unknown = |what| Err(GrammarError::Language { language: language.to_owned(), what });
            let spoken = tongue(language).is_some();
            // Phrases are the script's own words, and free text is anybody's.
            let needs_words = !matches!(self.answer, Answer::Choices { .. } | Answer::Text);
            if !spoken && needs_words {
                return unknown(self.answer.kind());
            }
            if let Some(universal) = self.universals.first()
                && !spoken
            {
                return unknown(universal.name());
            }
        }
        let twice = self.universals.iter().enumerate().find(|(at, which)| self.universals[..*at].contains(which));
        match twice {
            Some((at, which)) => Err(wrong(format!("universals[{at}]"), format!("{:?} is there twice", which.name()))),
            None => Ok(()),
        }
    }
}

impl Answer {
    fn check(&self) -> Result<(), GrammarError> {
        match self {
            Self::Choices { choices } => choices_are_right(choices),
            Self::Digits { min, max } => {
                in_order("digits", *min, *max)?;
                if *min == 0 || *max > MOST_DIGITS {
                    return Err(wrong("digits", format!("between 1 and {MOST_DIGITS} of them")));
                }
                Ok(())
            }
            Self::Number { min, max } => {
                in_order("number", *min, *max)?;
                no_greater("number.max", *max)
            }
            Self::Amount { currency, max } => {
                if money::code(currency).is_none_or(|code| code != currency) {
                    let known = "AUD, CAD, CHF, CNY, EUR, GBP, HKD, JPY, NZD, SGD, TWD or USD";
                    return Err(wrong("amount.currency", format!("{currency:?} is not one of {known}")));
                }
                no_greater("amount.max", *max)
            }
            Self::Phone { country } => match phone::of(country) {
                Some(_) => Ok(()),
                None => Err(wrong("phone.country", format!("{country:?} is not one of {}", phone::countries()))),
            },
            Self::YesNo | Self::Date { .. } | Self::Time { .. } | Self::Text => Ok(()),
        }
    }
}

fn choices_are_right(choices: &[Choice]) -> Result<(), GrammarError> {
    if choices.is_empty() {
        return Err(wrong("choices", "there is nothing to choose from"));
    }
    too_much("choices", choices.len(), MOST_CHOICES, "choices")?;
    let (mut values, mut keys, mut phrases) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for (index, choice) in choices.iter().enumerate() {
        let place = format!("choices[{index}]");
        too_much(&format!("{place}.value"), choice.value.len(), LONGEST_VALUE, "bytes")?;
        too_much(&format!("{place}.phrases"), choice.phrases.len(), MOST_PHRASES, "phrases")?;
        if choice.value.is_empty() || !values.insert(choice.value.as_str()) {
            return Err(wrong(format!("{place}.value"), "every choice has a value of its own"));
        }
        if let Some(key) = choice.key
            && (!matches!(key, '0'..='9' | '*' | '#') || !keys.insert(key))
        {
            return Err(wrong(format!("{place}.key"), "every key is 0 to 9, * or #, and means one choice"));
        }
        if choice.phrases.is_empty() && choice.key.is_none() {
            return Err(wrong(place, "it can be chosen neither by a phrase nor by a key"));
        }
        for (at, phrase) in choice.phrases.iter().enumerate() {
            let place = format!("{place}.phrases[{at}]");
            too_much(&place, phrase.len(), LONGEST_PHRASE, "bytes")?;
            let words = lex::tokens(phrase, None).unwrap_or_default();
            too_much(&place, words.len(), MOST_WORDS, "words")?;
            if words.is_empty() {
                return Err(wrong(place, "there is no word in it"));
            }
            let words: Vec<String> = words.into_iter().map(|token| token.text).collect();
            if let Some(other) = phrases.insert(words, index)
                && other != index
            {
                return Err(wrong(place, format!("choices[{other}] has the same phrase: it would mean neither")));
            }
        }
        too_much(&place, choice.pronunciations.len(), MOST_PRONUNCIATIONS, "pronunciations")?;
        for (word, sounds) in &choice.pronunciations {
            let place = format!("{place}.pronunciations[{word:?}]");
            too_much(&place, word.len() + sounds.len(), LONGEST_PHRASE, "bytes")?;
            if !said(word) {
                return Err(wrong(place, "a word is written in small letters, a to z"));
            }
            if let Some(unknown) = sounds.split(' ').find(|sound| !PHONES.contains(sound)) {
                return Err(wrong(
                    place,
                    format!("{unknown:?} is no sound of ARPABET without stress: {}", PHONES.join(" ")),
                ));
            }
        }
    }
    Ok(())
}

fn in_order<N: PartialOrd + std::fmt::Display>(place: &str, min: N, max: N) -> Result<(), GrammarError> {
    if min > max { Err(wrong(place, format!("nothing is at least {min} and at most {max}"))) } else { Ok(()) }
}

fn no_greater(place: &str, max: u32) -> Result<(), GrammarError> {
    if max > GREATEST { Err(wrong(place, format!("{max} is more than {GREATEST}"))) } else { Ok(()) }
}

fn wrong(place: impl Into<String>, why: impl Into<String>) -> GrammarError {
    GrammarError::Wrong { place: place.into(), why: why.into() }
}

fn too_much(place: &str, many: usize, limit: usize, of: &'static str) -> Result<(), GrammarError> {
    if many > limit { Err(GrammarError::TooMuch { place: place.to_owned(), limit, of }) } else { Ok(()) }
}
