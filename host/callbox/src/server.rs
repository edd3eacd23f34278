//! A server's REST API, for the commands that talk to one.

use miette::{IntoDiagnostic, Report, miette};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use std::time::Duration;

/// Uploads are compiled before they are answered.
const TIMEOUT: Duration = Duration::from_secs(180);
/// Pages of a list that are read before giving up.
const MAX_PAGES: usize = 100;

/// Which server, and as whom.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server.
    #[arg(long, value_name = "URL", env = "CALLBOX_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: Url,
    /// An API key (cbk_…). Better in the environment: others can see the flags of a process.
    #[arg(long, value_name = "KEY", env = "CALLBOX_KEY", hide_env_values = true)]
    pub(crate) key: String,
}

/// A server's REST API.
pub(crate) struct Server<'a> {
    client: reqwest::Client,
    args: &'a ServerArgs,
}

impl<'a> Server<'a> {
    pub(crate) fn new(args: &'a ServerArgs) -> miette::Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("callbox/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .into_diagnostic()?;
        Ok(Self { client, args })
    }

    pub(crate) fn request(&self, method: Method, path: &[&str]) -> miette::Result<RequestBuilder> {
        Ok(self.client.request(method, self.url(path)?).bearer_auth(&self.args.key))
    }

    /// A request to read something.
    pub(crate) fn get(&self, path: &[&str], query: &[(&str, &str)]) -> miette::Result<RequestBuilder> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.get(url).bearer_auth(&self.args.key))
    }

    fn url(&self, path: &[&str]) -> miette::Result<Url> {
        let mut url = self.args.url.clone();
        url.path_segments_mut()
            .map_err(|()| miette!(code = "callbox::server::url", "{} is not the URL of a server", self.args.url))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        Ok(url)
    }

    /// All of a list.
    pub(crate) async fn list<T: for<'de> Deserialize<'de>>(&self, path: &[&str]) -> miette::Result<Vec<T>> {
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
        Err(miette!(code = "callbox::server::list", "the list of {} does not end", path.join("/")))
    }

    /// Sends, and reads an answer in JSON.
    pub(crate) async fn send<T: for<'de> Deserialize<'de>>(&self, request: RequestBuilder) -> miette::Result<T> {
        let body = self.bytes(request).await?;
        serde_json::from_slice(&body).map_err(|error| {
            miette!(
                code = "callbox::server::answer",
                "{} answers what this version does not understand: {error}",
                self.args.url
            )
        })
    }

    /// Sends, and reads an answer in plain text.
    pub(crate) async fn text(&self, request: RequestBuilder) -> miette::Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(request).await?).into_owned())
    }

    /// Sends, and reads an answer of any kind.
    pub(crate) async fn bytes(&self, request: RequestBuilder) -> miette::Result<Vec<u8>> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() { Ok(body.into()) } else { Err(refusal(status.as_u16(), &body)) }
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
            code = "callbox::server::unreachable",
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

#[derive(Debug, Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

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
}
