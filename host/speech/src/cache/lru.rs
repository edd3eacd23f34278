//! A map that forgets what has not been used for longest, bounded by weight.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Values with weights; the sum never exceeds the limit.
pub(crate) struct Lru<K, V> {
    limit: usize,
    weight: usize,
    entries: HashMap<K, Entry<V>>,
    /// By last use, the oldest first.
    order: BTreeMap<u64, K>,
    uses: u64,
}

struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, weight: 0, entries: HashMap::new(), order: BTreeMap::new(), uses: 0 }
    }

    pub(crate) const fn weight(&self) -> usize {
        self.weight
    }

    /// The value, which counts as used now.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        self.order.remove(&entry.used);
        self.uses += 1;
        entry.used = self.uses;
        self.order.insert(entry.used, *key);
        Some(&entry.value)
    }

    /// Takes a value in, in place of one of the same key, and returns the keys
    /// that had to go. One that is heavier than the limit goes at once.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) -> Vec<K> {
        self.remove(&key);
        if weight > self.limit {
            return vec![key];
        }
        let mut gone = Vec::new();
        while self.weight > self.limit - weight {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(&oldest);
            gone.push(oldest);
        }
        self.uses += 1;
        self.order.insert(self.uses, key);
        self.entries.insert(key, Entry { value, weight, used: self.uses });
        self.weight += weight;
        gone
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.weight -= entry.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forgets_what_was_not_used() {
        let mut lru = Lru::new(10);
        assert!(lru.insert(1, 'a', 5).is_empty());
        assert!(lru.insert(2, 'b', 5).is_empty());
        assert_eq!(lru.get(&1), Some(&'a'));
        assert_eq!(lru.insert(3, 'c', 3), [2]);
        assert_eq!((lru.get(&1).copied(), lru.weight()), (Some('a'), 8));
        assert_eq!(lru.insert(3, 'd', 11), [3]);
        assert_eq!((lru.get(&3).copied(), lru.weight()), (None, 5));
    }

    proptest! {
        #[test]
        fn stays_within_its_limit(steps in prop::collection::vec((0_u8..8, 0_usize..12, any::<bool>()), 0..200)) {
            let mut lru = Lru::new(20);
            for (key, weight, insert) in steps {
                if insert {
                    let gone = lru.insert(key, key, weight);
                    prop_assert!(gone.iter().all(|key| lru.get(key).is_none()));
                    prop_assert_eq!(lru.get(&key).is_some(), weight <= 20);
                } else {
                    lru.get(&key);
                }
                prop_assert!(lru.weight() <= 20);
                prop_assert_eq!(lru.weight(), lru.entries.values().map(|e| e.weight).sum::<usize>());
                prop_assert_eq!(lru.order.len(), lru.entries.len());
            }
        }
    }
}
