//! Webhooks: where a tenant's events go.

use crate::Api;
use crate::extract::{Json, ListQuery, OptionalJson, Patch, Path, Query};
use crate::guard::Caller;
use crate::intake::Remembered;
use crate::problem::Problem;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use callbox_store::secrets::Secret;
use callbox_store::webhooks::{NewWebhook, Webhook};
use callbox_store::{Page, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// What is to change about one.
pub(crate) type WebhookPatch = Patch<NewWebhook>;

/// What of a webhook can be changed.
const CHANGEABLE: &[&str] = &["url", "description", "event_types", "enabled"];
/// How long the old secret signs too, unless said otherwise: a day.
const KEEP_OLD_MS: i64 = 86_400_000;

/// A webhook to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://crm.example.com/webhooks", "event_types": ["call.completed"]}))]
pub(crate) struct CreateWebhook {
    /// `https://…`, without user and password.
    #[schema(pattern = "^https?://[^@#]+$", max_length = 2048)]
    url: String,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// Which events; empty for all but the opt-in ones (`call.turn`).
    #[serde(default)]
    event_types: BTreeSet<String>,
    /// Whether it gets anything.
    #[serde(default = "yes")]
    enabled: bool,
    /// `whsec_` and 24 to 64 bytes in base64; none to have one made.
    #[serde(default)]
    #[schema(write_only, pattern = "^whsec_[A-Za-z0-9+/]{32,88}={0,2}$")]
    secret: Option<String>,
}

const fn yes() -> bool {
    true
}

/// A webhook that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookMade {
    #[serde(flatten)]
    webhook: Webhook,
    /// `whsec_…`, signs what is sent. Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Make a webhook
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    request_body = CreateWebhook,
    responses((status = 201, description = "Made", body = WebhookMade)))]
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Json(body): Json<CreateWebhook>,
) -> Result<impl IntoResponse, Problem> {
    let CreateWebhook { url, description, event_types, enabled, secret } = body;
    let new = NewWebhook { url, description, event_types, enabled };
    let given = secret.map(Secret::new);
    let issued = api.store().create_webhook_with_secret(&caller.tenant, new, given, &caller.actor).await?;
    let location = [(LOCATION, format!("/v1/webhooks/{}", issued.webhook.id))];
    let mut made = WebhookMade { webhook: issued.webhook, secret: None };
    let remembered = serde_json::to_vec(&made).map_err(Problem::internal)?;
    made.secret = Some(issued.secret.expose().to_owned());
    Ok((StatusCode::CREATED, location, Extension(Remembered(remembered.into())), Json(made)))
}

/// List webhooks
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", security(("api_key" = ["webhooks:read"])),
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<Webhook>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<ListQuery>,
) -> Result<Json<Page<Webhook>>, Problem> {
    Ok(Json(api.store().webhooks(&caller.tenant, &page.into()).await?))
}

/// Read a webhook
#[utoipa::path(get, path = "/v1/webhooks/{webhook}", tag = "webhooks", security(("api_key" = ["webhooks:read"])),
    params(("webhook" = String, Path, description = "`whk_…`")),
    responses((status = 200, description = "It", body = Webhook)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(webhook): Path<String>,
) -> Result<Json<Webhook>, Problem> {
    Ok(Json(api.store().webhook(&caller.tenant, &webhook).await?))
}

/// Change a webhook
///
/// A JSON merge patch: what is left out stays, `null` takes away. Switching it on again clears the reason why it was off;
/// switching it off ends what was under way.
#[utoipa::path(patch, path = "/v1/webhooks/{webhook}", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("webhook" = String, Path, description = "`whk_…`")),
    request_body = WebhookPatch,
    responses((status = 200, description = "As it is now", body = Webhook)))]
pub(crate) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(webhook): Path<String>,
    patch: WebhookPatch,
) -> Result<Json<Webhook>, Problem> {
    let current = api.store().webhook(&caller.tenant, &webhook).await?;
    let new = patch.apply(&current, CHANGEABLE)?;
    Ok(Json(api.store().update_webhook(&caller.tenant, &webhook, new, &caller.actor).await?))
}

/// Take a webhook away
///
/// What was under way is given up; its deliveries stay readable.
#[utoipa::path(delete, path = "/v1/webhooks/{webhook}", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("webhook" = String, Path, description = "`whk_…`")),
    responses((status = 204, description = "Gone")))]
pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(webhook): Path<String>,
) -> Result<StatusCode, Problem> {
    api.store().delete_webhook(&caller.tenant, &webhook, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a secret is to be replaced.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateSecret {
    /// How long the old secret signs too: at most a week; none for a day.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 604_800_000, example = 86_400_000)]
    keep_old_ms: Option<u32>,
}

/// A new signing secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatedSecret {
    /// `whsec_…`, signs from now on. Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// How long the old one signs too.
    keep_old_ms: i64,
}

/// Replace the signing secret
///
/// Until the old one ends each request carries two signatures: receivers can change over in between.
#[utoipa::path(post, path = "/v1/webhooks/{webhook}/rotate_secret", tag = "webhooks",
    security(("api_key" = ["webhooks:write"])),
    params(("webhook" = String, Path, description = "`whk_…`")),
    request_body = Option<RotateSecret>,
    responses((status = 200, description = "The new secret", body = RotatedSecret)))]
pub(crate) async fn rotate_secret(
    State(api): State<Api>,
    caller: Caller,
    Path(webhook): Path<String>,
    OptionalJson(body): OptionalJson<RotateSecret>,
) -> Result<impl IntoResponse, Problem> {
    let keep_old_ms = body.keep_old_ms.map_or(KEEP_OLD_MS, i64::from);
    if keep_old_ms > 7 * KEEP_OLD_MS {
        return Err(Problem::field("keep_old_ms", "out_of_range", "at most a week: 604800000"));
    }
    let secret = api.store().rotate_webhook_secret(&caller.tenant, &webhook, keep_old_ms, &caller.actor).await?;
    let mut rotated = RotatedSecret { secret: None, keep_old_ms };
    let remembered = serde_json::to_vec(&rotated).map_err(Problem::internal)?;
    rotated.secret = Some(secret.expose().to_owned());
    Ok((Extension(Remembered(remembered.into())), Json(rotated)))
}

/// A period.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// Events from then on.
    from: UnixMs,
    /// Events before then; none for now.
    #[serde(default)]
    to: Option<UnixMs>,
}

/// What is sent again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// Events that were queued.
    queued: u64,
}

/// Send a period again
///
/// Every event of the period that the webhook asks for, with the ids and bytes of the first time: also what it already
/// got, and what happened before it existed.
#[utoipa::path(post, path = "/v1/webhooks/{webhook}/replay", tag = "webhooks",
    security(("api_key" = ["webhooks:write"])),
    params(("webhook" = String, Path, description = "`whk_…`")),
    request_body = Replay,
    responses((status = 202, description = "Queued", body = Replayed)))]
pub(crate) async fn replay(
    State(api): State<Api>,
    caller: Caller,
    Path(webhook): Path<String>,
    Json(period): Json<Replay>,
) -> Result<impl IntoResponse, Problem> {
    let to = period.to.unwrap_or_else(|| api.store().now());
    if period.from >= to {
        return Err(Problem::field("from", "out_of_range", "must be before `to`"));
    }
    let queued = api.store().replay(&caller.tenant, &webhook, period.from, to).await?;
    Ok((StatusCode::ACCEPTED, Json(Replayed { queued })))
}
