//! What the server answers where there is no engine behind it, from a YAML or
//! JSON file.
//!
//! ```yaml
//! answers:                       # of the model; the first that fits
//!   - when: "appointment|book"   # a pattern in the caller's last words, in any case
//!     says: "Of course. For which day?"
//!     tokens_per_second: 20
//!   - when: tomorrow
//!     calls:
//!       - { name: find_slot, arguments: { day: tomorrow } }
//!   - after: find_slot           # its result came last
//!     says: "Ten o'clock is free. Shall I book it?"
//!   - when: weather
//!     fails: { status: 503 }     # or closes, stalls, rubbish, endless
//!   - says: "I did not get that." # without `when` and `after`: everything
//! transcripts:                   # of callers, one after the other, the last for ever
//!   - { text: "yes please", confidence: 0.93 }
//! ```

use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

/// What the server answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// What the model says: the first whose conditions hold. Where none does, it repeats what it was told.
    pub answers: Vec<Answer>,
    /// What callers say where no engine listens: the first utterance the first of these, and so on; the last for all
    /// others.
    pub transcripts: Vec<Transcript>,
}

/// What a caller is taken to have said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transcript {
    /// The words.
    pub text: String,
    /// From 0 to 1; none for protocols that have none.
    pub confidence: Option<f32>,
}

/// One answer of the model, and when it is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// A pattern in the last words of the user, which have to be what came last.
    pub when: Option<Pattern>,
    /// The tool whose result has to be what came last.
    pub after: Option<String>,
    /// The model that has to be asked.
    pub model: Option<String>,
    /// What it says.
    pub says: String,
    /// The tools it calls, after what it says.
    pub calls: Vec<Call>,
    /// How fast words come; all at once where it is not given.
    pub tokens_per_second: Option<f64>,
    /// How long it thinks.
    pub first_token_ms: u64,
    /// What goes wrong.
    pub fails: Option<Failure>,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments, an object as a rule.
    #[serde(default)]
    pub arguments: Value,
}

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// This status of HTTP instead of an answer.
    Status(u16),
    /// The connection ends in the middle.
    Closes,
    /// Nothing comes any more from the middle on.
    Stalls,
    /// What comes in the middle is no JSON.
    Rubbish,
    /// It never stops talking.
    Endless,
}

/// A regular expression, in any case of letters.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    fn found_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pattern = RegexBuilder::new(&text).case_insensitive(true).build();
        pattern.map(Self).map_err(|error| serde::de::Error::custom(format!("no pattern: {error}")))
    }
}

/// A file that is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the script cannot be read: {0}")]
pub struct ScriptError(String);

impl Script {
    /// Reads YAML or JSON.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        serde_saphyr::from_str(text).map_err(|error| ScriptError(error.to_string()))
    }

    /// The answer to what came last: words of the user, or the result of a tool.
    pub(crate) fn answer(&self, model: &str, last: &Last<'_>) -> Answer {
        let fits = |answer: &&Answer| {
            answer.model.as_deref().is_none_or(|named| named == model)
                && match (&answer.when, &answer.after, last) {
                    (None, None, _) => true,
                    (Some(when), None, Last::User(text)) => when.found_in(text),
                    (None, Some(after), Last::Tool { name, .. }) => after == name,
                    (Some(when), Some(after), Last::Tool { name, result }) => after == name && when.found_in(result),
                    _ => false,
                }
        };
        self.answers.iter().find(fits).cloned().unwrap_or_else(|| {
            let says = match last {
                Last::User(text) => format!("You said: {text}"),
                Last::Tool { name, result } => format!("{name} says: {result}"),
            };
            Answer { says, ..Answer::default() }
        })
    }
}

/// What came last in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Last<'a> {
    User(&'a str),
    Tool { name: &'a str, result: &'a str },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const SCRIPT: &str = r#"
answers:
  - when: "appointment|book"
    says: Of course.
    tokens_per_second: 20
  - when: tomorrow
    calls:
      - { name: find_slot, arguments: { day: tomorrow } }
  - { after: find_slot, when: "nothing", says: No. }
  - { after: find_slot, says: Ten. }
  - { when: weather, fails: { status: 503 } }
  - { when: news, model: small, fails: closes }
"#;

    #[test]
    fn the_first_that_fits_answers() {
        let script = Script::parse(SCRIPT).unwrap();
        let says = |last| script.answer("big", &last).says;
        assert_eq!(says(Last::User("I'd like to BOOK")), "Of course.");
        assert_eq!(says(Last::Tool { name: "find_slot", result: "ten" }), "Ten.");
        assert_eq!(says(Last::Tool { name: "find_slot", result: "nothing" }), "No.");
        assert_eq!(says(Last::Tool { name: "other", result: "x" }), "other says: x");
        assert_eq!(says(Last::User("hello")), "You said: hello");
        assert_eq!(says(Last::User("the news")), "You said: the news");
        assert_eq!(script.answer("small", &Last::User("the news")).fails, Some(Failure::Closes));
        assert_eq!(script.answer("big", &Last::User("weather")).fails, Some(Failure::Status(503)));
        let call = &script.answer("big", &Last::User("tomorrow")).calls[0];
        assert_eq!((call.name.as_str(), &call.arguments["day"]), ("find_slot", &Value::from("tomorrow")));
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        for (text, said) in [
            ("answers: [{ says: x, whenn: y }]", "whenn"),
            ("answers: [{ when: \"(\" }]", "no pattern"),
            ("answers: [{ fails: sometimes }]", "sometimes"),
            ("[", ""),
        ] {
            let error = Script::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("the script cannot be read") && error.contains(said), "{text}: {error}");
        }
        assert!(Script::parse(r#"{"answers": [{"says": "as JSON"}]}"#).is_ok());
    }
}
