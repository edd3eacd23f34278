//! One run of a script: a store, an instance, its budgets, its end.

use crate::bindings::DialoguePre;
use crate::budget::{Meter, Turnstile};
use crate::config::ScriptLimits;
use crate::imports::State;
use crate::report;
use crate::session::AnySession;
use crate::tape::Tape;
use callbox_dialogue::ScriptEnd;
use serde::{Deserialize, Serialize};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use wasmtime::{Store, UpdateDeadline};

/// What is left of a run.
#[derive(Clone, Debug)]
pub struct ScriptRun {
    /// How it ended.
    pub end: ScriptEnd,
    /// What else is to be known about the end.
    pub reason: RunReason,
    /// What it used.
    pub usage: Usage,
    /// Its calls and the answers; empty where none was wanted.
    pub tape: Tape,
}

impl ScriptRun {
    /// Where the script was when its [`Session`](crate::Session) was over: its functions, the innermost first, and the
    /// call.
    #[must_use]
    pub fn left_in(&self) -> Option<&str> {
        match &self.end {
            ScriptEnd::Budget { message } if self.reason == RunReason::Stopped => message.strip_prefix(report::LEFT),
            _ => None,
        }
    }
}

/// What is to be known about an end besides [`ScriptEnd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunReason {
    /// The script came to its end by itself, well or badly.
    Own,
    /// The caller of [`crate::ScriptHost::run_until`] stopped it, or its session was over.
    Stopped,
    /// No instance was free: refuse the call with 503 and `Retry-After`.
    NoFreeInstance,
}

/// What a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of the guest itself, in microseconds.
    pub cpu_us: u64,
    /// Most bytes of linear memory at once.
    pub peak_memory: u64,
    /// Calls of the host.
    pub host_calls: u64,
    /// Lines of log beyond the limits.
    pub log_dropped: u64,
}

/// Runs a script to its end, or until `stop` is ready.
pub(crate) async fn run(
    pre: &DialoguePre<State>,
    digest: &str,
    limits: &ScriptLimits,
    turnstile: Turnstile,
    session: Box<dyn AnySession>,
    tape: bool,
    stop: impl Future<Output = ()> + Send,
) -> ScriptRun {
    let meter = Arc::new(Meter::new(limits));
    let mut store = store(pre, State::new(session, limits, meter.clone(), turnstile, tape), limits);
    let outcome = {
        let guest = pin!(async {
            let script = pre.instantiate_async(&mut store).await?;
            script.callbox_dialogue_script().call_run(&mut store).await
        });
        metered(guest, &meter, stop).await
    };
    let state = store.into_data();
    let (end, reason) = match &outcome {
        Some(Ok(result)) => (report::returned(result.clone()), RunReason::Own),
        Some(Err(error)) if report::is_busy(error) => (report::broken_off(error, &state), RunReason::NoFreeInstance),
        Some(Err(error)) => {
            let reason = if report::is_left(error) { RunReason::Stopped } else { RunReason::Own };
            (report::broken_off(error, &state), reason)
        }
        None => (report::stopped(&state), RunReason::Stopped),
    };
    let usage = Usage {
        cpu_us: meter.used_us(),
        peak_memory: state.memory.peak(),
        host_calls: state.calls,
        log_dropped: state.log.dropped(),
    };
    let tape = state.tape.finish(digest, &end, reason);
    ScriptRun { end, reason, usage, tape }
}

/// Makes an instance and drops it: what a call costs before its first host call.
/// CPU time in nanoseconds.
pub(crate) async fn instantiate(
    pre: &DialoguePre<State>,
    limits: &ScriptLimits,
    turnstile: Turnstile,
    session: Box<dyn AnySession>,
) -> Result<u64, wasmtime::Error> {
    let before = thread_cpu_ns();
    let meter = Arc::new(Meter::new(limits));
    let mut store = store(pre, State::new(session, limits, meter.clone(), turnstile, false), limits);
    {
        let guest = pin!(pre.instantiate_async(&mut store));
        metered(guest, &meter, std::future::pending()).await.transpose()?;
    }
    drop(store);
    Ok(thread_cpu_ns().saturating_sub(before))
}

fn store(pre: &DialoguePre<State>, state: State, limits: &ScriptLimits) -> Store<State> {
    let mut store = Store::new(pre.engine(), state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.transfer_bytes as usize);
    // Ours is counted first and can be told to the script; this is for what a
    // component makes of its own accord.
    store.set_max_component_handles(limits.handles as usize * 4 + 64);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        let state = store.data();
        state.meter.check(thread_cpu_ns())?;
        state.turnstile.leave();
        Ok(if state.meter.is_over_share(state.at) {
            UpdateDeadline::YieldCustom(1, Box::pin(state.turnstile.clone().pass()))
        } else {
            UpdateDeadline::Yield(1)
        })
    });
    store
}

/// Polls the guest with its CPU time counted. None when `stop` came first.
async fn metered<T>(
    mut guest: std::pin::Pin<&mut impl Future<Output = T>>,
    meter: &Meter,
    stop: impl Future<Output = ()>,
) -> Option<T> {
    let mut stop = pin!(stop);
    poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        meter.resume(thread_cpu_ns());
        let polled = guest.as_mut().poll(cx);
        meter.suspend(thread_cpu_ns());
        polled.map(Some)
    })
    .await
}

/// CPU time of this thread in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
