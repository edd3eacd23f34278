//! What an author of scripts needs: a new project, the component, the checks of
//! the server, and the way onto it.
//!
//! Standard output carries data only – a path, an id – so that commands can be
//! put together; what is meant for a person goes to standard error.

mod bound;
mod build;
mod cargo;
mod changes;
mod chat;
mod check;
mod explore;
mod given;
mod new;
mod paint;
mod project;
mod remote;
mod run;
mod subject;
mod test;
mod toolchain;
mod transcript;

pub(crate) use build::BuildArgs;
pub(crate) use chat::ChatArgs;
pub(crate) use check::{CheckArgs, read};
pub(crate) use explore::ExploreArgs;
pub(crate) use new::NewArgs;
pub(crate) use remote::{PublishArgs, PushArgs};
pub(crate) use run::RunArgs;
pub(crate) use test::TestArgs;

use miette::IntoDiagnostic;
use std::io::{self, Write};
use std::process::ExitCode;

/// Write, build, check and publish scripts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ScriptCommand {
    /// Make a new project.
    New(NewArgs),
    /// Compile a project into one component with its manifest and audio.
    Build(BuildArgs),
    Test(TestArgs),
    /// Look at a component as the server will when it is pushed.
    Check(CheckArgs),
    Chat(ChatArgs),
    Explore(ExploreArgs),
    Run(RunArgs),
    /// Upload a component as a new version of its script.
    Push(PushArgs),
    /// Let a version answer from now on.
    Publish(PublishArgs),
}

/// Does what the command line asks for.
///
/// # Errors
/// What went wrong, for a person to read.
pub(crate) async fn run(command: ScriptCommand) -> miette::Result<ExitCode> {
    match command {
        ScriptCommand::New(args) => new::run(&args)?,
        ScriptCommand::Build(args) => build::run(&args).await?,
        ScriptCommand::Test(args) => return test::run(&args).await,
        ScriptCommand::Check(args) => check::run(&args).await?,
        ScriptCommand::Chat(args) => return chat::run(&args).await,
        ScriptCommand::Explore(args) => return explore::run(&args).await,
        ScriptCommand::Run(args) => run::run(&args).await?,
        ScriptCommand::Push(args) => remote::push(&args).await?,
        ScriptCommand::Publish(args) => remote::publish(&args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of data, on standard output.
fn data(line: impl std::fmt::Display) -> miette::Result<()> {
    writeln!(io::stdout(), "{line}").into_diagnostic()
}

/// A line for whoever watches, on standard error. That nobody does is no error.
fn talk(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
