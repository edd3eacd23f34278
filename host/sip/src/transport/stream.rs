//! Serving one stream, TCP or TLS: framing, writing, keep-alives (RFC 3261 §18.3, RFC 5626 §4.4.1).

use super::connections::{Connections, Outgoing, Slot, wrote};
use super::ingress::Arrival;
use super::keepalive::Keepalive;
use crate::ua::Flow;
use crate::wire::{Frame, Framer};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// How long one message may take to be written.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the bytes of one message may trickle in, and how long a new connection may say nothing at all.
const TRICKLE: Duration = Duration::from_secs(30);

/// Reads and writes until either side has enough.
pub(crate) async fn serve<R, W>(mut slot: Slot, reader: R, mut writer: W, flow: Flow)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    // Pings and pongs; what finds no room can be done without.
    let (control, mut controls) = mpsc::channel::<Bytes>(4);
    let connections = slot.connections.clone();
    // What is being written when the connection breaks.
    let mut writing = None;
    let (queue, written) = (&mut slot.queue, &mut slot.written);
    let write = async {
        loop {
            let out = tokio::select! {
                out = queue.recv() => out,
                Some(bytes) = controls.recv() => Some(Outgoing { bytes, transaction: None }),
            };
            let Some(out) = out else { return };
            let bytes = writing.insert(out).bytes.clone();
            let sent = async {
                writer.write_all(&bytes).await?;
                // TLS may hold the last of it back.
                writer.flush().await
            };
            if !matches!(timeout(PATIENCE, sent).await, Ok(Ok(()))) {
                return;
            }
            if let Some(out) = writing.take() {
                wrote(written, &out);
            }
        }
    };
    let keepalive =
        Keepalive::new(Instant::now(), slot.ours, slot.id, connections.keepalive, connections.limits.tcp_idle);
    let read = Reading { flow, ours: slot.ours, connections: &connections, control, keepalive };
    tokio::select! {
        () = write => {}
        () = read.run(reader) => {}
    }
    // First out of the table, so that whoever tries again does not find this connection.
    drop(slot);
    if let Some(unsent) = writing {
        connections.unsent(unsent);
    }
    // Tells a TLS peer that nothing was cut off. It may be gone or stuck.
    let _ = timeout(Duration::from_millis(100), writer.shutdown()).await;
}

/// The reading side of a stream.
struct Reading<'a> {
    flow: Flow,
    ours: bool,
    connections: &'a Connections,
    control: mpsc::Sender<Bytes>,
    keepalive: Keepalive,
}

impl Reading<'_> {
    /// Reads until the stream ends, cannot be framed, or is silent for too long.
    async fn run<R: AsyncRead + Unpin>(mut self, mut reader: R) {
        let mut buffer = BytesMut::with_capacity(4_096);
        let mut framer = Framer::new();
        // When the message at the front of the buffer began to come. Whoever connects to us has something to say.
        let mut begun = (!self.ours).then(Instant::now);
        loop {
            while let Some(taken) = self.take(&mut framer, &mut buffer).await {
                match taken {
                    Ok(()) => begun = None,
                    Err(()) => return,
                }
            }
            let breaks = buffer.iter().all(|&b| matches!(b, b'\r' | b'\n'));
            if breaks && !buffer.is_empty() {
                // One empty line is a pong, or the keep-alive of a phone that waits for no answer.
                if self.keepalive.ponged() {
                    buffer.clear();
                }
                begun = None;
            }
            let until = match begun {
                Some(begun) => begun + TRICKLE,
                None if breaks => self.keepalive.next(),
                None => *begun.insert(Instant::now()) + TRICKLE,
            };
            buffer.reserve(4_096);
            match tokio::time::timeout_at(until, reader.read_buf(&mut buffer)).await {
                Ok(Ok(1..)) => self.keepalive.heard(Instant::now()),
                Ok(Ok(0) | Err(_)) => return,
                Err(_) if begun.is_some() => return,
                Err(_) => {
                    if !self.keepalive.due(Instant::now()) {
                        return;
                    }
                    let _ = self.control.try_send(Bytes::from_static(b"\r\n\r\n"));
                }
            }
        }
    }

    /// Takes one frame off the buffer; an error ends the stream.
    async fn take(&mut self, framer: &mut Framer, buffer: &mut BytesMut) -> Option<Result<(), ()>> {
        match framer.next(buffer) {
            Ok(Some(Frame::Message(bytes))) => {
                self.keepalive.message();
                let arrival = Arrival { bytes, flow: self.flow, at: super::now() };
                self.connections.ingress.push_or_wait(arrival).await;
                Some(Ok(()))
            }
            Ok(Some(Frame::Ping)) => {
                let _ = self.control.try_send(Bytes::from_static(b"\r\n"));
                Some(Ok(()))
            }
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(remote = %self.flow.remote, %error, "a stream cannot be framed");
                if let Some(rejection) = &error.rejection {
                    let _ = self.control.try_send(rejection.response("unframed").to_vec().into());
                    // The writer gets its turn before the connection goes.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Some(Err(()))
            }
        }
    }
}
