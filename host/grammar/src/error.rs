//! What is wrong with a grammar.

/// Why a grammar cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrammarError {
    /// It is not the JSON of a grammar.
    #[error("not a grammar: {0}")]
    Json(String),
    /// Something is longer or more than it may be.
    #[error("{place}: at most {limit} {of}")]
    TooMuch {
        /// Where: `choices[2].phrases`.
        place: String,
        /// How many are allowed.
        limit: usize,
        /// Of what: `bytes`, `choices`.
        of: &'static str,
    },
    /// Something has no sense as it is.
    #[error("{place}: {why}")]
    Wrong {
        /// Where: `choices[2].phrases[0]`.
        place: String,
        /// Why, and what to write instead.
        why: String,
    },
    /// There are no words for this in that language.
    #[error("there are no words for {what} in the language {language:?}; there are in en, zh, de, es and fr")]
    Language {
        /// The BCP 47 tag.
        language: String,
        /// The kind of answer, or the universal.
        what: &'static str,
    },
    /// There are no sentences to tell a recogniser beforehand.
    #[error("{what} cannot be written as a closed grammar in the language {language:?}: {why}")]
    NoSentences {
        /// The BCP 47 tag.
        language: String,
        /// The kind of answer.
        what: &'static str,
        /// Why, and what to use instead.
        why: &'static str,
    },
}
