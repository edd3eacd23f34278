//! From words and keys to what they mean.

use crate::{Answer, Grammar};
use jiff::civil::Date;
use serde_json::{Value, json};

/// What words are under a grammar.
#[derive(Clone, Debug, PartialEq)]
pub enum Understanding {
    /// No answer, and no beginning of one.
    Nothing,
    /// The beginning of an answer: "the third of".
    Begun,
    /// An answer.
    Whole {
        /// What it means; [`Grammar`] has the shapes.
        value: Value,
        /// More words may change it: "twenty" may become "twenty one", a PIN of four digits may not become anything.
        may_go_on: bool,
    },
}

impl Grammar {
    /// What `text` means to somebody who was asked for this, in `language` (a BCP 47 tag), on the day `today`. Never
    /// fails: what cannot be understood is [`Nothing`](Understanding::Nothing).
    ///
    /// Whatever is said on the way to an answer is [`Begun`](Understanding::Begun) or
    /// [`Whole`](Understanding::Whole), word by word.
    #[must_use]
    pub fn understand(&self, text: &str, language: &str, today: Date) -> Understanding {
        let _ = (language, today);
        let said = text.trim().to_lowercase();
        if said.is_empty() {
            return Understanding::Nothing;
        }
        match &self.answer {
            Answer::Text => Understanding::Whole { value: json!({ "text": text.trim() }), may_go_on: true },
            Answer::Choices { choices } => {
                let fits = |phrase: &String| phrase.to_lowercase() == said;
                match choices.iter().find(|choice| choice.phrases.iter().any(fits)) {
                    Some(choice) => Understanding::Whole { value: json!({ "choice": choice.value }), may_go_on: false },
                    None => Understanding::Nothing,
                }
            }
            _ => Understanding::Nothing,
        }
    }

    /// What these keys mean to somebody who was asked for this. `language` says whether the month goes before the
    /// day.
    #[must_use]
    pub fn understand_keys(&self, keys: &str, language: &str, today: Date) -> Option<Value> {
        let _ = (language, today);
        match &self.answer {
            Answer::Choices { choices } => {
                let choice = choices.iter().find(|choice| choice.key.is_some_and(|key| keys == key.to_string()))?;
                Some(json!({ "choice": choice.value }))
            }
            _ => None,
        }
    }
}
