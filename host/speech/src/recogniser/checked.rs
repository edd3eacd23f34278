//! What engines say, before anybody believes it.
//!
//! Hypotheses come from C libraries and from servers. What passes here has
//! bounded size, no control characters, a confidence from 0 to 1 or none, and
//! words in order. What is broken in a detail loses the detail; what is broken
//! altogether is [`RecogniserError::Rubbish`].

use super::{Hypothesis, RecogniserError, Word};
use callbox_dialogue::time::Millis;

/// Bytes of one hypothesis: minutes of speech.
pub const MAX_TEXT: usize = 8 << 10;
/// Words of one hypothesis.
const MAX_WORDS: usize = 2_000;
/// Hypotheses of one result.
const MAX_ALTERNATIVES: usize = 10;
/// Bytes of a language tag (RFC 5646, section 4.4.1).
const MAX_TAG: usize = 35;

/// A hypothesis as the engine should have given it; none where it has no words.
///
/// # Errors
/// `Rubbish` where it is too long to be speech.
pub fn hypothesis(engine: &str, raw: Hypothesis, asked: &str) -> Result<Option<Hypothesis>, RecogniserError> {
    if raw.text.len() > MAX_TEXT {
        let what = format!("a hypothesis of {} bytes", raw.text.len());
        return Err(RecogniserError::Rubbish { engine: engine.to_owned(), what });
    }
    let text = plain(&raw.text);
    if text.is_empty() {
        return Ok(None);
    }
    let language = if is_tag(&raw.language) { raw.language } else { asked.to_owned() };
    let words = if raw.words.len() <= MAX_WORDS { words(raw.words) } else { Vec::new() };
    Ok(Some(Hypothesis { text, confidence: probability(raw.confidence), language, words }))
}

/// A result as the engine should have given it.
///
/// # Errors
/// `Rubbish` where the best hypothesis is none.
pub fn result(engine: &str, raw: Vec<Hypothesis>, asked: &str) -> Result<Vec<Hypothesis>, RecogniserError> {
    let mut good = Vec::new();
    for (place, raw) in raw.into_iter().take(MAX_ALTERNATIVES).enumerate() {
        match hypothesis(engine, raw, asked) {
            Ok(checked) => good.extend(checked),
            Err(error) if place == 0 => return Err(error),
            Err(_) => {}
        }
    }
    Ok(good)
}

/// The text in one line, without control characters and double spaces.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    plain
}

fn is_tag(tag: &str) -> bool {
    (2..=MAX_TAG).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn probability(raw: Option<f32>) -> Option<f32> {
    raw.filter(|value| value.is_finite()).map(|value| value.clamp(0.0, 1.0))
}

/// The words, or none of them where their times go back.
fn words(raw: Vec<Word>) -> Vec<Word> {
    let mut last: Millis = 0;
    let mut words = Vec::with_capacity(raw.len());
    for word in raw {
        if word.start < last || word.end < word.start {
            return Vec::new();
        }
        last = word.start;
        let text = plain(&word.text);
        if !text.is_empty() && text.len() <= MAX_TEXT {
            words.push(Word { text, confidence: probability(word.confidence), ..word });
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(text: &str) -> Hypothesis {
        Hypothesis { text: text.to_owned(), ..Hypothesis::default() }
    }

    fn word(text: &str, start: Millis, end: Millis) -> Word {
        Word { text: text.to_owned(), start, end, confidence: None }
    }

    #[test]
    fn a_good_one_passes_as_it_is() {
        let good = Hypothesis {
            text: "good morning".to_owned(),
            confidence: Some(0.25),
            language: "en-GB".to_owned(),
            words: vec![word("good", 100, 300), word("morning", 300, 900)],
        };
        assert_eq!(hypothesis("e", good.clone(), "en"), Ok(Some(good)));
    }

    #[test]
    fn broken_details_are_left_out() {
        for (raw, kept) in [(f32::NAN, None), (f32::INFINITY, None), (1.5, Some(1.0)), (-0.5, Some(0.0))] {
            let raw = Hypothesis { confidence: Some(raw), ..said("yes") };
            assert_eq!(hypothesis("e", raw, "en").unwrap().unwrap().confidence, kept);
        }
        let backwards = Hypothesis { words: vec![word("a", 300, 400), word("b", 100, 200)], ..said("a b") };
        assert_eq!(hypothesis("e", backwards, "en").unwrap().unwrap().words, []);
        let tagged = Hypothesis { language: "en\r\nX: y".to_owned(), ..said("yes") };
        assert_eq!(hypothesis("e", tagged, "de").unwrap().unwrap().language, "de");
        assert_eq!(hypothesis("e", said(" yes\0\r\n  please\u{7} "), "en").unwrap().unwrap().text, "yes please");
        assert_eq!(hypothesis("e", said(" \n\0"), "en"), Ok(None));
    }

    #[test]
    fn what_is_no_speech_is_rubbish() {
        let huge = said(&"x".repeat(MAX_TEXT + 1));
        assert_eq!(hypothesis("e", huge.clone(), "en").unwrap_err().code(), "recogniser_rubbish");
        assert_eq!(result("e", vec![huge.clone(), said("yes")], "en").unwrap_err().code(), "recogniser_rubbish");
        let kept = result("e", vec![said("yes"), huge, said("yeah")], "en").unwrap();
        assert_eq!(kept.iter().map(|h| h.text.as_str()).collect::<Vec<_>>(), ["yes", "yeah"]);
        assert_eq!(result("e", vec![said("yes"); 1_000], "en").unwrap().len(), MAX_ALTERNATIVES);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded(
            text in "\\PC{0,40}|[\\x00-\\x20]{0,40}", language in ".{0,40}", confidence in prop::option::of(any::<f32>()),
            words in prop::collection::vec(("\\PC{0,9}", any::<Millis>(), any::<Millis>(), prop::option::of(any::<f32>())), 0..9),
        ) {
            let words = words.into_iter().map(|(text, start, end, confidence)| Word { text, start, end, confidence });
            let raw = Hypothesis { text, confidence, language, words: words.collect() };
            if let Some(checked) = hypothesis("e", raw, "en").unwrap() {
                prop_assert!(!checked.text.is_empty() && !checked.text.contains(char::is_control));
                prop_assert!(checked.confidence.is_none_or(|value| (0.0..=1.0).contains(&value)));
                prop_assert!(is_tag(&checked.language));
                prop_assert!(checked.words.iter().all(|word| word.start <= word.end));
                prop_assert!(checked.words.is_sorted_by_key(|word| word.start));
                let again = hypothesis("e", checked.clone(), "en").unwrap();
                prop_assert_eq!(again, Some(checked));
            }
        }
    }
}
