//! What a script waits for, by handle. A blocking call uses one too, which
//! the script never sees.

use crate::leg::{PromptId, TransferId};
use crate::llm::ModelReply;
use crate::script::{Handle, Heard, HostError, Playout, TransferOutcome, Utterance};
use crate::time::Time;
use std::collections::{BTreeMap, VecDeque};

/// Interim hypotheses kept for a script that is slower than its recogniser.
const PARTIALS: usize = 16;

/// One thing to wait for. Its result stays once it is there.
#[derive(Debug)]
pub(super) enum Item {
    /// A prompt; `writer` where its text comes bit by bit.
    Playback { prompt: PromptId, writer: bool, result: Option<Result<Playout, HostError>> },
    /// A listening.
    Listening {
        /// What it hears is secret.
        sensitive: bool,
        result: Option<Result<Heard, HostError>>,
        partials: VecDeque<Utterance>,
        alternatives: Vec<Utterance>,
        /// What the result means under the grammar, as JSON text.
        meaning: Option<String>,
    },
    /// A transfer.
    Transfer { transfer: TransferId, result: Option<Result<TransferOutcome, HostError>> },
    /// A context request, or a share in one that is on its way already.
    Fetch { request: Handle, result: Option<Result<String, HostError>> },
    /// A timer.
    Timer { at: Time },
    /// A conversation with a model; what there is of it is in `models`.
    Conversation,
    /// A model's reply; `spoken` where it needs the caller.
    ModelReply { spoken: bool, result: Option<Result<ModelReply, HostError>> },
    /// The prompt that speaks it. Its reply is told how it ended, also when the
    /// call is over.
    ModelVoice { result: Option<Result<Playout, HostError>> },
}

#[derive(Debug)]
struct Entry {
    item: Item,
    /// The script holds it; else it belongs to a blocking call.
    held: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Handles {
    entries: BTreeMap<Handle, Entry>,
    held: usize,
    next: u32,
}

impl Handles {
    pub(super) const fn new() -> Self {
        Self { entries: BTreeMap::new(), held: 0, next: Handle::EVENTS.0 + 1 }
    }

    /// A name that was never used in this call.
    pub(super) const fn name(&mut self) -> Handle {
        let handle = Handle(self.next);
        // At a thousand handles a second this takes seven weeks to come round.
        self.next = if self.next == u32::MAX { Handle::EVENTS.0 + 1 } else { self.next + 1 };
        handle
    }

    /// Whether the script may hold one more.
    pub(super) fn room(&self, most: u16) -> Result<(), HostError> {
        if self.held >= usize::from(most) {
            return Err(HostError::LimitExceeded(format!("handles: {most} are alive; drop some")));
        }
        Ok(())
    }

    /// Keeps an item under a new name.
    pub(super) fn add(&mut self, item: Item, held: bool) -> Handle {
        let handle = self.name();
        self.held += usize::from(held);
        self.entries.insert(handle, Entry { item, held });
        handle
    }

    /// Forgets an item.
    pub(super) fn remove(&mut self, handle: Handle) -> Option<Item> {
        let entry = self.entries.remove(&handle)?;
        self.held -= usize::from(entry.held);
        Some(entry.item)
    }

    pub(super) fn get(&self, handle: Handle) -> Option<&Item> {
        self.entries.get(&handle).map(|entry| &entry.item)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.held = 0;
    }

    /// The call is over: whatever still waits for it has its answer now.
    pub(super) fn end(&mut self, error: &HostError) {
        for entry in self.entries.values_mut() {
            match &mut entry.item {
                Item::Playback { result, .. } => {
                    result.get_or_insert_with(|| Err(error.clone()));
                }
                Item::Listening { result, .. } => {
                    result.get_or_insert_with(|| Err(error.clone()));
                }
                Item::Transfer { result, .. } => {
                    result.get_or_insert_with(|| Err(error.clone()));
                }
                Item::ModelReply { spoken: true, result } => {
                    result.get_or_insert_with(|| Err(error.clone()));
                }
                Item::Fetch { .. }
                | Item::Timer { .. }
                | Item::Conversation
                | Item::ModelReply { spoken: false, .. }
                | Item::ModelVoice { .. } => {}
            }
        }
    }

    /// A prompt is over. Nobody may be interested any more. The first result
    /// stays, here and below.
    pub(super) fn played(&mut self, handle: Handle, outcome: Result<Playout, HostError>) {
        if let Some(Entry { item: Item::Playback { result, .. } | Item::ModelVoice { result }, .. }) =
            self.entries.get_mut(&handle)
        {
            result.get_or_insert(outcome);
        }
    }

    /// A model's reply is over.
    pub(super) fn replied(&mut self, handle: Handle, outcome: Result<ModelReply, HostError>) {
        if let Some(Entry { item: Item::ModelReply { result, .. }, .. }) = self.entries.get_mut(&handle) {
            result.get_or_insert(outcome);
        }
    }

    /// A listening is over.
    pub(super) fn heard(
        &mut self,
        handle: Handle,
        outcome: Result<Heard, HostError>,
        hypotheses: Vec<Utterance>,
        meant: Option<String>,
    ) {
        if let Some(Entry { item: Item::Listening { result: result @ None, alternatives, meaning, .. }, .. }) =
            self.entries.get_mut(&handle)
        {
            *result = Some(outcome);
            *alternatives = hypotheses;
            *meaning = meant;
        }
    }

    /// An interim hypothesis came.
    pub(super) fn partial(&mut self, handle: Handle, utterance: Utterance) {
        if let Some(Entry { item: Item::Listening { partials, .. }, .. }) = self.entries.get_mut(&handle) {
            if partials.len() >= PARTIALS {
                partials.pop_front();
            }
            partials.push_back(utterance);
        }
    }

    /// Takes the oldest interim hypothesis.
    pub(super) fn take_partial(&mut self, handle: Handle) -> Option<Utterance> {
        match self.entries.get_mut(&handle) {
            Some(Entry { item: Item::Listening { partials, .. }, .. }) => partials.pop_front(),
            _ => None,
        }
    }

    /// A transfer is over.
    pub(super) fn transferred(&mut self, handle: Handle, outcome: Result<TransferOutcome, HostError>) {
        if let Some(Entry { item: Item::Transfer { result, .. }, .. }) = self.entries.get_mut(&handle) {
            result.get_or_insert(outcome);
        }
    }

    /// A context source answered: everybody who waits for this request knows.
    pub(super) fn fetched(&mut self, answered: Handle, outcome: &Result<String, HostError>) {
        for entry in self.entries.values_mut() {
            match &mut entry.item {
                Item::Fetch { request, result: result @ None } if *request == answered => {
                    *result = Some(outcome.clone())
                }
                _ => {}
            }
        }
    }

    /// The timers among them.
    pub(super) fn timers(&self) -> Vec<Handle> {
        let timers = self.entries.iter().filter(|(_, entry)| matches!(entry.item, Item::Timer { .. }));
        timers.map(|(handle, _)| *handle).collect()
    }

    /// Whether a wait for it would return at once. What is unknown or
    /// forgotten will not happen any more, so nobody waits for it.
    pub(super) fn is_ready(&self, handle: Handle, now: Time, over: bool) -> bool {
        match self.get(handle) {
            None => true,
            Some(Item::Timer { at }) => over || *at <= now,
            Some(Item::Playback { result, .. }) => result.is_some(),
            Some(Item::Listening { result, .. }) => result.is_some(),
            Some(Item::Transfer { result, .. }) => result.is_some(),
            Some(Item::Fetch { result, .. }) => result.is_some(),
            Some(Item::Conversation) => true,
            Some(Item::ModelReply { result, .. }) => result.is_some(),
            Some(Item::ModelVoice { result }) => result.is_some(),
        }
    }
}
