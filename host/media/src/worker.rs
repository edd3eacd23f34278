//! A worker thread: sockets, the clock, and the sessions pinned to it.
//!
//! Each round it waits for packets until the next slot of the wheel is due, takes commands, reads what has come, and
//! serves the slot. Slots go before reading: however much a stranger sends, packets leave on time. Commands that
//! arrived before a slot are carried out before its packets leave.

mod browsers;
mod events;
mod line;

use self::events::EventQueue;
use self::line::{Line, Way, Wire};
use crate::bridge::Bridge;
use crate::capture::{Capture, Captures, Local};
use crate::command::{MediaCommand, MediaEvent, MediaPlan};
use crate::dtls::Credentials;
use crate::histogram::Histogram;
use crate::ports::{Pair, Ports};
use crate::recorder::Recorder;
use crate::shield::{self, Arrival, Inbound, Refused, Shield};
use crate::stream::Stream;
use crate::webrtc::connection::Connection;
use crate::webrtc::gate::{Door, Gate};
use crate::webrtc::names::Name;
use crate::webrtc::reach::Reach;
use crate::webrtc::{Browser, Question, Reply};
use crate::wheel::{self, Wheel};
use callbox_webrtc::{IceCredentials, OfferError};
use crossbeam_channel::Receiver;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{OwnedPermit, Sender};
use tokio::sync::oneshot;

/// The token of the waker; sockets follow.
pub(crate) const WAKER: Token = Token(0);
/// Commands carried out before packets get their turn again.
const ORDERS_A_ROUND: usize = 1_024;
/// Packets read from one socket before the others get their turn.
const BURST: usize = 32;
/// Packets read from each socket in any case: a call has one in each round.
const FIRST_BURST: usize = 4;
/// No datagram of a telephone is longer.
const DATAGRAM: usize = 2_048;
/// Sockets of a session: two components in two families.
const SOCKETS: usize = 4;
/// How often ports at rest and abandoned sessions are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// The longest that ports rest, whoever still sends to them.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What a worker is told.
#[allow(clippy::large_enum_variant, reason = "nearly all orders are commands, and a box would be another allocation")]
pub(crate) enum Order {
    Open(Box<Opening>),
    Command { number: u64, command: Box<MediaCommand> },
    Join { number: u64, bridge: Box<Bridge> },
    Ask(Box<Asked>),
    Route { path: callbox_webrtc::Path, by: u16, is_its: bool },
    Connection(Box<Connection>),
    Close { number: u64 },
    Shutdown,
}

/// A question to a session of WebRTC.
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) question: Question,
    /// For the case that it begins ICE anew.
    pub(crate) name: Name,
    pub(crate) credentials: IceCredentials,
    pub(crate) reply: oneshot::Sender<Result<Reply, OfferError>>,
}

/// How a session reaches its far end.
pub(crate) enum Opened {
    /// By ports of its own.
    Ports(Pair),
    /// By those of all browsers, as it was agreed with its.
    Browser(Box<Browser>, Box<MediaPlan>),
}

/// A new session.
pub(crate) struct Opening {
    pub(crate) number: u64,
    pub(crate) call: String,
    pub(crate) opened: Opened,
    pub(crate) stream: Stream,
    /// Our addresses, as far ends see them: for captures.
    pub(crate) local: Local,
    pub(crate) events: Sender<MediaEvent>,
    /// The place of the last event.
    pub(crate) last: OwnedPermit<MediaEvent>,
    pub(crate) link: Arc<Link>,
}

/// What the handle of a session and its worker share.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Commands on their way.
    pub(crate) pending: AtomicUsize,
    /// The handle is gone.
    pub(crate) closed: AtomicBool,
}

/// What a worker and the plane share: figures, and whether the worker has been woken.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) woken: AtomicBool,
    pub(crate) sessions: AtomicUsize,
    pub(crate) packets_in: AtomicU64,
    pub(crate) packets_out: AtomicU64,
    pub(crate) send_errors: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) handed_on: AtomicU64,
    pub(crate) lateness: Histogram,
    pub(crate) gaps: Histogram,
}

/// What all workers share.
pub(crate) struct Common {
    pub(crate) ports: Ports,
    pub(crate) quarantine: Duration,
    pub(crate) media_timeout: Duration,
    pub(crate) start: Instant,
    /// NTP time at `start`.
    pub(crate) ntp_start: u64,
    /// Sessions that count against the limit.
    pub(crate) sessions: AtomicUsize,
    /// Files begun: recordings and captures.
    pub(crate) files: AtomicU64,
    pub(crate) recorder: Recorder,
    pub(crate) captures: Captures,
    pub(crate) credentials: Credentials,
    /// What browsers come to.
    pub(crate) reach: Option<Arc<Reach>>,
    /// Unix time at `start`.
    pub(crate) unix_start: Duration,
}

impl Common {
    /// The time since the plane started: the clock of everything in this room.
    #[allow(clippy::disallowed_methods, reason = "the edge where the clock is read")]
    pub(crate) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }
}

/// The sockets of a session and what is known to wait in them.
struct Sockets {
    port: u16,
    /// RTP and RTCP, and the same in the other family of addresses where that is served.
    sockets: [Option<UdpSocket>; SOCKETS],
    /// The first two are of IPv4.
    v4_first: bool,
    /// Already in the list of those to be read.
    listed: [bool; SOCKETS],
}

impl Sockets {
    /// The socket of a component for a far end of that family.
    fn towards(&self, which: usize, far: SocketAddr) -> Option<&UdpSocket> {
        let family = if far.is_ipv4() == self.v4_first { 0 } else { 2 };
        self.sockets[family + which].as_ref()
    }
}

struct Call {
    number: u64,
    name: String,
    stream: Stream,
    shield: Shield,
    /// Of a session of WebRTC: what it has instead of sockets.
    browser: Option<Box<Browser>>,
    capture: Option<Capture>,
    local: Local,
    masked: bool,
    events: EventQueue,
    last: OwnedPermit<MediaEvent>,
    link: Arc<Link>,
    /// It has a place in the wheel.
    turning: bool,
}

enum Use {
    Call(Box<Call>),
    /// The session is over; the ports stay bound and are read, so that no other call hears who still sends there.
    Rest {
        since: Duration,
        heard: Duration,
    },
}

struct Place {
    sockets: Sockets,
    using: Use,
}

impl Place {
    fn call(&mut self) -> Option<(&Sockets, &mut Call)> {
        match &mut self.using {
            Use::Call(call) => Some((&self.sockets, call)),
            Use::Rest { .. } => None,
        }
    }
}

/// The thread.
pub(crate) struct Worker {
    poll: Poll,
    orders: Receiver<Order>,
    gauges: Arc<Gauges>,
    common: Arc<Common>,
    places: Slab<Place>,
    keys: HashMap<u64, usize>,
    gate: Option<Gate>,
    wheel: Wheel,
    /// Sockets that may have more to read.
    readable: VecDeque<Token>,
    due: Vec<usize>,
    swept: Duration,
    buffer: Box<[u8; DATAGRAM]>,
    /// A datagram of a browser, while its session is looked for.
    parcel: Vec<u8>,
    scratch: Box<[u8; DATAGRAM]>,
}

impl Worker {
    pub(crate) fn new(poll: Poll, orders: Receiver<Order>, gauges: Arc<Gauges>, common: Arc<Common>) -> Self {
        Self {
            gate: None,
            parcel: vec![0; DATAGRAM],
            poll,
            orders,
            gauges,
            common,
            places: Slab::with_capacity(64),
            keys: HashMap::new(),
            wheel: Wheel::default(),
            readable: VecDeque::with_capacity(256),
            due: Vec::with_capacity(256),
            swept: Duration::ZERO,
            buffer: Box::new([0; DATAGRAM]),
            scratch: Box::new([0; DATAGRAM]),
        }
    }

    /// Serves browsers too.
    pub(crate) fn with_gate(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// What sockets are registered with.
    pub(crate) fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    /// Serves until it is told to shut down, then closes its sessions.
    pub(crate) fn run(mut self) {
        raise_priority();
        let mut events = Events::with_capacity(1_024);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.wait())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a media thread cannot wait for packets");
                break;
            }
            self.gauges.woken.store(false, Ordering::SeqCst);
            for event in &events {
                self.list(event.token());
            }
            if !self.obey() {
                break;
            }
            self.read();
            if !self.obey() {
                break;
            }
            self.serve();
            self.sweep();
        }
        let keys: Vec<usize> = self.places.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.close(key);
        }
    }

    /// How long to wait for packets; for ever where nothing is open.
    fn wait(&self) -> Option<Duration> {
        if !self.readable.is_empty() || !self.orders.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.gate.as_ref().is_some_and(|gate| !gate.inbox.is_empty()) {
            return Some(Duration::ZERO);
        }
        let busy = !self.places.is_empty() || self.gate.as_ref().is_some_and(Gate::is_busy);
        let sweep = busy.then(|| self.swept + SWEEP);
        let next = [self.wheel.next(), sweep].into_iter().flatten().min()?;
        Some(next.saturating_sub(self.common.now()))
    }

    fn list(&mut self, token: Token) {
        if let Some(door) = Door::of(token) {
            if self.gate.as_mut().and_then(|gate| gate.list(door, true)) == Some(false) {
                self.readable.push_back(token);
            }
            return;
        }
        if let Some((key, which)) = place(token)
            && let Some(place) = self.places.get_mut(key)
            && !std::mem::replace(&mut place.sockets.listed[which], true)
        {
            self.readable.push_back(token);
        }
    }

    /// Carries out what was ordered. False when it is over.
    fn obey(&mut self) -> bool {
        for _ in 0..ORDERS_A_ROUND {
            match self.orders.try_recv() {
                Ok(Order::Open(opening)) => self.open(*opening),
                Ok(Order::Command { number, command }) => self.command(number, *command),
                Ok(Order::Join { number, bridge }) => {
                    // Where the session is gone, dropping the bridge tells the other side.
                    if let Some(key) = self.keys.get(&number)
                        && let Some((_, call)) = self.places.get_mut(*key).and_then(Place::call)
                    {
                        call.stream.join(*bridge);
                    }
                }
                Ok(Order::Ask(asked)) => self.ask(*asked),
                Ok(Order::Route { path, by, is_its }) => {
                    if let Some(gate) = &mut self.gate {
                        gate.told(path, by, is_its);
                    }
                }
                Ok(Order::Connection(connection)) => self.adopt(*connection),
                Ok(Order::Close { number }) => {
                    if let Some(key) = self.keys.get(&number).copied() {
                        self.close(key);
                    }
                }
                Ok(Order::Shutdown) => return false,
                Err(_) => return true,
            }
        }
        true
    }

    fn open(&mut self, opening: Opening) {
        let Opening { number, call: name, opened, stream, local, events, last, link } = opening;
        let events = EventQueue::new(events);
        let call = Call {
            number,
            name,
            stream,
            shield: Shield::default(),
            browser: None,
            capture: None,
            local,
            masked: false,
            events,
            last,
            link,
            turning: false,
        };
        let pair = match opened {
            Opened::Ports(pair) => pair,
            Opened::Browser(browser, plan) => return self.open_browser(call, browser, *plan),
        };
        let v4_first = pair.rtp.local_addr().is_ok_and(|address| address.is_ipv4());
        let [other_rtp, other_rtcp] = pair.other.map_or([None, None], |other| other.map(Some));
        let all =
            [Some(pair.rtp), Some(pair.rtcp), other_rtp, other_rtcp].map(|socket| socket.map(UdpSocket::from_std));
        let mut sockets = Sockets { port: pair.port, sockets: all, v4_first, listed: [false; SOCKETS] };
        let entry = self.places.vacant_entry();
        let key = entry.key();
        let registry = self.poll.registry();
        let mut all = sockets.sockets.iter_mut().enumerate();
        let registered = all.try_for_each(|(which, socket)| match socket {
            Some(socket) => registry.register(socket, token(key, which), Interest::READABLE),
            None => Ok(()),
        });
        if let Err(error) = &registered {
            // The session stays deaf and its timeout will tell; there is nobody else to tell now.
            tracing::error!(call = call.name, %error, "cannot wait for the packets of a session");
        }
        tracing::debug!(call = call.name, port = sockets.port, "media session opened");
        entry.insert(Place { sockets, using: Use::Call(Box::new(call)) });
        self.keys.insert(number, key);
    }

    fn command(&mut self, number: u64, command: MediaCommand) {
        let now = self.common.now();
        let Some(key) = self.keys.get(&number).copied() else { return };
        let Some((sockets, call)) = self.places.get_mut(key).and_then(Place::call) else { return };
        call.link.pending.fetch_sub(1, Ordering::Relaxed);
        match command {
            MediaCommand::Record { path } => return call.record(path, &self.common),
            MediaCommand::Capture { path, decrypted } => return call.capture(path, decrypted, &self.common),
            MediaCommand::StopCapture => return call.stop_capture(),
            MediaCommand::Mask(masked) => call.mask(masked),
            // What is agreed on is what the answer says.
            MediaCommand::Configure(_) if call.browser.is_some() => return,
            MediaCommand::Message(message) => return self.message(key, now, message),
            _ => {}
        }
        let way = call.way(sockets, &mut self.gate);
        let (stream, mut wire) = call.wired(way, &self.gauges, &mut self.scratch[..], now, &self.common);
        if let MediaCommand::Configure(plan) = &command {
            wire.shield.configure(now, plan, &self.common.credentials, &mut wire.line);
            stream.withhold(!wire.shield.is_ready());
        }
        stream.command(now, command, &mut wire);
        if !call.turning && call.stream.period().is_some() {
            call.turning = true;
            self.wheel.join(key, now);
        }
    }

    /// Reads sockets in turns. Each has a first turn, however late it is: what has come is to be heard. More than that
    /// is read until the next slot is due.
    fn read(&mut self) {
        self.take_parcels();
        let deadline = self.wheel.next().unwrap_or(Duration::MAX);
        for round in [FIRST_BURST, BURST] {
            for _ in 0..self.readable.len() {
                let now = self.common.now();
                if round == BURST && now >= deadline {
                    return;
                }
                let Some(token) = self.readable.pop_front() else { return };
                if self.guarded(token, |worker| worker.read_burst(token, now, round)).unwrap_or(false) {
                    self.readable.push_back(token);
                }
            }
        }
    }

    /// Reads some packets; true when there may be more.
    fn read_burst(&mut self, token: Token, now: Duration, burst: usize) -> bool {
        if let Some(door) = Door::of(token) {
            return self.read_door(door, now);
        }
        let Some((key, which)) = place(token) else { return false };
        let Some(place) = self.places.get_mut(key) else { return false };
        let mut count = 0;
        while count < burst {
            let sockets = &place.sockets;
            let Some(socket) = &sockets.sockets[which] else { break };
            let (length, source) = match socket.recv_from(&mut self.buffer[..]) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Empty; or an error of the socket, which is as good as empty until the next event.
                Err(_) => break,
            };
            count += 1;
            match &mut place.using {
                Use::Rest { heard, .. } => *heard = now,
                Use::Call(call) => {
                    let common = &self.common;
                    let way = Way::Sockets(sockets);
                    let (stream, mut wire) = call.wired(way, &self.gauges, &mut self.scratch[..], now, common);
                    let datagram = &mut self.buffer[..length];
                    hear(stream, &mut wire, &common.credentials, which % 2, source, datagram);
                }
            }
        }
        let more = count == burst;
        place.sockets.listed[which] = more;
        self.gauges.packets_in.fetch_add(count as u64, Ordering::Relaxed);
        more
    }

    /// Serves all slots that are due by now; those that become due meanwhile wait until what has come is read, so that
    /// a thread with too much to do is late on both sides and deaf on neither.
    fn serve(&mut self) {
        let now = self.common.now();
        let mut due = std::mem::take(&mut self.due);
        while let Some(slot) = self.wheel.turn(now, &mut due) {
            for key in &due {
                self.guarded(token(*key, 0), |worker| worker.tick(*key, slot));
            }
        }
        self.due = due;
    }

    fn tick(&mut self, key: usize, slot: u64) {
        self.tick_browser(key);
        let Some((sockets, call)) = self.places.get_mut(key).and_then(Place::call) else { return };
        let Some(period) = call.stream.period() else { return };
        let now = self.common.now();
        let late = now.saturating_sub(wheel::time_of(slot));
        // One packet is caught up with at once; of more than that the far end could make no use.
        let missed = u32::try_from(late.as_micros() / period.as_micros()).unwrap_or(u32::MAX);
        let skipped = missed.saturating_sub(1);
        let way = call.way(sockets, &mut self.gate);
        let (stream, mut wire) = call.wired(way, &self.gauges, &mut self.scratch[..], now, &self.common);
        wire.shield.tick(now, &mut wire.line);
        stream.withhold(!wire.shield.is_ready());
        let gap = stream.tick(now, skipped, &mut wire);
        if let Some(capture) = wire.line.capture {
            capture.tick(now);
        }
        call.events.flush();
        self.gauges.lateness.record(late);
        if let Some(gap) = gap {
            self.gauges.gaps.record(gap);
        }
        self.gauges.skipped.fetch_add(u64::from(skipped), Ordering::Relaxed);
        self.wheel.put(key, slot + wheel::slot_at(period) * (1 + u64::from(skipped)));
    }

    /// Does something for one session. Should that panic, which is a bug, it costs this call and not the hundreds of
    /// others on this thread.
    fn guarded<T>(&mut self, token: Token, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| work(self))).ok();
        if done.is_none()
            && let Some((key, _)) = place(token)
        {
            tracing::error!(key, "a media session panicked and is closed");
            let _ = catch_unwind(AssertUnwindSafe(|| self.close(key)));
        }
        done
    }

    /// Ends a session; its ports go to rest.
    fn close(&mut self, key: usize) {
        let now = self.common.now();
        let Some(place) = self.places.get_mut(key) else { return };
        let Use::Call(call) = std::mem::replace(&mut place.using, Use::Rest { since: now, heard: now }) else {
            return;
        };
        self.wheel.leave(key);
        self.keys.remove(&call.number);
        let way = call.way(&place.sockets, &mut self.gate);
        let Call { name, stream, mut shield, browser, mut capture, mut events, last, .. } = *call;
        events.flush();
        let line = Line {
            way,
            events: &mut events,
            gauges: &self.gauges,
            capture: &mut capture,
            now,
            unix: self.common.unix_start + now,
        };
        let mut wire = Wire { line, shield: &mut shield, scratch: &mut self.scratch[..] };
        let mut farewell = stream.close(now, &mut wire, last);
        wire.shield.close(&mut wire.line);
        let Refused { unauthentic, replayed } = shield.refused();
        farewell.stats.encryption = shield.suite();
        farewell.stats.unauthentic = unauthentic;
        farewell.stats.replayed = replayed;
        if let (Some(browser), Some(gate)) = (browser, &mut self.gate) {
            farewell.stats.messages_dropped = browser.peer.dropped();
            browsers::part(*browser, gate, key, now);
            // Nobody else gets its port: there is nothing to wait for.
            place.sockets.port = 0;
        }
        farewell.stats.events_dropped = events.lost();
        match capture {
            Some(capture) => capture.end(Some(Box::new(|| farewell.say()))),
            None => farewell.say(),
        }
        self.gauges.sessions.fetch_sub(1, Ordering::Relaxed);
        self.common.sessions.fetch_sub(1, Ordering::Relaxed);
        tracing::debug!(call = name, port = place.sockets.port, "media session closed");
        if place.sockets.port == 0 {
            self.places.remove(key);
        }
    }

    /// Now and then: closes sessions whose handle is gone without a word, and frees ports that have rested.
    fn sweep(&mut self) {
        let now = self.common.now();
        if now < self.swept + SWEEP {
            return;
        }
        self.swept = now;
        if let Some(gate) = &mut self.gate {
            gate.sweep(now);
        }
        let (pairs, free) = self.common.ports.count();
        // Where ports are scarce they rest for less, down to nothing.
        let quarantine = match free * 100 / pairs.max(1) {
            _ if pairs == 0 => self.common.quarantine,
            25.. => self.common.quarantine,
            5..25 => self.common.quarantine / 5,
            _ => Duration::ZERO,
        };
        let mut abandoned = Vec::new();
        let mut rested = Vec::new();
        for (key, place) in &self.places {
            match &place.using {
                Use::Call(call) if call.link.closed.load(Ordering::Relaxed) => abandoned.push(key),
                Use::Call(_) => {}
                Use::Rest { since, heard } => {
                    if now.saturating_sub(*heard) >= quarantine || now.saturating_sub(*since) >= LONGEST_REST {
                        rested.push(key);
                    }
                }
            }
        }
        for key in abandoned {
            self.close(key);
        }
        for key in rested {
            let place = self.places.remove(key);
            let port = place.sockets.port;
            // Closing a socket takes it out of the poll.
            drop(place);
            if port != 0 {
                self.common.ports.release(port);
            }
        }
    }
}

/// Hands a datagram to the stream, if the shield lets it through, and counts what is refused.
fn hear(
    stream: &mut Stream,
    wire: &mut Wire<'_>,
    credentials: &Credentials,
    which: usize,
    source: SocketAddr,
    datagram: &mut [u8],
) {
    let now = wire.line.now;
    let refused = stream.rejected() + wire.shield.refused().sum();
    let decrypted = wire.line.captures_decrypted();
    if decrypted == Some(false) {
        wire.line.received(which, source, datagram);
    }
    let arrival = Arrival { which, source, heard: stream.heard_from() };
    let inbound = wire.shield.take(now, arrival, datagram, credentials, &mut wire.line);
    let length = match inbound {
        Inbound::Media(length) => length,
        Inbound::Nothing => datagram.len(),
    };
    let datagram = &datagram[..length];
    if decrypted == Some(true) {
        wire.line.received(which, source, datagram);
    }
    match inbound {
        Inbound::Media(_) if which == shield::RTP => stream.rtp(now, source, datagram, wire),
        Inbound::Media(_) => stream.rtcp(now, source, datagram),
        // It may have been what was missing.
        Inbound::Nothing => stream.withhold(!wire.shield.is_ready()),
    }
    let refused = stream.rejected() + wire.shield.refused().sum() - refused;
    wire.line.gauges.rejected.fetch_add(refused, Ordering::Relaxed);
}

impl Call {
    /// How its datagrams leave.
    fn way<'a>(&self, sockets: &'a Sockets, gate: &'a mut Option<Gate>) -> Way<'a> {
        match (&self.browser, gate) {
            (Some(browser), Some(gate)) => Way::Gate(gate, browser.peer.selected()),
            _ => Way::Sockets(sockets),
        }
    }

    /// The stream, and what it needs to reach the far end.
    fn wired<'a>(
        &'a mut self,
        way: Way<'a>,
        gauges: &'a Gauges,
        scratch: &'a mut [u8],
        now: Duration,
        common: &Common,
    ) -> (&'a mut Stream, Wire<'a>) {
        let Self { stream, shield, capture, events, .. } = self;
        let line = Line { way, events, gauges, capture, now, unix: common.unix_start + now };
        (stream, Wire { line, shield, scratch })
    }

    fn capture(&mut self, path: PathBuf, decrypted: bool, common: &Common) {
        self.stop_capture();
        let id = common.files.fetch_add(1, Ordering::Relaxed);
        let error = match self.events.sender.clone().try_reserve_owned() {
            Ok(done) => match common.captures.begin(id, path.clone(), decrypted, self.local, done) {
                Ok(mut capture) => {
                    capture.mask(self.masked);
                    self.capture = Some(capture);
                    return;
                }
                Err(_) => "the disk does not keep up",
            },
            Err(_) => "nobody reads the events of this session",
        };
        tracing::error!(call = self.name, path = %path.display(), error, "a capture cannot be begun");
        self.events.push(MediaEvent::CaptureFailed { path, error: error.into() });
    }

    fn stop_capture(&mut self) {
        if let Some(capture) = self.capture.take() {
            capture.end(None);
        }
    }

    fn mask(&mut self, masked: bool) {
        self.masked = masked;
        if let Some(capture) = &mut self.capture {
            capture.mask(masked);
        }
    }

    fn record(&mut self, path: PathBuf, common: &Common) {
        let id = common.files.fetch_add(1, Ordering::Relaxed);
        let error = match self.events.sender.clone().try_reserve_owned() {
            Ok(done) => match common.recorder.begin(id, path.clone(), done) {
                Ok(recording) => {
                    self.stream.record(recording);
                    return;
                }
                Err(_) => "the recorder does not keep up",
            },
            Err(_) => "nobody reads the events of this session",
        };
        tracing::error!(call = self.name, path = %path.display(), error, "a recording cannot be begun");
        self.events.push(MediaEvent::RecordingFailed { path, error: error.into() });
    }
}

/// The token of a session's socket: RTP, RTCP, and both once more.
const fn token(key: usize, which: usize) -> Token {
    Token(key * SOCKETS + which + 1)
}

const fn place(token: Token) -> Option<(usize, usize)> {
    match token.0.checked_sub(1) {
        Some(at) if Door::of(token).is_none() => Some((at / SOCKETS, at % SOCKETS)),
        _ => None,
    }
}

/// Packets on time matter more than anything else this process does.
fn raise_priority() {
    // On Linux this is the calling thread's. Without the right to it, it goes on as it is.
    if let Err(error) = rustix::process::nice(-10) {
        tracing::debug!(%error, "media threads run at normal priority");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::stream::Identity;
    use tokio::sync::mpsc;

    fn opening(worker: &Worker, number: u64) -> (Opening, mpsc::Receiver<MediaEvent>) {
        let (events, receiver) = mpsc::channel(8);
        let identity = Identity { ssrc: 1, sequence: 1, timestamp: 1, cname: "test".into() };
        let opening = Opening {
            number,
            call: "call".into(),
            opened: Opened::Ports(worker.common.ports.open().unwrap()),
            stream: Stream::new(identity, Duration::from_secs(30), 0, 0),
            local: Local { port: 2, hosts: [None, None] },
            last: events.clone().try_reserve_owned().unwrap(),
            events,
            link: Arc::default(),
        };
        (opening, receiver)
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the worker's own clock")]
    fn a_bug_costs_one_call_only() {
        let (recorder, _thread) = Recorder::start().unwrap();
        let common = Common {
            ports: Ports::new([127, 0, 0, 1].into(), 0..=0).unwrap(),
            quarantine: Duration::from_secs(5),
            media_timeout: Duration::from_secs(30),
            start: Instant::now(),
            ntp_start: 0,
            sessions: AtomicUsize::new(2),
            files: AtomicU64::new(0),
            recorder,
            captures: Captures::start().unwrap().0,
            unix_start: Duration::ZERO,
            credentials: Credentials::generate(Instant::now()).unwrap(),
            reach: None,
        };
        let (_orders, inbox) = crossbeam_channel::bounded(1);
        let mut worker = Worker::new(Poll::new().unwrap(), inbox, Arc::default(), Arc::new(common));
        worker.gauges.sessions.store(2, Ordering::Relaxed);
        let [mut one, mut other] = [1, 2].map(|number| {
            let (opening, events) = opening(&worker, number);
            worker.open(opening);
            events
        });
        let key = worker.keys[&1];
        let done = worker.guarded(token(key, 0), |_| panic!("a bug, as this test wants it"));
        assert_eq!(done, None::<()>);
        assert!(matches!(one.try_recv(), Ok(MediaEvent::Closed(_))));
        assert!(other.try_recv().is_err());
        assert_eq!(worker.keys.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(worker.guarded(token(worker.keys[&2], 0), |_| 7), Some(7));
    }
}
