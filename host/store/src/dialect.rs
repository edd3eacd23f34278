//! Where SQLite and PostgreSQL differ. Every statement of this crate is written once, in what both understand:
//! `$1` for an argument, text, 64-bit integers and bytes for values, `ON CONFLICT`, `RETURNING`. The rest is here.

use crate::error::StoreError;
use crate::writer::Db;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Executor, PgPool};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// One file, one process that runs calls.
    Sqlite,
    /// A server, several hosts.
    Postgres,
}

/// Of the advisory lock that a write takes whose turn comes alone ([`crate::writer::Turn::Alone`]): `call` in ASCII, so
/// that it is told from others' in `pg_locks`.
const TURN: &str = "BEGIN; SELECT pg_advisory_xact_lock(1667329132, 0)";

/// A statement ends after 15 s, a wait for a lock after 10 s, and a transaction whose host has stopped in the middle of
/// it, with all it has locked, after 20 s.
const LIMITS: &str = "SET statement_timeout = 15000; SET lock_timeout = 10000; \
                      SET idle_in_transaction_session_timeout = 20000; SET client_min_messages = warning";

/// `BLOB` is the one type that PostgreSQL does not know. Several hosts may come at once.
const BLOB: &str = "DO $$ BEGIN CREATE DOMAIN blob AS bytea; \
                    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";

impl Dialect {
    pub(crate) fn of(db: &Db) -> Self {
        if db.backend_name() == "PostgreSQL" { Self::Postgres } else { Self::Sqlite }
    }

    /// By the scheme of a URL.
    pub(crate) fn of_url(url: &str) -> Option<Self> {
        match url.split_once(':')?.0 {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            _ => None,
        }
    }

    /// Prepares a connection that writes.
    pub(crate) const fn for_writing(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864",
            Self::Postgres => LIMITS,
        }
    }

    /// Prepares a connection that only reads.
    pub(crate) fn for_reading(self) -> String {
        match self {
            Self::Sqlite => "PRAGMA query_only = 1".to_owned(),
            Self::Postgres => format!("{LIMITS}; SET default_transaction_read_only = on"),
        }
    }

    /// Begins a transaction that no other of its kind runs beside, of whichever host.
    pub(crate) const fn begin_alone(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => TURN,
        }
    }

    /// Behind a query for rows that somebody else may be taking at the same time: those are left to them. SQLite has one
    /// writer, nobody else is taking any.
    pub(crate) const fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// Tells other hosts something (`$2`) on a channel (`$1`) when the transaction is committed. Nobody else is there to
    /// be told where the database is a file.
    pub(crate) const fn notify(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_notify($1, $2)"),
        }
    }

    /// Behind a query for one row that is going to be changed: whoever comes second waits, and reads what the first made
    /// of it.
    pub(crate) const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE",
        }
    }
}

/// What must be there before the schema.
pub(crate) async fn before_migrations(pool: &PgPool) -> Result<(), StoreError> {
    pool.execute(BLOB).await?;
    Ok(())
}

/// What a database's own error means.
pub(crate) fn meaning(error: &dyn DatabaseError) -> StoreError {
    let detail = error.to_string();
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(postgres) => of_postgres(postgres.code(), detail),
        None => of_sqlite(error.code().and_then(|code| code.parse::<u32>().ok()), detail),
    }
}

/// By the primary result code: <https://www.sqlite.org/rescode.html>.
fn of_sqlite(code: Option<u32>, detail: String) -> StoreError {
    match code.map(|code| code & 0xff) {
        Some(13) => StoreError::DiskFull(detail),
        Some(3 | 8) => StoreError::ReadOnly(detail),
        Some(11 | 26) => StoreError::Corrupt(detail),
        Some(5 | 6) => StoreError::Overloaded(detail),
        Some(10 | 14 | 15) => StoreError::Unavailable(detail),
        _ => StoreError::Internal(detail),
    }
}

/// By SQLSTATE: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn of_postgres(code: &str, detail: String) -> StoreError {
    match code {
        "53100" => StoreError::DiskFull(detail),
        // A standby that has not been promoted; a role without rights.
        "25006" | "42501" => StoreError::ReadOnly(detail),
        // No connection left; a time limit of ours.
        "53000" | "53200" | "53300" | "53400" | "55P03" | "57014" | "25P03" => StoreError::Overloaded(detail),
        // Serialisation failure, deadlock.
        "40001" | "40P01" => StoreError::Collision(detail),
        // It goes down, is not up yet, was killed, lost its disk.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "58000" | "58030" => StoreError::Unavailable(detail),
        "XX001" | "XX002" => StoreError::Corrupt(detail),
        // A NUL, which text of PostgreSQL cannot hold.
        "22021" => StoreError::invalid("", "invalid", "a text holds a character that cannot be stored"),
        _ if code.starts_with("08") => StoreError::Unavailable(detail),
        _ => StoreError::Internal(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for code in ["53100", "53300", "57P01", "57P03", "08006", "40001", "40P01", "57014", "25006"] {
            assert!(of_postgres(code, String::new()).is_transient(), "{code}");
        }
        for code in ["42601", "23505", "XX001", "22021", "28P01"] {
            assert!(!of_postgres(code, String::new()).is_transient(), "{code}");
        }
        for (code, transient) in [(13, true), (5 | 1 << 8, true), (11, false), (1, false)] {
            assert_eq!(of_sqlite(Some(code), String::new()).is_transient(), transient, "{code}");
        }
    }

    #[test]
    fn a_url_says_which_it_is() {
        assert_eq!(Dialect::of_url("sqlite://x.db"), Some(Dialect::Sqlite));
        assert_eq!(Dialect::of_url("postgresql://u@h/d"), Some(Dialect::Postgres));
        assert_eq!((Dialect::of_url("mysql://x"), Dialect::of_url("x")), (None, None));
    }
}
