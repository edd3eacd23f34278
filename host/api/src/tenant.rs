//! The tenant a key belongs to, and who changed what in it.

use crate::Api;
use crate::extract::{Json, Query, limit};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use callbox_store::audit::{AuditEntry, AuditFilter};
use callbox_store::tenants::Tenant;
use callbox_store::{Page, PageRequest, UnixMs};
use serde::Deserialize;
use utoipa::IntoParams;

/// Read the tenant
///
/// The one the key belongs to. Any key will do.
#[utoipa::path(get, path = "/v1/tenant", tag = "administration", security(("api_key" = [])),
    responses((status = 200, description = "It", body = Tenant)))]
pub(crate) async fn read(State(api): State<Api>, caller: Caller) -> Result<Json<Tenant>, Problem> {
    Ok(Json(api.store().tenant(&caller.tenant).await?))
}

/// Which changes: all given conditions hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// By this key, or `system`.
    #[serde(default)]
    actor: Option<String>,
    /// Of this kind: `key.created`, `script.published` …
    #[serde(default)]
    action: Option<String>,
    /// Of the thing with this id.
    #[serde(default)]
    target: Option<String>,
    /// Then or later.
    #[serde(default)]
    from: Option<UnixMs>,
    /// Before.
    #[serde(default)]
    to: Option<UnixMs>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// Rows of a page.
    #[serde(default, deserialize_with = "limit")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// Who changed what
///
/// Every change by whom, when, from which address and how; never a secret. Nothing is taken out of it.
#[utoipa::path(get, path = "/v1/audit_log", tag = "administration", security(("api_key" = ["audit_log:read"])),
    params(AuditQuery),
    responses((status = 200, description = "A page", body = Page<AuditEntry>)))]
pub(crate) async fn audit_log(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let AuditQuery { actor, action, target, from, to, cursor, limit } = query;
    let filter = AuditFilter { actor, action, target, from, to };
    Ok(Json(api.store().audit_log(&caller.tenant, &filter, &PageRequest { cursor, limit }).await?))
}
