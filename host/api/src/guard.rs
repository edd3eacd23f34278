//! Who may do what. The scope of an operation is the one its OpenAPI description
//! names: what is documented is what is enforced.

use crate::Api;
use crate::edge::RequestName;
use crate::problem::Problem;
use crate::webrtc_guard::{self, Peer};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use callbox_store::keys::{AuthError, Identity, Scopes};
use callbox_store::{Actor, TenantId};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use utoipa::openapi::OpenApi;

/// What an operation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Public,
    /// Any valid key.
    Key,
    /// A key with this scope.
    Scope(String),
    /// Whoever holds a token for calls from web pages.
    Visitor,
}

/// What each operation asks for, by method and path.
#[derive(Debug, Default)]
pub(crate) struct AccessTable(HashMap<(Method, String), Access>);

impl AccessTable {
    /// Reads the table from the document. An operation below `/v1` without a word
    /// about security is for administrators alone.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let document = serde_json::to_value(document).unwrap_or_default();
        let mut table = HashMap::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else { continue };
                let scopes = operation["security"][0]["api_key"].as_array();
                let visitor = operation["security"][0]["webrtc_token"].is_array();
                let access = match scopes.map(|scopes| scopes.first().and_then(|scope| scope.as_str())) {
                    Some(Some(scope)) => Access::Scope(scope.to_owned()),
                    Some(None) => Access::Key,
                    None if visitor => Access::Visitor,
                    // The link carries its right, and the operation looks at it.
                    None if operation["security"][0]["recording_link"].is_array() => Access::Public,
                    None if path.starts_with("/v1") => Access::Scope("admin".to_owned()),
                    None => Access::Public,
                };
                table.insert((method, path.clone()), access);
            }
        }
        Self(table)
    }

    fn find(&self, method: &Method, path: &str) -> Option<&Access> {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        self.0.get(&(method, path.to_owned()))
    }
}

/// Who asks: for handlers.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    pub(crate) actor: Actor,
    pub(crate) scopes: Scopes,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthorized)
    }
}

/// How often one key may ask.
#[derive(Debug)]
pub(crate) struct Pace {
    limiter: Option<DefaultKeyedRateLimiter<String>>,
    clock: DefaultClock,
    asked: AtomicU32,
    /// Who asks: `this key`.
    whose: &'static str,
}

/// Requests between two looks at keys that need not be remembered any more.
const TIDY_EVERY: u32 = 4_096;

impl Pace {
    /// So many a second, and as many saved up; 0 for no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        Self::saving(per_second, 1, "this key")
    }

    /// So many a second, and those of so many seconds saved up; 0 for no limit.
    pub(crate) fn saving(per_second: u32, seconds: u32, whose: &'static str) -> Self {
        let quota = |n: NonZeroU32| {
            Quota::per_second(n).allow_burst(n.saturating_mul(NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN)))
        };
        let limiter = NonZeroU32::new(per_second).map(|n| DefaultKeyedRateLimiter::keyed(quota(n)));
        Self { limiter, clock: DefaultClock::default(), asked: AtomicU32::new(0), whose }
    }

    /// Whether this one may ask once more.
    pub(crate) fn check(&self, key: &str) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        // Only keys that exist come here, addresses that keep a connection, and as many tokens as such an address may
        // show; those at rest are forgotten.
        if self.asked.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        let again = |until: governor::NotUntil<_>| too_often(self.whose, until.wait_time_from(self.clock.now()));
        limiter.check_key(&key.to_owned()).map_err(again)
    }
}

/// How often all keys of one tenant together may ask. Each has its own limit, which may change.
#[derive(Debug, Default)]
pub(crate) struct TenantPaces {
    /// As many as there are tenants, which strangers do not make.
    limiters: Mutex<HashMap<TenantId, (NonZeroU32, Arc<DefaultDirectRateLimiter>)>>,
    clock: DefaultClock,
}

impl TenantPaces {
    /// Whether one of this tenant may ask once more; it may as often as it likes where there is no limit, or 0.
    fn check(&self, tenant: &TenantId, per_second: Option<u32>) -> Result<(), Problem> {
        let Some(rate) = per_second.and_then(NonZeroU32::new) else { return Ok(()) };
        let limiter = {
            let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || (rate, Arc::new(DefaultDirectRateLimiter::direct(Quota::per_second(rate))));
            let known = limiters.entry(tenant.clone()).or_insert_with(fresh);
            if known.0 != rate {
                *known = fresh();
            }
            known.1.clone()
        };
        limiter.check().map_err(|until| too_often("this tenant", until.wait_time_from(self.clock.now())))
    }
}

/// 429, and when to come back.
fn too_often(whose: &str, wait: Duration) -> Problem {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds, at least one")]
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    let detail = format!("{whose} asks more often than it may");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(seconds)
}

/// Lets through what is allowed.
pub(crate) async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    let access = match api.inner.access.find(request.method(), path) {
        // Another method of the path exists: 405, by the router.
        None | Some(Access::Public) => return next.run(request).await,
        Some(Access::Visitor) => return webrtc_guard::guard(api, request, next).await,
        Some(access) => access,
    };
    let identity = match identify(&api, request.headers()).await {
        Ok(identity) => identity,
        Err(problem) => return problem.into_response(),
    };
    let key = KeyId(identity.key_id.clone());
    let mut response = match allowed(&api, access, &identity) {
        Ok(()) => {
            let actor = actor(&api, &identity, &request);
            let caller = Caller { tenant: identity.tenant_id, actor, scopes: identity.scopes };
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(key);
    response
}

/// Who asks and from where, for the audit log.
fn actor(api: &Api, identity: &Identity, request: &Request) -> Actor {
    let Some(Peer(peer)) = request.extensions().get().copied() else { return identity.actor() };
    let source = webrtc_guard::address(peer.ip(), request.headers(), &api.inner.config.trusted_proxies);
    let name = request.extensions().get().map(|RequestName(name)| name.clone());
    identity.actor().by_request(source.to_string(), name)
}

/// Whose request it was, for the log.
#[derive(Clone, Debug)]
pub(crate) struct KeyId(pub(crate) String);

fn allowed(api: &Api, access: &Access, identity: &Identity) -> Result<(), Problem> {
    api.inner.pace.check(&identity.key_id)?;
    let deployment = api.platform().quotas().requests_per_second;
    api.inner.tenant_paces.check(&identity.tenant_id, identity.requests_per_second.or(deployment))?;
    match access {
        Access::Scope(scope) if !identity.scopes.allow(scope) => {
            let detail = format!("this needs a key with the scope {scope}");
            Err(Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", detail))
        }
        _ => Ok(()),
    }
}

/// What one `Authorization: Bearer` header holds.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
}

async fn identify(api: &Api, headers: &HeaderMap) -> Result<Identity, Problem> {
    let key = bearer(headers).ok_or_else(Problem::unauthorized)?;
    api.store().authenticate(key).await.map_err(|error| match error {
        AuthError::Refused(reason) => {
            tracing::debug!(%reason, "a key was refused");
            Problem::unauthorized()
        }
        AuthError::Store(error) => error.into(),
    })
}
