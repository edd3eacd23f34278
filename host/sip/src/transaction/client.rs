//! The client side: INVITE (RFC 3261 §17.1.1, RFC 6026 §8.4) and everything else (§17.1.2).

use super::{Backoff, Expiry, Timing, earlier};
use std::time::Instant;

/// What to do with a response that matched the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientReaction {
    /// Hand it to the user.
    Deliver,
    /// Hand it to the user, and acknowledge it within this transaction (a 300–699 to an INVITE).
    DeliverAndAck,
    /// A final response seen before: acknowledge it again, tell nobody.
    AckAgain,
    /// A repetition that means nothing.
    Absorb,
    /// Hand it to the user, and forget the transaction (nothing can repeat it on a reliable transport).
    DeliverAndFinish,
    /// Acknowledge, hand to the user, and forget the transaction.
    DeliverAckAndFinish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calling or Trying: no response yet.
    Waiting,
    /// A 1xx came.
    Proceeding,
    /// A 2xx to an INVITE came; more of them may follow (forks, repetitions).
    Accepted,
    /// A final response came; repetitions are absorbed.
    Completed,
    Terminated,
}

/// One client transaction.
#[derive(Clone, Debug)]
pub struct ClientTransaction {
    invite: bool,
    reliable: bool,
    timing: Timing,
    state: State,
    /// Timer A or E.
    resend: Option<Backoff>,
    /// Timer B, F, D, K or M, whichever the state has.
    end: Option<Instant>,
}

impl ClientTransaction {
    /// Begins with the first sending of the request. `reliable` says whether the transport is.
    #[must_use]
    pub fn start(now: Instant, invite: bool, reliable: bool, timing: Timing) -> Self {
        let ceiling = (!invite).then_some(timing.t2);
        Self {
            invite,
            reliable,
            timing,
            state: State::Waiting,
            resend: (!reliable).then(|| Backoff::start(now, timing.t1, ceiling)),
            end: Some(now + timing.transaction_life()),
        }
    }

    /// Whether no response has come yet: then a CANCEL has to wait (RFC 3261 §9.1).
    #[must_use]
    pub fn unanswered(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether no final response has come yet.
    #[must_use]
    pub fn pending(&self) -> bool {
        matches!(self.state, State::Waiting | State::Proceeding)
    }

    /// The request went out over another transport after the first failed: starts from the beginning.
    pub fn restart(&mut self, now: Instant, reliable: bool) {
        *self = Self::start(now, self.invite, reliable, self.timing);
    }

    /// There is another server to try: this one has 8·T1 to say something.
    pub fn hurry(&mut self, now: Instant) {
        if self.state == State::Waiting {
            self.end = Some(now + self.timing.t1 * 8);
        }
    }

    /// The user cancelled the INVITE: if no final response comes, the transaction ends 64·T1 from now (§9.1).
    pub fn cancelled(&mut self, now: Instant) {
        if self.invite && self.state == State::Proceeding {
            self.end = Some(now + self.timing.transaction_life());
        }
    }

    /// A response with this status came.
    pub fn response(&mut self, now: Instant, status: u16) -> ClientReaction {
        match (self.state, status) {
            (State::Waiting | State::Proceeding, ..=199) => {
                let first = self.state == State::Waiting;
                self.state = State::Proceeding;
                if self.invite {
                    // Timers A and B stop: from here the user decides how long it rings (§17.1.1.2).
                    self.resend = None;
                    if first {
                        self.end = None;
                    }
                } else if let Some(resend) = &mut self.resend {
                    // Timer E goes on at T2 (§17.1.2.2).
                    resend.wait = self.timing.t2;
                }
                ClientReaction::Deliver
            }
            (State::Waiting | State::Proceeding, 200..=299) if self.invite => {
                self.resend = None;
                self.state = State::Accepted;
                self.end = Some(now + self.timing.transaction_life());
                ClientReaction::Deliver
            }
            (State::Waiting | State::Proceeding, _) => {
                self.resend = None;
                if self.reliable {
                    self.state = State::Terminated;
                    self.end = None;
                    return if self.invite {
                        ClientReaction::DeliverAckAndFinish
                    } else {
                        ClientReaction::DeliverAndFinish
                    };
                }
                self.state = State::Completed;
                // Timer D is at least 32 s and T1 may be shorter in tests, so 64·T1 stands for it.
                let wait = if self.invite { self.timing.transaction_life() } else { self.timing.t4 };
                self.end = Some(now + wait);
                if self.invite { ClientReaction::DeliverAndAck } else { ClientReaction::Deliver }
            }
            // Each 2xx goes up: the user acknowledges it, and a second branch of a fork answers this way (RFC 6026 §7.2).
            (State::Accepted, 200..=299) => ClientReaction::Deliver,
            (State::Completed, 300..) if self.invite => ClientReaction::AckAgain,
            (State::Accepted | State::Completed | State::Terminated, _) => ClientReaction::Absorb,
        }
    }

    /// When [`expired`](Self::expired) wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.end, self.resend.map(|r| r.at))
    }

    /// Fires what is due.
    pub fn expired(&mut self, now: Instant) -> Expiry {
        if self.end.is_some_and(|end| end <= now) {
            let silent = matches!(self.state, State::Waiting | State::Proceeding);
            self.state = State::Terminated;
            self.end = None;
            self.resend = None;
            return if silent { Expiry::TimedOut } else { Expiry::Finished };
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

    /// The moments at which the request is sent again, until the end.
    fn schedule(mut transaction: ClientTransaction, start: Instant) -> (Vec<u64>, Expiry, u64) {
        let mut sent = Vec::new();
        loop {
            let at = transaction.deadline().unwrap();
            let after = u64::try_from((at - start).as_millis()).unwrap();
            match transaction.expired(at) {
                Expiry::Retransmit => sent.push(after),
                Expiry::Nothing => panic!("a deadline with nothing due"),
                end => return (sent, end, after),
            }
        }
    }

    #[test]
    fn an_unanswered_invite_doubles_its_wait_and_ends_after_64_t1() {
        let start = Instant::now();
        let transaction = ClientTransaction::start(start, true, false, Timing::default());
        let (sent, end, at) = schedule(transaction, start);
        assert_eq!(sent, [500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!((end, at), (Expiry::TimedOut, 32_000));
    }

    #[test]
    fn another_request_waits_at_most_t2() {
        let start = Instant::now();
        let transaction = ClientTransaction::start(start, false, false, Timing::default());
        let (sent, end, at) = schedule(transaction, start);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!((end, at), (Expiry::TimedOut, 32_000));
    }

    #[test]
    fn nothing_is_sent_again_on_a_reliable_transport() {
        let start = Instant::now();
        for invite in [true, false] {
            let (sent, end, at) = schedule(ClientTransaction::start(start, invite, true, Timing::default()), start);
            assert_eq!((sent.len(), end, at), (0, Expiry::TimedOut, 32_000));
        }
    }

    #[test]
    fn a_provisional_response_stops_the_invite_timers_until_cancelled() {
        let start = Instant::now();
        let mut transaction = ClientTransaction::start(start, true, false, Timing::default());
        assert!(transaction.unanswered());
        assert_eq!(transaction.response(start, 100), ClientReaction::Deliver);
        assert_eq!(transaction.deadline(), None);
        transaction.cancelled(start + ms(10));
        assert_eq!(transaction.deadline(), Some(start + ms(32_010)));
        assert_eq!(transaction.response(start + ms(20), 180), ClientReaction::Deliver);
        assert_eq!(transaction.deadline(), Some(start + ms(32_010)), "a late 180 must not undo the end");
        assert_eq!(transaction.expired(start + ms(32_010)), Expiry::TimedOut);
    }

    #[test]
    fn a_provisional_response_slows_other_requests_to_t2() {
        let start = Instant::now();
        let mut transaction = ClientTransaction::start(start, false, false, Timing::default());
        transaction.response(start + ms(100), 100);
        assert_eq!(transaction.expired(start + ms(500)), Expiry::Retransmit);
        assert_eq!(transaction.deadline(), Some(start + ms(4500)));
    }

    #[test]
    fn a_refusal_is_acknowledged_each_time_and_told_once() {
        let start = Instant::now();
        let mut transaction = ClientTransaction::start(start, true, false, Timing::default());
        assert_eq!(transaction.response(start, 486), ClientReaction::DeliverAndAck);
        assert_eq!(transaction.response(start, 486), ClientReaction::AckAgain);
        assert_eq!(transaction.response(start, 180), ClientReaction::Absorb);
        assert_eq!(transaction.response(start, 200), ClientReaction::Absorb);
        assert_eq!(transaction.expired(start + ms(32_000)), Expiry::Finished);
    }

    #[test]
    fn each_2xx_goes_up_while_accepted() {
        let start = Instant::now();
        let mut transaction = ClientTransaction::start(start, true, false, Timing::default());
        for _ in 0..3 {
            assert_eq!(transaction.response(start, 200), ClientReaction::Deliver);
        }
        assert_eq!(transaction.response(start, 486), ClientReaction::Absorb);
        assert_eq!(transaction.expired(start + ms(32_000)), Expiry::Finished);
    }

    #[test]
    fn a_final_response_ends_it_at_once_on_a_reliable_transport() {
        let start = Instant::now();
        let mut bye = ClientTransaction::start(start, false, true, Timing::default());
        assert_eq!(bye.response(start, 200), ClientReaction::DeliverAndFinish);
        assert_eq!(bye.deadline(), None);
        let mut invite = ClientTransaction::start(start, true, true, Timing::default());
        assert_eq!(invite.response(start, 404), ClientReaction::DeliverAckAndFinish);
    }
}
