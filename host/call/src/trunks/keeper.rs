//! Keeps the book: reads it again when the database has changed, asks addresses how they are, registers.

use super::book::TrunkBook;
use super::live::{LiveTrunk, News};
use super::status::RegistrationStatus;
use callbox_sip::overload::SourcePolicy;
use callbox_sip::{Ping, Pong, RegistrationConfig, RegistrationId, RegistrationState, SipStack};
use callbox_store::revisions::Topic;
use callbox_store::{Store, StoreError, UnixMs};
use callbox_trunk::health::Probe;
use callbox_trunk::inbound;
use ipnet::IpNet;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How often the database is asked whether another process has changed something, and whether it works again.
const LOOK: Duration = Duration::from_secs(5);
/// The widest network of a trunk that the stack trusts: 256 addresses.
const TRUSTED_BITS: u8 = 8;
/// Networks that the stack is told at most.
const TRUSTED: usize = 10_000;
/// Longest wait for the answer to OPTIONS.
const PATIENCE: Duration = Duration::from_secs(4);

/// The task behind a [`TrunkBook`].
pub(super) struct Keeper {
    book: TrunkBook,
    store: Store,
    sip: SipStack,
    /// What the operator trusts besides.
    sources: SourcePolicy,
    /// What each trunk in service has running.
    tended: HashMap<String, (Arc<LiveTrunk>, JoinSet<()>)>,
    /// The revision of the database that the book shows.
    revision: Option<i64>,
}

impl Keeper {
    pub(super) fn new(book: TrunkBook, store: Store, sip: SipStack, sources: SourcePolicy) -> Self {
        Self { book, store, sip, sources, tended: HashMap::new(), revision: None }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.store.changes(Topic::Trunks);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // In this order: a change that comes while the book is read is seen afterwards.
            changes.mark_unchanged();
            if let Err(error) = self.read().await {
                tracing::warn!(%error, "trunks cannot be read: those in service stay as they are");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                _ = look.tick() => {}
            }
        }
    }

    /// Reads the book again where the database has changed.
    async fn read(&mut self) -> Result<(), StoreError> {
        let revision = self.store.revision(Topic::Trunks).await?;
        if self.revision == Some(revision) {
            return Ok(());
        }
        let owned = self.store.trunks_in_service().await?;
        let (before, mut now) = (self.book.pages(), Vec::with_capacity(owned.len()));
        for owned in owned {
            let known = before.trunk(&owned.trunk.id);
            now.push(match known {
                Some(known) if known.is(&owned) => known.clone(),
                known => Arc::new(LiveTrunk::new(owned, known.map(AsRef::as_ref))),
            });
        }
        self.book.replace(now.clone());
        self.trust(&now);
        self.revision = Some(revision);
        self.tend(now);
        Ok(())
    }

    /// Tells the stack whose requests are no strangers'. A wide network is still a trunk's, but who lives in it has the
    /// limits of everybody: a tenant's word does not open the host to half the world.
    fn trust(&self, trunks: &[Arc<LiveTrunk>]) {
        let networks = trunks.iter().flat_map(|trunk| &trunk.settings.inbound.networks);
        let narrow = |network: &IpNet| network.max_prefix_len() - network.prefix_len() <= TRUSTED_BITS;
        let mut sources = self.sources.clone();
        sources.trusted.extend(networks.filter_map(|text| inbound::network(text)).filter(narrow).take(TRUSTED));
        self.sip.sources(sources);
    }

    /// Lets each trunk have its tasks, and those that are gone none.
    fn tend(&mut self, trunks: Vec<Arc<LiveTrunk>>) {
        let mut before = std::mem::take(&mut self.tended);
        for trunk in trunks {
            let tasks = match before.remove(&trunk.id) {
                Some((known, tasks)) if Arc::ptr_eq(&known, &trunk) => tasks,
                // What it had before ends here: a registration is taken back, or made anew.
                _ => self.begin(&trunk),
            };
            self.tended.insert(trunk.id.clone(), (trunk, tasks));
        }
    }

    fn begin(&self, trunk: &Arc<LiveTrunk>) -> JoinSet<()> {
        tracing::info!(trunk = trunk.id, name = trunk.settings.name, "a trunk is in service");
        let mut tasks = JoinSet::new();
        for at in 0..trunk.settings.addresses.len() {
            tasks.spawn(watch(trunk.clone(), at, self.store.clone(), self.sip.clone()));
        }
        if trunk.registers().is_some() {
            tasks.spawn(register(trunk.clone(), self.store.clone(), self.sip.clone()));
        }
        tasks
    }
}

/// Asks one address how it is, for ever.
async fn watch(trunk: Arc<LiveTrunk>, at: usize, store: Store, sip: SipStack) {
    if trunk.settings.health.options_interval_s == 0 {
        return;
    }
    // Not all at once when a host begins.
    let luck = getrandom::u32().unwrap_or(0);
    sleep(Duration::from_millis(u64::from(luck % 500))).await;
    loop {
        let (probe, rtt) = ask(&trunk, at, &sip).await;
        if let Some(news) = trunk.probed(at, probe, rtt, store.now()) {
            tell(&trunk, news, &store).await;
        }
        match trunk.pause(at) {
            Some(pause) => sleep(pause).await,
            None => return,
        }
    }
}

async fn ask(trunk: &LiveTrunk, at: usize, sip: &SipStack) -> (Probe, Option<Duration>) {
    let Some(hop) = trunk.next_hop(at) else { return (Probe::Silent, None) };
    match sip.options(&hop, Ping { target: None, timeout: PATIENCE }).await {
        Ok(Pong { status, rtt }) => (Probe::Answered(status), Some(rtt)),
        Err(error) => {
            tracing::debug!(trunk = trunk.id, %error, "an address of a trunk does not answer");
            (Probe::Silent, None)
        }
    }
}

/// Keeps a trunk registered for as long as the task lives; then it is taken back.
async fn register(trunk: Arc<LiveTrunk>, store: Store, sip: SipStack) {
    let Some(wanted) = trunk.registers() else { return };
    let config = RegistrationConfig {
        aor: wanted.aor.clone(),
        outbound_proxies: trunk.hops(),
        credentials: trunk.credentials.clone(),
        contact_user: Some(trunk.new_contact_user()),
        expires_s: wanted.expires_s,
        ..RegistrationConfig::default()
    };
    let registration = match sip.register(config).await {
        Ok(registration) => registration,
        Err(error) => return trunk.fault(None, format!("it cannot be registered: {error}"), store.now()),
    };
    let _unregistered = Unregistered(trunk.clone(), registration.id());
    let mut state = registration.state();
    loop {
        let now = store.now();
        let status = shown(&state.borrow_and_update(), now);
        let Some(status) = status else { return };
        if let Some(news) = trunk.registered(registration.id(), status, now) {
            tell(&trunk, news, &store).await;
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Calls do not go out by a registration whose task has ended.
struct Unregistered(Arc<LiveTrunk>, RegistrationId);

impl Drop for Unregistered {
    fn drop(&mut self) {
        self.0.unregistered(self.1);
    }
}

/// What the API shows of a state; none for one that is over.
fn shown(state: &RegistrationState, now: UnixMs) -> Option<RegistrationStatus> {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let bare = |state| RegistrationStatus { state, until: None, status: None, reason: None, retry_at: None };
    match state {
        RegistrationState::Trying => Some(bare("trying")),
        RegistrationState::Registered { until } => {
            let left = until.saturating_duration_since(Instant::now().into_std());
            Some(RegistrationStatus { until: Some(now.plus(ms(left))), ..bare("registered") })
        }
        RegistrationState::Failed { status, reason, retry_in } => Some(RegistrationStatus {
            status: *status,
            reason: Some(reason.clone()),
            retry_at: Some(now.plus(ms(*retry_in))),
            ..bare("failed")
        }),
        _ => None,
    }
}

/// Tells whoever wants to know.
async fn tell(trunk: &LiveTrunk, news: News, store: &Store) {
    let status = trunk.status();
    tracing::warn!(trunk = trunk.id, name = trunk.settings.name, event = news.event(), "a trunk has changed");
    let data = json!({
        "trunk_id": trunk.id,
        "name": trunk.settings.name,
        "state": status.state,
        "addresses": status.addresses,
        "registration": status.registration,
    });
    if let Err(error) = store.emit_event(&trunk.tenant, news.event(), &data).await {
        tracing::warn!(trunk = trunk.id, %error, "an event of a trunk cannot be written");
    }
}
