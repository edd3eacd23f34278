//! The binary: command line, configuration, wiring, shutdown.

mod author;

use clap::Parser;
use std::process::ExitCode;

/// Voice dialogue on the telephone, scripted in WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "callbox", version, arg_required_else_help = true)]
enum Command {
    /// Write, build, check and publish scripts.
    #[command(subcommand)]
    Script(author::ScriptCommand),
    /// Compiles one component under its own limits; started by the host itself.
    #[command(hide = true)]
    CompileWorker,
}

fn main() -> miette::Result<ExitCode> {
    match Command::parse() {
        Command::CompileWorker => Ok(callbox_script::compile_worker()),
        Command::Script(command) => {
            let runtime = tokio::runtime::Runtime::new().map_err(|error| miette::miette!("{error}"))?;
            runtime.block_on(author::run(command)).map(|()| ExitCode::SUCCESS)
        }
    }
}
