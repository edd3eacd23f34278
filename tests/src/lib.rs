//! What the end-to-end tests share: hosts, peers and business systems on free
//! ports, each test with its own. Everything here panics when something is not
//! as it should be: that is how a test fails.
//!
//! * [`Host`] – a real `callbox serve` with an empty data folder, and its API
//! * [`Business`] – a customer's system that verifies what it receives with the public library
//! * [`clinic()`] – the example on a host, and the system it talks to
//! * [`Carrier`] – a carrier by hand, with the manners that a test wants
//! * [`peer`] – SIPp, baresip and our own caller as far ends
//! * [`books`] – what was promised, against what is there; [`throng`] – those who were promised it
//! * [`Bystander`] – a good call next to which something bad happens
//! * [`Phone`] – a telephone that says and hears tones
//! * [`Play`] – a scenario on a live host
//! * [`kamailio`] – a proxy in front, and a media relay beside it
//! * [`browser`] – Chromium, driven over the DevTools protocol
//! * [`visitor`] – somebody who calls from a page, and what they hear
//! * [`Net`] – a network namespace, with a bad line to it or a NAT before it
//! * [`Collector`] – of traces, as an operator runs one
//! * [`raw`] – SIP by hand
//! * [`fidelity`] – whether what was heard is what was said
//! * [`voices`] – people who speak, and noise
//! * [`Watch`] – whether the machine keeps its time
//! * [`web_caller`] – a browser without a window
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "this is test code: it panics to fail")]

pub mod books;
pub mod browser;
mod bucket;
mod business;
mod bystander;
mod carrier;
mod clinic;
pub mod coder;
pub mod fidelity;
mod handset;
mod host;
pub mod kamailio;
mod live;
mod net;
mod otlp;
pub mod peer;
mod phone;
pub mod raw;
pub mod throng;
pub mod visitor;
pub mod voices;
mod watch;
pub mod web_caller;

pub use bucket::Bucket;
pub use business::{Answer, Business, Received};
pub use bystander::Bystander;
pub use carrier::{Carrier, Manners, header};
pub use clinic::{NUMBER, clinic};
pub use host::{Host, Options, probe_bindings};
pub use live::{Play, Played, why_not};
pub use net::{Bad, BehindNat, Net};
pub use otlp::{Collector, Span};
pub use phone::{Line, Over, Phone, compress, expand};
pub use watch::Watch;

use std::path::PathBuf;
use std::time::Duration;

/// How long a test waits for something that should happen soon: long, for a machine may have much else to do, and who
/// waits in vain has failed anyway.
pub const SOON: Duration = Duration::from_secs(60);

/// The checkout.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The host's binary, as `make test` builds it.
#[must_use]
pub fn binary() -> PathBuf {
    let built = std::env::var_os("CALLBOX").map_or_else(|| root().join("target/debug/callbox"), PathBuf::from);
    assert!(built.is_file(), "{} is not built: run `make test`, or cargo build -p callbox", built.display());
    built
}

/// A script that `tools/guests` built.
#[must_use]
pub fn guest(name: &str) -> Vec<u8> {
    let path = root().join("target/guests").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run tools/guests all", path.display()))
}

/// Whether keys stand in a text as something said, and not by chance within an id, a port or a number.
#[must_use]
pub fn shows(text: &str, keys: &str) -> bool {
    text.match_indices(keys).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + keys.len()..].chars().next();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':'))
            && !after.is_some_and(|c| c.is_ascii_alphanumeric())
    })
}

/// Waits until `check` gives something, trying again every few milliseconds.
pub async fn eventually<T, F>(what: &str, mut check: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(begun.elapsed() < SOON, "{what} did not happen within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::shows;

    #[test]
    fn keys_are_seen_where_they_are_said() {
        for text in [r#"{"digits":"9375"}"#, "pressed 9375.", "keys=9375", "9375"] {
            assert!(shows(text, "9375"), "{text}");
        }
        for text in [r#"{"jitter_ms":0.9375}"#, r#"{"bytes":9375}"#, "127.0.0.1:9375", "call_19375a"] {
            assert!(!shows(text, "9375"), "{text}");
        }
    }
}
