//! The API on a PostgreSQL of the tests' own: every operation with every key, and what is listed, repeated and administered.
//! What is about requests alone is not run again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "api/access.rs"]
mod access;
#[path = "api/administration.rs"]
mod administration;
#[path = "api/fixture.rs"]
mod fixture;
#[path = "api/idempotency.rs"]
mod idempotency;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/operations.rs"]
mod operations;
#[path = "api/secrets.rs"]
mod secrets;
#[path = "api/trunks.rs"]
mod trunks;

/// What the stores of these tests lie in.
const IN: fixture::Database = fixture::Database::Postgres;
