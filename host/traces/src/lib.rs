//! OpenTelemetry traces: a call is a trace.
//!
//! * [`Traces`] – what is over is handed in here; it leaves the host in the background
//! * [`CallTrace`], [`CallSpans`] – the spans of a call, from its record, with their true times
//! * [`Delivery`] – the span of an attempt to deliver an event of a call
//! * [`Remote`] – what a far end says of its own trace (`traceparent`, W3C Trace Context)
//!
//! The trace of a call has the call's own number: its id without `call_`. So whoever knows the call – another host that
//! delivers its results an hour later, a person with a log – knows the trace, and nothing has to be kept. A trace that
//! a far end began is linked, not continued: what strangers write into an INVITE must not choose where our spans go.
//!
//! What it never does: make a call wait, hold more than a bounded number of spans, or tell what was said, who called,
//! an address or a secret: spans carry ids, names of a manifest, lengths, times and outcomes.

mod context;
mod export;
mod spans;

pub use context::{CallTrace, Remote};
pub use export::{TraceConfig, TraceCounts, TraceError, Traces};
pub use spans::{CallSpans, Delivery, HostCallSpan};
