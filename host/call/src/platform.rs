//! Everything a call needs, in one place: the rooms, the calls that run, and the
//! ways in – from the SIP stack and from the API.

use crate::breakers::Breakers;
use crate::figures::{CallCounts, Figures};
use crate::ledger::StoreHealth;
use crate::live::{CallCommand, LiveCalls, LiveError, Snapshot};
use crate::outbound::OutboundPolicy;
use crate::packets;
use crate::quotas::{Quota, Refusals, Stored};
use crate::recordings::{RecordingPolicy, Recordings};
use crate::signalling::SignallingRecord;
use crate::takeover::Places;
use crate::tolls::Tolls;
use crate::trunks::{TrunkBook, TrunkPolicy};
use crate::webrtc::Tally;
use bytes::Bytes;
use callbox_delivery::Egress;
use callbox_dialogue::CallId;
use callbox_dialogue::call::EndReason;
use callbox_dialogue::leg::VoiceSettings;
use callbox_dialogue::setup::Limits;
use callbox_media::MediaPlane;
use callbox_script::{Manifest, PromptDeclaration, Script, ScriptError, ScriptHost};
use callbox_sip::{IncomingCall, SipStack};
use callbox_speech::{Ears, Speech};
use callbox_store::quotas::Quotas;
use callbox_store::{Store, StoreError, TenantId};
use callbox_traces::Traces;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Calls that have come in and whose script has not asked for anything yet. A host that keeps up has fewer than ten.
const BEGINNING: usize = 64;
/// What takes longer to begin does not wait for the processor but for its compiler, say, and keeps nobody else waiting.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a running call may take to say how far it is.
const SNAPSHOT: Duration = Duration::from_secs(2);

/// The rooms a call needs.
#[derive(Clone)]
pub struct Rooms {
    /// Signalling.
    pub sip: SipStack,
    /// Audio.
    pub media: MediaPlane,
    /// Scripts.
    pub scripts: ScriptHost,
    /// The voice.
    pub speech: Speech,
    /// The recognisers.
    pub ears: Ears,
    /// The database.
    pub store: Store,
    /// Requests to customers' systems.
    pub egress: Egress,
    /// Where calls are told of, for the operator.
    pub traces: Traces,
}

/// What the operator settles for all calls.
#[derive(Clone, Debug)]
pub struct CallPolicy {
    /// The name of this host in the books; a later process of this name closes what it left behind.
    pub host: String,
    /// Limits of one call.
    pub limits: Limits,
    /// Calls at once.
    pub max_calls: usize,
    /// Where recordings go.
    pub recordings: RecordingPolicy,
    /// Where captured packets go.
    pub captures: PathBuf,
    /// The API's own address in documents, for example `https://calls.example.com`.
    pub public_url: String,
    /// Calls we place where no trunk is defined.
    pub outbound: OutboundPolicy,
    /// Trunks and telephones.
    pub trunks: TrunkPolicy,
    /// Whether the SIP messages of a call are kept with its record; without their secrets in any case.
    pub keep_signalling: bool,
    /// What a tenant may use, unless it has its own limits.
    pub quotas: Quotas,
}

/// The platform: cloning gives another handle.
#[derive(Clone)]
pub struct Platform {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) rooms: Rooms,
    pub(crate) policy: CallPolicy,
    pub(crate) recordings: Recordings,
    pub(crate) outbound: Arc<OutboundPolicy>,
    pub(crate) trunks: TrunkBook,
    pub(crate) live: LiveCalls,
    pub(crate) refusals: Refusals,
    pub(crate) tolls: Tolls,
    pub(crate) stored: Stored,
    /// The dialogs whose place an INVITE may take.
    pub(crate) places: Places,
    pub(crate) health: StoreHealth,
    pub(crate) draining: AtomicBool,
    /// Places of calls by WebRTC whose scripts have not asked for anything yet.
    pub(crate) beginning: Arc<Semaphore>,
    /// What is counted of them.
    pub(crate) visits: Arc<Tally>,
    /// Keep away from language models that fail.
    pub(crate) models: Breakers,
    /// What is counted of calls that are over.
    pub(crate) figures: Arc<Figures>,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl Platform {
    /// A platform that answers nothing yet. Call it on a tokio runtime.
    #[must_use]
    pub fn new(rooms: Rooms, policy: CallPolicy) -> Self {
        let outbound = Arc::new(policy.outbound.clone());
        let health = StoreHealth::new(rooms.store.clone());
        let refusals = Refusals::new(rooms.store.clone());
        let inner = Inner {
            trunks: TrunkBook::open(rooms.store.clone(), rooms.sip.clone(), policy.trunks.sources.clone()),
            recordings: Recordings::new(
                policy.recordings.clone(),
                rooms.store.clone(),
                policy.host.clone(),
                policy.public_url.clone(),
            ),
            outbound,
            live: LiveCalls::new(),
            tolls: Tolls::new(rooms.store.clone(), policy.host.clone(), refusals.clone()),
            stored: Stored::default(),
            refusals,
            places: Places::default(),
            health,
            draining: AtomicBool::new(false),
            beginning: Arc::new(Semaphore::new(BEGINNING)),
            visits: Arc::default(),
            models: Breakers::new(),
            figures: Arc::default(),
            rooms,
            policy,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Answers calls until the stack is shut down.
    ///
    /// So many begin at a time; the stack refuses those for whom its queue in front of this has no room. So a host
    /// with more calls than it can take answers as many as it can, soon, rather than all of them late.
    pub async fn serve(&self, mut incoming: mpsc::Receiver<IncomingCall>) {
        let places = Arc::new(Semaphore::new(BEGINNING));
        loop {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Some(call) = incoming.recv().await else { return };
            let platform = self.clone();
            let (begins, begun) = oneshot::channel();
            tokio::spawn(async move { platform.incoming(call, begins).await });
            tokio::spawn(async move {
                let _ = timeout(PATIENCE, begun).await;
                drop(place);
            });
        }
    }

    /// The rooms, for whoever manages what is in them.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        &self.inner.rooms
    }

    /// Calls that run now.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.inner.live.len()
    }

    /// Whether new calls are taken: not while draining, and not while results cannot be stored.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unready().is_none()
    }

    /// Why no new calls are taken, where they are not: `draining`, `results_not_stored`.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        if self.inner.draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if self.inner.health.is_failing() {
            Some("results_not_stored")
        } else {
            None
        }
    }

    /// What was counted of calls that are over.
    #[must_use]
    pub fn call_counts(&self) -> CallCounts {
        self.inner.figures.read()
    }

    /// Records of calls that are over and could not be stored yet.
    #[must_use]
    pub fn unstored(&self) -> usize {
        self.inner.health.waiting()
    }

    /// Why no call can be taken now, where none can.
    pub(crate) fn no_room(&self) -> Option<&'static str> {
        match self.unready() {
            Some("draining") => Some("the host is going down"),
            Some(_) => Some("results cannot be stored"),
            None if self.calls() >= self.inner.policy.max_calls => Some("the host has as many calls as it may"),
            None => None,
        }
    }

    /// The trunks in service.
    #[must_use]
    pub fn trunks(&self) -> &TrunkBook {
        &self.inner.trunks
    }

    /// What a tenant may use, unless it has its own limits.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.inner.policy.quotas
    }

    /// Counts what a tenant was refused since it may use no more, and tells it.
    pub fn quota_met(&self, tenant: &TenantId, quota: Quota) {
        self.inner.refusals.count(tenant, quota, None);
    }

    /// How often each limit of tenants was met since the start.
    #[must_use]
    pub fn quotas_met(&self) -> Vec<(&'static str, u64)> {
        self.inner.refusals.counts()
    }

    /// The realm in which telephones sign in.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.inner.policy.trunks.realm
    }

    /// The recordings of this host.
    #[must_use]
    pub fn recordings(&self) -> &Recordings {
        &self.inner.recordings
    }

    /// Brings recordings to where files are kept, for ever.
    pub fn keep_recordings(&self) -> impl Future<Output = ()> + Send + 'static {
        self.inner.recordings.clone().run()
    }

    /// Whether the books of a tenant's call are open: it runs, or it is over and its record is just being stored. Once
    /// they are closed the store has all of it.
    #[must_use]
    pub fn is_open(&self, tenant: &TenantId, call: &CallId) -> bool {
        self.inner.live.has(tenant.as_str(), call)
    }

    /// How far a tenant's running call is.
    ///
    /// # Errors
    /// The call does not run, or does not answer.
    pub async fn snapshot(&self, tenant: &TenantId, call: &CallId) -> Result<Snapshot, LiveError> {
        let (sender, receiver) = oneshot::channel();
        self.inner.live.send(tenant.as_str(), call, CallCommand::Snapshot(sender))?;
        match timeout(SNAPSHOT, receiver).await {
            Ok(Ok(snapshot)) => Ok(snapshot),
            Ok(Err(_)) => Err(LiveError::NotRunning),
            Err(_) => Err(LiveError::Busy),
        }
    }

    /// Captures the packets of a tenant's running call from now on.
    ///
    /// # Errors
    /// The call does not run, or takes no more commands.
    pub fn capture(&self, tenant: &TenantId, call: &CallId) -> Result<(), LiveError> {
        self.inner.live.send(tenant.as_str(), call, CallCommand::Capture)
    }

    /// The files with the captured packets of a call; whose call it is, the books know.
    #[must_use]
    pub fn captured(&self, call: &CallId) -> Vec<PathBuf> {
        packets::files(&self.inner.policy.captures, call)
    }

    /// Takes away what was captured of a call on this host.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub async fn remove_captured(&self, call: &CallId) -> io::Result<()> {
        let (folder, call) = (self.inner.policy.captures.clone(), call.clone());
        spawn_blocking(move || packets::remove(&folder, &call)).await.map_err(io::Error::other)?
    }

    /// Takes away the captures on this host that are not to be kept any longer: no other host can.
    ///
    /// # Errors
    /// What the database says, or the folder; what was removed before stays so.
    pub async fn sweep_captures(&self) -> Result<(), StoreError> {
        let broken = |error: io::Error| StoreError::Unavailable(format!("the folder of captures: {error}"));
        let folder = self.inner.policy.captures.clone();
        let calls = spawn_blocking(move || packets::calls(&folder)).await.map_err(io::Error::other).flatten();
        for call in calls.map_err(broken)? {
            let call = CallId(call);
            // One that runs may not be in the books yet.
            if !self.inner.live.is_open(&call) && self.inner.rooms.store.is_outlived(&call.0).await? {
                self.remove_captured(&call).await.map_err(broken)?;
            }
        }
        Ok(())
    }

    /// The signalling of a tenant's running call, so far; none where it is not kept.
    ///
    /// # Errors
    /// The call does not run, or does not answer.
    pub async fn signalling(&self, tenant: &TenantId, call: &CallId) -> Result<Option<SignallingRecord>, LiveError> {
        let (sender, receiver) = oneshot::channel();
        self.inner.live.send(tenant.as_str(), call, CallCommand::Ladder(sender))?;
        match timeout(SNAPSHOT, receiver).await {
            Ok(Ok(record)) => Ok(record),
            Ok(Err(_)) => Err(LiveError::NotRunning),
            Err(_) => Err(LiveError::Busy),
        }
    }

    /// Ends a tenant's running call.
    ///
    /// # Errors
    /// The call does not run, or takes no more commands.
    pub fn hangup(&self, tenant: &TenantId, call: &CallId) -> Result<(), LiveError> {
        let command = CallCommand::Hangup { reason: EndReason::OperatorHangup, why: "ended through the API".into() };
        self.inner.live.send(tenant.as_str(), call, command)
    }

    /// Sends JSON to the script of a tenant's running call.
    ///
    /// # Errors
    /// The call does not run, or takes no more commands.
    pub fn message(&self, tenant: &TenantId, call: &CallId, json: String) -> Result<(), LiveError> {
        self.inner.live.send(tenant.as_str(), call, CallCommand::Message(json))
    }

    /// Takes no more calls and lets those that run finish. After `within` the rest is ended through
    /// its fallback. Returns when none is left and all records are kept.
    pub async fn drain(&self, within: Duration) {
        self.inner.draining.store(true, Ordering::Relaxed);
        self.inner.rooms.sip.draining(true);
        let ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        self.inner.live.broadcast(|| CallCommand::Drain { within: ms });
        self.inner.live.empty().await;
        self.inner.trunks.close();
    }

    /// Ends all calls at once. Their scripts have their grace time, their records are kept.
    pub fn end_all(&self, why: &str) {
        self.inner.live.broadcast(|| CallCommand::Hangup { reason: EndReason::PlatformShutdown, why: why.to_owned() });
    }

    /// A version answers calls from now on: what it declares to be said is rendered before the first of them, in the
    /// background. What cannot be rendered now is when it is said, or fails then.
    pub fn rehearse(&self, tenant: &TenantId, script: &str, version: u32) {
        let (rooms, tenant, script) = (self.inner.rooms.clone(), tenant.clone(), script.to_owned());
        tokio::spawn(async move {
            let stored = match rooms.store.version(&tenant, &script, version).await {
                Ok(stored) => stored,
                Err(error) => return tracing::info!(script, version, %error, "no prompt is rendered ahead"),
            };
            match serde_json::from_value::<Manifest>(stored.manifest) {
                Ok(manifest) if manifest.prompts.is_empty() => {}
                Ok(manifest) => rooms.speech.rehearse(&stored.digest, || prompts(&manifest)),
                Err(error) => tracing::info!(script, version, %error, "no prompt is rendered ahead"),
            }
        });
    }

    /// A script, ready to run: from memory, from the cache of artefacts, or compiled.
    pub(crate) async fn script(&self, digest: &str) -> Result<Arc<Script>, ScriptError> {
        let rooms = &self.inner.rooms;
        let (store, name) = (rooms.store.clone(), digest.to_owned());
        let wasm = async || store.blob(&name).await.map(Bytes::from).map_err(|error| error.to_string());
        let script = rooms.scripts.load(digest, wasm).await?;
        if !script.manifest.prompts.is_empty() {
            rooms.speech.rehearse(digest, || prompts(&script.manifest));
        }
        Ok(script)
    }
}

/// What a manifest declares to be said, with the voices that say it.
fn prompts(manifest: &Manifest) -> Vec<(String, VoiceSettings)> {
    let usual = manifest.languages.first().map_or("en", String::as_str);
    let voice = |prompt: &PromptDeclaration| VoiceSettings {
        voice: prompt.voice.clone(),
        language: prompt.language.clone().unwrap_or_else(|| usual.to_owned()),
        rate: prompt.rate,
    };
    manifest.prompts.iter().map(|prompt| (prompt.text.clone(), voice(prompt))).collect()
}
