//! The database: one schema, tenants from the first table on, the outbox.
//!
//! A [`Store`] is a handle that can be cloned. What it offers is in one module
//! per resource; the functions are methods of `Store`:
//!
//! * [`tenants`], [`keys`], [`audit`], [`idempotency`] – who may do what, and who did; [`quotas`], [`usage`] – how much
//! * [`scripts`], [`bindings`], [`numbers`] – what answers a call; [`routing`] finds it
//! * [`calls`], [`document`], [`completion`] – the books of every call; [`recovery`] closes orphans
//! * [`hosts`] – who runs calls on this database, and who closes those of one that died
//! * [`trunks`], [`sip_accounts`] – by whom calls come and go; [`revisions`] tells hosts of their changes
//! * [`webrtc_tokens`] – what lets a web page call a number
//! * [`webhooks`], [`outbox`], [`deliveries`] – results on their way to customers
//! * [`retention`] – what is swept away when it is old
//! * [`secrets`] – the only way to a secret value; [`vault`] – how it is sealed
//! * [`objects`] – where files are kept: [`blobs`] by digest, [`recordings`]; [`links`] to them
//!
//! The database is an SQLite file or a PostgreSQL, chosen by URL; what differs is in `dialect`. Reads use a pool of
//! connections. Writes go through a queue: an SQLite file has one writer, which commits what is waiting together
//! ([SQLite: one file, write-ahead log, flushed at every commit]), a PostgreSQL several, of several hosts. When a
//! function that writes returns `Ok`, it is on the disk.
//!
//! What it never does: hand out a row of another tenant, put a secret into a
//! list, a log or a debug text, or lose what it has accepted.
//!
//! [SQLite: one file, write-ahead log, flushed at every commit]: https://www.sqlite.org/wal.html

pub mod audit;
pub mod bindings;
pub mod blobs;
pub mod calls;
mod columns;
pub mod completion;
pub mod deliveries;
mod dialect;
pub mod document;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod hosts;
pub mod id;
pub mod idempotency;
pub mod keys;
pub mod links;
pub mod manifest;
pub mod numbers;
pub mod objects;
mod open;
pub mod outbox;
mod page;
pub mod quotas;
pub mod recordings;
pub mod recovery;
pub mod retention;
pub mod revisions;
pub mod routing;
pub mod scripts;
pub mod secrets;
pub mod sip_accounts;
mod statement;
pub mod tenants;
mod time;
pub mod trunks;
pub mod usage;
pub mod vault;
pub mod webhooks;
pub mod webrtc_tokens;
mod writer;

pub use error::{FieldError, StoreError};
pub use id::{Actor, TenantId};
pub use open::{probe, without_password};
pub use page::{Page, PageRequest};
pub use time::{Clock, ManualClock, SystemClock, UnixMs};
pub use vault::{KeyError, KeySource, SealingKey};

use dialect::Dialect;
use objects::Objects;
use sqlx::AnyPool;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use writer::{Db, Turn, Work, Writer};

/// The version of the documents that leave the house (`api_version`).
pub const API_VERSION: &str = "v1";

/// Nothing is put off for longer, ms: the longest pause of anything is a day. What is due later was put off by a clock
/// that was wrong and has been put right since: it is due.
pub(crate) const NOTHING_IS_LATER_MS: i64 = 2 * 86_400_000;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Connections to a PostgreSQL, at most: half of them write. An SQLite file needs no such number.
    pub connections: u32,
    /// How long a read or a write waits for a server that cannot be reached, before it fails as one that may succeed
    /// later ([`StoreError::is_transient`]).
    pub patience: Duration,
    /// Time between signs of life of a host ([`hosts`]).
    pub heartbeat: Duration,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// The keys that seal the secrets in it; none for a file among the artefacts.
    pub keys: Option<KeySource>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        let [patience, heartbeat] = [5, 1].map(Duration::from_secs);
        Self { connections: 16, patience, heartbeat, clock: Arc::new(SystemClock), keys: None }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// The database and the folder of artefacts. Cloning gives another handle.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dialect: Dialect,
    writer: Writer,
    readers: AnyPool,
    clock: Arc<dyn Clock>,
    artefacts: Objects,
    links: tokio::sync::OnceCell<links::LinkKey>,
    /// The file, unless the database lives in memory or elsewhere.
    file: Option<PathBuf>,
    default_tenant: TenantId,
    vault: vault::Vault,
    outbox: Notify,
    signals: Arc<revisions::Signals>,
    claim: std::sync::Mutex<Option<std::fs::File>>,
    heartbeat: Duration,
    taken: std::sync::Mutex<Option<hosts::Taken>>,
    /// Hears of other hosts' changes.
    _listener: Option<revisions::Listener>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("dialect", &self.inner.dialect)
            .field("file", &self.inner.file)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database at `url` (`sqlite:///var/lib/callbox/callbox.db`, `sqlite::memory:` for tests,
    /// `postgres://callbox@db.example/callbox?sslmode=verify-full`), creates what is missing in it, and brings the
    /// schema up to date. Artefacts go into the folder `artefacts`. Call it on a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`] for what cannot be a database, [`StoreError::Unavailable`] for one that does not answer,
    /// [`StoreError::Key`] where its secrets are sealed with a key that is not there.
    pub async fn open(url: &str, artefacts: &Path) -> Result<Self, StoreError> {
        Self::open_with(url, Objects::folder(artefacts)?, StoreOptions::default()).await
    }

    /// The same, with the time from somewhere else.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with_clock(url: &str, artefacts: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::open_with(url, Objects::folder(artefacts)?, StoreOptions { clock, ..StoreOptions::default() }).await
    }

    /// The same, with all that can be chosen.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(url: &str, artefacts: Objects, options: StoreOptions) -> Result<Self, StoreError> {
        let StoreOptions { connections, patience, heartbeat, clock, keys } = options;
        let keys = keys.or_else(|| artefacts.local().map(|folder| KeySource::File(folder.join("store.key"))));
        let keys =
            keys.ok_or_else(|| StoreError::BadObjects { reason: "a key for its secrets has to be given".into() })?;
        let opened = open::open(url, connections, patience).await?;
        let now = clock.now();
        let default_tenant =
            opened.writer.run(Turn::Alone, move |db| Box::pin(tenants::ensure_default(db, now))).await?;
        let signals = Arc::new(revisions::Signals::new());
        let unlocked = opened.writer.run(Turn::Alone, move |db| Box::pin(vault::unlock(db, keys, now))).await;
        let (vault, sealed) = match unlocked {
            Ok(unlocked) => unlocked,
            Err(error) => {
                opened.writer.close().await;
                return Err(error);
            }
        };
        if sealed > 0 {
            open::forget_secrets(url).await?;
            tracing::info!(secrets = sealed, "sealed the secrets that lay in the database in the clear");
        }
        let inner = Inner {
            dialect: opened.dialect,
            writer: opened.writer,
            readers: opened.readers,
            clock,
            artefacts,
            links: tokio::sync::OnceCell::new(),
            file: opened.file,
            default_tenant,
            vault,
            outbox: Notify::new(),
            _listener: opened.server.map(|server| revisions::Listener::start(server, signals.clone())),
            signals,
            claim: std::sync::Mutex::new(None),
            heartbeat,
            taken: std::sync::Mutex::new(None),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The tenant made at the first start.
    #[must_use]
    pub fn default_tenant(&self) -> &TenantId {
        &self.inner.default_tenant
    }

    /// The store's clock.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.inner.clock.now()
    }

    /// Whether reading and writing work: for readiness checks and `callbox doctor`.
    pub async fn check(&self) -> Result<(), StoreError> {
        let tenant = self.default_tenant().clone();
        sqlx::query("SELECT id FROM tenants WHERE id = $1").bind(tenant.0.clone()).fetch_one(self.readers()).await?;
        self.write_beside(move |db| {
            Box::pin(async move {
                sqlx::query("UPDATE tenants SET name = name WHERE id = $1").bind(tenant.0).execute(db).await?;
                Ok(())
            })
        })
        .await
    }

    /// Finishes what is being written and closes the database. Later calls answer
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        self.inner.writer.close().await;
        self.inner.readers.close().await;
    }

    /// Makes the file as good as full at so many pages, as a full disk would: for tests.
    #[doc(hidden)]
    pub async fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        self.write(move |db| {
            Box::pin(async move {
                let pragma = format!("PRAGMA max_page_count = {pages}");
                sqlx::query(sqlx::AssertSqlSafe(pragma)).execute(db).await?;
                Ok(())
            })
        })
        .await
    }

    /// Waits until something new is in the outbox. Several waiters: one wakes.
    pub async fn outbox_changed(&self) {
        self.inner.outbox.notified().await;
    }

    pub(crate) fn readers(&self) -> &AnyPool {
        &self.inner.readers
    }

    /// Writes what nobody else may change at the same time: [`Turn::Alone`].
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, T> + Clone + Send + 'static,
    {
        self.inner.writer.run(Turn::Alone, work).await
    }

    /// Writes what comes often and minds itself whom it meets: [`Turn::Beside`].
    pub(crate) async fn write_beside<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, T> + Clone + Send + 'static,
    {
        self.inner.writer.run(Turn::Beside, work).await
    }

    pub(crate) fn write_some_time<F>(&self, work: F)
    where
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, ()> + Clone + Send + 'static,
    {
        self.inner.writer.try_run(work);
    }

    pub(crate) fn links(&self) -> &tokio::sync::OnceCell<links::LinkKey> {
        &self.inner.links
    }

    pub(crate) fn signals(&self) -> &revisions::Signals {
        &self.inner.signals
    }

    pub(crate) fn vault(&self) -> &vault::Vault {
        &self.inner.vault
    }

    pub(crate) fn wake_outbox(&self) {
        self.inner.outbox.notify_one();
    }
}
