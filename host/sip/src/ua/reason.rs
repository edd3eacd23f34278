//! Why a call ends, in SIP's words and the telephone network's (RFC 3326, RFC 3398).

use crate::wire::{Message, Reason};
use bytes::Bytes;

/// The cause and text of the first readable `Reason` values.
pub(crate) fn read(message: &Message) -> (Option<u8>, Option<String>) {
    let reasons = message.reasons();
    let q850 = reasons.iter().find(|r| r.protocol.eq_ignore_ascii_case("q.850")).and_then(|r| r.cause);
    let text = reasons.iter().find_map(|r| r.text.clone());
    (q850.and_then(|cause| u8::try_from(cause).ok()).filter(|cause| *cause < 128), text)
}

/// The value for a Q.850 cause of our own.
pub(crate) fn q850(cause: u8, text: &str) -> Bytes {
    value("Q.850", cause.into(), text)
}

/// The value for a SIP status of our own.
pub(crate) fn sip(status: u16, text: &str) -> Bytes {
    value("SIP", status, text)
}

fn value(protocol: &str, cause: u16, text: &str) -> Bytes {
    let text = (!text.is_empty()).then(|| text.chars().take(128).collect());
    Reason { protocol: protocol.to_owned(), cause: Some(cause), text }.to_bytes()
}

/// The status that says to SIP what a Q.850 cause says to the telephone network (RFC 3398 §7.2.4.1); 480 for a cause
/// that is not in its table.
///
/// Two departures, both usual: 21 is 603, since with us it is a person who refuses, and 88 is 488, which says more.
#[must_use]
pub fn status_for_cause(cause: u8) -> u16 {
    match cause {
        1..=3 | 26 => 404,
        17 => 486,
        18 => 408,
        21 => 603,
        22 | 23 => 410,
        27 => 502,
        28 => 484,
        29 | 79 => 501,
        34 | 38 | 41 | 42 | 47 | 58 => 503,
        55 | 57 | 87 => 403,
        65 | 70 | 88 => 488,
        102 => 504,
        111 | 127 => 500,
        _ => 480,
    }
}

/// The Q.850 cause that says to the telephone network what a final status says (RFC 3398 §8.2.6.1); `None` for what is
/// no refusal. Statuses that are younger than the RFC have the cause of their nearest relative.
#[must_use]
pub fn cause_for_status(status: u16) -> Option<u8> {
    Some(match status {
        ..400 => return None,
        404 | 485 | 604 => 1,
        // Cancelled before the answer: the caller hung up, which is no fault.
        487 => 16,
        486 | 600 => 17,
        480 => 18,
        // 607 and 608: a person, or somebody in its place, does not want the call (RFC 8197, RFC 8688).
        401..=403 | 407 | 603 | 607 | 608 => 21,
        410 => 22,
        482 | 483 => 25,
        484 => 28,
        502 => 38,
        400 | 481 | 500 | 503 => 41,
        405 => 63,
        406 | 415 | 501 => 79,
        488 | 606 => 88,
        408 | 504 => 102,
        // 413, 414, 416, 420, 421, 423, 505, 513 by the table, and whatever nobody knows.
        _ => 127,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Field, Method, Uri};

    #[test]
    fn what_we_write_reads_back() {
        let mut message = Message::request(Method::Bye, Uri::from_text("sip:a@h").unwrap());
        assert_eq!(read(&message), (None, None));
        message.headers.push(Field::Reason, sip(200, "")).unwrap();
        message.headers.push(Field::Reason, q850(17, "busy; \"line\"\r\nVia: x")).unwrap();
        assert_eq!(read(&message), (Some(17), Some("busy; \"line\"  Via: x".into())));
    }

    #[test]
    fn causes_and_statuses_say_the_same() {
        for (cause, status) in
            [(1, 404), (17, 486), (21, 603), (22, 410), (28, 484), (41, 503), (79, 501), (88, 488), (102, 504)]
        {
            assert_eq!((status_for_cause(cause), cause_for_status(status)), (status, Some(cause)));
        }
        for (status, cause) in [(600, 17), (480, 18), (403, 21), (607, 21), (608, 21), (487, 16), (500, 41), (699, 127)]
        {
            assert_eq!(cause_for_status(status), Some(cause));
        }
        for (cause, status) in [(16, 480), (31, 480), (127, 500), (0, 480), (255, 480)] {
            assert_eq!(status_for_cause(cause), status);
        }
        assert!((100..400).all(|status| cause_for_status(status).is_none()));
        assert!((0..=255).all(|cause| (400..700).contains(&status_for_cause(cause))));
    }
}
