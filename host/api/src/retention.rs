//! How long things are kept: the rules that the sweep follows.

use crate::Api;
use crate::extract::{Json, Path};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use callbox_store::retention::{Retention, RetentionRule};
use serde::Serialize;
use utoipa::ToSchema;

/// The rules of a tenant.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetentionRules {
    /// Of all numbers first (`number_id: null`), if there is one; then of numbers that differ.
    data: Vec<RetentionRule>,
}

/// List how long things are kept
///
/// What no rule names is kept for ever.
#[utoipa::path(get, path = "/v1/retention", tag = "administration", security(("api_key" = ["retention:read"])),
    responses((status = 200, description = "All rules", body = RetentionRules)))]
pub(crate) async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<RetentionRules>, Problem> {
    Ok(Json(RetentionRules { data: api.store().retention(&caller.tenant).await? }))
}

/// Say how long things are kept
///
/// For all numbers that have no rule of their own. It counts from the next sweep, within minutes, also for what is
/// there already: what it takes away is gone.
#[utoipa::path(put, path = "/v1/retention", tag = "administration", security(("api_key" = ["retention:write"])),
    request_body(content = Retention, example = json!({"recordings_days": 30, "tapes_days": 90, "calls_days": 400})),
    responses((status = 200, description = "The rule", body = RetentionRule)))]
pub(crate) async fn put(
    State(api): State<Api>,
    caller: Caller,
    Json(keep): Json<Retention>,
) -> Result<Json<RetentionRule>, Problem> {
    api.store().put_retention(&caller.tenant, None, Some(keep), &caller.actor).await?;
    Ok(Json(RetentionRule { number_id: None, keep }))
}

/// Keep things for ever
///
/// Takes the rule of all numbers away. Those with a rule of their own keep it.
#[utoipa::path(delete, path = "/v1/retention", tag = "administration", security(("api_key" = ["retention:write"])),
    responses((status = 204, description = "No rule")))]
pub(crate) async fn delete(State(api): State<Api>, caller: Caller) -> Result<StatusCode, Problem> {
    api.store().put_retention(&caller.tenant, None, None, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say how long things of a number are kept
///
/// In place of the rule of all numbers, not besides it: what this one does not name is kept for ever.
#[utoipa::path(put, path = "/v1/numbers/{number}/retention", tag = "administration", security(("api_key" = ["retention:write"])),
    params(("number" = String, Path, description = "`num_…`")),
    request_body(content = Retention, example = json!({"recordings_days": 7})),
    responses((status = 200, description = "The rule", body = RetentionRule)))]
pub(crate) async fn put_for_number(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
    Json(keep): Json<Retention>,
) -> Result<Json<RetentionRule>, Problem> {
    api.store().put_retention(&caller.tenant, Some(&number), Some(keep), &caller.actor).await?;
    Ok(Json(RetentionRule { number_id: Some(number), keep }))
}

/// Keep things of a number as those of all
#[utoipa::path(delete, path = "/v1/numbers/{number}/retention", tag = "administration",
    security(("api_key" = ["retention:write"])),
    params(("number" = String, Path, description = "`num_…`")),
    responses((status = 204, description = "No rule of its own")))]
pub(crate) async fn delete_for_number(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<StatusCode, Problem> {
    api.store().put_retention(&caller.tenant, Some(&number), None, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
