//! Trunks: the carriers and PBXs of a tenant, and every decision about them.
//!
//! * [`settings`] – what a trunk is, as the API takes and shows it; [`check`] says what is wrong with one, and where
//! * [`select`] – in which order the addresses and the trunks of a call are tried
//! * [`failover`] – whether another is tried after a refusal
//! * [`numbers`] – from what the far end writes to E.164, and back
//! * [`caller`] – what the far end is told about who calls
//! * [`gate`] – how many calls at once, and how many a second
//! * [`health`] – what the answers to OPTIONS say about an address
//! * [`inbound`] – whose trunk a call comes by
//! * [`tolls`] – which numbers may be called, how many, and for how long
//!
//! What this room never does: open a socket, read a clock, draw randomness or hold a secret. Time and randomness are
//! parameters; passwords are passed through [`settings::Password`], which neither prints nor serialises them.

pub mod caller;
pub mod check;
pub mod failover;
pub mod gate;
pub mod health;
pub mod inbound;
pub mod numbers;
pub mod select;
pub mod settings;
pub mod tolls;

pub use check::Mistake;
pub use settings::TrunkSettings;
