//! Words of strangers – names in an upload, messages of a script – made fit to
//! be shown in a terminal, a log or a page.

/// The text without control characters, at most `most` bytes of it; what is cut
/// off is marked.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most) + 3);
    for c in text.chars() {
        let c = if c == '\n' || c == '\t' { ' ' } else { c };
        let c = if c.is_control() || is_bidi_control(c) { '\u{fffd}' } else { c };
        if out.len() + c.len_utf8() > most {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

/// At most `most` bytes, cut between characters.
pub(crate) fn truncated(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Characters that turn the rest of a line around.
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_is_left() {
        assert_eq!(printable("a\x1b[31mb\r\nc\u{202e}", 100), "a\u{fffd}[31mb\u{fffd} c\u{fffd}");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("äöü", 3), "ä…");
        assert_eq!(truncated("äöü", 3), "ä");
        assert_eq!(truncated("abc", 3), "abc");
    }
}
