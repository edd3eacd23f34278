//! A customer's system: answers context requests, receives results, verifies
//! every signature with the public Standard Webhooks library.

use crate::SOON;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use base64::Engine;
use serde_json::Value;
use standardwebhooks::Webhook;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What it received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Where.
    pub path: String,
    /// The `webhook-id`.
    pub id: String,
    /// The `traceparent`, where there is one.
    pub traceparent: Option<String>,
    /// The body as it came.
    pub raw: Vec<u8>,
    /// The body as JSON.
    pub body: Value,
}

/// How it answers at a path.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// JSON.
    pub body: Value,
    /// First waits so long.
    pub after: Duration,
}

impl Answer {
    /// 200 with this, at once.
    #[must_use]
    pub fn json(body: Value) -> Self {
        Self { status: 200, body, after: Duration::ZERO }
    }
}

struct Shared {
    webhook: Webhook,
    answers: Mutex<HashMap<String, Answer>>,
    received: mpsc::UnboundedSender<Received>,
}

/// A system that listens.
pub struct Business {
    /// `whsec_…`: what its requests are signed with.
    pub secret: String,
    base: String,
    shared: Arc<Shared>,
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<Received>>,
}

impl Business {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let secret = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode([7; 24]));
        let (sender, received) = mpsc::unbounded_channel();
        let shared =
            Arc::new(Shared { webhook: Webhook::new(&secret).unwrap(), answers: Mutex::default(), received: sender });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { secret, base, shared, received: tokio::sync::Mutex::new(received) }
    }

    /// A URL of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// From now on it answers so at this path; else 200 with `{}`.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// The next request it received.
    pub async fn next(&self) -> Received {
        let mut received = self.received.lock().await;
        timeout(SOON, received.recv()).await.expect("a request comes in time").unwrap()
    }

    /// The next request, if one came already.
    pub async fn try_next(&self) -> Option<Received> {
        self.received.lock().await.try_recv().ok()
    }

    /// The next request at this path; others before it are dropped.
    pub async fn next_at(&self, path: &str) -> Received {
        loop {
            let request = self.next().await;
            if request.path == path {
                return request;
            }
        }
    }
}

async fn receive(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, raw: Bytes) -> impl IntoResponse {
    let path = uri.path().to_owned();
    if let Err(error) = shared.webhook.verify(&raw, &headers) {
        return (StatusCode::UNAUTHORIZED, format!("the signature does not fit: {error}"));
    }
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let traceparent = headers.get("traceparent").and_then(|trace| trace.to_str().ok()).map(ToOwned::to_owned);
    let body = serde_json::from_slice(&raw).unwrap_or(Value::Null);
    // The test may be over.
    let _ = shared.received.send(Received { path: path.clone(), id, traceparent, raw: raw.to_vec(), body });
    let answer = shared.answers.lock().unwrap().get(&path).cloned().unwrap_or(Answer::json(serde_json::json!({})));
    tokio::time::sleep(answer.after).await;
    (StatusCode::from_u16(answer.status).unwrap(), answer.body.to_string())
}
