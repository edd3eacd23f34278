//! The systems around a script, in this process: sources that answer as a scenario file says, destinations that are
//! shown.
//!
//! They are asked by HTTP as a customer's systems are, so that everything in between is what it will be.

use super::super::{data, talk};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use callbox_sim::scenario::{Given, SourceAnswer, SourceFailure, Span};
use callbox_sim::trace::printable;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Characters shown of what was pushed.
const SHOWN: usize = 4_000;

/// Where the systems are.
pub(super) struct World {
    base: String,
}

impl World {
    /// Starts them, on a port of their own that nobody else can reach.
    pub(super) async fn start(given: &Given) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/source/{name}", post(source))
            .route("/destination/{name}", post(destination))
            .with_state(Arc::new(given.sources.clone()));
        // Ends with the process.
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { base })
    }

    /// The URL of a source.
    pub(super) fn source(&self, name: &str) -> String {
        format!("{}/source/{name}", self.base)
    }

    /// The URL of a destination.
    pub(super) fn destination(&self, name: &str) -> String {
        format!("{}/destination/{name}", self.base)
    }
}

type Sources = Arc<BTreeMap<String, SourceAnswer>>;

async fn source(State(sources): State<Sources>, Path(name): Path<String>) -> Response {
    let Some(plan) = sources.get(&name) else {
        talk(format_args!("nobody says what the source `{name}` answers, so it is not available: --given FILE does"));
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    sleep(Duration::from_millis(plan.after.map_or(0, Span::millis))).await;
    match (&plan.answers, plan.fails) {
        (Some(value), _) => ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response(),
        (None, Some(SourceFailure::Unavailable)) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        (None, Some(SourceFailure::NotFound)) => StatusCode::NOT_FOUND.into_response(),
        // Until the host has waited long enough, and goes.
        (None, Some(SourceFailure::TimedOut) | None) => std::future::pending().await,
    }
}

async fn destination(Path(name): Path<String>, body: Bytes) -> impl IntoResponse {
    let envelope: Value = serde_json::from_slice(&body).unwrap_or_default();
    let pushed = envelope.pointer("/data/body").unwrap_or(&envelope);
    // Nobody may be looking.
    let _ = data(printable(&format!("pushed to {name}: {pushed}"), SHOWN));
    axum::Json(json!({}))
}
