//! The calls that are running now: who they belong to and how to reach them.

use crate::signalling::SignallingRecord;
use crate::webrtc::WebCommand;
use callbox_dialogue::call::EndReason;
use callbox_dialogue::time::Millis;
use callbox_dialogue::{CallId, CallRecord, Time};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// What others may ask of a running call.
#[derive(Debug)]
pub(crate) enum CallCommand {
    /// End it.
    Hangup {
        /// For the record.
        reason: EndReason,
        /// For the script.
        why: String,
    },
    /// JSON for the script.
    Message(String),
    /// The host is going down.
    Drain {
        /// Time left.
        within: Millis,
    },
    /// What is known so far.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Capture its packets from now on.
    Capture,
    /// Its signalling so far.
    Ladder(oneshot::Sender<Option<SignallingRecord>>),
    /// From the far end of a call by WebRTC.
    Web(WebCommand),
}

/// A running call, as far as it has come.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Time,
    /// What is known so far.
    pub record: CallRecord,
}

/// Why a running call could not be reached.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LiveError {
    /// It is over, never was, or belongs to somebody else.
    #[error("the call is not running")]
    NotRunning,
    /// It has more commands waiting than it may.
    #[error("the call has too many commands waiting; try again in a moment")]
    Busy,
}

/// Commands waiting for one call.
const COMMANDS: usize = 32;

/// The registry.
#[derive(Clone, Debug)]
pub(crate) struct LiveCalls {
    calls: Arc<Mutex<HashMap<CallId, LiveCall>>>,
    count: watch::Sender<usize>,
}

#[derive(Debug)]
struct LiveCall {
    tenant: String,
    number: Option<String>,
    commands: mpsc::Sender<CallCommand>,
    /// What is kept of the token that the call began with.
    holder: Option<[u8; 32]>,
}

/// A place in the registry; dropping it takes the call out.
#[derive(Debug)]
pub(crate) struct Seat {
    id: CallId,
    live: LiveCalls,
}

impl LiveCalls {
    pub(crate) fn new() -> Self {
        Self { calls: Arc::default(), count: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, LiveCall>> {
        // A panic while it was held cannot leave a half-made entry: the map is valid.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a call in, unless its number has as many as it may.
    pub(crate) fn enter(
        &self,
        id: &CallId,
        tenant: &str,
        number: Option<&str>,
        limit: Option<u32>,
    ) -> Option<(Seat, mpsc::Receiver<CallCommand>)> {
        let mut calls = self.lock();
        if let (Some(number), Some(limit)) = (number, limit) {
            let running = calls.values().filter(|call| call.number.as_deref() == Some(number)).count();
            if running >= limit as usize {
                return None;
            }
        }
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let call =
            LiveCall { tenant: tenant.to_owned(), number: number.map(ToOwned::to_owned), commands, holder: None };
        calls.insert(id.clone(), call);
        self.count.send_replace(calls.len());
        Some((Seat { id: id.clone(), live: self.clone() }, receiver))
    }

    pub(crate) fn len(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until no call is running.
    pub(crate) async fn empty(&self) {
        let mut count = self.count.subscribe();
        // The sender lives as long as self.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    /// Whether it is a tenant's call whose books are not closed: it runs, or ends just now.
    pub(crate) fn has(&self, tenant: &str, id: &CallId) -> bool {
        self.lock().get(id).is_some_and(|call| call.tenant == tenant)
    }

    /// Sends a command to a tenant's call.
    pub(crate) fn send(&self, tenant: &str, id: &CallId, command: CallCommand) -> Result<(), LiveError> {
        self.send_to(id, |call| call.tenant == tenant, command)
    }

    /// From now on a call is reached by whoever holds this, too.
    pub(crate) fn held_by(&self, id: &CallId, holder: [u8; 32]) {
        if let Some(call) = self.lock().get_mut(id) {
            call.holder = Some(holder);
        }
    }

    /// Sends a command to a call by whoever holds the token that it began with.
    pub(crate) fn send_held(&self, id: &CallId, holder: &[u8; 32], command: CallCommand) -> Result<(), LiveError> {
        self.send_to(id, |call| call.holder.as_ref() == Some(holder), command)
    }

    fn send_to(&self, id: &CallId, is: impl Fn(&LiveCall) -> bool, command: CallCommand) -> Result<(), LiveError> {
        let calls = self.lock();
        let call = calls.get(id).filter(|call| is(call)).ok_or(LiveError::NotRunning)?;
        call.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LiveError::Busy,
            mpsc::error::TrySendError::Closed(_) => LiveError::NotRunning,
        })
    }

    /// Sends a command to every call. It reaches those, too, that have as many commands waiting as they may.
    pub(crate) fn broadcast(&self, command: impl Fn() -> CallCommand) {
        for call in self.lock().values() {
            if let Err(mpsc::error::TrySendError::Full(command)) = call.commands.try_send(command()) {
                let commands = call.commands.clone();
                // A call that ends first needs no command.
                tokio::spawn(async move { _ = commands.send(command).await });
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut calls = self.live.lock();
        calls.remove(&self.id);
        self.live.count.send_replace(calls.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> CallId {
        CallId(name.into())
    }

    #[test]
    fn a_number_has_its_limit_and_a_seat_is_given_back() {
        let live = LiveCalls::new();
        let (one, _commands) = live.enter(&id("a"), "t", Some("n"), Some(1)).unwrap();
        assert!(live.enter(&id("b"), "t", Some("n"), Some(1)).is_none());
        let (_other, _commands) = live.enter(&id("c"), "t", Some("m"), Some(1)).unwrap();
        assert_eq!(live.len(), 2);
        drop(one);
        assert_eq!(live.len(), 1);
        assert!(live.enter(&id("b"), "t", Some("n"), Some(1)).is_some());
    }

    #[test]
    fn a_call_is_reached_by_its_own_tenant_only() {
        let live = LiveCalls::new();
        let (_seat, mut commands) = live.enter(&id("a"), "t", None, None).unwrap();
        let message = || CallCommand::Message("{}".into());
        assert_eq!(live.send("other", &id("a"), message()), Err(LiveError::NotRunning));
        assert_eq!(live.send("t", &id("b"), message()), Err(LiveError::NotRunning));
        for _ in 0..COMMANDS {
            assert_eq!(live.send("t", &id("a"), message()), Ok(()));
        }
        assert_eq!(live.send("t", &id("a"), message()), Err(LiveError::Busy));
        commands.close();
        assert_eq!(live.send("t", &id("a"), message()), Err(LiveError::NotRunning));
    }

    #[test]
    fn a_call_is_reached_by_the_holder_of_its_token_alone() {
        let live = LiveCalls::new();
        let (_seat, _commands) = live.enter(&id("a"), "t", None, None).unwrap();
        let message = || CallCommand::Web(WebCommand::HangUp);
        assert_eq!(live.send_held(&id("a"), &[0; 32], message()), Err(LiveError::NotRunning), "nobody holds it");
        live.held_by(&id("a"), [1; 32]);
        assert_eq!(live.send_held(&id("a"), &[0; 32], message()), Err(LiveError::NotRunning));
        assert_eq!(live.send_held(&id("a"), &[1; 32], message()), Ok(()));
    }

    #[tokio::test]
    async fn what_all_are_told_reaches_one_with_a_full_queue() {
        let live = LiveCalls::new();
        let (seat, mut commands) = live.enter(&id("a"), "t", None, None).unwrap();
        for _ in 0..COMMANDS {
            live.send("t", &id("a"), CallCommand::Message("{}".into())).unwrap();
        }
        live.broadcast(|| CallCommand::Drain { within: 1 });
        for _ in 0..COMMANDS {
            assert!(matches!(commands.recv().await, Some(CallCommand::Message(_))));
        }
        assert!(matches!(commands.recv().await, Some(CallCommand::Drain { within: 1 })));
        drop(seat);
        live.empty().await;
    }
}
