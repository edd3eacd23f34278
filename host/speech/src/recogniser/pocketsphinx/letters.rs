//! How words are pronounced that are in no dictionary: names, mostly.
//!
//! espeak-ng writes them in the phonetic alphabet, as its American voice says
//! them, and its sounds are made those of the acoustic model. What a script
//! knows better it says with its grammar.

use super::dictionary::is_pronunciation;
use crate::process::Program;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Words that one run of the program is asked for.
const BATCH: usize = 64;
/// Bytes of a word that is looked at.
const MAX_WORD: usize = 64;
/// Words that are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// What the program may print for a batch.
const MAX_PRINTED: usize = 64 << 10;
/// A batch takes 25 ms.
const LIMIT: Duration = Duration::from_secs(5);

/// Sounds of espeak-ng's American voice, the longest first where one begins with another, and the model's phones.
#[rustfmt::skip]
const SOUNDS: [(&str, &str); 74] = [
    ("aɪɚ", "AY ER"), ("aɪə", "AY AH"), ("tʃ", "CH"), ("dʒ", "JH"), ("eɪ", "EY"), ("aɪ", "AY"), ("aʊ", "AW"),
    ("ɔɪ", "OY"), ("oʊ", "OW"), ("əʊ", "OW"), ("iə", "IY AH"), ("ɪɹ", "IH R"), ("ɛɹ", "EH R"), ("ʊɹ", "UH R"),
    ("ɜːɹ", "ER"), ("ɜː", "ER"), ("ɜ", "ER"), ("ɚ", "ER"), ("ɝ", "ER"), ("ɑː", "AA"), ("ɔː", "AO"), ("oːɹ", "AO R"),
    ("oː", "AO"), ("iː", "IY"), ("uː", "UW"), ("aː", "AA"), ("eː", "EY"), ("yː", "UW"), ("øː", "ER"), ("ɛː", "EH"),
    ("i", "IY"), ("ɪ", "IH"), ("ᵻ", "IH"), ("ɨ", "IH"), ("e", "EY"), ("ɛ", "EH"), ("æ", "AE"), ("a", "AE"),
    ("ɐ", "AH"), ("ʌ", "AH"), ("ə", "AH"), ("ɑ", "AA"), ("ɒ", "AA"), ("ɔ", "AO"), ("o", "OW"), ("ʊ", "UH"),
    ("u", "UW"), ("y", "UW"), ("p", "P"), ("b", "B"), ("t", "T"), ("d", "D"), ("k", "K"), ("ɡ", "G"), ("g", "G"),
    ("f", "F"), ("v", "V"), ("θ", "TH"), ("ð", "DH"), ("s", "S"), ("z", "Z"), ("ʃ", "SH"), ("ʒ", "ZH"), ("h", "HH"),
    ("x", "K"), ("ç", "HH"), ("m", "M"), ("n", "N"), ("ŋ", "NG"), ("l", "L"), ("ɫ", "L"), ("ɹ", "R"), ("r", "R"),
    ("j", "Y"),
];
/// More of them that are rare.
#[rustfmt::skip]
const RARE: [(&str, &str); 12] = [
    ("w", "W"), ("ʍ", "W"), ("ɾ", "T"), ("ʔ", "T"), ("ɬ", "L"), ("ʎ", "L Y"), ("ɲ", "N Y"), ("ɣ", "G"), ("ʁ", "R"),
    ("β", "V"), ("ɕ", "SH"), ("œ", "ER"),
];
/// Under a consonant: it is a syllable of its own (button).
const SYLLABIC: char = '\u{329}';

/// Asks espeak-ng, and remembers.
pub(super) struct Letters {
    program: PathBuf,
    /// Pronunciations by word; none for a word that cannot be pronounced.
    known: Mutex<HashMap<String, Option<String>>>,
}

impl Letters {
    pub(super) fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), known: Mutex::default() }
    }

    /// Pronunciations of these words, in their order; none for those that nobody could say.
    pub(super) async fn pronounce(&self, words: &[String]) -> Vec<Option<String>> {
        let unknown: Vec<String> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            words.iter().filter(|word| is_word(word) && !known.contains_key(*word)).cloned().collect()
        };
        for batch in unknown.chunks(BATCH) {
            self.ask(batch).await;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        words.iter().map(|word| known.get(word).cloned().flatten()).collect()
    }

    async fn ask(&self, words: &[String]) {
        let program = Program { path: &self.program, engine: "espeak-ng", remedy: "`apt-get install espeak-ng`" };
        // A blank line ends a sentence, and each sentence is printed on a line of its own.
        let text = words.join("\n\n");
        let printed = match program.capture(&["-q", "--ipa", "-v", "en-us", "--", &text], LIMIT, MAX_PRINTED).await {
            Ok(printed) => printed,
            Err(error) => {
                // Not remembered: it may be there the next time.
                tracing::warn!(code = error.code(), %error, "espeak-ng did not tell how words are pronounced");
                return;
            }
        };
        let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + words.len() > MAX_REMEMBERED {
            known.clear();
        }
        // One line more or fewer, and nobody knows which is whose.
        let fits = lines.len() == words.len();
        for (place, word) in words.iter().enumerate() {
            known.insert(word.clone(), lines.get(place).filter(|_| fits).and_then(|line| phones(line)));
        }
    }
}

/// Whether this may be given to the program: letters, and what may stand between them.
fn is_word(word: &str) -> bool {
    word.len() <= MAX_WORD
        && word.starts_with(char::is_alphanumeric)
        && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '\'' | '-' | '.'))
}

/// The model's phones for a word in the phonetic alphabet; none where a sound is unknown.
fn phones(ipa: &str) -> Option<String> {
    let mut rest = ipa;
    let mut phones: Vec<&str> = Vec::new();
    while let Some(first) = rest.chars().next() {
        let found = SOUNDS.iter().chain(&RARE).find(|(sound, _)| rest.starts_with(sound));
        if let Some((sound, ours)) = found {
            rest = &rest[sound.len()..];
            if rest.starts_with(SYLLABIC) {
                phones.push("AH");
            }
            phones.extend(ours.split(' '));
        } else if matches!(
            first,
            'ˈ' | 'ˌ' | 'ː' | SYLLABIC | '\u{303}' | '\u{32a}' | '\u{200d}' | '-' | '_' | ' ' | 'ʲ' | '.'
        ) {
            rest = &rest[first.len_utf8()..];
        } else {
            return None;
        }
    }
    let phones = phones.join(" ");
    is_pronunciation(&phones).then_some(phones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_become_phones() {
        for (ipa, ours) in [
            ("kˈækzmɛɹk", Some("K AE K Z M EH R K")),
            ("θjʊɹɹˈɪŋɡiə", Some("TH Y UH R R IH NG G IY AH")),
            ("bˈʌʔn̩", Some("B AH T AH N")),
            ("bˈʌɾɚ", Some("B AH T ER")),
            ("tʃˈɑːɹ", Some("CH AA R")),
            ("fˈaɪɚ", Some("F AY ER")),
            ("zˈuːɹɪtʃ", Some("Z UW R IH CH")),
            ("", None),
            ("(en)x", None),
            ("ǃa", None),
        ] {
            assert_eq!(phones(ipa).as_deref(), ours, "{ipa}");
        }
    }

    #[test]
    fn a_longer_sound_goes_before_one_it_begins_with() {
        let all: Vec<&str> = SOUNDS.iter().chain(&RARE).map(|(sound, _)| *sound).collect();
        for (place, sound) in all.iter().enumerate() {
            let hides = all[..place].iter().find(|before| sound.starts_with(**before));
            assert_eq!(hides, None, "{sound} is never found");
        }
        for (_, ours) in SOUNDS.iter().chain(&RARE) {
            assert!(is_pronunciation(ours), "{ours}");
        }
    }

    #[test]
    fn only_words_are_asked_for() {
        for (word, is) in
            [("kaczmarek", true), ("o'clock", true), ("zürich", true), ("-v", false), ("a b", false), ("", false)]
        {
            assert_eq!(is_word(word), is, "{word}");
        }
        assert!(!is_word("[[a"));
    }
}
