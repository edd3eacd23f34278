//! API keys.

use crate::Api;
use crate::extract::{Json, ListQuery, Path, Query};
use crate::guard::Caller;
use crate::intake::Remembered;
use crate::problem::Problem;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_store::Page;
use callbox_store::keys::{Key, NewKey};
use serde::Serialize;
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
    responses((status = 201, description = "Made", body = KeyMade)))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<NewKey>,
) -> Result<impl IntoResponse, Problem> {
    if !caller.scopes.cover(&new.scopes) {
        let detail = "a key cannot make one that may do more than itself";
        return Err(Problem::new(StatusCode::FORBIDDEN, "scopes_exceeded", detail));
    }
    let issued = api.store().create_key(&caller.tenant, new, &caller.actor).await?;
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

/// Revoke a key
///
/// It is refused from now on. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/v1/keys/{key}", tag = "administration", security(("api_key" = ["keys:write"])),
    params(("key" = String, Path, description = "`key_…`")),
    responses((status = 200, description = "Revoked", body = Key)))]
pub(crate) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(key): Path<String>,
) -> Result<Json<Key>, Problem> {
    Ok(Json(api.store().revoke_key(&caller.tenant, &key, &caller.actor).await?))
}
