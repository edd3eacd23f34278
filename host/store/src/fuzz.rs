//! One body per fuzz target: any bytes in, no panic, and what must hold for what is
//! accepted. `fuzz/` calls these under coverage guidance, `tests/fuzz_corpus.rs` over
//! the corpus and its mutations.

use crate::bindings::{self, Bindings};
use crate::{keys, numbers};

/// Bindings documents.
pub fn bindings(data: &[u8]) {
    let Ok(input) = bindings::parse(data) else { return };
    for name in input.sources.keys().chain(input.destinations.keys()).chain(input.settings.keys()) {
        assert!(bindings::is_name(name), "accepted a name that is none: {name:?}");
    }
    assert!(input.check().is_ok());
    // What is stored can be read again.
    if let Ok(stored) = serde_json::from_slice::<Bindings>(data) {
        let text = serde_json::to_string(&stored).unwrap_or_default();
        assert!(serde_json::from_str::<Bindings>(&text).is_ok_and(|again| again == stored));
    }
}

/// API keys.
pub fn key(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(id) = keys::parse(&text) {
        assert!(crate::id::is("key", &id));
        assert!(text.contains(id.trim_start_matches("key_")));
    }
}

/// User parts of request URIs.
pub fn user_part(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(key) = numbers::route_key(&text) {
        assert!(!key.is_empty() && key.chars().count() <= 64);
        assert_eq!(numbers::route_key(&key), Some(key));
    }
}
