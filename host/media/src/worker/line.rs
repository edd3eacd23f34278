//! How what a session sends leaves: sealed by its shield, by its own sockets or by the gate of all browsers, and noted by
//! its capture.

use super::events::EventQueue;
use super::{Gauges, Sockets};
use crate::capture::Capture;
use crate::command::MediaEvent;
use crate::shield::{self, Path, Shield};
use crate::stream::Output;
use crate::webrtc::gate::Gate;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The way that a session's datagrams leave.
pub(super) enum Way<'a> {
    /// Its own sockets.
    Sockets(&'a Sockets),
    /// The gate of all browsers, by the way that its own has chosen.
    Gate(&'a mut Gate, Option<callbox_webrtc::Path>),
}

/// A session's way and events, the worker's figures, and the capture of what passes.
pub(super) struct Line<'a> {
    pub(super) way: Way<'a>,
    pub(super) events: &'a mut EventQueue,
    pub(super) gauges: &'a Gauges,
    pub(super) capture: &'a mut Option<Capture>,
    pub(super) now: Duration,
    /// The same since 1970.
    pub(super) unix: Duration,
}

impl Line<'_> {
    /// Sends what is `plain` as it is `sealed`; false where the system did not take it.
    fn send(&mut self, which: usize, to: SocketAddr, plain: &[u8], sealed: &[u8]) -> bool {
        let taken = match &mut self.way {
            Way::Sockets(sockets) => {
                sockets.towards(which, to).is_some_and(|socket| socket.send_to(sealed, to).is_ok())
            }
            Way::Gate(gate, path) => path.is_some_and(|path| gate.send(path, sealed)),
        };
        if let Some(capture) = self.capture.as_mut().filter(|_| taken) {
            let shown = if capture.is_decrypted() { plain } else { sealed };
            capture.sent(self.now, self.unix, which, to, shown);
        }
        taken
    }

    /// Notes what came.
    pub(super) fn received(&mut self, which: usize, from: SocketAddr, datagram: &[u8]) {
        if let Some(capture) = self.capture {
            capture.received(self.now, self.unix, which, from, datagram);
        }
    }

    pub(super) fn captures_decrypted(&self) -> Option<bool> {
        self.capture.as_ref().map(Capture::is_decrypted)
    }
}

impl Path for Line<'_> {
    fn datagram(&mut self, component: usize, to: SocketAddr, datagram: &[u8]) {
        // What is lost of a handshake is sent again.
        self.send(component, to, datagram, datagram);
    }

    fn event(&mut self, event: MediaEvent) {
        self.events.push(event);
    }
}

/// Where a stream's packets and events go: through the shield onto the line.
pub(super) struct Wire<'a> {
    pub(super) line: Line<'a>,
    pub(super) shield: &'a mut Shield,
    /// Room for a sealed packet.
    pub(super) scratch: &'a mut [u8],
}

impl Wire<'_> {
    fn send(&mut self, which: usize, rtcp: bool, to: SocketAddr, packet: &[u8]) -> bool {
        if self.shield.is_open() {
            return self.line.send(which, to, packet, packet);
        }
        let sealed = self.shield.seal(which, rtcp, packet, self.scratch);
        sealed.is_some_and(|sealed| self.line.send(which, to, packet, sealed))
    }
}

impl Output for Wire<'_> {
    fn rtp(&mut self, to: SocketAddr, packet: &[u8]) -> bool {
        let taken = self.send(shield::RTP, false, to, packet);
        let gauges = self.line.gauges;
        let counter = if taken { &gauges.packets_out } else { &gauges.send_errors };
        counter.fetch_add(1, Ordering::Relaxed);
        taken
    }

    fn rtcp(&mut self, to: SocketAddr, packet: &[u8], from_rtp_port: bool) {
        let which = if from_rtp_port { shield::RTP } else { shield::RTCP };
        // A lost report is followed by another.
        self.send(which, true, to, packet);
    }

    fn keep_open(&mut self, to: SocketAddr) {
        // The far end's own checks keep the way of ICE open.
        if matches!(self.line.way, Way::Sockets(_)) {
            self.line.send(shield::RTP, to, &[], &[]);
        }
    }

    fn event(&mut self, event: MediaEvent) {
        self.line.events.push(event);
    }
}
