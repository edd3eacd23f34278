//! What was said and what happened in a call, also while it runs.

use crate::Api;
use crate::calls::find;
use crate::extract::{Json, Path};
use crate::guard::Caller;
use crate::problem::Problem;
use crate::shapes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use callbox_dialogue::record::{TimelineEntry, Turn};
use callbox_store::Page;
use callbox_store::calls::CallEvent;

/// All of it on one page.
pub(crate) const fn whole<T>(data: Vec<T>) -> Page<T> {
    Page { data, next_cursor: None, has_more: false }
}

/// What was said and heard
///
/// In order, also while the call runs.
#[utoipa::path(get, path = "/v1/calls/{call}/transcript", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses((status = 200, description = "All of it", body = Page<shapes::Turn>)))]
pub(crate) async fn transcript(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<Json<Page<Turn>>, Problem> {
    let turns = match find(&api, &caller.tenant, &call).await?.1 {
        Some(snapshot) => snapshot.record.transcript,
        None => api.store().transcript(&caller.tenant, &call).await?,
    };
    Ok(Json(whole(turns)))
}

/// What happened
///
/// In order, also while the call runs.
#[utoipa::path(get, path = "/v1/calls/{call}/timeline", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses((status = 200, description = "All of it", body = Page<shapes::TimelineEntry>)))]
pub(crate) async fn timeline(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<Json<Page<TimelineEntry>>, Problem> {
    let entries = match find(&api, &caller.tenant, &call).await?.1 {
        Some(snapshot) => snapshot.record.timeline,
        None => api.store().timeline(&caller.tenant, &call).await?,
    };
    Ok(Json(whole(entries)))
}

/// The events of a call
///
/// With the bytes that receivers get. Only events that somebody asked for are kept, and `call.completed`.
#[utoipa::path(get, path = "/v1/calls/{call}/events", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses((status = 200, description = "The first 1,000", body = Page<CallEvent>)))]
pub(crate) async fn events(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<Json<Page<CallEvent>>, Problem> {
    find(&api, &caller.tenant, &call).await?;
    Ok(Json(whole(api.store().call_events(&caller.tenant, &call).await?)))
}

/// The tape of a call
///
/// Every question of its script to the host and every answer, one JSON object per line, and in the last one how the script
/// ended; secrets masked. Once the call is over. `callbox replay` runs the script again from it.
#[utoipa::path(get, path = "/v1/calls/{call}/tape", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses(
        (status = 200, description = "All of it", content_type = "application/x-ndjson", body = String),
        (status = 404, description = "There is no such call, or no tape of it (yet)")))]
pub(crate) async fn tape(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let tape = api.store().tape(&caller.tenant, &call).await?;
    let tape =
        tape.ok_or_else(|| Problem::not_found("there is no tape of this call; while it runs there is none yet"))?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], tape))
}
