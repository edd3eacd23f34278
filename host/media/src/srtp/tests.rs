//! Both directions together, for every suite: what a far end, a lossy network and an attacker can do.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::rtp::{HEADER, write_header};
use proptest::prelude::*;

const SSRC: u32 = 0xCAFE_BABE;

fn keys(suite: SrtpSuite, seed: u8) -> SrtpKeys {
    SrtpKeys::random(suite, &std::array::from_fn(|n| seed.wrapping_mul(31).wrapping_add(n as u8)))
}

fn pair(suite: SrtpSuite) -> (Protector, Unprotector) {
    let keys = keys(suite, 1);
    (Protector::new(&keys), Unprotector::new(&keys))
}

fn packet(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; HEADER];
    write_header(&mut header, false, 8, sequence, u32::from(sequence) * 160, ssrc);
    [&header, payload].concat()
}

fn seal(protector: &mut Protector, plain: &[u8]) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + OVERHEAD, 0xEE);
    let length = protector.rtp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn seal_rtcp(protector: &mut Protector, plain: &[u8]) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + OVERHEAD, 0xEE);
    let length = protector.rtcp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn open(unprotector: &mut Unprotector, sealed: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = sealed.to_vec();
    let opened = unprotector.rtp(&mut buffer);
    if opened.is_err() {
        assert_eq!(buffer, sealed, "what is refused is left as it was");
    }
    opened.map(|length| buffer[..length].to_vec())
}

fn open_rtcp(unprotector: &mut Unprotector, sealed: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = sealed.to_vec();
    let opened = unprotector.rtcp(&mut buffer);
    if opened.is_err() {
        assert_eq!(buffer, sealed, "what is refused is left as it was");
    }
    opened.map(|length| buffer[..length].to_vec())
}

const REPORT: [u8; 28] = *b"\x80\xC8\0\x06\xCA\xFE\xBA\xBEntp-ntp-rtp-pack-byt";

#[test]
fn what_is_sent_is_heard_over_three_rollovers() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let mut sequence = 65_000_u16;
        // In steps that a lossy line may have: any less than half a round.
        for step in [1_u16, 1, 600, 1, 30_000, 30_000, 30_000, 20_000, 32_767, 1, 1].into_iter().cycle().take(40) {
            sequence = sequence.wrapping_add(step);
            let plain = packet(SSRC, sequence, &[7; 160]);
            let sealed = seal(&mut sender, &plain);
            assert_ne!(sealed[HEADER..172], plain[HEADER..]);
            assert_eq!(open(&mut receiver, &sealed), Ok(plain), "{suite}");
        }
    }
}

#[test]
fn the_tags_are_as_long_as_the_suite_says() {
    let added = SrtpSuite::ALL.map(|suite| {
        let (mut sender, _) = pair(suite);
        let rtcp = seal_rtcp(&mut sender, &REPORT).len() - REPORT.len();
        (seal(&mut sender, &packet(SSRC, 1, &[])).len() - HEADER, rtcp)
    });
    assert_eq!(added, [(16, 20), (16, 20), (10, 14), (4, 14)]);
}

#[test]
fn who_joins_late_finds_the_counter() {
    for (first, heard) in [(65_530, 3_u16), (10, 40), (65_535, 0)] {
        let (mut sender, mut receiver) = pair(SrtpSuite::AeadAes128Gcm);
        seal(&mut sender, &packet(SSRC, first, b"lost"));
        let plain = packet(SSRC, heard, b"heard");
        assert_eq!(open(&mut receiver, &seal(&mut sender, &plain)), Ok(plain));
        let plain = packet(SSRC, heard + 1, b"heard");
        assert_eq!(open(&mut receiver, &seal(&mut sender, &plain)), Ok(plain));
    }
}

#[test]
fn another_key_goes_on_where_the_last_one_was() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        for sequence in [65_535, 0, 1] {
            open(&mut receiver, &seal(&mut sender, &packet(SSRC, sequence, b"a packet of the old key"))).unwrap();
        }
        open_rtcp(&mut receiver, &seal_rtcp(&mut sender, &REPORT)).unwrap();
        let in_flight = seal(&mut sender, &packet(SSRC, 2, b"a packet of the old key"));
        let new = keys(SrtpSuite::AesCm128HmacSha1_80, 2);
        sender.rekey(&new);
        let mut successor = receiver.successor(&new);
        let plain = packet(SSRC, 3, b"a packet of the new key");
        let sealed = seal(&mut sender, &plain);
        assert_eq!(open(&mut receiver, &sealed), Err(SrtpError::Unauthentic));
        assert_eq!(open(&mut successor, &sealed), Ok(plain));
        assert_eq!(open(&mut successor, &sealed), Err(SrtpError::Replayed));
        assert!(open_rtcp(&mut successor, &seal_rtcp(&mut sender, &REPORT)).is_ok());
        assert!(open(&mut receiver, &in_flight).is_ok(), "the old key is still good for what it sealed");
        // A far end that begins to count anew with its new key.
        let mut fresh = Protector::new(&new);
        let mut successor = receiver.successor(&new);
        for sequence in 4..8 {
            let plain = packet(SSRC, sequence, b"a packet of the new key");
            assert_eq!(open(&mut successor, &seal(&mut fresh, &plain)), Ok(plain));
        }
    }
}

#[test]
fn an_index_is_never_used_twice() {
    let (mut sender, _) = pair(SrtpSuite::AeadAes256Gcm);
    seal(&mut sender, &packet(SSRC, 100, b"x"));
    for sequence in [100, 99, 0] {
        let mut buffer = packet(SSRC, sequence, &[0; OVERHEAD + 1]);
        assert_eq!(sender.rtp(&mut buffer, HEADER + 1), Err(SrtpError::Exhausted), "{sequence}");
    }
}

#[test]
fn many_streams_of_the_far_end_and_none_of_strangers_are_remembered() {
    let (_, mut receiver) = pair(SrtpSuite::AesCm128HmacSha1_80);
    let known = keys(SrtpSuite::AesCm128HmacSha1_80, 1);
    let mut senders: Vec<_> = (0..8).map(|ssrc| (ssrc, Protector::new(&known))).collect();
    for sequence in 0..5 {
        for (ssrc, sender) in &mut senders {
            let plain = packet(*ssrc, sequence, b"media");
            let sealed = seal(sender, &plain);
            assert_eq!(open(&mut receiver, &sealed), Ok(plain));
            // A flood of strangers between any two packets pushes nobody out.
            for stranger in 1_000..1_050 {
                assert_eq!(open(&mut receiver, &packet(stranger, sequence, &[1; 30])), Err(SrtpError::Unauthentic));
            }
            assert_eq!(open(&mut receiver, &sealed), Err(SrtpError::Replayed));
        }
    }
    // A ninth takes the place of the one that was silent for longest.
    let (ninth, mut sender) = (99, Protector::new(&known));
    let plain = packet(ninth, 0, b"media");
    assert_eq!(open(&mut receiver, &seal(&mut sender, &plain)), Ok(plain));
}

#[test]
fn what_is_not_secure_rtcp_is_refused() {
    let (mut sender, mut receiver) = pair(SrtpSuite::AesCm128HmacSha1_80);
    assert_eq!(open_rtcp(&mut receiver, &REPORT), Err(SrtpError::Unauthentic));
    let sealed = seal_rtcp(&mut sender, &REPORT);
    let mut in_the_clear = sealed.clone();
    let at = sealed.len() - 14;
    in_the_clear[at] &= 0x7F;
    assert_eq!(open_rtcp(&mut receiver, &in_the_clear), Err(SrtpError::Unauthentic));
    for length in 0..sealed.len() {
        assert!(open_rtcp(&mut receiver, &sealed[..length]).is_err());
    }
    assert_eq!(open_rtcp(&mut receiver, &sealed), Ok(REPORT.to_vec()));
}

fn suites() -> impl Strategy<Value = SrtpSuite> {
    prop::sample::select(&SrtpSuite::ALL[..])
}

proptest! {
    #[test]
    fn sealed_and_opened_is_the_same(suite in suites(), seed: u8, ssrc: u32, sequence: u16, payload in prop::collection::vec(any::<u8>(), 0..700), mki in prop::option::of(any::<u32>())) {
        let key = keys(suite, seed);
        let key = mki.map_or(key.clone(), |mki| SrtpKeys::from_inline(suite, &format!("{}|{mki}:4", key.to_inline())).unwrap());
        let (mut sender, mut receiver) = (Protector::new(&key), Unprotector::new(&key));
        let plain = packet(ssrc, sequence, &payload);
        let sealed = seal(&mut sender, &plain);
        prop_assert_eq!(open(&mut receiver, &sealed), Ok(plain));
        prop_assert_eq!(open(&mut receiver, &sealed), Err(SrtpError::Replayed));
        let report = [&REPORT[..], &payload[..payload.len() / 4 * 4]].concat();
        let sealed = seal_rtcp(&mut sender, &report);
        prop_assert_eq!(open_rtcp(&mut receiver, &sealed), Ok(report));
        prop_assert_eq!(open_rtcp(&mut receiver, &sealed), Err(SrtpError::Replayed));
    }

    #[test]
    fn any_bit_that_is_turned_is_noticed(suite in suites(), at: prop::sample::Index, cut: prop::sample::Index) {
        let (mut sender, mut receiver) = pair(suite);
        for rtcp in [false, true] {
            let sealed = if rtcp { seal_rtcp(&mut sender, &REPORT) } else { seal(&mut sender, &packet(SSRC, 7, b"secret")) };
            let mut tampered = sealed.clone();
            let bit = at.index(sealed.len() * 8);
            tampered[bit / 8] ^= 1 << (bit % 8);
            let open = if rtcp { open_rtcp } else { open };
            let opened = open(&mut receiver, &tampered);
            prop_assert!(opened.is_err(), "bit {}", bit);
            let opened = open(&mut receiver, &sealed[..cut.index(sealed.len())]);
            prop_assert!(opened.is_err(), "cut");
            let opened = open(&mut receiver, &sealed);
            prop_assert!(opened.is_ok(), "nothing was remembered");
        }
    }

    /// Loss, doubles and disorder within the window: everything that comes is heard, once.
    #[test]
    fn disorder_is_put_up_with(suite in suites(), first: u16, delays in prop::collection::vec((0_usize..100, 1_u8..4), 50..200)) {
        let (mut sender, mut receiver) = pair(suite);
        let mut arrivals: Vec<(usize, u16, Vec<u8>)> = Vec::new();
        for (n, (delay, copies)) in delays.iter().enumerate() {
            let sequence = first.wrapping_add(n as u16);
            let sealed = seal(&mut sender, &packet(SSRC, sequence, b"media"));
            for copy in 0..*copies {
                arrivals.push((n + (delay + usize::from(copy) * 7) % 100, sequence, sealed.clone()));
            }
        }
        // The first one tells the counter: it must not come before a rollover that it was sent after.
        arrivals.sort_by_key(|(at, sequence, _)| if *sequence == first { 0 } else { at + 1 });
        let mut heard = std::collections::HashSet::new();
        for (_, sequence, sealed) in arrivals {
            let expected = if heard.insert(sequence) { Ok(packet(SSRC, sequence, b"media")) } else { Err(SrtpError::Replayed) };
            prop_assert_eq!(open(&mut receiver, &sealed), expected);
        }
    }

    #[test]
    fn any_bytes_are_survived(suite in suites(), datagram: Vec<u8>, length: usize) {
        let (mut sender, mut receiver) = pair(suite);
        let mut buffer = datagram.clone();
        let _ = (receiver.rtp(&mut buffer), receiver.rtcp(&mut buffer));
        prop_assert_eq!(&buffer, &datagram);
        let _ = (sender.rtp(&mut buffer, length), sender.rtcp(&mut datagram.clone(), length));
        let length = length % (buffer.len() + 1);
        let _ = (sender.rtp(&mut buffer, length), sender.rtcp(&mut datagram.clone(), length));
    }
}
