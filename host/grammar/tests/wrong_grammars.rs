//! Grammars that make no sense, and where they say so.

use callbox_grammar::{Answer, Grammar, GrammarError, Universal};

fn error(json: &str, language: &str) -> String {
    match Grammar::read(json).and_then(|grammar| grammar.check(&[language])) {
        Ok(()) => panic!("{json} is right"),
        Err(error) => error.to_string(),
    }
}

fn choices(choices: &str) -> String {
    format!(r#"{{"answer": {{"kind": "choices", "choices": [{choices}]}}}}"#)
}

#[test]
fn each_mistake_tells_its_place() {
    let one = r#"{"value": "a", "phrases": ["yes sir"]}"#;
    for (json, expected) in [
        (choices(""), "choices: there is nothing to choose from"),
        (choices(r#"{"value": ""}"#), "choices[0].value: every choice has a value of its own"),
        (choices(&format!("{one}, {one}")), "choices[1].value: every choice has a value of its own"),
        (choices(r#"{"value": "a"}"#), "choices[0]: it can be chosen neither by a phrase nor by a key"),
        (choices(r#"{"value": "a", "phrases": ["?!"]}"#), "choices[0].phrases[0]: there is no word in it"),
        (choices(r#"{"value": "a", "key": "x"}"#), "choices[0].key: every key is 0 to 9, * or #, and means one choice"),
        (
            choices(&format!(r#"{one}, {{"value": "b", "phrases": ["b", "Yes, sir!"]}}"#)),
            "choices[1].phrases[1]: choices[0] has the same phrase: it would mean neither",
        ),
        (
            choices(r#"{"value": "a", "phrases": ["a"], "pronunciations": {"a": "AH0"}}"#),
            "choices[0].pronunciations[\"a\"]: \"AH0\" is no sound of ARPABET",
        ),
        (
            choices(&format!(r#"{{"value": "a", "phrases": ["{}"]}}"#, "word ".repeat(17))),
            "choices[0].phrases[0]: at most 16 words",
        ),
        (r#"{"answer": {"kind": "digits", "min": 0, "max": 4}}"#.into(), "digits: between 1 and 32 of them"),
        (r#"{"answer": {"kind": "digits", "min": 5, "max": 4}}"#.into(), "digits: nothing is at least 5 and at most 4"),
        (
            r#"{"answer": {"kind": "number", "min": 0, "max": 4000000000}}"#.into(),
            "number.max: 4000000000 is more than 999999999",
        ),
        (r#"{"answer": {"kind": "amount", "currency": "XYZ"}}"#.into(), "amount.currency: \"XYZ\" is not one of"),
        (r#"{"answer": {"kind": "phone", "country": "Germany"}}"#.into(), "phone.country: \"Germany\" is not one of"),
        (
            r#"{"answer": {"kind": "yes-no"}, "universals": ["help", "help"]}"#.into(),
            "universals[1]: \"help\" is there twice",
        ),
        (r#"{"answer": {"kind": "song"}}"#.into(), "not a grammar: unknown variant `song`"),
        (
            r#"{"answer": {"kind": "digits", "min": 1, "max": 2, "most": 3}}"#.into(),
            "not a grammar: unknown field `most`",
        ),
        (r#"{"answer": {"kind": "text"}, "extra": 1}"#.into(), "not a grammar: unknown field `extra`"),
    ] {
        let error = error(&json, "en");
        assert!(error.starts_with(expected), "{error}\ninstead of\n{expected}");
    }
}

#[test]
fn a_language_without_words_is_named() {
    let yes_no = Grammar::new(Answer::YesNo);
    assert_eq!(yes_no.check(&["en", "nl"]), Err(GrammarError::Language { language: "nl".into(), what: "yes-no" }));
    let choices = Grammar::read(&choices(r#"{"value": "ja", "phrases": ["ja"]}"#)).expect("it is one");
    assert_eq!(choices.check(&["nl"]), Ok(()), "the phrases are the script's");
    let with_help = Grammar { universals: vec![Universal::Help], ..choices };
    assert_eq!(with_help.check(&["nl"]), Err(GrammarError::Language { language: "nl".into(), what: "help" }));
    assert_eq!(Grammar::new(Answer::Text).check(&["nl"]), Ok(()));
}

#[test]
fn what_has_no_closed_sentences_says_so() {
    for (answer, language) in [(Answer::Text, "en"), (Answer::YesNo, "zh")] {
        let error = Grammar::new(answer).jsgf(language).expect_err("it has none");
        assert!(matches!(error, GrammarError::NoSentences { .. }), "{error}");
    }
}

#[test]
fn too_much_json_is_refused_unread() {
    let json = format!("{}{}", " ".repeat(600_000), r#"{"answer": {"kind": "text"}}"#);
    assert!(matches!(Grammar::read(&json), Err(GrammarError::TooMuch { .. })));
}
