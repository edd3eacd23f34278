//! The STUN that a phone uses to keep its NAT open on the UDP port of SIP: binding requests without more
//! (RFC 5626 §4.4.2, RFC 8489).

use std::net::{IpAddr, SocketAddr};

const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_RESPONSE: [u8; 2] = [0x01, 0x01];
const BINDING_ERROR: [u8; 2] = [0x01, 0x11];
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// Attributes that a request may carry and that mean nothing here: credentials, priorities, checks.
const IGNORED: [u16; 3] = [0x0006, 0x0008, 0x0024];
/// Unknown attributes that an error lists; the response stays small.
const MAX_UNKNOWN: usize = 4;

/// Whether a datagram is STUN and not SIP: the two top bits and the magic cookie tell (RFC 8489 §6).
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER && datagram[0] & 0xc0 == 0 && datagram[4..8] == COOKIE
}

/// The answer to a binding request from `source`; none for anything else.
pub(crate) fn answer(datagram: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    if !is_stun(datagram) || datagram[..2] != BINDING_REQUEST {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
    let transaction = &datagram[4..HEADER];
    let attributes = datagram.get(HEADER..HEADER + length).filter(|_| length % 4 == 0)?;
    let unknown = unknown(attributes)?;
    let mut body = Vec::with_capacity(24);
    if unknown.is_empty() {
        put(&mut body, XOR_MAPPED_ADDRESS, &mapped(source, transaction));
        return Some(message(BINDING_RESPONSE, transaction, &body));
    }
    put(&mut body, ERROR_CODE, &[0, 0, 4, 20]);
    let list: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    put(&mut body, UNKNOWN_ATTRIBUTES, &list);
    Some(message(BINDING_ERROR, transaction, &body))
}

/// The attributes that would have to be understood and are not; none where they cannot be read.
fn unknown(mut rest: &[u8]) -> Option<Vec<u16>> {
    let mut found = Vec::new();
    while let [a, b, c, d, tail @ ..] = rest {
        let (kind, length) = (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
        rest = tail.get(length.next_multiple_of(4)..)?;
        let must = kind < 0x8000 && !IGNORED.contains(&kind);
        if must && found.len() < MAX_UNKNOWN && !found.contains(&kind) {
            found.push(kind);
        }
    }
    rest.is_empty().then_some(found)
}

/// XOR-MAPPED-ADDRESS (RFC 8489 §14.2): so that no NAT on the way takes it for an address of its own to mend.
fn mapped(source: SocketAddr, transaction: &[u8]) -> Vec<u8> {
    let port = source.port().to_be_bytes();
    let ip = source.ip().to_canonical();
    let (family, address) = match ip {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let mut value = vec![0, family, port[0] ^ COOKIE[0], port[1] ^ COOKIE[1]];
    // The cookie and the transaction follow each other, here and in the header.
    value.extend(address.iter().zip(transaction).map(|(byte, key)| byte ^ key));
    value
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(kind.to_be_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn message(kind: [u8; 2], transaction: &[u8], body: &[u8]) -> Vec<u8> {
    let mut message = kind.to_vec();
    message.extend(u16::try_from(body.len()).unwrap_or_default().to_be_bytes());
    message.extend(transaction);
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(attributes: &[u8]) -> Vec<u8> {
        let transaction: Vec<u8> = COOKIE.into_iter().chain(*b"abcdefghijkl").collect();
        message(BINDING_REQUEST, &transaction, attributes)
    }

    #[test]
    fn a_phone_learns_how_it_is_seen() {
        // The example of RFC 5769 §2.2, its transaction and its mapped address.
        let transaction =
            [0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let request = message(BINDING_REQUEST, &transaction, &[]);
        let answer = answer(&request, "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(answer[..4], [1, 1, 0, 12]);
        assert_eq!(answer[4..20], transaction);
        assert_eq!(answer[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let v6 = super::answer(&request, "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()).unwrap();
        // RFC 5769 §2.3.
        let expected = [
            0, 0x20, 0, 20, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5,
            0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(v6[20..], expected);
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_refused() {
        let source = "192.0.2.1:1".parse().unwrap();
        // SOFTWARE may be ignored; 0x7777 may not.
        let software = [0x80, 0x22, 0, 1, b'x', 0, 0, 0];
        assert_eq!(answer(&request(&software), source).unwrap()[..2], BINDING_RESPONSE);
        let odd = [software.as_slice(), &[0x77, 0x77, 0, 0]].concat();
        let refused = answer(&request(&odd), source).unwrap();
        assert_eq!(refused[..2], BINDING_ERROR);
        assert_eq!(refused[20..], [0, 9, 0, 4, 0, 0, 4, 20, 0, 10, 0, 2, 0x77, 0x77, 0, 0]);
        // Cut off, another method, a response, no cookie.
        assert_eq!(answer(&request(&odd[..10]), source), None);
        for (at, byte) in [(1, 2), (0, 1), (4, 0)] {
            let mut other = request(&[]);
            other[at] = byte;
            assert_eq!(answer(&other, source), None);
        }
        assert!(!is_stun(b"OPTIONS sip:a@b SIP/2.0\r\n"));
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_small_answer_or_none(
            head in prop::bool::ANY,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = if head { request(&bytes[..bytes.len() / 4 * 4]) } else { bytes };
            if let Some(answer) = answer(&bytes, "[2001:db8::1]:9".parse().unwrap()) {
                prop_assert!(answer.len() <= 44);
                prop_assert_eq!(usize::from(u16::from_be_bytes([answer[2], answer[3]])) + HEADER, answer.len());
            }
        }
    }
}
