//! The far ends: one for each source that sends to us.
//!
//! A far end begins to talk when it hears the first packet, sends one packet of
//! 20 ms every 20 ms on a schedule of its own, and stops when it has heard
//! nothing for a while.

use crate::socket::{Received, Socket};
use crate::times::Times;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;

/// The time between two packets.
const PACKET: u64 = 20_000_000;
/// Phases in it: the far ends of a phase send together.
const PHASES: usize = 20;
/// A far end that hears nothing for so long is silent.
const DEAF: u64 = 200_000_000;
/// Bytes of RTP and G.711: header and 20 ms.
const AUDIO: usize = 172;
/// The payload type of telephone-events in the offers of `tools/bench.py`.
const EVENT: u8 = 101;
/// A key is held for so many packets; its end is told three times (RFC 4733 §2.5.1.4).
const HELD: u32 = 5;
const ENDS: u32 = 3;

/// What a packet of the host holds, by the loudest of its µ-law samples.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sound {
    Silence,
    Quiet,
    Loud,
}

struct Stream {
    peer: SocketAddrV4,
    ssrc: u32,
    /// Of the host's last packet.
    sequence: u16,
    arrived: u64,
    sending: bool,
    /// Of our next packet.
    ours: u16,
    timestamp: u32,
    key: Option<Key>,
}

/// A key to be pressed, and what happened after it.
struct Key {
    press_at: u64,
    packets: u32,
    /// The timestamp of its event.
    event: u32,
    pressed: Option<u64>,
    last_loud: u64,
    answered: bool,
}

/// What was seen since the last reset.
struct Seen {
    received: u64,
    sent: u64,
    lost: u64,
    gaps: Times,
    /// How late we were ourselves.
    lateness: Times,
    /// From the press of a key to the last packet of the prompt; 0 where none left after it.
    cut: Times,
    /// From the press of a key to the first packet of what is said then.
    answer: Times,
    pressed: u64,
}

/// All far ends.
pub(crate) struct Streams {
    by_peer: HashMap<SocketAddrV4, usize>,
    all: Vec<Stream>,
    phases: [Vec<usize>; PHASES],
    /// The next phase to send in, counted from the start.
    turn: u64,
    start: u64,
    /// Far ends press a key so many nanoseconds after they begin, spread over as many again.
    press_after: Option<u64>,
    seen: Seen,
}

impl Streams {
    pub(crate) fn new(now: u64, press_after: Option<u64>) -> Self {
        Self {
            by_peer: HashMap::new(),
            all: Vec::new(),
            phases: [const { Vec::new() }; PHASES],
            turn: 0,
            start: now,
            press_after,
            seen: Seen {
                received: 0,
                sent: 0,
                lost: 0,
                gaps: Times::new(),
                lateness: Times::new(),
                cut: Times::new(),
                answer: Times::new(),
                pressed: 0,
            },
        }
    }

    /// Begins to count anew.
    pub(crate) fn reset(&mut self) {
        let seen = &mut self.seen;
        (seen.received, seen.sent, seen.lost, seen.pressed) = (0, 0, 0, 0);
        for times in [&mut seen.gaps, &mut seen.lateness, &mut seen.cut, &mut seen.answer] {
            times.clear();
        }
    }

    /// What was counted.
    pub(crate) fn told(&self, now: u64) -> Value {
        let seen = &self.seen;
        let live = self.all.iter().filter(|stream| now.saturating_sub(stream.arrived) < DEAF).count();
        json!({
            "streams": live, "received": seen.received, "sent": seen.sent, "lost": seen.lost,
            "gaps": seen.gaps.told(), "own_lateness": seen.lateness.told(), "pressed": seen.pressed,
            "key_to_last_packet": seen.cut.told(), "key_to_answer": seen.answer.told(),
        })
    }

    /// A packet of the host.
    pub(crate) fn take(&mut self, packet: &Received<'_>) {
        let &[0x80..=0xBF, kind, s1, s0, _, _, _, _, c3, c2, c1, c0, ref payload @ ..] = packet.bytes else { return };
        // RTCP, where it is multiplexed.
        if (64..96).contains(&(kind & 0x7F)) {
            return;
        }
        let (sequence, ssrc) = (u16::from_be_bytes([s1, s0]), u32::from_be_bytes([c3, c2, c1, c0]));
        self.seen.received += 1;
        let index = *self.by_peer.entry(packet.from).or_insert(self.all.len());
        if index == self.all.len() {
            self.begin(packet.from);
        }
        let stream = &mut self.all[index];
        if stream.ssrc != ssrc {
            // A call, or another one on a port that was in use before.
            stream.ssrc = ssrc;
            stream.key = self.press_after.map(|after| Key {
                // Spread without a random number: the golden ratio's multiples.
                press_at: packet.at
                    + after
                    + (u64::from(ssrc).wrapping_mul(0x9E37_79B9) & 0xFFFF_FFFF) * after / (1 << 32),
                packets: 0,
                event: 0,
                pressed: None,
                last_loud: 0,
                answered: false,
            });
        } else {
            let step = sequence.wrapping_sub(stream.sequence);
            if step != 0 && step < 0x8000 {
                self.seen.lost += u64::from(step - 1);
                self.seen.gaps.add(packet.at.saturating_sub(stream.arrived));
            }
        }
        stream.sequence = sequence;
        stream.arrived = packet.at;
        stream.sending = true;
        if let Some(key) = &mut stream.key
            && let Some(pressed) = key.pressed
            && !key.answered
        {
            match sound(payload) {
                Sound::Loud => key.last_loud = packet.at,
                Sound::Quiet => {
                    key.answered = true;
                    self.seen.cut.add(key.last_loud.saturating_sub(pressed));
                    self.seen.answer.add(packet.at.saturating_sub(pressed));
                }
                Sound::Silence => {}
            }
        }
    }

    fn begin(&mut self, peer: SocketAddrV4) {
        let index = self.all.len();
        self.all.push(Stream {
            peer,
            ssrc: 0,
            sequence: 0,
            arrived: 0,
            sending: false,
            ours: 0,
            timestamp: 0,
            key: None,
        });
        if let Some(phase) = self.phases.iter_mut().min_by_key(|phase| phase.len()) {
            phase.push(index);
        }
    }

    /// When the next phase is due.
    pub(crate) fn due(&self) -> u64 {
        self.start + self.turn * PACKET / PHASES as u64
    }

    /// Sends what is due by `now`.
    pub(crate) fn send(&mut self, now: u64, socket: &mut Socket) -> io::Result<()> {
        // What is more than a second late is left out: then this program is not to be believed anyway.
        let oldest = now.saturating_sub(self.start + 1_000_000_000) * PHASES as u64 / PACKET;
        self.turn = self.turn.max(oldest);
        while self.due() <= now {
            let late = now - self.due();
            let phase = (self.turn % PHASES as u64) as usize;
            self.turn += 1;
            for &index in &self.phases[phase] {
                let stream = &mut self.all[index];
                stream.sending &= now.saturating_sub(stream.arrived) < DEAF;
                if !stream.sending {
                    continue;
                }
                self.seen.sent += 1;
                self.seen.lateness.add(late);
                let pressed = stream.say(now, index, socket)?;
                self.seen.pressed += u64::from(pressed);
            }
        }
        socket.flush()
    }
}

impl Stream {
    /// Sends one packet; true when it is the first of a key.
    fn say(&mut self, now: u64, index: usize, socket: &mut Socket) -> io::Result<bool> {
        let (sequence, timestamp) = (self.ours, self.timestamp);
        self.ours = self.ours.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        let ssrc = index as u32 + 1;
        if let Some(key) = &mut self.key
            && key.press_at <= now
            && key.packets < HELD + ENDS
        {
            key.packets += 1;
            let first = key.packets == 1;
            if first {
                (key.event, key.pressed) = (timestamp, Some(crate::now()));
            }
            let (end, length) = (key.packets > HELD, (key.packets.min(HELD) * 160) as u16);
            let event = key.event;
            socket.queue(self.peer, 16, |packet| {
                header(packet, first, EVENT, sequence, event, ssrc);
                let [high, low] = length.to_be_bytes();
                packet[12..].copy_from_slice(&[1, u8::from(end) << 7 | 10, high, low]);
            })?;
            if first {
                // The time of the press is to be the time of its sending.
                socket.flush()?;
            }
            return Ok(first);
        }
        socket.queue(self.peer, AUDIO, |packet| {
            header(packet, false, 0, sequence, timestamp, ssrc);
            // Something that is no silence.
            for (n, sample) in packet[12..].iter_mut().enumerate() {
                *sample = 0x80 | (n as u8).wrapping_mul(7) & 0x7F;
            }
        })?;
        Ok(false)
    }
}

fn header(packet: &mut [u8], marker: bool, kind: u8, sequence: u16, timestamp: u32, ssrc: u32) {
    packet[0] = 0x80;
    packet[1] = u8::from(marker) << 7 | kind;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

/// µ-law is sign, exponent, mantissa, all bits inverted: an exponent of 6 or 7 is more than an eighth of full scale.
fn sound(payload: &[u8]) -> Sound {
    let loudest = payload.iter().map(|byte| !byte & 0x7F).max().unwrap_or_default();
    match loudest {
        0 => Sound::Silence,
        1..0x60 => Sound::Quiet,
        _ => Sound::Loud,
    }
}
