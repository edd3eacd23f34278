//! The pure core of Callbox: the model of a call and the dialogue engine.
//!
//! One [`Engine`] holds one call. It is a state machine without I/O: whoever
//! drives it hands in [`Input`]s with the time and drains [`Output`]s until
//! there are none, then waits for the next input or for
//! [`Engine::deadline`]. The same engine runs live calls (`host/call`), the
//! simulator and replays, so that every rule of a dialogue exists once.
//!
//! What it never does: read a clock, draw randomness from the system, open a
//! socket or a file, spawn, block, or panic on any input.
//!
//! * [`call`] – who calls whom, and how a call ends
//! * [`script`] – what a script asks ([`HostCall`]) and is told ([`HostReply`])
//! * [`leg`] – what a leg is told ([`LegCommand`]) and reports ([`LegEvent`])
//! * [`setup`] – what is settled before the call begins: limits, sources, fallback
//! * [`record`] – what is left of a call: transcript, fields, timeline
//! * [`engine`] – the state machine

pub mod call;
pub mod engine;
pub mod leg;
pub mod record;
pub mod script;
pub mod setup;
pub mod time;

pub use call::{CallId, CallInfo, Direction, EndCause, EndReason, Party, Transport};
pub use engine::{Engine, Input, Output};
pub use leg::{LegCommand, LegEvent, PromptId, TransferId};
pub use record::CallRecord;
pub use script::{HostCall, HostError, HostReply, Reply, ScriptEnd};
pub use setup::Setup;
pub use time::Time;
