//! The API over a real store and real rooms, in process.
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
