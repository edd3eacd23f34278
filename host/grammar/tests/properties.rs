//! What holds for every sentence, every grammar and every text.

use callbox_grammar::{Answer, Choice, Grammar, Towards, Understanding, Universal};
use jiff::civil::{Date, date, time};
use proptest::prelude::*;
use std::collections::BTreeSet;

const TODAY: Date = date(2026, 11, 21);

/// Random numbers that repeat: what a sentence is drawn with.
fn drawing(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed | 1;
    move |of| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % of.max(1)
    }
}

fn choices() -> impl Strategy<Value = Answer> {
    let phrase = "[a-z]{2,6}( (the )?[a-z]{2,6}){0,3}|[0-9]{1,3} [a-z]{3,5}|预约|取消 吧";
    let key = prop::option::of(0..10u8);
    prop::collection::btree_map("[a-z]{3}", (prop::collection::vec(phrase, 1..4), key), 1..6).prop_map(|choices| {
        let (mut phrases_of_others, mut keys) = (BTreeSet::new(), BTreeSet::new());
        let choices = choices.into_iter().map(|(value, (mut phrases, key))| {
            phrases.retain(|phrase| phrases_of_others.insert(phrase.clone()));
            let key = key.map(|key| char::from(b'0' + key)).filter(|key| keys.insert(*key));
            Choice { value, phrases, key, ..Choice::default() }
        });
        Answer::Choices {
            choices: choices.filter(|choice| !choice.phrases.is_empty() || choice.key.is_some()).collect(),
        }
    })
}

fn answers() -> impl Strategy<Value = Answer> {
    let towards = prop::sample::select(vec![Towards::Future, Towards::Past]);
    let currency = prop::sample::select(vec!["EUR", "USD", "CNY", "GBP"]);
    let country = prop::sample::select(vec!["DE", "US", "CN", "GB", "ES", "FR"]);
    let greatest = prop_oneof![0..100u32, 100..2_000u32, 2_000..1_000_000u32, 1_000_000..999_999_999u32];
    prop_oneof![
        choices(),
        Just(Answer::YesNo),
        (1..8u8, 0..4u8).prop_map(|(min, more)| Answer::Digits { min, max: min + more }),
        (greatest.clone(), greatest.clone()).prop_map(|(a, b)| Answer::Number { min: a.min(b), max: a.max(b) }),
        (currency, greatest).prop_map(|(currency, max)| Answer::Amount { currency: currency.into(), max }),
        towards.prop_map(|towards| Answer::Date { towards }),
        (0..24i8).prop_map(|hour| Answer::Time { from: time(hour, 0, 0, 0) }),
        country.prop_map(|country| Answer::Phone { country: country.into() }),
    ]
}

fn language() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["en", "en-US", "zh-CN", "de", "es", "fr"])
}

/// The rules let through what no calendar has, and numbers too short to be dialled: nothing else.
fn may_be_none(answer: &Answer) -> bool {
    matches!(answer, Answer::Date { .. } | Answer::Phone { .. } | Answer::Choices { .. } | Answer::Amount { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// End-pointing waits for what has begun: whatever is said on the way to an answer must look like it.
    #[test]
    fn on_the_way_to_an_answer_everything_has_begun(answer in answers(), language in language(), seed: u64) {
        let grammar = Grammar { answer, universals: vec![Universal::Repeat] };
        prop_assume!(grammar.check(&[language]).is_ok());
        let sentence = grammar.sentence(language, false, &mut drawing(seed)).expect("it was checked");
        let whole = grammar.understand(&sentence, language, TODAY);
        prop_assert!(
            matches!(whole, Understanding::Whole { .. }) || may_be_none(&grammar.answer),
            "{sentence:?} is {whole:?}"
        );
        // A sentence that is nothing in the end, because there is no such day, may have been nothing before.
        prop_assume!(whole != Understanding::Nothing);
        let words: Vec<&str> = sentence.split(' ').collect();
        for length in 1..words.len() {
            let prefix = words[..length].join(" ");
            let understood = grammar.understand(&prefix, language, TODAY);
            prop_assert!(understood != Understanding::Nothing, "{prefix:?} of {sentence:?} is nothing");
        }
    }

    /// What a recogniser is told to listen for is understood, case and sounds between the words notwithstanding.
    #[test]
    fn every_sentence_of_the_jsgf_is_understood(answer in answers(), seed: u64) {
        let grammar = Grammar { answer, universals: Universal::ALL.to_vec() };
        prop_assume!(grammar.check(&["en"]).is_ok());
        let jsgf = grammar.jsgf("en").expect("it was checked");
        let mut draw = drawing(seed);
        let sentence = jsgf_sentence(&jsgf.text, &mut draw);
        for word in sentence.split(' ') {
            prop_assert!(jsgf.words.contains(word), "{word:?} is not among the words");
            prop_assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'\''), "{word:?}");
        }
        let understood = grammar.understand(&sentence, "en", TODAY);
        let whole = matches!(understood, Understanding::Whole { .. });
        prop_assert!(whole || may_be_none(&grammar.answer), "{sentence:?} is {understood:?}");
        let shouted = format!("Uh, {}.", sentence.to_uppercase());
        prop_assert_eq!(grammar.understand(&shouted, "en", TODAY), understood);
    }

    /// Whatever anybody says is taken without a panic, and the same twice.
    #[test]
    fn any_text_is_taken(answer in answers(), language in language(), text in ".{0,60}|[0-9a-z:/., -]{0,40}|([一二三点月号零]|twenty |may |five |the ){0,40}", keys in "[0-9*#]{0,24}") {
        let grammar = Grammar { answer, universals: Universal::ALL.to_vec() };
        let once = grammar.understand(&text, language, TODAY);
        prop_assert_eq!(&once, &grammar.understand(&text, language, TODAY));
        let _ = grammar.understand_keys(&keys, language, TODAY);
        let _ = grammar.check(&[language]);
        for day in [Date::MIN, Date::MAX] {
            let _ = grammar.understand(&text, language, day);
        }
    }

    /// A grammar survives its JSON.
    #[test]
    fn json_keeps_a_grammar(answer in answers()) {
        let grammar = Grammar { answer, universals: vec![Universal::Operator] };
        let json = serde_json::to_string(&grammar).expect("it is plain data");
        prop_assert_eq!(Grammar::read(&json).expect("it was just written"), grammar);
    }
}

/// A sentence of the one rule of a JSGF grammar, read from its text as a recogniser reads it.
fn jsgf_sentence(text: &str, draw: &mut dyn FnMut(usize) -> usize) -> String {
    let rule = text.split_once("public <answer> =").expect("it has a public rule").1;
    let rule = rule.trim().strip_suffix(';').expect("it ends");
    let spaced = rule.chars().flat_map(|c| if "[]()|".contains(c) { vec![' ', c, ' '] } else { vec![c] });
    let spaced: String = spaced.collect();
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let (sentence, at) = alternatives(&tokens, 0, draw);
    assert_eq!(at, tokens.len(), "all of it is read");
    sentence.join(" ")
}

fn alternatives<'a>(tokens: &[&'a str], mut at: usize, draw: &mut dyn FnMut(usize) -> usize) -> (Vec<&'a str>, usize) {
    let mut all = Vec::new();
    loop {
        let mut sequence = Vec::new();
        while at < tokens.len() {
            match tokens[at] {
                "|" | "]" | ")" => break,
                "[" | "(" => {
                    let optional = tokens[at] == "[";
                    let (inner, end) = alternatives(tokens, at + 1, draw);
                    assert!(matches!(tokens.get(end), Some(&("]" | ")"))), "brackets match");
                    at = end + 1;
                    if !optional || draw(2) == 1 {
                        sequence.extend(inner);
                    }
                }
                word => {
                    sequence.push(word);
                    at += 1;
                }
            }
        }
        all.push(sequence);
        if tokens.get(at) != Some(&"|") {
            break;
        }
        at += 1;
    }
    let pick = draw(all.len());
    (all.swap_remove(pick), at)
}

#[test]
fn a_text_of_hostile_length_costs_little() {
    let grammar = Grammar::new(Answer::Digits { min: 1, max: 32 });
    for word in ["twenty three ", "double ", "one hundred ", "uh ", "1 ", "二十三 "] {
        for language in ["en", "zh"] {
            let _ = grammar.understand(&word.repeat(40), language, TODAY);
            let _ = grammar.understand(&word.repeat(100_000), language, TODAY);
        }
    }
}

#[test]
fn a_huge_menu_costs_little() {
    let choice = |n: usize| Choice {
        value: n.to_string(),
        phrases: (0..8).map(|m| format!("choice {n} of kind {m} with words")).collect(),
        ..Choice::default()
    };
    let grammar = Grammar::new(Answer::Choices { choices: (0..500).map(choice).collect() });
    grammar.check(&["en"]).expect("it is within the limits");
    let text = "choice four hundred and two of kind three with words and then some more of them".repeat(4);
    let _ = grammar.understand(&text, "en", TODAY);
    let found = grammar.understand("choice 402 of kind 3 with words", "en", TODAY);
    assert!(matches!(found, Understanding::Whole { value, .. } if value["choice"] == "402"));
}
