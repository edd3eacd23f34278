//! Numbers: what somebody dials, and what answers.

use crate::Api;
use crate::extract::{Json, ListQuery, Patch, Path, Query};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_store::Page;
use callbox_store::numbers::{NewNumber, Number};

/// What is to change about one.
pub(crate) type NumberPatch = Patch<NewNumber>;

/// What of a number can be changed.
pub(crate) const CHANGEABLE: &[&str] = &[
    "address",
    "name",
    "script_id",
    "pinned_version",
    "fallback",
    "language",
    "max_concurrent",
    "recording",
    "capture",
    "trunk_id",
    "outbound",
    "enabled",
];

/// Make a number
#[utoipa::path(post, path = "/v1/numbers", tag = "numbers", security(("api_key" = ["numbers:write"])),
    request_body(content = NewNumber, example = json!({
        "address": "+493012345", "script_id": "scr_…", "recording": "on",
        "fallback": {"say": [{"text": "We are sorry, something went wrong."}], "transfer_to": "sip:desk@pbx.example.com"}
    })),
    responses((status = 201, description = "Made", body = Number)))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<NewNumber>,
) -> Result<impl IntoResponse, Problem> {
    let number = api.store().create_number(&caller.tenant, new, &caller.actor).await?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/v1/numbers/{}", number.id))], Json(number)))
}

/// List numbers
#[utoipa::path(get, path = "/v1/numbers", tag = "numbers", security(("api_key" = ["numbers:read"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<Number>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<Number>>, Problem> {
    Ok(Json(api.store().numbers(&caller.tenant, &page.into()).await?))
}

/// Read a number
#[utoipa::path(get, path = "/v1/numbers/{number}", tag = "numbers", security(("api_key" = ["numbers:read"])),
    params(("number" = String, Path, description = "`num_…`")),
    responses((status = 200, description = "It", body = Number)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Json<Number>, Problem> {
    Ok(Json(api.store().number(&caller.tenant, &number).await?))
}

/// Change a number
///
/// A JSON merge patch: what is left out stays, `null` takes away.
#[utoipa::path(patch, path = "/v1/numbers/{number}", tag = "numbers", security(("api_key" = ["numbers:write"])),
    params(("number" = String, Path, description = "`num_…`")),
    request_body = NumberPatch,
    responses(
        (status = 200, description = "As it is now", body = Number),
        (status = 409, description = "The address is taken, or a pinned version has names that are not bound")))]
pub(crate) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
    patch: NumberPatch,
) -> Result<Json<Number>, Problem> {
    let current = api.store().number(&caller.tenant, &number).await?;
    let new = patch.apply(&current, CHANGEABLE)?;
    Ok(Json(api.store().update_number(&caller.tenant, &number, new, &caller.actor).await?))
}

/// Take a number away
///
/// Calls of the past keep naming it.
#[utoipa::path(delete, path = "/v1/numbers/{number}", tag = "numbers", security(("api_key" = ["numbers:write"])),
    params(("number" = String, Path, description = "`num_…`")),
    responses((status = 204, description = "Gone")))]
pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<StatusCode, Problem> {
    api.store().delete_number(&caller.tenant, &number, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
