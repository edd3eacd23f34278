//! Calls by WebRTC that come by HTTP: from a token and an offer to an actor and an answer.
//!
//! * [`Visit`], [`Platform::answer_webrtc`] – a page or an app calls
//! * [`Renewal`], [`Platform::renew_webrtc`] – its network has changed
//! * `leg` – the leg of such a call; `spending` – what it takes of its token; `by_sip` – a token on an INVITE
//! * `channel` – what is said on its data channel
//! * [`Exchange`] – how it was set up, for the books

mod by_sip;
mod channel;
mod exchange;
mod leg;
mod spending;
mod tally;

pub(crate) use self::by_sip::{complete, token_of};
pub(crate) use self::channel::{Channel, Wish, read};
pub use self::exchange::{Exchange, Step, What};
pub(crate) use self::leg::{WebCommand, WebHappening, WebLeg};
pub(crate) use self::spending::Spending;
pub(crate) use self::tally::Tally;
pub use self::tally::WebCounts;

use self::leg::WebLegParts;
use crate::actor::{self, CallParts};
use crate::context::ContextFetcher;
use crate::inbound::{RELATION, RELATION_BYTES, lists, script_used};
use crate::ledger::Ledger;
use crate::legs::Leg;
use crate::live::{CallCommand, LiveError};
use crate::platform::Platform;
use callbox_dialogue::CallId;
use callbox_dialogue::call::{Direction, Party, Transport};
use callbox_media::MediaError;
use callbox_media::webrtc::{Answer, IceAnswer, IceFragment, Offer, OfferError, WebRtcPolicy};
use callbox_store::calls::CallStart;
use callbox_store::routing::{Route, Routing};
use callbox_store::webrtc_tokens::{TokenError, WebToken};
use callbox_store::{StoreError, UnixMs};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// From our answer to protected packets: a browser on a bad network takes a few seconds.
pub(crate) const CONNECT: Duration = Duration::from_secs(20);
/// How long a call may take to answer a renewal.
const RENEWAL: Duration = Duration::from_secs(5);
/// What takes longer to begin waits for its compiler, say, and keeps nobody else waiting.
const PATIENCE: Duration = Duration::from_millis(500);

/// Somebody calls.
#[derive(Clone, Debug)]
pub struct Visit {
    /// By this token, which was looked at: it is good, and for this page.
    pub token: WebToken,
    /// What is kept of its text: whoever has it may renew and end the call.
    pub holder: [u8; 32],
    /// The session description.
    pub offer: String,
    /// Where the request came from.
    pub from: IpAddr,
    /// The page, and what it runs in, for the books.
    pub client: Option<String>,
    /// What the page says of its own trace: a `traceparent`.
    pub traceparent: Option<String>,
}

/// A call that has begun.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// Its name.
    pub call: CallId,
    /// What to send back.
    pub answer: Answer,
}

/// Why nobody answers.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The host goes down, cannot store results, or has as many calls as it may.
    #[error("no call can be taken now: {0}")]
    Unavailable(String),
    /// The operator has no port for browsers.
    #[error("WebRTC is not configured on this host: webrtc.enabled and webrtc.udp")]
    Off,
    /// The number of the token is gone.
    #[error("the number of this token was taken away: ask whoever made it for another")]
    NumberGone,
    /// It answers nothing.
    #[error("the number of this token does not answer: {0}")]
    NumberClosed(&'static str),
    /// It has as many calls as it may.
    #[error("the number has as many calls as it may")]
    Busy,
    /// The token was spent, revoked, or expired since it was looked at.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The offer cannot be answered.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<MediaError> for VisitError {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::Offer(error) => Self::Offer(error),
            MediaError::WebRtcOff => Self::Off,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// What a far end wants to change about its call.
#[derive(Clone, Debug)]
pub struct Renewal {
    kind: RenewalKind,
    /// As it came, for the books.
    text: String,
}

#[derive(Clone, Debug)]
enum RenewalKind {
    Offer(Offer),
    Ice(IceFragment),
}

impl RenewalKind {
    const fn step(&self) -> What {
        match self {
            Self::Offer(_) => What::Offer,
            Self::Ice(_) => What::Ice,
        }
    }
}

impl Renewal {
    /// A whole new offer (`application/sdp`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn offer(text: String) -> Result<Self, OfferError> {
        Ok(Self { kind: RenewalKind::Offer(Offer::parse(&text)?), text })
    }

    /// A fragment of ICE (`application/trickle-ice-sdpfrag`, RFC 8840): candidates, or the credentials of a new session.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn ice(text: String) -> Result<Self, OfferError> {
        Ok(Self { kind: RenewalKind::Ice(IceFragment::parse(&text)?), text })
    }
}

/// Which session of ICE a renewal is about (RFC 9725 §4.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever there is: ICE begins anew.
    Any,
    /// This one ([`Answer::ice_session`]).
    Session(String),
}

/// What came of a renewal.
#[derive(Clone, Debug)]
pub enum Renewed {
    /// To a whole offer.
    Answer(Answer),
    /// To a fragment.
    Ice(IceAnswer),
}

/// Why a call was not renewed. It goes on as it was.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// There is no such call of this holder, or not any more.
    #[error("there is no such call of this token, or it is over")]
    Over,
    /// ICE has begun anew since.
    #[error("the call has another session of ICE by now: its ETag is not the one in If-Match")]
    Stale,
    /// The call has too much to do.
    #[error("the call has too many commands waiting; try again in a moment")]
    Busy,
    /// The offer or fragment cannot be answered.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The media plane does not do it.
    #[error("the media of the call cannot be renewed: {0}")]
    Media(String),
}

impl From<MediaError> for RenewalError {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::Offer(error) => Self::Offer(error),
            MediaError::Busy => Self::Busy,
            other => Self::Media(other.to_string()),
        }
    }
}

impl From<LiveError> for RenewalError {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::NotRunning => Self::Over,
            LiveError::Busy => Self::Busy,
        }
    }
}

impl Platform {
    /// Whether browsers can call at all.
    #[must_use]
    pub fn takes_webrtc(&self) -> bool {
        !self.inner.rooms.media.webrtc_ports().0.is_empty()
    }

    /// Answers an offer, and runs its call to the end by itself.
    ///
    /// # Errors
    /// See [`VisitError`]; there is no call then, and the token has the use that it had.
    pub async fn answer_webrtc(&self, visit: Visit) -> Result<Welcome, VisitError> {
        let tally = &self.inner.visits;
        self.answer(visit).await.inspect(|_| tally.begun()).inspect_err(|error| tally.refused(error))
    }

    /// What was counted so far.
    #[must_use]
    pub fn webrtc_counts(&self) -> WebCounts {
        self.inner.visits.counts()
    }

    /// Somebody was refused before their offer was read: for the token, or the page.
    pub fn count_refused_token(&self) {
        self.inner.visits.refused_token();
    }

    async fn answer(&self, visit: Visit) -> Result<Welcome, VisitError> {
        let began = Instant::now();
        let inner = &self.inner;
        if !self.takes_webrtc() {
            return Err(VisitError::Off);
        }
        if let Some(why) = self.no_room() {
            return Err(VisitError::Unavailable(why.into()));
        }
        // Before anything that costs: those who come all at once are told to come again.
        let place = inner.beginning.clone().try_acquire_owned();
        let place = place.map_err(|_| VisitError::Unavailable("too many calls begin at once".into()))?;
        let offer = Offer::parse(&visit.offer)?;
        let (tenant, number) = (&visit.token.tenant_id, &visit.token.number_id);
        let route = match inner.rooms.store.route_number(tenant, number).await {
            Ok(Routing::Ready(route)) => *route,
            Ok(Routing::Closed { why, .. }) => return Err(VisitError::NumberClosed(why)),
            Ok(Routing::Unknown) | Err(StoreError::NotFound { .. }) => return Err(VisitError::NumberGone),
            Err(error) => return Err(error.into()),
        };
        let (welcome, begun) = Box::pin(self.welcome(&visit, &offer, &route, began)).await?;
        tokio::spawn(async move {
            let _ = timeout(PATIENCE, begun).await;
            drop(place);
        });
        Ok(welcome)
    }

    /// Begins the call; the receiver ends when its script has begun.
    async fn welcome(
        &self,
        visit: &Visit,
        offer: &Offer,
        route: &Route,
        began: Instant,
    ) -> Result<(Welcome, oneshot::Receiver<()>), VisitError> {
        let inner = &self.inner;
        let id = CallId(callbox_store::id::new("call"));
        let quotas = self.quotas_of(route);
        let (seat, commands) = self.enter(&id, route, &quotas).await.map_err(|_| VisitError::Busy)?;
        inner.live.held_by(&id, visit.holder);
        // Again, now that whoever is told of the end of the host finds this call.
        if inner.draining.load(Ordering::Relaxed) {
            return Err(VisitError::Unavailable("the host is going down".into()));
        }
        let room = self.script_room(&quotas);
        let room = room.ok_or_else(|| VisitError::Unavailable("no script instance is free".into()))?;
        // It is written into the database: not for those who find no place. From here on dropping it gives it back.
        let spending = Spending::begin(&inner.rooms.store, &visit.token).await?;
        let opened = inner.rooms.media.open_webrtc(&id, offer, &WebRtcPolicy::default())?;
        let created_at = inner.rooms.store.now();
        let start = start(&id, &inner.policy.host, &visit.token, route, created_at);
        tracing::info!(
            call = %id,
            token = visit.token.id,
            from = %start.caller.uri,
            script = route.script_name,
            version = route.version,
            codec = ?opened.answer.codec,
            "call came in by WebRTC"
        );
        let script = self.script(&route.digest).await;
        if let Err(error) = &script {
            tracing::error!(call = %id, digest = route.digest, %error, "the script cannot be loaded");
        }
        let setup = self.setup(route, &start, headers(&visit.token, route), script.as_deref().ok());
        let dial = self.dial(&id, route, created_at);
        dial.signalling.step(dial.created.saturating_mul(1_000), What::Offer, &visit.offer, |step| {
            (step.from, step.client) = (Some(visit.from), visit.client.clone());
        });
        let leg = WebLeg::new(WebLegParts {
            media: opened.session,
            media_events: opened.events,
            ice_session: opened.answer.ice_session.clone(),
            senses: self.senses(route),
            script: script.as_ref().ok().cloned(),
            // Nothing is known of a visitor, to whom nobody calls back.
            dial,
            recording: self.recording(&id, route, &quotas).await,
            capture: route.capture,
            began,
            tally: inner.visits.clone(),
        });
        leg.step(What::Answer, &opened.answer.sdp);
        let fetcher = ContextFetcher::new(inner.rooms.clone(), inner.models.clone(), route, &start, &setup);
        let observer = self.observer(&id.0, visit.traceparent.as_deref());
        let ledger = Ledger::new(inner.rooms.store.clone(), inner.health.clone(), start);
        let scripts = inner.rooms.scripts.clone();
        let script = script.map(|script| (room, script)).map_err(|error| error.to_string());
        let (begins, begun) = oneshot::channel();
        let leg = Leg::Web(Box::new(leg));
        let parts =
            CallParts { setup, leg, script, scripts, fetcher, ledger, observer, commands, began, begins: Some(begins) };
        spending.done();
        let call = actor::start(parts, &inner.recordings);
        tokio::spawn(async move {
            call.over().await;
            drop(seat);
        });
        Ok((Welcome { call: id, answer: opened.answer }, begun))
    }

    /// Whether this call runs here, or ends just now, and whoever holds this began it.
    #[must_use]
    pub fn is_held(&self, call: &CallId, holder: &[u8; 32]) -> bool {
        self.inner.live.is_held(call, holder)
    }

    /// Renews the way of a call's media, for whoever holds the token that it began with.
    ///
    /// # Errors
    /// See [`RenewalError`]; the call goes on as it was.
    pub async fn renew_webrtc(
        &self,
        call: &CallId,
        holder: &[u8; 32],
        renewal: Renewal,
        if_match: IfMatch,
    ) -> Result<Renewed, RenewalError> {
        let (reply, answer) = oneshot::channel();
        let renewal = Box::new(renewal);
        let command = CallCommand::Web(WebCommand::Renew { renewal, if_match, reply });
        self.inner.live.send_held(call, holder, command)?;
        match timeout(RENEWAL, answer).await {
            Ok(Ok(renewed)) => renewed,
            Ok(Err(_)) => Err(RenewalError::Over),
            Err(_) => Err(RenewalError::Busy),
        }
    }

    /// The caller hangs up: whoever holds the token that the call began with.
    ///
    /// # Errors
    /// There is no such call of this holder, or it takes no more commands.
    pub fn hang_up_webrtc(&self, call: &CallId, holder: &[u8; 32]) -> Result<(), LiveError> {
        self.inner.live.send_held(call, holder, CallCommand::Web(WebCommand::HangUp))
    }
}

fn start(id: &CallId, host: &str, token: &WebToken, route: &Route, created_at: UnixMs) -> CallStart {
    let (settings, caller) = (&token.settings, &token.settings.caller);
    let relation_id = relation_of(token);
    let address = route.address.clone().unwrap_or_default();
    CallStart {
        id: id.0.clone(),
        tenant_id: route.tenant_id.clone(),
        host: host.to_owned(),
        direction: Direction::Inbound,
        transport: Transport::Webrtc,
        caller: Party {
            uri: format!("webrtc:{}", caller.id.as_ref().unwrap_or(&token.id)),
            number: caller.number.clone(),
            display_name: caller.display_name.clone(),
        },
        callee: Party { number: address.starts_with('+').then(|| address.clone()), uri: address, display_name: None },
        number_id: route.number_id.clone(),
        trunk_id: None,
        trunk_address: None,
        script: Some(script_used(route)),
        relation_id,
        external_id: settings.external_id.clone(),
        sip_call_id: None,
        parameters: settings.variables.clone(),
        created_at,
    }
}

/// What ties a call to others: as the token says, or its variable of the name that is a header's elsewhere.
fn relation_of(token: &WebToken) -> Option<String> {
    let variables = token.settings.variables.as_ref().and_then(Value::as_object);
    let named = variables.into_iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case(RELATION));
    let variable = named.and_then(|(_, value)| value.as_str());
    let variable = variable.filter(|text| (1..=RELATION_BYTES).contains(&text.len()));
    token.settings.relation_id.clone().or_else(|| variable.map(ToOwned::to_owned))
}

/// The headers that the manifest lists, from the variables of these names: so a script that was written for a telephone
/// system which sends them finds them where a page calls, too.
pub(crate) fn headers(token: &WebToken, route: &Route) -> Vec<(String, String)> {
    let variables = token.settings.variables.as_ref().and_then(Value::as_object);
    let text = |(name, value): (&String, &Value)| Some((name.to_ascii_lowercase(), value.as_str()?.to_owned()));
    variables.into_iter().flatten().filter(|(name, _)| lists(route, name)).filter_map(text).collect()
}
