//! From a URL to a database that is open: its schema brought up to date, the way to its writers, the connections that
//! read.

use crate::dialect::{self, Dialect};
use crate::error::StoreError;
use crate::writer::Writer;
use sqlx::AnyPool;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use url::Url;

/// Connections that read an SQLite file.
const READERS: u32 = 4;
/// Longest wait for one of them.
const BUSY: Duration = Duration::from_secs(10);
/// A PostgreSQL that does not answer within this time cannot be reached.
const REACH: Duration = Duration::from_secs(10);

/// An open database.
pub(crate) struct Opened {
    pub(crate) dialect: Dialect,
    pub(crate) writer: Writer,
    pub(crate) readers: AnyPool,
    /// The file, unless the database lives in memory or elsewhere.
    pub(crate) file: Option<PathBuf>,
    /// For connections of another kind: those that listen.
    pub(crate) server: Option<PgConnectOptions>,
}

/// A database's URL without its password: for messages, and wherever a configuration is shown.
#[must_use]
pub fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            // Fails where there can be none.
            let _ = url.set_password(None);
            let visible: Vec<(String, String)> =
                url.query_pairs().filter(|(name, _)| name != "password").map(|(n, v)| (n.into(), v.into())).collect();
            if visible.is_empty() {
                url.set_query(None);
            } else {
                url.query_pairs_mut().clear().extend_pairs(visible);
            }
            url.into()
        }
        Err(_) => format!("{}:…", url.split(':').next().unwrap_or_default()),
    }
}

fn bad_url(url: &str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::BadUrl { url: without_password(url), reason: reason.to_string() }
}

/// Opens the database at `url`, with so many connections where it is a server.
pub(crate) async fn open(url: &str, connections: u32, patience: Duration) -> Result<Opened, StoreError> {
    sqlx::any::install_default_drivers();
    match Dialect::of_url(url) {
        Some(Dialect::Sqlite) => sqlite(url).await,
        Some(Dialect::Postgres) => postgres(url, connections, patience).await,
        None => Err(no_scheme(url)),
    }
}

fn no_scheme(url: &str) -> StoreError {
    let url = format!("{}:…", url.split(':').next().unwrap_or_default());
    StoreError::BadUrl { url, reason: "it begins with sqlite: or postgres:".to_owned() }
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

/// A database in memory is shared by its name within the process.
fn memory_url() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("sqlite:file:callbox-{}?mode=memory&cache=shared", COUNT.fetch_add(1, Ordering::Relaxed))
}

async fn sqlite(url: &str) -> Result<Opened, StoreError> {
    let given = SqliteConnectOptions::from_str(url).map_err(|error| bad_url(url, error))?;
    let memory = url.contains(":memory:") || url.contains("mode=memory");
    let (url, file) = if memory {
        (Url::parse(&memory_url()).map_err(|error| bad_url(url, error))?, None)
    } else {
        let path = std::path::absolute(given.get_filename()).map_err(|error| bad_url(url, error))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|e| StoreError::io(&format!("creating {}", folder.display()), &e))?;
        }
        keep_private(&path)?;
        (given.filename(&path).create_if_missing(true).to_url_lossy(), Some(path))
    };
    let mut native = SqliteConnectOptions::from_url(&url).map_err(|error| bad_url(url.as_str(), error))?;
    if !memory {
        // Kept in the file: all later connections find it so.
        native = native.journal_mode(SqliteJournalMode::Wal);
    }
    // Kept open until the others are: a database in memory ends with its last connection.
    let first = SqlitePoolOptions::new().max_connections(1).connect_with(native).await?;
    sqlx::migrate!("./migrations").run(&first).await?;
    let options = AnyConnectOptions::from_url(&url)?.disable_statement_logging();
    let mut connection = options.connect().await?;
    connection.execute(Dialect::Sqlite.for_writing()).await?;
    let readers = readers(Dialect::Sqlite)
        .max_connections(READERS)
        .min_connections(1)
        .acquire_timeout(BUSY)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options.clone())
        .await?;
    first.close().await;
    let writer = Writer::sqlite(connection, options);
    Ok(Opened { dialect: Dialect::Sqlite, writer, readers, file, server: None })
}

async fn postgres(url: &str, connections: u32, patience: Duration) -> Result<Opened, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| bad_url(url, error))?.application_name("callbox");
    // A pool would try until its time is up, and not say why.
    let reached = tokio::time::timeout(REACH, options.connect()).await;
    let reached = reached.map_err(|_| StoreError::Unavailable(format!("{} does not answer", without_password(url))))?;
    reached.map_err(|error| unreachable(url, error))?.close().await?;
    // By way of a pool because the future of a migration over a borrowed connection is not `Send`.
    let first = PgPoolOptions::new().max_connections(1).acquire_timeout(REACH).connect_with(options.clone()).await?;
    dialect::before_migrations(&first).await?;
    sqlx::migrate!("./migrations").run(&first).await?;
    first.close().await;
    let any = AnyConnectOptions::from_url(&Url::parse(url).map_err(|error| bad_url(url, error))?)?;
    let any = any.disable_statement_logging();
    let writing = (connections / 2).max(1);
    let readers = readers(Dialect::Postgres)
        .max_connections((connections - writing.min(connections)).max(1))
        .acquire_timeout(patience)
        .connect_lazy_with(any.clone());
    let writer = Writer::postgres(any, writing, patience);
    Ok(Opened { dialect: Dialect::Postgres, writer, readers, file: None, server: Some(options) })
}

/// Writes anew what once held secrets in the clear, so that they are in no page that is free now, nor in SQLite's log.
pub(crate) async fn forget_secrets(url: &str) -> Result<(), StoreError> {
    let parsed = Url::parse(url).map_err(|error| bad_url(url, error))?;
    let mut db = AnyConnectOptions::from_url(&parsed)?.disable_statement_logging().connect().await?;
    let statements: &[&str] = match Dialect::of(&db) {
        Dialect::Sqlite => &["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"],
        Dialect::Postgres => &["VACUUM FULL secrets"],
    };
    for statement in statements {
        db.execute(*statement).await?;
    }
    Ok(db.close().await?)
}

/// What is at a URL, without changing anything there: for `callbox doctor`.
///
/// # Errors
/// Why a store could not be opened there.
pub async fn probe(url: &str) -> Result<String, StoreError> {
    match Dialect::of_url(url) {
        Some(Dialect::Postgres) => probe_postgres(url).await,
        Some(Dialect::Sqlite) => {
            let path = SqliteConnectOptions::from_str(url).map_err(|error| bad_url(url, error))?;
            let path = path.get_filename().to_path_buf();
            Ok(format!("SQLite, {}{}", path.display(), if path.exists() { "" } else { " (made at the first start)" }))
        }
        None => Err(no_scheme(url)),
    }
}

async fn probe_postgres(url: &str) -> Result<String, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| bad_url(url, error))?;
    let reached = tokio::time::timeout(REACH, options.connect()).await;
    let reached = reached.map_err(|_| StoreError::Unavailable(format!("{} does not answer", without_password(url))))?;
    let mut db = reached.map_err(|error| unreachable(url, error))?;
    let (version, connections, makes_tables, standby): (String, String, bool, bool) = sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('max_connections'),
                has_schema_privilege(current_schema(), 'CREATE'), pg_is_in_recovery()",
    )
    .fetch_one(&mut db)
    .await?;
    db.close().await?;
    if standby {
        return Err(StoreError::ReadOnly("the server is a standby".to_owned()));
    }
    if !makes_tables {
        return Err(StoreError::ReadOnly("the role may not make tables: GRANT CREATE ON SCHEMA".to_owned()));
    }
    Ok(format!("PostgreSQL {version}, {connections} connections allowed, {}", without_password(url)))
}

/// What is wrong with a database that cannot be connected to: mostly what was configured.
fn unreachable(url: &str, error: sqlx::Error) -> StoreError {
    match error.as_database_error().and_then(|error| error.code()).as_deref() {
        // The role or its password, the database's name.
        Some("28000" | "28P01" | "3D000") => bad_url(url, error),
        _ => match error.into() {
            StoreError::Unavailable(why) => StoreError::Unavailable(format!("{}: {why}", without_password(url))),
            other => other,
        },
    }
}

fn readers(dialect: Dialect) -> AnyPoolOptions {
    AnyPoolOptions::new().after_connect(move |db, _| {
        Box::pin(async move {
            db.execute(sqlx::AssertSqlSafe(dialect.for_reading())).await?;
            Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for url in ["postgres://u:hunter2@h/d?sslmode=disable&password=hunter2", "postgres://u:hunter2@[/d", "hunter2"]
        {
            let shown = without_password(url);
            assert!(!shown.contains("hunter2") || url == "hunter2", "{shown}");
        }
        assert_eq!(without_password("postgres://u:p@h/d?sslmode=disable"), "postgres://u@h/d?sslmode=disable");
    }
}
