//! Bodies of the fuzz targets: what must hold for any bytes at all. `fuzz/fuzz_targets` feeds them from libFuzzer,
//! `tests/fuzz_corpus.rs` from the corpora and their mutations.

#![allow(clippy::panic, reason = "a broken promise is what a fuzzer looks for")]

use crate::{Answer, Grammar, Towards, Understanding, Universal};
use jiff::civil::{date, time};

const LANGUAGES: [&str; 7] = ["en", "en-US", "zh-CN", "de", "es", "fr", "xx"];

/// A grammar as JSON: read or refused. What is read survives being written; what is checked has sentences that it
/// understands, and only words that are listed.
pub fn json(data: &[u8]) {
    let Ok(grammar) = Grammar::read(&String::from_utf8_lossy(data)) else { return };
    match serde_json::to_string(&grammar).map(|json| Grammar::read(&json)) {
        Ok(Ok(again)) => assert_eq!(again, grammar),
        other => panic!("what was read cannot be written: {other:?}"),
    }
    if grammar.check(&["en"]).is_err() {
        assert!(grammar.jsgf("en").is_err(), "a grammar that is wrong became one");
        return;
    }
    let mut state = data.len();
    let mut draw = |of: usize| {
        state = state.wrapping_mul(31).wrapping_add(17);
        (state >> 3) % of.max(1)
    };
    if let (Ok(jsgf), Ok(sentence)) = (grammar.jsgf("en"), grammar.sentence("en", true, &mut draw)) {
        let unlisted = sentence.split_whitespace().find(|word| !jsgf.words.contains(*word));
        assert_eq!(unlisted, None, "of {sentence:?}");
    }
    let _ = grammar.understand("yes, number two on the third of May at 14:30", "en", date(2026, 11, 21));
}

/// What somebody says to a question that the first two bytes choose: the same twice, and nothing at all only where it
/// has no words.
pub fn words(data: &[u8]) {
    let [question, language, rest @ ..] = data else { return };
    let answer = match question % 8 {
        0 => Answer::YesNo,
        1 => Answer::Digits { min: 1, max: 1 + question / 8 },
        2 => Answer::Number { min: 0, max: 10u32.saturating_pow(u32::from(question / 8) % 9) },
        3 => Answer::Amount { currency: "EUR".into(), max: 10_000 },
        4 => Answer::Date { towards: Towards::Past },
        5 => Answer::Time { from: time(7, 0, 0, 0) },
        6 => Answer::Phone { country: "DE".into() },
        _ => Answer::Text,
    };
    let text = String::from_utf8_lossy(rest);
    let language = LANGUAGES[usize::from(*language) % LANGUAGES.len()];
    let grammar = Grammar { answer, universals: Universal::ALL.to_vec() };
    let today = date(2026, 11, 21);
    let understood = grammar.understand(&text, language, today);
    assert_eq!(understood, grammar.understand(&text, language, today));
    if let Understanding::Whole { value, .. } = understood {
        assert!(value.as_object().is_some_and(|meaning| !meaning.is_empty() && meaning.len() <= 2));
    }
    if let Some(value) = grammar.understand_keys(&text, language, today) {
        assert!(value.is_object());
    }
}
