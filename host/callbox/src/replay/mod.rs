//! `callbox replay`: what happened in a call, proven; and whether another version would have led it.

mod source;
mod to_scenario;

use crate::server::ServerArgs;
use bytes::Bytes;
use callbox_script::Recording;
use callbox_sim::replay::{self, LookPast, Replayed, Verdict};
use callbox_sim::{Stage, StageOptions, Theatre};
use miette::{IntoDiagnostic, miette};
use reqwest::Url;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// The script does something else than the tape has.
const DIFFERENT: u8 = 3;
/// No difference was found, but not all could be proven.
const OPEN: u8 = 4;

/// Run a call's script again from its tape, and prove that it does the same
///
/// Exits with 0 when every call of the host is the same byte for byte, and the end; with 3 when there is a difference,
/// which is shown, or when a scenario does not hold; with 4 when there is none as far as can be proven (an answer is masked, or the tape does not have
/// the end); with 1 when nothing could be replayed.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// The call (call_…), for its tape from the server; or a file with a tape
    #[arg(value_name = "CALL|FILE")]
    call: String,
    /// The component that the call ran, where it is not to come from the server
    #[arg(long, value_name = "FILE", conflicts_with = "with")]
    component: Option<PathBuf>,
    /// Another component: would it have handled this call?
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
    /// Look past lines of the script's log
    #[arg(long)]
    ignore_log: bool,
    /// Look past what the script writes into the call's record: fields, disposition, intent, tags, breadcrumbs
    #[arg(long)]
    ignore_results: bool,
    /// Show all calls, not only those before a difference
    #[arg(long)]
    trace: bool,
    /// Make a scenario of the call, in this new file, and run it at once in the simulator
    #[arg(long, value_name = "FILE")]
    to_scenario: Option<PathBuf>,
    /// What the scenario is called
    #[arg(long, requires = "to_scenario")]
    name: Option<String>,
    /// The server
    #[arg(long, value_name = "URL", env = "CALLBOX_URL", default_value = "http://127.0.0.1:8080")]
    url: Url,
    /// An API key (cbk_…) with calls:read and scripts:read. Better in the environment: others can see the flags of a
    /// process
    #[arg(long, value_name = "KEY", env = "CALLBOX_KEY", hide_env_values = true)]
    key: Option<String>,
}

impl ReplayArgs {
    /// The server, where it is needed for this.
    fn server(&self, what: &str) -> miette::Result<ServerArgs> {
        let key = self.key.clone().ok_or_else(|| {
            miette!(
                code = "callbox::replay::key",
                help = "set CALLBOX_KEY, or give --key; with a tape in a file and --component no server is needed",
                "{what} comes from the server, and there is no key for it"
            )
        })?;
        Ok(ServerArgs { url: self.url.clone(), key })
    }
}

/// Replays, and says what came of it.
///
/// # Errors
/// There is no tape or no component, or they do not belong together.
pub(crate) async fn run(args: &ReplayArgs) -> miette::Result<ExitCode> {
    let tape = source::tape(args).await?;
    let recording = Arc::new(tape.recording);
    let wasm = match &args.with {
        Some(file) => crate::author::read(file)?.into(),
        None => source::component(args, &recording.header.script, tape.version.as_ref()).await?,
    };
    let stage = stage(&recording, wasm).await?;
    let past = LookPast { logs: args.ignore_log, results: args.ignore_results };
    let replayed = replay::run(stage.host(), stage.script().clone(), recording.clone(), past)
        .await
        .map_err(|error| miette!(code = "callbox::replay::start", "{error}"))?;
    show(args, &replayed)?;
    if let Some(file) = &args.to_scenario
        && !to_scenario::write(args, file, &recording, &stage).await?
    {
        return Ok(DIFFERENT.into());
    }
    Ok(match replayed.verdict {
        Verdict::Same => ExitCode::SUCCESS,
        Verdict::Different(_) => DIFFERENT.into(),
        Verdict::Open(_) | Verdict::Unprovable { .. } => OPEN.into(),
    })
}

/// The component on a host with the limits of the call.
async fn stage(recording: &Recording, wasm: Bytes) -> miette::Result<Stage> {
    let compiler = std::env::current_exe().into_diagnostic()?;
    let options = StageOptions { limits: replay::limits(recording), ..StageOptions::at_home(compiler) };
    let refused = |error: callbox_sim::SimError| miette!(code = error.code(), "{error}");
    Theatre::open(&options).map_err(refused)?.stage(wasm).await.map_err(refused)
}

fn show(args: &ReplayArgs, replayed: &Replayed) -> miette::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.trace {
        write!(out, "{}", replayed.trace()).into_diagnostic()?;
    }
    if let Some(difference) = replayed.difference() {
        writeln!(out, "{difference}").into_diagnostic()?;
    }
    writeln!(out, "{}", replayed.sentence()).into_diagnostic()
}
