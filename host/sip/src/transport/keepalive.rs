//! When to ask whether the peer of a connection is still there, and when to believe that it is not (RFC 5626 §4.4).

use crate::ua::ConnectionId;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer to a ping may take (RFC 5626 §4.4.1).
const PONG: Duration = Duration::from_secs(10);
/// How many times longer a connection that we opened may go without a message than one that a stranger opened: our
/// registrations and trunks live on it, and pings show that it works.
const OURS: u32 = 6;

/// The clock of one connection.
#[derive(Debug)]
pub(crate) struct Keepalive {
    /// How often to ask; none where the peer is to ask us.
    every: Option<Duration>,
    /// Whether we opened the connection: then only messages show that it is of use.
    ours: bool,
    idle: Duration,
    pong: Duration,
    /// When anything came.
    heard: Instant,
    /// When a message came.
    message: Instant,
    /// A ping went out at this moment, and nothing has come since.
    pinged: Option<Instant>,
    /// The peer has answered a ping before, so that silence means something. Many do not know this kind of ping.
    answers: bool,
}

impl Keepalive {
    /// For a connection that begins now. `every` is shortened by up to a fifth, by the connection's number, so that
    /// not all of them ask at the same time.
    pub(crate) fn new(now: Instant, ours: bool, id: ConnectionId, every: Duration, idle: Duration) -> Self {
        let percent = 80 + u32::try_from(id.0 * 7 % 21).unwrap_or_default();
        Self {
            every: ours.then(|| (every * percent / 100).max(Duration::from_millis(10))),
            ours,
            idle: if ours { idle * OURS } else { idle },
            pong: PONG.min(every),
            heard: now,
            message: now,
            pinged: None,
            answers: false,
        }
    }

    /// The same for a protocol whose pings have to be answered, and which both sides send.
    pub(crate) fn strict(now: Instant, id: ConnectionId, every: Duration, idle: Duration) -> Self {
        Self { answers: true, ours: false, idle, ..Self::new(now, true, id, every, idle) }
    }

    /// Something came.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// It was a message.
    pub(crate) fn message(&mut self) {
        self.message = self.heard;
        self.pinged = None;
    }

    /// It was an answer to a ping; says whether one was waited for.
    pub(crate) fn ponged(&mut self) -> bool {
        let waited = self.pinged.take().is_some();
        self.answers |= waited;
        waited
    }

    fn quiet(&self) -> Instant {
        if self.ours { self.message + self.idle } else { self.heard + self.idle }
    }

    /// When to look again, should nothing come.
    pub(crate) fn next(&self) -> Instant {
        let quiet = self.quiet();
        let next = match (self.pinged, self.every) {
            (Some(pinged), _) if self.answers => pinged + self.pong,
            (Some(pinged), Some(every)) => pinged + every,
            (None, Some(every)) => self.heard + every,
            (_, None) => quiet,
        };
        next.min(quiet)
    }

    /// Looks. True means: ping. False means that there is nobody, or nothing to say to each other: close.
    pub(crate) fn due(&mut self, now: Instant) -> bool {
        let dead = self.answers && self.pinged.is_some_and(|pinged| pinged + self.pong <= now);
        if dead || self.quiet() <= now {
            return false;
        }
        self.pinged = Some(now);
        self.every.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some first moment")]
    use super::*;

    const EVERY: Duration = Duration::from_secs(100);
    const IDLE: Duration = Duration::from_secs(600);

    /// Lets time pass until the clock wants to be asked.
    fn wait(keepalive: &mut Keepalive, now: &mut Instant) -> bool {
        *now = keepalive.next();
        keepalive.due(*now)
    }

    #[test]
    fn a_peer_that_answered_once_has_to_answer_again() {
        let start = Instant::now();
        let mut now = start;
        let mut keepalive = Keepalive::new(now, true, ConnectionId(0), EVERY, IDLE);
        assert!(wait(&mut keepalive, &mut now));
        assert_eq!(now - start, Duration::from_secs(80), "100 s less a fifth");
        keepalive.heard(now);
        assert!(keepalive.ponged());
        assert!(!keepalive.ponged(), "one answer for one question");
        assert!(wait(&mut keepalive, &mut now));
        assert!(!wait(&mut keepalive, &mut now), "no answer within ten seconds");
        assert_eq!(now - start, Duration::from_secs(170));
    }

    #[test]
    fn a_peer_that_knows_no_pings_is_pinged_until_it_is_idle() {
        let start = Instant::now();
        let mut now = start;
        let mut keepalive = Keepalive::new(now, true, ConnectionId(1), EVERY, IDLE);
        let mut pings = 0;
        while wait(&mut keepalive, &mut now) {
            pings += 1;
        }
        assert!(pings >= 35, "{pings}");
        assert_eq!(now - start, IDLE * OURS);
    }

    #[test]
    fn a_stranger_is_not_asked_and_leaves_when_idle() {
        let mut now = Instant::now();
        let mut keepalive = Keepalive::new(now, false, ConnectionId(1), EVERY, IDLE);
        let heard = now + Duration::from_secs(300);
        keepalive.heard(heard);
        assert!(!wait(&mut keepalive, &mut now));
        assert_eq!(now - heard, IDLE, "its own keep-alives count");
    }

    #[test]
    fn a_web_socket_has_to_answer_the_first_time() {
        let start = Instant::now();
        let mut now = start;
        let mut keepalive = Keepalive::strict(now, ConnectionId(0), EVERY, IDLE);
        assert!(wait(&mut keepalive, &mut now));
        assert!(!wait(&mut keepalive, &mut now));
        assert_eq!(now - start, Duration::from_secs(90));
    }
}
