//! `callbox speechd`: a local server that speaks the protocols of providers,
//! for tests and for trying things without an account.
//!
//! | path | protocol | behind it |
//! |---|---|---|
//! | `POST /v1/chat/completions` | OpenAI-compatible, streaming and not, with tools | a [`Script`] |
//! | `GET /requests` | ours | the last requests, as they came, for tests |
//!
//! A client that works against this server has been tried against our reading
//! of a protocol, and against no vendor: `docs/speech.md` says so, too.
//!
//! What this room never does: open a connection, or keep anything for longer
//! than the process runs.

mod chat;
mod journal;
mod script;

pub use script::{Answer, Call, Failure, Script, ScriptError};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use journal::Journal;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Bytes of a request.
const MAX_BODY: usize = 16 << 20;

/// What a server is told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Asked of every request, as `Bearer KEY` or `Token KEY`; nothing is asked without one.
    pub key: Option<String>,
    /// What the model answers.
    pub script: Script,
}

/// What the handlers share.
struct Shared {
    settings: Settings,
    journal: Journal,
}

/// A server that runs. It stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Listens on an address; port 0 takes any free one. To be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(bind: SocketAddr, settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(bind).await?;
        let address = listener.local_addr()?;
        let app = router(settings);
        let task = tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address with a scheme and a path: `server.url("http", "/v1")`.
    #[must_use]
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(settings: Settings) -> Router {
    let shared = Arc::new(Shared { settings, journal: Journal::default() });
    Router::new()
        .route("/v1/chat/completions", post(chat::completions))
        .route("/requests", get(requests))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(shared.clone(), authorised))
        .with_state(shared)
}

/// The last requests.
async fn requests(State(shared): State<Arc<Shared>>) -> Json<serde_json::Value> {
    Json(shared.journal.all())
}

/// Lets nobody in without the key.
async fn authorised(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let shown = shown.split_once(' ').filter(|(scheme, _)| matches!(*scheme, "Bearer" | "Token"));
    let known = match (&shared.settings.key, shown) {
        (None, _) => true,
        (Some(key), Some((_, shown))) => bool::from(key.as_bytes().ct_eq(shown.as_bytes())),
        (Some(_), None) => false,
    };
    if known { next.run(request).await } else { refuse(StatusCode::UNAUTHORIZED, "the key is missing, or another") }
}

/// An error in the shape that most of these protocols have.
fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": {"message": message, "type": "speechd", "code": status.as_u16()}}))).into_response()
}
