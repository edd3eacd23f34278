//! Tenants, for whoever runs the deployment: made, limited, suspended, and given their first key.

use crate::Api;
use crate::extract::{Json, ListQuery, Patch, Path, Query};
use crate::guard::Caller;
use crate::keys::{self, KeyMade};
use crate::problem::Problem;
use crate::usage::{self, UsageQuery};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_store::keys::{NewKey, OPERATOR};
use callbox_store::tenants::{NewTenant, Tenant};
use callbox_store::usage::Usage;
use callbox_store::{Page, TenantId};

/// What is to change about one.
pub(crate) type TenantPatch = Patch<NewTenant>;

/// What of a tenant can be changed.
const CHANGEABLE: &[&str] = &["name", "suspended", "quotas"];

/// Make a tenant
#[utoipa::path(post, path = "/v1/tenants", tag = "tenants", security(("api_key" = ["operator"])),
    request_body(content = NewTenant, example = json!({
        "name": "Acme", "quotas": {"concurrent_calls": 50, "outbound": {"allowed_prefixes": ["+49"], "minutes_per_day": 600}}
    })),
    responses((status = 201, description = "Made", body = Tenant)))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<NewTenant>,
) -> Result<impl IntoResponse, Problem> {
    let tenant = api.store().add_tenant(new, &caller.actor).await?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/v1/tenants/{}", tenant.id))], Json(tenant)))
}

/// List tenants
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", security(("api_key" = ["operator"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<Tenant>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    _: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<Tenant>>, Problem> {
    Ok(Json(api.store().tenants(&page.into()).await?))
}

/// Read a tenant
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants", security(("api_key" = ["operator"])),
    params(("tenant" = String, Path, description = "`ten_…`")),
    responses((status = 200, description = "It", body = Tenant)))]
pub(crate) async fn read(
    State(api): State<Api>,
    _: Caller,
    Path(tenant): Path<TenantId>,
) -> Result<Json<Tenant>, Problem> {
    Ok(Json(api.store().tenant(&tenant).await?))
}

/// Change a tenant
///
/// A JSON merge patch: `null` takes a limit away, so that the deployment's counts. A suspended tenant's keys are refused
/// and its numbers do not answer, from the next request and the next call on; calls that run go on.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}", tag = "tenants", security(("api_key" = ["operator"])),
    params(("tenant" = String, Path, description = "`ten_…`")),
    request_body(content = TenantPatch, content_type = "application/json", example = json!({"quotas": {"concurrent_calls": 100}})),
    responses((status = 200, description = "As it is now", body = Tenant)))]
pub(crate) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(tenant): Path<TenantId>,
    patch: TenantPatch,
) -> Result<Json<Tenant>, Problem> {
    let Tenant { name, suspended_at, quotas, .. } = api.store().tenant(&tenant).await?;
    let current = NewTenant { name, suspended: suspended_at.is_some(), quotas };
    let new = patch.apply(&current, CHANGEABLE)?;
    Ok(Json(api.store().update_tenant(&tenant, new, &caller.actor).await?))
}

/// Make a key of a tenant
///
/// Its first one, say, with the scope `admin`. It opens that tenant alone.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/keys", tag = "tenants", security(("api_key" = ["operator"])),
    params(("tenant" = String, Path, description = "`ten_…`")),
    request_body(content = NewKey, example = json!({"name": "first", "scopes": ["admin"]})),
    responses((status = 201, description = "Made", body = KeyMade)))]
pub(crate) async fn create_key(
    State(api): State<Api>,
    caller: Caller,
    Path(tenant): Path<TenantId>,
    Json(new): Json<NewKey>,
) -> Result<impl IntoResponse, Problem> {
    if new.scopes.0.contains(OPERATOR) && tenant != caller.tenant {
        return Err(Problem::field("scopes", "invalid", "a customer's key cannot have the scope operator"));
    }
    api.store().tenant(&tenant).await?;
    keys::shown(api.store().create_key(&tenant, new, &caller.actor).await?)
}

/// What a tenant has used
#[utoipa::path(get, path = "/v1/tenants/{tenant}/usage", tag = "tenants", security(("api_key" = ["operator"])),
    params(("tenant" = String, Path, description = "`ten_…`"), UsageQuery),
    responses(
        (status = 200, description = "Of these days", body = Usage),
        (status = 422, description = "The times do not fit")))]
pub(crate) async fn usage(
    State(api): State<Api>,
    _: Caller,
    Path(tenant): Path<TenantId>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Usage>, Problem> {
    api.store().tenant(&tenant).await?;
    usage::of(&api, &tenant, &query).await.map(Json)
}
