//! `callbox ladder`: the SIP messages of a call, in the terminal.

use crate::server::{Server, ServerArgs};
use miette::IntoDiagnostic;
use serde::Deserialize;
use std::io::Write;

/// Show the SIP messages of a call as a ladder
///
/// Of a call that is over or that runs. Credentials, keys and digits are not in it.
#[derive(Debug, clap::Args)]
pub(crate) struct LadderArgs {
    /// The call (call_…)
    call: String,
    /// Every message whole, below the ladder
    #[arg(long)]
    messages: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Deserialize)]
struct Message {
    offset_us: u64,
    direction: String,
    local: String,
    remote: String,
    message: String,
}

#[derive(Debug, Deserialize)]
struct Messages {
    messages: Vec<Message>,
}

/// Prints it.
///
/// # Errors
/// What the server says, or that it cannot be reached.
pub(crate) async fn run(args: &LadderArgs) -> miette::Result<()> {
    let server = Server::new(&args.server)?;
    let path = ["calls", &args.call, "sip"];
    let text = server.text(server.get(&path, &[("format", "text")])?).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", steerless(&text)).into_diagnostic()?;
    drop(out);
    if args.messages {
        let all: Messages = server.send(server.get(&path, &[])?).await?;
        let mut out = std::io::stdout().lock();
        for Message { offset_us, direction, local, remote, message } in all.messages {
            let (from, to) = if direction == "sent" { (local, remote) } else { (remote, local) };
            let time = format!("{}.{:06} s", offset_us / 1_000_000, offset_us % 1_000_000);
            writeln!(out, "── {time}  {from} → {to}\n{}", steerless(&message)).into_diagnostic()?;
        }
    }
    Ok(())
}

/// What a far end wrote goes to a terminal: nothing in it may steer that.
fn steerless(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}
