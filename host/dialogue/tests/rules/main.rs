//! Every rule of `DIALOGUE.md`, one readable test each, and property tests
//! that drive the engine through random interleavings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod barge_in;
mod context;
mod early_media;
mod ending;
mod failing;
mod limits;
mod models;
mod properties;
mod results;
mod rig;
mod secrets;
mod speaking;
mod transfers;
mod turns;
mod waiting;
