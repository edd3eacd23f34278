//! The books of one call while it runs: what must be kept is written as it
//! happens, in order and off the call's own path, and once more, complete, at
//! its end. What could not be written on the way is in the end's transaction.

use callbox_dialogue::leg::LegEvent;
use callbox_dialogue::Time;
use callbox_store::calls::CallStart;
use callbox_store::completion::CallCompletion;
use callbox_store::outbox::NewPush;
use callbox_store::{Store, StoreError, UnixMs};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Entries waiting to be written: the engine's limit of pushes, and the rest of a call.
const ENTRIES: usize = 128;

/// Whether results can be stored. While they cannot, new calls are refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreHealth {
    failing: Arc<AtomicBool>,
}

impl StoreHealth {
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(crate) fn saw<T>(&self, result: &Result<T, StoreError>) {
        let failing = result.as_ref().is_err_and(StoreError::is_transient);
        if self.failing.swap(failing, Ordering::Relaxed) != failing {
            if failing {
                tracing::error!("results cannot be stored: new calls are refused until they can");
            } else {
                tracing::info!("results can be stored again");
            }
        }
    }
}

enum Entry {
    Started,
    Answered(UnixMs),
    Push(NewPush),
    Transferred(serde_json::Value),
}

/// The books of one call.
pub(crate) struct Ledger {
    store: Store,
    health: StoreHealth,
    start: CallStart,
    pushes: Vec<NewPush>,
    entries: Option<mpsc::Sender<Entry>>,
    writer: JoinHandle<()>,
}

impl Ledger {
    pub(crate) fn new(store: Store, health: StoreHealth, start: CallStart) -> Self {
        let (entries, receiver) = mpsc::channel(ENTRIES);
        let writer = tokio::spawn(write(store.clone(), health.clone(), start.clone(), receiver));
        let ledger = Self { store, health, start, pushes: Vec::new(), entries: Some(entries), writer };
        ledger.enter(Entry::Started);
        ledger
    }


    fn enter(&self, entry: Entry) {
        // A full queue means that the database is slow: what matters is in the last transaction.
        if self.entries.as_ref().is_some_and(|entries| entries.try_send(entry).is_err()) {
            tracing::warn!(call = self.start.id, "the books are behind");
        }
    }

    /// Something happened on the leg.
    pub(crate) fn saw(&self, event: &LegEvent, now: Time) {
        match event {
            LegEvent::Answered => {
                let at = self.start.created_at.plus(i64::try_from(now.0).unwrap_or(i64::MAX));
                self.enter(Entry::Answered(at));
            }
            LegEvent::TransferEnded { result, .. } => self.enter(Entry::Transferred(json!(result))),
            _ => {}
        }
    }

    /// The script pushed something.
    pub(crate) fn push(&mut self, seq: u32, destination: String, body: String) {
        let script_id = self.start.script.as_ref().map(|script| script.id.clone()).unwrap_or_default();
        let push = NewPush {
            tenant_id: self.start.tenant_id.clone(),
            call_id: self.start.id.clone(),
            script_id,
            push_seq: seq,
            event_id: None,
            destination,
            body,
        };
        self.pushes.push(push.clone());
        self.enter(Entry::Push(push));
    }

    /// Closes the books: one transaction, again and again until the database takes it.
    pub(crate) async fn complete(mut self, fill: impl FnOnce(&CallStart) -> CallCompletion) {
        self.entries = None;
        if let Err(error) = self.writer.await {
            tracing::error!(call = self.start.id, %error, "the books' writer failed");
        }
        let mut completion = fill(&self.start);
        completion.pushes = self.pushes;
        let result = self.store.complete_call(completion.clone()).await;
        self.health.saw(&result);
        let result = match result {
            Err(error) if error.is_transient() => {
                let result = self.store.complete_call_at_last(completion).await;
                self.health.saw(&result);
                result
            }
            other => other,
        };
        match result {
            Ok(done) => tracing::info!(call = self.start.id, event = done.event_id, "the call's record is kept"),
            Err(error) => tracing::error!(call = self.start.id, %error, "the call's record cannot be kept"),
        }
    }
}

/// Writes what happens, in order.
async fn write(store: Store, health: StoreHealth, start: CallStart, mut entries: mpsc::Receiver<Entry>) {
    while let Some(entry) = entries.recv().await {
        let (what, result) = match entry {
            Entry::Started => ("start", store.start_call(start.clone()).await),
            Entry::Answered(at) => ("answer", store.mark_answered(&start, at).await),
            Entry::Push(push) => ("push", store.enqueue_push(push).await.map(drop)),
            Entry::Transferred(data) => {
                let event = store.emit_call_event(&start.tenant_id, &start.id, "call.transferred", &data);
                ("transfer", event.await.map(drop))
            }
        };
        health.saw(&result);
        if let Err(error) = result {
            tracing::error!(call = start.id, %error, what, "could not be written now; it is in the call's last transaction");
        }
    }
}
