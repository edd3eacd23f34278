//! From the 16 bits of a sequence number to the 48 bits of an index, and which indices have come.

/// Packets behind the newest that are still told apart from those that came before.
pub(super) const WINDOW: u64 = 128;
/// Half of what a sequence number counts.
const HALF: u64 = 1 << 15;
/// Indices that there are: 48 bits.
pub(super) const INDICES: u64 = 1 << 48;

/// The index of a packet, next to one that is known (RFC 3711 §3.3.1).
pub(super) const fn near(known: u64, sequence: u16) -> u64 {
    let rollovers = known & !0xFFFF;
    let (low, sequence) = (known & 0xFFFF, sequence as u64);
    if low < HALF && sequence > low + HALF && rollovers > 0 {
        // From before the counter rolled over.
        rollovers - 0x1_0000 + sequence
    } else if low >= HALF && sequence < low - HALF {
        rollovers + 0x1_0000 + sequence
    } else {
        rollovers + sequence
    }
}

/// Which packets of a stream have come (RFC 3711 §3.3.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    newest: u64,
    /// Bit n: `newest - n` came.
    bits: u128,
}

impl Seen {
    /// Nothing has come; indices will be about here.
    pub(super) const fn about(index: u64) -> Self {
        Self { newest: index, bits: 0 }
    }

    /// The newest index that came.
    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether it did not come before, as far as is known.
    pub(super) const fn is_new(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            Some(behind) => behind < WINDOW && self.bits >> behind & 1 == 0,
            None => true,
        }
    }

    /// It came, and is authentic.
    pub(super) const fn mark(&mut self, index: u64) {
        match self.newest.checked_sub(index) {
            Some(behind) if behind < WINDOW => self.bits |= 1 << behind,
            Some(_) => {}
            None => {
                let ahead = index - self.newest;
                self.bits = if ahead < WINDOW { self.bits << ahead | 1 } else { 1 };
                self.newest = index;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn the_counter_rolls_over_and_back() {
        assert_eq!(near(0, 65_535), 65_535, "there is nothing before the first");
        assert_eq!(near(65_535, 0), 65_536);
        assert_eq!(near(65_536, 65_535), 65_535, "late, from before");
        assert_eq!(near(3 << 16 | 40_000, 7_000), 4 << 16 | 7_000);
        assert_eq!(near(3 << 16 | 7_000, 40_000), 2 << 16 | 40_000);
        assert_eq!(near(3 << 16 | 7_000, 39_000), 3 << 16 | 39_000);
    }

    proptest! {
        #[test]
        fn any_index_within_half_a_round_is_found(known in (1_u64 << 16)..INDICES - (1 << 16), away in -32_767_i64..32_768) {
            let index = known.wrapping_add_signed(away);
            prop_assert_eq!(near(known, index as u16), index);
        }

        /// Against a set that remembers everything.
        #[test]
        fn nothing_is_new_twice(steps in prop::collection::vec(0_u64..400, 1..400)) {
            let (mut seen, mut all) = (Seen::about(0), HashSet::new());
            for index in steps {
                let newest = all.iter().copied().max().unwrap_or(0);
                let expected = !all.contains(&index) && index + WINDOW > newest;
                prop_assert_eq!(seen.is_new(index), expected, "{} behind {}", index, newest);
                if expected {
                    seen.mark(index);
                    all.insert(index);
                }
            }
        }
    }
}
