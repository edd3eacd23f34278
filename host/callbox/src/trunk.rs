//! `callbox trunk`: how trunks are, in the terminal.

use crate::server::{Server, ServerArgs};
use miette::{IntoDiagnostic, miette};
use serde::Deserialize;
use std::io::Write;

/// See how trunks are
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TrunkCommand {
    /// List trunks: id, name, state, calls, registration.
    List(ListArgs),
    /// Show one: its addresses, its registration, its calls, what went wrong last.
    Status(StatusArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The trunk's name or id (trk_…)
    trunk: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Deserialize)]
struct Trunk {
    id: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    in_service: bool,
    state: String,
    addresses: Vec<Address>,
    registration: Option<Registration>,
    channels: Channels,
    last_errors: Vec<Fault>,
}

#[derive(Debug, Deserialize)]
struct Address {
    host: String,
    port: Option<u16>,
    transport: Option<String>,
    state: String,
    last_status: Option<u16>,
    rtt_ms: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Registration {
    state: String,
    status: Option<u16>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Channels {
    inbound: u32,
    outbound: u32,
    limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    at: String,
    address: Option<String>,
    error: String,
}

/// Prints what was asked for.
///
/// # Errors
/// There is no such trunk; what the server says, or that it cannot be reached.
pub(crate) async fn run(command: &TrunkCommand) -> miette::Result<()> {
    let mut lines = Vec::new();
    match command {
        TrunkCommand::List(args) => {
            let server = Server::new(&args.server)?;
            for trunk in server.list::<Trunk>(&["trunks"]).await? {
                let status = status(&server, &trunk.id).await?;
                lines.push(format!("{} {} {}", trunk.id, trunk.name, status.line()));
            }
        }
        TrunkCommand::Status(args) => {
            let server = Server::new(&args.server)?;
            let known = |trunk: &Trunk| trunk.id == args.trunk || trunk.name == args.trunk;
            let trunk = server.list::<Trunk>(&["trunks"]).await?.into_iter().find(known);
            let trunk = trunk.ok_or_else(|| {
                miette!(
                    code = "callbox::trunk::unknown",
                    help = "callbox trunk list shows those that are there",
                    "the server has no trunk `{}`",
                    args.trunk
                )
            })?;
            let status = status(&server, &trunk.id).await?;
            lines.push(format!("{} {} {}", trunk.id, trunk.name, status.line()));
            lines.extend(status.addresses.iter().map(Address::line));
            lines.extend(status.last_errors.iter().map(Fault::line));
        }
    }
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{}", steerless(&line)).into_diagnostic()?;
    }
    Ok(())
}

async fn status(server: &Server<'_>, trunk: &str) -> miette::Result<Status> {
    server.send(server.get(&["trunks", trunk, "status"], &[])?).await
}

impl Status {
    fn line(&self) -> String {
        if !self.in_service {
            return "disabled".into();
        }
        let Channels { inbound, outbound, limit } = &self.channels;
        let of = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        let registration = self.registration.as_ref().map(|registration| {
            let status = registration.status.map(|status| format!(" {status}")).unwrap_or_default();
            let reason = registration.reason.as_deref().map(|reason| format!(" {reason}")).unwrap_or_default();
            format!(", {}{status}{reason}", registration.state)
        });
        format!("{}, {inbound} in and {outbound} out{of}{}", self.state, registration.unwrap_or_default())
    }
}

impl Address {
    fn line(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let transport = self.transport.as_deref().map(|transport| format!("{transport} ")).unwrap_or_default();
        let answer = match (self.last_status, self.rtt_ms) {
            (Some(status), Some(rtt)) => format!(" ({status} after {rtt} ms)"),
            _ => String::new(),
        };
        format!("  {transport}{}{port} {}{answer}", self.host, self.state)
    }
}

impl Fault {
    fn line(&self) -> String {
        let address = self.address.as_deref().map(|address| format!("{address}: ")).unwrap_or_default();
        format!("  {} {address}{}", self.at, self.error)
    }
}

/// What a far end wrote goes to a terminal: nothing in it may steer that.
fn steerless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_trunk_is_a_line_and_so_is_each_of_its_addresses() {
        let status: Status = serde_json::from_value(json!({
            "trunk_id": "trk_1", "in_service": true, "state": "degraded",
            "addresses": [{
                "host": "a.example", "port": 5061, "transport": "tls", "state": "up", "last_status": 200, "rtt_ms": 3,
                "checked_at": null,
            }, {
                "host": "b.example", "port": null, "transport": null, "state": "down", "last_status": null,
                "rtt_ms": null, "checked_at": null,
            }],
            "registration": { "state": "failed", "until": null, "status": 403, "reason": "No", "retry_at": null },
            "channels": {
                "inbound": 1, "outbound": 2, "limit": 30, "inbound_total": 1, "outbound_total": 2, "refused_total": 0,
                "failed_over_total": 0,
            },
            "last_errors": [{ "at": "2026-11-21T09:05:40.000Z", "address": null, "error": "No" }],
        }))
        .unwrap();
        assert_eq!(status.line(), "degraded, 1 in and 2 out of 30, failed 403 No");
        let addresses: Vec<String> = status.addresses.iter().map(Address::line).collect();
        assert_eq!(addresses, ["  tls a.example:5061 up (200 after 3 ms)", "  b.example down"]);
        assert_eq!(status.last_errors[0].line(), "  2026-11-21T09:05:40.000Z No");
    }
}
