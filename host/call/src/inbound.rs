//! Calls that come in: from the INVITE to an actor, or to the right refusal.

use crate::actor::{self, CallParts, Running};
use crate::context::ContextFetcher;
use crate::hearing;
use crate::ledger::Ledger;
use crate::leg::{LegParts, Placed, Senses, SipLeg};
use crate::legs::Leg;
use crate::live::{CallCommand, Full, Seat};
use crate::negotiation::{Negotiation, Terms};
use crate::outbound::{Dial, uri_host};
use crate::packets::Packets;
use crate::platform::Platform;
use crate::policy::LegPolicy;
use crate::quotas::Quota;
use crate::signalling::Signalling;
use crate::takeover;
use crate::tolls::Payer;
use crate::trunks::Admitted;
use crate::webrtc::{self, Spending};
use callbox_dialogue::call::{Direction, Party, Transport};
use callbox_dialogue::leg::VoiceSettings;
use callbox_dialogue::{CallId, CallInfo, Setup};
use callbox_media::webrtc::{Offer, WebRtcPolicy};
use callbox_media::{MediaError, MediaEvent, Session};
use callbox_script::{Script, Seat as ScriptSeat};
use callbox_sip::ladder::TOKEN_HEADER;
use callbox_sip::sdp::SdpError;
use callbox_sip::{Identity, IncomingCall, InviteInfo, Replaced};
use callbox_store::UnixMs;
use callbox_store::calls::CallStart;
use callbox_store::document::ScriptUsed;
use callbox_store::hosts::Elsewhere;
use callbox_store::numbers::Recording;
use callbox_store::quotas::Quotas;
use callbox_store::routing::Route;
use callbox_trunk::numbers::is_e164;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Seconds after which a refused caller may try again.
const RETRY_AFTER: &str = "5";
/// The header that names the caller's own trace (W3C Trace Context).
const TRACE: &str = "traceparent";
/// The header that carries the caller's own correlation id; of a page, the variable of this name does.
pub(crate) const RELATION: &str = "x-call-relation-id";
/// The longest that is kept, as through the API.
pub(crate) const RELATION_BYTES: usize = 255;

/// A refusal: SIP status, reason, headers, and why, for the log.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, reason: &'static str, why: impl Into<String>) -> Self {
        Self { status, reason, headers: Vec::new(), why: why.into() }
    }

    /// The offer cannot be met (RFC 3261 §13.3.1.3, §20.43).
    fn offer(error: &SdpError) -> Self {
        let headers = error.warning().map(|warning| ("Warning".into(), warning.into())).into_iter().collect();
        Self { headers, ..Self::new(error.status(), "Not Acceptable Here", error.to_string()) }
    }

    /// No place: 486 for calls at once, 503 with `Retry-After` for calls a second, each with its reason.
    pub(crate) fn full(full: Full) -> Self {
        match full {
            Full::Number => Self::new(486, "Busy Here", "the number has as many calls as it may"),
            Full::Tenant => Self::new(486, "Busy Here", "the tenant has as many calls as it may")
                .because("concurrent calls exceeded"),
            Full::Rate { retry_in_ms } => {
                let seconds = retry_in_ms.div_ceil(1_000).max(1).to_string();
                let later = Self::later("the tenant begins more calls than it may");
                Self { headers: vec![("Retry-After".into(), seconds)], ..later }.because("call rate exceeded")
            }
            Full::Unknown => Self::later("how many calls there are is not known"),
        }
    }

    /// Says so in a `Reason` (RFC 3326).
    fn because(mut self, text: &str) -> Self {
        self.headers.push(("Reason".into(), format!("SIP;cause={};text=\"{text}\"", self.status)));
        self
    }

    /// 503 with `Retry-After` (RFC 3261 §21.5.4).
    pub(crate) fn later(why: impl Into<String>) -> Self {
        let headers = vec![("Retry-After".into(), RETRY_AFTER.into())];
        Self { headers, ..Self::new(503, "Service Unavailable", why) }
    }
}

impl Platform {
    /// Answers one INVITE, and runs its call to the end. `begins` is dropped when the script has begun.
    pub(crate) async fn incoming(&self, incoming: IncomingCall, begins: oneshot::Sender<()>) {
        if let Some(replaced) = incoming.invite.replaces.clone() {
            return self.replacing(replaced, incoming).await;
        }
        let dialog = incoming.dialog.clone();
        // In a box, and gone before the call runs: beginning holds more than a call does.
        let accepted = Box::pin(self.accept(incoming, begins)).await;
        match accepted {
            Ok((call, seat)) => {
                drop(dialog);
                call.over().await;
                drop(seat);
            }
            Err(refusal) => {
                tracing::info!(sip_call = dialog.id(), status = refusal.status, why = refusal.why, "call refused");
                let refused = dialog.reject(refusal.status, Some(refusal.reason.to_owned()), refusal.headers);
                if let Err(error) = Box::pin(refused).await {
                    tracing::debug!(sip_call = dialog.id(), %error, "there is nobody to refuse any more");
                }
            }
        }
    }

    /// An INVITE that would take the place of a call.
    async fn replacing(&self, replaced: Replaced, incoming: IncomingCall) {
        // A call that we placed and that rings has nobody to go on with yet.
        let owner = self.inner.places.owner(replaced.leg).filter(|_| !replaced.early);
        let Some(tenant) = owner else {
            return takeover::refuse(&incoming.dialog, 481, "Call/Transaction Does Not Exist").await;
        };
        match self.may_replace(&incoming.invite, &tenant).await {
            Ok(()) => self.inner.places.hand_over(replaced.leg, incoming).await,
            Err(Refusal { status, reason, why, .. }) => {
                tracing::info!(sip_call = incoming.dialog.id(), status, why, "a call may not take another's place");
                takeover::refuse(&incoming.dialog, status, reason).await;
            }
        }
    }

    async fn accept(&self, incoming: IncomingCall, begins: oneshot::Sender<()>) -> Result<(Running, Seat), Refusal> {
        let began = Instant::now();
        let IncomingCall { dialog, events, invite } = incoming;
        let inner = &self.inner;
        if let Some(why) = self.no_room() {
            return Err(Refusal::later(why));
        }
        let admitted = self.admit(&invite).await?;
        let route = &admitted.route;
        let id = CallId(callbox_store::id::new("call"));
        let quotas = self.quotas_of(route);
        let (seat, commands) = self.enter(&id, route, &quotas).await.map_err(Refusal::full)?;
        // Again, now that whoever is told of the end of the host finds this call.
        if inner.draining.load(Ordering::Relaxed) {
            return Err(Refusal::later("the host is going down"));
        }
        let created_at = inner.rooms.store.now();
        let source = invite.source.ip();
        let address = inner.rooms.sip.media_address_at(invite.transport, invite.local, source);
        let policy = admitted.policy();
        let created = created_at.0.unsigned_abs();
        let terms = Terms::new(&inner.rooms.sip, &inner.rooms.media, address, created, policy.clone());
        let (media, media_events, negotiation) = self.media_of(&id, &invite, source, &terms)?;
        let mut start = self.start(&id, &admitted, &invite, created_at);
        if negotiation.is_browser() {
            start.transport = Transport::Webrtc;
        }
        let mut headers = headers(&invite, route);
        let spending = match &admitted.token {
            Some(token) => {
                webrtc::complete(&mut start, token);
                // What the token says counts, whatever the page writes into its INVITE besides.
                let told = webrtc::headers(token, route);
                headers.retain(|(name, _)| told.iter().all(|(other, _)| other != name));
                headers.extend(told);
                Some(Spending::begin(&inner.rooms.store, token).await?)
            }
            None => None,
        };
        tracing::info!(
            call = %id,
            sip_call = dialog.id(),
            from = %start.caller.uri,
            to = %start.callee.uri,
            trunk = start.trunk_id,
            account = admitted.account.as_ref().map(|account| account.id.as_str()),
            script = route.script_name,
            version = route.version,
            "call came in"
        );
        let room = self.script_room(&quotas).ok_or_else(|| Refusal::later("no script instance is free"))?;
        let script = self.script(&route.digest).await;
        if let Err(error) = &script {
            tracing::error!(call = %id, digest = route.digest, %error, "the script cannot be loaded");
        }
        let setup = self.setup(route, &start, headers, script.as_deref().ok());
        let dial = Dial {
            // Not what it calls itself in `From`, which anybody can write.
            peer: Some(source.to_canonical().to_string()),
            peer_name: uri_host(&invite.from.uri),
            manners: policy.clone(),
            known: admitted.trunk.is_some() || admitted.account.is_some(),
            ..self.dial(&id, route, created_at)
        };
        let recording = self.recording(&id, route, &quotas).await;
        let leg = SipLeg::new(LegParts {
            dialog,
            dialog_events: events,
            media,
            media_events,
            negotiation,
            policy,
            senses: self.senses(route),
            script: script.as_ref().ok().cloned(),
            direction: Direction::Inbound,
            dial,
            placed: Placed { permit: admitted.trunk.map(|(_, permit)| permit), ..Placed::default() },
            recording,
            capture: route.capture,
        });
        let fetcher = ContextFetcher::new(inner.rooms.clone(), inner.models.clone(), route, &start, &setup);
        let observer = self.observer(&id.0, trace(&invite));
        let ledger = Ledger::new(inner.rooms.store.clone(), inner.health.clone(), start);
        let scripts = inner.rooms.scripts.clone();
        let script = script.map(|script| (room, script)).map_err(|error| error.to_string());
        let begins = Some(begins);
        let leg = Leg::Sip(Box::new(leg));
        let parts = CallParts { setup, leg, script, scripts, fetcher, ledger, observer, commands, began, begins };
        if let Some(spending) = spending {
            spending.done();
        }
        Ok((actor::start(parts, &inner.recordings), seat))
    }

    /// A media session, and what is agreed on it.
    fn media_of(
        &self,
        id: &CallId,
        invite: &InviteInfo,
        source: IpAddr,
        terms: &Terms,
    ) -> Result<(Session, mpsc::Receiver<MediaEvent>, Negotiation), Refusal> {
        let plane = &self.inner.rooms.media;
        let none = |error: MediaError| Refusal::later(format!("no media session: {error}"));
        let text = invite.offer.as_deref().and_then(|offer| std::str::from_utf8(offer).ok());
        // What a browser says without rtcp-mux, say, a telephone's session may understand.
        let browser = text.filter(|text| self.takes_webrtc() && Offer::is_webrtc(text));
        if let Some(offer) = browser.and_then(|text| Offer::parse(text).ok()) {
            let opened = plane.open_webrtc(id, &offer, &WebRtcPolicy::default()).map_err(|error| match error {
                MediaError::Offer(error) => Refusal::new(488, "Not Acceptable Here", error.to_string()),
                other => none(other),
            })?;
            let negotiation = Negotiation::browser(&opened.session, terms, opened.answer);
            return Ok((opened.session, opened.events, negotiation));
        }
        let (media, events) = plane.open(id).map_err(none)?;
        let negotiation = Negotiation::inbound(&media, invite.offer.as_deref(), source, terms)
            .map_err(|error| Refusal::offer(&error))?;
        Ok((media, events, negotiation))
    }

    fn start(&self, id: &CallId, admitted: &Admitted, invite: &InviteInfo, created_at: UnixMs) -> CallStart {
        let route = &admitted.route;
        let relation_id = invite
            .headers
            .iter()
            .find(|(name, value)| name == RELATION && (1..=RELATION_BYTES).contains(&value.len()))
            .map(|(_, value)| value.clone());
        CallStart {
            id: id.0.clone(),
            tenant_id: route.tenant_id.clone(),
            host: self.inner.policy.host.clone(),
            direction: Direction::Inbound,
            transport: Transport::Sip,
            caller: caller(invite, admitted),
            callee: party(&invite.to),
            number_id: route.number_id.clone(),
            trunk_id: admitted.trunk_id(),
            trunk_address: admitted.trunk.as_ref().map(|_| format!("{} {}", invite.transport, invite.source)),
            script: Some(script_used(route)),
            relation_id,
            external_id: None,
            sip_call_id: Some(invite.call_id.clone()),
            parameters: None,
            created_at,
        }
    }

    /// What the engine starts from.
    pub(crate) fn setup(
        &self,
        route: &Route,
        start: &CallStart,
        headers: Vec<(String, String)>,
        script: Option<&Script>,
    ) -> Setup {
        let mut seed = [0; 32];
        if let Err(error) = getrandom::fill(&mut seed) {
            // Scripts get poor randomness rather than the caller none at all.
            tracing::error!(%error, "the system gives no randomness");
            let id = start.id.as_bytes();
            seed.iter_mut().zip(id.iter().rev()).for_each(|(seed, byte)| *seed = *byte);
        }
        Setup {
            info: CallInfo {
                id: CallId(start.id.clone()),
                direction: start.direction,
                transport: start.transport,
                caller: start.caller.clone(),
                callee: start.callee.clone(),
                language: route.language.clone(),
                headers,
                parameters: start.parameters.as_ref().map(ToString::to_string),
            },
            started_unix_ms: start.created_at.0.unsigned_abs(),
            seed,
            voice: VoiceSettings { voice: None, language: route.language.clone(), rate: None },
            limits: self.inner.policy.limits.clone(),
            sources: route.sources(),
            models: route.models(),
            destinations: route.destinations(),
            settings: route.settings(),
            assets: script.map(|script| script.assets.keys().cloned().collect()).unwrap_or_default(),
            fallback: route.fallback.clone(),
            speech_recognition: hearing::serves(&self.inner.rooms.ears, &route.language),
        }
    }

    /// What a leg speaks and hears with.
    pub(crate) fn senses(&self, route: &Route) -> Senses {
        let rooms = &self.inner.rooms;
        Senses { speech: rooms.speech.clone(), ears: rooms.ears.clone(), language: route.language.clone() }
    }

    /// What a leg needs to place calls of its own, to nobody in particular.
    pub(crate) fn dial(&self, id: &CallId, route: &Route, created_at: UnixMs) -> Dial {
        Dial {
            stack: self.inner.rooms.sip.clone(),
            media: self.inner.rooms.media.clone(),
            policy: self.inner.outbound.clone(),
            call: id.clone(),
            tenant: route.tenant_id.clone(),
            trunks: self.inner.trunks.clone(),
            store: self.inner.rooms.store.clone(),
            realm: self.inner.policy.trunks.realm.clone(),
            caller: route.address.clone(),
            trunk: route.trunk_id.clone(),
            tolls: self.inner.tolls.clone(),
            payer: Arc::new(self.payer(route)),
            peer: None,
            peer_name: None,
            manners: LegPolicy::default(),
            known: false,
            places: self.inner.places.clone(),
            created: created_at.0.unsigned_abs(),
            signalling: Signalling::new(self.inner.policy.keep_signalling),
            packets: Packets::new(&self.inner.policy.captures, id),
        }
    }

    /// Where the call is recorded, if it is.
    pub(crate) async fn recording(&self, id: &CallId, route: &Route, quotas: &Quotas) -> Option<std::path::PathBuf> {
        if route.recording != Recording::On {
            return None;
        }
        if self.inner.stored.is_full(&self.inner.rooms.store, &route.tenant_id, quotas).await {
            self.inner.refusals.count(&route.tenant_id, Quota::Storage, route.number_id.as_deref());
            return None;
        }
        Some(self.inner.recordings.place(&format!("{id}.wav")))
    }

    /// What the tenant of a call may use.
    pub(crate) fn quotas_of(&self, route: &Route) -> Quotas {
        route.quotas.clone().or(&self.inner.policy.quotas)
    }

    /// A place for a script, which may use what its tenant may.
    pub(crate) fn script_room(&self, quotas: &Quotas) -> Option<ScriptSeat> {
        let memory = quotas.script_memory_mb.map(|mb| u64::from(mb) << 20);
        self.inner.rooms.scripts.reserve().map(|seat| seat.within(memory, quotas.script_cpu_per_call_ms))
    }

    /// Takes a call in, where its number and its tenant may have one more: of this host as they are counted here, of the
    /// others as the books say. So calls that begin on several hosts in the same moment may be one too many.
    ///
    /// # Errors
    /// There is no place. Where that is for a limit of the tenant, it is counted and told.
    pub(crate) async fn enter(
        &self,
        id: &CallId,
        route: &Route,
        quotas: &Quotas,
    ) -> Result<(Seat, mpsc::Receiver<CallCommand>), Full> {
        let (tenant, number) = (&route.tenant_id, route.number_id.as_deref());
        let limited = quotas.concurrent_calls.is_some() || route.max_concurrent.is_some();
        let elsewhere = if limited {
            self.inner.rooms.store.calls_elsewhere(tenant, number).await
        } else {
            Ok(Elsewhere::default())
        };
        let known = elsewhere.map_err(|error| {
            tracing::error!(%tenant, %error, "how many calls run on other hosts is not known");
            Full::Unknown
        });
        let entered = known.and_then(|elsewhere| {
            let most = route.max_concurrent.map(|most| most.saturating_sub(elsewhere.number));
            let concurrent_calls = quotas.concurrent_calls.map(|most| most.saturating_sub(elsewhere.tenant));
            let quotas = Quotas { concurrent_calls, ..quotas.clone() };
            self.inner.live.enter(id, tenant.as_str(), number, most, &quotas)
        });
        entered.inspect_err(|full| {
            if let Some(quota) = full.quota() {
                self.inner.refusals.count(tenant, quota, number);
            }
        })
    }

    /// At whose expense a call calls others, and how far.
    fn payer(&self, route: &Route) -> Payer {
        let quotas = self.quotas_of(route).outbound;
        let number = route.number_id.clone().map(|number| (number, &route.outbound));
        let countries = self.inner.trunks.countries(&route.tenant_id);
        Payer::new(route.tenant_id.clone(), &quotas, number, countries)
    }
}

pub(crate) fn script_used(route: &Route) -> ScriptUsed {
    ScriptUsed { id: route.script_id.clone(), version: route.version, digest: route.digest.clone() }
}

/// The headers that the manifest lists, in the order of the message.
fn headers(invite: &InviteInfo, route: &Route) -> Vec<(String, String)> {
    // A script is told what a token says, and never the token.
    let may = |name: &str| name != TOKEN_HEADER && lists(route, name);
    invite.headers.iter().filter(|(name, _)| may(name)).cloned().collect()
}

/// Whether the manifest lists a header.
pub(crate) fn lists(route: &Route, name: &str) -> bool {
    route.names.headers.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

/// What the far end says of its own trace.
fn trace(invite: &InviteInfo) -> Option<&str> {
    invite.headers.iter().find(|(name, _)| name == TRACE).map(|(_, value)| value.as_str())
}

/// Who calls: what its trunk makes of the number, or what we know of the telephone that signed in.
fn caller(invite: &InviteInfo, admitted: &Admitted) -> Party {
    let mut caller = party(&invite.from);
    if let Some(user) = &admitted.caller {
        caller.number = e164(user).or(caller.number);
    }
    if let Some(account) = &admitted.account {
        caller.display_name = account.display_name.clone().or(caller.display_name);
    }
    caller
}

fn party(identity: &Identity) -> Party {
    Party {
        uri: identity.uri.clone(),
        number: identity.user.as_deref().and_then(e164),
        display_name: identity.display_name.clone(),
    }
}

/// An E.164 number, where the user part is one: with `+`, or with the `00` of most countries.
fn e164(user: &str) -> Option<String> {
    let digits = user.strip_prefix('+').or_else(|| user.strip_prefix("00"))?;
    is_e164(digits).then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::e164;

    #[test]
    fn only_international_numbers_are_e164() {
        assert_eq!(e164("+493012345").as_deref(), Some("+493012345"));
        assert_eq!(e164("00493012345").as_deref(), Some("+493012345"));
        for user in ["1000", "03012345", "+49", "+4930123456789012", "+49x", ""] {
            assert_eq!(e164(user), None, "{user}");
        }
    }
}
