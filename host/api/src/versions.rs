//! Versions of a script: uploaded components.

use crate::Api;
use crate::extract::{Json, ListQuery, Path, Query, body, require_type};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_store::Page;
use callbox_store::scripts::{NewVersion, Version};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Longest note, in characters.
const NOTE: usize = 1_000;

/// What goes with an upload.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// For people: what is new.
    #[serde(default)]
    #[param(max_length = 1000)]
    note: Option<String>,
}

/// An uploaded component.
#[derive(Serialize, ToSchema)]
pub(crate) struct UploadedVersion {
    #[serde(flatten)]
    version: Version,
    /// Names of its manifest that the bindings do not hold yet: it cannot be published before they do.
    #[schema(example = json!(["source appointment"]))]
    unbound: Vec<String>,
}

/// Upload a component
///
/// It is looked at, compiled and checked before it becomes a version; `checks` tells what was looked at and `imports`
/// what the script may do. The same component again is the same version.
#[utoipa::path(post, path = "/v1/scripts/{script}/versions", tag = "scripts",
    security(("api_key" = ["scripts:write"])),
    params(("script" = String, Path, description = "`scr_…`"), UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "A WebAssembly component"),
    responses(
        (status = 201, description = "A new version", body = UploadedVersion),
        (status = 200, description = "This component is a version already", body = UploadedVersion),
        (status = 403, description = "The key lacks the scope; or `versions_exceeded`, `storage_exceeded`: the tenant may have no \
            more")))]
pub(crate) async fn upload(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    require_type(&request, &["application/wasm"])?;
    let note = query.note.filter(|note| !note.trim().is_empty());
    if note.as_ref().is_some_and(|note| note.chars().count() > NOTE || note.chars().any(char::is_control)) {
        return Err(Problem::field("note", "invalid", format!("at most {NOTE} characters, no control characters")));
    }
    let (store, tenant) = (api.store(), &caller.tenant);
    api.room_for_version(tenant, &store.script(tenant, &script).await?).await?;
    let wasm = body(request).await?;
    let admission = api.platform().rooms().scripts.admit(wasm.clone()).await?;
    let new = NewVersion {
        digest: store.put_blob(wasm).await?,
        size: admission.size,
        manifest: serde_json::to_value(&admission.manifest).map_err(Problem::internal)?,
        imports: admission.imports,
        checks: serde_json::to_value(&admission.checks).map_err(Problem::internal)?,
        toolchain: admission.toolchain,
        note,
    };
    let uploaded = store.add_version(tenant, &script, new, &caller.actor).await?;
    let number = uploaded.version.version;
    let unbound = store.unbound(tenant, &script, number).await?;
    let status = if uploaded.created { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(LOCATION, format!("/v1/scripts/{script}/versions/{number}"))];
    Ok((status, location, Json(UploadedVersion { version: uploaded.version, unbound })))
}

/// List versions
#[utoipa::path(get, path = "/v1/scripts/{script}/versions", tag = "scripts",
    security(("api_key" = ["scripts:read"])),
    params(("script" = String, Path, description = "`scr_…`"), ListQuery),
    responses((status = 200, description = "A page", body = Page<Version>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(script): Path<String>,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<Version>>, Problem> {
    Ok(Json(api.store().versions(&caller.tenant, &script, &page.into()).await?))
}

/// Read a version
#[utoipa::path(get, path = "/v1/scripts/{script}/versions/{version}", tag = "scripts",
    security(("api_key" = ["scripts:read"])),
    params(("script" = String, Path, description = "`scr_…`"), ("version" = u32, Path, description = "1, 2, 3 …")),
    responses((status = 200, description = "It", body = Version)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path((script, version)): Path<(String, u32)>,
) -> Result<Json<Version>, Problem> {
    // A version of a script that is gone is not shown any more.
    api.store().script(&caller.tenant, &script).await?;
    Ok(Json(api.store().version(&caller.tenant, &script, version).await?))
}
