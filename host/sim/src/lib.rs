//! Calls without a telephone: the engine and the script of a live call, on a simulated leg and a virtual clock.
//!
//! * [`scenario`] – what callers do and expect, written in YAML
//! * [`trace`] – the host calls of a script, for a person to read

pub mod scenario;
pub mod trace;
