//! Character classes and the few scanning steps that every SIP field shares.

/// A piece of a byte string, as offsets into it. Values are at most
/// [`MAX_VALUE`](super::MAX_VALUE) long, so that 16 bits hold every offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Span {
    /// Offsets beyond 16 bits cannot be expressed; callers check the length of the value first.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let clamp = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }

    pub(crate) fn range(self) -> std::ops::Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

const TOKEN: u8 = 1;
const HOST: u8 = 2;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphanumeric() {
            table[i] = TOKEN | HOST;
        } else if matches!(b, b'-' | b'.' | b'_') {
            // `_` is no host character by RFC 3261, yet hosts in real networks carry it.
            table[i] = TOKEN | HOST;
        } else if matches!(b, b'!' | b'%' | b'*' | b'+' | b'`' | b'\'' | b'~') {
            table[i] = TOKEN;
        }
        i += 1;
    }
    table
};

/// RFC 3261 §25.1 `token`.
pub(crate) fn is_token_byte(b: u8) -> bool {
    CLASS[usize::from(b)] & TOKEN != 0
}

/// A non-empty `token`.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

/// A byte of a host name or an IPv4 address.
pub(crate) fn is_host_byte(b: u8) -> bool {
    CLASS[usize::from(b)] & HOST != 0
}

/// White space inside an unfolded value.
pub(crate) fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// The offset of the first `needle` at or after `at`, eight bytes at a time.
pub(crate) fn find(bytes: &[u8], at: usize, needle: u8) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let rest = bytes.get(at..)?;
    let pattern = ONES * u64::from(needle);
    let (words, tail) = rest.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // A byte that equals the needle becomes zero, and the lowest zero byte is the first to set its high bit.
        let word = u64::from_le_bytes(*word) ^ pattern;
        let zeros = word.wrapping_sub(ONES) & !word & HIGH;
        if zeros != 0 {
            return Some(at + index * 8 + (zeros.trailing_zeros() / 8) as usize);
        }
    }
    let start = at + words.len() * 8;
    tail.iter().position(|&b| b == needle).map(|offset| start + offset)
}

/// The bytes without blanks at either end.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let (start, end) = trimmed(bytes, 0, bytes.len());
    &bytes[start..end]
}

/// The offsets of `bytes[start..end]` without blanks at either end.
pub(crate) fn trimmed(bytes: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
    while start < end && is_blank(bytes[start]) {
        start += 1;
    }
    while end > start && is_blank(bytes[end - 1]) {
        end -= 1;
    }
    (start, end)
}

/// The first offset at or after `at` that holds no blank.
pub(crate) fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is_blank(bytes[at]) {
        at += 1;
    }
    at
}

/// The offset after the closing quote of the quoted string that opens at `at`, or `None` when it never closes.
pub(crate) fn quoted_end(bytes: &[u8], at: usize) -> Option<usize> {
    debug_assert_eq!(bytes.get(at), Some(&b'"'));
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => return Some(i + 1),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
    None
}

/// The text of a quoted string without its quotes and escapes; anything else as it is.
pub(crate) fn unquoted(bytes: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let Some(inner) = bytes.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return bytes.into();
    };
    if !inner.contains(&b'\\') {
        return inner.into();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&b) = bytes.next() {
        match b {
            b'\\' => out.extend(bytes.next()),
            _ => out.push(b),
        }
    }
    out.into()
}

/// The text as a quoted string; control characters become blanks, so that nothing can end the line.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A run of digits, saturating at `u64::MAX`; `None` when empty or anything else is in it.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &b in bytes {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(u64::from(b - b'0'));
    }
    Some(value)
}

/// Cuts a value at a separator that stands outside quotes and angle brackets.
/// Yields offsets, blanks trimmed, empty pieces included.
#[derive(Clone, Debug)]
pub(crate) struct Split<'a> {
    bytes: &'a [u8],
    at: usize,
    separator: u8,
    done: bool,
}

impl<'a> Split<'a> {
    pub(crate) fn new(bytes: &'a [u8], separator: u8) -> Self {
        Self { bytes, at: 0, separator, done: false }
    }
}

impl Iterator for Split<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        if self.done {
            return None;
        }
        let (bytes, start) = (self.bytes, self.at);
        // Most pieces hold neither quote nor bracket, and then the next separator is the end.
        let Some(end) = find(bytes, start, self.separator) else {
            self.done = true;
            return Some(trimmed(bytes, start, bytes.len()));
        };
        if find(&bytes[..end], start, b'"').is_none() && find(&bytes[..end], start, b'<').is_none() {
            self.at = end + 1;
            return Some(trimmed(bytes, start, end));
        }
        let mut in_angle = false;
        let mut i = start;
        while i < bytes.len() {
            match bytes[i] {
                b'"' if !in_angle => match quoted_end(bytes, i) {
                    Some(end) => {
                        i = end;
                        continue;
                    }
                    // A quote that never closes: the rest is one piece, and whoever types it refuses it.
                    None => break,
                },
                b'<' => in_angle = true,
                b'>' => in_angle = false,
                b if b == self.separator && !in_angle => {
                    self.at = i + 1;
                    return Some(trimmed(bytes, start, i));
                }
                _ => {}
            }
            i += 1;
        }
        self.done = true;
        Some(trimmed(bytes, start, bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(value: &str) -> Vec<&str> {
        Split::new(value.as_bytes(), b',').map(|(start, end)| &value[start..end]).collect()
    }

    #[test]
    fn split_minds_quotes_and_brackets() {
        assert_eq!(pieces("a, b ,c"), ["a", "b", "c"]);
        assert_eq!(pieces(r#""a,\",b" <sip:x,y@h>;q=1 , <sip:z@h>"#), [r#""a,\",b" <sip:x,y@h>;q=1"#, "<sip:z@h>"]);
        assert_eq!(pieces(""), [""]);
        assert_eq!(pieces("a,,b,"), ["a", "", "b", ""]);
        assert_eq!(pieces("\"open, no end"), ["\"open, no end"]);
        assert_eq!(pieces("<\"odd,>,b"), ["<\"odd,>", "b"]);
    }

    #[test]
    fn finds_the_first_of_a_byte_at_every_place() {
        for len in 0..40 {
            for place in 0..len {
                let mut bytes = vec![b'\n' - 1; len];
                bytes[place..].fill(b'\n' + 1);
                bytes[place] = b'\n';
                bytes[len - 1] = b'\n';
                for at in 0..=len {
                    let expected = bytes.iter().skip(at).position(|&b| b == b'\n').map(|offset| at + offset);
                    assert_eq!(find(&bytes, at, b'\n'), expected, "{len} {place} {at}");
                }
            }
        }
        assert_eq!(find(b"abc", 4, b'a'), None);
    }

    #[test]
    fn quotes_come_off_and_go_on() {
        assert_eq!(&*unquoted(br#""a \"b\" \\ c""#), br#"a "b" \ c"#);
        assert_eq!(&*unquoted(b"plain"), b"plain");
        assert_eq!(quoted("a\r\nVia: x\"\\"), "\"a  Via: x\\\"\\\\\"");
    }

    #[test]
    fn numbers_saturate() {
        assert_eq!(number(b"0068"), Some(68));
        assert_eq!(number(b"99999999999999999999999999"), Some(u64::MAX));
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b""), None);
    }
}
