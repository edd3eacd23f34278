//! Whether the host is there, and whether it takes calls; and the document.

use crate::Api;
use crate::extract::Json;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

/// The database is asked at most so often, however many ask us.
const REMEMBERED: Duration = Duration::from_secs(1);
/// A database that takes longer is not available.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the database said last.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    last: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    async fn store_works(&self, api: &Api) -> bool {
        let mut last = self.last.lock().await;
        if let Some((at, works)) = *last
            && at.elapsed() < REMEMBERED
        {
            return works;
        }
        let works = match timeout(PATIENCE, api.store().check()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, "the database does not work");
                false
            }
            Err(_) => {
                tracing::error!("the database does not answer");
                false
            }
        };
        *last = Some((Instant::now(), works));
        works
    }
}

/// How the host is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`
    #[schema(example = "ok")]
    status: &'static str,
    /// Calls that run now.
    calls: usize,
}

/// Is it alive
///
/// 200 as long as the process serves requests.
#[utoipa::path(get, path = "/healthz", tag = "host", responses((status = 200, description = "It is", body = Health)))]
pub(crate) async fn alive(State(api): State<Api>) -> Json<Health> {
    Json(Health { status: "ok", calls: api.platform().calls() })
}

/// Does it take calls
///
/// 503 with the code `draining` while the host goes down, and `results_not_stored` while the database takes no results.
#[utoipa::path(get, path = "/readyz", tag = "host", responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn ready(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    if let Some(reason) = api.platform().unready() {
        return Err(Problem::unavailable(reason, "no new calls are taken", 5));
    }
    if !api.inner.readiness.store_works(&api).await {
        return Err(Problem::unavailable("results_not_stored", "no new calls are taken", 5));
    }
    Ok(alive(State(api)).await)
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "host",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
pub(crate) async fn openapi(State(api): State<Api>) -> Response {
    ([(CONTENT_TYPE, "application/json")], api.inner.document.clone()).into_response()
}
