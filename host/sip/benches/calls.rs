//! What one whole call costs two endpoints, without sockets: `cargo bench -p callbox-sip --bench calls`. INVITE, 100,
//! 180, 200, ACK, BYE, 200: seven messages written, seven read, on each of two sides. Prints the best of many rounds.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints and times"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use callbox_sip::SipLimits;
use callbox_sip::transaction::Timing;
use callbox_sip::ua::{DialogEvent, Endpoint, EndpointConfig, Flow, Incoming, Invite, Listener, Output, Transport};
use callbox_sip::wire::Uri;

const SDP: &[u8] = include_bytes!("../fuzz/corpus/sdp/offer");
const CALLS: u32 = 500;

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::new(EndpointConfig {
        listeners: vec![Listener::new(Transport::Udp, address)],
        advertise: None,
        user_agent: "bench".into(),
        limits: SipLimits { invites_per_second: 1_000_000, requests_per_source: 0, ..SipLimits::default() },
        timing: Timing::default(),
        policy: callbox_sip::DialogPolicy::default(),
        seed: [3; 32],
    })
}

fn flow(local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow::new(Transport::Udp, 0, local, remote)
}

/// Moves messages until there are none; the callee answers, the caller hangs up.
fn settle(now: Instant, ends: &mut [Endpoint; 2], ways: &[Flow; 2]) -> usize {
    let mut moved = 0;
    loop {
        let mut idle = true;
        for side in 0..2 {
            while let Some(output) = ends[side].poll_output() {
                idle = false;
                match output {
                    Output::Transmit(transmit) => {
                        moved += 1;
                        let incoming = Incoming { bytes: transmit.bytes, flow: ways[1 - side], age: Duration::ZERO };
                        ends[1 - side].receive(now, incoming);
                    }
                    Output::Incoming { leg, .. } => {
                        ends[side].ring(now, leg).unwrap();
                        ends[side].answer(now, leg, Bytes::from_static(SDP)).unwrap();
                    }
                    Output::Event { leg, event: DialogEvent::Answered { .. } } => {
                        ends[side].hang_up(now, leg, None).unwrap();
                    }
                    _ => {}
                }
            }
        }
        if idle {
            return moved;
        }
    }
}

fn main() {
    let addresses: [SocketAddr; 2] = [([10, 0, 0, 1], 5060).into(), ([10, 0, 0, 2], 5060).into()];
    let ways = [flow(addresses[0], addresses[1]), flow(addresses[1], addresses[0])];
    let mut best = Duration::MAX;
    let rounds = if cfg!(debug_assertions) { 2 } else { 20 };
    for _ in 0..rounds {
        let mut ends = addresses.map(endpoint);
        let start = Instant::now();
        for _ in 0..CALLS {
            let invite = Invite {
                target: Uri::from_text("sip:robot@10.0.0.2").unwrap(),
                from: Uri::from_text("sip:alice@10.0.0.1").unwrap(),
                display_name: Some("Alice".into()),
                flow: ways[0],
                or_tcp: false,
                others: Vec::new(),
                routes: Vec::new(),
                credentials: None,
                headers: Vec::new(),
                offer: Some(SDP.to_vec()),
                ring_timeout: Duration::from_secs(60),
                redirects: callbox_sip::Redirects::default(),
                by_proxy: false,
            };
            ends[0].invite(start, invite).unwrap();
            assert_eq!(settle(start, &mut ends, &ways), 7);
        }
        for end in &mut ends {
            end.timeout(start + Duration::from_secs(60));
            assert_eq!(end.remembered(), (0, 0, 0));
        }
        best = best.min(start.elapsed());
    }
    println!("one call, both sides: {:.1} us", best.as_secs_f64() * 1e6 / f64::from(CALLS));
}
