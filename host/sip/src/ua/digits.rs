//! Digits in the body of INFO: `application/dtmf-relay` (`Signal=5`, `Duration=160`) and `application/dtmf` (`5`).
//! No RFC defines either; this is what gateways and phones send.

/// Reads a digit and its duration in milliseconds (0 when not said); `None` when the body holds no digit.
pub(crate) fn parse(relay: bool, body: &[u8]) -> Option<(char, u32)> {
    let text = std::str::from_utf8(body).ok()?;
    if !relay {
        return Some((digit(text.trim())?, 0));
    }
    let mut signal = None;
    let mut duration = 0;
    for line in text.lines() {
        // Some write "Signal: 5" or blanks around the sign.
        let Some((name, value)) = line.split_once(['=', ':']) else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("signal") {
            signal = digit(value);
        } else if name.eq_ignore_ascii_case("duration") {
            duration = value.parse().unwrap_or(0);
        }
    }
    Some((signal?, duration))
}

/// The body of an `application/dtmf-relay` INFO.
pub(crate) fn relay_body(digit: char, duration_ms: u32) -> String {
    format!("Signal={digit}\r\nDuration={duration_ms}\r\n")
}

/// A key by its name or by its RFC 4733 event number; hook flash (16) is no key.
fn digit(text: &str) -> Option<char> {
    let mut chars = text.chars();
    match (chars.next()?, chars.as_str()) {
        (c @ ('0'..='9' | '*' | '#'), "") => Some(c),
        (c @ ('a'..='d' | 'A'..='D'), "") => Some(c.to_ascii_uppercase()),
        ('1', "0") => Some('*'),
        ('1', "1") => Some('#'),
        ('1', "2") => Some('A'),
        ('1', "3") => Some('B'),
        ('1', "4") => Some('C'),
        ('1', "5") => Some('D'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_phones_send() {
        for (relay, body, read) in [
            (true, "Signal=5\r\nDuration=160\r\n", Some(('5', 160))),
            (true, "Signal= #\nDuration= 250", Some(('#', 250))),
            (true, "signal : d\r\n", Some(('D', 0))),
            (true, "Signal=11", Some(('#', 0))),
            (true, "Signal=5\r\nDuration=99999999999\r\n", Some(('5', 0))),
            (true, "Duration=100", None),
            (true, "Signal=16", None),
            (true, "", None),
            (false, "7", Some(('7', 0))),
            (false, " *\r\n", Some(('*', 0))),
            (false, "12 ", Some(('A', 0))),
            (false, "77", None),
            (false, "", None),
        ] {
            assert_eq!(parse(relay, body.as_bytes()), read, "{body:?}");
        }
        assert_eq!(parse(true, b"Signal=\xff"), None);
        assert_eq!(parse(true, relay_body('9', 120).as_bytes()), Some(('9', 120)));
    }
}
