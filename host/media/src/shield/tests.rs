//! Two shields with a line between them, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::codec::Codec;
use crate::rtp::{HEADER, write_header};
use crate::security::{DtlsRole, Fingerprint};
use std::collections::VecDeque;
use std::time::Instant;

const STRANGER: [u8; 4] = [10, 66, 66, 66];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn keys(suite: SrtpSuite, seed: u8) -> SrtpKeys {
    SrtpKeys::random(suite, &std::array::from_fn(|n| seed.wrapping_mul(17).wrapping_add(n as u8)))
}

/// Packets on their way, by component, and events.
#[derive(Default)]
struct Line {
    sent: VecDeque<(usize, Vec<u8>)>,
    events: Vec<MediaEvent>,
}

impl Path for Line {
    fn datagram(&mut self, component: usize, _: SocketAddr, datagram: &[u8]) {
        self.sent.push_back((component, datagram.to_vec()));
    }

    fn event(&mut self, event: MediaEvent) {
        self.events.push(event);
    }
}

struct Side {
    shield: Shield,
    line: Line,
    credentials: Credentials,
    sequence: u16,
    host: IpAddr,
}

impl Side {
    #[allow(clippy::disallowed_methods, reason = "the beginning of a virtual clock")]
    fn new(host: u8) -> Self {
        let credentials = Credentials::generate(Instant::now()).unwrap();
        let host = IpAddr::from([10, 0, 0, host]);
        Self { shield: Shield::default(), line: Line::default(), credentials, sequence: 100, host }
    }

    fn configure(&mut self, now: Duration, far: IpAddr, security: Security, mux: bool) {
        let remote = SocketAddr::new(far, 4_000);
        let mut plan = MediaPlan { security, ..MediaPlan::new(Codec::Pcmu, 0, remote) };
        if mux {
            plan.remote_rtcp = remote;
        }
        self.shield.configure(now, &plan, &self.credentials, &mut self.line);
    }

    /// The next packet, sealed; none where it may not be sent.
    fn say(&mut self, rtcp: Option<usize>) -> Option<Vec<u8>> {
        let mut header = [0; HEADER];
        write_header(&mut header, false, 0, self.sequence, 0, 7);
        self.sequence += 1;
        let mut buffer = [0; 300];
        let packet = [&header[..], &[0x55; 160]].concat();
        match rtcp {
            Some(which) => self.shield.seal(which, true, b"\x80\xC9\0\x01\0\0\0\x07", &mut buffer),
            None => self.shield.seal(RTP, false, &packet, &mut buffer),
        }
        .map(<[u8]>::to_vec)
    }

    fn hears(&mut self, now: Duration, from: IpAddr, which: usize, datagram: &[u8]) -> bool {
        let mut datagram = datagram.to_vec();
        let source = SocketAddr::new(from, 4_000 + which as u16);
        let taken = self.shield.take(
            now,
            Arrival { which, source, heard: None },
            &mut datagram,
            &self.credentials,
            &mut self.line,
        );
        matches!(taken, Inbound::Media(_))
    }
}

struct Pair {
    sides: [Side; 2],
    now: Duration,
}

impl Pair {
    fn new() -> Self {
        Self { sides: [Side::new(1), Side::new(2)], now: ms(0) }
    }

    fn sdes(&mut self, side: usize, suite: SrtpSuite, seeds: [u8; 2]) {
        let far = self.sides[1 - side].host;
        let (send, receive) = (keys(suite, seeds[side]), keys(suite, seeds[1 - side]));
        self.sides[side].configure(self.now, far, Security::Sdes { send, receive }, false);
    }

    fn dtls(&mut self, side: usize, role: DtlsRole, mux: bool) {
        let (far, fingerprint) = (self.sides[1 - side].host, self.sides[1 - side].credentials.fingerprint());
        self.sides[side].configure(self.now, far, Security::Dtls { role, fingerprint }, mux);
    }

    /// A packet of one is heard by the other.
    fn talks(&mut self, from: usize) -> bool {
        let (now, host) = (self.now, self.sides[from].host);
        self.sides[from].say(None).is_some_and(|packet| self.sides[1 - from].hears(now, host, RTP, &packet))
    }

    fn run(&mut self, until: Duration) {
        while self.now < until {
            for from in 0..2 {
                let side = &mut self.sides[from];
                side.shield.tick(self.now, &mut side.line);
                let host = side.host;
                while let Some((which, datagram)) = self.sides[from].line.sent.pop_front() {
                    assert!(!self.sides[1 - from].hears(self.now, host, which, &datagram));
                }
            }
            self.now += ms(20);
        }
    }

    fn events(&mut self, side: usize) -> Vec<MediaEvent> {
        std::mem::take(&mut self.sides[side].line.events)
    }
}

#[test]
fn with_keys_of_the_sdp_both_talk_at_once_and_nothing_else_is_heard() {
    for suite in SrtpSuite::ALL {
        let mut pair = Pair::new();
        assert!(pair.sides[0].shield.is_ready() && pair.sides[0].shield.suite().is_none());
        pair.sdes(0, suite, [1, 2]);
        pair.sdes(1, suite, [1, 2]);
        assert_eq!(pair.events(0), [MediaEvent::SecurityEstablished { suite }]);
        assert!(pair.talks(0) && pair.talks(1));
        assert_eq!(pair.sides[0].shield.suite(), Some(suite));
        let (now, host) = (pair.now, pair.sides[0].host);
        for which in [RTP, RTCP] {
            let report = pair.sides[0].say(Some(which)).unwrap();
            assert!(pair.sides[1].hears(now, host, which, &report));
            assert!(!pair.sides[1].hears(now, host, which, &report), "again");
            assert!(!pair.sides[1].hears(now, host, which, b"\x80\xC9\0\x01\0\0\0\x07"), "in the clear");
        }
        let mut plain = [0x80; 172];
        plain[1] = 0;
        assert!(!pair.sides[1].hears(now, host, RTP, &plain), "in the clear");
        assert!(!pair.sides[1].hears(now, host, RTP, &[]));
        assert_eq!(pair.sides[1].shield.refused(), Refused { unauthentic: 4, replayed: 2 });
    }
}

#[test]
fn a_plan_that_repeats_its_keys_changes_nothing() {
    let mut pair = Pair::new();
    for round in 0..3 {
        pair.sdes(0, SrtpSuite::AeadAes128Gcm, [1, 2]);
        pair.sdes(1, SrtpSuite::AeadAes128Gcm, [1, 2]);
        assert_eq!(pair.events(0).len(), usize::from(round == 0));
        let (now, host) = (pair.now, pair.sides[0].host);
        let packet = pair.sides[0].say(None).unwrap();
        assert!(pair.sides[1].hears(now, host, RTP, &packet));
        pair.sdes(1, SrtpSuite::AeadAes128Gcm, [1, 2]);
        assert!(!pair.sides[1].hears(now, host, RTP, &packet), "the window of replays is kept");
    }
}

#[test]
fn keys_change_without_a_gap() {
    // The side that answers has the new keys first; the one that offered gets them with the answer, later.
    let mut pair = Pair::new();
    pair.sdes(0, SrtpSuite::AesCm128HmacSha1_80, [1, 2]);
    pair.sdes(1, SrtpSuite::AesCm128HmacSha1_80, [1, 2]);
    assert!(pair.talks(0) && pair.talks(1));
    pair.sdes(1, SrtpSuite::AeadAes256Gcm, [3, 4]);
    for _ in 0..10 {
        assert!(pair.talks(0) && pair.talks(1), "the answer is on its way");
        pair.run(pair.now + ms(20));
    }
    let late = pair.sides[0].say(None).unwrap();
    pair.sdes(0, SrtpSuite::AeadAes256Gcm, [3, 4]);
    let host = pair.sides[0].host;
    // The one that offered waits for the other, and the other for it: the first one's patience ends it.
    for _ in 0..40 {
        assert!(pair.talks(0) && pair.talks(1));
        pair.run(pair.now + ms(20));
    }
    let now = pair.now;
    assert!(pair.sides[1].hears(now, host, RTP, &late), "a packet in flight");
    assert_eq!(pair.sides.each_ref().map(|side| side.shield.suite()), [Some(SrtpSuite::AeadAes256Gcm); 2]);
    // After a while the old key is nobody's.
    let mut old = Protector::new(&keys(SrtpSuite::AesCm128HmacSha1_80, 1));
    let mut packet = [0x80; 200];
    let length = old.rtp(&mut packet, 172).unwrap();
    pair.run(pair.now + ms(40_000));
    let now = pair.now;
    assert!(!pair.sides[1].hears(now, host, RTP, &packet[..length]));
    assert!(pair.talks(0) && pair.talks(1));
}

#[test]
fn a_handshake_gives_the_keys_and_nothing_passes_before() {
    for (role, mux) in [(DtlsRole::Active, true), (DtlsRole::Passive, true), (DtlsRole::Active, false)] {
        let mut pair = Pair::new();
        let other = if role == DtlsRole::Active { DtlsRole::Passive } else { DtlsRole::Active };
        pair.dtls(0, role, mux);
        assert!(!pair.sides[0].shield.is_ready());
        assert_eq!(pair.sides[0].say(None), None);
        let (now, host) = (pair.now, pair.sides[1].host);
        assert!(!pair.sides[0].hears(now, host, RTP, &[0x80; 172]), "in the clear, and early");
        // One side has its plan later: the handshake waits for it, or is kept.
        pair.run(ms(60));
        pair.dtls(1, other, mux);
        pair.run(ms(1_500));
        for side in 0..2 {
            let suite = SrtpSuite::AeadAes256Gcm;
            assert_eq!(pair.events(side), [MediaEvent::SecurityEstablished { suite }], "{role:?} {mux}");
        }
        assert!(pair.talks(0) && pair.talks(1));
        let (now, which) = (pair.now, if mux { RTP } else { RTCP });
        let report = pair.sides[1].say(Some(which)).unwrap();
        assert!(pair.sides[0].hears(now, host, which, &report));
        assert!(!pair.sides[0].hears(now, host, 1 - which, &report), "each component has its own keys");
        // Hold, resume: nothing is negotiated again.
        pair.dtls(0, role, mux);
        pair.dtls(1, other, mux);
        assert!(pair.talks(0) && pair.talks(1));
        pair.run(pair.now + ms(200));
        assert!(pair.events(0).is_empty() && pair.talks(0));
    }
}

#[test]
fn another_fingerprint_begins_another_handshake_while_the_old_keys_serve() {
    let mut pair = Pair::new();
    pair.dtls(0, DtlsRole::Active, true);
    pair.dtls(1, DtlsRole::Passive, true);
    pair.run(ms(1_000));
    assert!(pair.talks(0) && pair.talks(1));
    // The far end's certificate is another one, and so are the roles.
    let fresh = Side::new(2);
    pair.sides[1].credentials = fresh.credentials;
    pair.dtls(0, DtlsRole::Passive, true);
    assert!(pair.talks(0) && pair.talks(1), "until it is done");
    pair.dtls(1, DtlsRole::Active, true);
    assert!(pair.talks(0) && pair.talks(1));
    pair.run(pair.now + ms(2_000));
    assert_eq!(pair.events(0).len(), 2);
    assert!(pair.talks(0) && pair.talks(1));
}

#[test]
fn a_far_end_that_moves_or_begins_anew_is_followed_and_who_only_says_so_changes_nothing() {
    let mut pair = Pair::new();
    pair.dtls(0, DtlsRole::Active, true);
    pair.dtls(1, DtlsRole::Passive, true);
    let (now, side) = (pair.now, &mut pair.sides[0]);
    side.shield.tick(now, &mut side.line);
    let hello = side.line.sent[0].1.clone();
    pair.run(ms(1_000));
    assert!(pair.talks(0) && pair.talks(1));
    // A late copy of the first message, or a forgery: nothing comes of it, and nothing ends.
    let (now, host) = (pair.now, pair.sides[0].host);
    pair.sides[1].hears(now, host, RTP, &hello);
    pair.run(pair.now + ms(40_000));
    assert!(pair.talks(0) && pair.talks(1));
    assert_eq!(pair.sides.each_ref().map(|side| side.line.events.len()), [1, 1]);
    // Another program with the same certificate takes over: it shakes hands anew, from another address.
    let mut fresh = Side::new(1);
    std::mem::swap(&mut fresh.credentials, &mut pair.sides[0].credentials);
    pair.sides[0] = fresh;
    pair.dtls(0, DtlsRole::Active, true);
    pair.dtls(1, DtlsRole::Passive, true);
    pair.run(pair.now + ms(1_000));
    assert!(pair.talks(0) && pair.talks(1));
    assert_eq!(pair.events(1).len(), 2);
}

#[test]
fn we_begin_anew_where_the_far_end_has_moved_and_go_on_where_it_has_only_moved() {
    for answers in [true, false] {
        let mut pair = Pair::new();
        pair.dtls(0, DtlsRole::Active, true);
        pair.dtls(1, DtlsRole::Passive, true);
        pair.run(ms(1_000));
        pair.events(0);
        let fingerprint = pair.sides[1].credentials.fingerprint();
        let security = Security::Dtls { role: DtlsRole::Active, fingerprint };
        let nowhere = SocketAddr::from(([0; 4], 0));
        let held = MediaPlan { security, remote_rtcp: nowhere, ..MediaPlan::new(Codec::Pcmu, 0, nowhere) };
        let (now, side) = (pair.now, &mut pair.sides[0]);
        side.shield.configure(now, &held, &side.credentials, &mut side.line);
        pair.dtls(0, DtlsRole::Active, true);
        pair.run(pair.now + ms(200));
        assert!(pair.talks(0) && pair.events(0).is_empty(), "a hold is no move");
        let moved = SocketAddr::new(pair.sides[1].host, 4_444);
        let moved = MediaPlan { remote: moved, remote_rtcp: moved, ..held };
        let (now, side) = (pair.now, &mut pair.sides[0]);
        side.shield.configure(now, &moved, &side.credentials, &mut side.line);
        if answers {
            pair.run(pair.now + ms(1_000));
            assert_eq!(pair.events(0).len(), 1);
        } else {
            for tick in 0..2_500 {
                side.shield.tick(now + ms(tick * 20), &mut side.line);
            }
            assert!(side.line.events.is_empty(), "{:?}", side.line.events);
            pair.sides[0].line.sent.clear();
        }
        assert!(pair.talks(0) && pair.talks(1));
    }
}

#[test]
fn the_wrong_certificate_ends_it() {
    let mut pair = Pair::new();
    let far = pair.sides[1].host;
    let forged = Security::Dtls { role: DtlsRole::Active, fingerprint: Fingerprint::of(b"somebody else") };
    pair.sides[0].configure(pair.now, far, forged, true);
    pair.dtls(1, DtlsRole::Passive, true);
    pair.run(ms(35_000));
    assert!(matches!(&pair.events(0)[..], [MediaEvent::SecurityFailed { why }] if why.contains("certificate")));
    assert!(!pair.sides[0].shield.is_ready());
    assert_eq!(pair.sides[0].say(None), None);
}

#[test]
fn strangers_get_no_answer_in_a_handshake() {
    let mut pair = Pair::new();
    pair.dtls(0, DtlsRole::Active, true);
    let (now, side) = (pair.now, &mut pair.sides[0]);
    side.shield.tick(now, &mut side.line);
    let (_, hello) = side.line.sent.pop_front().unwrap();
    pair.dtls(1, DtlsRole::Passive, true);
    for n in 0..1_000 {
        assert!(!pair.sides[1].hears(ms(n / 10), STRANGER.into(), RTP, &hello));
    }
    assert!(pair.sides[1].line.sent.is_empty(), "nothing is computed, nothing is sent");
    assert_eq!(pair.sides[1].shield.refused().unauthentic, 1_000);
    // Who forges the address of the SDP is answered with cookies, so many a second.
    let host = pair.sides[0].host;
    for n in 0..1_000 {
        pair.sides[1].hears(ms(n / 10), host, RTP, &hello);
    }
    assert!((1..=64).contains(&pair.sides[1].line.sent.len()), "{}", pair.sides[1].line.sent.len());
    assert!(pair.sides[1].line.sent.iter().all(|(_, datagram)| datagram.len() <= hello.len()), "no amplification");
    pair.sides[1].line.sent.clear();
    pair.run(ms(3_000));
    assert!(pair.talks(0) && pair.talks(1), "the far end gets through");
}

#[test]
fn what_comes_before_the_plan_is_kept_within_bounds() {
    let mut side = Side::new(1);
    let stranger = SocketAddr::from((STRANGER, 5));
    let mut line = Line::default();
    for n in 0..10_000_u32 {
        let mut datagram = vec![22; n as usize % 3_000];
        assert_eq!(
            side.shield.take(
                ms(0),
                Arrival { which: RTP, source: stranger, heard: None },
                &mut datagram,
                &side.credentials,
                &mut line
            ),
            match datagram.len() {
                0 => Inbound::Media(0),
                _ => Inbound::Nothing,
            }
        );
    }
    let kept = side.shield.components[RTP].early.as_ref().unwrap();
    assert!(kept.1.len() <= EARLY && kept.1.capacity() <= EARLY * 2);
    assert!(line.sent.is_empty() && line.events.is_empty());
}
