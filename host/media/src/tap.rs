//! A reader of what a session hears: recognisers, callers that record, tests.

use crate::{FRAME, SAMPLE_RATE};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// 20 ms of what was heard, after jitter buffer and concealment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapFrame {
    at_ms: i64,
    wide: bool,
    samples: [i16; 2 * FRAME],
}

impl TapFrame {
    /// A frame at 8 kHz.
    pub(crate) fn narrow(at_ms: i64, frame: &[i16; FRAME]) -> Self {
        let mut samples = [0; 2 * FRAME];
        samples[..FRAME].copy_from_slice(frame);
        Self { at_ms, wide: false, samples }
    }

    /// A frame at 16 kHz.
    pub(crate) const fn wide(at_ms: i64, samples: [i16; 2 * FRAME]) -> Self {
        Self { at_ms, wide: true, samples }
    }

    /// The same at another time.
    pub(crate) const fn at(self, at_ms: i64) -> Self {
        Self { at_ms, ..self }
    }

    /// When it begins, in milliseconds of audio since the tap was asked for; below zero for what was heard before.
    /// It is 20 ms behind the frame before, more where frames were dropped or nobody spoke.
    #[must_use]
    pub const fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// Samples a second: 8,000 or 16,000, the same for all frames of a tap.
    #[must_use]
    pub const fn rate_hz(&self) -> u32 {
        if self.wide { 2 * SAMPLE_RATE } else { SAMPLE_RATE }
    }

    /// The samples, of 16 bits.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        if self.wide { &self.samples } else { &self.samples[..FRAME] }
    }
}

/// The reading end.
#[derive(Debug)]
pub struct Tap {
    frames: mpsc::Receiver<TapFrame>,
    dropped: Arc<AtomicU64>,
}

/// The end that goes into [`crate::MediaCommand::Tap`] or [`crate::MediaCommand::Listen`].
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

    /// The next frame; none once the session is closed or the tap was taken away. Cancel-safe.
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
