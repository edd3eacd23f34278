//! The signalling of one call: the SIP messages of its own dialog, and of every dialog that a transfer adds; and the
//! exchange of a call by WebRTC.

use crate::webrtc::{Exchange, Step, What};
use callbox_sip::ladder::Ladder;
use callbox_sip::{Dialog, DialogTrace};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Dialogs of one call; a script that transfers more often than this keeps the first ones.
const DIALOGS: usize = 16;

/// What is kept of one call, for its ladder. It keeps no dialog up; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Signalling(Option<Arc<Mutex<Kept>>>);

#[derive(Debug, Default)]
struct Kept {
    dialogs: Vec<DialogTrace>,
    exchange: Option<Exchange>,
}

/// What is left of the signalling of a call: SIP messages, and the exchange where it was one by WebRTC. It is stored as
/// JSON, and read back by whoever shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignallingRecord {
    /// All SIP messages, those of a second leg included.
    #[serde(flatten)]
    pub ladder: Ladder,
    /// Offer, answer, and what became of them; none for a call by SIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webrtc: Option<Exchange>,
}

impl Signalling {
    /// Of a new call; `kept` is the operator's choice.
    pub(crate) fn new(kept: bool) -> Self {
        Self(kept.then(Arc::default))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Kept>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A dialog became part of the call.
    pub(crate) fn add(&self, dialog: &Dialog) {
        if let Some(mut kept) = self.lock()
            && kept.dialogs.len() < DIALOGS
        {
            kept.dialogs.push(dialog.trace());
        }
    }

    /// A step of a call by WebRTC; `more` says what else is known of it.
    pub(crate) fn step(&self, at_us: u64, what: What, text: &str, more: impl FnOnce(&mut Step)) {
        if let Some(mut kept) = self.lock()
            && let Some(step) = kept.exchange.get_or_insert_default().note(at_us, what, text)
        {
            more(step);
        }
    }

    /// All of it so far, without its secrets; none where it is not kept.
    pub(crate) fn record(&self) -> Option<SignallingRecord> {
        let (dialogs, webrtc) = {
            let kept = self.lock()?;
            (kept.dialogs.clone(), kept.exchange.clone())
        };
        let ladder = Ladder::new(&dialogs.iter().map(DialogTrace::get).collect::<Vec<_>>());
        Some(SignallingRecord { ladder, webrtc })
    }
}
