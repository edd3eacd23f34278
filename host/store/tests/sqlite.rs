//! What holds on either database, on SQLite files; and what holds of files alone.
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
#[path = "cases/file.rs"]
mod file;
#[path = "cases/keys.rs"]
mod keys;
#[path = "cases/load.rs"]
mod load;
#[path = "cases/outbox.rs"]
mod outbox;
#[path = "cases/retention.rs"]
mod retention;
#[path = "cases/scripts.rs"]
mod scripts;
#[path = "cases/tenants.rs"]
mod tenants;
#[path = "cases/trunks.rs"]
mod trunks;
#[path = "cases/vault.rs"]
mod vault;
#[path = "cases/webrtc_tokens.rs"]
mod webrtc_tokens;

/// What the stores of these tests lie in.
const IN: fixture::Database = fixture::Database::Sqlite;
