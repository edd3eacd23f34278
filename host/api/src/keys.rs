//! API keys.

use crate::Api;
use crate::extract::{Json, ListQuery, OptionalJson, Path, Query};
use crate::guard::Caller;
use crate::intake::Remembered;
use crate::problem::Problem;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_store::Page;
use callbox_store::keys::{IssuedKey, Key, NewKey, Scopes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyMade {
    #[serde(flatten)]
    key: Key,
    /// `cbk_…`, for `Authorization: Bearer`. Shown this once; only its hash is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Make a key
///
/// It cannot do more than the key that makes it.
#[utoipa::path(post, path = "/v1/keys", tag = "administration", security(("api_key" = ["keys:write"])),
    request_body(content = NewKey, example = json!({"name": "crm", "scopes": ["calls:read", "calls:write"]})),
    responses(
        (status = 201, description = "Made", body = KeyMade),
        (status = 403, description = "The key lacks the scope, or may do less than the one that is to be made")))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<NewKey>,
) -> Result<impl IntoResponse, Problem> {
    within(&caller, &new.scopes, "make")?;
    shown(api.store().create_key(&caller.tenant, new, &caller.actor).await?)
}

/// Refuses whoever would make, replace or revoke a key that may do more than its own. A key's scopes never change, so
/// that what was looked at before still holds when it is done.
fn within(caller: &Caller, scopes: &Scopes, what: &str) -> Result<(), Problem> {
    if caller.scopes.cover(scopes) {
        return Ok(());
    }
    let detail = format!("a key cannot {what} one that may do more than itself");
    Err(Problem::new(StatusCode::FORBIDDEN, "scopes_exceeded", detail))
}

/// The answer that shows a new key, and what is remembered of it.
pub(crate) fn shown(issued: IssuedKey) -> Result<impl IntoResponse, Problem> {
    let location = [(LOCATION, format!("/v1/keys/{}", issued.key.id))];
    let mut made = KeyMade { key: issued.key, secret: None };
    let remembered = serde_json::to_vec(&made).map_err(Problem::internal)?;
    made.secret = Some(issued.secret.expose().to_owned());
    Ok((StatusCode::CREATED, location, Extension(Remembered(remembered.into())), Json(made)))
}

/// List keys
///
/// Revoked ones too.
#[utoipa::path(get, path = "/v1/keys", tag = "administration", security(("api_key" = ["keys:read"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<Key>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<Key>>, Problem> {
    Ok(Json(api.store().keys(&caller.tenant, &page.into()).await?))
}

/// Read a key
#[utoipa::path(get, path = "/v1/keys/{key}", tag = "administration", security(("api_key" = ["keys:read"])),
    params(("key" = String, Path, description = "`key_…`")),
    responses((status = 200, description = "It, without the secret", body = Key)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(key): Path<String>,
) -> Result<Json<Key>, Problem> {
    Ok(Json(api.store().key(&caller.tenant, &key).await?))
}

/// How long the old key runs on unless it is said: a day.
const KEEP_OLD_MS: i64 = 86_400_000;
/// The longest: 30 days.
const LONGEST_MS: i64 = 30 * KEEP_OLD_MS;

/// How a key is replaced.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateKey {
    /// How long the old one runs on, at most 30 days and not beyond its own end; a day unless given. 0 ends it at once.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2_592_000_000_u64, example = 86_400_000)]
    keep_old_ms: Option<u32>,
}

/// Replace a key
///
/// Makes a key of the same name that may do the same, while the old one runs on for a while: its `expires_at` says until
/// when, its `replaced_by` what took its place. `409 key_over` where it is revoked, over or replaced already.
#[utoipa::path(post, path = "/v1/keys/{key}/rotate", tag = "administration", security(("api_key" = ["keys:write"])),
    params(("key" = String, Path, description = "`key_…`")),
    request_body = Option<RotateKey>,
    responses(
        (status = 201, description = "The new key", body = KeyMade),
        (status = 403, description = "The key lacks the scope, or may do less than the one that is to be replaced")))]
pub(crate) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    Path(key): Path<String>,
    OptionalJson(body): OptionalJson<RotateKey>,
) -> Result<impl IntoResponse, Problem> {
    let keep_old_ms = body.keep_old_ms.map_or(KEEP_OLD_MS, i64::from);
    if keep_old_ms > LONGEST_MS {
        return Err(Problem::field("keep_old_ms", "out_of_range", format!("at most 30 days: {LONGEST_MS}")));
    }
    within(&caller, &api.store().key(&caller.tenant, &key).await?.scopes, "replace")?;
    shown(api.store().rotate_key(&caller.tenant, &key, keep_old_ms, &caller.actor).await?)
}

/// Revoke a key
///
/// It is refused from now on. Revoking it again changes nothing. A key cannot revoke one that may do more than itself.
#[utoipa::path(delete, path = "/v1/keys/{key}", tag = "administration", security(("api_key" = ["keys:write"])),
    params(("key" = String, Path, description = "`key_…`")),
    responses(
        (status = 200, description = "Revoked", body = Key),
        (status = 403, description = "The key lacks the scope, or may do less than the one that is to be revoked")))]
pub(crate) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(key): Path<String>,
) -> Result<Json<Key>, Problem> {
    within(&caller, &api.store().key(&caller.tenant, &key).await?.scopes, "revoke")?;
    Ok(Json(api.store().revoke_key(&caller.tenant, &key, &caller.actor).await?))
}
