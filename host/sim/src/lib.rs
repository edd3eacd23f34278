//! Calls without a telephone: the engine and the script of a live call, on a simulated leg and a virtual clock.
//!
//! A [`Stage`] holds a script. [`Stage::play`] plays one call of it in a [`Situation`], against a [`FarEnd`] that sees
//! what a person at the far end would ([`Sight`]) and acts ([`Act`]). What is left of the call is [`Told`]: the record,
//! the script's run and its tape, what it pushed and logged, and everything in order with its time.
//!
//! Nothing sleeps. While the script computes the clock stands still; while it waits, time goes to the next thing that
//! happens. The engine is the one of live calls, so every rule of a dialogue is the same; this room has only what a leg
//! does: how long words take ([`Situation::words_a_minute`]), what the recogniser makes of the caller, what becomes of a
//! transfer, what a source answers. The same component, situation and acts leave the same call, byte for byte.
//!
//! What it never does: read a clock, sleep, draw randomness, or decide anything about a dialogue.
//!
//! * [`situation`] – what is settled before the call
//! * [`far_end`] – who acts, what is seen
//! * [`stage`] – the script, compiled and cached
//! * [`told`] – what is left
//! * [`replay`] – the tape of a live call against its script, or against another one
//! * [`scenario`] – what callers do and expect, written in YAML
//! * [`explore`] – many random callers, and what they find
//! * [`draft`](mod@draft) – a scenario of a call that was played
//! * [`trace`] – the host calls of a script, for a person to read

mod assets;
mod call;
pub mod draft;
pub mod explore;
pub mod far_end;
#[doc(hidden)]
pub mod fuzz;
mod hearing;
mod leg;
pub mod model;
pub mod replay;
pub mod scenario;
pub mod situation;
mod speech;
pub mod stage;
pub mod told;
pub mod trace;
mod words;

pub use far_end::{Act, FarEnd, Hearing, KEY_PACE, Move, REACTION, Saying, Sight, Timetable, awaits_the_caller};
pub use situation::{SOURCE_TIMEOUT, Situation, SourceAnswer, SourcePlan, TransferGoes, TransferPlan, WORDS_A_MINUTE};
pub use stage::{SimError, Stage, StageOptions, Theatre, cache_home};
pub use told::{Exchange, KEPT, Told};
pub use words::spoken;
