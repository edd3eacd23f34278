//! What a tenant has used.

use crate::Api;
use crate::extract::{Json, Query};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use callbox_store::usage::Usage;
use callbox_store::{TenantId, UnixMs};
use serde::Deserialize;
use utoipa::IntoParams;

/// Which days.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// From the day (UTC) of this time; today unless given.
    #[serde(default)]
    from: Option<UnixMs>,
    /// To the day of this time, included; today unless given. At most 366 days.
    #[serde(default)]
    to: Option<UnixMs>,
}

/// What was used on these days.
pub(crate) async fn of(api: &Api, tenant: &TenantId, query: &UsageQuery) -> Result<Usage, Problem> {
    let now = api.store().now();
    let to = query.to.unwrap_or(now);
    let from = query.from.unwrap_or_else(|| to.min(now));
    Ok(api.store().usage(tenant, from, to).await?)
}

/// What the tenant has used
///
/// Calls, minutes and CPU time are counted when a call is over, legs to the telephone network when they are; what is kept
/// is as of now. `GET /v1/tenant` shows what may be used.
#[utoipa::path(get, path = "/v1/usage", tag = "administration", security(("api_key" = ["usage:read"])),
    params(UsageQuery),
    responses(
        (status = 200, description = "Of these days", body = Usage),
        (status = 422, description = "The times do not fit")))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Usage>, Problem> {
    of(&api, &caller.tenant, &query).await.map(Json)
}
