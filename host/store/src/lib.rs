//! The database: one schema, tenants from the first table on, the outbox.
//!
//! A [`Store`] is a handle that can be cloned. What it offers is in one module
//! per resource; the functions are methods of `Store`:
//!
//! * [`tenants`], [`keys`], [`audit`], [`idempotency`] – who may do what, and who did
//! * [`scripts`], [`bindings`], [`numbers`] – what answers a call; [`routing`] finds it
//! * [`calls`], [`document`], [`completion`] – the books of every call; [`recovery`] closes orphans
//! * [`trunks`], [`sip_accounts`] – by whom calls come and go; [`revisions`] tells hosts of their changes
//! * [`webrtc_tokens`] – what lets a web page call a number
//! * [`webhooks`], [`outbox`], [`deliveries`] – results on their way to customers
//! * [`secrets`] – the only way to a secret value
//! * [`blobs`] – uploaded components, by digest
//!
//! Reads use a pool of connections; all writes go through one writer that
//! commits what is waiting together ([SQLite: one file, write-ahead log, flushed
//! at every commit]). When a function that writes returns `Ok`, it is on the disk.
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
pub mod document;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod id;
pub mod idempotency;
pub mod keys;
pub mod manifest;
pub mod numbers;
pub mod outbox;
mod page;
#[cfg(test)]
mod plans;
pub mod recovery;
pub mod revisions;
pub mod routing;
pub mod scripts;
pub mod secrets;
pub mod sip_accounts;
pub mod tenants;
mod time;
pub mod trunks;
pub mod webhooks;
pub mod webrtc_tokens;
mod writer;

pub use error::{FieldError, StoreError};
pub use id::{Actor, TenantId};
pub use page::{Page, PageRequest};
pub use time::{Clock, ManualClock, SystemClock, UnixMs};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use writer::{Db, Work, Writer};

/// The version of the documents that leave the house (`api_version`).
pub const API_VERSION: &str = "v1";

/// Connections for reading.
const READERS: u32 = 4;
/// Longest wait for a lock that another process holds.
const BUSY: Duration = Duration::from_secs(5);

/// The database and the folder of artefacts. Cloning gives another handle.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Writer,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    artefacts: PathBuf,
    /// The file, unless the database lives in memory.
    file: Option<PathBuf>,
    default_tenant: TenantId,
    outbox: Notify,
    signals: revisions::Signals,
    claim: std::sync::Mutex<Option<std::fs::File>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("file", &self.inner.file).finish_non_exhaustive()
    }
}

/// The file holds secrets: nobody else on the machine reads it. SQLite gives its
/// companions (`-wal`, `-shm`) the mode of the file.
fn keep_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::io(&format!("creating {}", path.display()), &error)),
    }
}

impl Store {
    /// Opens the database at `url` (`sqlite:///var/lib/callbox/callbox.db`,
    /// `sqlite::memory:` for tests), creates what is missing, and brings the schema
    /// up to date. Artefacts go into the folder `artefacts`. Call it on a tokio
    /// runtime.
    pub async fn open(url: &str, artefacts: &Path) -> Result<Self, StoreError> {
        Self::open_with_clock(url, artefacts, Arc::new(SystemClock)).await
    }

    /// The same, with the time from somewhere else.
    pub async fn open_with_clock(url: &str, artefacts: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        if !url.starts_with("sqlite:") {
            let scheme = url.split(':').next().unwrap_or_default();
            return Err(StoreError::BadUrl {
                url: format!("{scheme}:…"),
                reason: "only sqlite: can be used by this version".to_owned(),
            });
        }
        let bad_url = |reason: String| StoreError::BadUrl { url: url.to_owned(), reason };
        let memory = url.contains(":memory:") || url.contains("mode=memory");
        let mut options = SqliteConnectOptions::from_str(url)
            .map_err(|error| bad_url(error.to_string()))?
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .statement_cache_capacity(256)
            .disable_statement_logging();
        let mut file = None;
        if !memory {
            let path = options.get_filename().to_path_buf();
            if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)
                    .map_err(|e| StoreError::io(&format!("creating {}", folder.display()), &e))?;
            }
            keep_private(&path)?;
            file = Some(path);
            options = options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("journal_size_limit", "67108864");
        }
        std::fs::create_dir_all(artefacts)
            .map_err(|e| StoreError::io(&format!("creating {}", artefacts.display()), &e))?;
        // By way of a pool because the future of a migration over a borrowed connection is not `Send`.
        let first = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        sqlx::migrate!("./migrations").run(&first).await?;
        let mut connection = first.acquire().await?.detach();
        let default_tenant = tenants::ensure_default(&mut connection, clock.now()).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(1)
            .acquire_timeout(Duration::from_secs(10))
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.clone().pragma("query_only", "1"))
            .await?;
        let inner = Inner {
            writer: Writer::start(connection, options),
            readers,
            clock,
            artefacts: artefacts.to_path_buf(),
            file,
            default_tenant,
            outbox: Notify::new(),
            signals: revisions::Signals::new(),
            claim: std::sync::Mutex::new(None),
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
        self.write(move |db| {
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

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, T> + Send + 'static,
    {
        self.inner.writer.run(work).await
    }

    pub(crate) fn write_some_time<F>(&self, work: F)
    where
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, ()> + Send + 'static,
    {
        self.inner.writer.try_run(work);
    }

    pub(crate) fn signals(&self) -> &revisions::Signals {
        &self.inner.signals
    }

    pub(crate) fn wake_outbox(&self) {
        self.inner.outbox.notify_one();
    }
}
