//! Scenarios: what callers do and what they expect, written in YAML.
//!
//! * [`ScenarioFile`] and what is in it are the format: plain data that is read, written and published as a JSON Schema.
//! * [`Suite`] is a file that was read, its cases filled in, and checked: the calls to run. What is wrong with a file is a
//!   [`Problem`] that names the line and the fix.
//! * [`Run::play`] plays one of them: its caller does the steps, and the [`Verdict`] says which of them failed, and why.

mod cases;
mod file;
mod given;
mod matching;
mod model;
mod order;
mod player;
mod problem;
mod reading;
mod seen;
mod setting;
mod short;
mod span;
mod step;
mod suite;
mod transcript;
mod tree;
mod verdict;

pub use cases::literal;
pub use file::{Scenario, ScenarioFile, schema};
pub use given::{
    FallbackPlan, Given, LimitsGiven, OnFailure, SourceAnswer, SourceFailure, TransferAnswer, TransferPlan,
};
pub use matching::{DiffLine, Side};
pub use model::{Asked, ModelAnswer, ModelCall, ModelChange, ModelFailure};
pub(crate) use player::is_failure;
pub use problem::{Place, Problem, tell};
pub use span::{Moment, Span, SpanError};
pub use step::{
    Drain, Ended, Expect, Fetched, HangUp, Heard, IntentExpected, Interrupt, Logged, Message, Moves, Press, Pushed,
    Refuse, ResultExpected, Say, Silence, SourceChange, Step, TransferExpected,
};
pub use suite::{PlacedStep, Run, Suite};
pub use transcript::{Line, Speaker, Teller, transcript};
pub use verdict::{Failure, Verdict};
