//! Browsers that call: each makes an offer, sends it to `POST /v1/webrtc/calls`, does ICE and DTLS, and then sends and
//! counts RTP, 50 packets a second. ICE, DTLS and the data channel are str0m's; the audio of many passes beside it, with
//! the keys that it has, so that the load costs less than what it loads.

use crate::http::Client;
use crate::times::Times;
use callbox_media::srtp::{OVERHEAD, Protector, Unprotector};
use callbox_media::{SrtpKeys, SrtpSuite};
use callbox_webrtc::caller::{Caller, Heard, Wishes};
use callbox_webrtc::{Codec, Keys, stun};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Threads that make offers and wait for answers.
const SIGNALLERS: usize = 8;
/// Between two packets.
const PACKET: Duration = Duration::from_millis(20);
/// 20 ms of noise at 16 kHz, as Opus.
const OPUS: &[u8] = &[0x48, 0x83, 0x11, 0xC4, 0x52, 0x9F, 0x33, 0x70, 0x0A, 0xB1, 0x2C, 0xEE, 0x61, 0x18, 0x95, 0x07];

/// Whom they call.
#[derive(Clone, Debug)]
pub struct Target {
    /// The host's HTTP port.
    pub http: SocketAddr,
    /// A token, good for all of them.
    pub token: String,
    /// What they speak.
    pub codec: Codec,
    /// They open the data channel.
    pub data: bool,
    /// Their own address.
    pub local: IpAddr,
}

/// A call that has its answer.
struct Answered {
    caller: Caller,
    socket: UdpSocket,
    location: Option<String>,
    took: Duration,
    at: Duration,
}

enum Done {
    Answered(Box<Answered>),
    Refused(String),
}

struct Talk {
    send: Protector,
    receive: Unprotector,
    to: SocketAddr,
    sequence: u16,
    timestamp: u32,
    due: Duration,
}

struct Call {
    caller: Caller,
    socket: UdpSocket,
    location: Option<String>,
    at: Duration,
    /// Where the host is, as ICE has found.
    to: Option<SocketAddr>,
    talk: Option<Talk>,
    heard: bool,
    last: Option<u16>,
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Counted {
    /// Calls that were answered.
    pub answered: usize,
    /// Calls whose audio has come.
    pub talking: usize,
    /// Calls that were refused or came to nothing, and the first few reasons.
    pub refused: usize,
    /// Why, of the first few.
    pub reasons: Vec<String>,
    /// From the request to the answer.
    pub answer: Times,
    /// From the answer to the first packet of audio.
    pub audio: Times,
    /// Packets of audio that came.
    pub packets: u64,
    /// Packets that were missing, by their numbers.
    pub lost: u64,
    /// Packets that were not authentic.
    pub unauthentic: u64,
    /// Packets that came before there were keys.
    pub early: u64,
    /// Packets sent.
    pub sent: u64,
    /// Messages on data channels.
    pub messages: u64,
    /// Calls that the host has ended.
    pub closed: usize,
}

/// Browsers.
pub struct Browsers {
    target: Target,
    start: Instant,
    asked: Sender<()>,
    done: Receiver<Done>,
    calls: Vec<Call>,
    /// Calls that have been asked for and have come to nothing yet.
    under_way: usize,
    /// Calls still to be begun, and how often.
    waiting: usize,
    every: Duration,
    next: Duration,
    /// What was counted so far.
    pub counted: Counted,
}

impl Browsers {
    /// None yet.
    ///
    /// # Panics
    /// Where the system gives no threads.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "a load has a clock of its own")]
    pub fn new(target: Target) -> Self {
        let start = Instant::now();
        let (asked, orders) = mpsc::channel();
        let (answers, done) = mpsc::channel();
        let orders = Arc::new(Mutex::new(orders));
        for _ in 0..SIGNALLERS {
            let (orders, answers, target) = (Arc::clone(&orders), answers.clone(), target.clone());
            std::thread::spawn(move || {
                let mut client = Client::new(target.http);
                loop {
                    let order = orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    if order.is_err() {
                        return;
                    }
                    let one = match signal(&mut client, &target, start) {
                        Ok(answered) => Done::Answered(Box::new(answered)),
                        Err(why) => Done::Refused(why),
                    };
                    if answers.send(one).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            target,
            start,
            asked,
            done,
            calls: Vec::new(),
            under_way: 0,
            waiting: 0,
            every: Duration::ZERO,
            next: Duration::ZERO,
            counted: Counted::default(),
        }
    }

    /// So many more calls, so many a second.
    pub fn call(&mut self, count: usize, per_second: f64) {
        self.waiting += count;
        self.every = Duration::from_secs_f64(1.0 / per_second.max(0.001));
        self.next = self.now();
    }

    /// All calls that were asked for have audio, are refused or have ended.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.waiting == 0 && self.under_way == 0 && self.calls.iter().all(|call| call.heard)
    }

    /// Calls that are up.
    #[must_use]
    pub fn up(&self) -> usize {
        self.calls.len()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Does what is due, and sleeps a little where nothing is.
    pub fn turn(&mut self) {
        let now = self.now();
        while self.waiting > 0 && self.next <= now && self.asked.send(()).is_ok() {
            self.waiting -= 1;
            self.under_way += 1;
            self.next += self.every;
        }
        while let Ok(done) = self.done.try_recv() {
            self.under_way -= 1;
            match done {
                Done::Answered(answered) => {
                    let Answered { caller, socket, location, took, at } = *answered;
                    self.counted.answered += 1;
                    self.counted.answer.add(nanos(took));
                    let call = Call { caller, socket, location, at, to: None, talk: None, heard: false, last: None };
                    self.calls.push(call);
                }
                Done::Refused(why) => {
                    self.counted.refused += 1;
                    if self.counted.reasons.len() < 5 {
                        self.counted.reasons.push(why);
                    }
                }
            }
        }
        let (start, counted, codec) = (self.start, &mut self.counted, self.target.codec);
        self.calls.retain_mut(|call| {
            let now = start.elapsed();
            // Who talks is looked at once in a packet time; who does not yet, as often as may be.
            let due = call.talk.as_ref().is_none_or(|talk| talk.due <= now) || !call.heard;
            !due || call.turn(now, codec, counted)
        });
        std::thread::sleep(Duration::from_millis(1));
    }

    /// Hangs up all.
    pub fn hang_up(&mut self) {
        let mut client = Client::new(self.target.http);
        for call in self.calls.drain(..) {
            if let Some(location) = call.location {
                let path = location.find("/v1/").map_or(location.as_str(), |at| &location[at..]);
                // Who cannot be told is missed.
                let _ = client.send("DELETE", path, &self.target.token, "application/sdp", "");
            }
        }
    }

    /// Counts anew.
    pub fn reset(&mut self) {
        self.counted = Counted::default();
    }

    /// What was counted, in short.
    #[must_use]
    pub fn report(&self) -> serde_json::Value {
        let Counted { answered, talking, refused, reasons, packets, lost, .. } = &self.counted;
        serde_json::json!({
            "answered": answered, "talking": talking, "refused": refused, "reasons": reasons, "up": self.calls.len(),
            "answer": self.counted.answer.told(), "first_audio": self.counted.audio.told(),
            "packets": packets, "lost": lost, "sent": self.counted.sent, "unauthentic": self.counted.unauthentic,
            "early": self.counted.early, "messages": self.counted.messages, "closed": self.counted.closed,
        })
    }
}

/// Makes an offer and waits for its answer.
fn signal(client: &mut Client, target: &Target, start: Instant) -> Result<Answered, String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let socket = UdpSocket::bind((target.local, 0)).map_err(|error| wrong(&error))?;
    socket.set_nonblocking(true).map_err(|error| wrong(&error))?;
    let local = socket.local_addr().map_err(|error| wrong(&error))?;
    let wishes = Wishes { codecs: vec![target.codec], data: target.data, video: false };
    let (mut caller, offer) = Caller::new(start, &[(local, false)], &wishes).map_err(|error| wrong(&error))?;
    let begun = start.elapsed();
    let response = client.send("POST", "/v1/webrtc/calls", &target.token, "application/sdp", &offer);
    let response = response.map_err(|error| wrong(&error))?;
    let at = start.elapsed();
    if response.status != 201 {
        return Err(format!("{}: {}", response.status, response.body));
    }
    caller.accept(&response.body).map_err(|error| wrong(&error))?;
    Ok(Answered { caller, socket, location: response.location, took: at - begun, at })
}

impl Call {
    /// Takes what has come and sends what is due; false when it is over.
    fn turn(&mut self, now: Duration, codec: Codec, counted: &mut Counted) -> bool {
        let (mut buffer, mut open) = ([0; 2_048], true);
        let Ok(local) = self.socket.local_addr() else { return false };
        let Self { caller, socket, .. } = self;
        // Where its handshake goes is where its audio goes; and that it is done.
        let (to, connected) = (Cell::new(self.to), Cell::new(false));
        let mut hear = |heard: Heard<'_>| match heard {
            Heard::Send { to: there, bytes, .. } => {
                if stun::is_dtls(bytes) {
                    to.set(Some(there));
                }
                // What finds no room is lost.
                let _ = socket.send_to(bytes, there);
            }
            Heard::Connected => connected.set(true),
            Heard::Message(_) => counted.messages += 1,
            Heard::Closed => open = false,
            Heard::Channel | Heard::Rtp { .. } => {}
        };
        if caller.next() <= now {
            caller.tick(now, &mut hear);
        }
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let datagram = &mut buffer[..length];
            let media = stun::is_media(datagram);
            if !media {
                caller.take(now, from, local, false, datagram, &mut hear);
            }
            // What comes behind is audio.
            if connected.take()
                && let (Some(to), Some((send, receive))) = (to.get(), caller.keys().as_ref().and_then(protection))
            {
                self.talk = Some(Talk { send, receive, to, sequence: 1, timestamp: 1, due: now });
            }
            if !media {
                continue;
            }
            let Some(talk) = &mut self.talk else {
                counted.early += 1;
                continue;
            };
            if (64..96).contains(&(datagram[1] & 0x7F)) {
                continue;
            }
            if talk.receive.rtp(datagram).is_err() {
                counted.unauthentic += 1;
                continue;
            }
            counted.packets += 1;
            let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
            if let Some(last) = self.last.replace(sequence) {
                counted.lost += u64::from(sequence.wrapping_sub(last).wrapping_sub(1)) % 0x8000;
            }
            if !std::mem::replace(&mut self.heard, true) {
                counted.talking += 1;
                counted.audio.add(nanos(now.saturating_sub(self.at)));
            }
        }
        self.to = to.get();
        if let Some(talk) = &mut self.talk
            && talk.due <= now
            && let Some(agreed) = self.caller.agreed()
        {
            talk.due = talk.due.max(now.saturating_sub(PACKET)) + PACKET;
            let voice: &[u8] = if codec == Codec::Opus { OPUS } else { &[0xD5; 160] };
            let length = 12 + voice.len();
            let packet = &mut buffer[..length + OVERHEAD];
            packet[..2].copy_from_slice(&[0x80, agreed.payload_type]);
            packet[2..4].copy_from_slice(&talk.sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&talk.timestamp.to_be_bytes());
            packet[8..12].copy_from_slice(&7_u32.to_be_bytes());
            packet[12..length].copy_from_slice(voice);
            talk.sequence = talk.sequence.wrapping_add(1);
            talk.timestamp = talk.timestamp.wrapping_add(codec.rtp_clock() / 50);
            if let Ok(sealed) = talk.send.rtp(packet, length)
                && self.socket.send_to(&packet[..sealed], talk.to).is_ok()
            {
                counted.sent += 1;
            }
        }
        counted.closed += usize::from(!open);
        open
    }
}

/// What a client protects with and what it opens with.
fn protection(keys: &Keys) -> Option<(Protector, Unprotector)> {
    let (ours, theirs) = SrtpKeys::of_handshake(SrtpSuite::from(keys.profile), &keys.material, keys.client)?;
    Some((Protector::new(&ours), Unprotector::new(&theirs)))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
