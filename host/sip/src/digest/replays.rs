//! Which nonces were used, and how often: credentials that were seen once are good for nothing any more.

use super::Nonce;
use std::collections::HashMap;

/// The highest count seen with each nonce, in two generations of limited size. Only credentials that proved right are
/// remembered, so nobody without a password can fill it; where it overflows, the nonces it had to forget are refused
/// as too old, and their clients ask for new ones.
#[derive(Debug)]
pub struct Replays {
    size: usize,
    young: HashMap<Nonce, u32>,
    old: HashMap<Nonce, u32>,
    /// Nonces issued in this second or before, and not remembered, count as used.
    floor: Option<u64>,
}

impl Replays {
    /// Remembers up to twice `size` nonces.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1), young: HashMap::new(), old: HashMap::new(), floor: None }
    }

    /// Takes note of a use; false when the count is not above those seen before.
    pub fn take(&mut self, nonce: Nonce, count: u32) -> bool {
        let known = self.young.get(&nonce).or_else(|| self.old.get(&nonce)).copied();
        match known {
            Some(last) if count <= last => return false,
            None if self.floor.is_some_and(|floor| nonce.issued <= floor) => return false,
            _ => {}
        }
        if self.young.len() >= self.size && !self.young.contains_key(&nonce) {
            let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            self.floor = forgotten.keys().map(|nonce| nonce.issued).max().max(self.floor);
        }
        self.young.insert(nonce, count);
        true
    }

    /// What is remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(issued: u64, number: u32) -> Nonce {
        Nonce { issued, number }
    }

    #[test]
    fn a_count_is_used_once() {
        let mut replays = Replays::new(8);
        assert!(replays.take(nonce(1, 1), 1));
        assert!(!replays.take(nonce(1, 1), 1));
        assert!(replays.take(nonce(1, 1), 3), "a lost request leaves a gap");
        assert!(!replays.take(nonce(1, 1), 2));
        assert!(replays.take(nonce(1, 2), 1));
    }

    #[test]
    fn what_was_forgotten_cannot_be_used_again() {
        let mut replays = Replays::new(4);
        let all: Vec<Nonce> = (0..40).map(|n| nonce(n / 2, u32::try_from(n).unwrap())).collect();
        for used in &all {
            replays.take(*used, 1);
            assert!(replays.len() <= 8);
        }
        for used in all {
            assert!(!replays.take(used, 1), "{used:?}");
        }
        assert!(replays.take(nonce(99, 1), 1));
    }
}
