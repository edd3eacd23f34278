//! The binary: command line, configuration, wiring, shutdown.

mod accuracy;
mod author;
mod beside;
mod caller;
mod config;
mod doctor;
mod keys;
mod ladder;
mod logging;
mod replay;
mod rooms;
mod serve;
mod server;
mod speech;
mod speechd;
mod sweep;
mod trunk;
mod webrtc;

use clap::Parser;
use miette::{IntoDiagnostic, WrapErr};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Voice dialogue on the telephone, scripted in WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "callbox", version, arg_required_else_help = true)]
enum Command {
    Serve(serve::ServeArgs),
    /// Write, build, check and publish scripts.
    #[command(subcommand)]
    Script(author::ScriptCommand),
    Call(caller::CallArgs),
    Ladder(ladder::LadderArgs),
    Replay(replay::ReplayArgs),
    /// See how trunks are.
    #[command(subcommand)]
    Trunk(trunk::TrunkCommand),
    Speechd(speechd::SpeechdArgs),
    /// See how speech does.
    #[command(subcommand)]
    Speech(SpeechCommand),
    /// Keys, straight from the database: of the API, and the one that seals secrets.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Check whether this machine can run a host.
    Doctor(serve::ServeArgs),
    /// Print the configuration in force, without secrets.
    Config(serve::ServeArgs),
    /// Compiles one component under its own limits; started by the host itself.
    #[command(hide = true)]
    CompileWorker,
    /// Has the C library of a recogniser in it; started by the host itself.
    #[command(hide = true)]
    RecogniserWorker,
}

/// What there is to see of it.
#[derive(Debug, clap::Subcommand)]
enum SpeechCommand {
    Accuracy(accuracy::AccuracyArgs),
}

fn main() -> miette::Result<ExitCode> {
    let command = match Command::parse() {
        // No runtime: the worker limits its own threads and files.
        Command::CompileWorker => return Ok(callbox_script::compile_worker()),
        Command::RecogniserWorker => return Ok(callbox_speech::recogniser::recogniser_worker()),
        command => command,
    };
    let runtime = tokio::runtime::Runtime::new().into_diagnostic().wrap_err("no threads to run on")?;
    let ended = runtime.block_on(run(command));
    // What a thread still computes, a dictionary that nobody needs any more say, keeps nobody waiting.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn run(command: Command) -> miette::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(args).await?,
        Command::Script(command) => return author::run(command).await,
        Command::Call(args) => return caller::run(args).await,
        Command::Ladder(args) => ladder::run(&args).await?,
        Command::Replay(args) => return replay::run(&args).await,
        Command::Trunk(command) => trunk::run(&command).await?,
        Command::Speech(SpeechCommand::Accuracy(args)) => accuracy::run(args).await?,
        Command::Speechd(args) => speechd::run(args).await?,
        Command::Keys(command) => keys::run(&command).await?,
        Command::Doctor(args) => return doctor::run(args).await,
        Command::Config(args) => {
            let text = args.load()?.to_toml()?;
            std::io::stdout().write_all(text.as_bytes()).into_diagnostic()?;
        }
        Command::CompileWorker | Command::RecogniserWorker => {}
    }
    Ok(ExitCode::SUCCESS)
}
