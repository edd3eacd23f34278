//! OPTIONS outside of dialogs: whether somebody is there, and how far away (RFC 3261 §11).

use super::Endpoint;
use super::clients::{Owner, Purpose, Ways};
use super::core::Output;
use super::flow::{Flow, LegId};
use super::reply::{ACCEPT, put};
use crate::wire::{Field, Message, Method, NameAddr, Uri};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Names one OPTIONS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub u64);

/// An OPTIONS to send.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The request URI and `To`.
    pub target: Uri,
    /// Who asks.
    pub from: Uri,
    /// The way.
    pub flow: Flow,
    /// Tried one after the other where the first fails, keeps silent or answers 503 (RFC 3263 §4.3).
    pub others: Vec<Flow>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The final status. Any says that somebody is there; what else it means is for the caller to decide.
    pub status: u16,
    /// From the first sending to the answer, with what was lost in between.
    pub rtt: Duration,
}

impl Endpoint {
    /// Asks; [`Output::Probed`] tells the outcome.
    pub fn options(&mut self, now: Instant, probe: Probe) -> ProbeId {
        let id = ProbeId(self.next_leg().0);
        let core = &mut self.core;
        let mut message = Message::request(Method::Options, probe.target.as_request_target());
        let (tag, call_id) = (core.names.tag(), core.names.call_id());
        let headers = &mut message.headers;
        put(headers, Field::Via, Bytes::new());
        put(headers, Field::MaxForwards, "70");
        put(headers, Field::From, NameAddr::new(None, probe.from.clone()).with_tag(&tag).to_bytes());
        put(headers, Field::To, NameAddr::new(None, probe.target.as_request_target()).to_bytes());
        put(headers, Field::CallId, call_id);
        put(headers, Field::CSeq, "1 OPTIONS");
        put(headers, Field::Contact, core.contact(&probe.flow, &probe.from));
        put(headers, Field::Accept, ACCEPT);
        if !core.config.user_agent.is_empty() {
            put(headers, Field::UserAgent, core.config.user_agent.clone());
        }
        let owner = Owner { leg: LegId(id.0), purpose: Purpose::Probe };
        core.request_by(now, message, Ways { flow: probe.flow, or_tcp: false, others: probe.others }, owner);
        self.probes.insert(id, now);
        id
    }

    pub(super) fn probe_outcome(&mut self, now: Instant, id: ProbeId, outcome: Result<u16, u16>) {
        if outcome.is_ok_and(|status| status < 200) {
            return;
        }
        let Some(asked) = self.probes.remove(&id) else { return };
        let pong = outcome.ok().map(|status| Pong { status, rtt: now.saturating_duration_since(asked) });
        self.core.outputs.push_back(Output::Probed { probe: id, pong });
    }
}
