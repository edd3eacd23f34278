//! Cutting a text into sentences, so that the first is heard while the others
//! are being rendered, and so that the same sentence is the same cache entry
//! wherever it stands.

use crate::normalise::is_ideograph;
use std::ops::Range;

/// Characters of a sentence; a longer one is cut at its clauses.
const MAX_CHARS: usize = 300;
/// A clause is not cut off before so many characters.
const MIN_CHARS: usize = 100;

/// Words after which a point ends no sentence.
const ABBREVIATIONS: [&str; 20] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "no", "vs", "e.g", "i.e", "approx", "dept", "ext", "tel", "mt", "rev",
    "hon", "jr", "sr", "fig",
];

/// The sentences of a text, in order, without the space around them. Together
/// they hold everything that can be said.
#[must_use]
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, c)) = letters.next() {
        chars += 1;
        let mut end = at + c.len_utf8();
        let ends = match c {
            '\n' | '。' | '！' | '？' => true,
            '.' | '!' | '?' | '…' => ends_here(&text[start..at], c, &text[end..]),
            _ => false,
        };
        if ends {
            // Closing marks belong to the sentence they close.
            while let Some(&(at, c)) = letters.peek() {
                if !matches!(
                    c,
                    '"' | '\'' | '”' | '’' | ')' | '」' | '』' | '）' | '.' | '!' | '?' | '…' | '。' | '！' | '？'
                ) {
                    break;
                }
                letters.next();
                end = at + c.len_utf8();
            }
        }
        if ends || chars >= MAX_CHARS {
            if !ends {
                end = clause(&text[start..end]).map_or(end, |length| start + length);
            }
            push(&mut found, text, start..end);
            start = end;
            chars = text[start..letters.peek().map_or(text.len(), |&(at, _)| at)].chars().count();
        }
    }
    push(&mut found, text, start..text.len());
    found
}

/// Whether something is there that an engine would speak.
#[must_use]
pub fn is_speakable(text: &str) -> bool {
    text.chars().any(|c| c.is_alphanumeric() || !c.is_ascii() && !c.is_whitespace() && !is_punctuation(c))
}

fn is_punctuation(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{a0}' | '“' | '”' | '‘' | '’' | '«' | '»' | '„' | '…' | '–' | '—' | '·' | '•')
        || matches!(c, '\u{2000}'..='\u{206f}' | '\u{3000}'..='\u{303f}' | '\u{fe00}'..='\u{fe4f}' | '\u{feff}')
        || matches!(c, '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}' | '\u{ff5b}'..='\u{ff65}')
}

/// Whether a mark after `before` ends the sentence.
fn ends_here(before: &str, mark: char, after: &str) -> bool {
    let mut next = after.chars().skip_while(|c| matches!(c, '"' | '\'' | '”' | '’' | ')' | '.' | '!' | '?' | '…'));
    let open = match next.next() {
        None => true,
        Some(c) => c.is_whitespace() || is_ideograph(c) && mark != '.',
    };
    if !open || mark != '.' {
        return open;
    }
    let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '"' | '“')).next().unwrap_or_default();
    // "J. Smith", but "vitamin C." at the end of all.
    let initial = word.chars().count() == 1 && word.chars().all(|c| c.is_ascii_uppercase());
    let follows = after.trim_start_matches(|c: char| !c.is_alphanumeric());
    if follows.is_empty() {
        return true;
    }
    let lower = word.to_ascii_lowercase();
    if initial || ABBREVIATIONS.contains(&lower.as_str()) {
        return false;
    }
    // "a.m." and "etc." end a sentence only where another begins.
    let small = follows.starts_with(|c: char| c.is_lowercase());
    !(small && (lower.contains('.') || lower == "etc"))
}

/// Where a sentence that is too long is cut: after the last clause, else after
/// the last word.
fn clause(text: &str) -> Option<usize> {
    let allowed = |&(at, _): &(usize, char)| text[..at].chars().count() >= MIN_CHARS;
    let last = |ends: &dyn Fn(char) -> bool| {
        text.char_indices().rev().find(|&(_, c)| ends(c)).filter(allowed).map(|(at, c)| at + c.len_utf8())
    };
    last(&|c| matches!(c, ';' | '；'))
        .or_else(|| last(&|c| matches!(c, ',' | '，' | '、' | ':' | '：' | '–' | '—')))
        .or_else(|| last(&char::is_whitespace))
}

/// Adds a sentence, trimmed, unless nothing is to be said in it.
fn push(found: &mut Vec<Range<usize>>, text: &str, range: Range<usize>) {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = start + part.trim().len();
    if is_speakable(&text[start..end]) {
        found.push(start..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn cuts_where_a_sentence_ends() {
        for (text, want) in [
            ("", &[][..]),
            (" ... \n\t ", &[]),
            ("Hello", &["Hello"]),
            ("Hello.  How are you?\nFine!", &["Hello.", "How are you?", "Fine!"]),
            ("Really?! Yes.", &["Really?!", "Yes."]),
            ("He said \"Stop.\" Then he went.", &["He said \"Stop.\"", "Then he went."]),
            ("Mr. Smith met Dr. J. Brown.", &["Mr. Smith met Dr. J. Brown."]),
            ("At 3 p.m. tomorrow. Or at 4 p.m. Tell me.", &["At 3 p.m. tomorrow.", "Or at 4 p.m.", "Tell me."]),
            ("It costs 3.50 now.", &["It costs 3.50 now."]),
            ("Wait… what?", &["Wait…", "what?"]),
            ("See example.com for more.", &["See example.com for more."]),
            ("您好。请问您是张先生吗？谢谢！", &["您好。", "请问您是张先生吗？", "谢谢！"]),
            ("他说：“好。”然后走了", &["他说：“好。”", "然后走了"]),
            ("😀", &["😀"]),
        ] {
            assert_eq!(cut(text), want, "{text}");
        }
    }

    #[test]
    fn cuts_what_is_too_long() {
        let clauses = "a clause of some words, ".repeat(30);
        assert!(cut(&clauses).len() > 1);
        assert!(cut(&clauses).iter().all(|s| s.chars().count() <= MAX_CHARS && s.ends_with("words,")));
        let words = "word ".repeat(200);
        assert!(cut(&words).iter().all(|s| s.len() <= MAX_CHARS && s.ends_with("word")));
        let letters = "好".repeat(1_000);
        assert_eq!(cut(&letters).iter().map(|s| s.chars().count()).collect::<Vec<_>>(), [300, 300, 300, 100]);
    }

    proptest! {
        #[test]
        fn loses_nothing(text in "([a-z]{1,9}|[.!?,;。？ \n\"')]|好|…|Dr\\.|[A-Z]\\.|3\\.5| ){0,400}") {
            let found = sentences(&text);
            let mut end = 0;
            for range in &found {
                prop_assert!(range.start >= end && range.end > range.start);
                prop_assert!(!is_speakable(&text[end..range.start]));
                prop_assert!(text[range.clone()].chars().count() <= MAX_CHARS + 8);
                end = range.end;
            }
            prop_assert!(!is_speakable(&text[end..]));
        }
    }
}
