//! Words that tell the speaker to go on: "uh-huh", "okay", "嗯". Said while the robot talks they are no interruption and
//! no answer, unless the listening expects them.

use super::wording::is_wide;

/// Sounds that mean the same in every language, spaces for hyphens.
const ANYWHERE: &[&str] =
    &["mhm", "mm", "mmm", "mm hm", "mm hmm", "hm", "hmm", "uh", "uh huh", "um", "er", "ah", "aha", "oh", "ok", "okay"];

/// Words of a language, by the first part of its tag.
fn words_of(language: &str) -> &'static [&'static str] {
    let tag = language.split(['-', '_']).next().unwrap_or_default();
    match tag.to_ascii_lowercase().as_str() {
        "en" => &["yeah", "yep", "right", "all right", "alright", "i see", "got it", "sure"],
        "zh" | "cmn" => &["嗯", "嗯哼", "哦", "噢", "喔", "啊", "唔", "好", "好的", "对", "行"],
        "de" => &["genau", "klar", "verstehe", "ach so", "achso", "na gut"],
        "es" => &["ajá", "vale", "claro", "ya"],
        "fr" => &["ouais", "d accord", "je vois", "hum", "bon"],
        _ => &[],
    }
}

/// Whether this is nothing but such words. Without a letter it is none.
pub(super) fn is_back_channel(text: &str, language: &str) -> bool {
    let plain = plain(text);
    let mut rest = plain.as_str();
    while !rest.is_empty() {
        let fits = |word: &&&str| rest.strip_prefix(**word).is_some_and(|after| ends_a_word(word, after));
        let Some(word) = ANYWHERE.iter().chain(words_of(language)).filter(fits).max_by_key(|word| word.len()) else {
            return false;
        };
        rest = rest[word.len()..].trim_start();
    }
    !plain.is_empty()
}

/// Whether two texts are the same words.
pub(super) fn same_words(a: &str, b: &str) -> bool {
    plain(a) == plain(b)
}

/// Characters that are words of their own stand without a space between them.
fn ends_a_word(word: &str, after: &str) -> bool {
    let wide = |c: Option<char>| c.is_some_and(is_wide);
    after.is_empty() || after.starts_with(' ') || wide(word.chars().next_back()) || wide(after.chars().next())
}

/// Lower case, letters and digits, one space for whatever is between them.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            plain.push(c);
        } else if !plain.is_empty() && !plain.ends_with(' ') {
            plain.push(' ');
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_say_go_on_are_known_in_their_language() {
        for (text, language) in [
            ("Uh-huh.", "en-GB"),
            ("mhm", "ja"),
            ("OK", "xx"),
            ("yeah, okay, I see!", "en"),
            ("嗯，好的", "zh-CN"),
            ("嗯 嗯", "cmn"),
            ("d'accord", "fr"),
            ("ach so", "de-AT"),
        ] {
            assert!(is_back_channel(text, language), "{text} in {language}");
        }
    }

    #[test]
    fn anything_else_is_an_interruption() {
        for (text, language) in [
            ("", "en"),
            ("…", "en"),
            ("yes", "en"),
            ("okay stop", "en"),
            ("yeah", "de"),
            ("okayish", "en"),
            ("i", "en"),
            ("好的我要预约", "zh"),
            ("ja", "de"),
        ] {
            assert!(!is_back_channel(text, language), "{text} in {language}");
        }
    }

    #[test]
    fn hints_are_compared_by_their_words() {
        assert!(same_words("Okay!", " okay"));
        assert!(!same_words("okay", "okay then"));
    }
}
