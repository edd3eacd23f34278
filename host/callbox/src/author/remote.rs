//! `callbox script push` and `publish`: onto a server, through its REST API.

use super::{check, data, talk};
use crate::server::{Server, ServerArgs};
use miette::{Context, miette};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Upload a component as a new version of its script.
#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// The component, as `callbox script build` made it.
    file: PathBuf,
    /// The script's name on the server; that of the manifest by default. Made there when it does not exist.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Let a version answer from now on.
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The script's name or id (scr_…).
    script: String,
    /// The version's number; the newest by default.
    version: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Uploads the component; prints the script's id, the version's number and its digest.
///
/// # Errors
/// No such file, no manifest in it, or what the server says.
pub(super) async fn push(args: &PushArgs) -> miette::Result<()> {
    let wasm = check::read(&args.file)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => manifest_name(&wasm).wrap_err_with(|| args.file.display().to_string())?,
    };
    let server = Server::new(&args.server)?;
    let script = match find(&server, &name).await? {
        Some(script) => script,
        None => {
            let made: Script =
                server.send(server.request(Method::POST, &["scripts"])?.json(&json!({"name": name}))).await?;
            talk(format_args!("made script {name}"));
            made.id
        }
    };
    let upload = server.request(Method::POST, &["scripts", &script, "versions"])?;
    let upload = upload.header("content-type", "application/wasm").body(wasm);
    let version: Version = server.send(upload).await?;
    talk(format_args!("{name} has a version {}; callbox script publish {name} lets it answer", version.version));
    data(format_args!("{script} {} {}", version.version, version.digest))
}

/// Publishes a version; prints the script's id and the version's number.
///
/// # Errors
/// No such script or version, or what the server says.
pub(super) async fn publish(args: &PublishArgs) -> miette::Result<()> {
    let server = Server::new(&args.server)?;
    let script = match args.script.starts_with("scr_") {
        true => args.script.clone(),
        false => find(&server, &args.script).await?.ok_or_else(|| {
            miette!(
                code = "callbox::script::unknown",
                help = "callbox script push makes it",
                "the server has no script `{}`",
                args.script
            )
        })?,
    };
    let version = match args.version {
        Some(version) => version,
        None => {
            let versions: Vec<Version> = server.list(&["scripts", &script, "versions"]).await?;
            versions.iter().map(|version| version.version).max().ok_or_else(|| {
                miette!(code = "callbox::script::no_version", "{} has no version yet: push one first", args.script)
            })?
        }
    };
    let publish = server.request(Method::POST, &["scripts", &script, "publish"])?;
    let _: Value = server.send(publish.json(&json!({"version": version}))).await?;
    talk(format_args!("version {version} of {} answers from now on", args.script));
    data(format_args!("{script} {version}"))
}

/// The id of the script of that name.
async fn find(server: &Server<'_>, name: &str) -> miette::Result<Option<String>> {
    let scripts: Vec<Script> = server.list(&["scripts"]).await?;
    Ok(scripts.into_iter().find(|script| script.name == name).map(|script| script.id))
}

fn manifest_name(wasm: &[u8]) -> miette::Result<String> {
    let package = callbox_script::package::read(&wasm.to_vec().into(), u32::MAX)
        .map_err(|error| miette!(code = "callbox::script::package", "{error}"))?;
    Ok(package.manifest.name)
}

#[derive(Debug, Deserialize)]
struct Script {
    id: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: u64,
    digest: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use reqwest::Url;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that expects these requests in order and gives these answers.
    async fn server(script: Vec<(&'static str, u16, Value)>) -> (ServerArgs, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move {
            for (expected, status, answer) in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                let head = loop {
                    stream.read_buf(&mut request).await.unwrap();
                    if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
                        break String::from_utf8(request[..end].to_vec()).unwrap().to_lowercase();
                    }
                };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let whole = head.len() + 4 + length.map_or(0, |length| length.parse().unwrap());
                while request.len() < whole {
                    stream.read_buf(&mut request).await.unwrap();
                }
                assert!(head.starts_with(&expected.to_lowercase()), "{expected}: {head}");
                assert!(head.contains("authorization: bearer cbk_test"), "{head}");
                let body = answer.to_string();
                let answer =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (ServerArgs { url, key: "cbk_test".into() }, serving)
    }

    fn page(data: Value, next_cursor: Option<&str>) -> Value {
        json!({"data": data, "next_cursor": next_cursor, "has_more": next_cursor.is_some()})
    }

    #[tokio::test]
    async fn pushing_makes_the_script_where_there_is_none() {
        let version = json!({"version": 1, "digest": "sha256:00", "size": 3});
        let (args, serving) = server(vec![
            ("GET /v1/scripts?limit=100 ", 200, page(json!([{"id": "scr_1", "name": "other"}]), Some("a b"))),
            ("GET /v1/scripts?limit=100&cursor=a+b ", 200, page(json!([]), None)),
            ("POST /v1/scripts ", 201, json!({"id": "scr_2", "name": "hello"})),
            ("POST /v1/scripts/scr_2/versions ", 201, version),
        ])
        .await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hello.wasm");
        std::fs::write(&file, b"abc").unwrap();
        push(&PushArgs { file, name: Some("hello".into()), server: args }).await.unwrap();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn publishing_takes_the_newest_version_and_shows_a_refusal() {
        let versions =
            json!([{"version": 2, "digest": "b"}, {"version": 11, "digest": "c"}, {"version": 1, "digest": "a"}]);
        let problem = json!({"code": "script_unbound", "detail": "not bound yet", "errors": []});
        let (args, serving) = server(vec![
            ("GET /v1/scripts?limit=100 ", 200, page(json!([{"id": "scr_1", "name": "hello"}]), None)),
            ("GET /v1/scripts/scr_1/versions?limit=100 ", 200, page(versions, None)),
            ("POST /v1/scripts/scr_1/publish ", 409, problem),
        ])
        .await;
        let error = publish(&PublishArgs { script: "hello".into(), version: None, server: args }).await.unwrap_err();
        assert_eq!(error.code().unwrap().to_string(), "script_unbound");
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let server = ServerArgs { url: url.clone(), key: "cbk_test".into() };
        let error = publish(&PublishArgs { script: "scr_1".into(), version: Some(1), server }).await.unwrap_err();
        assert!(error.to_string().contains(url.as_str()), "{error}");
    }
}
