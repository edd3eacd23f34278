//! What holds on either database, on a PostgreSQL of the tests' own; and what holds of a server alone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

#[path = "cases/artefacts.rs"]
mod artefacts;
#[path = "cases/books.rs"]
mod books;
#[path = "cases/calls.rs"]
mod calls;
#[path = "cases/clock.rs"]
mod clock;
#[path = "cases/hosts.rs"]
mod hosts;
#[path = "cases/keys.rs"]
mod keys;
#[path = "cases/load.rs"]
mod load;
#[path = "cases/million.rs"]
mod million;
#[path = "cases/outbox.rs"]
mod outbox;
#[path = "cases/retention.rs"]
mod retention;
#[path = "cases/scripts.rs"]
mod scripts;
#[path = "cases/server.rs"]
mod server;
#[path = "cases/tenants.rs"]
mod tenants;
#[path = "cases/trunks.rs"]
mod trunks;
#[path = "cases/vault.rs"]
mod vault;
#[path = "cases/webrtc_tokens.rs"]
mod webrtc_tokens;

/// What the stores of these tests lie in.
const IN: fixture::Database = fixture::Database::Postgres;
