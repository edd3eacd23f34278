//! What passes over the data channel: short messages of text, and not too many of them.

use std::collections::VecDeque;

/// The name of the channel. Others are closed.
pub const LABEL: &str = "callbox";
/// Messages that wait for the channel to open or to have room.
const WAITING: usize = 64;
/// Bytes of these.
const WAITING_BYTES: usize = 64 * 1_024;

/// Messages that wait.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<String>,
    bytes: usize,
}

impl Outbox {
    /// Puts a message behind the others; false where there is no room.
    pub(crate) fn push(&mut self, message: String) -> bool {
        let fits = self.messages.len() < WAITING && self.bytes + message.len() <= WAITING_BYTES;
        if fits {
            self.bytes += message.len();
            self.messages.push_back(message);
        }
        fits
    }

    pub(crate) fn first(&self) -> Option<&str> {
        self.messages.front().map(String::as_str)
    }

    pub(crate) fn remove_first(&mut self) {
        self.bytes -= self.messages.pop_front().map_or(0, |message| message.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_in_number_and_in_bytes() {
        let mut outbox = Outbox::default();
        assert_eq!((0..100).filter(|_| outbox.push("x".into())).count(), WAITING);
        assert_eq!(outbox.first(), Some("x"));
        let mut outbox = Outbox::default();
        assert_eq!((0..100).filter(|_| outbox.push("x".repeat(10_000))).count(), 6);
        outbox.remove_first();
        assert_eq!((outbox.len(), outbox.push("x".repeat(10_000))), (5, true));
    }
}
