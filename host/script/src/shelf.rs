//! Scripts that are loaded, by digest: the most recently used stay.

use crate::script::Script;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The place of one script. Whoever comes first loads it, the others wait.
pub(crate) type Place = Arc<OnceCell<Arc<Script>>>;

/// Scripts in memory.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    by_digest: HashMap<String, (Place, u64)>,
    uses: u64,
}

impl Shelf {
    /// The place for a digest.
    pub(crate) fn place(&self, digest: &str) -> Place {
        let mut places = self.lock();
        places.uses += 1;
        let uses = places.uses;
        let (place, used) = places.by_digest.entry(digest.to_owned()).or_default();
        *used = uses;
        place.clone()
    }

    /// A script that is there.
    pub(crate) fn get(&self, digest: &str) -> Option<Arc<Script>> {
        self.lock().by_digest.get(digest).and_then(|(place, _)| place.get().cloned())
    }

    /// Forgets a place that nobody could fill, and what was used least while the
    /// code is more than so many bytes. Calls that run keep theirs.
    pub(crate) fn tidy(&self, failed: Option<&str>, most: u64) {
        let mut places = self.lock();
        if let Some(digest) = failed
            && places.by_digest.get(digest).is_some_and(|(place, _)| place.get().is_none())
        {
            places.by_digest.remove(digest);
        }
        let bytes = |place: &Place| place.get().map_or(0, |script| script.code_bytes());
        let mut total: u64 = places.by_digest.values().map(|(place, _)| bytes(place)).sum();
        while total > most {
            let loaded = places.by_digest.iter().filter(|(_, (place, _))| place.get().is_some());
            if places.by_digest.len() < 2 {
                return;
            }
            let Some(oldest) = loaded.min_by_key(|(_, (_, used))| *used).map(|(digest, _)| digest.clone()) else {
                return;
            };
            if let Some((place, _)) = places.by_digest.remove(&oldest) {
                total = total.saturating_sub(bytes(&place));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
