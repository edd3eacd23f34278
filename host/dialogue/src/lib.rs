//! The pure core of Callbox: the model of a call and the dialogue engine.
//!
//! One [`Engine`] holds one call. It is a state machine without I/O: whoever
//! drives it hands in [`Input`]s with the time and drains [`Output`]s until
//! there are none, then waits for the next input or for
//! [`Engine::deadline`]. The same engine runs live calls (`host/call`), the
//! simulator and replays, so that every rule of a dialogue exists once.
//!
//! ```
//! use callbox_dialogue::setup::{Fallback, Limits, Setup};
//! use callbox_dialogue::{
//!     CallId, CallInfo, Direction, Engine, HostCall, Input, LegCommand, Output, Party, Time, Transport,
//! };
//!
//! let info = CallInfo {
//!     id: CallId("call_1".into()),
//!     direction: Direction::Inbound,
//!     transport: Transport::Simulated,
//!     caller: Party { uri: "sip:alice@example.com".into(), ..Party::default() },
//!     callee: Party { uri: "sip:desk@example.com".into(), ..Party::default() },
//!     language: "en".into(),
//!     headers: Vec::new(),
//!     parameters: None,
//! };
//! let mut engine = Engine::new(Setup {
//!     info,
//!     started_unix_ms: 0,
//!     seed: [0; 32],
//!     voice: Default::default(),
//!     limits: Limits::default(),
//!     sources: Default::default(),
//!     models: Default::default(),
//!     destinations: Vec::new(),
//!     settings: Default::default(),
//!     assets: Vec::new(),
//!     fallback: Fallback::default(),
//!     speech_recognition: false,
//! });
//! engine.handle(Time(10), Input::Script(HostCall::Answer));
//! assert_eq!(engine.poll_output(), Some(Output::Leg(LegCommand::Answer)));
//! assert_eq!(engine.poll_output(), None, "the script waits for the leg");
//! assert!(engine.deadline() > Some(Time(10)));
//! ```
//!
//! What it never does: read a clock, draw randomness from the system, open a
//! socket or a file, spawn, block, or panic on any input.
//!
//! * [`call`] – who calls whom, and how a call ends
//! * [`script`] – what a script asks ([`HostCall`]) and is told ([`HostReply`])
//! * [`llm`] – what a language model is asked, and what it does
//! * [`leg`] – what a leg is told ([`LegCommand`]) and reports ([`LegEvent`])
//! * [`setup`] – what is settled before the call begins: limits, sources, fallback
//! * [`record`] – what is left of a call: transcript, fields, timeline
//! * [`engine`] – the state machine

pub mod call;
pub mod engine;
pub mod leg;
pub mod llm;
pub mod record;
pub mod script;
pub mod secrets;
pub mod setup;
pub mod time;

pub use call::{CallId, CallInfo, Direction, EndCause, EndReason, Party, Transport};
pub use engine::{Engine, Input, Output};
pub use leg::{LegCommand, LegEvent, PromptId, TransferId};
pub use record::CallRecord;
pub use script::{HostCall, HostError, HostReply, Reply, ScriptEnd};
pub use secrets::Secrets;
pub use setup::Setup;
pub use time::Time;
