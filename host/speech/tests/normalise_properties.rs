//! What holds for any text.

use callbox_speech::normalise::normalise;
use proptest::prelude::*;

const LANGUAGES: [&str; 5] = ["en", "en-US", "zh", "zh-CN", "de"];

/// Texts made of what the rules look for, in any order.
fn tricky() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[0-9]{1,12}",
        "[0-9]{1,3}[,.:/-][0-9]{1,4}",
        "[-–—~+#(),.:;/%°$£€¥₹&@= ]{1,3}",
        prop::sample::select(vec![
            "am",
            "p.m.",
            "PM",
            "st",
            "th",
            "km",
            "km/h",
            "kg",
            "m",
            "s",
            "%",
            "°C",
            "℃",
            "USD",
            "CNY",
            "million",
            "k",
            "bn",
            "November",
            "Nov.",
            "May",
            "the",
            "of",
            "in",
            "Dr.",
            "St.",
            "No.",
            "etc.",
            "e.g.",
            "年",
            "月",
            "日",
            "号",
            "点",
            "分",
            "秒",
            "元",
            "块",
            "个",
            "第",
            "万",
            "亿",
            "半",
            "到",
            "A",
            "AB",
            "x",
            "T",
            "Z",
            "½",
            "１",
            "％",
            "：",
            "@example.com",
            "\n",
            "\u{0}",
            "😀",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z]{1,6}",
        "\\PC{0,3}",
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

/// Words that no rule rewrites, whatever stands beside them.
fn prose() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "hello", "world", "please", "wait", "Thank", "you", "café", "naïve", "您好", "谢谢", "再见",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_panics_and_grows_within_bounds(text in tricky(), language in prop::sample::select(LANGUAGES.to_vec())) {
        let spoken = normalise(&text, language);
        prop_assert!(spoken.text().len() <= 24 * text.len() + 16, "{} from {}", spoken.text().len(), text.len());
    }

    #[test]
    fn never_panics_on_anything(text in "\\PC*|[\\x00-\\xff]{0,40}", language in "\\PC{0,8}") {
        let spoken = normalise(&text, &language);
        let _ = spoken.words(0..spoken.text().len());
    }

    #[test]
    fn leaves_no_figure(text in tricky(), language in prop::sample::select(vec!["en", "en-US", "zh"])) {
        let spoken = normalise(&text, language);
        prop_assert!(!spoken.text().contains(|c: char| c.is_ascii_digit()), "{:?}", spoken.text());
    }

    #[test]
    fn says_the_same_the_second_time(
        parts in prop::collection::vec(prop_oneof![prose(), "[0-9]{1,9}", "[0-9]{1,3}[,.:/][0-9]{1,4}", "[-$£¥]?[0-9.]{1,4}%?",
            prop::sample::select(vec!["3 pm", "Nov. 2", "Dr.", "St. James", "etc.", "e.g.", "A12B", "5 km", "2个", "2026年",
                "&", "a@b.org", "½", "No. 5", "°", "Mr. Brown"]).prop_map(str::to_owned)], 0..12),
        language in prop::sample::select(vec!["en", "en-US", "zh"]),
    ) {
        let text = parts.join(" ");
        let once = normalise(&text, language);
        let twice = normalise(once.text(), language);
        prop_assert_eq!(twice.text(), once.text());
    }

    #[test]
    fn points_into_the_source(text in tricky(), language in prop::sample::select(LANGUAGES.to_vec())) {
        let spoken = normalise(&text, language);
        let mut last = 0;
        for (at, _) in spoken.text().char_indices() {
            let source = spoken.source_at(at);
            prop_assert!(source >= last && text.is_char_boundary(source), "{} at {}", source, at);
            last = source;
        }
        prop_assert_eq!(spoken.source_at(spoken.text().len()), text.len());
        let words = spoken.words(0..spoken.text().len());
        prop_assert!(words.windows(2).all(|w| w[0].source_end < w[1].source_end), "{:?}", words);
        prop_assert!(words.iter().all(|w| w.weight > 0 && text.is_char_boundary(w.source_end)));
    }

    #[test]
    fn prose_stays_as_it_is(
        words in prop::collection::vec((prose(), "[ ,;.!?]{1,2}"), 0..20),
        language in prop::sample::select(LANGUAGES.to_vec()),
    ) {
        let text: String = words.iter().map(|(word, space)| format!("{word}{space}")).collect();
        let spoken = normalise(&text, language);
        prop_assert_eq!(spoken.text(), &text);
        let range = 0..spoken.text().len();
        for word in spoken.words(range) {
            prop_assert!(word.source_end <= text.len());
        }
    }

    #[test]
    fn loses_no_word(
        parts in prop::collection::vec((prose(), "[0-9$£%:/., -]{0,8}"), 1..12),
        language in prop::sample::select(LANGUAGES.to_vec()),
    ) {
        let text: String = parts.iter().map(|(word, rest)| format!("{word} {rest} ")).collect();
        let spoken = normalise(&text, language);
        let mut rest = spoken.text();
        for (word, _) in &parts {
            let at = rest.find(word.as_str());
            prop_assert!(at.is_some(), "{:?} is not in {:?}", word, spoken.text());
            rest = &rest[at.unwrap_or(0) + word.len()..];
        }
    }
}

#[test]
fn long_texts_take_no_time() {
    // Each of these would show a rule that looks too far from everywhere.
    for part in [
        "1", "1,", "1.", "1-", "1 ", "a.", "a", "(1", "$1 ", "1/", "1:", "+", "1年", "Nov ", "@", "-", "1\u{a0}-",
        "A1-",
    ] {
        let text = part.repeat(16_384 / part.len());
        for language in ["en", "zh"] {
            let spoken = normalise(&text, language);
            assert!(spoken.text().len() <= 24 * text.len() + 16);
            assert!(!spoken.words(0..spoken.text().len()).is_empty() || !text.contains(char::is_alphanumeric));
        }
    }
}
