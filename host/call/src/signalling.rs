//! The SIP messages of one call: those of its own dialog, and of every dialog that a transfer adds.

use callbox_sip::ladder::Ladder;
use callbox_sip::{Dialog, DialogTrace};
use std::sync::{Arc, Mutex, PoisonError};

/// Dialogs of one call; a script that transfers more often than this keeps the first ones.
const DIALOGS: usize = 16;

/// The dialogs of one call, for its ladder. It keeps none of them up; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Signalling(Option<Arc<Mutex<Vec<DialogTrace>>>>);

impl Signalling {
    /// Of a new call; `kept` is the operator's choice.
    pub(crate) fn new(kept: bool) -> Self {
        Self(kept.then(Arc::default))
    }

    /// A dialog became part of the call.
    pub(crate) fn add(&self, dialog: &Dialog) {
        let Some(dialogs) = &self.0 else { return };
        let mut dialogs = dialogs.lock().unwrap_or_else(PoisonError::into_inner);
        if dialogs.len() < DIALOGS {
            dialogs.push(dialog.trace());
        }
    }

    /// All messages so far, without their secrets; none where they are not kept.
    pub(crate) fn ladder(&self) -> Option<Ladder> {
        let dialogs = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(Ladder::new(&dialogs.iter().map(DialogTrace::get).collect::<Vec<_>>()))
    }
}
