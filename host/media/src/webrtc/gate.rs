//! One worker's share of the ports of all calls by WebRTC: what comes there is given to the session that it belongs to.
//!
//! A check names its session (`a=ice-ufrag`), and the name says which worker has it. Everything else is found by where it
//! comes from, which a check must have proven before. The system gives all of one far end's UDP to the same worker, not
//! always the one that has the session: that one then tells the first where to pass it on. So a worker looks into its
//! own tables alone, a packet takes one look-up and at most one hand-over, and nobody waits for a lock. For strangers
//! nothing is computed and nothing is remembered.

use crate::plane::Handle;
use crate::webrtc::connection::Connection;
use crate::webrtc::names::Name;
use crate::webrtc::reach::{Buffer, Reach};
use crate::worker::Order;
use callbox_webrtc::{Path, stun};
use crossbeam_channel::Receiver;
use mio::net::{TcpListener, UdpSocket};
use mio::{Interest, Registry, Token};
use slab::Slab;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Tokens of the gate begin here; those of sessions are far below.
const TOKENS: usize = usize::MAX / 2;
const LISTENERS: usize = 64;
const CONNECTIONS: usize = 128;
/// Datagrams that may wait for another worker.
pub(crate) const PARCELS: usize = 4_096;
/// Pieces of news for other workers that wait for a place; each is one way of one session.
const NEWS: usize = 4_096;

/// A datagram that came to another worker than the one it is for.
pub(crate) struct Parcel {
    pub(crate) path: Path,
    /// When it came.
    pub(crate) at: Duration,
    /// Where it came to.
    pub(crate) via: u16,
    pub(crate) length: usize,
    pub(crate) bytes: Buffer,
}

/// Whose something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A session of this worker.
    Session(usize),
    /// A session of that one.
    Worker(u16),
}

/// What a token of the gate stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Udp(usize),
    Listener(usize),
    Connection(usize),
}

impl Door {
    pub(crate) const fn token(self) -> Token {
        Token(match self {
            Self::Udp(at) => TOKENS + at,
            Self::Listener(at) => TOKENS + LISTENERS + at,
            Self::Connection(at) => TOKENS + CONNECTIONS + at,
        })
    }

    pub(crate) const fn of(token: Token) -> Option<Self> {
        match token.0.checked_sub(TOKENS) {
            Some(at @ 0..LISTENERS) => Some(Self::Udp(at)),
            Some(at @ LISTENERS..CONNECTIONS) => Some(Self::Listener(at - LISTENERS)),
            Some(at) => Some(Self::Connection(at - CONNECTIONS)),
            None => None,
        }
    }
}

/// The gate of one worker.
pub(crate) struct Gate {
    pub(crate) me: u16,
    pub(crate) reach: Arc<Reach>,
    pub(crate) sockets: Vec<UdpSocket>,
    pub(crate) listeners: Vec<TcpListener>,
    listed: [Vec<bool>; 2],
    pub(crate) connections: Slab<Connection>,
    by_far: HashMap<SocketAddr, usize>,
    /// Where packets come from, and whose they are then. A session has at most eight.
    routes: HashMap<Path, Route>,
    names: HashMap<u64, usize>,
    pub(crate) inbox: Receiver<Parcel>,
    neighbours: Arc<[Handle]>,
    /// What other workers have not been told yet: that they are to pass on what comes from there, or no longer.
    news: Vec<(u16, Path, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    owner: Owner,
    /// Who has the socket that it comes to, where that is another worker.
    via: u16,
}

impl Gate {
    /// A gate with these sockets.
    ///
    /// # Errors
    /// What the system says when they are to be waited for.
    pub(crate) fn new(
        me: u16,
        reach: Arc<Reach>,
        sockets: Vec<std::net::UdpSocket>,
        listeners: Vec<std::net::TcpListener>,
        inbox: Receiver<Parcel>,
        neighbours: Arc<[Handle]>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut sockets: Vec<UdpSocket> = sockets.into_iter().map(UdpSocket::from_std).collect();
        let mut listeners: Vec<TcpListener> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (at, socket) in sockets.iter_mut().enumerate() {
            registry.register(socket, Door::Udp(at).token(), Interest::READABLE)?;
        }
        for (at, listener) in listeners.iter_mut().enumerate() {
            registry.register(listener, Door::Listener(at).token(), Interest::READABLE)?;
        }
        let listed = [vec![false; sockets.len()], vec![false; listeners.len()]];
        Ok(Self {
            me,
            reach,
            sockets,
            listeners,
            listed,
            connections: Slab::new(),
            by_far: HashMap::new(),
            routes: HashMap::new(),
            names: HashMap::new(),
            inbox,
            neighbours,
            news: Vec::new(),
        })
    }

    /// Whether it is in the list of those to be read; from now on as told. None where there is no such door any more.
    pub(crate) fn list(&mut self, door: Door, listed: bool) -> Option<bool> {
        let place = match door {
            Door::Udp(at) => self.listed[0].get_mut(at),
            Door::Listener(at) => self.listed[1].get_mut(at),
            Door::Connection(at) => self.connections.get_mut(at).map(|connection| &mut connection.listed),
        };
        place.map(|place| std::mem::replace(place, listed))
    }

    /// Sends a datagram of a session; false where it is lost.
    pub(crate) fn send(&mut self, to: Path, datagram: &[u8]) -> bool {
        if to.tcp {
            let connection = self.by_far.get(&to.far).and_then(|at| self.connections.get_mut(*at));
            return connection.is_some_and(|connection| connection.send(datagram));
        }
        // One, or one for each family.
        let mut sockets = self.reach.udp.iter().zip(&self.sockets);
        let socket = sockets.find(|(bound, _)| bound.is_ipv4() == to.far.is_ipv4()).map(|(_, socket)| socket);
        socket.is_some_and(|socket| socket.send_to(datagram, to.far).is_ok())
    }

    /// Whose a datagram is; none for a stranger's.
    pub(crate) fn owner(&self, path: Path, datagram: &[u8]) -> Option<Owner> {
        if !stun::is_stun(datagram) {
            return self.routes.get(&path).map(|route| route.owner);
        }
        let name = stun::named(datagram).and_then(Name::read)?;
        if name.worker == self.me {
            self.names.get(&name.number).map(|key| Owner::Session(*key))
        } else {
            Some(Owner::Worker(name.worker))
        }
    }

    /// A session is to be found by this name.
    pub(crate) fn name(&mut self, name: Name, key: usize) {
        self.names.insert(name.number, key);
    }

    /// It is not any more.
    pub(crate) fn unname(&mut self, name: Name) {
        self.names.remove(&name.number);
    }

    /// Passes a datagram on. What has to wait for nothing does not wake its reader: it looks before it next sends.
    pub(crate) fn forward(&self, worker: u16, path: Path, at: Duration, datagram: &[u8]) -> bool {
        let neighbour = self.neighbours.get(usize::from(worker)).filter(|_| worker != self.me);
        let Some(neighbour) = neighbour else { return false };
        let mut bytes = self.reach.buffer();
        let Some(room) = bytes.get_mut(..datagram.len()) else { return false };
        room.copy_from_slice(datagram);
        let parcel = Parcel { path, at, via: self.me, length: datagram.len(), bytes };
        let passed = neighbour.parcels.as_ref().is_some_and(|parcels| parcels.try_send(parcel).is_ok());
        if passed && !stun::is_media(datagram) {
            neighbour.wake();
        }
        passed
    }

    /// What comes from there is this session's; `via` has the socket. Who has proven it last has it.
    pub(crate) fn know(&mut self, path: Path, key: usize, via: u16) {
        let route = Route { owner: Owner::Session(key), via };
        if self.routes.insert(path, route) == Some(route) {
            return;
        }
        if path.tcp {
            if let Some(connection) = self.by_far.get(&path.far).and_then(|at| self.connections.get_mut(*at)) {
                connection.recognise(key);
            }
        } else if via != self.me {
            self.tell(via, path, true);
        }
    }

    /// What comes from there is not this session's any more.
    pub(crate) fn forget(&mut self, path: Path, key: usize) {
        // It may be another's by now.
        let Some(route) = self.routes.get(&path).copied().filter(|route| route.owner == Owner::Session(key)) else {
            return;
        };
        self.routes.remove(&path);
        if path.tcp {
            if let Some(at) = self.by_far.get(&path.far).copied() {
                self.drop_connection(at);
            }
        } else if route.via != self.me {
            self.tell(route.via, path, false);
        }
    }

    /// Another worker says whose a way is, or is no longer.
    pub(crate) fn told(&mut self, path: Path, by: u16, is_its: bool) {
        let owner = Owner::Worker(by);
        if is_its {
            self.routes.insert(path, Route { owner, via: self.me });
        } else if self.routes.get(&path).is_some_and(|route| route.owner == owner) {
            self.routes.remove(&path);
        }
    }

    fn tell(&mut self, worker: u16, path: Path, is_its: bool) {
        if self.news.len() < NEWS {
            self.news.push((worker, path, is_its));
        }
        self.spread();
    }

    /// Tells other workers what they have not been told, in order.
    pub(crate) fn spread(&mut self) {
        let (me, neighbours) = (self.me, &self.neighbours);
        let told = self.news.iter().take_while(|(worker, path, is_its)| {
            let order = Order::Route { path: *path, by: me, is_its: *is_its };
            // A worker that is gone needs no news; one with too much to do gets them later.
            neighbours.get(usize::from(*worker)).is_none_or(|neighbour| neighbour.order(order).is_ok())
        });
        let told = told.count();
        self.news.drain(..told);
    }

    /// Takes a connection in, to be read.
    pub(crate) fn adopt(&mut self, mut connection: Connection, registry: &Registry) -> Option<usize> {
        let entry = self.connections.vacant_entry();
        let at = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut connection.stream, Door::Connection(at).token(), interest).ok()?;
        connection.listed = false;
        self.by_far.insert(connection.far, at);
        entry.insert(connection);
        Some(at)
    }

    /// Gives a connection to the worker that has its session.
    pub(crate) fn hand_over(&mut self, at: usize, to: u16, registry: &Registry) {
        let Some(mut connection) = self.connections.try_remove(at) else { return };
        self.by_far.remove(&connection.far);
        if registry.deregister(&mut connection.stream).is_ok()
            && let Some(neighbour) = self.neighbours.get(usize::from(to)).filter(|_| to != self.me)
        {
            // Where it finds no place it is closed, and the far end tries again.
            let _ = neighbour.order(Order::Connection(Box::new(connection)));
        }
    }

    /// Closes a connection. Gives the session that used it.
    pub(crate) fn drop_connection(&mut self, at: usize) -> Option<(usize, Path)> {
        // Closing it takes it out of the poll.
        let connection = self.connections.try_remove(at)?;
        self.by_far.remove(&connection.far);
        let path = Path { far: connection.far, tcp: true };
        self.routes.remove(&path);
        connection.session.map(|key| (key, path))
    }

    /// Closes connections that nobody has claimed, and says what is still to be said.
    pub(crate) fn sweep(&mut self, now: Duration) {
        let stale: Vec<usize> =
            self.connections.iter().filter(|(_, one)| one.is_stale(now)).map(|(at, _)| at).collect();
        for at in stale {
            self.drop_connection(at);
        }
        self.spread();
    }

    /// There is something to look after even without a session.
    pub(crate) fn is_busy(&self) -> bool {
        !self.connections.is_empty() || !self.news.is_empty()
    }
}
