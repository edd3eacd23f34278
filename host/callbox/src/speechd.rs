//! `callbox speechd`: a server of providers' protocols, to try things and for tests.

use crate::serve::Stops;
use callbox_speech::Recogniser;
use callbox_speech::recogniser::{Pocketsphinx, PocketsphinxConfig};
use callbox_speechd::{Script, Server, Settings};
use clap::Args;
use miette::{Context, IntoDiagnostic};
use serde_json::json;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Run a local server that speaks the protocols of speech and model providers
///
/// To try things without an account, and for tests: what works against it has not been tried against a vendor.
#[derive(Args, Debug)]
pub(crate) struct SpeechdArgs {
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Port to listen on; 0 for any free one
    #[arg(long, default_value_t = 8_090)]
    port: u16,
    /// Key that is asked of every request
    #[arg(long, env = "CALLBOX_SPEECHD_KEY", hide_env_values = true)]
    key: Option<String>,
    /// YAML or JSON file with what the model answers, and what callers say
    #[arg(long)]
    script: Option<PathBuf>,
    /// Listen with pocketsphinx for the words that a client hints at, in English; the script answers who hints at none
    #[arg(long)]
    listen: bool,
}

/// Serves until it is told to stop. The first line of its output is a JSON object with its address.
pub(crate) async fn run(args: SpeechdArgs) -> miette::Result<()> {
    let script = match &args.script {
        Some(path) => {
            let text = std::fs::read_to_string(path).into_diagnostic().wrap_err_with(|| path.display().to_string())?;
            Script::parse(&text).into_diagnostic().wrap_err_with(|| path.display().to_string())?
        }
        None => Script::default(),
    };
    let mut stops = Stops::listen()?;
    let bind = SocketAddr::new(args.bind, args.port);
    let ear = args.listen.then(embedded_ear).transpose()?;
    let server = Server::start(bind, Settings { key: args.key, script, ear, ..Settings::default() }).await;
    let server = server.into_diagnostic().wrap_err_with(|| format!("cannot listen on {bind}"))?;
    let ready = json!({"event": "ready", "address": server.address(), "url": server.url("http", "/v1")});
    writeln!(std::io::stdout(), "{ready}").into_diagnostic()?;
    stops.next().await;
    Ok(())
}

/// Debian's recogniser, whose library runs in this very program, started once more.
fn embedded_ear() -> miette::Result<Arc<dyn Recogniser>> {
    let worker = std::env::current_exe().into_diagnostic().wrap_err("where this program is")?;
    Ok(Arc::new(Pocketsphinx::new(PocketsphinxConfig::new(worker))))
}
