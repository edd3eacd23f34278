//! `callbox speechd`: a local server that speaks the protocols of providers,
//! for tests and for trying things without an account.
//!
//! | path | protocol | behind it |
//! |---|---|---|
//! | `POST /v1/chat/completions` | OpenAI-compatible, streaming and not, with tools | a [`Script`] |
//! | `POST /v1/audio/speech` | OpenAI-compatible: raw samples, WAV, server-sent events | a synthesiser, by default espeak-ng |
//! | `POST /v1/audio/transcriptions` | OpenAI-compatible: JSON, text, server-sent events | a recogniser that is given, else the script |
//! | `GET /v1/speak`, a WebSocket | Deepgram-style | as above |
//! | `GET /v1/listen`, a WebSocket | Deepgram-style | as above |
//! | `POST /custom/tts`, and as a WebSocket | jambonz custom speech | as above |
//! | `GET /custom/stt`, a WebSocket | jambonz custom speech | as above |
//! | `GET /requests` | ours | the last requests, as they came, for tests |
//!
//! A client that works against this server has been tried against our reading
//! of a protocol, and against no vendor: `docs/speech.md` says so, too.
//!
//! What this room never does: open a connection, or keep anything for longer
//! than the process runs.

mod chat;
mod ear;
mod journal;
mod listening;
mod script;
mod socket;
mod speaking;
mod voice;

pub use script::{Answer, Call, Failure, Script, ScriptError, Transcript};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use callbox_speech::{Espeak, EspeakConfig, Recogniser, Synthesiser};
use journal::Journal;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Bytes of a request.
const MAX_BODY: usize = 16 << 20;

/// What a server is told.
#[derive(Clone, Default)]
pub struct Settings {
    /// Asked of every request, as `Bearer KEY` or `Token KEY`; nothing is asked without one.
    pub key: Option<String>,
    /// What the model answers, and what callers say where no engine listens.
    pub script: Script,
    /// Who speaks; espeak-ng without one.
    pub voice: Option<Arc<dyn Synthesiser>>,
    /// Who listens, for the words that a client hints at.
    pub ear: Option<Arc<dyn Recogniser>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("script", &self.script).finish_non_exhaustive()
    }
}

/// What the handlers share.
struct Shared {
    settings: Settings,
    voice: Arc<dyn Synthesiser>,
    journal: Journal,
    /// Utterances that were transcribed by the script.
    transcribed: AtomicUsize,
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
    let voice = settings.voice.clone().unwrap_or_else(|| Arc::new(Espeak::new(EspeakConfig::default())));
    let shared = Shared { settings, voice, journal: Journal::default(), transcribed: AtomicUsize::new(0) };
    let shared = Arc::new(shared);
    Router::new()
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/audio/speech", post(voice::openai))
        .route("/v1/audio/transcriptions", post(ear::openai))
        .route("/v1/speak", get(speaking::deepgram))
        .route("/v1/listen", get(listening::deepgram))
        .route("/custom/tts", post(voice::custom).get(speaking::custom))
        .route("/custom/stt", get(listening::custom))
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
