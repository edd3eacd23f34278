//! Where a tape and its component come from: files, or the server.

use super::ReplayArgs;
use crate::author::read;
use crate::server::Server;
use bytes::Bytes;
use callbox_script::{Recording, Tape};
use miette::{IntoDiagnostic, WrapErr, miette};
use reqwest::Method;
use serde::Deserialize;
use std::io::Read;
use std::path::Path;

/// The largest tape that is read: a host's own limit is a sixteenth.
const TAPE_BYTES: u64 = 16 << 20;

/// A tape, and what is known of it besides.
#[derive(Debug)]
pub(super) struct FoundTape {
    pub(super) recording: Recording,
    /// Which version of which script, where the server said so.
    pub(super) version: Option<Version>,
}

/// A version of a script.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Version {
    pub(super) script_id: String,
    pub(super) version: u64,
    digest: Option<String>,
}

/// What the server says of a call.
#[derive(Debug, Deserialize)]
struct Call {
    script_id: Option<String>,
    script_version: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Script {
    id: String,
}

/// Reads the tape: of a call from the server, or from a file.
///
/// # Errors
/// There is none, or it is no tape.
pub(super) async fn tape(args: &ReplayArgs) -> miette::Result<FoundTape> {
    let path = Path::new(&args.call);
    if !args.call.starts_with("call_") || path.exists() {
        let text = read_tape(path)?;
        return Ok(FoundTape { recording: parse(&text, &args.call)?, version: None });
    }
    let given = args.server("the tape of a call")?;
    let server = Server::new(&given)?;
    let bytes = server.bytes(server.request(Method::GET, &["calls", &args.call, "tape"])?).await?;
    let text = String::from_utf8(bytes).into_diagnostic().wrap_err("the server's tape is no text")?;
    let recording = parse(&text, &args.call)?;
    let call: Call = server.send(server.request(Method::GET, &["calls", &args.call])?).await?;
    let version = call.script_id.zip(call.script_version);
    let version = version.map(|(script_id, version)| Version { script_id, version, digest: None });
    Ok(FoundTape { recording, version })
}

fn read_tape(path: &Path) -> miette::Result<String> {
    let problem = || format!("cannot read the tape {}", path.display());
    let file = std::fs::File::open(path).into_diagnostic().wrap_err_with(problem)?;
    let mut text = String::new();
    file.take(TAPE_BYTES + 1).read_to_string(&mut text).into_diagnostic().wrap_err_with(problem)?;
    if text.len() as u64 > TAPE_BYTES {
        return Err(miette!(
            code = "callbox::replay::tape",
            "{} is larger than {} MiB: no tape is",
            path.display(),
            TAPE_BYTES >> 20
        ));
    }
    Ok(text)
}

fn parse(text: &str, name: &str) -> miette::Result<Recording> {
    Tape::read(text).map_err(|error| miette!(code = "callbox::replay::tape", "{name}: {error}"))
}

/// The component that a call ran: a file, or from the server by its digest.
///
/// # Errors
/// There is none, or it is another one.
pub(super) async fn component(args: &ReplayArgs, digest: &str, version: Option<&Version>) -> miette::Result<Bytes> {
    let (wasm, origin) = match &args.component {
        Some(file) => (Bytes::from(read(file)?), file.display().to_string()),
        None => {
            let given = args.server("the component of the call")?;
            let server = Server::new(&given)?;
            let Version { script_id, version, .. } = match version {
                Some(version) => version.clone(),
                None => find(&server, digest).await?,
            };
            let number = version.to_string();
            let path = ["scripts", &script_id, "versions", &number, "component"];
            let wasm = server.bytes(server.request(Method::GET, &path)?).await?;
            (Bytes::from(wasm), format!("version {version} of {script_id}"))
        }
    };
    let found = callbox_script::digest(&wasm);
    if found != digest {
        return Err(miette!(
            code = "callbox::replay::component",
            help = "--with replays the call with another component",
            "{origin} is not what the call ran: the tape has {digest:?}, this is {found}"
        ));
    }
    Ok(wasm)
}

/// The version of this digest, among all the server has.
async fn find(server: &Server<'_>, digest: &str) -> miette::Result<Version> {
    let scripts: Vec<Script> = server.list(&["scripts"]).await?;
    for script in scripts {
        let versions: Vec<Version> = server.list(&["scripts", &script.id, "versions"]).await?;
        if let Some(version) = versions.into_iter().find(|version| version.digest.as_deref() == Some(digest)) {
            return Ok(version);
        }
    }
    Err(miette!(
        code = "callbox::replay::component",
        help = "--component names the file",
        "the server has no component {digest:?}"
    ))
}
