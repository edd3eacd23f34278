//! The server side: INVITE (RFC 3261 §17.2.1, RFC 6026 §8.5) and everything else (§17.2.2).

use super::{Backoff, Expiry, Timing, earlier};
use std::time::Instant;

/// What to do with a request that matched the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerReaction {
    /// A repetition: send the last response again, where there is one.
    Resend,
    /// A repetition, or an ACK that has done its work: nothing to do.
    Absorb,
    /// The ACK of a 2xx: it belongs to the dialog.
    PassToDialog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Trying or Proceeding: no final response yet.
    Proceeding,
    /// A 2xx to an INVITE went out; the dialog repeats it, repetitions of the request are absorbed.
    Accepted,
    /// A final response went out.
    Completed,
    /// The ACK of a 300–699 came.
    Confirmed,
    Terminated,
}

/// One server transaction.
#[derive(Clone, Debug)]
pub struct ServerTransaction {
    invite: bool,
    reliable: bool,
    timing: Timing,
    state: State,
    /// Timer G.
    resend: Option<Backoff>,
    /// Timer H, I, J or L, whichever the state has.
    end: Option<Instant>,
}

impl ServerTransaction {
    /// Begins with the first arrival of the request. `reliable` says whether the transport is.
    #[must_use]
    pub fn start(invite: bool, reliable: bool, timing: Timing) -> Self {
        Self { invite, reliable, timing, state: State::Proceeding, resend: None, end: None }
    }

    /// Whether no final response has gone out yet.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.state == State::Proceeding
    }

    /// The request came again.
    pub fn repeated(&mut self) -> ServerReaction {
        match self.state {
            State::Proceeding | State::Completed => ServerReaction::Resend,
            State::Accepted | State::Confirmed | State::Terminated => ServerReaction::Absorb,
        }
    }

    /// An ACK with this INVITE's key came.
    pub fn acknowledged(&mut self, now: Instant) -> ServerReaction {
        match self.state {
            State::Completed => {
                self.resend = None;
                self.state = State::Confirmed;
                // Timer I: absorbs further ACKs; none can come on a reliable transport.
                self.end = Some(if self.reliable { now } else { now + self.timing.t4 });
                ServerReaction::Absorb
            }
            State::Accepted => ServerReaction::PassToDialog,
            State::Proceeding | State::Confirmed | State::Terminated => ServerReaction::Absorb,
        }
    }

    /// The user sends a response. Returns whether it may go out: after a final one no other does.
    pub fn respond(&mut self, now: Instant, status: u16) -> bool {
        if self.state != State::Proceeding {
            return false;
        }
        if status >= 200 {
            let life = self.timing.transaction_life();
            if !self.invite {
                self.state = State::Completed;
                self.end = Some(if self.reliable { now } else { now + life });
            } else if status < 300 {
                self.state = State::Accepted;
                self.end = Some(now + life);
            } else {
                self.state = State::Completed;
                self.end = Some(now + life);
                if !self.reliable {
                    self.resend = Some(Backoff::start(now, self.timing.t1, Some(self.timing.t2)));
                }
            }
        }
        true
    }

    /// When [`expired`](Self::expired) wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.end, self.resend.map(|r| r.at))
    }

    /// Fires what is due.
    pub fn expired(&mut self, now: Instant) -> Expiry {
        if self.end.is_some_and(|end| end <= now) {
            // A refusal without its ACK is no harm (the call is over either way), so nobody is told.
            self.state = State::Terminated;
            self.end = None;
            self.resend = None;
            return Expiry::Finished;
        }
        let again = self.resend.as_mut().is_some_and(|resend| resend.fire(now));
        if again { Expiry::Retransmit } else { Expiry::Nothing }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some first moment")]
    use super::*;
    use std::time::Duration;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_refusal_is_repeated_until_its_ack() {
        let start = Instant::now();
        let mut transaction = ServerTransaction::start(true, false, Timing::default());
        assert!(transaction.respond(start, 180));
        assert_eq!(transaction.deadline(), None);
        assert!(transaction.respond(start, 486));
        assert_eq!(transaction.expired(start + ms(500)), Expiry::Retransmit);
        assert_eq!(transaction.expired(start + ms(1500)), Expiry::Retransmit);
        assert_eq!(transaction.acknowledged(start + ms(1600)), ServerReaction::Absorb);
        assert_eq!(transaction.expired(start + ms(3500)), Expiry::Nothing);
        assert_eq!(transaction.acknowledged(start + ms(3600)), ServerReaction::Absorb);
        assert_eq!(transaction.expired(start + ms(6600)), Expiry::Finished);
    }

    #[test]
    fn a_refusal_without_ack_is_given_up_after_64_t1() {
        let start = Instant::now();
        let mut transaction = ServerTransaction::start(true, false, Timing::default());
        transaction.respond(start, 404);
        let mut sent = Vec::new();
        loop {
            let at = transaction.deadline().unwrap();
            match transaction.expired(at) {
                Expiry::Retransmit => sent.push((at - start).as_millis()),
                end => {
                    assert_eq!((end, at - start), (Expiry::Finished, ms(32_000)));
                    break;
                }
            }
        }
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    }

    #[test]
    fn after_a_2xx_repetitions_are_absorbed_and_acks_go_to_the_dialog() {
        let start = Instant::now();
        let mut transaction = ServerTransaction::start(true, false, Timing::default());
        transaction.respond(start, 200);
        assert_eq!(transaction.repeated(), ServerReaction::Absorb);
        assert_eq!(transaction.acknowledged(start), ServerReaction::PassToDialog);
        assert!(!transaction.respond(start, 487), "a CANCEL after the 200 changes nothing");
        assert_eq!(transaction.expired(start + ms(32_000)), Expiry::Finished);
    }

    #[test]
    fn other_requests_repeat_their_response_for_64_t1() {
        let start = Instant::now();
        let mut transaction = ServerTransaction::start(false, false, Timing::default());
        assert_eq!(transaction.repeated(), ServerReaction::Resend);
        transaction.respond(start, 200);
        assert_eq!(transaction.repeated(), ServerReaction::Resend);
        assert_eq!(transaction.expired(start + ms(31_999)), Expiry::Nothing);
        assert_eq!(transaction.expired(start + ms(32_000)), Expiry::Finished);
    }

    #[test]
    fn nothing_lingers_on_a_reliable_transport() {
        let start = Instant::now();
        let mut bye = ServerTransaction::start(false, true, Timing::default());
        bye.respond(start, 200);
        assert_eq!(bye.expired(start), Expiry::Finished);
        let mut invite = ServerTransaction::start(true, true, Timing::default());
        invite.respond(start, 486);
        assert_eq!(invite.deadline(), Some(start + ms(32_000)));
        invite.acknowledged(start);
        assert_eq!(invite.expired(start), Expiry::Finished);
    }
}
