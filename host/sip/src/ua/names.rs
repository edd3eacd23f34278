//! Tags, branches and Call-IDs: from a seeded generator, so that a test can repeat a run.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The only source of randomness of an endpoint. Tags keep strangers out of dialogs, so it is a strong generator.
#[derive(Debug)]
pub(crate) struct Names {
    rng: ChaCha12Rng,
    /// Keys the tags of stateless responses.
    secret: [u8; 16],
}

impl Names {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut secret = [0; 16];
        rng.fill_bytes(&mut secret);
        Self { rng, secret }
    }

    /// 64 random bits: more than the 32 that RFC 3261 §19.3 asks for.
    pub(crate) fn tag(&mut self) -> String {
        format!("{:016x}", self.rng.next_u64())
    }

    /// A branch with the magic cookie of RFC 3261 §8.1.1.7.
    pub(crate) fn branch(&mut self) -> String {
        format!("z9hG4bK{:016x}{:08x}", self.rng.next_u64(), self.rng.next_u32())
    }

    /// 128 random bits; no host name, which would say more than it needs to.
    pub(crate) fn call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }

    /// A key of the strength of the seed.
    pub(crate) fn key(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        self.rng.fill_bytes(&mut key);
        key
    }

    /// A number from 0 to `below - 1`; the small bias of the remainder is of no matter where this is used.
    pub(crate) fn below(&mut self, below: u32) -> u32 {
        self.rng.next_u32() % below.max(1)
    }

    /// A tag that is the same for each repetition of one request, though we keep nothing of it (RFC 3261 §8.2.7).
    pub(crate) fn stateless_tag(&self, parts: &[&[u8]]) -> String {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        hash.update(self.secret);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hex::encode(&hash.finalize()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_names() {
        let (mut a, mut b) = (Names::new([7; 32]), Names::new([7; 32]));
        assert_eq!((a.tag(), a.branch(), a.call_id()), (b.tag(), b.branch(), b.call_id()));
        assert_ne!(a.tag(), a.tag());
    }

    #[test]
    fn a_stateless_tag_depends_on_each_part_and_on_the_seed() {
        let names = Names::new([1; 32]);
        assert_eq!(names.stateless_tag(&[b"ab", b"c"]), names.stateless_tag(&[b"ab", b"c"]));
        assert_ne!(names.stateless_tag(&[b"ab", b"c"]), names.stateless_tag(&[b"a", b"bc"]));
        assert_ne!(names.stateless_tag(&[b"ab"]), Names::new([2; 32]).stateless_tag(&[b"ab"]));
    }
}
