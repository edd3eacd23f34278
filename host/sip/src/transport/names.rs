//! The names that peers have to prove, as small numbers: a [`Flow`](crate::ua::Flow) is copied for every message.

use crate::ua::PeerName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Names that are remembered. Whoever was not asked for the longest is forgotten first: a connection to it then needs
/// a new look-up. Strangers can name hosts in their dialogs, so there has to be a bound.
const MAX_NAMES: usize = 8_192;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PeerNames(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<Arc<str>, u32>,
    /// With the moment of its last use, as a count of uses.
    by_id: HashMap<u32, (Arc<str>, u64)>,
    last: u32,
    uses: u64,
}

impl PeerNames {
    /// The number of a name, without regard to case.
    pub(crate) fn intern(&self, name: &str) -> PeerName {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        table.uses += 1;
        if let Some(&id) = table.by_name.get(name.as_str()) {
            if let Some((_, used)) = table.by_id.get_mut(&id) {
                *used = table.uses;
            }
            return PeerName(id);
        }
        if table.by_id.len() >= MAX_NAMES {
            table.forget_half();
        }
        // Wraps after four thousand million names; by then nobody holds the first ones.
        table.last = table.last.wrapping_add(1);
        let (id, name) = (table.last, Arc::<str>::from(name));
        table.by_name.insert(name.clone(), id);
        table.by_id.insert(id, (name, table.uses));
        PeerName(id)
    }

    /// The name with this number, where it is still known.
    pub(crate) fn get(&self, id: PeerName) -> Option<Arc<str>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        table.uses += 1;
        let (name, used) = table.by_id.get_mut(&id.0)?;
        *used = table.uses;
        Some(name.clone())
    }
}

impl Table {
    /// Forgets the half that was not used for the longest.
    fn forget_half(&mut self) {
        let mut used: Vec<u64> = self.by_id.values().map(|(_, used)| *used).collect();
        let middle = used.len() / 2;
        let (_, &mut median, _) = used.select_nth_unstable(middle);
        self.by_id.retain(|_, (_, used)| *used >= median);
        let by_id = &self.by_id;
        self.by_name.retain(|_, id| by_id.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_and_bounded() {
        let names = PeerNames::default();
        let first = names.intern("SIP.Carrier.example.");
        assert_eq!(names.intern("sip.carrier.example"), first);
        assert_eq!(names.get(first).as_deref(), Some("sip.carrier.example"));
        let second = names.intern("other.example");
        assert_ne!(first, second);
        for n in 0..MAX_NAMES * 3 {
            names.intern(&format!("host{n}.example"));
            assert!(names.get(first).is_some(), "what is used stays");
        }
        assert_eq!(names.get(second), None);
        let table = names.0.lock().unwrap();
        assert!(table.by_id.len() <= MAX_NAMES && table.by_id.len() == table.by_name.len());
    }
}
