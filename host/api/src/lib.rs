//! The REST management API and its OpenAPI document.
//!
//! * [`router`] – everything below `/v1`, `/healthz`, `/readyz`, `/openapi.json`, `/docs`
//! * [`serve`] – the listener
//! * `edge`, `guard`, `intake` – around every request: its name, time limit and log
//!   line; who may do it; its body, and `Idempotency-Key`
//! * `elsewhere` – what is asked about calls that run on another host
//! * `quotas` – whether a tenant may keep more
//! * `extract`, `problem` – how requests are read, and what is said when they cannot be served
//! * `document` – the OpenAPI document, made of the handlers' descriptions
//! * `try_page` – files for browsers: the library that web pages call with, the page to try it
//! * one module per resource: `scripts`, `versions`, `bindings`, `numbers`, `trunks`, `sip_accounts`,
//!   `webrtc_tokens`, `webrtc_calls` (with `webrtc_guard`, `webrtc_cors`, `webrtc_ice`, `webrtc_exchange`),
//!   `webhooks`, `deliveries`, `calls`, `conversation`, `recordings`, `retention`, `keys`, `tenant`, `tenants`, `usage`, `health`
//!
//! What this room never does: hold a rule of the store or of a call, show a stored
//! secret, let a key touch what is not its tenant's, or answer bad input with a 5xx.

#![allow(unused_qualifications, reason = "in what utoipa generates")]

mod bindings;
mod calls;
mod capture;
mod component;
mod conversation;
mod deliveries;
mod document;
mod edge;
mod elsewhere;
mod extract;
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod health;
mod hosts;
mod intake;
mod keys;
mod metrics;
mod numbers;
mod problem;
mod quotas;
mod recordings;
mod retention;
mod scripts;
mod server;
mod shapes;
mod signalling;
mod sip_accounts;
mod tenant;
mod tenants;
mod trunks;
mod try_page;
mod usage;
mod versions;
mod webhooks;
mod webrtc_calls;
mod webrtc_cors;
mod webrtc_exchange;
mod webrtc_guard;
mod webrtc_ice;
mod webrtc_tokens;

pub use metrics::metrics;
pub use server::serve;
pub use webrtc_guard::{Peer, WebCallConfig};
pub use webrtc_ice::IceConfig;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use bytes::Bytes;
use callbox_call::Platform;
use callbox_store::Store;
use elsewhere::Others;
use guard::{AccessTable, Pace, TenantPaces};
use health::Readiness;
use ipnet::IpNet;
use problem::Problem;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use tokio::sync::Semaphore;
use webrtc_guard::Paces;

/// What the operator settles for the API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Requests a second of one key, and as many saved up; 0 for no limit.
    pub requests_per_second: u32,
    /// Largest component, in bytes.
    pub upload_bytes: u64,
    /// Whether the page to try calls out from a browser is served at `/try`.
    pub try_page: bool,
    /// Proxies before the host, whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Calls from web pages.
    pub webrtc: WebCallConfig,
}

/// Components held in memory at once, on their way in.
const UPLOADS: usize = 4;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) platform: Platform,
    pub(crate) config: ApiConfig,
    pub(crate) access: AccessTable,
    pub(crate) pace: Pace,
    pub(crate) tenant_paces: TenantPaces,
    pub(crate) paces: Paces,
    pub(crate) uploads: Semaphore,
    /// Requests with an `Idempotency-Key` so far.
    pub(crate) keyed: AtomicU32,
    pub(crate) readiness: Readiness,
    pub(crate) others: Others,
    /// The OpenAPI document.
    pub(crate) document: Bytes,
}

impl Api {
    pub(crate) fn platform(&self) -> &Platform {
        &self.inner.platform
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.platform.rooms().store
    }

    /// The STUN and TURN servers for the holder of a token, with credentials that begin now.
    pub(crate) fn ice_servers(&self, token: &str) -> Vec<webrtc_ice::IceServer> {
        self.inner.config.webrtc.ice.servers(token, self.store().now().0 / 1_000)
    }

    pub(crate) fn upload_bytes(&self) -> usize {
        usize::try_from(self.inner.config.upload_bytes).unwrap_or(usize::MAX)
    }
}

/// The whole API.
pub fn router(platform: Platform, config: ApiConfig) -> Router {
    let try_page = config.try_page;
    let (routes, document) = document::routes();
    let api = Api {
        inner: Arc::new(Inner {
            access: AccessTable::of(&document),
            pace: Pace::new(config.requests_per_second),
            tenant_paces: TenantPaces::default(),
            paces: Paces::new(&config.webrtc),
            uploads: Semaphore::new(UPLOADS),
            keyed: AtomicU32::new(0),
            readiness: Readiness::default(),
            others: Others::new(),
            document: serde_json::to_vec(&document).unwrap_or_default().into(),
            platform,
            config,
        }),
    };
    routes
        .route_layer(from_fn_with_state(api.clone(), intake::intake))
        .route_layer(from_fn_with_state(api.clone(), elsewhere::elsewhere))
        .route_layer(from_fn_with_state(api.clone(), guard::guard))
        .with_state(api)
        .merge(document::pages())
        .merge(try_page::pages(try_page))
        .fallback(async || Problem::not_found("there is nothing at this path; GET /openapi.json lists what there is"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
        })
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(edge::edge))
        .layer(from_fn(webrtc_cors::cors))
}

/// The OpenAPI document, for tools that want it without a running host.
#[must_use]
pub fn openapi() -> String {
    document::routes().1.to_pretty_json().unwrap_or_default()
}
