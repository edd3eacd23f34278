//! The component host: uploads become scripts, and a script runs for each call.
//!
//! A [`ScriptHost`] [admits](ScriptHost::admit) uploads, [loads](ScriptHost::load)
//! scripts and [runs](ScriptHost::run) them, each call in a store and an instance
//! of its own, against a [`Session`] that answers what the script asks.
//!
//! What it never does: run what a stranger compiled, compile in its own process,
//! let one call's script take what belongs to another's, or give a script any
//! import but `callbox:dialogue`.
//!
//! * [`admission`] – whether an upload may become a script
//! * [`package`], [`manifest`] – what a component carries besides code
//! * [`engine`] – the one configuration of compiling and running engines
//! * `worker`, `compile` – the compiler process and its limits
//! * `artefact`, `cache` – compiled code and why it may be loaded
//! * `bindings`, `imports`, `convert`, `resources` – `callbox:dialogue` as host calls
//! * `budget` – CPU time, memory, host calls, log
//! * `run`, `report` – one run, and its end in words
//! * [`tape`] – the calls and answers of a run

pub mod admission;
mod artefact;
mod bindings;
mod budget;
mod cache;
mod compile;
pub mod config;
mod convert;
pub mod engine;
#[doc(hidden)]
pub mod fuzz;
mod host;
mod imports;
pub mod manifest;
pub mod package;
mod report;
mod resources;
mod run;
mod script;
mod session;
mod shape;
mod shelf;
pub mod tape;
mod text;
mod worker;

pub use admission::{AdmissionError, Check, Shape, Verdict, admit_shape};
pub use config::{CompileLimits, ScriptConfig, ScriptLimits, ShapeLimits, TierLimits};
pub use engine::{Role, Tier, engine_config};
pub use host::{Admission, ScriptError, ScriptHost, Seat, digest};
pub use manifest::{
    DestinationDeclaration, Manifest, ManifestError, PromptDeclaration, SettingDeclaration, SourceDeclaration,
};
pub use package::{Package, PackageError};
pub use run::{RunReason, ScriptRun, Usage};
pub use script::{Optimisation, Script};
pub use session::{Answered, Session, import_name};
pub use tape::{Recording, Tape, TapeError};
pub use worker::compile_worker;
