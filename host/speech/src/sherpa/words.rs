//! From the tokens of a model to words with their times.

use crate::recogniser::worker::frames::{Said, SaidWord};

/// A word is over so long after its last token began, where no other follows sooner.
const LAST_TOKEN_MS: u32 = 240;

/// A token and where it begins, in milliseconds; models that do not tell have no times.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) at: Option<u32>,
}

/// What was said. `language` is as the model tells it: `<|zh|>`.
pub(super) fn said(text: &str, tokens: &[Token], language: &str) -> Said {
    let text = text.trim();
    // Some models know no small letters.
    let shouted = text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase);
    let plain = |text: &str| if shouted { text.to_lowercase() } else { text.to_owned() };
    let mut words = words(tokens);
    for word in &mut words {
        word.text = plain(&word.text);
    }
    let language = language.trim_start_matches("<|").trim_end_matches("|>").trim();
    let language = (!language.is_empty() && language != "auto" && language != "nospeech").then(|| language.to_owned());
    Said { text: plain(text), confidence: None, words, language }
}

/// The words; none where the tokens have no times.
fn words(tokens: &[Token]) -> Vec<SaidWord> {
    // Either a mark begins each word, or one (`@@`) ends each piece that is not the last of its word.
    let marked = tokens.iter().any(|token| token.text.starts_with(begins));
    let mut words: Vec<SaidWord> = Vec::new();
    let mut goes_on = false;
    for token in tokens {
        let Some(at) = token.at else { return Vec::new() };
        let text = token.text.trim_matches(begins);
        let (piece, unfinished) = text.strip_suffix("@@").map_or((text, false), |piece| (piece, true));
        let alone = piece.chars().any(is_hanzi);
        let joins = !alone && if marked { !token.text.starts_with(begins) } else { goes_on };
        match words.last_mut().filter(|last| joins && !last.text.chars().any(is_hanzi)) {
            Some(last) => {
                last.text.push_str(piece);
                last.end = at.saturating_add(LAST_TOKEN_MS);
            }
            None if piece.is_empty() => {}
            None => {
                if let Some(last) = words.last_mut() {
                    last.end = last.end.min(at).max(last.start);
                }
                let end = at.saturating_add(LAST_TOKEN_MS);
                words.push(SaidWord { text: piece.to_owned(), start: at, end, confidence: None });
            }
        }
        goes_on = unfinished;
    }
    words
}

/// What marks the beginning of a word.
const fn begins(c: char) -> bool {
    matches!(c, ' ' | '▁')
}

const fn is_hanzi(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(all: &[(&str, u32)]) -> Vec<Token> {
        all.iter().map(|&(text, at)| Token { text: text.to_owned(), at: Some(at) }).collect()
    }

    fn shown(words: &[SaidWord]) -> Vec<(&str, u32, u32)> {
        words.iter().map(|word| (word.text.as_str(), word.start, word.end)).collect()
    }

    #[test]
    fn pieces_become_words() {
        let all = tokens(&[(" HE", 100), ("LLO", 200), (" W", 300), ("ORLD", 700)]);
        let said = said("HELLO WORLD", &all, "");
        assert_eq!(said.text, "hello world");
        assert_eq!(shown(&said.words), [("hello", 100, 300), ("world", 300, 940)]);
        assert_eq!((said.confidence, said.language), (None, None));
    }

    #[test]
    fn characters_are_words_among_others() {
        let all = tokens(&[("你", 100), ("好", 300), ("▁B", 500), ("OB", 600), ("吗", 900)]);
        assert_eq!(
            shown(&said("你好 BOB吗", &all, "").words),
            [("你", 100, 300), ("好", 300, 500), ("bob", 500, 840), ("吗", 900, 1140)]
        );
        let all = tokens(&[("你", 100), ("he@@", 300), ("llo", 500), ("you", 600)]);
        assert_eq!(
            shown(&said("你 hello you", &all, "<|zh|>").words),
            [("你", 100, 300), ("hello", 300, 600), ("you", 600, 840)]
        );
    }

    #[test]
    fn the_language_is_what_the_model_says() {
        for (told, tag) in [("<|zh|>", Some("zh")), ("en", Some("en")), ("", None), ("<|nospeech|>", None)] {
            assert_eq!(said("x", &[], told).language.as_deref(), tag, "{told}");
        }
        let none = [Token { text: "x".to_owned(), at: None }];
        assert_eq!(shown(&said("x", &none, "").words), []);
    }
}
