//! A reader of what a session hears: recognisers, callers that record, tests.

use crate::FRAME;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// 20 ms of what was heard, after jitter buffer and concealment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapFrame {
    /// Its place in the stream, in frames since the tap began; a gap in the numbers is a frame that was dropped.
    pub index: u64,
    /// 16 bits at 8 kHz.
    pub samples: [i16; FRAME],
}

/// The reading end.
#[derive(Debug)]
pub struct Tap {
    frames: mpsc::Receiver<TapFrame>,
    dropped: Arc<AtomicU64>,
}

/// The end that goes into [`crate::MediaCommand::Tap`].
#[derive(Clone, Debug)]
pub struct TapSender {
    frames: mpsc::Sender<TapFrame>,
    dropped: Arc<AtomicU64>,
}

impl Tap {
    /// A tap that holds up to `capacity` frames for a reader that is late.
    #[must_use]
    pub fn new(capacity: usize) -> (TapSender, Self) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let dropped = Arc::new(AtomicU64::new(0));
        (TapSender { frames: sender, dropped: Arc::clone(&dropped) }, Self { frames: receiver, dropped })
    }

    /// The next frame; none once the session is closed or the tap was taken away.
    pub async fn next(&mut self) -> Option<TapFrame> {
        self.frames.recv().await
    }

    /// The next frame, for a reader on a thread of its own. Not for async code.
    pub fn blocking_next(&mut self) -> Option<TapFrame> {
        self.frames.blocking_recv()
    }

    /// A frame that is there already.
    pub fn try_next(&mut self) -> Option<TapFrame> {
        self.frames.try_recv().ok()
    }

    /// Frames that were dropped because this reader was late.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl TapSender {
    /// Hands a frame over without waiting. False when the reader is gone.
    pub(crate) fn offer(&self, frame: TapFrame) -> bool {
        match self.frames.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}
