//! The calls that are running now: who they belong to and how to reach them.

use crate::quotas::Quota;
use crate::signalling::SignallingRecord;
use crate::webrtc::WebCommand;
use callbox_dialogue::call::EndReason;
use callbox_dialogue::time::Millis;
use callbox_dialogue::{CallId, CallRecord, Time};
use callbox_store::quotas::Quotas;
use callbox_trunk::gate::{Closed, Direction, Gate};
use callbox_trunk::settings::Limits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

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

/// Why a call finds no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Its number has as many calls as it may.
    Number,
    /// Its tenant has.
    Tenant,
    /// Its tenant begins more calls than it may.
    Rate {
        /// Then it may.
        retry_in_ms: u64,
    },
    /// The database does not say how many run on other hosts.
    Unknown,
}

impl Full {
    /// The tenant's limit that was met, if it was one.
    pub(crate) const fn quota(self) -> Option<Quota> {
        match self {
            Self::Number | Self::Unknown => None,
            Self::Tenant => Some(Quota::ConcurrentCalls),
            Self::Rate { .. } => Some(Quota::CallsPerSecond),
        }
    }
}

/// Commands waiting for one call.
const COMMANDS: usize = 32;

/// The registry.
#[derive(Clone, Debug)]
pub(crate) struct LiveCalls {
    calls: Arc<Mutex<HashMap<CallId, LiveCall>>>,
    /// One for each tenant that has had a call since the start: as many as there are.
    gates: Arc<Mutex<HashMap<String, Gate>>>,
    began: Instant,
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
        Self { calls: Arc::default(), gates: Arc::default(), began: Instant::now(), count: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, LiveCall>> {
        // A panic while it was held cannot leave a half-made entry: the map is valid.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<String, Gate>> {
        // A gate is valid after every statement, too.
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a call in.
    ///
    /// # Errors
    /// Its number or its tenant has as many as it may; nothing is counted then.
    pub(crate) fn enter(
        &self,
        id: &CallId,
        tenant: &str,
        number: Option<&str>,
        limit: Option<u32>,
        quotas: &Quotas,
    ) -> Result<(Seat, mpsc::Receiver<CallCommand>), Full> {
        let mut calls = self.lock();
        if let (Some(number), Some(limit)) = (number, limit) {
            let running = calls.values().filter(|call| call.number.as_deref() == Some(number)).count();
            if running >= limit as usize {
                return Err(Full::Number);
            }
        }
        let limits = Limits {
            channels: quotas.concurrent_calls,
            calls_per_second: quotas.calls_per_second,
            ..Limits::default()
        };
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.pass(tenant, limits, now)?;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let call =
            LiveCall { tenant: tenant.to_owned(), number: number.map(ToOwned::to_owned), commands, holder: None };
        calls.insert(id.clone(), call);
        self.count.send_replace(calls.len());
        Ok((Seat { id: id.clone(), live: self.clone() }, receiver))
    }

    /// Whether a tenant may have one more call, which is counted then.
    fn pass(&self, tenant: &str, limits: Limits, now_ms: u64) -> Result<(), Full> {
        let mut gates = self.gates();
        let gate = gates.entry(tenant.to_owned()).or_default();
        gate.change(limits);
        // In or out, a tenant's calls have one limit together.
        gate.enter(Direction::Inbound, now_ms).map_err(|closed| match closed {
            Closed::Channels => Full::Tenant,
            Closed::Rate { retry_in_ms } => Full::Rate { retry_in_ms },
        })
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

    /// Whether the books of a call, whoever's it is, are not closed.
    pub(crate) fn is_open(&self, id: &CallId) -> bool {
        self.lock().contains_key(id)
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

    /// Whether it is a call of whoever holds the token that it began with, and its books are not closed.
    pub(crate) fn is_held(&self, id: &CallId, holder: &[u8; 32]) -> bool {
        self.lock().get(id).is_some_and(|call| call.holder.as_ref() == Some(holder))
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
        if let Some(call) = calls.remove(&self.id)
            && let Some(gate) = self.live.gates().get_mut(&call.tenant)
        {
            gate.leave(Direction::Inbound);
        }
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
        let (one, _commands) = live.enter(&id("a"), "t", Some("n"), Some(1), &Quotas::default()).unwrap();
        assert!(live.enter(&id("b"), "t", Some("n"), Some(1), &Quotas::default()).is_err());
        let (_other, _commands) = live.enter(&id("c"), "t", Some("m"), Some(1), &Quotas::default()).unwrap();
        assert_eq!(live.len(), 2);
        drop(one);
        assert_eq!(live.len(), 1);
        assert!(live.enter(&id("b"), "t", Some("n"), Some(1), &Quotas::default()).is_ok());
    }

    #[test]
    fn a_tenant_has_its_limit_whatever_its_numbers_have() {
        let live = LiveCalls::new();
        let quotas = Quotas { concurrent_calls: Some(2), ..Quotas::default() };
        let enter = |name: &str, tenant: &str| live.enter(&id(name), tenant, Some(name), Some(1), &quotas);
        let (one, _two) = (enter("a", "t").unwrap(), enter("b", "t").unwrap());
        assert_eq!(enter("c", "t").unwrap_err(), Full::Tenant);
        let _other = enter("d", "u").unwrap();
        drop(one);
        let _three = enter("c", "t").unwrap();
        assert_eq!(enter("e", "t").unwrap_err(), Full::Tenant);
        // Who has no limit any more is not held to the one before.
        assert!(live.enter(&id("e"), "t", None, None, &Quotas::default()).is_ok());
        let slow = Limits { calls_per_second: Some(2), ..Limits::default() };
        assert_eq!((live.pass("v", slow, 0), live.pass("v", slow, 0)), (Ok(()), Ok(())));
        assert_eq!(live.pass("v", slow, 0), Err(Full::Rate { retry_in_ms: 500 }));
        assert_eq!((live.pass("w", slow, 0), live.pass("v", slow, 500)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_call_is_reached_by_its_own_tenant_only() {
        let live = LiveCalls::new();
        let (_seat, mut commands) = live.enter(&id("a"), "t", None, None, &Quotas::default()).unwrap();
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
        let (_seat, _commands) = live.enter(&id("a"), "t", None, None, &Quotas::default()).unwrap();
        let message = || CallCommand::Web(WebCommand::HangUp);
        assert_eq!(live.send_held(&id("a"), &[0; 32], message()), Err(LiveError::NotRunning), "nobody holds it");
        live.held_by(&id("a"), [1; 32]);
        assert!(
            live.is_held(&id("a"), &[1; 32]) && !live.is_held(&id("a"), &[0; 32]) && !live.is_held(&id("b"), &[1; 32])
        );
        assert_eq!(live.send_held(&id("a"), &[0; 32], message()), Err(LiveError::NotRunning));
        assert_eq!(live.send_held(&id("a"), &[1; 32], message()), Ok(()));
    }

    #[tokio::test]
    async fn what_all_are_told_reaches_one_with_a_full_queue() {
        let live = LiveCalls::new();
        let (seat, mut commands) = live.enter(&id("a"), "t", None, None, &Quotas::default()).unwrap();
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
