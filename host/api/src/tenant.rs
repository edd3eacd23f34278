//! The tenant a key belongs to, and who changed what in it.

use crate::Api;
use crate::extract::{Json, ListQuery, Query};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use callbox_store::Page;
use callbox_store::audit::AuditEntry;
use callbox_store::tenants::Tenant;

/// Read the tenant
///
/// The one the key belongs to. Any key will do.
#[utoipa::path(get, path = "/v1/tenant", tag = "administration", security(("api_key" = [])),
    responses((status = 200, description = "It", body = Tenant)))]
pub(crate) async fn read(State(api): State<Api>, caller: Caller) -> Result<Json<Tenant>, Problem> {
    Ok(Json(api.store().tenant(&caller.tenant).await?))
}

/// Who changed what
#[utoipa::path(get, path = "/v1/audit_log", tag = "administration", security(("api_key" = ["audit_log:read"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<AuditEntry>)))]
pub(crate) async fn audit_log(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    Ok(Json(api.store().audit_log(&caller.tenant, &page.into()).await?))
}
