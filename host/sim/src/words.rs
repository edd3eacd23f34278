//! Words and how long they take to say: every word the same, so that anybody can count when a prompt is over.

use callbox_dialogue::engine::is_wide;
use callbox_dialogue::time::Millis;

/// What a word takes, in thousandths of a word.
const WORD: u64 = 1_000;
/// What a character takes that is a word of its own: 270 of them are said while 160 words are.
const CHARACTER: u64 = 593;

/// A word of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Where it ends, in bytes of the text; the punctuation behind it belongs to it.
    pub(crate) end: usize,
    /// What it takes, in thousandths of a word.
    weight: u64,
}

/// The words of a text, in order. What has neither letters nor digits takes no time.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    // Whether the next letter goes on with the last word.
    let mut inside = false;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if c.is_whitespace() {
            inside = false;
        } else if is_wide(c) {
            words.push(Word { end, weight: CHARACTER });
            inside = false;
        } else if c.is_alphanumeric() && !inside {
            words.push(Word { end, weight: WORD });
            inside = true;
        } else if let Some(last) = words.last_mut() {
            last.end = end;
        }
    }
    words
}

/// How long a text takes to say, at so many words a minute.
#[must_use]
pub fn spoken(text: &str, rate: u16) -> Millis {
    let mut pace = Pace::new(rate);
    words(text).into_iter().map(|word| pace.say(word)).last().unwrap_or(0)
}

/// A length that is counted in words first, so that nothing is lost by rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Thousandths of a word so far.
    said: u64,
    /// Words a minute.
    rate: u64,
}

impl Pace {
    pub(crate) fn new(rate: u16) -> Self {
        Self { said: 0, rate: u64::from(rate.max(1)) }
    }

    /// Says a word; how long everything up to its end takes.
    pub(crate) fn say(&mut self, word: Word) -> Millis {
        self.said = self.said.saturating_add(word.weight);
        Millis::try_from(self.said.saturating_mul(60) / self.rate).unwrap_or(Millis::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(text: &str) -> Vec<&str> {
        words(text).iter().map(|word| &text[..word.end]).collect()
    }

    #[test]
    fn words_end_behind_their_punctuation() {
        assert_eq!(ends("Good morning, all."), ["Good", "Good morning,", "Good morning, all."]);
        assert_eq!(ends("uh-huh – it's 4:30"), ["uh-huh –", "uh-huh – it's", "uh-huh – it's 4:30"]);
        assert_eq!(ends("早上好，ok"), ["早", "早上", "早上好，", "早上好，ok"]);
        assert_eq!(ends(" … "), Vec::<&str>::new());
    }

    #[test]
    fn a_word_takes_what_the_rate_says() {
        assert_eq!(spoken("one two three four", 160), 1_500);
        assert_eq!(spoken("one two three", 180), 1_000);
        assert_eq!(spoken("早上好", 160), 667);
        assert_eq!(spoken("", 160), 0);
        assert_eq!(spoken("one", 0), 60_000, "a rate of nothing is a word a minute");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn words_end_at_characters_and_in_order(text in "\\PC{0,60}") {
            let words = words(&text);
            prop_assert!(words.iter().all(|word| text.is_char_boundary(word.end) && word.end <= text.len()));
            prop_assert!(words.windows(2).all(|pair| pair[0].end < pair[1].end));
        }
    }
}
