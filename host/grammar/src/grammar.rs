//! What is asked for.

use crate::GrammarError;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of the longest JSON that [`Grammar::read`] takes.
const LONGEST_JSON: usize = 512 * 1024;

/// What may be answered. As JSON:
///
/// ```
/// # use callbox_grammar::{Grammar, Answer};
/// let menu = r#"{
///   "answer": {"kind": "choices", "choices": [
///     {"value": "book", "phrases": ["book", "make an appointment"], "key": "1"},
///     {"value": "cancel", "phrases": ["cancel", "call it off"], "key": "2"}
///   ]},
///   "universals": ["repeat", "help", "operator"]
/// }"#;
/// let pin = r#"{"answer": {"kind": "digits", "min": 4, "max": 4}}"#;
/// for json in [menu, pin] {
///     let grammar = Grammar::read(json)?;
///     grammar.check(&["en"])?;
///     assert_eq!(Grammar::read(&serde_json::to_string(&grammar).unwrap())?, grammar);
/// }
/// # Ok::<(), callbox_grammar::GrammarError>(())
/// ```
///
/// What an answer means is JSON too:
///
/// | kind | fields | meaning |
/// |---|---|---|
/// | `choices` | `choices` | `{"choice": "book"}` |
/// | `yes-no` | | `{"yes": true}` |
/// | `digits` | `min`, `max` | `{"digits": "1234"}` |
/// | `number` | `min`, `max` | `{"number": 12}` |
/// | `amount` | `currency`, `max` | `{"amount": "12.50", "currency": "EUR"}` |
/// | `date` | `towards` | `{"date": "2026-12-01"}` |
/// | `time` | `from` | `{"time": "14:30"}` |
/// | `phone` | `country` | `{"phone": "+493012345"}` |
/// | `text` | | `{"text": "…"}` |
/// | a universal | | `{"universal": "repeat"}` |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grammar {
    /// What is asked for.
    pub answer: Answer,
    /// What may be said at any time, besides. An answer of the same words goes before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub universals: Vec<Universal>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// One of several. The words around a phrase do not matter ("uh, the second one please"), nor do case, accents
    /// and articles; "the second" and "the last one" mean a place in the list. What fits two choices is no answer.
    Choices {
        /// 1 to 500 of them.
        choices: Vec<Choice>,
    },
    /// Yes or no, in the many words there are for it. By keys: 1 and 2.
    YesNo,
    /// So many digits, one by one or in groups: "four seven double one", "forty-seven eleven", "4711".
    Digits {
        /// The fewest, at least 1.
        min: u8,
        /// The most, at most 32. Where it is the fewest too, an answer is complete with its last digit.
        max: u8,
    },
    /// A number: "two hundred and five", "205".
    Number {
        /// The least.
        min: u32,
        /// The greatest, at most 999,999,999.
        max: u32,
    },
    /// An amount of money: "twelve fifty", "twelve euros and fifty cents", "12.50 €". By keys, `*` is the point.
    Amount {
        /// The currency where none is said (ISO 4217): AUD, CAD, CHF, CNY, EUR, GBP, HKD, JPY, NZD, SGD, TWD, USD.
        currency: String,
        /// The most, in whole units; at most 999,999,999.
        #[serde(default = "million")]
        max: u32,
    },
    /// A day: "tomorrow", "next Monday", "the third of May", "in two weeks". By keys: day and month, two each (the
    /// month first in the United States), and the year of four where it matters.
    Date {
        /// Where a day without a year, or a weekday, lies.
        #[serde(default)]
        towards: Towards,
    },
    /// A time of day: "half past two", "quarter to nine in the evening", "14:30". By keys: hours and minutes.
    Time {
        /// The beginning of the twelve hours that are meant by who says neither morning nor afternoon: with 07:00,
        /// "seven" is the morning and "half past six" the evening.
        #[serde(default = "seven")]
        from: Time,
    },
    /// A telephone number, as it is dialled in that country, or with a plus.
    Phone {
        /// ISO 3166, two letters: `DE`.
        country: String,
    },
    /// Anything. It takes a recogniser that can write down free speech.
    Text,
}

/// One of several things to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// What it is called in the answer; its own and no other's.
    pub value: String,
    /// The ways to say it, in any of the languages that are listened for.
    #[serde(default)]
    pub phrases: Vec<String>,
    /// The key that means it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<char>,
    /// How words of the phrases are pronounced, for recognisers that have a dictionary and do not find them there:
    /// the word, lower case, and its sounds in ARPABET without stress: `"callbox": "K AO L B AA K S"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pronunciations: BTreeMap<String, String>,
}

/// On which side of today a day is looked for that was not said in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Towards {
    /// Ahead: appointments.
    #[default]
    Future,
    /// Behind: birthdays, what happened.
    Past,
}

/// What may be said whatever is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Universal {
    /// "Say that again."
    Repeat,
    /// "Help", "what can I say?"
    Help,
    /// "I want to talk to somebody."
    Operator,
}

impl Universal {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Repeat, Self::Help, Self::Operator];

    /// As it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Repeat => "repeat",
            Self::Help => "help",
            Self::Operator => "operator",
        }
    }
}

impl Grammar {
    /// What that answer is expected, without universals.
    #[must_use]
    pub const fn new(answer: Answer) -> Self {
        Self { answer, universals: Vec::new() }
    }

    /// Reads one from JSON. Whether it makes sense, [`check`](Self::check) says.
    ///
    /// # Errors
    /// [`GrammarError::Json`], with what is wrong in which line.
    pub fn read(json: &str) -> Result<Self, GrammarError> {
        if json.len() > LONGEST_JSON {
            return Err(GrammarError::TooMuch { place: "the grammar".into(), limit: LONGEST_JSON, of: "bytes" });
        }
        serde_json::from_str(json).map_err(|error| GrammarError::Json(error.to_string()))
    }
}

impl Answer {
    /// As it stands in JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Choices { .. } => "choices",
            Self::YesNo => "yes-no",
            Self::Digits { .. } => "digits",
            Self::Number { .. } => "number",
            Self::Amount { .. } => "amount",
            Self::Date { .. } => "date",
            Self::Time { .. } => "time",
            Self::Phone { .. } => "phone",
            Self::Text => "text",
        }
    }
}

const fn million() -> u32 {
    999_999
}

const fn seven() -> Time {
    Time::constant(7, 0, 0, 0)
}
