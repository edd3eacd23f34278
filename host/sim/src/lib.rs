//! Calls without a telephone: the engine and the script of a live call, on a simulated leg and a virtual clock.
//!
//! * [`trace`] – the host calls of a script, for a person to read

pub mod trace;
