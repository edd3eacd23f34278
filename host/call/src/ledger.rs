//! The books of one call while it runs: what must be kept is written as it
//! happens, in order and off the call's own path, and once more, complete, at
//! its end. One thing waits for them: a call is not answered before it is in
//! the books ([`Begun`]), so that whoever was answered is told of by whoever
//! finds those books, should this process die in the next moment.

use callbox_dialogue::Time;
use callbox_dialogue::leg::LegEvent;
use callbox_dialogue::record::Turn;
use callbox_store::calls::CallStart;
use callbox_store::completion::CallCompletion;
use callbox_store::outbox::NewPush;
use callbox_store::{Store, StoreError, UnixMs};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Entries waiting to be written: the engine's limit of pushes, and the rest of a call.
const ENTRIES: usize = 128;

/// How often a database that failed is asked whether it works again.
const PROBE: Duration = Duration::from_millis(500);

/// Whether results can be stored. While they cannot, new calls are refused.
#[derive(Clone)]
pub(crate) struct StoreHealth {
    store: Store,
    state: Arc<HealthState>,
}

#[derive(Default)]
struct HealthState {
    /// A write failed, and none has succeeded since.
    failing: AtomicBool,
    /// Records of calls that are over and could not be stored yet.
    waiting: AtomicUsize,
}

/// A record that waits to be stored.
struct Waiting(Arc<HealthState>);

impl StoreHealth {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, state: Arc::default() }
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.state.failing.load(Ordering::Relaxed) || self.waiting() > 0
    }

    /// Records of calls that are over and could not be stored yet.
    pub(crate) fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::Relaxed)
    }

    /// A write was tried. After one that failed the database is asked until it works: no call may come whose own
    /// writes could tell.
    fn wrote<T>(&self, result: &Result<T, StoreError>) {
        if !result.as_ref().is_err_and(StoreError::is_transient) || self.state.failing.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!("results cannot be stored: new calls are refused until they can");
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PROBE).await;
                match this.store.check().await {
                    Err(error) if error.is_transient() => {}
                    _ => break,
                }
            }
            this.state.failing.store(false, Ordering::Relaxed);
            tracing::info!("results can be stored again");
        });
    }

    fn wait(&self) -> Waiting {
        self.state.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.state.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Entry {
    Started,
    Answered(UnixMs),
    Push(NewPush),
    Transferred(Value),
    Turn(Box<Turn>),
}

/// The books of one call.
pub(crate) struct Ledger {
    store: Store,
    health: StoreHealth,
    start: CallStart,
    pushes: Vec<NewPush>,
    entries: Option<mpsc::Sender<Entry>>,
    begun: Begun,
    /// Turns of the transcript that were entered: all before this one.
    turns: usize,
    writer: JoinHandle<()>,
}

/// How far the books of a call are.
#[derive(Clone, Copy, Default)]
struct Opened {
    /// The call is in them.
    written: bool,
    /// Somebody wants its turns.
    turns: bool,
}

/// Whether a call is in the books.
#[derive(Clone)]
pub(crate) struct Begun(watch::Receiver<Opened>);

impl Begun {
    pub(crate) fn is_written(&self) -> bool {
        self.0.borrow().written
    }

    /// Waits until it is, as long as the database is away. Cancel-safe.
    pub(crate) async fn written(&mut self) {
        // A writer that failed writes nothing any more: its call's end does.
        let _ = self.0.wait_for(|opened| opened.written).await;
    }
}

impl Ledger {
    pub(crate) fn new(store: Store, health: StoreHealth, start: CallStart) -> Self {
        let (entries, receiver) = mpsc::channel(ENTRIES);
        let (opened, begun) = watch::channel(Opened::default());
        let writer = tokio::spawn(write(store.clone(), health.clone(), start.clone(), receiver, opened));
        let begun = Begun(begun);
        let ledger = Self { store, health, start, pushes: Vec::new(), entries: Some(entries), begun, turns: 0, writer };
        ledger.enter(Entry::Started);
        ledger
    }

    /// Whether the call is in the books.
    pub(crate) fn begun(&self) -> Begun {
        self.begun.clone()
    }

    /// How the call began.
    pub(crate) const fn start(&self) -> &CallStart {
        &self.start
    }

    /// What closes the books should the call's actor fail.
    pub(crate) fn rescue(&self) -> Rescue {
        Rescue { store: self.store.clone(), start: self.start.clone() }
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

    /// Turns may be over by now: enters them in their order, where somebody wants them. They leave half of the queue to
    /// what is only in it; what finds no place now does so later.
    pub(crate) fn hear(&mut self, transcript: &[Turn]) {
        if !self.begun.0.borrow().turns {
            return;
        }
        let Some(entries) = &self.entries else { return };
        while let Some(turn) = transcript.get(self.turns).filter(|turn| turn.is_over())
            && entries.capacity() > ENTRIES / 2
            && entries.try_send(Entry::Turn(Box::new(turn.clone()))).is_ok()
        {
            self.turns += 1;
        }
    }

    /// The call is over: enters the turns that are left, whether they came to their end or not.
    async fn hear_all(&mut self, transcript: &[Turn]) {
        self.begun.written().await;
        let (true, Some(entries)) = (self.begun.0.borrow().turns, &self.entries) else { return };
        for turn in transcript.iter().skip(self.turns) {
            // Nobody takes them where the writer failed.
            let _ = entries.send(Entry::Turn(Box::new(turn.clone()))).await;
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
    pub(crate) async fn complete(mut self, transcript: &[Turn], fill: impl FnOnce(&CallStart) -> CallCompletion) {
        self.hear_all(transcript).await;
        self.entries = None;
        if let Err(error) = self.writer.await {
            tracing::error!(call = self.start.id, %error, "the books' writer failed");
        }
        let mut completion = fill(&self.start);
        completion.pushes = self.pushes;
        let result = self.store.complete_call(completion.clone()).await;
        self.health.wrote(&result);
        let result = match result {
            Err(error) if error.is_transient() => {
                let _waiting = self.health.wait();
                self.store.complete_call_at_last(completion).await
            }
            other => other,
        };
        match result {
            Ok(done) => tracing::info!(call = self.start.id, event = done.event_id, "the call's record is kept"),
            Err(error) => tracing::error!(call = self.start.id, %error, "the call's record cannot be kept"),
        }
    }
}

/// Closes the books of a call whose actor failed.
pub(crate) struct Rescue {
    store: Store,
    start: CallStart,
}

impl Rescue {
    pub(crate) async fn close(self, why: &str, tape: Option<Vec<u8>>) {
        tracing::error!(call = self.start.id, why, "a call broke off: a bug of the host");
        let ended = "the host failed in the middle of the call";
        if let Err(error) = self.store.close_orphan(&self.start, ended, tape).await {
            tracing::error!(call = self.start.id, %error, "the call's record cannot be kept");
        }
    }
}

/// Writes what happens, in order, each until the database takes it.
async fn write(
    store: Store,
    health: StoreHealth,
    start: CallStart,
    mut entries: mpsc::Receiver<Entry>,
    opened: watch::Sender<Opened>,
) {
    while let Some(entry) = entries.recv().await {
        loop {
            let result = entry.write(&store, &start, &opened).await;
            health.wrote(&result);
            match result {
                Err(error) if error.is_transient() => {
                    tracing::warn!(call = start.id, entry = entry.name(), %error, "waits to be written");
                    tokio::time::sleep(PROBE).await;
                }
                Err(error) => {
                    tracing::error!(call = start.id, entry = entry.name(), %error, "cannot be written");
                    break;
                }
                Ok(()) => break,
            }
        }
        // The first entry is the call itself.
        opened.send_if_modified(|opened| !std::mem::replace(&mut opened.written, true));
    }
}

impl Entry {
    async fn write(&self, store: &Store, start: &CallStart, opened: &watch::Sender<Opened>) -> Result<(), StoreError> {
        let tell =
            async |kind, data: &Value| store.emit_call_event(&start.tenant_id, &start.id, kind, data).await.map(drop);
        match self {
            Self::Started => {
                let turns = store.start_call(start.clone()).await?;
                opened.send_modify(|opened| opened.turns = turns);
                Ok(())
            }
            Self::Answered(at) => store.mark_answered(start, *at).await,
            Self::Push(push) => store.enqueue_push(push.clone()).await.map(drop),
            Self::Transferred(data) => tell("call.transferred", data).await,
            Self::Turn(turn) => tell("call.turn", &json!(turn)).await,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Started => "start",
            Self::Answered(_) => "answer",
            Self::Push(_) => "push",
            Self::Transferred(_) => "transfer",
            Self::Turn(_) => "turn",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::call::{Direction, Party, Transport};
    use callbox_dialogue::record::Role;
    use callbox_store::calls::CallFilter;
    use callbox_store::document::CallDocument;
    use callbox_store::webhooks::NewWebhook;
    use callbox_store::{Actor, PageRequest};

    fn begin(store: &Store) -> CallStart {
        CallStart {
            id: callbox_store::id::new("call"),
            tenant_id: store.default_tenant().clone(),
            host: "host".into(),
            direction: Direction::Inbound,
            transport: Transport::Sip,
            caller: Party::default(),
            callee: Party::default(),
            number_id: None,
            trunk_id: None,
            trunk_address: None,
            script: None,
            relation_id: None,
            external_id: None,
            sip_call_id: None,
            // Far more than fits where the disk is full.
            parameters: Some(json!("x".repeat(1 << 20))),
            created_at: store.now(),
        }
    }

    fn turn(seq: u32, role: Role, text: &str, heard: Option<&str>) -> Turn {
        Turn {
            seq,
            role,
            text: text.into(),
            heard_text: heard.map(Into::into),
            digits: None,
            start_ms: 0,
            end_ms: 0,
            node: None,
            interrupted_by: None,
            confidence: None,
            latency: None,
        }
    }

    /// What a call that is over leaves.
    fn end(start: &CallStart) -> CallCompletion {
        CallCompletion {
            start: start.clone(),
            document: CallDocument::begin(start),
            timeline: Vec::new(),
            tape: None,
            signalling: None,
            recordings: Vec::new(),
            lost_recording: None,
            pushes: Vec::new(),
        }
    }

    /// The kinds and the data of a call's events, in order.
    async fn events(store: &Store, start: &CallStart) -> Vec<(String, Value)> {
        let events = store.call_events(&start.tenant_id, &start.id).await.unwrap();
        let data = |body: &str| serde_json::from_str::<Value>(body).unwrap()["data"].clone();
        events.into_iter().map(|event| (event.kind, data(event.body.get()))).collect()
    }

    #[tokio::test]
    async fn each_turn_is_told_once_and_in_order_to_who_asked_for_turns() {
        for wanted in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", folder.path().join("callbox.db").display());
            let store = Store::open(&url, &folder.path().join("artefacts")).await.unwrap();
            let event_types = wanted.then(|| "call.turn".to_owned()).into_iter().collect();
            let webhook = NewWebhook { url: "https://a.example".into(), description: None, event_types, enabled: true };
            store.create_webhook(store.default_tenant(), webhook, &Actor::system()).await.unwrap();
            let start = CallStart { parameters: None, ..begin(&store) };
            let mut ledger = Ledger::new(store.clone(), StoreHealth::new(store.clone()), start.clone());
            ledger.begun().written().await;
            // Keys that come while a prompt sounds are told when it is over.
            let mut transcript = vec![turn(1, Role::Robot, "Welcome", None), turn(2, Role::Caller, "", None)];
            ledger.hear(&transcript);
            assert_eq!(ledger.turns, 0);
            transcript[0] = turn(1, Role::Robot, "Welcome", Some("Wel"));
            for _ in 0..3 {
                ledger.hear(&transcript);
            }
            assert_eq!(ledger.turns, if wanted { 2 } else { 0 });
            let turns = u32::try_from(ENTRIES).unwrap();
            transcript.extend((3..=turns).map(|seq| turn(seq, Role::Caller, "yes", None)));
            ledger.hear(&transcript);
            assert!(ledger.turns <= ENTRIES / 2 + 2, "they leave room for what matters more");
            // One that never came to its end is told of, too.
            transcript.push(turn(turns + 1, Role::Robot, "Bye", None));
            ledger.complete(&transcript, end).await;
            let mut told = events(&store, &start).await;
            assert_eq!(told.pop().unwrap().0, "call.completed");
            if wanted {
                let expected = transcript.iter().map(|turn| ("call.turn".to_owned(), json!(turn)));
                assert_eq!(told, expected.collect::<Vec<_>>());
            } else {
                assert!(told.iter().all(|(kind, _)| kind == "call.started"), "{told:?}");
            }
        }
    }

    /// A disk that is full for a while keeps new calls out, and nothing of the one that runs is lost.
    #[tokio::test]
    async fn what_cannot_be_written_now_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("callbox.db").display());
        let store = Store::open(&url, &folder.path().join("artefacts")).await.unwrap();
        let health = StoreHealth::new(store.clone());
        let start = begin(&store);
        store.limit_pages(1).await.unwrap();
        let ledger = Ledger::new(store.clone(), health.clone(), start.clone());
        let mut begun = ledger.begun();
        while !health.is_failing() {
            tokio::task::yield_now().await;
        }
        assert!(!begun.is_written());
        store.limit_pages(1_000_000).await.unwrap();
        begun.written().await;
        let listed = async || {
            store.calls(&start.tenant_id, &CallFilter::default(), &PageRequest::default()).await.unwrap().data.len()
        };
        while listed().await == 0 || health.is_failing() {
            tokio::task::yield_now().await;
        }
        ledger.complete(&[], end).await;
        let (last, _) = events(&store, &start).await.pop().unwrap();
        assert_eq!(last, "call.completed");
    }
}
