//! Calls placed through the API.

use crate::actor::{self, CallParts};
use crate::context::ContextFetcher;
use crate::inbound::script_used;
use crate::ledger::Ledger;
use crate::leg::{LegParts, Placed, SipLeg};
use crate::legs::Leg;
use crate::live::Full;
use crate::outbound::{By, Dial};
use crate::platform::Platform;
use crate::quotas::Quota;
use crate::tolls::TollRefusal;
use crate::trunks::{Ask, Attempt, NoWay};
use callbox_dialogue::CallId;
use callbox_dialogue::call::{Direction, Party, Transport};
use callbox_dialogue::script::TransferMode;
use callbox_sip::SipError;
use callbox_store::calls::CallStart;
use callbox_store::routing::{Route, Routing};
use callbox_store::{StoreError, TenantId};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// What the stack rings longer than the engine.
const RING_SLACK: Duration = Duration::from_secs(2);
/// How long whoever places a call waits for its place in the books.
const WRITTEN: Duration = Duration::from_secs(5);

/// A call to be placed.
#[derive(Clone, Debug)]
pub struct PlaceCall {
    /// A number, for the tenant's trunks or the operator's server; the name of a SIP account, for its telephones; or a
    /// SIP URI whose host is allowed.
    pub to: String,
    /// What talks.
    pub by: Talker,
    /// By this trunk and no other; none for the number's own, or the tenant's in their order.
    pub trunk: Option<String>,
    /// For the script (`info.parameters`).
    pub parameters: Option<Value>,
    /// The customer's own name for the call.
    pub external_id: Option<String>,
    /// Ties calls together.
    pub relation_id: Option<String>,
    /// Whether its packets are captured, whatever its number says.
    pub capture: bool,
    /// What whoever places it says of their own trace: a `traceparent`.
    pub traceparent: Option<String>,
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
    /// The tenant has, or begins, as many calls as it may.
    #[error("the tenant may use no more: {}", .quota.name())]
    Quota {
        /// Which limit.
        quota: Quota,
        /// Then there may be room.
        retry_in_ms: Option<u64>,
    },
    /// The tenant may not call this number, or not now.
    #[error(transparent)]
    Barred(TollRefusal),
    /// Not a target, or not one that the operator allows.
    #[error(
        "{0:?} may not be called: give a number, a SIP account, or a SIP URI whose host is in outbound.allowed_hosts"
    )]
    Forbidden(String),
    /// The trunk is not there, is out of service, or is not for such a target.
    #[error("{0}")]
    Trunk(String),
    /// Every trunk has as many calls as it may.
    #[error("every trunk for this number has as many calls as it may")]
    TrunkBusy,
    /// No telephone of the account is registered.
    #[error("{0}")]
    NotRegistered(String),
    /// There is no such number or script, or the database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The call could not be begun.
    #[error(transparent)]
    Sip(#[from] SipError),
}

impl PlaceError {
    fn no_way(error: NoWay, to: &str) -> Self {
        let text = error.to_string();
        match error {
            NoWay::NoTrunk(_) => Self::Trunk(text),
            NoWay::NoTrunkFor(_) | NoWay::NoAccount(_) => Self::Forbidden(to.to_owned()),
            NoWay::NotRegistered(_) => Self::NotRegistered(text),
            NoWay::Busy => Self::TrunkBusy,
            NoWay::Barred(refusal) => Self::Barred(refusal),
            NoWay::Store(error) => Self::Store(error),
            NoWay::Sip(error) => Self::Sip(error),
        }
    }
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
        let id = CallId(callbox_store::id::new("call"));
        let created_at = inner.rooms.store.now();
        let dial = self.dial(&id, &route, created_at);
        let dial = Dial { trunk: request.trunk.clone().or(dial.trunk.clone()), ..dial };
        let forbidden = || PlaceError::Forbidden(request.to.clone());
        let target = dial.resolve(&request.to, TransferMode::Bridge).ok_or_else(forbidden)?;
        if request.trunk.is_some() && !matches!(target.by, By::Number(_)) {
            return Err(PlaceError::Trunk("a trunk is for numbers, and the tenant needs one in service".into()));
        }
        let quotas = self.quotas_of(&route);
        let (seat, commands) = self.enter(&id, &route, &quotas).await.map_err(|full| match full {
            Full::Number => PlaceError::Busy,
            Full::Tenant => PlaceError::Quota { quota: Quota::ConcurrentCalls, retry_in_ms: None },
            Full::Rate { retry_in_ms } => {
                PlaceError::Quota { quota: Quota::CallsPerSecond, retry_in_ms: Some(retry_in_ms) }
            }
            Full::Unknown => PlaceError::Unavailable("how many calls there are is not known".into()),
        })?;
        // Again, now that whoever is told of the end of the host finds this call.
        if inner.draining.load(Ordering::Relaxed) {
            return Err(PlaceError::Unavailable("the host is going down".into()));
        }
        let unavailable = |error: callbox_media::MediaError| PlaceError::Unavailable(error.to_string());
        let (media, media_events) = inner.rooms.media.open(&id).map_err(unavailable)?;
        let room = self.script_room(&quotas);
        let room = room.ok_or_else(|| PlaceError::Unavailable("no script instance is free".into()))?;
        let script = self.script(&route.digest).await.map_err(|error| error.to_string());
        let ask = Ask {
            caller: dial.caller.clone(),
            trunk: dial.trunk.clone(),
            headers: Vec::new(),
            // The engine keeps the time; this one only makes sure that nothing rings for ever.
            ring_timeout: Duration::from_millis(inner.policy.limits.ring_timeout.into()) + RING_SLACK,
        };
        let no_way = |error| PlaceError::no_way(error, &request.to);
        let mut attempts = dial.attempts(&target, ask).await.map_err(no_way)?;
        let Attempt { dialog, events: dialog_events, negotiation, policy, used, to, from, permit } =
            attempts.next(&media).await.map_err(no_way)?;
        let mut start = outbound_start(&id, &route, &request, created_at);
        start.host.clone_from(&inner.policy.host);
        (start.caller.uri, start.callee.uri) = (from, to);
        if let Some(used) = &used {
            (start.trunk_id, start.trunk_address) = (Some(used.trunk.clone()), Some(used.address.clone()));
        }
        let (known, manners) = (target.is_own(), policy.clone());
        let callee = target.host;
        start.sip_call_id = Some(dialog.id().to_owned());
        tracing::info!(call = %id, sip_call = dialog.id(), to = %start.callee.uri, trunk = start.trunk_id, script = route.script_name, "call placed");
        let setup = self.setup(&route, &start, Vec::new(), script.as_deref().ok());
        let leg = SipLeg::new(LegParts {
            dialog,
            dialog_events,
            media,
            media_events,
            negotiation,
            policy,
            senses: self.senses(&route),
            script: script.as_ref().ok().cloned(),
            direction: Direction::Outbound,
            dial: Dial { peer: Some(callee.clone()), peer_name: Some(callee), manners, known, ..dial },
            placed: Placed { attempts: Some(attempts), used, permit, rang: false },
            recording: self.recording(&id, &route, &quotas).await,
            capture: route.capture || request.capture,
        });
        let fetcher = ContextFetcher::new(inner.rooms.clone(), inner.models.clone(), &route, &start, &setup);
        let observer = self.observer(&id.0, request.traceparent.as_deref());
        let ledger = Ledger::new(inner.rooms.store.clone(), inner.health.clone(), start);
        let scripts = inner.rooms.scripts.clone();
        let script = script.map(|script| (room, script));
        let leg = Leg::Sip(Box::new(leg));
        let mut begun = ledger.begun();
        let parts = CallParts { setup, leg, script, scripts, fetcher, ledger, observer, commands, began, begins: None };
        let call = actor::start(parts, &inner.recordings);
        tokio::spawn(async move {
            call.over().await;
            drop(seat);
        });
        // Who is told of the call finds it in the books. It rings already: where the database is away that is no reason
        // to say that there is none.
        let _ = tokio::time::timeout(WRITTEN, begun.written()).await;
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
