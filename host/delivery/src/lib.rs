//! Requests to customers' systems: context fetch and the outbox worker, signed,
//! retried, guarded.
//!
//! * [`Egress`] – the guarded client: no private address, no redirect, no endless answer
//! * [`fetch_context`] – what a customer knows of a caller, asked at the INVITE
//! * [`ask_model`] – a language model's answer, as it comes
//! * [`OutboxWorker`] – brings what the store's outbox holds to its receivers
//! * [`ladder`] – when to try again
//! * [`sign`] – Standard Webhooks signatures
//!
//! What it never does: ask a model twice, send a request to an address that was not checked, follow
//! a redirect, put a URL or a secret into a log or an error, change a byte of a
//! delivery between attempts.

pub mod address;
mod context;
mod egress;
#[doc(hidden)]
pub mod fuzz;
mod guard;
pub mod ladder;
mod loads;
mod model;
mod signing;
mod worker;

pub use context::{ContextRequest, FetchError, MAX_CONTEXT, fetch_context};
pub use egress::{ClientError, Egress, EgressError, Resolver, SystemResolver};
pub use guard::{EgressPolicy, Refused};
pub use model::{MAX_ANSWER, ModelAnswer, ModelError, ModelRequest, ask_model};
pub use signing::{SignError, sign};
pub use worker::{OutboxWorker, WorkerConfig, WorkerGauge, WorkerStats};
