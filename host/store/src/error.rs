//! What can go wrong with the store, with codes that the API, the logs and the
//! documentation share.

use crate::dialect;
use serde::Serialize;
use utoipa::ToSchema;

/// One thing wrong with a document that somebody sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where: `sources.appointment.url`.
    pub path: String,
    /// A stable word: `required`, `invalid`, `too_long`, `unknown_name` …
    pub code: String,
    /// For a person.
    pub message: String,
}

impl FieldError {
    /// Puts one together.
    pub fn new(path: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self { path: path.into(), code: code.to_owned(), message: message.into() }
    }
}

/// Why the store did not do it. Nothing of a failed write is kept.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// No such row in this tenant.
    #[error("there is no {kind} {id:?}")]
    NotFound {
        /// `script`, `number` …
        kind: &'static str,
        /// As asked for.
        id: String,
    },
    /// It contradicts what is stored. The code says how: `name_taken`,
    /// `address_taken`, `in_use`, `nothing_to_roll_back` …
    #[error("{message}")]
    Conflict {
        /// Stable.
        code: &'static str,
        /// For a person, with what to do.
        message: String,
    },
    /// What was sent is not right; all that was found wrong is listed.
    #[error("the input is not valid: {}", list(.0))]
    Invalid(Vec<FieldError>),
    /// A version cannot be published while names of its manifest mean nothing.
    #[error("these names of the manifest are not bound: {}; bind them and publish again", .0.join(", "))]
    Unbound(Vec<String>),
    /// The cursor is not one of ours.
    #[error("the cursor is not valid; start the list again without it")]
    InvalidCursor,
    /// The device is full.
    #[error("the disk is full: {0}; free some space, the store goes on by itself")]
    DiskFull(String),
    /// The file or its folder cannot be written.
    #[error("the database cannot be written: {0}; check the owner and the mode of the file and of its folder")]
    ReadOnly(String),
    /// The file is damaged or not a database.
    #[error("the database is damaged: {0}; stop, keep a copy of the file, and restore a backup")]
    Corrupt(String),
    /// A stored artefact is missing or is not what its digest says.
    #[error("the artefact {digest} is missing or damaged in {folder}; upload the version again")]
    Artefact {
        /// `sha256:…`
        digest: String,
        /// Where it was looked for.
        folder: String,
    },
    /// The file or the disk does not answer as it should.
    #[error("the database or its disk is not available: {0}")]
    Unavailable(String),
    /// Too much work is waiting.
    #[error("the database is overloaded: {0}; try again soon")]
    Overloaded(String),
    /// It met other changes of the same, each time it was tried.
    #[error("others changed the same at the same time: {0}; try again")]
    Collision(String),
    /// Another process runs calls on this file, or has this host's name.
    #[error("another callbox uses {0}; stop it, or give this one its own")]
    InUse(String),
    /// The schema is newer than this program.
    #[error("the database was written by a newer version of callbox ({0}); use that version")]
    TooNew(String),
    /// The URL is not one that this program can open.
    #[error("cannot use the database {url:?}: {reason}")]
    BadUrl {
        /// Without credentials.
        url: String,
        /// Why.
        reason: String,
    },
    /// The key that opens its secrets is missing.
    #[error(transparent)]
    Key(#[from] crate::vault::KeyError),
    /// The place for files is not one that this program can use.
    #[error("cannot keep files there: {reason}")]
    BadObjects {
        /// Why; without credentials.
        reason: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A bug on our side, or a database changed by hand.
    #[error("the database answered in a way that was not expected: {0}")]
    Internal(String),
}

fn list(errors: &[FieldError]) -> String {
    let all: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.path, e.message)).collect();
    all.join("; ")
}

impl StoreError {
    /// Stable, for problem documents and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Conflict { code, .. } => code,
            Self::Invalid(_) => "invalid_input",
            Self::Unbound(_) => "unbound_names",
            Self::InvalidCursor => "invalid_cursor",
            Self::DiskFull(_) => "store_disk_full",
            Self::ReadOnly(_) => "store_read_only",
            Self::Corrupt(_) => "store_corrupt",
            Self::Artefact { .. } => "store_artefact",
            Self::Unavailable(_) => "store_unavailable",
            Self::Overloaded(_) => "store_overloaded",
            Self::Collision(_) => "store_collision",
            Self::InUse(_) => "store_in_use",
            Self::TooNew(_) => "store_too_new",
            Self::BadUrl { .. } => "store_bad_url",
            Self::Key(_) => "store_key",
            Self::BadObjects { .. } => "store_bad_objects",
            Self::Closed => "store_closed",
            Self::Internal(_) => "store_internal",
        }
    }

    /// Whether the same may succeed later without anybody changing the request:
    /// what to answer with 503 rather than 500, and what to try again.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::DiskFull(_) | Self::ReadOnly(_) | Self::Unavailable(_) | Self::Overloaded(_) | Self::Collision(_)
        )
    }

    /// One wrong field.
    pub fn invalid(path: &str, code: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(path, code, message)])
    }

    pub(crate) fn not_found(kind: &'static str, id: &str) -> Self {
        Self::NotFound { kind, id: id.chars().take(100).collect() }
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }

    /// A stored text that this program cannot read.
    pub(crate) fn unreadable(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Internal(format!("{what}: {error}"))
    }

    pub(crate) fn io(what: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let detail = format!("{what}: {error}");
        match error.kind() {
            K::StorageFull | K::QuotaExceeded => Self::DiskFull(detail),
            K::PermissionDenied | K::ReadOnlyFilesystem => Self::ReadOnly(detail),
            _ => Self::Unavailable(detail),
        }
    }

    /// Whether a unique index refused the row.
    pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => {
                Self::Overloaded("no connection became free, and none could be made".to_owned())
            }
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Closed,
            sqlx::Error::Io(io) => Self::io("database", io),
            sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Self::Unavailable(error.to_string()),
            sqlx::Error::Database(database) => dialect::meaning(database.as_ref()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as M;
        match error {
            M::Execute(inner) | M::ExecuteMigration(inner, _) => inner.into(),
            M::VersionMissing(version) | M::VersionTooNew(version, _) => Self::TooNew(format!("schema {version}")),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
