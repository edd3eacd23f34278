//! What reading and writing one message costs: `cargo bench -p callbox-sip --bench wire`. Prints the best of many
//! rounds, which a busy machine disturbs least.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints and times"
)]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use callbox_sip::sdp::{LocalMedia, Session, SessionIds};
use callbox_sip::wire::{self, Message};

const INVITE: &[u8] = include_bytes!("../fuzz/corpus/sip_message/carrier_invite");
const OFFER: &[u8] = include_bytes!("../fuzz/corpus/sdp/offer");

fn main() {
    let bytes = Bytes::from_static(INVITE);
    let message = wire::parse(INVITE).unwrap();
    let local = LocalMedia::new(([192, 0, 2, 9], 20000).into());
    let mut out = Vec::with_capacity(4096);
    println!("{} bytes, {} header lines", INVITE.len(), message.headers.len());
    measure("read, from a borrowed datagram", || wire::parse(black_box(INVITE)).unwrap());
    measure("read, from owned bytes", || wire::parse_bytes(black_box(bytes.clone())).unwrap());
    measure("read, with the core fields typed", || {
        let message = wire::parse_bytes(black_box(bytes.clone())).unwrap();
        core(&message);
        message
    });
    measure("the core fields alone", || core(black_box(&message)));
    measure("make a response", || black_box(&message).respond(200, None, Some("0123456789abcdef")));
    measure("write", || {
        out.clear();
        black_box(&message).write(&mut out);
    });
    measure("answer an offer", || {
        Session::new(SessionIds { id: 1, version: 1 }).answer(&local, black_box(OFFER)).unwrap()
    });
}

/// What the transaction and dialog layers read from every request.
fn core(message: &Message) {
    black_box((message.top_via().unwrap().transaction_branch(), message.cseq().unwrap(), message.call_id().unwrap()));
    black_box((message.from().unwrap().tag(), message.to().unwrap().tag(), message.contact().unwrap()));
}

fn measure<T>(what: &str, mut body: impl FnMut() -> T) {
    const ROUNDS: u32 = 40;
    const TURNS: u32 = 2_000;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..TURNS {
            black_box(body());
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(TURNS));
    }
    println!("{what:<34} {:>7.2} µs", best * 1e6);
}
