//! The API over a real store and real rooms, in process, on SQLite files. What of it asks the database more than once or twice
//! is run on a PostgreSQL, too: `tests/postgres.rs`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod administration;
mod document;
mod fixture;
mod idempotency;
mod input;
mod lists;
mod operations;
mod placing;
mod random_bodies;
mod secrets;
mod trunks;

/// What the stores of these tests lie in.
const IN: fixture::Database = fixture::Database::Sqlite;
