//! What tenants may use, where calls are concerned: how much is kept in memory of it, what is refused is counted and told.

use callbox_store::quotas::Quotas;
use callbox_store::{Store, TenantId};
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An event of one limit of one tenant at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What may be used only so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quota {
    /// Calls at once.
    ConcurrentCalls,
    /// Calls that begin in a second.
    CallsPerSecond,
    /// Scripts.
    Scripts,
    /// Versions of a script.
    Versions,
    /// Components and recordings.
    Storage,
    /// Numbers that may be called.
    OutboundPrefixes,
    /// Legs to the telephone network at once.
    OutboundConcurrent,
    /// Such legs that begin in a minute.
    OutboundRate,
    /// Minutes of such legs in a day.
    OutboundMinutes,
}

impl Quota {
    const ALL: [Self; 9] = [
        Self::ConcurrentCalls,
        Self::CallsPerSecond,
        Self::Scripts,
        Self::Versions,
        Self::Storage,
        Self::OutboundPrefixes,
        Self::OutboundConcurrent,
        Self::OutboundRate,
        Self::OutboundMinutes,
    ];

    /// As in a tenant's `quotas`; for events and figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConcurrentCalls => "concurrent_calls",
            Self::CallsPerSecond => "calls_per_second",
            Self::Scripts => "scripts",
            Self::Versions => "versions_per_script",
            Self::Storage => "storage_mb",
            Self::OutboundPrefixes => "outbound.prefixes",
            Self::OutboundConcurrent => "outbound.concurrent_calls",
            Self::OutboundRate => "outbound.calls_per_minute",
            Self::OutboundMinutes => "outbound.minutes_per_day",
        }
    }
}

/// How old a sum of what a tenant keeps may be when a recording begins.
const SUM_GOOD: Duration = Duration::from_secs(30);

/// What tenants keep, as it was summed a short while ago: a call does not wait for the sum of a million recordings.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Of tenants with a limit alone: as many as there are.
    sums: Mutex<HashMap<TenantId, (Instant, u64)>>,
}

impl Stored {
    /// Whether a tenant keeps as much as it may. Where that is not known, a call is rather recorded than not.
    pub(crate) async fn is_full(&self, store: &Store, tenant: &TenantId, quotas: &Quotas) -> bool {
        let Some(most) = quotas.storage_mb else { return false };
        let known = self.sums.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
        let bytes = match known {
            Some((at, bytes)) if at.elapsed() < SUM_GOOD => bytes,
            _ => match store.storage(tenant).await {
                Ok(storage) => {
                    let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
                    sums.insert(tenant.clone(), (Instant::now(), storage.bytes()));
                    storage.bytes()
                }
                Err(error) => {
                    tracing::warn!(%tenant, %error, "what a tenant keeps is not known");
                    return false;
                }
            },
        };
        bytes >= u64::from(most) << 20
    }
}

/// What was refused. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Refusals {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    counts: [AtomicU64; Quota::ALL.len()],
    /// When a tenant was told last of a limit: as many as there are tenants, and limits.
    told: Mutex<HashMap<(TenantId, Quota), Instant>>,
}

impl Refusals {
    pub(crate) fn new(store: Store) -> Self {
        Self { inner: Arc::new(Inner { store, counts: Default::default(), told: Mutex::default() }) }
    }

    /// How often each limit was met since the start.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let count = |(quota, count): (Quota, &AtomicU64)| (quota.name(), count.load(Ordering::Relaxed));
        Quota::ALL.into_iter().zip(&self.inner.counts).map(count).collect()
    }

    /// Counts one, and tells the tenant (`quota.exceeded`), once a minute.
    pub(crate) fn count(&self, tenant: &TenantId, quota: Quota, number: Option<&str>) {
        if let Some(count) = Quota::ALL.iter().position(|one| *one == quota).and_then(|at| self.inner.counts.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        {
            let mut told = self.inner.told.lock().unwrap_or_else(PoisonError::into_inner);
            let last = told.get(&(tenant.clone(), quota));
            if last.is_some_and(|last| last.elapsed() < TOLD_EVERY) {
                return;
            }
            told.insert((tenant.clone(), quota), Instant::now());
        }
        tracing::warn!(%tenant, quota = quota.name(), number, "a tenant wants more than it may");
        let (store, tenant) = (self.inner.store.clone(), tenant.clone());
        let data = json!({ "quota": quota.name(), "number_id": number });
        tokio::spawn(async move {
            if let Err(error) = store.emit_event(&tenant, "quota.exceeded", &data).await {
                tracing::warn!(%tenant, %error, "a tenant could not be told of its limit");
            }
        });
    }
}
