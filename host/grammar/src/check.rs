//! Whether a grammar makes sense.

use crate::{Grammar, GrammarError};

impl Grammar {
    /// Whether it can be used to listen in these languages (BCP 47 tags).
    ///
    /// # Errors
    /// The first thing that is wrong, and its place: `choices[2].phrases[0]`.
    pub fn check<L: AsRef<str>>(&self, languages: &[L]) -> Result<(), GrammarError> {
        let _ = languages;
        Ok(())
    }
}
