//! Logs: one line per event on stderr, as text or as JSON.

use crate::config::Log;
use miette::{IntoDiagnostic, WrapErr};
use tracing_subscriber::EnvFilter;

/// Starts logging for the whole process.
pub(crate) fn start(config: &Log) -> miette::Result<()> {
    let filter = EnvFilter::try_new(&config.filter).into_diagnostic().wrap_err_with(|| {
        format!("log.filter {:?} is not a filter, for example info,callbox_sip=debug", config.filter)
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that cannot be written, on a full disk for example, would be told by a panic.
        .log_internal_errors(false);
    let started =
        if config.json { lines.json().flatten_event(true).try_init() } else { lines.with_ansi(false).try_init() };
    started.map_err(|error| miette::miette!("logging cannot be started: {error}"))
}
