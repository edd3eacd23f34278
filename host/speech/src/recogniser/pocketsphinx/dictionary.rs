//! How English words are pronounced, from the dictionary of the model.
//!
//! The whole of it has 134,000 words, of which a grammar needs a handful: a
//! decoder with all of them takes 24 MB and a tenth of a second to make. So it
//! is read once here, and each recognition gets the words of its grammar.

use std::io;
use std::path::Path;

/// The phones of the model `en-us`.
pub(super) const PHONES: [&str; 39] = [
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
];
/// Bytes of a dictionary: ten times what Debian's has.
const MAX_BYTES: u64 = 32 << 20;
/// Phones of one word.
const MAX_PHONES: usize = 64;

/// A pronouncing dictionary.
#[derive(Debug)]
pub(super) struct Dictionary {
    text: String,
    /// Where the lines begin, in the order of their words; the alternatives of a word in the order of the file.
    lines: Vec<u32>,
}

impl Dictionary {
    /// Reads a dictionary of the CMU format: a word, its phones; `word(2)` is another way to say it.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let length = std::fs::metadata(path)?.len();
        if length > MAX_BYTES {
            return Err(io::Error::other(format!("{length} bytes are no dictionary")));
        }
        Ok(Self::parse(std::fs::read_to_string(path)?))
    }

    fn parse(text: String) -> Self {
        let mut lines: Vec<(&str, u32)> = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if let (Ok(start), Some((word, _))) = (u32::try_from(at), entry(line)) {
                lines.push((word, start));
            }
            at += line.len();
        }
        // Stable: alternatives keep their order.
        lines.sort_by_key(|&(word, _)| word);
        let lines = lines.into_iter().map(|(_, at)| at).collect();
        Self { text, lines }
    }

    /// The ways to say a word, the usual one first; none for a word that is not in the dictionary.
    pub(super) fn pronunciations(&self, word: &str) -> Vec<String> {
        let entry_at = |at: u32| entry(&self.text[at as usize..]).unwrap_or_default();
        let first = self.lines.partition_point(|&at| entry_at(at).0 < word);
        let same = self.lines[first..].iter().map(|&at| entry_at(at)).take_while(|(name, _)| *name == word);
        same.map(|(_, phones)| phones.to_owned()).filter(|phones| is_pronunciation(phones)).collect()
    }

    /// How many entries it has.
    pub(super) const fn len(&self) -> usize {
        self.lines.len()
    }
}

/// The word and the phones of the line that this begins with.
fn entry(text: &str) -> Option<(&str, &str)> {
    let line = text.split('\n').next().unwrap_or_default();
    let (word, phones) = line.split_once(' ').or_else(|| line.split_once('\t'))?;
    // `read(2)`; a parenthesis at the beginning is a word of its own.
    let word = match word.strip_suffix(')').and_then(|word| word.rsplit_once('(')) {
        Some((word, number)) if !word.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => word,
        _ => word,
    };
    (!word.is_empty()).then(|| (word, phones.trim()))
}

/// Whether these are phones of the model, with a space between them.
pub(super) fn is_pronunciation(phones: &str) -> bool {
    let count = phones.split(' ').count();
    (1..=MAX_PHONES).contains(&count) && phones.split(' ').all(|phone| PHONES.contains(&phone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_way_to_say_a_word() {
        let text = "zero Z IH R OW\n'bout B AW T\nread R EH D\nreader R IY D ER\nread(2) R IY D\nzero(2) Z IY R OW\n(paren P ER EH N\nbad XX YY\n\nx\n";
        let dictionary = Dictionary::parse(text.to_owned());
        for (word, ways) in [
            ("read", &["R EH D", "R IY D"][..]),
            ("zero", &["Z IH R OW", "Z IY R OW"]),
            ("reader", &["R IY D ER"]),
            ("'bout", &["B AW T"]),
            ("(paren", &["P ER EH N"]),
            ("rea", &[]),
            ("zz", &[]),
            ("", &[]),
            ("bad", &[]),
        ] {
            assert_eq!(dictionary.pronunciations(word), ways, "{word}");
        }
        assert_eq!(Dictionary::parse(String::new()).pronunciations("a"), [""; 0]);
    }

    #[test]
    fn knows_what_a_pronunciation_is() {
        for (phones, is) in
            [("K AO L", true), ("ZH", true), ("", false), ("K  AO", false), ("k", false), ("AH0", false)]
        {
            assert_eq!(is_pronunciation(phones), is, "{phones:?}");
        }
        assert!(!is_pronunciation(&["K"; 65].join(" ")));
    }
}
