//! What a worker does for sessions of WebRTC: their datagrams come through the gate of all, and a peer of theirs speaks
//! ICE, DTLS and the data channel. Their audio goes the way of every other session's.

use super::events::EventQueue;
use super::line::Way;
use super::{Asked, Call, Common, Place, Sockets, Use, Worker, hear, token};
use crate::capture::Capture;
use crate::command::{MediaCommand, MediaEvent, MediaPlan};
use crate::dtls::Established;
use crate::shield::{self, Shield};
use crate::srtp::{SrtpKeys, SrtpSuite};
use crate::stream::Stream;
use crate::webrtc::connection::{Come, Connection};
use crate::webrtc::gate::{Door, Gate, Owner};
use crate::webrtc::names::Name;
use crate::webrtc::{Answer, Browser, IceAnswer, Question, Reply, plan};
use callbox_webrtc::{Keys, Output, Path, stun};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Datagrams read from the port of all calls before others get their turn: five milliseconds of a thousand calls.
const BURST: usize = 256;
/// Datagrams taken from other workers before others get their turn.
const PARCELS: usize = 1_024;
/// Connections taken before others get their turn.
const ACCEPTED: usize = 16;
/// Reads of one connection before others get their turn.
const READS: usize = 4;
/// Names by which a session is found at a time: that of now, and the one before a restart.
const NAMES: usize = 2;

/// A datagram that came through the gate.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    path: Path,
    at: Duration,
    /// The worker whose socket it came to.
    via: u16,
}

impl Worker {
    /// Opens a session that waits for its far end.
    pub(super) fn open_browser(&mut self, mut call: Call, browser: Box<Browser>, plan: MediaPlan) {
        let Some(gate) = &mut self.gate else { return };
        let now = self.common.now();
        let entry = self.places.vacant_entry();
        let key = entry.key();
        for name in &browser.names {
            gate.name(*name, key);
        }
        tracing::debug!(call = call.name, "media session opened for a browser");
        call.shield = Shield::external();
        call.browser = Some(browser);
        call.turning = true;
        let number = call.number;
        let way = Way::Gate(gate, None);
        let (stream, mut wire) = call.wired(way, &self.gauges, &mut self.scratch[..], now, &self.common);
        stream.withhold(true);
        stream.command(now, MediaCommand::Configure(plan), &mut wire);
        // It has no port of its own.
        let sockets = Sockets {
            port: 0,
            sockets: [const { None }; super::SOCKETS],
            v4_first: true,
            listed: [false; super::SOCKETS],
        };
        entry.insert(Place { sockets, using: Use::Call(Box::new(call)) });
        self.keys.insert(number, key);
        self.wheel.join(key, now);
    }

    /// Takes what other workers have passed on.
    pub(super) fn take_parcels(&mut self) {
        for _ in 0..PARCELS {
            let Some(gate) = &self.gate else { return };
            let Ok(mut parcel) = gate.inbox.try_recv() else { return };
            let arrived = Arrived { path: parcel.path, at: parcel.at, via: parcel.via };
            let datagram = &mut parcel.bytes[..parcel.length];
            // What is not ours either is nobody's: it goes no further.
            if let Some(Owner::Session(key)) = gate.owner(arrived.path, datagram) {
                self.guarded(token(key, 0), |worker| worker.hear_browser(key, arrived, datagram));
            } else {
                self.gauges.rejected.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(gate) = &self.gate {
                gate.reach.done(parcel.bytes);
            }
        }
    }

    /// Reads some of what waits at a door; true when there may be more.
    pub(super) fn read_door(&mut self, door: Door, now: Duration) -> bool {
        let mut buffer = std::mem::take(&mut self.parcel);
        let more = match door {
            Door::Udp(at) => self.read_udp(at, now, &mut buffer),
            Door::Listener(at) => self.accept(at, now),
            Door::Connection(at) => self.read_connection(at, now, &mut buffer),
        };
        self.parcel = buffer;
        if let Some(gate) = &mut self.gate {
            gate.list(door, more);
        }
        more
    }

    fn read_udp(&mut self, at: usize, now: Duration, buffer: &mut [u8]) -> bool {
        let mut count = 0;
        while count < BURST {
            let Some(gate) = &self.gate else { break };
            let Some(socket) = gate.sockets.get(at) else { break };
            let (length, far) = match socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Empty; or the echo of something sent to one who is gone.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    count += 1;
                    continue;
                }
            };
            count += 1;
            let arrived = Arrived { path: Path { far, tcp: false }, at: now, via: gate.me };
            let datagram = &mut buffer[..length];
            let known = match gate.owner(arrived.path, datagram) {
                Some(Owner::Session(key)) => {
                    self.guarded(token(key, 0), |worker| worker.hear_browser(key, arrived, datagram)).is_some()
                }
                Some(Owner::Worker(worker)) => {
                    let passed = gate.forward(worker, arrived.path, now, datagram);
                    self.gauges.handed_on.fetch_add(u64::from(passed), Ordering::Relaxed);
                    passed
                }
                None => false,
            };
            if !known {
                self.gauges.rejected.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.gauges.packets_in.fetch_add(count as u64, Ordering::Relaxed);
        count == BURST
    }

    fn accept(&mut self, at: usize, now: Duration) -> bool {
        for _ in 0..ACCEPTED {
            let Some(gate) = &mut self.gate else { return false };
            let Some(listener) = gate.listeners.get(at) else { return false };
            let (stream, far) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // No descriptors, most likely: those that wait are looked at with the next one that comes.
                    tracing::warn!(%error, "a connection of a browser cannot be taken");
                    return false;
                }
            };
            // Dropped where there are too many.
            if let Some(ticket) = gate.reach.admit(far.ip()) {
                gate.adopt(Connection::new(stream, far, ticket, now), self.poll.registry());
            }
        }
        true
    }

    /// Takes a connection that another worker has got.
    pub(super) fn adopt(&mut self, connection: Connection) {
        let Some(gate) = &mut self.gate else { return };
        // There is a datagram in it already.
        if let Some(at) = gate.adopt(connection, self.poll.registry()) {
            self.list(Door::Connection(at).token());
        }
    }

    fn read_connection(&mut self, at: usize, now: Duration, buffer: &mut [u8]) -> bool {
        for _ in 0..READS {
            let Some(connection) = self.gate.as_mut().and_then(|gate| gate.connections.get_mut(at)) else {
                return false;
            };
            connection.flush();
            let come = connection.read();
            if come == Come::Over || !self.frames(at, now, buffer) {
                self.lose(at);
                return false;
            }
            if come == Come::Empty {
                return false;
            }
        }
        true
    }

    /// Takes the whole datagrams of a connection; false where it must be closed.
    fn frames(&mut self, at: usize, now: Duration, buffer: &mut [u8]) -> bool {
        loop {
            let Some(gate) = &mut self.gate else { return false };
            // It may have been given away.
            let Some(connection) = gate.connections.get(at) else { return true };
            let length = match connection.peek(buffer) {
                Ok(Some(length)) => length,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let (far, claimed) = (connection.far, connection.session.is_some());
            let datagram = &mut buffer[..length];
            let arrived = Arrived { path: Path { far, tcp: true }, at: now, via: gate.me };
            let owner = gate.owner(arrived.path, datagram);
            if let Some(Owner::Worker(worker)) = owner
                && !claimed
            {
                gate.hand_over(at, worker, self.poll.registry());
                return true;
            }
            if let Some(connection) = gate.connections.get_mut(at) {
                connection.next();
            }
            match owner {
                Some(Owner::Session(key)) => {
                    self.gauges.packets_in.fetch_add(1, Ordering::Relaxed);
                    self.guarded(token(key, 0), |worker| worker.hear_browser(key, arrived, datagram));
                }
                // Who has shown whose call this is may say what we do not understand; a stranger may not.
                Some(Owner::Worker(_)) | None if claimed => {}
                Some(Owner::Worker(_)) | None => return false,
            }
        }
    }

    /// A connection is over.
    fn lose(&mut self, at: usize) {
        let Some((key, path)) = self.gate.as_mut().and_then(|gate| gate.drop_connection(at)) else { return };
        if let Some((_, Call { browser: Some(browser), .. })) = self.places.get_mut(key).and_then(Place::call) {
            browser.peer.lose(path);
        }
    }

    /// A datagram that is a session's, if it is authentic.
    fn hear_browser(&mut self, key: usize, arrived: Arrived, datagram: &mut [u8]) {
        let Self { places, gate: Some(gate), gauges, scratch, common, .. } = self else { return };
        let Some((_, call)) = places.get_mut(key).and_then(Place::call) else { return };
        let Arrived { path, at: now, via } = arrived;
        if stun::is_media(datagram) {
            let known = call.browser.as_ref().filter(|browser| browser.peer.knows(path));
            let Some(selected) = known.and_then(|browser| browser.peer.selected()) else {
                gauges.rejected.fetch_add(1, Ordering::Relaxed);
                return;
            };
            let (stream, mut wire) = call.wired(Way::Gate(gate, Some(selected)), gauges, &mut scratch[..], now, common);
            // Whichever of its ways it takes, it is the far end: the keys say so.
            hear(stream, &mut wire, &common.credentials, shield::RTP, selected.far, datagram);
            return;
        }
        let (browser, mut host) = call.hosted(key, via, gate, now, common);
        if let Some(capture) = host.capture {
            capture.received(now, host.unix, shield::RTP, path.far, datagram);
        }
        if let Some(browser) = browser {
            browser.peer.take(now, path, datagram, &mut |output| host.output(output));
        }
    }

    /// Looks after the peer of a session, before its audio.
    pub(super) fn tick_browser(&mut self, key: usize) {
        let Self { places, gate: Some(gate), common, .. } = self else { return };
        let Some((_, call)) = places.get_mut(key).and_then(Place::call) else { return };
        let (now, me) = (common.now(), gate.me);
        let (Some(browser), mut host) = call.hosted(key, me, gate, now, common) else { return };
        browser.peer.tick(now, &mut |output| host.output(output));
        // A call that is held has no audio to be missed: there it is the checks (RFC 7675).
        let gone = now.saturating_sub(browser.peer.heard()) >= common.media_timeout;
        if gone && browser.peer.is_connected() && !host.stream.is_two_way() {
            if !std::mem::replace(&mut browser.silent, true) {
                host.events.push(MediaEvent::MediaTimeout);
            }
        } else {
            browser.silent = false;
        }
    }

    /// Sends a message on the data channel.
    pub(super) fn message(&mut self, key: usize, now: Duration, message: String) {
        let Self { places, gate: Some(gate), common, .. } = self else { return };
        let Some((_, call)) = places.get_mut(key).and_then(Place::call) else { return };
        let me = gate.me;
        if let (Some(browser), mut host) = call.hosted(key, me, gate, now, common) {
            browser.peer.send(now, message, &mut |output| host.output(output));
        }
    }

    /// Answers a question.
    pub(super) fn ask(&mut self, asked: Asked) {
        let now = self.common.now();
        let Asked { number, question, name, credentials, reply } = asked;
        let Some(key) = self.keys.get(&number).copied() else { return };
        let Self { places, gate: Some(gate), gauges, scratch, common, .. } = self else { return };
        let Some((_, call)) = places.get_mut(key).and_then(Place::call) else { return };
        let Some(browser) = &mut call.browser else { return };
        let peers = &gate.reach.peers;
        let before = browser.peer.credentials().ufrag.clone();
        let answer = match question {
            Question::Offer(offer) => {
                let answered = browser.peer.renegotiate(peers, credentials, offer, &browser.policy, now);
                answered.map(|answered| {
                    let next = plan(&answered.agreed, browser.peer.selected().map(|path| path.far));
                    (Some(next), Reply::Offer(Answer::new(answered, browser.peer.credentials())))
                })
            }
            Question::Fragment(fragment) => {
                let answer = match browser.peer.restart_ice(peers, credentials, fragment, now) {
                    Some(fragment) => {
                        let ice_session = browser.peer.credentials().ufrag.clone();
                        IceAnswer::Restarted { fragment, ice_session }
                    }
                    None => IceAnswer::Unchanged,
                };
                Ok((None, Reply::Fragment(answer)))
            }
        };
        if browser.peer.credentials().ufrag != before {
            browser.rename(name, key, gate);
        }
        let answer = answer.map(|(next, answer)| {
            if let Some(next) = next {
                let way = Way::Gate(gate, None);
                let (stream, mut wire) = call.wired(way, gauges, &mut scratch[..], now, common);
                stream.command(now, MediaCommand::Configure(next), &mut wire);
            }
            answer
        });
        // Who asked may have gone.
        let _ = reply.send(answer);
    }
}

/// Ends a browser's session: a goodbye, and nothing is its any more.
pub(super) fn part(mut browser: Browser, gate: &mut Gate, key: usize, now: Duration) {
    browser.peer.close(now, &mut |output| {
        if let Output::Datagram { to, bytes } = output {
            gate.send(to, bytes);
        }
    });
    for name in &browser.names {
        gate.unname(*name);
    }
    for path in browser.peer.paths() {
        gate.forget(path, key);
    }
}

impl Browser {
    /// Checks come by another name from now on; those by the last one may still.
    fn rename(&mut self, name: Name, key: usize, gate: &mut Gate) {
        if self.names.len() == NAMES {
            gate.unname(self.names.remove(0));
        }
        self.names.push(name);
        gate.name(name, key);
    }
}

impl Call {
    /// Its peer, and who carries out what that says.
    fn hosted<'a>(
        &'a mut self,
        key: usize,
        via: u16,
        gate: &'a mut Gate,
        now: Duration,
        common: &Common,
    ) -> (Option<&'a mut Browser>, Host<'a>) {
        let Self { stream, shield, browser, capture, events, .. } = self;
        let host = Host { key, via, gate, stream, shield, capture, events, now, unix: common.unix_start + now };
        (browser.as_deref_mut(), host)
    }
}

/// Carries out what a peer says.
struct Host<'a> {
    key: usize,
    via: u16,
    gate: &'a mut Gate,
    stream: &'a mut Stream,
    shield: &'a mut Shield,
    capture: &'a mut Option<Capture>,
    events: &'a mut EventQueue,
    now: Duration,
    unix: Duration,
}

impl Host<'_> {
    fn output(&mut self, output: Output<'_>) {
        match output {
            Output::Datagram { to, bytes } => {
                // What is lost of a handshake is sent again.
                if self.gate.send(to, bytes)
                    && let Some(capture) = self.capture
                {
                    capture.sent(self.now, self.unix, shield::RTP, to.far, bytes);
                }
            }
            Output::Known(path) => self.gate.know(path, self.key, self.via),
            Output::Forgotten(path) => self.gate.forget(path, self.key),
            Output::Selected(path) => self.stream.relocate(self.now, path.far),
            Output::Connected(keys) => self.established(&keys),
            Output::Failed(why) => {
                self.shield.fail();
                self.events.push(MediaEvent::SecurityFailed { why });
            }
            Output::Channel(open) => self.events.push(MediaEvent::Channel { open }),
            Output::Message(message) => self.events.push(MediaEvent::Message(message)),
            Output::Left => {
                self.shield.fail();
                self.events.push(MediaEvent::Left);
            }
        }
    }

    fn established(&mut self, keys: &Keys) {
        let suite = SrtpSuite::from(keys.profile);
        match SrtpKeys::of_handshake(suite, &keys.material, keys.client) {
            Some((send, receive)) => {
                self.shield.establish(self.now, &Established { send, receive });
                self.stream.withhold(false);
                self.events.push(MediaEvent::SecurityEstablished { suite });
            }
            None => {
                self.shield.fail();
                self.events.push(MediaEvent::SecurityFailed { why: "keys of an unknown form".into() });
            }
        }
    }
}
