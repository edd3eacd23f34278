//! The events of a session, for a reader that may be slow: what finds no room in its channel waits, within bounds.

use crate::command::MediaEvent;
use std::collections::VecDeque;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// Events that wait for a slow reader beside those in its channel.
const BACKLOG: usize = 256;

/// Events on their way to the reader of a session.
pub(super) struct EventQueue {
    pub(super) sender: Sender<MediaEvent>,
    backlog: VecDeque<MediaEvent>,
    dropped: u64,
}

impl EventQueue {
    /// An empty one before this channel.
    pub(super) const fn new(sender: Sender<MediaEvent>) -> Self {
        Self { sender, backlog: VecDeque::new(), dropped: 0 }
    }

    /// Events that the reader will not get.
    pub(super) fn lost(&self) -> u64 {
        self.dropped + self.backlog.len() as u64
    }

    /// Puts an event behind the others.
    pub(super) fn push(&mut self, event: MediaEvent) {
        let event = if self.backlog.is_empty() {
            match self.sender.try_send(event) {
                Ok(()) | Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(event)) => event,
            }
        } else {
            event
        };
        if self.backlog.len() < BACKLOG {
            self.backlog.push_back(event);
        } else {
            self.dropped += 1;
        }
    }

    /// Hands over what waits, as far as there is room.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            if let Err(TrySendError::Full(event)) = self.sender.try_send(event) {
                self.backlog.push_front(event);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use tokio::sync::mpsc;

    #[test]
    fn a_slow_reader_gets_its_events_late_and_in_order() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut queue = EventQueue::new(sender);
        let digit = |n: usize| MediaEvent::Digit { digit: char::from_digit(n as u32 % 10, 10).unwrap() };
        for n in 0..BACKLOG + 5 {
            queue.push(digit(n));
        }
        assert_eq!(queue.dropped, 3);
        for n in 0..BACKLOG + 2 {
            assert_eq!(receiver.try_recv(), Ok(digit(n)));
            queue.flush();
        }
        assert!(receiver.try_recv().is_err());
    }
}
