//! Floods and scanners in virtual time: the tables stay bounded, nobody else is hit by our answers, and calls in
//! progress notice nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::ua::{EndpointStats, Incoming, LegId};
use callbox_sip::{SipLimits, SourcePolicy, Strangers};
use lab::{ANSWER, Bench, Dice, SDP, header, request, to_tag};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const BODY: &str = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n";

/// An endpoint with a call up, from 10.0.0.1.
struct Besieged {
    bench: Bench,
    leg: LegId,
    tag: String,
    cseq: u32,
}

impl Besieged {
    fn new(limits: SipLimits) -> Self {
        let mut bench = Bench::with(limits);
        bench.put(&request("INVITE", 1, "inv", None, SDP, BODY));
        let leg = bench.calls[0].0;
        bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
        let tag = to_tag(bench.last()).unwrap();
        bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
        bench.calls.clear();
        bench.take();
        Self { bench, leg, tag, cseq: 1 }
    }

    /// A message from somewhere; how many came back.
    fn hit(&mut self, from: SocketAddr, message: &str) -> usize {
        let before = self.bench.sent.len();
        let (now, mut flow) = (self.bench.now, self.bench.way);
        flow.remote = from;
        let bytes = Bytes::from(message.replace('\n', "\r\n"));
        self.bench.act(|end, _| end.receive(now, Incoming { bytes, flow, age: Duration::ZERO }));
        self.bench.sent.len() - before
    }

    /// The call that is up still works, and its caller can make another one.
    fn is_well(&mut self) {
        self.bench.take();
        self.cseq += 1;
        let (cseq, tag) = (self.cseq, self.tag.clone());
        assert_eq!(
            self.bench.ask(&request("INFO", cseq, &format!("info{cseq}"), Some(&tag), "", "")),
            [format!("200 {cseq} INFO")]
        );
        let other = |message: String| message.replace("bench@lab", &format!("other{cseq}@lab"));
        let calls = self.bench.calls.len();
        let answers = self.bench.ask(&other(request("INVITE", 1, &format!("other{cseq}"), None, SDP, BODY)));
        assert_eq!(answers, ["100 1 INVITE"], "{:?}", self.stats());
        let (leg, _) = self.bench.calls.remove(calls);
        self.bench.act(|end, now| end.reject(now, leg, 486, None, Vec::new())).unwrap();
        let tag = to_tag(self.bench.last()).unwrap();
        self.bench.put(&other(request("ACK", 1, &format!("other{cseq}"), Some(&tag), "", "")));
        self.bench.take();
    }

    fn stats(&self) -> EndpointStats {
        self.bench.end.stats()
    }

    /// The call ends as it should, and nothing of anything is left.
    fn ends_well(mut self) {
        self.cseq += 1;
        let bye = request("BYE", self.cseq, "bye", Some(&self.tag), "", "");
        assert_eq!(self.bench.ask(&bye), [format!("200 {} BYE", self.cseq)]);
        let leg = self.leg;
        assert!(self.bench.act(|end, now| end.hang_up(now, leg, None)).is_err(), "it is over");
        for (leg, _) in std::mem::take(&mut self.bench.calls) {
            let _ = self.bench.act(|end, now| end.hang_up(now, leg, None));
        }
        self.bench.run(Duration::from_secs(100));
        self.bench.must_be_clean();
    }
}

/// What a flood consists of: the `n`th message.
type Flood = fn(u32) -> String;

fn named(method: &str, n: u32, tag: Option<&str>, extra: &str, body: &str) -> String {
    request(method, 1, &format!("f{n}"), tag, extra, body).replace("bench@lab", &format!("flood{n}@lab"))
}

const FLOODS: [(&str, Flood); 12] = [
    ("INVITE", |n| named("INVITE", n, None, SDP, BODY)),
    ("INVITE, always the same", |_| named("INVITE", 0, None, SDP, BODY)),
    ("REGISTER", |n| named("REGISTER", n, None, "Expires: 60\n", "")),
    ("OPTIONS", |n| named("OPTIONS", n, None, "", "")),
    ("SUBSCRIBE", |n| named("SUBSCRIBE", n, None, "Event: presence\n", "")),
    ("CANCEL of nothing", |n| named("CANCEL", n, None, "", "")),
    ("ACK of nothing", |n| named("ACK", n, Some("nobody"), "", "")),
    ("BYE of nothing", |n| named("BYE", n, Some("nobody"), "", "")),
    ("re-INVITE of nothing", |n| named("INVITE", n, Some("nobody"), SDP, BODY)),
    ("broken INVITE", |n| named("INVITE", n, None, "From: \"\n", "")),
    ("garbage", |n| format!("{n} \u{1}\u{2}\u{3} SIP\n: :\n\n")),
    ("responses", |n| {
        format!(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK{n}\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>;tag=2\n\
             Call-ID: {n}@lab\nCSeq: 1 INVITE\nContact: <sip:c@d>\nContent-Length: 0\n\n"
        )
    }),
];

/// 25,000 messages within ten seconds.
fn storm(besieged: &mut Besieged, flood: Flood, mut from: impl FnMut(u32) -> SocketAddr) {
    let mut n = 0;
    for tick in 0..100 {
        for _ in 0..250 {
            n += 1;
            besieged.hit(from(n), &flood(n));
            // The robot answers at once, as robots do.
            let call = besieged.bench.calls.pop();
            if let Some((leg, _)) = call {
                besieged.bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
            }
        }
        besieged.is_well();
        besieged.bench.run(Duration::from_millis(100));
        let (legs, clients, servers) = besieged.bench.end.remembered();
        assert!(legs <= 2_000 && clients <= 2_000 && servers <= 10_000, "tick {tick}: {legs} {clients} {servers}");
    }
}

#[test]
fn a_flood_from_one_address_fills_nothing_and_is_hardly_answered() {
    for (what, flood) in FLOODS {
        let limits = SipLimits::default();
        let most = u64::from(limits.answers_per_source);
        let mut besieged = Besieged::new(limits);
        let before = besieged.stats().messages_sent;
        storm(&mut besieged, flood, |_| "203.0.113.9:5060".parse().unwrap());
        // Three answers at a time go to the good caller. The rest: a second's worth of burst, and ten seconds.
        let sent = besieged.stats().messages_sent - before - 100 * 3;
        assert!(sent <= most * 11, "{what}: {sent} answers");
        assert!(besieged.stats().sources <= 2, "{what}");
        besieged.ends_well();
    }
}

#[test]
fn a_flood_from_forged_addresses_fills_nothing_and_hits_nobody() {
    for (what, flood) in FLOODS {
        let mut besieged = Besieged::new(SipLimits::default());
        let mut dice = Dice::new(1);
        storm(&mut besieged, flood, |_| {
            let address = u32::try_from(dice.below(1 << 24)).unwrap() | 0x0b00_0000;
            SocketAddr::new(IpAddr::from(address.to_be_bytes()), 5060)
        });
        let stats = besieged.stats();
        assert!(stats.sources <= 16_384, "{what}: {stats:?}");
        assert!(stats.calls_in <= 1 + 100 + 500, "{what}: at most a part of the room: {stats:?}");
        besieged.ends_well();
    }
}

/// A subscriber of IPv6 with all his addresses is one source.
#[test]
fn the_addresses_of_one_subscriber_are_one_source() {
    let mut besieged = Besieged::new(SipLimits { answers_per_source: 10, ..SipLimits::default() });
    let mut answers = 0;
    for n in 0..5_000_u32 {
        let from = format!("[2001:db8:1:2:{:x}::{:x}]:5060", n % 0xffff, n).parse().unwrap();
        answers += besieged.hit(from, &named("OPTIONS", n, None, "", ""));
    }
    assert_eq!(answers, 10);
    assert_eq!(besieged.stats().sources, 2);
    besieged.ends_well();
}

#[test]
fn scanners_hear_nothing_not_even_at_first() {
    for name in ["friendly-scanner", "sipvicious", "sipcli/v1.8", "pplsip", "VaxSIPUserAgent/3.1", "sundayddr"] {
        let mut besieged = Besieged::new(SipLimits::default());
        let from: SocketAddr = "203.0.113.9:5060".parse().unwrap();
        let agent = format!("User-Agent: {name}\n");
        assert_eq!(besieged.hit(from, &named("OPTIONS", 1, None, &agent, "")), 0, "{name}");
        // It changes its name: too late. Its address is the same on another port.
        for n in 2..50 {
            let from = SocketAddr::new(from.ip(), 5_000 + u16::try_from(n).unwrap());
            for method in ["OPTIONS", "REGISTER", "INVITE", "CANCEL"] {
                assert_eq!(besieged.hit(from, &named(method, n, None, "", "")), 0, "{name} {method}");
            }
        }
        let stats = besieged.stats();
        assert_eq!((stats.dropped_scanner, stats.sources_blocked), (1, 1), "{name}");
        assert_eq!(besieged.bench.end.new_block().unwrap().0, from.ip());
        besieged.is_well();
        // After its time the address may belong to somebody else.
        besieged.bench.run(Duration::from_secs(60));
        assert_eq!(besieged.hit(from, &named("OPTIONS", 99, None, "", "")), 1, "{name}");
        besieged.ends_well();
    }
    // svmap under another name is known by whom it says it is.
    let mut besieged = Besieged::new(SipLimits::default());
    let options = named("OPTIONS", 1, None, "", "").replace("From: \"A\"", "From: \"sipvicious\"");
    assert_eq!(besieged.hit("203.0.113.9:5060".parse().unwrap(), &options), 0);
}

#[test]
fn a_caller_behind_the_address_of_a_scanner_keeps_his_call() {
    let mut besieged = Besieged::new(SipLimits::default());
    // The call that is up comes from 10.0.0.1, and so does this.
    let from: SocketAddr = "10.0.0.1:9".parse().unwrap();
    assert_eq!(besieged.hit(from, &named("OPTIONS", 1, None, "User-Agent: friendly-scanner\n", "")), 0);
    assert_eq!(besieged.stats().sources_blocked, 1);
    besieged.ends_well();
}

#[test]
fn who_calls_one_unknown_number_after_the_other_is_blocked() {
    let mut besieged = Besieged::new(SipLimits::default());
    let from: SocketAddr = "203.0.113.9:5060".parse().unwrap();
    let mut refused = 0;
    for n in 0..100 {
        if besieged.hit(from, &named("INVITE", n, None, SDP, BODY)) == 0 {
            continue;
        }
        let (leg, _) = besieged.bench.calls.pop().unwrap();
        besieged.bench.act(|end, now| end.reject(now, leg, 404, None, Vec::new())).unwrap();
        refused += 1;
        besieged.bench.run(Duration::from_millis(200));
    }
    // Twenty at once, and one in three seconds.
    assert!((21..=23).contains(&refused), "{refused}");
    assert_eq!(besieged.stats().sources_blocked, 1);
    besieged.is_well();
    besieged.ends_well();
}

#[test]
fn trunks_are_served_whatever_they_do_and_strangers_as_the_operator_says() {
    let mut besieged = Besieged::new(SipLimits { requests_per_source: 10, ..SipLimits::default() });
    let policy = SourcePolicy {
        trusted: vec!["10.0.0.0/8".parse().unwrap(), "198.51.100.0/24".parse().unwrap()],
        denied: vec!["203.0.113.0/24".parse().unwrap()],
        strangers: Strangers::DROP,
        ..SourcePolicy::default()
    };
    besieged.bench.act(|end, _| end.set_sources(&policy));
    let (trunk, stranger, denied) = ("198.51.100.7:5060", "192.0.2.1:5060", "203.0.113.1:5060");
    for n in 0..1_000 {
        let ping = |agent: &str| named("OPTIONS", n, None, agent, "");
        assert_eq!(besieged.hit(trunk.parse().unwrap(), &ping("User-Agent: friendly-scanner\n")), 1);
        assert_eq!(besieged.hit(stranger.parse().unwrap(), &ping("")), 0);
        assert_eq!(besieged.hit(denied.parse().unwrap(), "\u{0}"), 0);
    }
    let stats = besieged.stats();
    assert_eq!((stats.dropped_stranger, stats.dropped_denied, stats.parse_errors), (1_000, 1_000, 0));
    // A call that we place to a stranger is none of his requests: he may answer it, and end it.
    let mut call = lab::invite(1, 0, Some(BODY.as_bytes()));
    call.target = callbox_sip::wire::Uri::from_text("sip:x@192.0.2.1").unwrap();
    besieged.bench.way.remote = stranger.parse().unwrap();
    call.flow = besieged.bench.way;
    besieged.bench.take();
    besieged.bench.act(|end, now| end.invite(now, call)).unwrap();
    let invite = besieged.bench.last().to_owned();
    let contact = "Contact: <sip:x@192.0.2.1>\n";
    besieged.bench.put(&lab::response(&invite, "200 OK", "bob", &format!("{contact}{SDP}"), BODY));
    let ack = besieged.bench.last().to_owned();
    assert!(ack.starts_with("ACK "), "{ack}");
    let (ours, call_id) = (header(&invite, "From").unwrap(), header(&invite, "Call-ID").unwrap());
    let to = header(&ack, "To").unwrap();
    let bye = format!(
        "BYE sip:us@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKbye\nMax-Forwards: 70\nFrom: {to}\n\
         To: {ours}\nCall-ID: {call_id}\nCSeq: 1 BYE\nContent-Length: 0\n\n"
    );
    assert_eq!(besieged.bench.ask(&bye), ["200 1 BYE"]);
    besieged.bench.way.remote = lab::address(0);
    besieged.ends_well();
}

/// Everything in the way of a call at once, and a call that is not hurt.
#[test]
fn a_mixed_storm_from_everywhere() {
    let mut besieged = Besieged::new(SipLimits::default());
    let mut dice = Dice::new(3);
    let mut n = 0;
    for _ in 0..200 {
        for _ in 0..200 {
            n += 1;
            let (_, flood) = FLOODS[usize::try_from(dice.below(12)).unwrap()];
            let address = u32::try_from(dice.below(1 << 14)).unwrap() | 0x0b00_0000;
            besieged.hit(SocketAddr::new(IpAddr::from(address.to_be_bytes()), 5060), &flood(n));
        }
        for (leg, _) in std::mem::take(&mut besieged.bench.calls) {
            let _ = besieged.bench.act(|end, now| end.reject(now, leg, 404, None, Vec::new()));
        }
        besieged.is_well();
        besieged.bench.run(Duration::from_millis(50));
    }
    assert!(besieged.stats().parse_errors > 1_000);
    besieged.ends_well();
}
