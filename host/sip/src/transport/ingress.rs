//! The bounded queue between the sockets and the driver.
//!
//! It has two classes. New requests may wait and are shed first; what belongs to something that exists – responses,
//! ACKs, BYEs, requests with a To tag – goes ahead of them, so that a flood of new calls does not kill the old ones.
//! Among the new requests calls go ahead of the rest, as far as that leaves the rest a part: ten thousand telephones that
//! register after a power cut can wait, and a caller who waited is refused.
//! Before them stands the [`Gate`]: what a source sends above its rate, and what blocked ones ask, never gets in.

use crate::overload::{Gate, GateCounts, Pass, SipLimits, SourcePolicy};
use crate::ua::Flow;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A message with the moment it was read from its socket.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) bytes: Bytes,
    pub(crate) flow: Flow,
    pub(crate) at: Instant,
}

#[derive(Debug)]
struct Queues {
    gate: Gate,
    known: VecDeque<Arrival>,
    /// New requests: INVITE, and the others.
    calls: VecDeque<Arrival>,
    others: VecDeque<Arrival>,
    /// Counts what found no room, by class.
    dropped: (u64, u64),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ingress {
    queues: Mutex<Queues>,
    capacity: usize,
    filled: Notify,
    emptied: Notify,
}

/// How long a connection is not read from when its source sends too much.
const SLOWLY: Duration = Duration::from_millis(20);

/// Of the places that are left for new requests, calls get all but one of so many while others wait.
const OTHERS: usize = 4;

impl Queues {
    /// The queue that a message belongs into, and the count of those that its class had no room for.
    fn queue(&mut self, new: bool, bytes: &[u8]) -> (&mut VecDeque<Arrival>, &mut u64) {
        match new {
            false => (&mut self.known, &mut self.dropped.0),
            true if bytes.starts_with(b"INVITE ") => (&mut self.calls, &mut self.dropped.1),
            true => (&mut self.others, &mut self.dropped.1),
        }
    }
}

impl Ingress {
    pub(crate) fn new(limits: &SipLimits) -> Self {
        let queues = Queues {
            gate: Gate::new(limits),
            known: VecDeque::new(),
            calls: VecDeque::new(),
            others: VecDeque::new(),
            dropped: (0, 0),
        };
        Self {
            queues: Mutex::new(queues),
            capacity: limits.ingress_queue.max(16),
            filled: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// From now on this is known of the sources.
    pub(crate) fn set_sources(&self, policy: &SourcePolicy) {
        self.lock().gate.set_policy(policy);
    }

    /// Drops new requests of this source from now on.
    pub(crate) fn block(&self, now: Instant, source: IpAddr, until: Instant) {
        self.lock().gate.block(now, source, until);
    }

    /// Whether a connection from there is taken on.
    pub(crate) fn connection(&self, now: Instant, source: IpAddr) -> bool {
        self.lock().gate.connection(now, source)
    }

    /// What did not get in.
    pub(crate) fn gate(&self) -> GateCounts {
        self.lock().gate.counts
    }

    /// Takes datagrams in; drops what finds no room, since its sender will repeat it.
    pub(crate) fn push(&self, arrivals: impl IntoIterator<Item = Arrival>) {
        let mut queues = self.lock();
        for arrival in arrivals {
            let new = is_new(&arrival.bytes);
            if queues.gate.message(arrival.at, arrival.flow.remote.ip(), new) != Pass::On {
                continue;
            }
            let (queue, dropped) = queues.queue(new, &arrival.bytes);
            if queue.len() < self.capacity {
                queue.push_back(arrival);
            } else {
                *dropped += 1;
            }
        }
        drop(queues);
        self.filled.notify_one();
    }

    /// Takes a message of a stream in, and waits for room: nobody would repeat it, and the sender can be slowed down.
    pub(crate) async fn push_or_wait(&self, arrival: Arrival) {
        let new = is_new(&arrival.bytes);
        loop {
            let pass = self.lock().gate.message(super::now(), arrival.flow.remote.ip(), new);
            match pass {
                Pass::On => break,
                Pass::Not => return,
                Pass::Later => tokio::time::sleep(SLOWLY).await,
            }
        }
        loop {
            let emptied = self.emptied.notified();
            {
                let mut queues = self.lock();
                let (queue, _) = queues.queue(new, &arrival.bytes);
                if queue.len() < self.capacity {
                    queue.push_back(arrival);
                    break;
                }
            }
            emptied.await;
        }
        self.filled.notify_one();
    }

    /// Moves up to `most` messages out, the known ones first. Says whether some are left.
    pub(crate) fn take(&self, most: usize, into: &mut Vec<Arrival>) -> bool {
        let mut queues = self.lock();
        let known = queues.known.len().min(most);
        into.extend(queues.known.drain(..known));
        let room = most - known;
        let kept = queues.others.len().min(room / OTHERS);
        let calls = queues.calls.len().min(room - kept);
        into.extend(queues.calls.drain(..calls));
        let others = queues.others.len().min(room - calls);
        into.extend(queues.others.drain(..others));
        let left = !(queues.known.is_empty() && queues.calls.is_empty() && queues.others.is_empty());
        drop(queues);
        if !into.is_empty() {
            self.emptied.notify_waiters();
        }
        left
    }

    /// Resolves after something was pushed.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Messages that found no room: of known things, and new requests.
    pub(crate) fn dropped(&self) -> (u64, u64) {
        self.lock().dropped
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queues> {
        // A panic while it was held can only have come between two pushes; the queues are whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a message asks for something new: judged from a glance, since parsing is what is to be saved.
fn is_new(bytes: &[u8]) -> bool {
    let known = [&b"SIP/2.0"[..], b"ACK ", b"BYE ", b"CANCEL ", b"INFO ", b"UPDATE ", b"NOTIFY ", b"PRACK "];
    !known.iter().any(|start| bytes.starts_with(start)) && !has_to_tag(bytes)
}

fn has_to_tag(bytes: &[u8]) -> bool {
    // The To line of an honest message is among the first few dozen.
    bytes.split(|&b| b == b'\n').take(64).take_while(|line| !line.trim_ascii().is_empty()).any(|line| {
        let Some(colon) = line.iter().position(|&b| b == b':') else { return false };
        let name = line[..colon].trim_ascii();
        (name.eq_ignore_ascii_case(b"to") || name.eq_ignore_ascii_case(b"t"))
            && line.windows(5).any(|window| window.eq_ignore_ascii_case(b";tag="))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some moment")]
    use super::*;
    use crate::ua::Transport;

    const NEW: &[u8] = b"INVITE sip:a@h SIP/2.0\r\nVia: x\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\n\r\nto: ;tag=";
    const AGAIN: &[u8] = b"INVITE sip:a@h SIP/2.0\r\nVia: x\r\nt : <sip:a@h>;tag=2\r\n\r\n";

    fn small() -> Ingress {
        Ingress::new(&SipLimits { ingress_queue: 16, messages_per_source: 1_000, ..SipLimits::default() })
    }

    fn arrival(bytes: &'static [u8]) -> Arrival {
        from("127.0.0.1", bytes)
    }

    fn from(address: &str, bytes: &'static [u8]) -> Arrival {
        let address = std::net::SocketAddr::new(address.parse().unwrap(), 5060);
        let flow = Flow::new(Transport::Udp, 0, address, address);
        Arrival { bytes: Bytes::from_static(bytes), flow, at: Instant::now() }
    }

    #[test]
    fn what_is_known_goes_first() {
        let ingress = small();
        ingress.push([arrival(NEW), arrival(b"BYE sip:a@h SIP/2.0\r\n"), arrival(NEW), arrival(AGAIN)]);
        let mut taken = Vec::new();
        assert!(ingress.take(3, &mut taken));
        let first: Vec<_> = taken.iter().map(|a| &a.bytes[..3]).collect();
        assert_eq!(first, [b"BYE", b"INV", b"INV"]);
        assert_eq!(taken[1].bytes, AGAIN);
        assert!(!ingress.take(3, &mut taken));
    }

    #[test]
    fn calls_do_not_wait_behind_a_storm_of_registrations_and_leave_them_a_part() {
        let ingress = small();
        let register = || arrival(b"REGISTER sip:h SIP/2.0\r\nTo: <sip:a@h>\r\n\r\n");
        ingress.push((0..16).map(|_| register()));
        ingress.push((0..9).map(|_| arrival(NEW)));
        let mut taken = Vec::new();
        assert!(ingress.take(8, &mut taken));
        let words = |taken: &[Arrival]| taken.iter().map(|a| char::from(a.bytes[0])).collect::<String>();
        assert_eq!(words(&taken), "IIIIIIRR");
        taken.clear();
        assert!(ingress.take(8, &mut taken));
        assert_eq!(words(&taken), "IIIRRRRR");
        taken.clear();
        assert!(!ingress.take(100, &mut taken));
        assert_eq!((words(&taken), ingress.dropped()), ("R".repeat(9), (0, 0)));
    }

    #[test]
    fn each_class_has_its_own_bound() {
        let ingress = small();
        ingress.push((0..100).map(|_| arrival(NEW)));
        ingress.push([arrival(b"SIP/2.0 200 OK\r\n")]);
        assert_eq!(ingress.dropped(), (0, 84));
        let mut taken = Vec::new();
        ingress.take(1000, &mut taken);
        assert_eq!(taken.len(), 17);
    }

    #[test]
    fn a_flood_of_answers_that_nobody_asked_for_leaves_room_for_real_ones() {
        let ingress =
            Ingress::new(&SipLimits { ingress_queue: 4_096, messages_per_source: 100, ..SipLimits::default() });
        ingress.push((0..100_000).map(|_| from("192.0.2.1", b"SIP/2.0 200 OK\r\n")));
        ingress.push([from("192.0.2.2", b"BYE sip:a@h SIP/2.0\r\n")]);
        let mut taken = Vec::new();
        assert!(!ingress.take(1_000_000, &mut taken));
        assert!(taken.len() < 200 && taken.last().unwrap().bytes.starts_with(b"BYE"), "{}", taken.len());
        assert_eq!(ingress.dropped(), (0, 0));
        assert!(ingress.gate().source > 99_000);
    }

    #[tokio::test]
    async fn a_stream_waits_for_room() {
        let ingress = std::sync::Arc::new(small());
        ingress.push((0..16).map(|_| arrival(NEW)));
        let waiting = tokio::spawn({
            let ingress = ingress.clone();
            async move { ingress.push_or_wait(arrival(NEW)).await }
        });
        let mut taken = Vec::new();
        while taken.len() < 17 {
            ingress.take(4, &mut taken);
            tokio::task::yield_now().await;
        }
        waiting.await.unwrap();
        assert_eq!(ingress.dropped(), (0, 0));
    }
}
