//! The outbox worker on SQLite files.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

#[path = "cases/worker.rs"]
mod worker;

/// What the stores of these tests lie in.
const IN: fixture::Database = fixture::Database::Sqlite;
