//! One body per fuzz target: any bytes in, no panic, and what must hold for what is
//! accepted or refused. `fuzz/` calls these under coverage guidance,
//! `tests/fuzz_corpus.rs` over the corpus and its mutations.

use crate::calls::Place;
use crate::extract::{Patch, object};
use crate::numbers::CHANGEABLE;
use crate::problem::Problem;
use crate::recordings::{Asked, range};
use crate::scripts::Publish;
use crate::webhooks::{CreateWebhook, Replay, RotateSecret};
use crate::webrtc_tokens::MakeToken;
use callbox_store::bindings::BindingsInput;
use callbox_store::keys::NewKey;
use callbox_store::numbers::NewNumber;
use callbox_store::scripts::NewScript;
use callbox_store::sip_accounts::NewSipAccount;
use callbox_trunk::TrunkSettings;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Whether it was taken; a refusal is the client's fault.
fn taken<T>(read: Result<T, Problem>) -> bool {
    read.inspect_err(|problem| assert!(problem.status().is_client_error(), "{problem:?}")).is_ok()
}

fn reads<T: DeserializeOwned>(data: &[u8]) -> bool {
    taken(object::<T>(data))
}

/// Bodies of every kind.
pub fn body(data: &[u8]) {
    let objects = [
        reads::<NewScript>(data),
        reads::<NewNumber>(data),
        reads::<CreateWebhook>(data),
        reads::<BindingsInput>(data),
        reads::<NewKey>(data),
        reads::<NewSipAccount>(data),
        trunk(data),
        reads::<Publish>(data),
        reads::<Replay>(data),
        reads::<RotateSecret>(data),
        taken(object::<Place>(data).and_then(Place::checked)),
        taken(object::<MakeToken>(data).and_then(|new| new.checked(3_600))),
    ];
    let patch = Patch::<NewNumber>::read(data);
    let current =
        json!({ "address": "1", "name": "desk", "fallback": { "say": [{ "text": "sorry" }] }, "id": "num_1" });
    let patched = patch.and_then(|patch| patch.apply(&current, CHANGEABLE));
    if let Ok(number) = &patched {
        assert!(!data.trim_ascii_start().starts_with(b"["));
        let untouched = !String::from_utf8_lossy(data).contains("address") && !data.contains(&b'\\');
        assert!(!untouched || number.address == "1", "changed what it does not name");
    }
    if objects.contains(&true) || taken(patched) {
        assert!(data.trim_ascii_start().starts_with(b"{"), "took what is no object");
    }
}

/// A trunk that has no mistake is the same when it is read back.
fn trunk(data: &[u8]) -> bool {
    let Ok(trunk) = object::<TrunkSettings>(data) else { return false };
    let mistakes = trunk.mistakes();
    assert!(mistakes.iter().all(|mistake| mistake.pointer.starts_with('/')), "{mistakes:?}");
    let shown = serde_json::to_vec(&trunk).unwrap_or_default();
    let again = object::<TrunkSettings>(&shown).ok();
    assert_eq!(again.map(|again| again.mistakes().len()), Some(mistakes.len()));
    true
}

/// `Range` headers, for files of several sizes.
pub fn range_header(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for size in [0, 1, 44, 1_000_000, u64::MAX] {
        if let Asked::Part { first, length } = range(&text, size) {
            assert!(length > 0 && first < size && length <= size - first, "{text:?} of {size}: {first} + {length}");
        }
    }
}
