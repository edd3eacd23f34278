//! The body of the fuzz target: what any bytes must not break. `fuzz/` runs it under libFuzzer, the test `fuzz_corpus` on
//! its corpus and on mutations of it.

use crate::webrtc::{Wish, read};
use serde_json::Value;

/// Keys that a page may press.
const KEYS: &str = "0123456789*#ABCD";

/// A message of a page on its data channel: only keys become keys, and what the script is told is JSON as it stood in the
/// message.
pub fn page_message(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match read(&text) {
        Some(Wish::Digits(digits)) => {
            assert!((1..=64).contains(&digits.len()) && digits.chars().all(|key| KEYS.contains(key)), "{digits:?}");
        }
        Some(Wish::Message(json)) => {
            assert!(text.contains(&json), "{json}");
            // The engine looks at how deep it is.
            if let Err(error) = serde_json::from_str::<Value>(&json) {
                assert!(!error.is_eof() && !error.is_io(), "{json}: {error}");
            }
        }
        Some(Wish::Hangup) | None => {}
    }
}
