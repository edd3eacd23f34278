//! The REST management API and its OpenAPI document.

use axum::Router;
use axum::routing::get;
use callbox_call::Platform;

/// What the operator settles for the API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Requests a second of one key.
    pub requests_per_second: u32,
    /// Largest component, in bytes.
    pub upload_bytes: u64,
}

/// The whole API.
#[must_use]
pub fn router(_platform: Platform, _config: ApiConfig) -> Router {
    Router::new().route("/healthz", get(async || "ok"))
}
