//! Scripts: made, changed, published, rolled back.

use crate::Api;
use crate::extract::{Json, ListQuery, Patch, Path, Query};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_store::Page;
use callbox_store::scripts::{NewScript, Publication, Script};
use serde::Deserialize;
use utoipa::ToSchema;

/// What is to change about one.
pub(crate) type ScriptPatch = Patch<NewScript>;

/// Make a script
///
/// It has no version yet: upload one to `/v1/scripts/{script}/versions`.
#[utoipa::path(post, path = "/v1/scripts", tag = "scripts", security(("api_key" = ["scripts:write"])),
    request_body = NewScript,
    responses(
        (status = 201, description = "Made", body = Script),
        (status = 403, description = "The key lacks the scope; or `scripts_exceeded`: the tenant may have no more")))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<NewScript>,
) -> Result<impl IntoResponse, Problem> {
    api.room_for_script(&caller.tenant).await?;
    let script = api.store().create_script(&caller.tenant, new, &caller.actor).await?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/v1/scripts/{}", script.id))], Json(script)))
}

/// List scripts
#[utoipa::path(get, path = "/v1/scripts", tag = "scripts", security(("api_key" = ["scripts:read"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<Script>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<Script>>, Problem> {
    Ok(Json(api.store().scripts(&caller.tenant, &page.into()).await?))
}

/// Read a script
#[utoipa::path(get, path = "/v1/scripts/{script}", tag = "scripts", security(("api_key" = ["scripts:read"])),
    params(("script" = String, Path, description = "`scr_…`")),
    responses((status = 200, description = "It", body = Script)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
) -> Result<Json<Script>, Problem> {
    Ok(Json(api.store().script(&caller.tenant, &script).await?))
}

/// Change name or description
///
/// A JSON merge patch: what is left out stays, `null` takes away.
#[utoipa::path(patch, path = "/v1/scripts/{script}", tag = "scripts", security(("api_key" = ["scripts:write"])),
    params(("script" = String, Path, description = "`scr_…`")),
    request_body = ScriptPatch,
    responses(
        (status = 200, description = "As it is now", body = Script),
        (status = 409, description = "The name is taken")))]
pub(crate) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
    patch: ScriptPatch,
) -> Result<Json<Script>, Problem> {
    let current = api.store().script(&caller.tenant, &script).await?;
    let new = patch.apply(&current, &["name", "description"])?;
    Ok(Json(api.store().update_script(&caller.tenant, &script, new, &caller.actor).await?))
}

/// Take a script out of use
///
/// Calls of the past keep naming it.
#[utoipa::path(delete, path = "/v1/scripts/{script}", tag = "scripts", security(("api_key" = ["scripts:write"])),
    params(("script" = String, Path, description = "`scr_…`")),
    responses(
        (status = 204, description = "Gone"),
        (status = 409, description = "A number answers with it")))]
pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
) -> Result<StatusCode, Problem> {
    api.store().delete_script(&caller.tenant, &script, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is to be published.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    /// 1, 2, 3 …
    #[schema(example = 1, minimum = 1)]
    version: u32,
}

/// Let a version answer calls
///
/// From now on, for new calls; those that run go on with theirs. Refused while names of its manifest are not bound.
#[utoipa::path(post, path = "/v1/scripts/{script}/publish", tag = "scripts",
    security(("api_key" = ["scripts:write"])),
    params(("script" = String, Path, description = "`scr_…`")),
    request_body = Publish,
    responses(
        (status = 200, description = "It answers", body = Publication),
        (status = 409, description = "`unbound_names`: see `errors`; or the first request with this Idempotency-Key still runs")))]
pub(crate) async fn publish(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
    Json(what): Json<Publish>,
) -> Result<Json<Publication>, Problem> {
    let publication = api.store().publish(&caller.tenant, &script, what.version, &caller.actor).await?;
    api.platform().rehearse(&caller.tenant, &script, publication.version);
    Ok(Json(publication))
}

/// Bring back what answered before
///
/// Again, and it goes one further back.
#[utoipa::path(post, path = "/v1/scripts/{script}/rollback", tag = "scripts",
    security(("api_key" = ["scripts:write"])),
    params(("script" = String, Path, description = "`scr_…`")),
    responses(
        (status = 200, description = "It answers", body = Publication),
        (status = 409, description = "`nothing_to_roll_back`, or names that are not bound any more")))]
pub(crate) async fn rollback(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
) -> Result<Json<Publication>, Problem> {
    let publication = api.store().rollback(&caller.tenant, &script, &caller.actor).await?;
    api.platform().rehearse(&caller.tenant, &script, publication.version);
    Ok(Json(publication))
}

/// What was live when
#[utoipa::path(get, path = "/v1/scripts/{script}/publications", tag = "scripts",
    security(("api_key" = ["scripts:read"])),
    params(("script" = String, Path, description = "`scr_…`"), ListQuery),
    responses((status = 200, description = "A page", body = Page<Publication>)))]
pub(crate) async fn publications(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<Publication>>, Problem> {
    Ok(Json(api.store().publications(&caller.tenant, &script, &page.into()).await?))
}
