//! What a session's sockets send and receive, as a pcap file.
//!
//! A session writes records into a block of its own and hands full blocks to a thread by a bounded queue; it never
//! waits. A block that finds no place is dropped and counted, and so is what comes when a file has reached its limit.
//! Files are classic pcap of raw IP packets: addresses and ports are in headers that are made here.

use crate::command::MediaEvent;
use crate::pcap::{self, HEADERS, RECORD};
use crate::rtp;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::OwnedPermit;

/// Bytes of records in a block.
const BLOCK: usize = 16 * 1_024;
/// The longest that a record waits in a block of its session.
const HELD: Duration = Duration::from_secs(1);
/// Blocks and orders that may wait for the thread.
const QUEUE: usize = 1_024;
/// Of these, places that blocks leave to beginnings and ends.
const RESERVE: usize = QUEUE / 4;
/// Empty blocks kept for the next ones.
const POOL: usize = 256;
/// The longest file: six hours of G.711 both ways.
const LIMIT: u64 = 1 << 30;
/// What is still to be said when a session's capture is complete.
pub(crate) type Afterwards = Box<dyn FnOnce() + Send>;

enum Message {
    Begin { capture: u64, path: PathBuf, done: OwnedPermit<MediaEvent> },
    Block { capture: u64, bytes: Vec<u8>, packets: u64 },
    End { capture: u64, bytes: Vec<u8>, packets: u64, dropped: u64, afterwards: Option<Afterwards> },
    Shutdown,
}

/// The way to the thread that writes.
#[derive(Clone)]
pub(crate) struct Captures {
    messages: Sender<Message>,
    empty: Receiver<Vec<u8>>,
}

/// One session's capture under way.
pub(crate) struct Capture {
    captures: Captures,
    capture: u64,
    decrypted: bool,
    local: Local,
    /// Payload is not for anybody's ears now.
    masked: bool,
    bytes: Vec<u8>,
    packets: u64,
    dropped: u64,
    /// When the first record of the block was written.
    since: Duration,
    identification: u16,
}

/// Our side of every packet of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    /// The RTP port; RTCP is one above.
    pub(crate) port: u16,
    /// One address for each family that is served.
    pub(crate) hosts: [Option<IpAddr>; 2],
}

impl Local {
    /// What a far end of that family sees.
    fn towards(&self, which: usize, far: SocketAddr) -> SocketAddr {
        let ours = self.hosts.iter().flatten().find(|host| host.is_ipv4() == far.is_ipv4()).copied();
        // Of the other family there is no socket: this is to no purpose, but it is not wrong.
        let ours = ours.unwrap_or(if far.is_ipv4() { [0; 4].into() } else { [0; 16].into() });
        SocketAddr::new(ours, self.port + which as u16)
    }
}

impl Captures {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let (messages, inbox) = bounded(QUEUE);
        let (pool, empty) = bounded(POOL);
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || Files { pool, open: HashMap::new() }.run(&inbox))?;
        Ok((Self { messages, empty }, thread))
    }

    /// Ends the thread once it has written what is waiting.
    pub(crate) fn shutdown(&self) {
        let _ = self.messages.send(Message::Shutdown);
    }

    /// Begins a file. `capture` is unique; `done` is where its end is reported.
    ///
    /// # Errors
    /// Gives the permit back when the thread does not keep up.
    pub(crate) fn begin(
        &self,
        capture: u64,
        path: PathBuf,
        decrypted: bool,
        local: Local,
        done: OwnedPermit<MediaEvent>,
    ) -> Result<Capture, OwnedPermit<MediaEvent>> {
        match self.messages.try_send(Message::Begin { capture, path, done }).map_err(|error| error.into_inner()) {
            Err(Message::Begin { done, .. }) => Err(done),
            _ => Ok(Capture {
                captures: self.clone(),
                capture,
                decrypted,
                local,
                masked: false,
                bytes: self.block(),
                packets: 0,
                dropped: 0,
                since: Duration::ZERO,
                identification: 0,
            }),
        }
    }

    fn block(&self) -> Vec<u8> {
        self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK))
    }
}

impl Capture {
    /// It wants what was protected as it is in the clear.
    pub(crate) const fn is_decrypted(&self) -> bool {
        self.decrypted
    }

    /// What is said from now on is secret, or no longer.
    pub(crate) const fn mask(&mut self, masked: bool) {
        self.masked = masked;
    }

    /// A datagram that came to a component's port. `now` is the plane's time, `unix` the same since 1970.
    pub(crate) fn received(&mut self, now: Duration, unix: Duration, which: usize, from: SocketAddr, datagram: &[u8]) {
        self.record(now, unix, from, self.local.towards(which, from), datagram);
    }

    /// A datagram that left from it.
    pub(crate) fn sent(&mut self, now: Duration, unix: Duration, which: usize, to: SocketAddr, datagram: &[u8]) {
        self.record(now, unix, self.local.towards(which, to), to, datagram);
    }

    /// Hands over what has waited for long.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.packets > 0 && now.saturating_sub(self.since) >= HELD {
            self.hand_over();
        }
    }

    /// Completes the file; then says what is still to be said, or at once where the thread does not keep up.
    pub(crate) fn end(self, afterwards: Option<Afterwards>) {
        let Self { captures, capture, bytes, packets, dropped, .. } = self;
        let message = Message::End { capture, bytes, packets, dropped, afterwards };
        if let Err(lost) = captures.messages.try_send(message)
            && let Message::End { afterwards: Some(afterwards), .. } = lost.into_inner()
        {
            tracing::error!("the disk does not keep up: the end of a capture is lost");
            afterwards();
        }
    }

    fn record(&mut self, now: Duration, unix: Duration, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        if self.bytes.len() + RECORD + HEADERS + datagram.len() > BLOCK {
            self.hand_over();
        }
        if self.packets == 0 {
            self.since = now;
        }
        self.packets += 1;
        self.identification = self.identification.wrapping_add(1);
        // What a header says stays; what is said does not.
        let shown = if self.masked && is_media(datagram) { rtp::HEADER } else { usize::MAX };
        pcap::record(&mut self.bytes, unix, from, to, datagram, shown, self.identification);
    }

    fn hand_over(&mut self) {
        let packets = std::mem::take(&mut self.packets);
        if self.captures.messages.len() < QUEUE - RESERVE {
            let bytes = std::mem::replace(&mut self.bytes, self.captures.block());
            let block = Message::Block { capture: self.capture, bytes, packets };
            if self.captures.messages.try_send(block).is_err() {
                self.dropped += packets;
            }
        } else {
            self.bytes.clear();
            self.dropped += packets;
        }
    }
}

/// RTP, in the clear or protected; not RTCP, whose figures tell nothing.
fn is_media(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (128..192).contains(first)) && !rtp::is_rtcp(datagram)
}

/// A file that is being written.
struct Open {
    path: PathBuf,
    file: io::Result<File>,
    done: OwnedPermit<MediaEvent>,
    written: u64,
    packets: u64,
    dropped: u64,
}

impl Open {
    fn take(&mut self, bytes: &[u8], packets: u64) {
        let Ok(file) = &mut self.file else { return };
        if self.written + bytes.len() as u64 > LIMIT {
            self.dropped += packets;
        } else if let Err(error) = file.write_all(bytes) {
            self.file = Err(error);
        } else {
            self.written += bytes.len() as u64;
            self.packets += packets;
        }
    }

    fn end(self, dropped: u64) {
        let Self { path, file, done, packets, .. } = self;
        done.send(match file {
            Ok(_) => MediaEvent::CaptureDone { path, packets, dropped: self.dropped + dropped },
            Err(error) => MediaEvent::CaptureFailed { path, error: error.to_string() },
        });
    }
}

/// The thread's files.
struct Files {
    pool: Sender<Vec<u8>>,
    open: HashMap<u64, Open>,
}

impl Files {
    fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            match message {
                Message::Begin { capture, path, done } => {
                    let file = File::create(&path).and_then(|mut file| {
                        file.write_all(&pcap::file_header())?;
                        Ok(file)
                    });
                    let open = Open { path, file, done, written: 24, packets: 0, dropped: 0 };
                    self.open.insert(capture, open);
                }
                Message::Block { capture, bytes, packets } => self.take(capture, bytes, packets),
                Message::End { capture, bytes, packets, dropped, afterwards } => {
                    self.take(capture, bytes, packets);
                    if let Some(open) = self.open.remove(&capture) {
                        open.end(dropped);
                    }
                    if let Some(afterwards) = afterwards {
                        afterwards();
                    }
                }
                Message::Shutdown => break,
            }
        }
        for (_, open) in self.open {
            open.end(0);
        }
    }

    fn take(&mut self, capture: u64, mut bytes: Vec<u8>, packets: u64) {
        if let Some(open) = self.open.get_mut(&capture) {
            open.take(&bytes, packets);
        }
        bytes.clear();
        // Where the pool is full it has served.
        let _ = self.pool.try_send(bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use tokio::sync::mpsc;

    /// Records of a file: seconds, microseconds, packet.
    fn records(file: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
        assert_eq!(file[..24], pcap::file_header());
        let mut rest = &file[24..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let length = word(8) as usize;
            assert_eq!(word(12) as usize, length);
            records.push((word(0), word(4), rest[16..16 + length].to_vec()));
            rest = &rest[16 + length..];
        }
        records
    }

    #[test]
    fn files_hold_what_was_sent_and_received() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.pcap");
        let (captures, thread) = Captures::start().unwrap();
        let (events, mut reader) = mpsc::channel(4);
        let local = Local { port: 4_000, hosts: [Some([10, 0, 0, 1].into()), None] };
        let far = SocketAddr::from(([10, 0, 0, 2], 5_000));
        let done = events.clone().try_reserve_owned().unwrap();
        let mut capture = captures.begin(1, path.clone(), false, local, done).unwrap_or_else(|_| panic!("a place"));
        let unix = Duration::new(1_795_000_000, 123_456_000);
        let packet = [&[0x80, 0][..], &[9; 170]].concat();
        capture.received(Duration::ZERO, unix, 0, far, &packet);
        capture.mask(true);
        capture.sent(Duration::ZERO, unix, 0, far, &packet);
        capture.sent(Duration::ZERO, unix, 1, far, &[0x80, 200, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        capture.mask(false);
        for n in 0..1_000_u64 {
            capture.sent(Duration::from_millis(n * 20), unix, 0, far, &packet);
            capture.tick(Duration::from_millis(n * 20));
        }
        let last = events.try_reserve_owned().unwrap();
        capture.end(Some(Box::new(move || drop(last.send(MediaEvent::DigitsSent)))));
        assert_eq!(
            reader.blocking_recv(),
            Some(MediaEvent::CaptureDone { path: path.clone(), packets: 1_003, dropped: 0 })
        );
        assert_eq!(reader.blocking_recv(), Some(MediaEvent::DigitsSent));
        let records = records(&std::fs::read(path).unwrap());
        assert_eq!(records.len(), 1_003);
        let (seconds, micros, first) = &records[0];
        assert_eq!((*seconds, *micros), (1_795_000_000, 123_456));
        assert_eq!(first[12..24], [10, 0, 0, 2, 10, 0, 0, 1, 0x13, 0x88, 0x0F, 0xA0]);
        assert_eq!(first[28..], packet);
        assert_eq!(records[1].2[28..40], packet[..12]);
        assert!(records[1].2[40..].iter().all(|byte| *byte == 0), "secret");
        assert_eq!(records[2].2[30..], [7; 12]);
        captures.shutdown();
        thread.join().unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told() {
        let (captures, thread) = Captures::start().unwrap();
        let (events, mut reader) = mpsc::channel(1);
        let local = Local { port: 2, hosts: [None, None] };
        let path = PathBuf::from("/nowhere/at/all.pcap");
        let done = events.try_reserve_owned().unwrap();
        let mut capture = captures.begin(1, path, false, local, done).unwrap_or_else(|_| panic!("a place"));
        capture.received(Duration::ZERO, Duration::ZERO, 0, SocketAddr::from(([0x20; 16], 7)), b"x");
        capture.end(None);
        assert!(matches!(reader.blocking_recv(), Some(MediaEvent::CaptureFailed { .. })));
        captures.shutdown();
        thread.join().unwrap();
    }
}
