//! `callbox script push` and `publish`: onto a server, through its REST API.

use super::{check, data, talk};
use miette::{Context, IntoDiagnostic, Report, miette};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Uploads are compiled before they are answered.
const TIMEOUT: Duration = Duration::from_secs(180);
/// Pages of a list that are read before giving up.
const MAX_PAGES: usize = 100;

/// Which server, and as whom.
#[derive(Debug, clap::Args)]
struct ServerArgs {
    /// The server.
    #[arg(long, value_name = "URL", env = "CALLBOX_URL", default_value = "http://127.0.0.1:8080")]
    url: Url,
    /// An API key with the scope scripts:write (cbk_…). Better in the environment: others can see the flags of a process.
    #[arg(long, value_name = "KEY", env = "CALLBOX_KEY", hide_env_values = true)]
    key: String,
}

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
    let script = match server.find(&name).await? {
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
        false => server.find(&args.script).await?.ok_or_else(|| {
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

#[derive(Debug, Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

/// A server's REST API.
struct Server<'a> {
    client: reqwest::Client,
    args: &'a ServerArgs,
}

impl<'a> Server<'a> {
    fn new(args: &'a ServerArgs) -> miette::Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("callbox/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .into_diagnostic()?;
        Ok(Self { client, args })
    }

    fn request(&self, method: Method, path: &[&str]) -> miette::Result<RequestBuilder> {
        Ok(self.client.request(method, self.url(path)?).bearer_auth(&self.args.key))
    }

    fn url(&self, path: &[&str]) -> miette::Result<Url> {
        let mut url = self.args.url.clone();
        url.path_segments_mut()
            .map_err(|()| miette!(code = "callbox::script::url", "{} is not the URL of a server", self.args.url))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        Ok(url)
    }

    /// The id of the script of that name.
    async fn find(&self, name: &str) -> miette::Result<Option<String>> {
        let scripts: Vec<Script> = self.list(&["scripts"]).await?;
        Ok(scripts.into_iter().find(|script| script.name == name).map(|script| script.id))
    }

    /// All of a list.
    async fn list<T: for<'de> Deserialize<'de>>(&self, path: &[&str]) -> miette::Result<Vec<T>> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut url = self.url(path)?;
            url.query_pairs_mut().append_pair("limit", "100").extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.send(self.client.get(url).bearer_auth(&self.args.key)).await?;
            all.extend(page.data);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(all);
            }
        }
        Err(miette!(code = "callbox::script::list", "the list of {} does not end", path.join("/")))
    }

    async fn send<T: for<'de> Deserialize<'de>>(&self, request: RequestBuilder) -> miette::Result<T> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            miette!(
                code = "callbox::script::answer",
                "{} answers what this version does not understand: {error}",
                self.args.url
            )
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Report {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let why = if error.is_timeout() {
            "no answer in time".into()
        } else {
            causes.pop().unwrap_or_else(|| error.to_string())
        };
        miette!(
            code = "callbox::script::unreachable",
            help = "is `callbox serve` running? --url or CALLBOX_URL says where",
            "cannot reach {}: {why}",
            self.args.url
        )
    }
}

/// What the server says it refused something for (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
    request_id: Option<String>,
    errors: Vec<Mistake>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mistake {
    path: String,
    code: String,
    message: String,
}

fn refusal(status: u16, body: &[u8]) -> Report {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let code = problem.code.unwrap_or_else(|| format!("http_{status}"));
    let what = problem.detail.or(problem.title).unwrap_or_else(|| "the server does not say why".into());
    let mut text = printable(&format!("the server refuses ({status}): {what}"));
    for mistake in problem.errors.iter().take(50) {
        text.push_str("\n  ");
        text.push_str(&printable(&format!("{}: {} ({})", mistake.path, mistake.message, mistake.code)));
    }
    let id = problem.request_id.map(|id| printable(&format!("the server's log knows this request as {id}")));
    match id {
        Some(help) => miette!(code = code, help = help, "{text}"),
        None => miette!(code = code, "{text}"),
    }
}

/// What a server says goes to a terminal: nothing in it may steer that.
fn printable(text: &str) -> String {
    text.chars().take(2_000).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn a_problem_is_shown_with_its_code_and_every_mistake() {
        let body = json!({
            "title": "Unprocessable", "detail": "the upload is not admitted", "code": "script_import", "request_id": "req_1",
            "errors": [{"path": "imports[0]", "code": "unknown", "message": "wasi:cli/environment"}],
        });
        let report = refusal(422, body.to_string().as_bytes());
        assert_eq!(report.code().unwrap().to_string(), "script_import");
        assert!(report.help().unwrap().to_string().contains("req_1"));
        let text = report.to_string();
        assert!(text.contains("(422): the upload is not admitted"), "{text}");
        assert!(text.contains("imports[0]: wasi:cli/environment (unknown)"), "{text}");
    }

    #[test]
    fn an_answer_that_is_no_problem_document_is_an_error_too() {
        let report = refusal(502, b"<html>\x1b[2J");
        assert_eq!(report.code().unwrap().to_string(), "http_502");
        assert!(report.to_string().contains("502"));
        let steering = refusal(400, json!({"detail": "a\u{1b}[2Jb"}).to_string().as_bytes()).to_string();
        assert!(!steering.contains('\u{1b}'), "{steering:?}");
    }

    #[test]
    fn paths_are_below_the_server_s_own_and_names_cannot_leave_them() {
        let args = ServerArgs { url: "https://example.com/voice/".parse().unwrap(), key: "cbk_x".into() };
        let request = Server::new(&args).unwrap().request(Method::GET, &["scripts", "a/../b", "versions"]).unwrap();
        assert_eq!(request.build().unwrap().url().as_str(), "https://example.com/voice/v1/scripts/a%2F..%2Fb/versions");
    }

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
