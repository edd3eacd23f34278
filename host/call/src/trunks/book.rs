//! All trunks in service, as they were when the database was read last.

use super::keeper::Keeper;
use super::live::LiveTrunk;
use super::status::{ChannelStatus, TrunkStatus};
use callbox_sip::overload::SourcePolicy;
use callbox_sip::{InviteInfo, SipStack};
use callbox_store::{Store, TenantId};
use callbox_trunk::health::State;
use callbox_trunk::inbound::{Known, Matcher, Proof, SignedIn, Source};
use callbox_trunk::select::{self, Offer};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The book. Clones are the same.
#[derive(Clone)]
pub struct TrunkBook {
    pages: Arc<Mutex<Arc<Pages>>>,
    /// How often it was read from the database, for those who wait for a change.
    read: watch::Sender<u64>,
    stop: CancellationToken,
}

/// What the book says. It is replaced as a whole.
#[derive(Default)]
pub(super) struct Pages {
    trunks: Vec<Arc<LiveTrunk>>,
    matcher: Matcher,
    tenants: HashMap<TenantId, Vec<usize>>,
}

impl std::fmt::Debug for TrunkBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrunkBook").field("trunks", &self.pages().trunks.len()).finish_non_exhaustive()
    }
}

impl TrunkBook {
    /// A book that is read from the database and kept up to date, with its trunks asked how they are and registered,
    /// until [`TrunkBook::close`]. The stack trusts their networks besides `sources`.
    #[must_use]
    pub fn open(store: Store, sip: SipStack, sources: SourcePolicy) -> Self {
        let book = Self { pages: Arc::default(), read: watch::Sender::new(0), stop: CancellationToken::new() };
        let stop = book.stop.clone();
        tokio::spawn(Keeper::new(book.clone(), store, sip, sources).run(stop));
        book
    }

    /// Asks no more, and registers no more: what is registered is taken back.
    pub fn close(&self) {
        self.stop.cancel();
    }

    /// Waits until the book has been read for the first time. Calls that come before find no trunk.
    pub async fn ready(&self) {
        // The sender lives as long as self.
        let _ = self.read.subscribe().wait_for(|read| *read > 0).await;
    }

    /// How a tenant's trunk is just now; one that is not in service is said to be so.
    #[must_use]
    pub fn status(&self, tenant: &TenantId, trunk: &str) -> TrunkStatus {
        self.find(tenant, trunk).map_or_else(
            || TrunkStatus {
                trunk_id: trunk.to_owned(),
                in_service: false,
                state: State::Unknown,
                addresses: Vec::new(),
                registration: None,
                channels: ChannelStatus::default(),
                last_errors: Vec::new(),
            },
            |trunk| trunk.status(),
        )
    }

    /// How all trunks in service are just now, those of all tenants: for the operator.
    #[must_use]
    pub fn all(&self) -> Vec<TrunkStatus> {
        self.pages().trunks.iter().map(|trunk| trunk.status()).collect()
    }

    pub(super) fn pages(&self) -> Arc<Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is to be said from now on.
    pub(super) fn replace(&self, trunks: Vec<Arc<LiveTrunk>>) {
        let pages = Arc::new(Pages::new(trunks));
        *self.pages.lock().unwrap_or_else(PoisonError::into_inner) = pages;
        self.read.send_modify(|read| *read += 1);
    }

    /// A tenant's trunk in service.
    pub(crate) fn find(&self, tenant: &TenantId, trunk: &str) -> Option<Arc<LiveTrunk>> {
        self.pages().of(tenant).find(|known| known.id == trunk).cloned()
    }

    /// Whether a tenant has a trunk that calls can go out by.
    pub(crate) fn serves(&self, tenant: &TenantId) -> bool {
        self.pages().of(tenant).any(|trunk| !trunk.settings.addresses.is_empty())
    }

    /// Codes of the countries as which a tenant's trunks read numbers that are dialled as at home.
    pub(crate) fn countries(&self, tenant: &TenantId) -> Vec<String> {
        let pages = self.pages();
        let national = pages.of(tenant).filter_map(|trunk| trunk.settings.numbers.national.as_ref());
        let mut countries: Vec<String> = national.map(|national| national.country_code.clone()).collect();
        countries.sort_unstable();
        countries.dedup();
        countries
    }

    /// The trunks by which a tenant's call to a number goes, in the order to try them.
    pub(crate) fn for_number(&self, tenant: &TenantId, number: &str) -> Vec<Arc<LiveTrunk>> {
        let pages = self.pages();
        let trunks: Vec<_> = pages.of(tenant).filter(|trunk| !trunk.settings.addresses.is_empty()).collect();
        let offers: Vec<_> = trunks
            .iter()
            .map(|trunk| Offer {
                prefixes: &trunk.settings.prefixes,
                order: trunk.settings.order,
                usable: trunk.state() != State::Down,
            })
            .collect();
        select::trunks(&offers, number).into_iter().map(|at| trunks[at].clone()).collect()
    }

    /// The trunks that a call may have come by: at most one of each tenant, the strongest proof first.
    pub(crate) fn of_call(&self, invite: &InviteInfo, account: Option<SignedIn<'_>>) -> Vec<(Arc<LiveTrunk>, Proof)> {
        let pages = self.pages();
        let brought = invite.registration;
        let source = Source {
            ip: invite.source.ip(),
            tls_identities: &invite.tls_identities,
            account,
            registration: pages.trunks.iter().position(|trunk| brought.is_some() && trunk.registration() == brought),
        };
        let found = pages.matcher.find(source).into_iter();
        found.map(|found| (pages.trunks[found.trunk].clone(), found.proof)).collect()
    }
}

impl Pages {
    fn new(trunks: Vec<Arc<LiveTrunk>>) -> Self {
        let known: Vec<_> = trunks
            .iter()
            .map(|trunk| Known { tenant: trunk.tenant.as_str(), inbound: &trunk.settings.inbound })
            .collect();
        let matcher = Matcher::new(&known);
        let mut tenants: HashMap<TenantId, Vec<usize>> = HashMap::new();
        for (at, trunk) in trunks.iter().enumerate() {
            tenants.entry(trunk.tenant.clone()).or_default().push(at);
        }
        Self { trunks, matcher, tenants }
    }

    pub(super) fn trunk(&self, id: &str) -> Option<&Arc<LiveTrunk>> {
        self.trunks.iter().find(|trunk| trunk.id == id)
    }

    fn of(&self, tenant: &TenantId) -> impl Iterator<Item = &Arc<LiveTrunk>> {
        self.tenants.get(tenant).into_iter().flatten().map(|&at| &self.trunks[at])
    }
}
