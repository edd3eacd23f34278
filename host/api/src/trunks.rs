//! Trunks: carriers and PBXs, and how they are just now.

use crate::Api;
use crate::extract::{Json, ListQuery, Patch, Path, Query};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_call::TrunkStatus;
use callbox_store::Page;
use callbox_store::trunks::Trunk;
use callbox_trunk::TrunkSettings;

/// What is to change about one.
pub(crate) type TrunkPatch = Patch<TrunkSettings>;

/// What of a trunk can be changed.
pub(crate) const CHANGEABLE: &[&str] = &[
    "name",
    "enabled",
    "order",
    "prefixes",
    "addresses",
    "inbound",
    "credentials",
    "registration",
    "codecs",
    "codec_order",
    "packet_ms",
    "encryption",
    "encryption_offer",
    "dtmf",
    "headers",
    "numbers",
    "limits",
    "health",
    "failover_statuses",
];

/// Make a trunk
///
/// It is in service at once: calls from its networks, its certificate or its account are known by it, numbers are called
/// over it, it is registered and asked how it is. A password goes in and is never shown.
#[utoipa::path(post, path = "/v1/trunks", tag = "trunks", security(("api_key" = ["trunks:write"])),
    request_body(content = TrunkSettings, example = json!({
        "name": "carrier-a",
        "addresses": [{"host": "sip.carrier.example", "port": 5061, "transport": "tls"}],
        "inbound": {"networks": ["203.0.113.0/24"]},
        "credentials": {"username": "u", "password": "…"},
        "registration": {"aor": "sip:u@carrier.example"},
        "numbers": {"national": {"country_code": "49"}},
        "limits": {"channels": 30}
    })),
    responses((status = 201, description = "Made", body = Trunk)))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<TrunkSettings>,
) -> Result<impl IntoResponse, Problem> {
    let trunk = api.store().create_trunk(&caller.tenant, new, &caller.actor).await?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/v1/trunks/{}", trunk.id))], Json(trunk)))
}

/// List trunks
#[utoipa::path(get, path = "/v1/trunks", tag = "trunks", security(("api_key" = ["trunks:read"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<Trunk>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<Trunk>>, Problem> {
    Ok(Json(api.store().trunks(&caller.tenant, &page.into()).await?))
}

/// Read a trunk
#[utoipa::path(get, path = "/v1/trunks/{trunk}", tag = "trunks", security(("api_key" = ["trunks:read"])),
    params(("trunk" = String, Path, description = "`trk_…`")),
    responses((status = 200, description = "It, without the password", body = Trunk)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(trunk): Path<String>,
) -> Result<Json<Trunk>, Problem> {
    Ok(Json(api.store().trunk(&caller.tenant, &trunk).await?))
}

/// Change a trunk
///
/// A JSON merge patch: what is left out stays, `null` takes away, a list is replaced as a whole. Without a password in
/// `credentials` the one before stays. Calls that run go on.
#[utoipa::path(patch, path = "/v1/trunks/{trunk}", tag = "trunks", security(("api_key" = ["trunks:write"])),
    params(("trunk" = String, Path, description = "`trk_…`")),
    request_body = TrunkPatch,
    responses(
        (status = 200, description = "As it is now", body = Trunk),
        (status = 409, description = "The name is taken")))]
pub(crate) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(trunk): Path<String>,
    patch: TrunkPatch,
) -> Result<Json<Trunk>, Problem> {
    let current = api.store().trunk(&caller.tenant, &trunk).await?;
    let new = patch.apply(&current, CHANGEABLE)?;
    Ok(Json(api.store().update_trunk(&caller.tenant, &trunk, new, &caller.actor).await?))
}

/// Take a trunk away
///
/// It is unregistered. Calls that run go on; calls of the past keep naming it.
#[utoipa::path(delete, path = "/v1/trunks/{trunk}", tag = "trunks", security(("api_key" = ["trunks:write"])),
    params(("trunk" = String, Path, description = "`trk_…`")),
    responses(
        (status = 204, description = "Gone"),
        (status = 409, description = "Numbers place their calls by it: change them first")))]
pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(trunk): Path<String>,
) -> Result<StatusCode, Problem> {
    api.store().delete_trunk(&caller.tenant, &trunk, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a trunk is just now
///
/// As this host sees it: its addresses by their answers to OPTIONS, its registration, its calls, what went wrong last.
#[utoipa::path(get, path = "/v1/trunks/{trunk}/status", tag = "trunks", security(("api_key" = ["trunks:read"])),
    params(("trunk" = String, Path, description = "`trk_…`")),
    responses((status = 200, description = "So", body = TrunkStatus)))]
pub(crate) async fn status(
    State(api): State<Api>,
    caller: Caller,
    Path(trunk): Path<String>,
) -> Result<Json<TrunkStatus>, Problem> {
    let trunk = api.store().trunk(&caller.tenant, &trunk).await?;
    Ok(Json(api.platform().trunks().status(&caller.tenant, &trunk.id)))
}
