//! DTLS-SRTP (RFC 5763, RFC 5764): a handshake on the media path that gives the keys of SRTP.
//!
//! One handshake for each component: for RTP, and for RTCP where that has a port of its own. It is told what came and
//! what time it is, and says what to send; whom to believe is decided before it ([`crate::shield`]).

use crate::error::MediaError;
use crate::security::{DtlsRole, Fingerprint};
use crate::srtp::{SrtpKeys, SrtpSuite};
use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile, certificate};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest that a handshake takes from its first message on, retransmissions included.
const LIMIT: Duration = Duration::from_secs(20);
/// The longest that we wait for it to end, from the plan that asked for it on: far ends may begin late.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long its last messages are sent again for a far end that missed them.
const LINGER: Duration = Duration::from_secs(60);
/// The longest datagram of a handshake: an Ethernet frame holds no more.
const DATAGRAM: usize = 2_048;
/// When what was not answered is sent again first; the time doubles from there. Telephones are near (RFC 6347 §4.2.4.1
/// would wait a second), and a caller hears nothing until the handshake is done.
const RETRANSMIT: Duration = Duration::from_millis(400);

/// Who we are in every handshake of a plane.
pub(crate) struct Credentials {
    certificate: DtlsCertificate,
    config: Arc<Config>,
    fingerprint: Fingerprint,
    /// The moment from which times are counted.
    start: Instant,
}

impl Credentials {
    /// Makes a key and a certificate that nobody but the SDP vouches for (RFC 5763 §5). `start` is the beginning of
    /// the plane's clock.
    ///
    /// # Errors
    /// [`MediaError::Start`] when the system has no randomness.
    pub(crate) fn generate(start: Instant) -> Result<Self, MediaError> {
        let failed = |error: String| MediaError::Start { what: "a DTLS certificate", source: io::Error::other(error) };
        let certificate = certificate::generate_self_signed_certificate().map_err(|error| failed(error.to_string()))?;
        let config = Config::builder().flight_start_rto(RETRANSMIT).flight_retries(5).handshake_timeout(LIMIT);
        let config = Arc::new(config.build().map_err(|error| failed(error.to_string()))?);
        let fingerprint = Fingerprint::of(&certificate.certificate);
        Ok(Self { certificate, config, fingerprint, start })
    }

    /// Of the certificate, for SDP.
    pub(crate) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The certificate and its key, for who shakes hands by other means.
    pub(crate) const fn certificate(&self) -> &DtlsCertificate {
        &self.certificate
    }
}

/// The keys that a handshake gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Established {
    pub(crate) send: SrtpKeys,
    pub(crate) receive: SrtpKeys,
}

/// Where a handshake has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing new.
    Going,
    /// The far end is who the SDP says, and both sides have these keys. Said once.
    Done(Box<Established>),
    /// It will not end well. Said once.
    Failed(String),
}

/// One handshake.
pub(crate) struct Handshake {
    /// None once it has failed or is over.
    dtls: Option<Dtls>,
    role: DtlsRole,
    fingerprint: Fingerprint,
    start: Instant,
    /// Where the far end is.
    peer: SocketAddr,
    /// When time must be told again.
    next: Duration,
    /// When it must be done; after that, when it is forgotten.
    deadline: Duration,
    /// The certificate was the right one.
    verified: bool,
    keys: Option<Box<Established>>,
    connected: bool,
    done: bool,
    /// There are keys already: should it fail, they go on.
    renewal: bool,
}

impl Handshake {
    /// Begins, or waits for the far end to begin.
    pub(crate) fn new(
        credentials: &Credentials,
        role: DtlsRole,
        fingerprint: Fingerprint,
        peer: SocketAddr,
        now: Duration,
    ) -> Self {
        let (config, certificate) = (Arc::clone(&credentials.config), credentials.certificate.clone());
        // 1.2 alone: no telephone speaks 1.3, and who speaks both answers in 1.2.
        let mut dtls = Dtls::new_12(config, certificate, credentials.start + now);
        dtls.set_active(role == DtlsRole::Active);
        Self {
            dtls: Some(dtls),
            role,
            fingerprint,
            start: credentials.start,
            peer,
            next: now,
            deadline: now + PATIENCE,
            verified: false,
            keys: None,
            connected: false,
            done: false,
            renewal: false,
        }
    }

    /// Another one after the first, with the same far end (RFC 5763 §6.6): it has moved, or begins anew. Should nothing
    /// come of it, the keys that there are go on.
    pub(crate) fn renew(&mut self, credentials: &Credentials, peer: SocketAddr, now: Duration) {
        *self = Self { renewal: true, ..Self::new(credentials, self.role, self.fingerprint, peer, now) };
    }

    /// The far end is to be found here, where it has not been heard yet.
    pub(crate) const fn retarget(&mut self, peer: SocketAddr) {
        if !self.done {
            self.peer = peer;
        }
    }

    /// Whether this is a far end's wish to begin anew: we wait for it to begin, and the last time is over.
    pub(crate) fn begins_anew(&self, datagram: &[u8]) -> bool {
        // A record of a handshake in the clear (epoch 0), in it a ClientHello.
        let hello = datagram.len() > 13 && datagram[0] == 22 && datagram[3..5] == [0, 0] && datagram[13] == 1;
        hello && self.done && self.role == DtlsRole::Passive
    }

    /// It has given its keys.
    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// We begin.
    pub(crate) const fn is_active(&self) -> bool {
        matches!(self.role, DtlsRole::Active)
    }

    /// Whether it is, or was, what this plan asks for.
    pub(crate) fn serves(&self, role: DtlsRole, fingerprint: Fingerprint) -> bool {
        (self.role, self.fingerprint) == (role, fingerprint) && (self.done || self.dtls.is_some())
    }

    /// Takes a datagram from a far end that may be believed.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        source: SocketAddr,
        datagram: &[u8],
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) -> Step {
        let Some(dtls) = &mut self.dtls else { return Step::Going };
        if !self.done {
            self.peer = source;
        }
        let taken = dtls.handle_timeout(self.start + now).and_then(|()| dtls.handle_packet(datagram));
        match taken {
            Ok(()) => self.poll(send),
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// The time is `now`: sends again what was not answered.
    pub(crate) fn tick(&mut self, now: Duration, send: &mut impl FnMut(SocketAddr, &[u8])) -> Step {
        if now >= self.deadline {
            return self.fail("no DTLS handshake in time".into());
        }
        let Some(dtls) = self.dtls.as_mut().filter(|_| now >= self.next) else { return Step::Going };
        match dtls.handle_timeout(self.start + now) {
            Ok(()) => self.poll(send),
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// Says goodbye, where there is somebody to say it to.
    pub(crate) fn close(&mut self, send: &mut impl FnMut(SocketAddr, &[u8])) {
        if self.done && self.dtls.as_mut().is_some_and(|dtls| dtls.close().is_ok()) {
            self.poll(send);
        }
    }

    fn poll(&mut self, send: &mut impl FnMut(SocketAddr, &[u8])) -> Step {
        let mut buffer = [0; DATAGRAM];
        loop {
            let Some(dtls) = &mut self.dtls else { return Step::Going };
            match dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => send(self.peer, packet),
                Output::PeerCert(certificate) => {
                    self.verified = self.fingerprint.matches(certificate);
                    if !self.verified {
                        let found = Fingerprint::of(certificate);
                        return self.fail(format!("the certificate is not the one of the SDP but {found}"));
                    }
                }
                Output::KeyingMaterial(material, profile) => match split(&material, profile, self.is_active()) {
                    Some(keys) => self.keys = Some(Box::new(keys)),
                    None => return self.fail("keys of an unknown form".into()),
                },
                Output::Connected => self.connected = true,
                Output::BufferTooSmall { .. } => return self.fail("a message longer than any datagram".into()),
                Output::CloseNotify => self.deadline = Duration::ZERO,
                Output::Timeout(at) => {
                    self.next = at.saturating_duration_since(self.start);
                    break;
                }
                // Data, which has no meaning here.
                _ => {}
            }
        }
        if self.done || !self.connected {
            return Step::Going;
        }
        match self.keys.take() {
            Some(keys) if self.verified => {
                self.done = true;
                self.renewal = false;
                self.deadline += LINGER;
                Step::Done(keys)
            }
            _ => self.fail("no SRTP suite in common, or no certificate".into()),
        }
    }

    fn fail(&mut self, why: String) -> Step {
        let told = self.done || self.dtls.is_none();
        self.dtls = None;
        self.deadline = Duration::MAX;
        if self.renewal {
            self.done = true;
            return Step::Going;
        }
        if told { Step::Going } else { Step::Failed(why) }
    }
}

fn split(material: &[u8], profile: SrtpProfile, active: bool) -> Option<Established> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => SrtpSuite::AesCm128HmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => SrtpSuite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => SrtpSuite::AeadAes256Gcm,
        _ => return None,
    };
    let (send, receive) = SrtpKeys::of_handshake(suite, material, active)?;
    Some(Established { send, receive })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::collections::VecDeque;

    #[allow(clippy::disallowed_methods, reason = "the beginning of a virtual clock")]
    fn credentials() -> Credentials {
        Credentials::generate(Instant::now()).unwrap()
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    /// Both ends, in virtual time, over a line that loses what `lost` says of the n-th datagram.
    struct Ends {
        sides: [Handshake; 2],
        outcome: [Option<Step>; 2],
        line: VecDeque<(usize, Vec<u8>)>,
        now: Duration,
        sent: usize,
    }

    impl Ends {
        fn new(fingerprints: impl FnOnce([Fingerprint; 2]) -> [Fingerprint; 2]) -> Self {
            let both = [credentials(), credentials()];
            // Each expects the other's.
            let [first, second] = fingerprints([both[1].fingerprint(), both[0].fingerprint()]);
            let sides = [
                Handshake::new(&both[0], DtlsRole::Active, first, at(2), Duration::ZERO),
                Handshake::new(&both[1], DtlsRole::Passive, second, at(1), Duration::ZERO),
            ];
            Self { sides, outcome: [None, None], line: VecDeque::new(), now: Duration::ZERO, sent: 0 }
        }

        fn run(&mut self, lost: impl Fn(usize) -> bool) {
            while self.now < Duration::from_secs(45) && self.outcome.iter().any(Option::is_none) {
                while let Some((to, datagram)) = self.line.pop_front() {
                    let (now, line, sent) = (self.now, &mut self.line, &mut self.sent);
                    let step = self.sides[to].take(now, at(2 - to as u16), &datagram, &mut |_, packet| {
                        *sent += 1;
                        if !lost(*sent) {
                            line.push_back((1 - to, packet.to_vec()));
                        }
                    });
                    self.note(to, step);
                }
                self.now += Duration::from_millis(20);
                for from in 0..2 {
                    let (now, line, sent) = (self.now, &mut self.line, &mut self.sent);
                    let step = self.sides[from].tick(now, &mut |_, packet| {
                        *sent += 1;
                        if !lost(*sent) {
                            line.push_back((1 - from, packet.to_vec()));
                        }
                    });
                    self.note(from, step);
                }
            }
        }

        fn note(&mut self, side: usize, step: Step) {
            if step != Step::Going {
                assert!(self.outcome[side].is_none(), "told twice");
                self.outcome[side] = Some(step);
            }
        }

        fn established(&self) -> [&Established; 2] {
            [0, 1].map(|side| match &self.outcome[side] {
                Some(Step::Done(keys)) => &**keys,
                other => panic!("{other:?}"),
            })
        }
    }

    #[test]
    fn both_ends_have_the_same_keys() {
        let mut ends = Ends::new(|right| right);
        ends.run(|_| false);
        let [one, other] = ends.established();
        assert_eq!((&one.send, &one.receive), (&other.receive, &other.send));
        assert_ne!(one.send, one.receive);
        assert!(ends.sides.iter().all(|side| side.done));
        assert!(ends.now < Duration::from_millis(200), "{:?}", ends.now);
    }

    #[test]
    fn what_is_lost_is_sent_again() {
        // Any one message, or any three in a row.
        for burst in (1..=14).flat_map(|n| [n..n + 1, n..n + 3]) {
            let mut ends = Ends::new(|right| right);
            ends.run(|n| burst.contains(&n));
            let [one, other] = ends.established();
            assert_eq!(one.send, other.receive, "{burst:?} are lost");
        }
    }

    #[test]
    fn another_certificate_than_the_one_of_the_sdp_is_refused() {
        for wrong in [0, 1] {
            let mut ends = Ends::new(|mut right| {
                right[wrong] = Fingerprint::of(b"somebody else");
                right
            });
            ends.run(|_| false);
            let Some(Step::Failed(why)) = &ends.outcome[wrong] else { panic!("{:?}", ends.outcome) };
            assert!(why.contains("sha-256"), "{why}");
            assert!(!ends.sides[wrong].done);
        }
    }

    #[test]
    fn a_far_end_that_never_answers_is_given_up() {
        let mut ends = Ends::new(|right| right);
        ends.run(|_| true);
        assert!(matches!(&ends.outcome[..], [Some(Step::Failed(_)), Some(Step::Failed(_))]), "{:?}", ends.outcome);
        assert!(ends.sent < 20, "{} ClientHellos", ends.sent);
        assert!((Duration::from_secs(10)..=PATIENCE).contains(&ends.now), "{:?}", ends.now);
    }

    #[test]
    fn any_datagram_is_survived() {
        let mut ends = Ends::new(|right| right);
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        for n in 0..2_000_usize {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut junk: Vec<u8> = (0..n % 60).map(|at| (random >> (at % 57)) as u8).collect();
            if let Some(first) = junk.first_mut() {
                *first = 20 + (random % 5) as u8;
            }
            for side in &mut ends.sides {
                assert_eq!(side.take(Duration::ZERO, at(9), &junk, &mut |_, _| {}), Step::Going, "{junk:02x?}");
            }
        }
        ends.sides[0].peer = at(2);
        ends.run(|_| false);
        ends.established();
    }
}
