//! A TCP connection that carries datagrams (ICE-TCP): bounded in both directions, and never waited for.

use crate::webrtc::reach::Ticket;
use callbox_webrtc::frame;
use mio::net::TcpStream;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes that have come and are not yet a whole datagram, and then some.
const INPUT: usize = 8 * 1_024;
/// Bytes that wait to be sent: more than a second of a call. What finds no room is lost, as it is over UDP.
const OUTPUT: usize = 32 * 1_024;
/// The longest that a connection may be without a call.
pub(crate) const STRANGER: Duration = Duration::from_secs(5);

/// One connection.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) far: SocketAddr,
    /// Whose it is, once that is proven.
    pub(crate) session: Option<usize>,
    since: Duration,
    ticket: Ticket,
    /// Already in the list of those to be read.
    pub(crate) listed: bool,
    input: Box<[u8; INPUT]>,
    filled: usize,
    output: Vec<u8>,
}

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Come {
    /// There may be more.
    More,
    /// Nothing more for now.
    Empty,
    /// The connection is at its end, or not what it should be.
    Over,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, far: SocketAddr, ticket: Ticket, now: Duration) -> Self {
        // What is late is worse than what is many.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            far,
            session: None,
            since: now,
            ticket,
            listed: false,
            input: Box::new([0; INPUT]),
            filled: 0,
            output: Vec::with_capacity(OUTPUT),
        }
    }

    /// It is known whose it is.
    pub(crate) fn recognise(&mut self, session: usize) {
        self.session = Some(session);
        self.ticket.recognise();
    }

    /// Nobody has claimed it in time.
    pub(crate) fn is_stale(&self, now: Duration) -> bool {
        self.session.is_none() && now.saturating_sub(self.since) >= STRANGER
    }

    /// Reads once.
    pub(crate) fn read(&mut self) -> Come {
        if self.filled == INPUT {
            return Come::More;
        }
        match self.stream.read(&mut self.input[self.filled..]) {
            Ok(0) => Come::Over,
            Ok(count) => {
                self.filled += count;
                Come::More
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Come::Empty,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Come::More,
            Err(_) => Come::Over,
        }
    }

    /// Copies the first whole datagram out of what has come, without taking it.
    ///
    /// # Errors
    /// [`frame::TooLong`] where this is no stream of datagrams.
    pub(crate) fn peek(&self, into: &mut [u8]) -> Result<Option<usize>, frame::TooLong> {
        Ok(frame::first(&self.input[..self.filled])?.and_then(|(datagram, _)| {
            into.get_mut(..datagram.len())?.copy_from_slice(datagram);
            Some(datagram.len())
        }))
    }

    /// Takes it.
    pub(crate) fn next(&mut self) {
        if let Ok(Some((_, taken))) = frame::first(&self.input[..self.filled]) {
            self.input.copy_within(taken..self.filled, 0);
            self.filled -= taken;
        }
    }

    /// Sends a datagram, now or as soon as there is room; false where it is lost.
    pub(crate) fn send(&mut self, datagram: &[u8]) -> bool {
        let Some(header) = frame::header(datagram) else { return false };
        let length = header.len() + datagram.len();
        if self.output.len() + length > OUTPUT {
            return false;
        }
        let mut written = 0;
        if self.output.is_empty() {
            match self.stream.write_vectored(&[IoSlice::new(&header), IoSlice::new(datagram)]) {
                Ok(count) => written = count,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // Reading will tell that it is over.
                Err(_) => return false,
            }
        }
        self.output.extend_from_slice(header.get(written..).unwrap_or_default());
        self.output.extend_from_slice(datagram.get(written.saturating_sub(header.len())..).unwrap_or_default());
        true
    }

    /// Sends what waits, as far as it goes.
    pub(crate) fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return,
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}
