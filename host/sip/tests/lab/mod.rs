//! A laboratory in virtual time: two endpoints with a bad network between them, and one endpoint with a scripted peer.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this module")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "virtual time needs a first moment")]

use bytes::Bytes;
use callbox_sip::ua::{
    DialogEvent, Endpoint, EndpointConfig, Flow, Incoming, Invite, InviteInfo, LegId, Listener, NextHop, Output,
    Transport,
};
use callbox_sip::wire::Uri;
use callbox_sip::{DialogPolicy, Reliable, SipLimits};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const OFFER: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
pub const ANSWER: &[u8] =
    b"v=0\r\no=- 2 2 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

/// What the caller changes its offer to.
pub const HOLD: &[u8] =
    b"v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n";

/// 64·T1 and the 5 s of T4: after that nothing of anything is left.
pub const LIFE: Duration = Duration::from_secs(32);

pub fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(n).unwrap() + 1], 5060))
}

/// What the older tests were written for: no extensions, so that every message in a trace is one of RFC 3261.
pub const PLAIN: DialogPolicy = DialogPolicy { reliable: Reliable::Off, session_expires_s: 0, min_se_s: 90 };

pub fn endpoint(n: usize, seed: u64, limits: SipLimits) -> Endpoint {
    endpoint_with(n, seed, limits, PLAIN)
}

pub fn endpoint_with(n: usize, seed: u64, limits: SipLimits, policy: DialogPolicy) -> Endpoint {
    let mut full = [u8::try_from(n).unwrap(); 32];
    full[..8].copy_from_slice(&seed.to_be_bytes());
    Endpoint::new(EndpointConfig {
        listeners: vec![Listener::new(Transport::Udp, address(n)), Listener::new(Transport::Tcp, address(n))],
        advertise: None,
        user_agent: "lab".into(),
        limits,
        timing: callbox_sip::transaction::Timing::default(),
        policy,
        seed: full,
    })
}

pub fn flow(from: usize, to: usize) -> Flow {
    Flow::new(Transport::Udp, 0, address(from), address(to))
}

pub fn invite(from: usize, to: usize, offer: Option<&[u8]>) -> Invite {
    Invite {
        target: Uri::from_text(&format!("sip:robot@{}", address(to))).unwrap(),
        from: Uri::from_text(&format!("sip:alice@{}", address(from))).unwrap(),
        display_name: Some("Alice".into()),
        flow: flow(from, to),
        or_tcp: false,
        others: Vec::new(),
        routes: Vec::new(),
        credentials: None,
        headers: Vec::new(),
        offer: offer.map(<[u8]>::to_vec),
        ring_timeout: Duration::from_secs(60),
        redirects: callbox_sip::Redirects::default(),
        by_proxy: false,
    }
}

/// The first line of a message and its CSeq, to name it by.
pub fn headline(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default();
    let cseq = text.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or_default();
    match first.strip_prefix("SIP/2.0 ") {
        Some(status) => format!("{} {cseq}", &status[..3]),
        None => cseq.split_once(' ').map_or(cseq.to_owned(), |(seq, method)| format!("{method} {seq}")),
    }
}

/// xorshift64*: enough for a network.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n.max(1)
    }

    pub fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

type Censor = Box<dyn FnMut(usize, &str) -> bool>;
type Packet = Reverse<(Instant, u64, usize, Bytes)>;

/// Two endpoints and a network.
pub struct Pair {
    pub ends: [Endpoint; 2],
    pub now: Instant,
    pub start: Instant,
    pub dice: Dice,
    /// Percent of packets lost, and of packets doubled.
    pub loss: u64,
    pub doubled: u64,
    /// Milliseconds a packet takes, from and to.
    pub delay: (u64, u64),
    /// Decides on single packets: true loses it. Sees the sender and the headline.
    pub censor: Censor,
    pub events: [Vec<(LegId, DialogEvent)>; 2],
    pub calls: [Vec<(LegId, InviteInfo)>; 2],
    /// What went over the wire: sender and headline.
    pub trace: Vec<(usize, String)>,
    wire: BinaryHeap<Packet>,
    packets: u64,
}

impl Pair {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, PLAIN)
    }

    pub fn with(seed: u64, policy: DialogPolicy) -> Self {
        Self::with_policies(seed, [policy; 2])
    }

    pub fn with_policies(seed: u64, policies: [DialogPolicy; 2]) -> Self {
        let now = Instant::now();
        let end = |n: usize| endpoint_with(n, seed, SipLimits::default(), policies[n]);
        Self {
            ends: [end(0), end(1)],
            now,
            start: now,
            dice: Dice::new(seed),
            loss: 0,
            doubled: 0,
            delay: (10, 10),
            censor: Box::new(|_, _| false),
            events: [Vec::new(), Vec::new()],
            calls: [Vec::new(), Vec::new()],
            trace: Vec::new(),
            wire: BinaryHeap::new(),
            packets: 0,
        }
    }

    /// Takes the outputs of both ends and puts their packets on the wire.
    pub fn drain(&mut self) {
        for end in 0..2 {
            while let Some(output) = self.ends[end].poll_output() {
                match output {
                    Output::Transmit(transmit) => self.send(end, transmit.bytes),
                    Output::Incoming { leg, invite } => self.calls[end].push((leg, *invite)),
                    Output::Event { leg, event } => self.events[end].push((leg, event)),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, from: usize, bytes: Bytes) {
        let name = headline(&bytes);
        self.trace.push((from, name.clone()));
        if (self.censor)(from, &name) || self.dice.percent(self.loss) {
            return;
        }
        let copies = if self.dice.percent(self.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let (least, most) = self.delay;
            let delay = least + self.dice.below(most - least + 1);
            self.packets += 1;
            self.wire.push(Reverse((self.now + Duration::from_millis(delay), self.packets, 1 - from, bytes.clone())));
        }
    }

    /// The next moment at which something happens.
    fn next(&self) -> Option<Instant> {
        let packet = self.wire.peek().map(|Reverse((at, ..))| *at);
        [packet, self.ends[0].deadline(), self.ends[1].deadline()].into_iter().flatten().min()
    }

    /// Lets time pass up to the next thing that happens; false when nothing will, or not before `until`.
    pub fn step(&mut self, until: Instant) -> bool {
        self.drain();
        let Some(at) = self.next().filter(|at| *at <= until) else { return false };
        self.now = self.now.max(at);
        if self.wire.peek().is_some_and(|Reverse((at, ..))| *at <= self.now) {
            let Some(Reverse((_, _, to, bytes))) = self.wire.pop() else { return false };
            let incoming = Incoming { bytes, flow: flow(to, 1 - to), age: Duration::ZERO };
            self.ends[to].receive(self.now, incoming);
        } else {
            for end in &mut self.ends {
                end.timeout(self.now);
            }
        }
        self.drain();
        true
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// Places a call from end 0 to end 1 and lets it arrive.
    pub fn call(&mut self, offer: Option<&[u8]>) -> (LegId, LegId) {
        let leg = self.ends[0].invite(self.now, invite(0, 1, offer)).unwrap();
        self.run_ms(50);
        (leg, self.calls[1].last().expect("the call arrived").0)
    }

    /// A call that is up and confirmed.
    pub fn answered(&mut self) -> (LegId, LegId) {
        let (caller, callee) = self.call(Some(OFFER));
        self.ends[1].ring(self.now, callee).unwrap();
        self.run_ms(50);
        self.ends[1].answer(self.now, callee, Bytes::from_static(ANSWER)).unwrap();
        self.run_ms(50);
        assert_eq!(self.of(1, callee).last(), Some(&DialogEvent::Confirmed { sdp: None }));
        (caller, callee)
    }

    /// The events of one leg.
    pub fn of(&self, end: usize, leg: LegId) -> Vec<DialogEvent> {
        self.events[end].iter().filter(|(of, _)| *of == leg).map(|(_, event)| event.clone()).collect()
    }

    /// How a leg ended: by whom, and with which status.
    pub fn ended(&self, end: usize, leg: LegId) -> Option<(bool, Option<u16>)> {
        self.of(end, leg).into_iter().find_map(|event| match event {
            DialogEvent::Ended { by_remote, status, .. } => Some((by_remote, status)),
            _ => None,
        })
    }

    /// How often a message went over the wire.
    pub fn seen(&self, from: usize, name: &str) -> usize {
        self.trace.iter().filter(|(end, seen)| *end == from && seen == name).count()
    }

    /// After the longest timer, both ends have forgotten everything.
    pub fn must_be_clean(&mut self) {
        self.run(LIFE + Duration::from_secs(6));
        for end in 0..2 {
            assert_eq!(self.ends[end].remembered(), (0, 0, 0), "end {end} remembers: {:#?}", self.trace);
            assert_eq!(self.ends[end].calls(), 0);
        }
    }
}

/// One endpoint (number 1) and a peer whose messages the test writes itself (number 0).
pub struct Bench {
    pub end: Endpoint,
    pub now: Instant,
    pub start: Instant,
    /// What the endpoint sent and the test has not taken.
    pub sent: Vec<(Flow, String)>,
    pub events: Vec<DialogEvent>,
    pub calls: Vec<(LegId, InviteInfo)>,
    pub unsent: Vec<Option<callbox_sip::ua::TransactionId>>,
    pub lookups: Vec<(LegId, NextHop)>,
    /// What it wants besides.
    pub others: Vec<Output>,
    pub way: Flow,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(SipLimits::default())
    }

    pub fn with(limits: SipLimits) -> Self {
        Self::with_policy(limits, PLAIN)
    }

    pub fn with_policy(limits: SipLimits, policy: DialogPolicy) -> Self {
        let now = Instant::now();
        Self {
            end: endpoint_with(1, 1, limits, policy),
            now,
            start: now,
            sent: Vec::new(),
            events: Vec::new(),
            calls: Vec::new(),
            unsent: Vec::new(),
            lookups: Vec::new(),
            others: Vec::new(),
            way: flow(1, 0),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.end.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    self.unsent.push(transmit.transaction);
                    self.sent.push((transmit.flow, String::from_utf8_lossy(&transmit.bytes).into_owned()));
                }
                Output::Incoming { leg, invite } => self.calls.push((leg, *invite)),
                Output::Event { event, .. } => self.events.push(event),
                Output::Resolve { leg, hop } => self.lookups.push((leg, hop)),
                other => self.others.push(other),
            }
        }
    }

    /// Hands a message in; its lines may end with LF.
    pub fn put(&mut self, message: &str) {
        self.put_aged(message, Duration::ZERO);
    }

    pub fn put_aged(&mut self, message: &str, age: Duration) {
        let bytes = Bytes::from(message.replace("\r\n", "\n").replace('\n', "\r\n"));
        self.end.receive(self.now, Incoming { bytes, flow: self.way, age });
        self.drain();
    }

    /// Hands a message in and gives what came back, headlines only.
    pub fn ask(&mut self, message: &str) -> Vec<String> {
        self.take();
        self.put(message);
        self.names()
    }

    /// Does something with the endpoint.
    pub fn act<T>(&mut self, act: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        let result = act(&mut self.end, self.now);
        self.drain();
        result
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.end.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.end.timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// What was sent, once.
    pub fn take(&mut self) -> Vec<String> {
        self.sent.drain(..).map(|(_, message)| message).collect()
    }

    /// The headlines of what was sent and not taken.
    pub fn names(&self) -> Vec<String> {
        self.sent.iter().map(|(_, message)| headline(message.as_bytes())).collect()
    }

    /// The last message that was sent.
    pub fn last(&self) -> &str {
        &self.sent.last().expect("something was sent").1
    }

    pub fn must_be_clean(&mut self) {
        self.run(LIFE + Duration::from_secs(6));
        assert_eq!(self.end.remembered(), (0, 0, 0));
        assert_eq!(self.end.calls(), 0);
    }
}

/// The value of a header in a message of ours.
pub fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let head = message.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

/// The tag in To.
pub fn to_tag(message: &str) -> Option<String> {
    header(message, "To")?.split(";tag=").nth(1).map(|tag| tag.split(';').next().unwrap_or_default().to_owned())
}

/// A request of the scripted peer. `branch` names its transaction, `to_tag` its dialog.
pub fn request(method: &str, cseq: u32, branch: &str, to_tag: Option<&str>, extra: &str, body: &str) -> String {
    let to_tag = to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
    let body = body.replace("\r\n", "\n");
    format!(
        "{method} sip:robot@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK{branch}\n\
         Max-Forwards: 70\nFrom: \"A\" <sip:alice@10.0.0.1>;tag=peer\nTo: <sip:robot@10.0.0.2>{to_tag}\n\
         Call-ID: bench@lab\nCSeq: {cseq} {}\nContact: <sip:alice@10.0.0.1:5060>\n{extra}Content-Length: {}\n\n{body}",
        method,
        body.replace('\n', "\r\n").len(),
    )
}

/// A response of the scripted peer to a request of ours.
pub fn response(request: &str, status: &str, tag: &str, extra: &str, body: &str) -> String {
    let mut lines = vec![format!("SIP/2.0 {status}")];
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let value = header(request, name).expect("a request has it");
        let tag = if name == "To" && !value.contains(";tag=") && !tag.is_empty() {
            format!(";tag={tag}")
        } else {
            String::new()
        };
        lines.push(format!("{name}: {value}{tag}"));
    }
    let body = body.replace("\r\n", "\n").replace('\n', "\r\n");
    format!("{}\n{extra}Content-Length: {}\n\n{body}", lines.join("\n"), body.len())
}

pub const SDP: &str = "Content-Type: application/sdp\n";

/// A policy that trusts this network.
pub fn trusting(network: &str) -> callbox_sip::SourcePolicy {
    callbox_sip::SourcePolicy { trusted: vec![network.parse().unwrap()], ..callbox_sip::SourcePolicy::default() }
}
