//! Who watches one call for the operator: for the figures of the host, and for the call's trace.

use crate::figures::Figures;
use crate::platform::Platform;
use callbox_dialogue::{CallRecord, HostCall, Time};
use callbox_store::calls::CallStart;
use callbox_traces::{CallSpans, HostCallSpan, Remote, Traces};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Host calls that are kept for the trace.
const HOST_CALLS: usize = 500;
/// One that took less, in milliseconds, did not wait.
const WAITED: u64 = 10;

/// Watches one call.
pub(crate) struct Observer {
    figures: Arc<Figures>,
    traces: Traces,
    cause: Option<Remote>,
    /// None where the call is not traced: nothing is kept then.
    host_calls: Option<Vec<HostCallSpan>>,
    /// What the script waits for.
    asked: Option<(&'static str, Time)>,
}

impl Platform {
    /// Watches a call. `traceparent` is what its far end, or whoever placed it, says of its own trace.
    pub(crate) fn observer(&self, call: &str, traceparent: Option<&str>) -> Observer {
        let traces = self.inner.rooms.traces.clone();
        let host_calls = traces.of(call).map(|_| Vec::new());
        let cause = traceparent.and_then(Remote::parse);
        Observer { figures: self.inner.figures.clone(), traces, cause, host_calls, asked: None }
    }
}

impl Observer {
    /// The script asks.
    pub(crate) fn asks(&mut self, call: &HostCall, now: Time) {
        self.asked = HostCallSpan::name(call).filter(|_| self.host_calls.is_some()).map(|name| (name, now));
    }

    /// And is answered.
    pub(crate) fn answered(&mut self, now: Time) {
        let asked = self.asked.take().filter(|(_, asked)| now.since(*asked) >= WAITED);
        if let (Some((name, asked)), Some(calls)) = (asked, &mut self.host_calls)
            && calls.len() < HOST_CALLS
        {
            calls.push(HostCallSpan { name, asked, answered: now });
        }
    }

    /// The call is over.
    pub(crate) fn over(self, start: &CallStart, trunk: Option<&str>, record: &CallRecord) {
        self.figures.over(record);
        let Some(host_calls) = self.host_calls else { return };
        self.traces.call(&CallSpans {
            call: &start.id,
            tenant: start.tenant_id.as_str(),
            direction: start.direction,
            transport: start.transport,
            number: start.number_id.as_deref(),
            trunk: trunk.or(start.trunk_id.as_deref()),
            script: start.script.as_ref().map(|script| (script.id.as_str(), script.version)),
            created: SystemTime::UNIX_EPOCH + Duration::from_millis(start.created_at.0.unsigned_abs()),
            record,
            host_calls: &host_calls,
            cause: self.cause,
        });
    }
}
