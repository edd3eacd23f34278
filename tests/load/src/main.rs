//! The far end of many calls' audio, for the benchmarks: one UDP port that all
//! calls name in their SDP. Whoever sends to it gets RTP back, 50 packets a
//! second, and how regularly it sends is measured with the kernel's own times of
//! arrival.
//!
//! `callbox-load ADDRESS [PRESS_MS]` prints its port as a line of JSON, then obeys
//! lines on standard input: `reset` begins to count anew, `report` prints what was
//! counted since, the end of input ends it. With PRESS_MS each far end presses a
//! key between so many and twice as many milliseconds after it begins.
//!
//! `callbox-load phones …` is something else: [telephones that register](phones); and so is
//! `callbox-load webrtc …`: [browsers that call](callbox_load::webrtc).

mod browsers;
mod phones;
mod socket;
mod streams;

use callbox_load::times;

use socket::Socket;
use std::io::{self, BufRead, Write};
use std::net::SocketAddrV4;
use std::sync::mpsc::{self, TryRecvError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use streams::Streams;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|word| word == "phones").is_some() {
        return phones::run(arguments);
    }
    if arguments.next_if(|word| word == "webrtc").is_some() {
        return browsers::run(arguments);
    }
    let usage = || io::Error::other("usage: callbox-load ADDRESS:PORT [PRESS_MS]");
    let address: SocketAddrV4 = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let press_after = match arguments.next() {
        Some(text) => Some(text.parse::<u64>().map_err(|_| usage())? * 1_000_000),
        None => None,
    };
    let mut socket = Socket::bind(address)?;
    tell(&serde_json::json!({ "address": socket.address()? }))?;
    let orders = orders();
    let mut streams = Streams::new(now(), press_after);
    loop {
        match orders.try_recv() {
            Ok(order) if order == "reset" => streams.reset(),
            Ok(order) if order == "report" => tell(&streams.told(now()))?,
            Ok(order) => return Err(io::Error::other(format!("what is {order:?}?"))),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        let sending = now();
        streams.send(sending, &mut socket)?;
        while socket.receive(|packet| streams.take(&packet))? == socket::BATCH && now() < streams.due() {}
        let next = streams.due().saturating_sub(now());
        if next > 0 {
            // Not until a packet comes: the kernel notes when it does, and waking us would cost the host time.
            std::thread::sleep(Duration::from_nanos(next));
        }
    }
}

/// The lines of standard input.
pub(crate) fn orders() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

pub(crate) fn tell(value: &serde_json::Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

/// Nanoseconds since 1970, the clock of the kernel's times of arrival.
#[allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
