//! The outbox worker on a PostgreSQL of the tests' own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

#[path = "cases/worker.rs"]
mod worker;

/// What the stores of these tests lie in.
const IN: fixture::Database = fixture::Database::Postgres;
