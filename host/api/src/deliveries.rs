//! Deliveries: every event on its way to every endpoint.

use crate::Api;
use crate::extract::{Json, Path, Query, limit};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use callbox_store::deliveries::{Delivery, DeliveryDetail, DeliveryFilter, DeliveryState};
use callbox_store::{Page, PageRequest};
use serde::Deserialize;
use utoipa::IntoParams;

/// Which deliveries of a webhook.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WebhookDeliveriesQuery {
    /// In this state.
    #[serde(default)]
    #[param(inline)]
    state: Option<DeliveryState>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// Rows of a page.
    #[serde(default, deserialize_with = "limit")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// To this endpoint: a webhook's id, or `SCRIPT/DESTINATION` for what scripts push.
    #[serde(default)]
    endpoint: Option<String>,
    /// In this state.
    #[serde(default)]
    #[param(inline)]
    state: Option<DeliveryState>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// Rows of a page.
    #[serde(default, deserialize_with = "limit")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// List the deliveries of a webhook
#[utoipa::path(get, path = "/v1/webhooks/{webhook}/deliveries", operation_id = "list", tag = "webhooks",
    security(("api_key" = ["webhooks:read"])),
    params(("webhook" = String, Path, description = "`whk_…`"), WebhookDeliveriesQuery),
    responses((status = 200, description = "A page", body = Page<Delivery>)))]
pub(crate) async fn of_webhook(
    State(api): State<Api>,
    caller: Caller,
    Path(webhook): Path<String>,
    Query(query): Query<WebhookDeliveriesQuery>,
) -> Result<Json<Page<Delivery>>, Problem> {
    api.store().webhook(&caller.tenant, &webhook).await?;
    let filter = DeliveryFilter { endpoint: Some(webhook), state: query.state };
    let page = PageRequest { cursor: query.cursor, limit: query.limit };
    Ok(Json(api.store().deliveries(&caller.tenant, &filter, &page).await?))
}

/// List deliveries
///
/// To webhooks and to the destinations of scripts. `state=failed` are those that need somebody.
#[utoipa::path(get, path = "/v1/deliveries", tag = "webhooks", security(("api_key" = ["webhooks:read"])),
    params(DeliveriesQuery),
    responses((status = 200, description = "A page", body = Page<Delivery>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Page<Delivery>>, Problem> {
    let filter = DeliveryFilter { endpoint: query.endpoint, state: query.state };
    let page = PageRequest { cursor: query.cursor, limit: query.limit };
    Ok(Json(api.store().deliveries(&caller.tenant, &filter, &page).await?))
}

/// Read a delivery
///
/// With every attempt and the bytes that are sent.
#[utoipa::path(get, path = "/v1/deliveries/{delivery}", tag = "webhooks", security(("api_key" = ["webhooks:read"])),
    params(("delivery" = String, Path, description = "`dlv_…`")),
    responses((status = 200, description = "It", body = DeliveryDetail)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(delivery): Path<String>,
) -> Result<Json<DeliveryDetail>, Problem> {
    Ok(Json(api.store().delivery(&caller.tenant, &delivery).await?))
}

/// Send it again
///
/// With the same id and the same bytes, whatever came of it before.
#[utoipa::path(post, path = "/v1/deliveries/{delivery}/redeliver", tag = "webhooks",
    security(("api_key" = ["webhooks:write"])),
    params(("delivery" = String, Path, description = "`dlv_…`")),
    responses((status = 202, description = "Queued", body = Delivery)))]
pub(crate) async fn redeliver(
    State(api): State<Api>,
    caller: Caller,
    Path(delivery): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok((StatusCode::ACCEPTED, Json(api.store().redeliver(&caller.tenant, &delivery).await?)))
}
