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

/// The status that refuses a call for a Q.850 cause (the common ones of RFC 3398 §7.2.4.1; 21 is a person's refusal).
pub(crate) fn status_for(cause: u8) -> u16 {
    match cause {
        1..=3 => 404,
        17 => 486,
        18 => 408,
        21 => 603,
        22 => 410,
        27 => 502,
        28 => 484,
        34 | 38 | 41 | 42 | 47 => 503,
        55 | 57 => 403,
        65 | 79 => 501,
        88 => 488,
        _ => 480,
    }
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
}
