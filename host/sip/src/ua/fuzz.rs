//! The body of the fuzz target `endpoint`: any sequence of messages, user's commands and waits leaves the endpoint whole.
//!
//! A story is lines; `%` alone in a line parts its steps. A step that begins with `!` is a command (`!answer`, `!wait`),
//! any other is a message, in which `$T` stands for our tag of the last call and `$R` for our last `RSeq`.

use super::{
    DialogPolicy, Endpoint, EndpointConfig, Flow, Incoming, Invite, LegId, Listener, Output, Redirects, Transport,
};
use crate::overload::SipLimits;
use crate::transaction::Timing;
use crate::wire::Uri;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Steps of one story that are looked at.
const MAX_STEPS: usize = 64;

struct Story {
    endpoint: Endpoint,
    now: Instant,
    flow: Flow,
    legs: Vec<LegId>,
    tag: Vec<u8>,
    rseq: Vec<u8>,
}

/// Plays a story; gives the number of calls it made. Afterwards nothing may be left of any of them.
#[allow(clippy::disallowed_methods, reason = "virtual time needs a first moment")]
pub fn endpoint(data: &[u8]) -> usize {
    let (ours, theirs) = (SocketAddr::from(([10, 0, 0, 2], 5060)), SocketAddr::from(([10, 0, 0, 1], 5060)));
    let mut story = Story {
        endpoint: Endpoint::new(EndpointConfig {
            listeners: vec![Listener::new(Transport::Udp, ours)],
            advertise: None,
            user_agent: String::new(),
            limits: SipLimits::default(),
            timing: Timing::default(),
            policy: DialogPolicy::default(),
            seed: [7; 32],
        }),
        now: Instant::now(),
        flow: Flow::new(Transport::Udp, 0, ours, theirs),
        legs: Vec::new(),
        tag: Vec::new(),
        rseq: Vec::new(),
    };
    let mut steps: Vec<Vec<&[u8]>> = vec![Vec::new()];
    for line in data.split(|&b| b == b'\n') {
        match line {
            b"%" | b"%\r" => steps.push(Vec::new()),
            line => steps.last_mut().into_iter().for_each(|step| step.push(line)),
        }
    }
    for step in steps.into_iter().take(MAX_STEPS) {
        match step.first() {
            Some([b'!', command @ ..]) => story.command(command.trim_ascii()),
            _ => story.message(&step.join(&b"\n"[..])),
        }
    }
    let calls = story.legs.len();
    for leg in story.legs.clone() {
        let _ = story.endpoint.hang_up(story.now, leg, None);
    }
    story.wait(Duration::from_secs(110));
    assert_eq!(story.endpoint.remembered(), (0, 0, 0), "something is left");
    assert_eq!(story.endpoint.calls(), 0);
    calls
}

impl Story {
    fn message(&mut self, text: &[u8]) {
        let mut bytes = Vec::with_capacity(text.len() + 32);
        let mut rest = text;
        while let Some(at) = rest.windows(2).position(|pair| matches!(pair, b"$T" | b"$R")) {
            bytes.extend_from_slice(&rest[..at]);
            bytes.extend_from_slice(if rest[at + 1] == b'T' { &self.tag } else { &self.rseq });
            rest = &rest[at + 2..];
        }
        bytes.extend_from_slice(rest);
        let incoming = Incoming { bytes: bytes.into(), flow: self.flow, age: Duration::ZERO };
        self.endpoint.receive(self.now, incoming);
        self.drain();
    }

    fn command(&mut self, command: &[u8]) {
        let (end, now) = (&mut self.endpoint, self.now);
        let leg = self.legs.last().copied().unwrap_or(LegId(0));
        let sdp = Bytes::from_static(b"v=0\r\n");
        // What is not possible now is refused; that it does no harm is the promise.
        let _ = match command {
            b"ring" => end.ring(now, leg),
            b"progress" => end.progress(now, leg, sdp),
            b"answer" => end.answer(now, leg, sdp),
            b"reject" => end.reject(now, leg, 486, None, Vec::new()),
            b"hangup" => end.hang_up(now, leg, Some((16, String::new()))),
            b"ack" => end.ack(now, leg, sdp),
            b"reinvite" => end.reinvite(now, leg, sdp),
            b"update" => end.update(now, leg, Bytes::from_static(b"v=0\r\ns=2\r\n")),
            b"accept" => end.answer_reinvite(now, leg, Ok(sdp)),
            b"refuse" => end.answer_reinvite(now, leg, Err(488)),
            b"digit" => end.info_digit(now, leg, '5', 100),
            b"refer" => match Uri::from_text("sip:carol@10.0.0.3") {
                Ok(target) => end.refer(now, leg, &target, Vec::new()),
                Err(_) => Ok(()),
            },
            b"call" => {
                self.call();
                Ok(())
            }
            b"hour" => {
                self.wait(Duration::from_secs(3_600));
                Ok(())
            }
            b"wait" => {
                self.wait(Duration::from_millis(700));
                Ok(())
            }
            _ => Ok(()),
        };
        self.drain();
    }

    fn call(&mut self) {
        let uri = |text| Uri::from_text(text);
        if let (Ok(target), Ok(from)) = (uri("sip:bob@10.0.0.1"), uri("sip:robot@10.0.0.2")) {
            let invite = Invite {
                target,
                from,
                display_name: None,
                flow: self.flow,
                or_tcp: false,
                others: Vec::new(),
                routes: Vec::new(),
                credentials: None,
                headers: Vec::new(),
                offer: None,
                ring_timeout: Duration::from_secs(30),
                redirects: Redirects::default(),
                by_proxy: false,
            };
            self.legs.extend(self.endpoint.invite(self.now, invite));
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        self.drain();
        while let Some(at) = self.endpoint.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        let mut sent = 0;
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    sent += 1;
                    assert!(sent <= 64, "one step must not make a storm");
                    self.note(&transmit.bytes);
                }
                Output::Incoming { leg, .. } => self.legs.push(leg),
                _ => {}
            }
        }
    }

    /// The tag that names our side: in `To` of responses, in `From` of requests; and the number of what is reliable.
    fn note(&mut self, message: &[u8]) {
        let rseq = message.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"RSeq: "));
        if let Some(rseq) = rseq {
            self.rseq = rseq.trim_ascii().to_vec();
        }
        let name: &[u8] = if message.starts_with(b"SIP/2.0 ") { b"To: " } else { b"From: " };
        let line = message.split(|&b| b == b'\n').find(|line| line.starts_with(name)).unwrap_or_default();
        if let Some(at) = line.windows(5).position(|window| window == b";tag=") {
            self.tag = line[at + 5..].trim_ascii().to_vec();
        }
    }
}
