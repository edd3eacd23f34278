//! What calls to the telephone network cost a tenant, kept within its limits.
//!
//! Every leg that goes out to a number passes [`Tolls::begin`] – placed through the API, by a script's transfer, or since
//! the far end asked for it – in `Dial::attempts`, which nothing goes round. What is refused is told to the script or to
//! whoever asked, counted, and said in an event. What was talked is counted in the database, so that all hosts know.

use crate::quotas::{Quota, Refusals};
use callbox_store::quotas::OutboundQuotas;
use callbox_store::usage::TollLeg;
use callbox_store::{Store, StoreError, TenantId};
use callbox_trunk::tolls::{Barred, Prefixes, TollGate, TollLimits};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::time::Instant;

/// At whose expense is called, and how far that goes.
#[derive(Clone, Debug)]
pub(crate) struct Payer {
    tenant: TenantId,
    number: Option<String>,
    /// Of the tenant, and of the number: a number can only narrow what its tenant may.
    terms: [Terms; 2],
    /// Codes of the countries as which a number may be read.
    countries: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Terms {
    prefixes: Prefixes,
    limits: TollLimits,
}

impl Terms {
    fn of(quotas: &OutboundQuotas, unless_given: Prefixes) -> Self {
        let limits = TollLimits {
            concurrent: quotas.concurrent_calls,
            per_minute: quotas.calls_per_minute,
            ms_per_day: quotas.minutes_per_day.map(|minutes| u64::from(minutes) * 60_000),
        };
        let prefixes = Prefixes {
            allowed: quotas.allowed_prefixes.clone().unwrap_or(unless_given.allowed),
            denied: quotas.denied_prefixes.clone().unwrap_or(unless_given.denied),
        };
        Self { prefixes, limits }
    }
}

impl Payer {
    /// A tenant with these limits, and one of its numbers with its own.
    pub(crate) fn new(
        tenant: TenantId,
        quotas: &OutboundQuotas,
        number: Option<(String, &OutboundQuotas)>,
        countries: Vec<String>,
    ) -> Self {
        let of_number = number.as_ref().map(|(_, own)| Terms::of(own, Prefixes::default()));
        Self {
            tenant,
            terms: [Terms::of(quotas, Prefixes::without_premium()), of_number.unwrap_or_default()],
            number: number.map(|(number, _)| number),
            countries,
        }
    }

    fn admits(&self, number: &str) -> bool {
        let countries: Vec<&str> = self.countries.iter().map(String::as_str).collect();
        self.terms.iter().all(|terms| terms.prefixes.admit(number, &countries))
    }

    fn has_minutes(&self) -> bool {
        self.terms.iter().any(|terms| terms.limits.ms_per_day.is_some())
    }
}

/// Why nobody is called at a tenant's expense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TollRefusal {
    /// The number is not one that may be called.
    #[error("numbers that begin so may not be called by this tenant or number")]
    Prefix,
    /// As many at once as there may be.
    #[error("as many calls to the telephone network are up as there may be")]
    Concurrent,
    /// Too many within a minute.
    #[error("more calls to the telephone network begin in a minute than there may")]
    Rate {
        /// Then one may.
        retry_in_ms: u64,
    },
    /// The minutes of the day are used up.
    #[error("the minutes of calls to the telephone network are used up for today")]
    Spent,
    /// The database does not say what was used.
    #[error("what was used today is not known: {0}")]
    Unknown(StoreError),
}

impl TollRefusal {
    /// The SIP status for it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Prefix => 403,
            Self::Concurrent | Self::Rate { .. } | Self::Spent | Self::Unknown(_) => 503,
        }
    }

    const fn quota(&self) -> Option<Quota> {
        Some(match self {
            Self::Prefix => Quota::OutboundPrefixes,
            Self::Concurrent => Quota::OutboundConcurrent,
            Self::Rate { .. } => Quota::OutboundRate,
            Self::Spent => Quota::OutboundMinutes,
            Self::Unknown(_) => return None,
        })
    }
}

impl From<Barred> for TollRefusal {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Prefix => Self::Prefix,
            Barred::Concurrent => Self::Concurrent,
            Barred::Rate { retry_in_ms } => Self::Rate { retry_in_ms },
            Barred::Spent => Self::Spent,
        }
    }
}

/// Whose gate: a tenant's, or that of one of its numbers.
type GateName = (TenantId, Option<String>);

/// The gates of this host. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Tolls {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    host: String,
    refusals: Refusals,
    began: Instant,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    /// One for each tenant and each number that has called out since the start: as many as there are.
    gates: HashMap<GateName, TollGate>,
    /// Legs that are up, with the moment of their answer.
    legs: HashMap<u64, (Arc<Payer>, Arc<OnceLock<Instant>>)>,
    next: u64,
}

impl Books {
    fn gate(&mut self, name: GateName) -> &mut TollGate {
        self.gates.entry(name).or_default()
    }

    /// Milliseconds that legs of the tenant, and of its number, have talked and that nobody has counted yet.
    fn talking(&self, payer: &Payer) -> (u64, u64) {
        let (mut all, mut own) = (0, 0);
        for (other, answered) in self.legs.values().filter(|(other, _)| other.tenant == payer.tenant) {
            let ms = answered.get().map_or(0, ms_since);
            all += ms;
            if other.number == payer.number {
                own += ms;
            }
        }
        (all, own)
    }
}

fn ms_since(at: &Instant) -> u64 {
    u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A leg that is charged for; dropping it ends it.
pub(crate) struct Toll {
    tolls: Tolls,
    id: u64,
    payer: Arc<Payer>,
    answered: Arc<OnceLock<Instant>>,
}

impl std::fmt::Debug for Toll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Toll").field("tenant", &self.payer.tenant).finish_non_exhaustive()
    }
}

impl Tolls {
    pub(crate) fn new(store: Store, host: String, refusals: Refusals) -> Self {
        let inner = Inner { store, host, refusals, began: Instant::now(), books: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // What is behind it is valid after every statement.
        self.inner.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a leg to a number.
    ///
    /// # Errors
    /// Why not: nothing is counted then but the refusal.
    pub(crate) async fn begin(&self, payer: &Arc<Payer>, number: &str) -> Result<Toll, TollRefusal> {
        let spent = if payer.admits(number) && payer.has_minutes() {
            self.inner.store.tolls_today(&payer.tenant, payer.number.as_deref()).await
        } else {
            Ok((0, 0))
        };
        let begun = spent.map_err(TollRefusal::Unknown).and_then(|spent| self.enter(payer, number, spent));
        match begun {
            Ok(id) => {
                let answered = Arc::new(OnceLock::new());
                self.books().legs.insert(id, (payer.clone(), answered.clone()));
                Ok(Toll { tolls: self.clone(), id, payer: payer.clone(), answered })
            }
            Err(refusal) => Err(self.refused(payer, refusal)),
        }
    }

    /// Lets somebody else call there for the tenant, whose talk we do not see: a far end that is referred.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn pass(&self, payer: &Payer, number: &str) -> Result<(), TollRefusal> {
        match self.enter(payer, number, (0, 0)) {
            Ok(_) => {
                self.leave(payer);
                Ok(())
            }
            Err(refusal) => Err(self.refused(payer, refusal)),
        }
    }

    fn enter(&self, payer: &Payer, number: &str, spent: (u64, u64)) -> Result<u64, TollRefusal> {
        if !payer.admits(number) {
            return Err(TollRefusal::Prefix);
        }
        let now = ms_since(&self.inner.began);
        let mut books = self.books();
        let talking = books.talking(payer);
        let spent = [spent.0 + talking.0, spent.1 + talking.1];
        let names = names(payer);
        for ((name, terms), spent) in names.iter().zip(&payer.terms).zip(spent) {
            books.gate(name.clone()).check(&terms.limits, now, spent)?;
        }
        for name in names {
            books.gate(name).enter(now);
        }
        books.next += 1;
        Ok(books.next)
    }

    fn leave(&self, payer: &Payer) {
        let mut books = self.books();
        for name in names(payer) {
            books.gate(name).leave();
        }
    }

    fn refused(&self, payer: &Payer, refusal: TollRefusal) -> TollRefusal {
        if let Some(quota) = refusal.quota() {
            self.inner.refusals.count(&payer.tenant, quota, payer.number.as_deref());
        }
        refusal
    }
}

/// The gates that a leg passes: its tenant's, and its number's where it has one.
fn names(payer: &Payer) -> Vec<GateName> {
    let own = payer.number.clone().map(|number| (payer.tenant.clone(), Some(number)));
    std::iter::once((payer.tenant.clone(), None)).chain(own).collect()
}

impl Toll {
    /// The far end has answered: from now on it costs.
    pub(crate) fn answered(&self) {
        // A second answer changes nothing.
        let _ = self.answered.set(Instant::now());
    }
}

impl Drop for Toll {
    fn drop(&mut self) {
        let ms = self.answered.get().map_or(0, ms_since);
        self.tolls.leave(&self.payer);
        let (tolls, id) = (self.tolls.clone(), self.id);
        let Payer { tenant, number, .. } = &*self.payer;
        let host = tolls.inner.host.clone();
        let leg = TollLeg { tenant_id: tenant.clone(), number_id: number.clone(), host, ms };
        let counted = async move {
            if let Err(error) = tolls.inner.store.count_toll(leg.clone()).await {
                let TollLeg { tenant_id, ms, .. } = leg;
                tracing::error!(tenant = %tenant_id, ms, %error, "a leg to the telephone network is not in the books");
            }
            // Until then it is one that talks.
            tolls.books().legs.remove(&id);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(counted)),
            // The process ends.
            Err(_) => drop(self.tolls.books().legs.remove(&self.id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tolls(folder: &tempfile::TempDir) -> (Tolls, Store) {
        let store = Store::open("sqlite::memory:", folder.path()).await.unwrap();
        (Tolls::new(store.clone(), "host".into(), Refusals::new(store.clone())), store)
    }

    fn payer(store: &Store, quotas: &str, number: Option<&str>) -> Arc<Payer> {
        let own: OutboundQuotas = serde_json::from_str(number.unwrap_or("{}")).unwrap();
        let number = number.map(|_| ("num_1".to_owned(), &own));
        let quotas = serde_json::from_str(quotas).unwrap();
        Arc::new(Payer::new(store.default_tenant().clone(), &quotas, number, vec!["49".into()]))
    }

    #[tokio::test]
    async fn a_script_that_dials_a_thousand_numbers_gets_its_cap_and_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let (tolls, store) = tolls(&folder).await;
        let webhook = callbox_store::webhooks::NewWebhook {
            url: "https://a.example/".into(),
            description: None,
            event_types: ["quota.exceeded".to_owned()].into(),
            enabled: true,
        };
        let who = callbox_store::Actor::system();
        let tenant = store.default_tenant().clone();
        store.create_webhook(&tenant, webhook, &who).await.unwrap();
        let payer = payer(&store, r#"{"calls_per_minute": 7}"#, None);
        let mut begun = 0;
        for at in 0..1_000 {
            match tolls.begin(&payer, &format!("+{}", 1_000_000_007_u64 + 37_000_003 * at)).await {
                // It hangs up at once.
                Ok(toll) => {
                    drop(toll);
                    begun += 1;
                }
                Err(TollRefusal::Prefix) => {}
                Err(refusal) => assert!(matches!(refusal, TollRefusal::Rate { .. }), "{refusal}"),
            }
        }
        assert_eq!(begun, 7);
        let counts = tolls.inner.refusals.counts();
        let of = |quota| counts.iter().find(|(name, _)| *name == quota).unwrap().1;
        assert_eq!(of("outbound.calls_per_minute") + of("outbound.prefixes"), 993);
        let found = async {
            loop {
                let events = store.deliveries(&tenant, &Default::default(), &Default::default()).await.unwrap().data;
                if events.len() >= 2 {
                    return events;
                }
                tokio::task::yield_now().await;
            }
        };
        let events = tokio::time::timeout(std::time::Duration::from_secs(20), found).await.unwrap();
        assert_eq!(events.len(), 2, "one a minute for each limit, however often it is met");
    }

    #[tokio::test]
    async fn a_number_only_narrows_what_its_tenant_may() {
        let folder = tempfile::tempdir().unwrap();
        let (tolls, store) = tolls(&folder).await;
        let own = r#"{"allowed_prefixes": ["+4930", "+881"], "concurrent_calls": 1}"#;
        let payer = payer(&store, r#"{"allowed_prefixes": ["+49"], "concurrent_calls": 2}"#, Some(own));
        let tenant_alone =
            Arc::new(Payer { number: None, terms: [payer.terms[0].clone(), Terms::default()], ..(*payer).clone() });
        for barred in ["+881631234567", "+4989123", "+49900123"] {
            assert_eq!(tolls.begin(&payer, barred).await.unwrap_err(), TollRefusal::Prefix, "{barred}");
            assert_eq!(tolls.pass(&payer, barred).unwrap_err(), TollRefusal::Prefix, "{barred}");
        }
        let one = tolls.begin(&payer, "+4930123").await.unwrap();
        assert_eq!(tolls.begin(&payer, "030124").await.unwrap_err(), TollRefusal::Concurrent);
        let two = tolls.begin(&tenant_alone, "+4989123").await.unwrap();
        assert_eq!(tolls.begin(&tenant_alone, "+4989124").await.unwrap_err(), TollRefusal::Concurrent);
        drop(one);
        let _three = tolls.begin(&payer, "+4930123").await.unwrap();
        drop(two);
    }

    #[tokio::test]
    async fn the_minutes_of_a_day_are_used_up_by_what_is_over_and_by_what_is_up() {
        let folder = tempfile::tempdir().unwrap();
        let (tolls, store) = tolls(&folder).await;
        let payer = payer(&store, r#"{"minutes_per_day": 1}"#, None);
        let leg = |ms| TollLeg { tenant_id: store.default_tenant().clone(), number_id: None, host: "other".into(), ms };
        store.count_toll(leg(59_990)).await.unwrap();
        let toll = tolls.begin(&payer, "+4930123").await.unwrap();
        toll.answered();
        let spent = async {
            while tolls.begin(&payer, "+4930124").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), spent).await.unwrap();
        drop(toll);
        // Another host knows it, too.
        let counted = async {
            while store.tolls_today(store.default_tenant(), None).await.unwrap().0 < 60_000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), counted).await.unwrap();
        let elsewhere = Tolls::new(store.clone(), "third".into(), Refusals::new(store.clone()));
        assert_eq!(elsewhere.begin(&payer, "+4930123").await.unwrap_err(), TollRefusal::Spent);
    }
}
