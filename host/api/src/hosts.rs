//! The hosts of the deployment, for whoever runs it.

use crate::Api;
use crate::extract::Json;
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use callbox_store::hosts::Host;
use serde::Serialize;
use utoipa::ToSchema;

/// All of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Hosts {
    /// By name.
    data: Vec<Host>,
}

/// List the hosts
///
/// All that ever ran on this database, by name, with what they do: `up`, `draining`, or `gone`. The one that is asked is
/// as alive as its answer; of another, `heartbeat_at` is by its own clock.
#[utoipa::path(get, path = "/v1/hosts", tag = "tenants", security(("api_key" = ["operator"])),
    responses((status = 200, description = "They", body = Hosts)))]
pub(crate) async fn list(State(api): State<Api>, _: Caller) -> Result<Json<Hosts>, Problem> {
    Ok(Json(Hosts { data: api.store().hosts().await? }))
}
