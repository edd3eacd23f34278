//! Whether what came is what was expected, and how the two differ.

use super::step::{Expect, Heard, Logged};
use regex_lite::Regex;
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};
use std::fmt;

/// A text that is looked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Contains(String),
    Exact(String),
    Matches(Regex),
    /// Any.
    Any,
}

impl Wanted {
    fn new(contains: Option<&String>, exact: Option<&String>, matches: Option<&String>) -> Self {
        match (contains, exact, matches) {
            (Some(text), ..) => Self::Contains(plain(text)),
            (_, Some(text), _) => Self::Exact(plain(text)),
            // It was compiled when the file was read.
            (.., Some(pattern)) => Regex::new(pattern).map_or_else(|_| Self::Exact(pattern.clone()), Self::Matches),
            (None, None, None) => Self::Any,
        }
    }

    pub(super) fn prompt(expect: &Expect) -> Self {
        Self::new(expect.contains.as_ref(), expect.exact.as_ref(), expect.matches.as_ref())
    }

    pub(super) fn heard(heard: &Heard) -> Self {
        Self::new(heard.contains.as_ref(), heard.exact.as_ref(), heard.matches.as_ref())
    }

    pub(super) fn logged(logged: &Logged) -> Self {
        Self::new(logged.contains.as_ref(), None, logged.matches.as_ref())
    }

    /// Whether a text is what is looked for.
    pub(super) fn is(&self, text: &str) -> bool {
        match self {
            Self::Contains(wanted) => plain(text).contains(wanted.as_str()),
            Self::Exact(wanted) => plain(text) == *wanted,
            Self::Matches(pattern) => pattern.is_match(&plain(text)),
            Self::Any => true,
        }
    }

    /// The words that are looked for; none for a pattern.
    fn words(&self) -> Option<&str> {
        match self {
            Self::Contains(text) | Self::Exact(text) => Some(text),
            Self::Matches(_) | Self::Any => None,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(text) => write!(f, "\"{text}\""),
            Self::Exact(text) => write!(f, "exactly \"{text}\""),
            Self::Matches(pattern) => write!(f, "something that matches /{pattern}/"),
            Self::Any => f.write_str("something"),
        }
    }
}

/// A text with its white space made single spaces.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    /// Whether it was expected, came, or both.
    pub side: Side,
    /// The line in pieces; what differs within it is marked.
    pub pieces: Vec<(String, bool)>,
}

/// On which side a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Only expected.
    Expected,
    /// Only what came.
    Came,
    /// Both.
    Both,
}

/// How a text that was looked for differs from the nearest of those that came. Empty where none is near.
pub(super) fn text_diff<'a>(wanted: &Wanted, came: impl Iterator<Item = &'a str>) -> Vec<DiffLine> {
    let Some(words) = wanted.words() else { return Vec::new() };
    let nearest = came.map(plain).map(|text| (nearness(words, &text), text));
    let Some((near, text)) = nearest.max_by(|(a, _), (b, _)| a.total_cmp(b)) else { return Vec::new() };
    if near < 0.5 {
        return Vec::new();
    }
    let (words, text) = (tokens(words), tokens(&text));
    let diff = TextDiff::from_slices(&words, &text);
    let side = |wanted: ChangeTag, side| DiffLine {
        side,
        pieces: (diff.iter_all_changes())
            .filter(|change| change.tag() == ChangeTag::Equal || change.tag() == wanted)
            .map(|change| (change.value().to_owned(), change.tag() != ChangeTag::Equal))
            .collect(),
    };
    vec![side(ChangeTag::Delete, Side::Expected), side(ChangeTag::Insert, Side::Came)]
}

/// Words, and what stands between them.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '\'';
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// How near a text is: the share of the words that are in it, in their order.
fn nearness(words: &str, text: &str) -> f32 {
    let (words, text) = (tokens(words), tokens(text));
    let diff = TextDiff::from_slices(&words, &text);
    let is_word = |value: &str| value.chars().any(char::is_alphanumeric);
    let (mut same, mut missing) = (0_f32, 0_f32);
    for change in diff.iter_all_changes().filter(|change| is_word(change.value())) {
        match change.tag() {
            ChangeTag::Equal => same += 1.0,
            ChangeTag::Delete => missing += 1.0,
            ChangeTag::Insert => {}
        }
    }
    if same + missing == 0.0 { 0.0 } else { same / (same + missing) }
}

/// Whether a value contains what was expected: objects may have more keys, everything else is equal. Numbers are equal by
/// value.
pub(super) fn contains(wanted: &Value, came: &Value) -> bool {
    match (wanted, came) {
        (Value::Object(wanted), Value::Object(came)) => {
            wanted.iter().all(|(key, value)| came.get(key).is_some_and(|came| contains(value, came)))
        }
        (Value::Array(wanted), Value::Array(came)) => {
            wanted.len() == came.len() && wanted.iter().zip(came).all(|(wanted, came)| contains(wanted, came))
        }
        (Value::Number(wanted), Value::Number(came)) => wanted == came || wanted.as_f64() == came.as_f64(),
        _ => wanted == came,
    }
}

/// How a value differs from what was expected of it; what nobody asked for is left out.
pub(super) fn value_diff(wanted: &Value, came: &Value) -> Vec<DiffLine> {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    let (wanted, came) = (pretty(wanted), pretty(&asked_for(wanted, came)));
    let diff = TextDiff::from_lines(wanted.as_str(), came.as_str());
    let line = |change: similar::Change<&str>| DiffLine {
        side: match change.tag() {
            ChangeTag::Delete => Side::Expected,
            ChangeTag::Insert => Side::Came,
            ChangeTag::Equal => Side::Both,
        },
        pieces: vec![(change.value().trim_end().to_owned(), false)],
    };
    diff.iter_all_changes().map(line).collect()
}

/// What came, without what nobody asked for.
fn asked_for(wanted: &Value, came: &Value) -> Value {
    match (wanted, came) {
        (Value::Object(wanted), Value::Object(came)) => {
            let asked =
                wanted.iter().filter_map(|(key, wanted)| Some((key.clone(), asked_for(wanted, came.get(key)?))));
            Value::Object(asked.collect::<Map<_, _>>())
        }
        (Value::Array(wanted), Value::Array(all)) if wanted.len() == all.len() => {
            Value::Array(wanted.iter().zip(all).map(|(wanted, came)| asked_for(wanted, came)).collect())
        }
        // Equal by value is shown as it was written.
        _ if contains(wanted, came) => wanted.clone(),
        _ => came.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_compared_without_their_line_breaks() {
        let contains = Wanted::Contains("one two".into());
        assert!(contains.is("zero one\n  two three") && !contains.is("onetwo"));
        assert!(Wanted::Exact("one two".into()).is(" one two ") && !Wanted::Exact("one".into()).is("one two"));
        assert!(Wanted::Matches(Regex::new("^o.e").unwrap()).is("  one"));
    }

    #[test]
    fn values_contain_what_was_asked_for() {
        let came = json!({"a": 1, "b": {"c": [1, {"d": 2, "e": 3}]}, "f": null});
        for wanted in [json!({}), json!({"a": 1.0}), json!({"b": {"c": [1, {"d": 2}]}}), json!({"f": null})] {
            assert!(contains(&wanted, &came), "{wanted}");
        }
        for wanted in [json!({"a": "1"}), json!({"b": {"c": [1]}}), json!({"g": null}), json!([])] {
            assert!(!contains(&wanted, &came), "{wanted}");
        }
    }

    #[test]
    fn differences_show_what_differs() {
        let wanted = Wanted::Contains("is confirmd today".into());
        let diff = text_diff(&wanted, ["Good day.", "Your visit is confirmed today. Bye."].into_iter());
        let marked =
            |line: &DiffLine| line.pieces.iter().filter(|(_, m)| *m).map(|(t, _)| t.clone()).collect::<String>();
        assert_eq!(diff.len(), 2);
        assert!(marked(&diff[0]).contains("confirmd") && !marked(&diff[0]).contains("is "));
        assert!(text_diff(&wanted, ["Nothing of the kind."].into_iter()).is_empty());

        let diff = value_diff(&json!({"a": 1, "b": 2}), &json!({"a": 1.0, "b": 3, "c": 4}));
        let shown: Vec<_> = diff.iter().map(|line| (line.side, line.pieces[0].0.as_str())).collect();
        assert_eq!(
            shown,
            [
                (Side::Both, "{"),
                (Side::Both, "  \"a\": 1,"),
                (Side::Expected, "  \"b\": 2"),
                (Side::Came, "  \"b\": 3"),
                (Side::Both, "}")
            ]
        );
    }
}
