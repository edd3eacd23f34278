//! The little that must be known of a STUN message before anything is computed for it: whose it is (RFC 8489 §5, §14.3).

/// Every message has this in its header.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0, 1];
const USERNAME: u16 = 6;
/// Attributes that are looked at; a check has about eight.
const MOST_ATTRIBUTES: usize = 32;

/// By its first byte a datagram is STUN, not DTLS, RTP or RTCP (RFC 7983).
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// By its first byte a datagram is a record of DTLS (RFC 7983).
#[must_use]
pub fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (20..64).contains(first))
}

/// By its first byte a datagram is RTP or RTCP (RFC 7983).
#[must_use]
pub fn is_media(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (128..192).contains(first))
}

/// The `a=ice-ufrag` of ours that a check names: the first half of its USERNAME (RFC 8445 §7.2.2). None for anything
/// else than a whole Binding request that names one. Nothing is computed or copied.
#[must_use]
pub fn named(datagram: &[u8]) -> Option<&str> {
    let (header, mut attributes) = datagram.split_at_checked(HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[..2] != BINDING_REQUEST || header[4..8] != COOKIE || length != attributes.len() {
        return None;
    }
    for _ in 0..MOST_ATTRIBUTES {
        let (head, rest) = attributes.split_first_chunk::<4>()?;
        let (kind, length) =
            (u16::from_be_bytes([head[0], head[1]]), usize::from(u16::from_be_bytes([head[2], head[3]])));
        let value = rest.get(..length)?;
        if kind == USERNAME {
            return std::str::from_utf8(value).ok()?.split_once(':').map(|(ours, _)| ours);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = vec![0, 1];
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(COOKIE);
        message.extend([7; 12]);
        message.extend(body);
        message
    }

    #[test]
    fn a_check_names_us_wherever_its_name_stands() {
        assert_eq!(named(&request(&[(USERNAME, b"ours:theirs")])), Some("ours"));
        assert_eq!(named(&request(&[(0x24, &[1; 4]), (0x8022, b"agent"), (USERNAME, b"ours:x")])), Some("ours"));
        assert_eq!(named(&request(&[(0x24, &[1; 4])])), None);
        assert_eq!(named(&request(&[(USERNAME, b"alone")])), None);
        let whole = request(&[(USERNAME, b"ours:theirs")]);
        for length in 0..whole.len() {
            assert_eq!(named(&whole[..length]), None, "cut to {length}");
        }
        assert_eq!(named(&[&whole[..], b"x"].concat()), None);
        let mut answer = whole;
        answer[0] = 1;
        assert_eq!(named(&answer), None);
    }

    proptest! {
        #[test]
        fn any_datagram_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = named(&bytes);
            let mut message = request(&[]);
            message.extend(&bytes);
            let length = (bytes.len() as u16).to_be_bytes();
            message[2..4].copy_from_slice(&length);
            let _ = named(&message);
            prop_assert!(u8::from(is_stun(&bytes)) + u8::from(is_dtls(&bytes)) + u8::from(is_media(&bytes)) <= 1);
        }
    }
}
