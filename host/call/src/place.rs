//! Calls placed through the API.

use crate::actor::{self, CallParts};
use crate::context::ContextFetcher;
use crate::inbound::script_used;
use crate::ledger::Ledger;
use crate::leg::{LegParts, SipLeg};
use crate::negotiation::{Negotiation, Terms};
use crate::outbound::{ANONYMOUS, Dial};
use crate::platform::Platform;
use callbox_dialogue::CallId;
use callbox_dialogue::call::{Direction, Party, Transport};
use callbox_sip::{OutgoingCall, SipError};
use callbox_store::calls::CallStart;
use callbox_store::routing::{Route, Routing};
use callbox_store::{StoreError, TenantId};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// What the stack rings longer than the engine.
const RING_SLACK: Duration = Duration::from_secs(2);

/// A call to be placed.
#[derive(Clone, Debug)]
pub struct PlaceCall {
    /// A SIP URI whose host is allowed, or a number for the operator's server.
    pub to: String,
    /// What talks.
    pub by: Talker,
    /// For the script (`info.parameters`).
    pub parameters: Option<Value>,
    /// The customer's own name for the call.
    pub external_id: Option<String>,
    /// Ties calls together.
    pub relation_id: Option<String>,
}

/// What talks in a call that is placed, and from which number.
#[derive(Clone, Debug)]
pub enum Talker {
    /// A number: its script, its fallback, its recording policy; it is shown to the callee.
    Number(String),
    /// A script alone: its published version, or that one.
    Script(String, Option<u32>),
}

/// Why a call was not placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The host goes down or cannot store results, or has as many calls as it may.
    #[error("no call can be placed now: {0}")]
    Unavailable(String),
    /// The number or script answers nothing.
    #[error("nothing can talk: {0}")]
    NotReady(&'static str),
    /// The number has as many calls as it may.
    #[error("the number has as many calls as it may")]
    Busy,
    /// Not a target, or not one that the operator allows.
    #[error("{0:?} may not be called: give a number, or a SIP URI whose host is in outbound.allowed_hosts")]
    Forbidden(String),
    /// There is no such number or script, or the database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The call could not be begun.
    #[error(transparent)]
    Sip(#[from] SipError),
}

impl Platform {
    /// Places a call and returns its id once the INVITE is on its way. What comes of it is in the call's record.
    ///
    /// # Errors
    /// See [`PlaceError`]; nothing was called then.
    pub async fn place(&self, tenant: &TenantId, request: PlaceCall) -> Result<CallId, PlaceError> {
        let began = Instant::now();
        let inner = &self.inner;
        if !self.is_ready() {
            return Err(PlaceError::Unavailable("the host is going down, or results cannot be stored".into()));
        }
        if inner.live.len() >= inner.policy.max_calls {
            return Err(PlaceError::Unavailable("the host has as many calls as it may".into()));
        }
        let route = match &request.by {
            Talker::Script(script, version) => inner.rooms.store.route_script(tenant, script, *version).await?,
            Talker::Number(number) => match inner.rooms.store.route_number(tenant, number).await? {
                Routing::Ready(route) => *route,
                Routing::Closed { why, .. } => return Err(PlaceError::NotReady(why)),
                Routing::Unknown => return Err(PlaceError::NotReady("unknown")),
            },
        };
        let target =
            inner.outbound.resolve(&request.to, &[]).ok_or_else(|| PlaceError::Forbidden(request.to.clone()))?;
        let id = CallId(callbox_store::id::new("call"));
        let (seat, commands) = inner
            .live
            .enter(&id, tenant.as_str(), route.number_id.as_deref(), route.max_concurrent)
            .ok_or(PlaceError::Busy)?;
        // Again, now that whoever is told of the end of the host finds this call.
        if inner.draining.load(Ordering::Relaxed) {
            return Err(PlaceError::Unavailable("the host is going down".into()));
        }
        let unavailable = |error: callbox_media::MediaError| PlaceError::Unavailable(error.to_string());
        let (media, media_events) = inner.rooms.media.open(&id).map_err(unavailable)?;
        let created_at = inner.rooms.store.now();
        let address = inner.outbound.address_towards(&target, &inner.rooms.sip);
        let policy = inner.outbound.leg_policy(&target);
        let created = created_at.0.unsigned_abs();
        let terms = Terms::new(&inner.rooms.sip, &inner.rooms.media, address, created, policy.clone());
        let (negotiation, offer) = Negotiation::outbound(&media, &terms);
        let from = match &route.address {
            Some(address) => inner.outbound.shown(address),
            None => ANONYMOUS.into(),
        };
        let mut start = outbound_start(&id, &route, &request, created_at);
        start.host.clone_from(&inner.policy.host);
        start.caller.uri.clone_from(&from);
        start.callee.uri.clone_from(&target.uri);
        let callee = target.host.clone();
        let call = OutgoingCall {
            // The engine keeps the time; this one only makes sure that nothing rings for ever.
            ring_timeout: Duration::from_millis(inner.policy.limits.ring_timeout.into()) + RING_SLACK,
            ..inner.outbound.outgoing(target, from.clone(), offer)
        };
        let room = inner.rooms.scripts.reserve();
        let room = room.ok_or_else(|| PlaceError::Unavailable("no script instance is free".into()))?;
        let script = self.script(&route.digest).await.map_err(|error| error.to_string());
        let (dialog, dialog_events) = inner.rooms.sip.call(call).await?;
        start.sip_call_id = Some(dialog.id().to_owned());
        tracing::info!(call = %id, sip_call = dialog.id(), to = %start.callee.uri, script = route.script_name, "call placed");
        let setup = self.setup(&route, &start, Vec::new(), script.as_deref().ok());
        let leg = SipLeg::new(LegParts {
            dialog,
            dialog_events,
            media,
            media_events,
            negotiation,
            policy,
            speech: inner.rooms.speech.clone(),
            script: script.as_ref().ok().cloned(),
            direction: Direction::Outbound,
            dial: Dial { peer: Some(callee.clone()), peer_name: Some(callee), from, ..self.dial(&id, created_at) },
            recording: self.recording(&id, &route),
        });
        let fetcher = ContextFetcher::new(inner.rooms.clone(), &route, &start, &setup);
        let ledger = Ledger::new(inner.rooms.store.clone(), inner.health.clone(), start);
        let scripts = inner.rooms.scripts.clone();
        let script = script.map(|script| (room, script));
        let parts = CallParts { setup, leg, script, scripts, fetcher, ledger, commands, began, begins: None };
        let call = actor::start(parts, &inner.policy.public_url);
        tokio::spawn(async move {
            call.over().await;
            drop(seat);
        });
        Ok(id)
    }
}

fn outbound_start(id: &CallId, route: &Route, request: &PlaceCall, created_at: callbox_store::UnixMs) -> CallStart {
    let number = |text: &str| text.starts_with('+').then(|| text.to_owned());
    CallStart {
        id: id.0.clone(),
        tenant_id: route.tenant_id.clone(),
        host: String::new(),
        direction: Direction::Outbound,
        transport: Transport::Sip,
        caller: Party { number: route.address.as_deref().and_then(number), ..Party::default() },
        callee: Party { number: number(&request.to), ..Party::default() },
        number_id: route.number_id.clone(),
        trunk_id: None,
        trunk_address: None,
        script: Some(script_used(route)),
        relation_id: request.relation_id.clone(),
        external_id: request.external_id.clone(),
        sip_call_id: None,
        parameters: request.parameters.clone(),
        created_at,
    }
}
