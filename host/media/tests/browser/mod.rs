//! A browser on real sockets, for tests: the caller of `callbox-webrtc`, a thread's worth of patience, and a microphone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test file uses some of it")]

use callbox_dialogue::CallId;
use callbox_media::webrtc::{Offer, Opened, WebRtcConfig, WebRtcPolicy};
use callbox_media::{Codec, MediaConfig, MediaPlane};
use callbox_webrtc::caller::{Caller, Heard, Wishes};
use callbox_webrtc::frame;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// As long as anything may take on a machine that has much to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A plane with so many workers that browsers reach by UDP and TCP.
pub(crate) fn plane(workers: usize, change: impl FnOnce(&mut MediaConfig, &mut WebRtcConfig)) -> MediaPlane {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut webrtc = WebRtcConfig { tcp: vec![local], ..WebRtcConfig::new(local) };
    let mut config = MediaConfig { ports: 0..=0, workers, ..MediaConfig::default() };
    change(&mut config, &mut webrtc);
    config.webrtc = Some(webrtc);
    MediaPlane::start(config).unwrap()
}

/// What a browser may hear.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connected: bool,
    pub(crate) channel: bool,
    pub(crate) closed: bool,
    pub(crate) messages: Vec<String>,
    /// Payload type, timestamp, payload.
    pub(crate) packets: Vec<(u8, u32, Vec<u8>)>,
    /// Media that came before the handshake was done.
    pub(crate) early: usize,
}

/// A browser.
pub(crate) struct Browser {
    pub(crate) caller: Caller,
    pub(crate) seen: Seen,
    pub(crate) udp: UdpSocket,
    tcp: Option<(TcpStream, Vec<u8>)>,
    tcp_local: Option<SocketAddr>,
    start: Instant,
    /// What it says, 20 ms at a time; nothing while it is empty.
    pub(crate) voice: Vec<u8>,
    spoken: Duration,
    /// Of what it sends, one in so many is lost.
    pub(crate) lose_one_in: usize,
    count: usize,
    out: Vec<(SocketAddr, SocketAddr, bool, Vec<u8>)>,
}

impl Browser {
    /// A browser, and its offer.
    pub(crate) fn new(wishes: &Wishes, tcp_to: Option<SocketAddr>) -> (Self, String) {
        Self::new_at(Ipv4Addr::LOCALHOST.into(), wishes, tcp_to)
    }

    /// The same at this address.
    #[allow(clippy::disallowed_methods, reason = "a test has a clock of its own")]
    pub(crate) fn new_at(host: IpAddr, wishes: &Wishes, tcp_to: Option<SocketAddr>) -> (Self, String) {
        let udp = UdpSocket::bind((host, 0)).unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let start = Instant::now();
        let tcp = tcp_to.map(|to| {
            let stream = TcpStream::connect(to).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        });
        let local = match &tcp {
            Some(stream) => (stream.local_addr().unwrap(), true),
            None => (udp.local_addr().unwrap(), false),
        };
        let (caller, offer) = Caller::new(start, &[local], wishes).unwrap();
        let browser = Self {
            caller,
            seen: Seen::default(),
            udp,
            tcp: tcp.map(|stream| (stream, Vec::new())),
            tcp_local: local.1.then_some(local.0),
            start,
            voice: Vec::new(),
            spoken: Duration::ZERO,
            lose_one_in: usize::MAX,
            count: 0,
            out: Vec::new(),
        };
        (browser, offer)
    }

    /// Calls a plane.
    pub(crate) fn call(plane: &MediaPlane, codec: Codec, wishes: &Wishes) -> (Self, Opened) {
        Self::call_by(plane, codec, wishes, false)
    }

    /// The same by TCP alone.
    pub(crate) fn call_by(plane: &MediaPlane, codec: Codec, wishes: &Wishes, tcp: bool) -> (Self, Opened) {
        let (_, ports) = plane.webrtc_ports();
        let new = Self::new(wishes, ports.first().copied().filter(|_| tcp));
        new.0.offered(plane, codec, &new.1)
    }

    /// Sends its offer and takes the answer.
    pub(crate) fn offered(mut self, plane: &MediaPlane, codec: Codec, offer: &str) -> (Self, Opened) {
        let policy = WebRtcPolicy { codecs: vec![codec], ..WebRtcPolicy::default() };
        let offer = Offer::parse(offer).unwrap();
        let opened = plane.open_webrtc(&CallId("call".into()), &offer, &policy).unwrap();
        self.caller.accept(&opened.answer.sdp).unwrap();
        (self, opened)
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Lives until something is so.
    pub(crate) fn until(&mut self, what: impl FnMut(&Self) -> bool) {
        self.until_or(what, PATIENCE).unwrap_or_else(|()| {
            let Seen { connected, channel, closed, messages, packets, .. } = &self.seen;
            let packets = packets.len();
            panic!("it never came to that: {connected} {channel} {closed} {messages:?} {packets} packets")
        });
    }

    /// Lives until something is so, or for so long.
    pub(crate) fn until_or(&mut self, mut what: impl FnMut(&Self) -> bool, patience: Duration) -> Result<(), ()> {
        let begun = self.now();
        while !what(self) {
            if self.now() - begun > patience {
                return Err(());
            }
            self.turn();
        }
        Ok(())
    }

    /// One turn: what has come, what is due, what is to be said.
    pub(crate) fn turn(&mut self) {
        let mut buffer = [0; 2_048];
        let mut come = Vec::new();
        let local = self.udp.local_addr().unwrap();
        if let Ok((length, from)) = self.udp.recv_from(&mut buffer) {
            come.push((from, local, false, buffer[..length].to_vec()));
        }
        if let Some((stream, input)) = &mut self.tcp {
            while let Ok(length) = stream.read(&mut buffer) {
                if length == 0 {
                    break;
                }
                input.extend(&buffer[..length]);
            }
            let (from, local) = (stream.peer_addr(), self.tcp_local);
            while let Ok(Some((datagram, taken))) = frame::first(input) {
                if let (Ok(from), Some(local)) = (&from, local) {
                    come.push((*from, local, true, datagram.to_vec()));
                }
                input.drain(..taken);
            }
        }
        let now = self.now();
        let Self { caller, seen, out, .. } = self;
        for (from, to, tcp, datagram) in come {
            caller.take(now, from, to, tcp, &datagram, &mut |heard| hear(heard, seen, out));
        }
        if caller.next() <= now {
            caller.tick(now, &mut |heard| hear(heard, seen, out));
        }
        if seen.connected && !self.voice.is_empty() && now >= self.spoken {
            self.spoken = self.spoken.max(now.saturating_sub(Duration::from_millis(20))) + Duration::from_millis(20);
            self.count += 1;
            if self.count.is_multiple_of(self.lose_one_in) {
                caller.lose();
            } else {
                caller.audio(now, &self.voice, &mut |heard| hear(heard, seen, out));
            }
        }
        self.flush();
    }

    /// Does something with the caller and sends what comes of it.
    pub(crate) fn with<T>(&mut self, work: impl FnOnce(&mut Caller, Duration, &mut dyn FnMut(Heard<'_>)) -> T) -> T {
        let now = self.now();
        let Self { caller, seen, out, .. } = self;
        let done = work(caller, now, &mut |heard| hear(heard, seen, out));
        self.flush();
        done
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, event: u8) {
        self.with(|caller, now, mut out| caller.press(now, event, &mut out));
    }

    /// Says something on the data channel.
    pub(crate) fn say(&mut self, message: &str) -> bool {
        self.with(|caller, now, mut out| caller.say(now, message, &mut out))
    }

    /// Goes to another address; gives the offer to begin anew from there.
    pub(crate) fn roam(&mut self) -> String {
        self.udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        self.udp.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        self.caller.restart(self.udp.local_addr().unwrap(), false).unwrap()
    }

    fn flush(&mut self) {
        let local = self.udp.local_addr().unwrap();
        for (from, to, tcp, datagram) in std::mem::take(&mut self.out) {
            match &mut self.tcp {
                Some((stream, _)) if tcp => {
                    let header = frame::header(&datagram).unwrap();
                    let framed = [&header[..], &datagram].concat();
                    // A test's socket has room for all of it.
                    let _ = stream.write_all(&framed);
                }
                _ if from == local => drop(self.udp.send_to(&datagram, to)),
                // From where it is no longer.
                _ => {}
            }
        }
    }

    /// Payload of the packets of audio that it has heard from this one on.
    pub(crate) fn heard(&self, from: usize) -> Vec<u8> {
        let wanted = self.caller.agreed().unwrap().payload_type;
        let audio = self.seen.packets[from..].iter().filter(|(number, ..)| *number == wanted);
        audio.flat_map(|(_, _, payload)| payload.clone()).collect()
    }
}

fn hear(heard: Heard<'_>, seen: &mut Seen, out: &mut Vec<(SocketAddr, SocketAddr, bool, Vec<u8>)>) {
    match heard {
        Heard::Send { from, to, tcp, bytes } => out.push((from, to, tcp, bytes.to_vec())),
        Heard::Connected => seen.connected = true,
        Heard::Channel => seen.channel = true,
        Heard::Message(message) => seen.messages.push(message),
        Heard::Closed => seen.closed = true,
        Heard::Rtp { payload_type, timestamp, payload, .. } => {
            seen.early += usize::from(!seen.connected);
            seen.packets.push((payload_type, timestamp, payload.to_vec()));
        }
    }
}
