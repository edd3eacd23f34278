//! Scenarios: what callers do and what they expect, written in YAML.
//!
//! * [`ScenarioFile`] and what is in it are the format: plain data that is read, written and published as a JSON Schema.

mod file;
mod given;
mod short;
mod span;
mod step;

pub use file::{Scenario, ScenarioFile, schema};
pub use given::{
    FallbackPlan, Given, LimitsGiven, OnFailure, SourceAnswer, SourceFailure, TransferAnswer, TransferPlan,
};
pub use span::{Moment, Span, SpanError};
pub use step::{
    Drain, Ended, Expect, Fetched, HangUp, Heard, IntentExpected, Interrupt, Logged, Message, Moves, Press, Pushed,
    Refuse, ResultExpected, Say, Silence, SourceChange, Step, TransferExpected,
};
